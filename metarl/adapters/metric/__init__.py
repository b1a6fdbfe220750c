"""Metric readers: queries are compared with what the support set leaves, one file a kind."""

from metarl.adapters.metric.base import MetricReader as MetricReader
from metarl.adapters.metric.bias_adaptation import NonlinearBiasAdaptation as NonlinearBiasAdaptation
from metarl.adapters.metric.distances import Distance as Distance
from metarl.adapters.metric.full_context import FullContext as FullContext
from metarl.adapters.metric.matching import Matching as Matching
from metarl.adapters.metric.matching import SoftmaxOver as SoftmaxOver
from metarl.adapters.metric.nearest_neighbour import NearestNeighbour as NearestNeighbour
from metarl.adapters.metric.prototypes import Prototypes as Prototypes
from metarl.adapters.metric.relation import Relation as Relation
from metarl.adapters.metric.semi_supervised import DistractorCluster as DistractorCluster
from metarl.adapters.metric.semi_supervised import MaskedSoftKMeans as MaskedSoftKMeans
from metarl.adapters.metric.semi_supervised import SoftKMeans as SoftKMeans
from metarl.adapters.metric.siamese import Siamese as Siamese
from metarl.adapters.metric.weight_adaptation import LinearWeightAdaptation as LinearWeightAdaptation
