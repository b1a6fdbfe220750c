"""Agents that compare embeddings: the base of Prototypical Networks and of the nearest neighbour."""

from dataclasses import dataclass

from metarl.adapters.metric import Distance
from metarl.agents.pictures import Pictures, Unseen, embedding
from metarl.agents.reading import ReadingAgent, ReadingOptions


@dataclass(frozen=True)
class MetricOptions(ReadingOptions):
    """What agents take that compare embeddings by a distance."""

    distance: Distance = "squared-euclidean"
    """By which embeddings are compared: squared-euclidean or cosine."""


class MetricAgent(ReadingAgent):
    """Compares queries with landmarks that the support set leaves in the embedding; its reader is a ``MetricReader``."""

    def adapter_pictures(self, unseen: Unseen) -> Pictures:
        """Return unseen episodes in the embedding."""
        return embedding.draw(self, unseen)
