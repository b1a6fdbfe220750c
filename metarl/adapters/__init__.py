"""Adapters: how a task's support experience changes the learner, one file a kind."""

from metarl.adapters.base import Adaptation as Adaptation
from metarl.adapters.base import Adapter as Adapter
from metarl.adapters.base import Meta as Meta
from metarl.adapters.gradient import GradientAdapter as GradientAdapter
from metarl.adapters.metric import LinearWeightAdaptation as LinearWeightAdaptation
from metarl.adapters.metric import NearestNeighbour as NearestNeighbour
from metarl.adapters.metric import NonlinearBiasAdaptation as NonlinearBiasAdaptation
from metarl.adapters.metric import Prototypes as Prototypes
from metarl.adapters.reading import ReadingAdapter as ReadingAdapter
from metarl.adapters.reading import Support as Support
from metarl.adapters.reading import SupportReader as SupportReader
