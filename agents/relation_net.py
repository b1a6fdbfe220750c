"""Relation Networks: Sung et al. 2018, "Learning to Compare: Relation Network for Few-Shot Learning"."""

from dataclasses import dataclass
from typing import Any

from torch import nn

from metarl.adapters import Relation, SupportReader
from metarl.agents.metric import MetricAgent
from metarl.agents.reading import ReadingOptions


class RelationNet(MetricAgent):
    """Learns feature maps, and a relation module that scores a query's beside a class's.

    See ``Agent`` for the arguments. A network by name ends in its feature maps, and of ``"Conv4"`` only the first two blocks
    pool unless ``policy_kwargs`` says another number of ``pools``; a module of one's own must give maps, shape (examples,
    channels, height, width), too.
    """

    @dataclass(frozen=True)
    class Options(ReadingOptions):
        """What Relation Networks take."""

        filters: int = 64
        """Of the relation module's two convolutions."""
        hidden: int = 8
        """Units of the relation module before its score."""

    def __init__(self, policy: str | nn.Module, *args: Any, **options: Any) -> None:
        if isinstance(policy, str):
            given = options.get("policy_kwargs") or {}
            pools = {"pools": 2} if policy == "Conv4" else {}
            options["policy_kwargs"] = {"head": "maps", **pools, **given}
        super().__init__(policy, *args, **options)

    def make_reader(self, features: int, outputs: int) -> SupportReader:
        """Return a relation module for the embedding's feature maps."""
        return Relation(self.embedding_shape, self.options.filters, self.options.hidden)
