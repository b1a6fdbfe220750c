"""The LSTM as a reader: everything that a task taught lies in its hidden and cell states.

Hochreiter and Schmidhuber 1997, "Long Short-Term Memory", with the forget gates of Gers, Schmidhuber and Cummins 2000; the
baseline of Santoro et al. 2016, "Meta-Learning with Memory-Augmented Neural Networks", section 4.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from metarl.adapters.memory.recurrent import LossOn, RecurrentCore, RecurrentReader
from metarl.errors import require_whole

FORGET_BIAS = 1.0
"""What the forget gate's bias starts with: a cell that keeps."""

LSTMState = tuple[Tensor, Tensor]
"""The hidden and the cell state, shape (..., hidden) each."""


class LSTMCore(RecurrentCore):
    r"""An LSTM cell in plain operations: $c_t = f \circ c_{t-1} + i \circ g$ and $h_t = o \circ \tanh c_t$.

    The gates $i$, $f$, $o$ and the candidate $g$ are rows of one product; weights start as ``nn.LSTMCell``'s.

    Args:
        inputs: the entries of an input.
        hidden: the units.
        feedback: the entries of what ``turn`` is given beside the hidden state, such as a memory's reads.

    Raises:
        ConfigError: a size that is not a whole number above zero.
    """

    def __init__(self, inputs: int, hidden: int = 200, feedback: int = 0) -> None:
        super().__init__()
        require_whole(inputs=inputs, hidden=hidden)
        self.outputs = hidden
        reach = hidden**-0.5
        self.input_weights = nn.Parameter(torch.empty(4 * hidden, inputs).uniform_(-reach, reach))
        self.hidden_weights = nn.Parameter(torch.empty(4 * hidden, hidden + feedback).uniform_(-reach, reach))
        self.bias = nn.Parameter(torch.zeros(4 * hidden))
        with torch.no_grad():
            self.bias[hidden : 2 * hidden] = FORGET_BIAS

    def initial_state(self) -> LSTMState:
        """Return zeros, shape (hidden,) each."""
        zeros = self.bias.new_zeros(self.outputs)
        return zeros, zeros

    def project(self, inputs: Tensor) -> Tensor:
        """Return the inputs' part of the gates, shape (..., 4 * hidden)."""
        return functional.linear(inputs, self.input_weights, self.bias)

    def advance(self, projected: Tensor, state: LSTMState) -> tuple[Tensor, LSTMState]:
        """Return the hidden state, shape (..., hidden), as output and in the next state."""
        hidden, cell = state
        state = self.turn(projected, hidden, cell)
        return state[0], state

    def turn(self, projected: Tensor, recurrent: Tensor, cell: Tensor) -> LSTMState:
        """Return the next state of a projected input, of what is fed back, (..., hidden + feedback), and of the cell."""
        rows = projected + functional.linear(recurrent, self.hidden_weights)
        gates, candidate = torch.split(rows, [3 * self.outputs, self.outputs], -1)
        take, keep, show = gates.sigmoid().chunk(3, -1)  # one sigmoid: a sequence's time goes into the number of operations
        cell = keep * cell + take * candidate.tanh()
        return show * cell.tanh(), cell


class LSTMReader(RecurrentReader):
    """Reads the support set with an LSTM.

    Args:
        features: the entries of an embedding.
        outputs: the ways of a task, or the numbers of a target.
        hidden: the units.
        loss_on: see ``RecurrentReader``.

    Raises:
        ConfigError: a size that is not positive, or an unknown ``loss_on``.
    """

    def __init__(self, features: int, outputs: int, hidden: int = 200, loss_on: LossOn = "sequence") -> None:
        super().__init__(LSTMCore(features + outputs, hidden), outputs, loss_on)
