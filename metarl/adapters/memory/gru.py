"""The GRU: the recurrent core of RL^2.

Cho et al. 2014, "Learning Phrase Representations using RNN Encoder-Decoder for Statistical Machine Translation".
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from metarl.adapters.memory.recurrent import RecurrentCore
from metarl.errors import require_whole


class GRUCore(RecurrentCore):
    r"""A GRU in plain operations: $h_t = (1 - z) \circ n + z \circ h_{t-1}$ with $n = \tanh(W x + r \circ U h_{t-1})$.

    The gates $r$ and $z$ and the candidate $n$ are rows of one product for the input, and of one for the state. The state's
    weights start orthogonal, as in RL^2 (Duan et al. 2016, appendix), the input's as Glorot and Bengio's.

    Args:
        inputs: the entries of an input.
        hidden: the units.

    Raises:
        ConfigError: a size that is not positive.
    """

    def __init__(self, inputs: int, hidden: int = 256) -> None:
        super().__init__()
        require_whole(inputs=inputs, hidden=hidden)
        self.outputs = hidden
        self.input_weights = nn.Parameter(torch.cat([nn.init.xavier_uniform_(torch.empty(hidden, inputs)) for _ in range(3)]))
        self.hidden_weights = nn.Parameter(torch.cat([nn.init.orthogonal_(torch.empty(hidden, hidden)) for _ in range(3)]))
        self.bias = nn.Parameter(torch.zeros(3 * hidden))

    def initial_state(self) -> Tensor:
        """Return zeros, shape (hidden,)."""
        return self.bias.new_zeros(self.outputs)

    def project(self, inputs: Tensor) -> Tensor:
        """Return the inputs' part of gates and candidate, shape (..., 3 * hidden)."""
        return functional.linear(inputs, self.input_weights, self.bias)

    def advance(self, projected: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Return the next state, shape (..., hidden), as output too."""
        gates, candidate = torch.split(projected, [2 * self.outputs, self.outputs], -1)
        from_gates, from_candidate = torch.split(
            functional.linear(state, self.hidden_weights), [2 * self.outputs, self.outputs], -1
        )
        reset, keep = (gates + from_gates).sigmoid().chunk(2, -1)
        state = torch.lerp((candidate + reset * from_candidate).tanh(), state, keep)
        return state, state
