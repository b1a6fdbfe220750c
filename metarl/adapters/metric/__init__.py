"""Metric readers: queries are compared with what the support set leaves, one file a kind."""

from metarl.adapters.metric.base import MetricReader as MetricReader
from metarl.adapters.metric.bias_adaptation import NonlinearBiasAdaptation as NonlinearBiasAdaptation
from metarl.adapters.metric.distances import Distance as Distance
from metarl.adapters.metric.nearest_neighbour import NearestNeighbour as NearestNeighbour
from metarl.adapters.metric.prototypes import Prototypes as Prototypes
from metarl.adapters.metric.weight_adaptation import LinearWeightAdaptation as LinearWeightAdaptation
