"""Agents that compare embeddings: the base of Prototypical Networks and of the nearest neighbour."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from metarl.adapters import Adapter, Meta
from metarl.adapters.metric import Distance, MetricAdapter
from metarl.agents.base import Agent
from metarl.agents.options import Options as CommonOptions
from metarl.agents.pictures import Pictures, Unseen, embedding
from metarl.learner import Learner
from metarl.normalisation import Statistics


@dataclass(frozen=True)
class MetricOptions(CommonOptions):
    """What agents take that compare embeddings."""

    batch_norm: Statistics = "batch"
    """Whose statistics batch-normalisation uses: the set's at hand (batch), the support set's, or running averages."""
    distance: Distance = "squared-euclidean"
    """By which embeddings are compared: squared-euclidean or cosine."""


class MetricAgent(Agent):
    """Learns an embedding; a task's support set is embedded once, and nothing is stepped."""

    Options = MetricOptions  # type: ignore[assignment]
    embeds = True
    adapter_class: ClassVar[type[MetricAdapter]]
    """What is kept of a support set."""

    def make_adapter(self, network: nn.Module) -> tuple[Adapter, Meta]:
        """Return the adapter of the class's kind; a network by name has no last layer."""
        learner = Learner(network, "all", self.options.batch_norm)
        with torch.no_grad():
            theta, shared, averages = learner.initial(network)
            features = learner(theta, shared, self.source.example_inputs(), averages).flatten(1).shape[1]
        adapter = self.adapter_class(self.source.problem, learner, self.options.distance, features)
        return adapter, adapter.initial_meta(network)

    def adapter_pictures(self, unseen: Unseen) -> Pictures:
        """Return unseen episodes in the embedding."""
        return embedding.draw(self, unseen)
