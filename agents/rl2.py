"""RL^2: Duan et al. 2016, "RL^2: Fast Reinforcement Learning via Slow Reinforcement Learning"."""

from dataclasses import dataclass
from typing import Literal

from metarl.adapters import MemoryPolicy, memory
from metarl.agents.trials import TrialAgent, TrialOptions
from metarl.sampling.distributions import Distribution

Core = Literal["gru", "lstm"]


class RL2(TrialAgent):
    """Learns a recurrent policy that learns a task within a trial: its state lasts from episode to episode.

    See ``Agent`` for the arguments. Wang et al. 2016, "Learning to Reinforcement Learn", is the same with an LSTM.
    """

    @dataclass(frozen=True)
    class Options(TrialOptions):
        """What RL^2 takes."""

        core: Core = "gru"
        """What remembers: a GRU, as in the paper, or an LSTM."""
        hidden: int = 256
        """Its units."""

    def make_memory(self, features: int, distribution: Distribution, steps: int) -> MemoryPolicy:
        """Return a recurrent policy."""
        kind = memory.GRUCore if self.options.core == "gru" else memory.LSTMCore
        core, options = kind(features, self.options.hidden), self.options
        return memory.RecurrentPolicy(core, distribution, options.log_std, options.log_std_from)
