"""Recurrent readers: the support set is a sequence, and what is kept of it is the state of a recurrent core.

Hochreiter, Younger and Conwell 2001, "Learning to Learn Using Gradient Descent"; Santoro et al. 2016, "Meta-Learning with
Memory-Augmented Neural Networks", section 2: labels come one step late, so that no output knows its own.
"""

from abc import ABC, abstractmethod
from typing import Any, Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from metarl.adapters.memory.base import MemoryReader, require_targets
from metarl.adapters.reading import Support
from metarl.errors import ConfigError, unknown_name
from metarl.problems.supervised import Loss

CoreState = Any
"""What a core remembers: any pytree of tensors, leading axes first."""
LossOn = Literal["sequence", "queries"]


class RecurrentCore(nn.Module, ABC):
    """A step from an input and a state to an output and the next state, for any leading axes: tasks, queries, environments.

    A step has two halves. ``project`` does what the state has no part in, for a whole sequence in one product; ``advance`` does
    the rest. Readers of sequences call them apart; ``core(inputs, state)`` is one after the other, which a policy steps with.

    Attributes:
        outputs: the entries of an output.
        capacity: the steps that it can remember one by one; None without such a limit.
    """

    outputs: int
    capacity: int | None = None

    @abstractmethod
    def initial_state(self) -> CoreState:
        """Return the state before the first step, without leading axes."""

    @abstractmethod
    def project(self, inputs: Tensor) -> Tensor:
        """Return inputs of shape (..., inputs) as ``advance`` takes them."""

    @abstractmethod
    def advance(self, projected: Tensor, state: CoreState) -> tuple[Tensor, CoreState]:
        """Return the output, shape (..., outputs), and the next state."""

    def forward(self, inputs: Tensor, state: CoreState) -> tuple[Tensor, CoreState]:
        """Return the output, shape (..., outputs), for inputs of shape (..., inputs), and the next state."""
        return self.advance(self.project(inputs), state)


class Sequence(NamedTuple):
    """What is kept of a support set.

    Attributes:
        state: the core's, after the last example.
        pending: the last example's target as numbers, shape (outputs,), which the next step will see.
        outputs: the predictions on the way, each made before its own target was seen, shape (examples, outputs).
        targets: the support targets, as the problem has them.
    """

    state: CoreState
    pending: Tensor
    outputs: Tensor
    targets: Tensor


class RecurrentReader(MemoryReader):
    """Reads the support set in the order given, with every target one step late, and answers each query in one step more.

    The input of step t is the embedding $x_t$ beside the target $y_{t-1}$ of the step before (zeros at first). Queries start
    from what the whole support set has left, each on its own.

    Args:
        core: makes an output of an input and a state.
        outputs: the ways of a task, or the numbers of a target.
        loss_on: what training minimises: the criterion over the ``"sequence"``, predictions on the way and answers alike, as
            Santoro et al., or over the ``"queries"`` alone.

    Raises:
        ConfigError: an unknown ``loss_on``.
    """

    def __init__(self, core: RecurrentCore, outputs: int, loss_on: LossOn = "sequence") -> None:
        super().__init__()
        if loss_on not in get_args(LossOn):
            raise unknown_name("loss_on", loss_on, get_args(LossOn))
        self.core = core
        self.head = nn.Linear(core.outputs, outputs)
        self.loss_on = loss_on

    def read(self, support: Support) -> Sequence:
        """Return the state after the support set, and the predictions on the way.

        Raises:
            ConfigError: more examples than the core has room for, or targets of another size than it was made for.
        """
        outputs, states = zip(*self.steps(support), strict=True)
        return Sequence(states[-1], support.columns[-1], self.head(torch.stack(outputs)), support.targets)

    def steps(self, support: Support) -> list[tuple[Tensor, CoreState]]:
        """Return the core's output, shape (core.outputs,), and its state after every example."""
        self._require_room(support)
        previous = torch.cat([torch.zeros_like(support.columns[:1]), support.columns[:-1]])
        projected = self.core.project(torch.cat([support.inputs, previous], 1))
        steps, state = [], self.core.initial_state()
        for one in projected.unbind():
            output, state = self.core.advance(one, state)
            steps.append((output, state))
        return steps

    def answer(self, queries: Tensor, kept: Sequence) -> Tensor:
        """Return logits or values, shape (queries, outputs), each query one step on from the state that was kept."""
        inputs, state = tree_map(lambda one: one.expand(len(queries), *one.shape), (kept.pending, kept.state))
        answers: Tensor = self.head(self.core(torch.cat([queries, inputs], 1), state)[0])
        return answers

    def on_the_way(self, kept: Sequence) -> Tensor:
        """Return the predictions on the way, shape (support examples, outputs)."""
        return kept.outputs

    def loss(self, queries: Tensor, kept: Sequence, targets: Tensor, criterion: Loss) -> Tensor:
        """Return the criterion over the predictions on the way and the answers, or over the answers alone, shape ()."""
        answers = self.answer(queries, kept)
        if self.loss_on == "queries":
            return criterion(answers, targets)
        return criterion(torch.cat([kept.outputs, answers]), torch.cat([kept.targets, targets]))

    def _require_room(self, support: Support) -> None:
        require_targets(self, support, self.head.out_features)
        examples = len(support.inputs)
        if self.core.capacity is not None and examples + 1 > self.core.capacity:
            raise ConfigError(
                f"slots={self.core.capacity} hold no {examples} support examples and a query: give at least {examples + 1}, "
                "or fewer shots"
            )
