"""Siamese networks: Koch, Zemel and Salakhutdinov 2015, "Siamese Neural Networks for One-shot Image Recognition"."""

from metarl.adapters import Siamese, SupportReader
from metarl.agents.metric import MetricAgent


class SiameseNet(MetricAgent):
    """Learns to verify whether two images are of one class; a query gets the class of the surest pair.

    See ``Agent`` for the arguments. ``"Koch"`` is the paper's network, for images of 105x105; its L2 regularisation is
    ``outer=metarl.GradientDescent(optimizer_kwargs={"weight_decay": ...})``. More ways in training give more pairs.
    """

    def make_reader(self, features: int, outputs: int) -> SupportReader:
        """Return a verifier of pairs."""
        return Siamese(features)
