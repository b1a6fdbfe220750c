"""Adapters: how a task's support experience changes the learner, one file a kind."""

from metarl.adapters.base import Adaptation as Adaptation
from metarl.adapters.base import Adapter as Adapter
from metarl.adapters.base import Meta as Meta
from metarl.adapters.gradient import GradientAdapter as GradientAdapter
from metarl.adapters.memory import LSTMReader as LSTMReader
from metarl.adapters.memory import MANNReader as MANNReader
from metarl.adapters.memory import MemoryPolicy as MemoryPolicy
from metarl.adapters.memory import MemoryReader as MemoryReader
from metarl.adapters.memory import RecurrentReader as RecurrentReader
from metarl.adapters.memory import TrialAdapter as TrialAdapter
from metarl.adapters.metric import DistractorCluster as DistractorCluster
from metarl.adapters.metric import LinearWeightAdaptation as LinearWeightAdaptation
from metarl.adapters.metric import MaskedSoftKMeans as MaskedSoftKMeans
from metarl.adapters.metric import Matching as Matching
from metarl.adapters.metric import NearestNeighbour as NearestNeighbour
from metarl.adapters.metric import NonlinearBiasAdaptation as NonlinearBiasAdaptation
from metarl.adapters.metric import Prototypes as Prototypes
from metarl.adapters.metric import Relation as Relation
from metarl.adapters.metric import Siamese as Siamese
from metarl.adapters.metric import SoftKMeans as SoftKMeans
from metarl.adapters.reading import ReadingAdapter as ReadingAdapter
from metarl.adapters.reading import Support as Support
from metarl.adapters.reading import SupportReader as SupportReader
