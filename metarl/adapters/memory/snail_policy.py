"""SNAIL as a policy: a trial is a sequence, and what is done at a position is of it and of all before.

Mishra, Rohaninejad, Chen and Abbeel 2018, "A Simple Neural Attentive Meta-Learner", section 3.2.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from metarl.adapters.memory.causal import interleaved
from metarl.adapters.memory.policy import LogStdFrom, MemoryPolicy, head
from metarl.errors import require_whole
from metarl.sampling.distributions import Distribution


class SNAILPolicy(MemoryPolicy):
    """Causal attention and convolutions in turn over all that was seen in a trial.

    Whole trials are one pass; where steps come one by one, keys, values and the convolutions' inputs are kept.

    Args:
        features: the entries of an embedded observation.
        distribution: of the actions.
        length: T, the steps of the longest trial.
        filters: D of the TC blocks.
        key_sizes: of each attention block.
        value_sizes: of each attention block.
        log_std: see ``StochasticPolicy``.
        log_std_from: see ``metarl.adapters.memory.policy.head``.

    Raises:
        ConfigError: a size that is not positive, or other numbers of key and value sizes.
    """

    has_limit: ClassVar[bool] = True

    def __init__(
        self,
        features: int,
        distribution: Distribution,
        length: int,
        filters: int = 32,
        key_sizes: Sequence[int] = (32, 32),
        value_sizes: Sequence[int] = (32, 32),
        log_std: float = 0.0,
        log_std_from: LogStdFrom = "parameter",
    ) -> None:
        super().__init__()
        require_whole(length=length)
        self.body = interleaved(features, max(2, length), filters, key_sizes, value_sizes)
        self.head = head(self.body.channels, distribution, log_std, log_std_from)
        self.length = length

    def initial_state(self, rows: int) -> Any:
        """Return an empty sequence."""
        like = next(self.parameters())
        return {"seen": self.body.empty(rows, self.length), "time": like.new_zeros(rows, dtype=torch.long)}

    def is_full(self, state: Any) -> bool:
        """Return whether a sequence has as many positions as the longest trial; see ``MemoryPolicy``."""
        return bool((state["time"] >= self.length).any())

    def step(self, inputs: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Return the distribution parameters of the next position, and the sequence with it; see ``MemoryPolicy``."""
        outputs, seen = self.body.step(inputs, state["seen"], state["time"])
        return self.head(outputs), {"seen": seen, "time": state["time"] + 1}

    def sequence(self, inputs: Tensor, state: Any = None) -> Tensor:
        """Return the distribution parameters of whole sequences, from an empty memory in one pass; see ``MemoryPolicy``."""
        if state is not None:
            return super().sequence(inputs, state)
        parameters: Tensor = self.head(torch.vmap(self.body)(inputs))
        return parameters
