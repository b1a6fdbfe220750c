"""Prototypical Networks: Snell, Swersky and Zemel 2017, "Prototypical Networks for Few-shot Learning"."""

from dataclasses import dataclass

from metarl.adapters import Prototypes, SupportReader
from metarl.agents.metric import MetricAgent, MetricOptions


class ProtoNet(MetricAgent):
    """Learns an embedding in which a class is the mean of its support examples.

    See ``Agent`` for the arguments. Train with more ways than are tested, as the paper does, with the family's ``train_ways``:
    ``ProtoNet("Conv4", "metarl/Omniglot-v0", env_kwargs={"ways": 5, "train_ways": 60})``.
    """

    @dataclass(frozen=True)
    class Options(MetricOptions):
        """What Prototypical Networks take."""

        meta_batch: int | None = 1
        """Episodes in an outer step; the paper's code takes one."""

    def make_reader(self, features: int, outputs: int) -> SupportReader:
        """Return prototypes by the chosen distance."""
        return Prototypes(self.options.distance)
