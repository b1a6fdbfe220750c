"""Least Recently Used Access: an LSTM beside an external memory that it writes by recent use and reads by content.

Santoro, Bartunov, Botvinick, Wierstra and Lillicrap 2016, "Meta-Learning with Memory-Augmented Neural Networks", section 3.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from metarl.adapters.memory.lstm import LSTMCore
from metarl.adapters.memory.recurrent import RecurrentCore
from metarl.errors import ConfigError, require_between, require_whole

EMPTY = 1e-6
"""Every entry of the memory before the first write."""


class MemoryState(NamedTuple):
    """What a memory-augmented network remembers, leading axes first.

    Attributes:
        hidden: the controller's hidden state, shape (hidden,).
        cell: the controller's cell state, shape (hidden,).
        memory: shape (slots, width).
        read: the rows read, shape (reads * width,).
        read_weights: how much of every row each head has read, shape (reads, slots).
        usage: how much every row was read and written of late, shape (slots,).
    """

    hidden: Tensor
    cell: Tensor
    memory: Tensor
    read: Tensor
    read_weights: Tensor
    usage: Tensor


class MANNCore(RecurrentCore):
    r"""A step of the network with Least Recently Used Access.

    The controller sees the input and what was read last, and emits for every head a key $k$, an addition $a$ (both through
    tanh) and a gate $\sigma$. With $w^r$ the read weights, $w^u$ the usage, $w^{lu}_i$ one-hot at the i-th least used slot and
    $M$ the memory, head $i$

    1. writes with $w^w_i = \sigma_i w^r_i + (1 - \sigma_i) w^{lu}_i$ (eq. 6), after the least used row is set to zero:
       $M' = M + \sum_i w^w_i a_i^\top$ (eq. 7);
    2. reads with $w^{r\prime}_i = \mathrm{softmax}(\cos(k_i, M'))$ (eqs. 2 and 3): $r_i = w^{r\prime}_i M'$ (eq. 4);
    3. and usage becomes $\gamma w^u + \sum_i (w^{r\prime}_i + w^w_i)$ (eq. 5), which no gradient goes through.

    The output is the hidden state beside what was read. The paper leaves open how several heads write; here each has an
    addition, a gate and a least used slot of its own, and reads and usage begin on the first row, as in
    github.com/tristandeleu/ntm-one-shot.

    Args:
        inputs: the entries of an input.
        hidden: the controller's units.
        slots: the memory's rows.
        width: the entries of a row.
        reads: the heads.
        decay: $\gamma$, what is left of usage a step later.
        sharpen: multiply cosines by a strength above one that each head emits, as Neural Turing Machines do (Graves, Wayne and
            Danihelka 2014, eq. 5); without it, as in the paper, one row can weigh no more than $e^2$ times another.

    Raises:
        ConfigError: a size that is not a whole number above zero, more heads than slots, or a decay outside [0, 1].
    """

    def __init__(
        self,
        inputs: int,
        hidden: int = 200,
        slots: int = 128,
        width: int = 40,
        reads: int = 4,
        decay: float = 0.95,
        sharpen: bool = False,
    ) -> None:
        super().__init__()
        require_whole(hidden=hidden, slots=slots, width=width, reads=reads)
        require_between(0, 1, decay=decay)
        if reads > slots:
            raise ConfigError(
                f"slots={slots} are fewer than the reads={reads}, which write one each: give more, or fewer reads"
            )
        self.controller = LSTMCore(inputs, hidden, reads * width)
        self.heads = nn.Linear(hidden, reads * (2 * width + 1 + sharpen))
        self.outputs = hidden + reads * width
        self.capacity = slots
        self.slots, self.width, self.reads = slots, width, reads
        self.decay, self.sharpen = decay, sharpen

    def initial_state(self) -> MemoryState:
        """Return an empty memory; reads and usage begin on the first row."""
        like = self.heads.bias
        first = functional.one_hot(torch.zeros((), dtype=torch.long, device=like.device), self.slots).to(like)
        memory = torch.full((self.slots, self.width), EMPTY, dtype=like.dtype, device=like.device)
        read, weights = like.new_zeros(self.reads * self.width), first.expand(self.reads, -1)
        return MemoryState(*self.controller.initial_state(), memory, read, weights, first)

    def project(self, inputs: Tensor) -> Tensor:
        """Return the inputs' part of the controller's gates."""
        return self.controller.project(inputs)

    def advance(self, projected: Tensor, state: MemoryState) -> tuple[Tensor, MemoryState]:
        """Return the hidden state and what was read, shape (..., hidden + reads * width), and the next state."""
        hidden, cell = self.controller.turn(projected, torch.cat([state.hidden, state.read], -1), state.cell)
        shape, reads = (2, self.reads, self.width), self.reads
        vectors, scalars = torch.split(self.heads(hidden), [2 * reads * self.width, reads * (1 + self.sharpen)], -1)
        keys, additions = vectors.tanh().view(*vectors.shape[:-1], *shape).unbind(-3)
        least_used = self.least_used(state.usage)
        write_weights = torch.lerp(least_used, state.read_weights, scalars[..., :reads].sigmoid().unsqueeze(-1))
        memory = state.memory * (1 - least_used[..., 0, :, None]) + write_weights.mT @ additions
        similarity = cosines(keys, memory)
        if self.sharpen:
            similarity = similarity * (1 + functional.softplus(scalars[..., reads:])).unsqueeze(-1)
        read_weights = similarity.softmax(-1)
        read = (read_weights @ memory).flatten(-2)
        usage = self.decay * state.usage + (read_weights + write_weights).detach().sum(-2)
        return torch.cat([hidden, read], -1), MemoryState(hidden, cell, memory, read, read_weights, usage)

    def least_used(self, usage: Tensor) -> Tensor:
        """Return the least used slots, the least one first, as one-hot rows, shape (..., reads, slots)."""
        slots = usage.argsort(dim=-1, stable=True)[..., : self.reads]
        return functional.one_hot(slots, self.slots).to(usage)


def cosines(keys: Tensor, memory: Tensor) -> Tensor:
    """Return the cosines between keys, shape (..., reads, width), and the memory's rows, shape (..., reads, slots)."""
    # added under the root, where a row of zeros would have no derivative; less than an empty row's squares
    lengths = [(vectors.square().sum(-1) + EMPTY**2).rsqrt() for vectors in (keys, memory)]
    return keys @ memory.mT * lengths[0].unsqueeze(-1) * lengths[1].unsqueeze(-2)
