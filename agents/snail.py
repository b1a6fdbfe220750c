"""SNAIL: Mishra, Rohaninejad, Chen and Abbeel 2018, "A Simple Neural Attentive Meta-Learner"."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from metarl.adapters import SupportReader, memory
from metarl.adapters.memory.association import Start
from metarl.agents.episodes import EpisodeSource
from metarl.agents.pictures import Pictures, Unseen, attention
from metarl.agents.reading import ReadingAgent, ReadingOptions


class SNAIL(ReadingAgent):
    """Reads the support set as a sequence, by causal convolutions and attention in turn.

    See ``Agent`` for the arguments.
    """

    @dataclass(frozen=True)
    class Options(ReadingOptions):
        """What SNAIL takes."""

        length: int | None = None
        """T, the positions of the longest support set and a query; the longest of training and testing unless given."""
        filters: int = 128
        """The channels that each convolution adds."""
        key_sizes: Sequence[int] = (64, 256, 512)
        """The entries of a key in each attention block; convolutions stand between two blocks."""
        value_sizes: Sequence[int] = (32, 128, 256)
        """The channels that each attention block adds."""
        start: Start = "random"
        """Of the weights: random, or associative, as attention that finds the labels of what is alike from the first step."""

    def make_reader(self, features: int, outputs: int) -> SupportReader:
        """Return SNAIL for the chosen length."""
        options = self.options
        longest = cast(EpisodeSource, self.source).longest_support
        length = longest + 1 if options.length is None else options.length
        sizes = (options.filters, options.key_sizes, options.value_sizes)
        return memory.SNAIL(features, outputs, length, *sizes, options.start)

    def adapter_pictures(self, unseen: Unseen) -> Pictures:
        """Return what the queries of unseen episodes attend to, where there are classes."""
        return attention.draw(self, unseen) if self.source.problem.metric == "accuracy" else {}
