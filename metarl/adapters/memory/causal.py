"""Causal blocks on sequences: dilated convolutions and attention, in which no position sees a later one.

Mishra, Rohaninejad, Chen and Abbeel 2018, "A Simple Neural Attentive Meta-Learner", section 3.1.

A sequence has the shape (positions, channels). Its outputs do not depend on what comes later, so that a block can read it once
and then give the output of the next position for many inputs that may stand there: a support set is read for all its queries.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from metarl.errors import ConfigError, require_whole


class CausalBlock(nn.Module, ABC):
    """Maps a sequence, shape (positions, channels), to one of more channels, its own inputs first.

    Attributes:
        channels: of an output.
    """

    channels: int

    def forward(self, sequence: Tensor) -> Tensor:
        """Return the outputs, shape (positions, channels)."""
        return self.read(sequence)[0]

    @abstractmethod
    def read(self, sequence: Tensor) -> tuple[Tensor, Any]:
        """Return the outputs, and what the position after the sequence needs of it: a pytree of tensors."""

    @abstractmethod
    def next(self, inputs: Tensor, kept: Any) -> Tensor:
        """Return the output of the position after a sequence for each of n inputs that may be there, shape (n, channels)."""

    @abstractmethod
    def empty(self, rows: int, length: int) -> Any:
        """Return what ``step`` fills: of no positions yet, with room for ``length``, shape (rows, length, ...)."""

    @abstractmethod
    def step(self, inputs: Tensor, seen: Any, time: Tensor) -> tuple[Tensor, Any]:
        """Return the outputs of a position each of many sequences, and what was seen with it.

        Args:
            inputs: shape (rows, channels).
            seen: of the positions before; it may be written into, but only where it says nothing yet.
            time: how many there are, shape (rows,).
        """


class DenseBlock(CausalBlock):
    r"""Concatenates to its input $\tanh(f) \sigma(g)$, where f and g are causal convolutions of kernel 2.

    Args:
        inputs: the channels of an input.
        dilation: R; the output of position t is of the inputs of t and t - R, zero where there are none.
        filters: D, the channels that are added.
    """

    def __init__(self, inputs: int, dilation: int, filters: int) -> None:
        super().__init__()
        self.convolutions = nn.Linear(2 * inputs, 2 * filters)  # of both positions, to f and g
        self.dilation = dilation
        self.channels = inputs + filters

    def read(self, sequence: Tensor) -> tuple[Tensor, Tensor]:
        """Return the outputs, and the input that the next position looks back at, shape (channels,); see ``CausalBlock``."""
        padded = functional.pad(sequence, (0, 0, self.dilation, 0))
        return self.next(sequence, padded[: len(sequence)]), padded[len(sequence)]

    def next(self, inputs: Tensor, kept: Tensor) -> Tensor:
        """Return the outputs of inputs, shape (n, channels), that look back at ``kept``, one for all or one each."""
        before, now = self.convolutions.weight.chunk(2, dim=1)
        filtered = functional.linear(inputs, now, self.convolutions.bias) + functional.linear(kept, before)
        values, gates = filtered.chunk(2, dim=-1)
        return torch.cat([inputs, values.tanh() * gates.sigmoid()], dim=-1)

    def empty(self, rows: int, length: int) -> Tensor:
        """Return inputs of nought; see ``CausalBlock``."""
        weight = self.convolutions.weight
        return weight.new_zeros(rows, length, weight.shape[1] // 2)

    def step(self, inputs: Tensor, seen: Tensor, time: Tensor) -> tuple[Tensor, Tensor]:
        """Return the outputs, which look back ``dilation`` positions, and all inputs; see ``CausalBlock``."""
        before = time - self.dilation
        index = before.clamp(min=0).view(-1, 1, 1).expand(-1, 1, seen.shape[2])
        kept = torch.where(before[:, None] >= 0, seen.gather(1, index).squeeze(1), 0)
        return self.next(inputs, kept), _put(seen, inputs, time)


class AttentionBlock(CausalBlock):
    r"""Concatenates to its input one look-up by keys: $\mathrm{softmax}(Q K^T / \sqrt{d}) V$, over this and earlier positions.

    Args:
        inputs: the channels of an input.
        key_size: d, the entries of a key and of a query.
        value_size: the entries of a value, the channels that are added.
    """

    def __init__(self, inputs: int, key_size: int, value_size: int) -> None:
        super().__init__()
        self.queries = nn.Linear(inputs, key_size)
        self.keys = nn.Linear(inputs, key_size)
        self.values = nn.Linear(inputs, value_size)
        self.scale = 1 / math.sqrt(key_size)
        self.channels = inputs + value_size

    def read(self, sequence: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Return the outputs, and all keys and values; see ``CausalBlock``."""
        keys, values = self.keys(sequence), self.values(sequence)
        seen = torch.ones(len(sequence), len(sequence), dtype=torch.bool, device=sequence.device).tril()
        logits = self.scale * self.queries(sequence) @ keys.t()
        weights = logits.masked_fill(~seen, -torch.inf).softmax(1)  # over keys
        return torch.cat([sequence, weights @ values], dim=1), (keys, values)

    def next(self, inputs: Tensor, kept: tuple[Tensor, Tensor]) -> Tensor:
        """Return the outputs of inputs that look up the kept positions and themselves; see ``CausalBlock``."""
        weights = self.attention(inputs, kept)
        found = weights[:, :-1] @ kept[1] + weights[:, -1:] * self.values(inputs)
        return torch.cat([inputs, found], dim=1)

    def empty(self, rows: int, length: int) -> tuple[Tensor, Tensor]:
        """Return keys and values of nought; see ``CausalBlock``."""
        weight = self.keys.weight
        return weight.new_zeros(rows, length, len(weight)), weight.new_zeros(rows, length, len(self.values.weight))

    def step(self, inputs: Tensor, seen: tuple[Tensor, Tensor], time: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Return the outputs, which look up all positions up to this one, and all keys and values; see ``CausalBlock``."""
        keys, values = _put(seen[0], self.keys(inputs), time), _put(seen[1], self.values(inputs), time)
        logits = self.scale * (keys @ self.queries(inputs)[:, :, None]).squeeze(2)
        later = torch.arange(keys.shape[1], device=keys.device) > time[:, None]
        weights = logits.masked_fill(later, -torch.inf).softmax(1)
        return torch.cat([inputs, (weights[:, None] @ values).squeeze(1)], dim=1), (keys, values)

    def attention(self, inputs: Tensor, kept: tuple[Tensor, Tensor]) -> Tensor:
        """Return how much each of n inputs attends to the kept positions and, last, to itself, shape (n, positions + 1)."""
        queries, keys = self.scale * self.queries(inputs), kept[0]
        own = (queries * self.keys(inputs)).sum(1, keepdim=True)
        return torch.cat([queries @ keys.t(), own], dim=1).softmax(1)


class Chain(CausalBlock):
    """Blocks one after the other.

    Args:
        blocks: at least one; each takes the channels of the one before.
    """

    def __init__(self, blocks: Iterable[CausalBlock]) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.channels = self.in_order[-1].channels

    @property
    def in_order(self) -> Sequence[CausalBlock]:
        """The blocks."""
        return cast(Sequence[CausalBlock], self.blocks)

    def read(self, sequence: Tensor) -> tuple[Tensor, list[Any]]:
        """Return the last block's outputs, and what every block keeps; see ``CausalBlock``."""
        every = []
        for block in self.in_order:
            sequence, kept = block.read(sequence)
            every.append(kept)
        return sequence, every

    def next(self, inputs: Tensor, kept: list[Any]) -> Tensor:
        """Return the last block's output of the next position; see ``CausalBlock``."""
        for block, part in zip(self.in_order, kept, strict=True):
            inputs = block.next(inputs, part)
        return inputs

    def empty(self, rows: int, length: int) -> list[Any]:
        """Return what every block fills; see ``CausalBlock``."""
        return [block.empty(rows, length) for block in self.in_order]

    def step(self, inputs: Tensor, seen: list[Any], time: Tensor) -> tuple[Tensor, list[Any]]:
        """Return the last block's outputs, and what every block saw; see ``CausalBlock``."""
        every = []
        for block, part in zip(self.in_order, seen, strict=True):
            inputs, part = block.step(inputs, part, time)
            every.append(part)
        return inputs, every


class TCBlock(Chain):
    r"""Dense blocks of dilations $2^1, 2^2, \ldots, 2^{\lceil \log_2 T \rceil}$, as the paper's pseudocode counts them.

    Args:
        inputs: the channels of an input.
        length: T, above one, the positions that are to be looked back at.
        filters: D, the channels that every dense block adds.
    """

    def __init__(self, inputs: int, length: int, filters: int) -> None:
        count = (length - 1).bit_length()  # log2 of T, rounded up
        super().__init__(DenseBlock(inputs + i * filters, 2 ** (i + 1), filters) for i in range(count))


def interleaved(inputs: int, length: int, filters: int, key_sizes: Sequence[int], value_sizes: Sequence[int]) -> Chain:
    """Return SNAIL's blocks: the first and every other one is attention, a TC block stands between two.

    Args:
        inputs: the channels of an input.
        length: T, the positions of the longest sequence.
        filters: D of the TC blocks.
        key_sizes: of each attention block.
        value_sizes: of each attention block.

    Raises:
        ConfigError: a size that is not a whole number above zero, or other numbers of key and value sizes.
    """
    require_whole(filters=filters)
    for name, sizes in (("key_sizes", key_sizes), ("value_sizes", value_sizes)):
        require_whole(**{f"{name}[{i}]": size for i, size in enumerate(sizes)})
    if len(key_sizes) != len(value_sizes) or not key_sizes:
        raise ConfigError(
            f"key_sizes={tuple(key_sizes)} and value_sizes={tuple(value_sizes)} must be as many, one of each for each "
            "attention block"
        )
    blocks: list[CausalBlock] = []
    for keys, values in zip(key_sizes, value_sizes, strict=True):
        if blocks:
            blocks.append(TCBlock(blocks[-1].channels, length, filters))
        blocks.append(AttentionBlock(blocks[-1].channels if blocks else inputs, keys, values))
    return Chain(blocks)


def _put(seen: Tensor, new: Tensor, time: Tensor) -> Tensor:
    """Return sequences, shape (rows, length, ...), with new entries, shape (rows, ...), at their times.

    Without gradients these are the same tensors, written into: to copy all positions at every step takes longer than all else.
    """
    put = Tensor.index_put if torch.is_grad_enabled() else Tensor.index_put_
    return put(seen, (torch.arange(len(seen), device=seen.device), time), new)
