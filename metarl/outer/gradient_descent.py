"""Gradient descent through the adaptation, with any torch optimiser: MAML's outer loop.

On a policy problem, where the loss is REINFORCE's with a baseline, this is the policy-gradient outer loop.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from metarl import processes
from metarl.adapters.base import Adapter, Meta, learned
from metarl.compiler import compiled
from metarl.errors import ConfigError, NonFiniteError, require_flag, require_positive, require_whole
from metarl.outer.at_once import fitting_tasks, is_small, one_task_fits
from metarl.outer.base import Outcome, OuterLoop, State, require_finite
from metarl.outer.meta_gradient import Batch, meta_gradient, of_one_shape
from metarl.outer.optimisers import COUNTS, ELEMENTWISE, HOW, TRACED, Optimiser, OptimiserState
from metarl.outer.vectors import limited, stacked, total_norm


@dataclass(frozen=True)
class GradientDescent(OuterLoop):
    r"""Takes $\Theta \leftarrow \Theta - \beta \nabla_\Theta \frac1n \sum_i L_i(\theta_i')$, or what the optimiser makes of it.

    Raises:
        ConfigError: an unknown optimiser or a value out of range.
    """

    learning_rate: float = 1e-3
    """Beta, the outer learning rate."""
    halve_every: int | None = None
    """Halve it after every so many outer steps (Prototypical Networks: 2,000 episodes)."""
    optimizer: str = "Adam"
    """The name of a class in ``torch.optim``; any but LBFGS, SparseAdam and Muon."""
    optimizer_kwargs: Mapping[str, Any] = field(default_factory=dict)
    """Its other arguments."""
    clip_task: float | None = None
    """Clip every entry of each task's gradient by theta to plus or minus this, before the mean (TURTLE: 10)."""
    clip_value: float | None = None
    """Clip every entry of the meta-gradient to plus or minus this (MAML: 10 on miniImageNet)."""
    clip_norm: float | None = None
    """Scale the meta-gradient down to this norm (the LSTM meta-learner: 0.25)."""
    tasks_at_once: int | None = None
    """Differentiate so many tasks together, one part of the meta-batch after the other; None for as many as have room, which
    follows from the machine's memory and threads (and moves the last digits of sums)."""
    recompute_steps: bool | None = None
    """Keep of every inner step only where it began, and take it again for the gradient: the graph of one step instead of all
    (gradient checkpointing), and one more pass forwards. None: where the whole graph of a single task has no room."""
    compile: bool = False
    """Compile the meta-gradient with ``torch.compile``, and on a CPU Adam's or AdamW's step with it: several times faster on
    small predictors, after a minute."""
    steps_per_call: int = 1
    """Take so many outer steps in one call, with the optimiser inside it (Adam or AdamW): with ``compile`` small predictors'
    steps are shorter than a call. A call begins at a multiple of this, has no logged step, and holds the tasks of all its
    steps, drawn together: for a seed they are others than single steps', with one number of shots if that is drawn. Steps up to
    a logged one and at a run's end that fill no call are taken singly: log seldom, and end at a multiple, or a run that goes on
    from there is another than an uninterrupted one. Callbacks are called for every step when the whole call is done."""

    def __post_init__(self) -> None:
        require_flag(compile=self.compile)
        require_whole(steps_per_call=self.steps_per_call)
        for name in ("halve_every", "clip_task", "clip_value", "clip_norm", "tasks_at_once"):
            if getattr(self, name) is not None:
                require_positive(**{name: getattr(self, name)})
        for name in ("halve_every", "tasks_at_once"):
            if getattr(self, name) is not None:
                require_whole(**{name: getattr(self, name)})
        if not isinstance(self.recompute_steps, bool | None):
            raise ConfigError(f"recompute_steps={self.recompute_steps!r} must be True, False or None, to decide by the room")
        is_traced = self._optimiser.is_traced  # its name and arguments are looked at now, not at the first step
        if self.steps_per_call > 1 and not is_traced:
            given = f"optimizer={self.optimizer!r}, optimizer_kwargs={dict(self.optimizer_kwargs)!r}"
            raise ConfigError(
                f"steps_per_call={self.steps_per_call} needs an optimiser that can be compiled, and {given} cannot: use "
                f"{' or '.join(TRACED)} without {', '.join(sorted(HOW))}, or steps_per_call=1"
            )

    @cached_property
    def _optimiser(self) -> Optimiser:
        return Optimiser(self.optimizer, self.learning_rate, self.optimizer_kwargs)

    @cached_property
    def _gradient(self) -> Callable[..., tuple[Tensor, Tensor, Meta]]:
        return compiled(self.gradient, "the meta-gradient") if self.compile else self.gradient

    @cached_property
    def _gradients(self) -> Callable[..., tuple[Tensor, Tensor, Meta]]:
        """The same of several runs, which are the first axis of all tensors."""
        return compiled(self._of_runs, "the meta-gradient") if self.compile else self._of_runs

    def _of_runs(
        self, adapter: Adapter, meta: Meta, experiences: list[Any], query: Any, count: int, at_once: int, recompute: bool
    ) -> tuple[Tensor, Tensor, Meta]:
        def one(meta: Meta, experiences: list[Any], query: Any) -> tuple[Tensor, Tensor, Meta]:
            return self.gradient(adapter, meta, experiences, query, count, at_once, recompute)

        result: tuple[Tensor, Tensor, Meta] = torch.vmap(one)(meta, experiences, query)
        return result

    @cached_property
    def _programs(self) -> dict[tuple[int, bool], Callable[..., tuple[Meta, OptimiserState, Tensor, Tensor]]]:
        """What takes several steps, by how many they are and whether they are small; each is compiled at its first call."""
        return {}

    @property
    def _has_own_move(self) -> bool:
        return type(self).move is not GradientDescent.move

    def check(self, adapter: Adapter) -> None:
        """Raise ConfigError if several steps of a call cannot know what the earlier ones of them changed."""
        if self.steps_per_call == 1:
            return
        if self._has_own_move:
            raise ConfigError(f"steps_per_call={self.steps_per_call} would not call {type(self).__name__}.move: use 1")
        if adapter.problem.on_policy:
            raise ConfigError(f"steps_per_call={self.steps_per_call} needs a predictor: a policy is sampled after every step")
        if adapter.learner.keeps_averages:
            raise ConfigError(
                f"steps_per_call={self.steps_per_call} keeps no running averages of batch norm: use steps_per_call=1"
            )
        if processes.count() > 1:
            raise ConfigError(f"steps_per_call={self.steps_per_call} is for one process: they share every step's gradient")

    def init(self, adapter: Adapter, meta: Meta, generator: torch.Generator) -> State:
        """Return an optimiser's state before its first step, and the count of steps."""
        return {"optimizer": {}, "steps": 0}

    def require_state(self, meta: Meta, ours: State, theirs: State) -> None:
        """Raise CheckpointError if the checkpoint's optimiser is of other meta-parameters."""
        self._optimiser.require_state(learned(meta), theirs["optimizer"])

    def improve(
        self, adapter: Adapter, meta: Meta, state: State, batch: Batch, generator: torch.Generator
    ) -> tuple[Outcome, State]:
        """Differentiate the query loss through a replay of the adaptation, and let the optimiser step."""
        alone = processes.count() == 1
        if self.compile and alone and self._optimiser.is_traced and not self._has_own_move and meta["theta"].is_cpu:
            return self._call(adapter, meta, state, batch, 1)
        room = self._room(adapter, meta, batch)
        loss, norm, gradients = self._gradient(adapter, meta, batch.experiences, batch.query, batch.count, *room, clip=alone)
        if not alone:
            loss, gradients = processes.mean(loss), {name: processes.mean(value) for name, value in gradients.items()}
            norm, gradients = self.clip(gradients)
        require_finite("query loss or meta-gradient", loss, norm)
        meta, state = self.move(meta, gradients, state)
        return Outcome(meta, loss, batch.adaptation, batch.query, {"gradient_norm": norm}), state

    def improve_often(
        self, adapter: Adapter, meta: Meta, state: State, batch: Batch, generator: torch.Generator
    ) -> tuple[Outcome, State]:
        """Take several steps of ``improve`` in one call, each on its part of the tasks."""
        return self._call(adapter, meta, state, batch, self.steps_per_call)

    def _call(self, adapter: Adapter, meta: Meta, state: State, batch: Batch, steps: int) -> tuple[Outcome, State]:
        count = batch.count // steps
        scales = [self._scale(state["steps"] + step) for step in range(steps)]
        first = Batch(_rows(batch.experiences, 0, count), _rows(batch.query, 0, count), count)
        kind = steps, is_small(meta, first.experiences, first.query, count)
        if kind not in self._programs:
            self._programs[kind] = (
                compiled(self.several, "the outer step", in_cpp=True, alone=kind[1]) if self.compile else self.several
            )
        moved, optimiser, losses, norms = self._programs[kind](
            adapter,
            meta,
            {**self._optimiser.traced_state(learned(meta)), **state["optimizer"]},
            torch.tensor(scales, dtype=torch.float64, device=meta["theta"].device),
            batch.experiences,
            batch.query,
            count,
            *self._room(adapter, meta, first),
        )
        require_finite("query loss or meta-gradient", losses, norms)
        outcome = Outcome({**meta, **moved}, losses[-1], batch.adaptation, batch.query, {"gradient_norm": norms[-1]})
        return outcome, {"optimizer": optimiser, "steps": state["steps"] + steps}

    def several(
        self,
        adapter: Adapter,
        meta: Meta,
        state: OptimiserState,
        scales: Tensor,
        experiences: list[Any],
        query: Any,
        count: int,
        at_once: int,
        recompute: bool,
    ) -> tuple[Meta, OptimiserState, Tensor, Tensor]:
        """Return the learned meta-parameters and the optimiser's state after several steps, and their losses and norms.

        Args:
            adapter: replays the adaptation.
            meta: the meta-parameters.
            state: the optimiser's.
            scales: what the learning rate of each step is multiplied with, shape (steps,).
            experiences: the support experience of all steps' tasks, step by step.
            query: the query experience of all.
            count: the number of tasks of a step.
            at_once: how many of them are differentiated together.
            recompute: whether inner steps are computed again.
        """
        losses, norms, moved = [], [], learned(meta)
        for step, scale in enumerate(scales.unbind()):
            part = _rows(experiences, step, count), _rows(query, step, count)
            loss, norm, gradients = self.gradient(adapter, {**meta, **moved}, *part, count, at_once, recompute)
            moved, state = self._optimiser.traced_step(moved, gradients, state, scale)
            losses.append(loss)
            norms.append(norm)
        return moved, state, torch.stack(losses), torch.stack(norms)

    def improve_together(
        self,
        adapter: Adapter,
        metas: list[Meta],
        states: list[State],
        batches: list[Batch],
        generators: list[torch.Generator],
    ) -> list[tuple[Outcome, State] | NonFiniteError]:
        """Return what ``improve`` gives for each of several runs: one more batched axis, if the optimiser allows."""
        if self.optimizer not in ELEMENTWISE or processes.count() > 1 or not of_one_shape(batches):
            return super().improve_together(adapter, metas, states, batches, generators)
        meta, experiences, query = (
            stacked(parts) for parts in (metas, [b.experiences for b in batches], [b.query for b in batches])
        )
        room = self._room(adapter, metas[0], batches[0], len(batches))
        losses, norms, gradients = self._gradients(adapter, meta, experiences, query, batches[0].count, *room)
        moved, after = self.move(meta, gradients, _stacked_state(states))
        results: list[tuple[Outcome, State] | NonFiniteError] = []
        for run, (loss, norm, batch) in enumerate(zip(losses, norms, batches, strict=True)):
            try:
                require_finite("query loss or meta-gradient", loss, norm)
            except NonFiniteError as error:
                results.append(error)
                continue
            values = {name: value[run].clone() for name, value in moved.items()}
            outcome = Outcome(values, loss, batch.adaptation, batch.query, {"gradient_norm": norm})
            results.append((outcome, _state_of(after, run)))
        return results

    def _room(self, adapter: Adapter, meta: Meta, batch: Batch, runs: int = 1) -> tuple[int, bool]:
        """Return how many tasks are differentiated together, and whether steps are computed again; one run speaks for all."""
        given = adapter, meta, batch.experiences, batch.query, batch.count, runs
        recompute = not one_task_fits(*given) if self.recompute_steps is None else self.recompute_steps
        return self.tasks_at_once or fitting_tasks(*given, recompute), recompute

    def gradient(
        self,
        adapter: Adapter,
        meta: Meta,
        experiences: list[Any],
        query: Any,
        count: int,
        at_once: int,
        recompute: bool = False,
        clip: bool = True,
    ) -> tuple[Tensor, Tensor, Meta]:
        """Return the loss, and the gradient's norm and the gradient as ``clip`` does; a pure function, which ``vmap`` takes."""
        loss, gradients = meta_gradient(adapter, meta, experiences, query, count, self.clip_task, at_once, recompute)
        return loss, *(self.clip(gradients) if clip else (loss, gradients))

    def clip(self, gradients: Meta) -> tuple[Tensor, Meta]:
        """Return the norm of a gradient, and the gradient clipped as the options say."""
        before = norm = total_norm(gradients)
        if self.clip_value is not None:
            gradients = {name: value.clamp(-self.clip_value, self.clip_value) for name, value in gradients.items()}
            norm = total_norm(gradients)
        if self.clip_norm is not None:
            gradients = limited(gradients, norm, self.clip_norm)
        return before, gradients

    def _scale(self, steps: int) -> float:
        """Return what the learning rate is multiplied with after so many steps."""
        return 1.0 if self.halve_every is None else 0.5 ** (steps // self.halve_every)

    def move(self, meta: Meta, gradients: Meta, state: State) -> tuple[Meta, State]:
        """Return the meta-parameters that the optimiser moves to, and the state after it."""
        moved, optimiser = self._optimiser.step(learned(meta), gradients, state["optimizer"], self._scale(state["steps"]))
        return {**meta, **moved}, {"optimizer": optimiser, "steps": state["steps"] + 1}


def _rows(experience: Any, step: int, count: int) -> Any:
    """Return what one of several steps has of their experience."""
    return tree_map(lambda leaf: leaf[step * count : (step + 1) * count], experience)


def _stacked_state(states: list[State]) -> State:
    """Return the runs' states as one; the optimiser's counts of steps are alike in all."""

    def entry(name: str, key: str, value: Any) -> Any:
        if key in COUNTS or not isinstance(value, Tensor):
            return value
        return torch.stack([state["optimizer"][name][key] for state in states])

    return {**states[0], "optimizer": _entries(entry, states[0]["optimizer"])}


def _state_of(stacked: State, run: int) -> State:
    """Return one run's state."""

    def entry(name: str, key: str, value: Any) -> Any:
        if not isinstance(value, Tensor):
            return value
        return (value if key in COUNTS else value[run]).clone()

    return {**stacked, "optimizer": _entries(entry, stacked["optimizer"])}


def _entries(function: Callable[[str, str, Any], Any], state: OptimiserState) -> OptimiserState:
    """Return an optimiser's state with what a function of a parameter's name, an entry's and its value gives for each."""
    return {name: {key: function(name, key, value) for key, value in entries.items()} for name, entries in state.items()}
