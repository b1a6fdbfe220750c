"""The optimisers of ``torch.optim`` by name, as pure functions: the state comes in and goes out."""

from collections import defaultdict
from collections.abc import Mapping
from inspect import signature
from typing import Any

import torch
from torch import Tensor
from torch.optim.adam import adam

from metarl.adapters.base import Meta
from metarl.errors import CheckpointError, ConfigError, require_positive, unknown_name

UNFIT = ("Optimizer", "LBFGS", "SparseAdam", "Muon")
"""Optimisers that need a closure, sparse gradients or matrices; theta is a vector."""
ELEMENTWISE = ("SGD", "Adam", "AdamW", "Adamax", "RAdam", "RMSprop", "Adagrad", "Adadelta", "Rprop")
"""Optimisers that treat every number by itself, so that agents side by side can share a step."""
COUNTS = ("step",)
"""What these remember that is no number of each number, but of the steps taken."""
MEANS = ("exp_avg", "exp_avg_sq")
"""What Adam remembers of every number."""
TRACED = ("Adam", "AdamW")
"""Optimisers whose step can be a part of a compiled program, without arguments that choose how it is computed."""
HOW = {"fused", "foreach", "capturable", "differentiable"}
"""Those arguments."""
OptimiserState = dict[str, dict[str, Any]]
"""What an optimiser remembers of every meta-parameter, by its name; empty before the first step."""


class Optimiser:
    """An optimiser of ``torch.optim``, fused where it can be.

    Args:
        name: of the class; any but LBFGS, SparseAdam and Muon.
        learning_rate: its ``lr``.
        kwargs: its other arguments.

    Attributes:
        is_traced: whether there is a ``traced_step``.

    Raises:
        ConfigError: an unknown optimiser, or arguments that do not fit.
    """

    def __init__(self, name: str, learning_rate: float, kwargs: Mapping[str, Any]) -> None:
        require_positive(learning_rate=learning_rate)
        known = [n for n, c in vars(torch.optim).items() if isinstance(c, type) and issubclass(c, torch.optim.Optimizer)]
        known = [n for n in known if n not in UNFIT]
        if name not in known:
            raise unknown_name("optimizer", name, known)
        cls = getattr(torch.optim, name)
        chosen = {"fused", "foreach"} & set(kwargs)
        self.is_traced = name in TRACED and not HOW & set(kwargs)
        fused = {"fused": True} if "fused" in signature(cls).parameters and not chosen else {}
        try:
            self._optimizer: torch.optim.Optimizer = cls([torch.zeros(1)], lr=learning_rate, **{**fused, **kwargs})
        except (TypeError, ValueError) as error:
            raise ConfigError(f"optimizer_kwargs={dict(kwargs)!r} does not fit {name}: {error}") from error
        self._learning_rate = learning_rate
        self._settings = dict(self._optimizer.defaults)

    def require_state(self, values: Meta, state: OptimiserState) -> None:
        """Raise CheckpointError if a state is not of these values: fused optimisers read memory without looking at shapes."""
        _, expected = self.step(values, {name: torch.zeros_like(value) for name, value in values.items()}, {})
        theirs, ours = _kinds(state), _kinds({name: expected[name] for name in state if name in expected})
        for name in [*theirs, *ours]:
            if theirs.get(name) != ours.get(name):
                raise CheckpointError(
                    f"the checkpoint is damaged: its optimiser's {name} is not of this agent's {name.partition('.')[0]} "
                    f"({theirs.get(name, 'missing')}, not {ours.get(name, 'there at all')}); use an earlier checkpoint"
                )

    def step(
        self, values: Meta, gradients: Mapping[str, Tensor], state: OptimiserState, scale: float = 1.0
    ) -> tuple[Meta, OptimiserState]:
        """Return the values after a step down the gradients, and the state after it; nothing handed in is changed.

        Args:
            values: by name.
            gradients: of the same names and shapes.
            state: what the step before returned; ``{}`` at first.
            scale: what the learning rate is multiplied with.
        """
        moved = {name: value.detach().clone() for name, value in values.items()}
        kept: defaultdict[Tensor, Any] = defaultdict(dict)
        for name, value in moved.items():
            value.grad = gradients[name]
            if name in state:
                kept[value] = {key: x.clone() if isinstance(x, Tensor) else x for key, x in state[name].items()}
        self._optimizer.state = kept
        group = self._optimizer.param_groups[0]
        group["params"], group["lr"] = list(moved.values()), self._learning_rate * scale
        self._optimizer.step()
        after = {name: dict(kept[value]) for name, value in moved.items() if value in kept}
        for value in moved.values():
            value.grad = None
        return moved, after

    def traced_step(
        self, values: Meta, gradients: Mapping[str, Tensor], state: OptimiserState, scale: Tensor
    ) -> tuple[Meta, OptimiserState]:
        """Return what ``step`` does, to rounding, by operations that ``torch.compile`` takes.

        Args:
            values: by name.
            gradients: of the same names and shapes.
            state: what the step before returned, or ``traced_state``.
            scale: what the learning rate is multiplied with, shape ().
        """
        moved = [value.clone() for value in values.values()]
        after = {name: {key: x.clone() for key, x in state[name].items()} for name in values}
        settings = self._settings
        kept: dict[str, list[Tensor]] = {
            key: [entries[key] for entries in after.values() if key in entries] for key in (*MEANS, "max_exp_avg_sq")
        }
        counts = [entries["step"].double() for entries in after.values()]  # whose powers are taken
        adam(  # by position: torch.compile looks for the counts at the sixth place
            moved,
            [gradients[name] for name in values],
            kept["exp_avg"],
            kept["exp_avg_sq"],
            kept["max_exp_avg_sq"],
            counts,
            foreach=False,
            fused=False,
            capturable=moved[0].is_cuda,  # or torch.compile leaves it out, and it waits for the device
            amsgrad=settings["amsgrad"],
            beta1=settings["betas"][0],
            beta2=settings["betas"][1],
            lr=scale * self._learning_rate,
            weight_decay=settings["weight_decay"],
            eps=settings["eps"],
            maximize=settings["maximize"],
            decoupled_weight_decay=settings["decoupled_weight_decay"],
        )
        for entries, count in zip(after.values(), counts, strict=True):
            entries["step"] = count.to(entries["step"].dtype)
        return dict(zip(values, moved, strict=True)), after

    def traced_state(self, values: Meta) -> OptimiserState:
        """Return the state before the first step, as ``traced_step`` takes it; ``step`` begins with nothing."""
        squares = ("max_exp_avg_sq",) if self._settings["amsgrad"] else ()
        return {
            name: {"step": torch.zeros((), device=value.device), **{key: torch.zeros_like(value) for key in (*MEANS, *squares)}}
            for name, value in values.items()
        }


def _kinds(state: OptimiserState) -> dict[str, Any]:
    """Return the shape and the dtype of everything in a state, by name."""
    return {
        f"{name}.{key}": f"{value.dtype} {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
        for name, entries in state.items()
        for key, value in entries.items()
    }
