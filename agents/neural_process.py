"""Conditional neural processes: Garnelo et al. 2018, "Conditional Neural Processes"."""

from collections.abc import Sequence
from dataclasses import dataclass

from metarl.adapters import SupportReader, memory
from metarl.adapters.memory.neural_process import Aggregation
from metarl.agents.pictures import Pictures, Unseen, deviations
from metarl.agents.reading import ReadingAgent, ReadingOptions


class NeuralProcess(ReadingAgent):
    """Predicts a distribution of values from encodings of the support examples, in any order and number.

    See ``Agent`` for the arguments.
    """

    @dataclass(frozen=True)
    class Options(ReadingOptions):
        """What neural processes take."""

        hidden: Sequence[int] = (128, 128)
        """The units of the encoder's hidden layers; the decoder has them in the opposite order."""
        representation: int = 128
        """The entries of an example's encoding."""
        attention: Aggregation = "none"
        """How a query sees the encodings: their mean (none), or by dot products of inputs, as attentive neural processes."""

    def make_reader(self, features: int, outputs: int) -> SupportReader:
        """Return encoder and decoder."""
        options = self.options
        return memory.NeuralProcess(features, outputs, options.hidden, options.representation, options.attention)

    def adapter_pictures(self, unseen: Unseen) -> Pictures:
        """Return unseen curves with the predicted deviations, if numbers are predicted from numbers."""
        return deviations.draw(self, unseen)
