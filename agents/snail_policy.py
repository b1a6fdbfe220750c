"""SNAIL as a policy: Mishra, Rohaninejad, Chen and Abbeel 2018, "A Simple Neural Attentive Meta-Learner", section 3.2."""

from collections.abc import Sequence
from dataclasses import dataclass

from metarl.adapters import MemoryPolicy, memory
from metarl.agents.trials import TrialAgent, TrialOptions
from metarl.sampling.distributions import Distribution


class SNAILPolicy(TrialAgent):
    """Learns a policy that attends to all it saw, did and got in a trial, whatever the episode.

    It has room for trials as long as in training. See ``Agent`` for the arguments.
    """

    @dataclass(frozen=True)
    class Options(TrialOptions):
        """What SNAIL takes as a policy."""

        filters: int = 32
        """The channels that each convolution adds."""
        key_sizes: Sequence[int] = (32, 32)
        """The entries of a key in each attention block; convolutions stand between two blocks."""
        value_sizes: Sequence[int] = (32, 32)
        """The channels that each attention block adds."""

    def make_memory(self, features: int, distribution: Distribution, steps: int) -> MemoryPolicy:
        """Return SNAIL for the longest trial."""
        given = self.options
        sizes = (given.filters, given.key_sizes, given.value_sizes)
        return memory.SNAILPolicy(features, distribution, steps, *sizes, given.log_std, given.log_std_from)
