r"""TURTLE: a small feed-forward network, the same for every coordinate, writes the update.

Huisman, Plaat and van Rijn 2022, "Stateless Neural Meta-Learning using Second-Order Gradients", eqs. 12 and 13.
"""

from collections.abc import Sequence
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from metarl.errors import ConfigError, require_between, require_positive, unknown_name
from metarl.learner import Layout
from metarl.networks import mlp
from metarl.rules.base import State, UpdateRule
from metarl.rules.preprocess import log_sign

Input = Literal["gradient", "loss", "processed-gradient", "processed-loss", "gradient-history", "update-history", "time"]
SMALL = 0.1
"""What the weights of a start as gradient descent are multiplied with, but for the two units that carry the gradient."""
COLUMNS = {"processed-gradient": 2, "processed-loss": 2}
"""How many numbers an input has for each coordinate, where it is not one."""


class TURTLE(UpdateRule):
    r"""Takes the step $\theta' = \theta + \alpha \circ g_\phi(I)$, with network $g_\phi$ and rates $\alpha$ meta-learned.

    Every coordinate is a row of the input $I$, shape (P, inputs), and the network sees each row by itself. With a linear
    network of weight $-\alpha$ it is MAML's step, with learned rates Meta-SGD's.

    Args:
        layout: the names and shapes behind theta.
        hidden: the widths of the network's hidden layers; the paper's best is five of 20.
        activation: ``"relu"``, ``"tanh"`` or ``"elu"``.
        inputs: what the network sees, by name: ``"gradient"`` and ``"loss"`` as they are, ``"processed-gradient"`` and
            ``"processed-loss"`` as logarithm and sign, ``"gradient-history"`` and ``"update-history"`` as moving averages,
            ``"time"``, the number of the step from 0.
        beta: how much of a moving average stays at each step, in [0, 1]. That of gradients starts as the first gradient and
            holds the present one, as in the authors' code; that of updates (changes of theta) starts as zero.
        alpha: ``"uniform"``, the rates are learned and start in U[0, 1] as in the authors' code; ``"ones"``, they are
            learned and start at one; ``"fixed"``, they stay one as in the paper's Figure 1.
        rate: start as gradient descent with this rate, exactly, rather than from random weights: two units of each hidden
            layer carry the gradient and its negative, and all learned rates start at this one, whatever ``alpha`` says.
        steps: the inner steps in training; with one, a history or the time says nothing and is refused.

    Raises:
        ConfigError: an unknown or repeated input, one that says nothing, beta outside [0, 1], or a network that cannot start
            as gradient descent.

    Example:
        >>> layout = Layout(("weight",), (torch.Size([2]),))
        >>> rule = TURTLE(layout, rate=0.5)
        >>> theta, _ = rule(torch.tensor([1.0, 1.0]), torch.tensor([1.0, -2.0]), torch.tensor(0.5), (), 0)
        >>> theta.tolist()
        [0.5, 2.0]
    """

    alpha: Tensor

    def __init__(
        self,
        layout: Layout,
        hidden: Sequence[int] = (20, 20, 20, 20, 20),
        activation: str = "relu",
        inputs: Input | Sequence[Input] = ("gradient",),
        beta: float = 0.9,
        alpha: Literal["uniform", "ones", "fixed"] = "uniform",
        rate: float | None = None,
        steps: int = 1,
    ) -> None:
        super().__init__(layout)
        require_between(0, 1, beta=beta)
        require_positive(steps=steps)
        self.inputs = _checked(inputs, steps)
        if not isinstance(hidden, Sequence):
            raise ConfigError(f"hidden={hidden!r} must be the widths of the hidden layers, such as (20, 20); () for none")
        if alpha not in ("uniform", "ones", "fixed"):
            raise ConfigError(f"alpha={alpha!r} must be 'uniform', 'ones' or 'fixed'")
        self.beta = beta
        self.numbers_per_coordinate = max(hidden, default=1)
        self.network = mlp(sum(COLUMNS.get(name, 1) for name in self.inputs), 1, hidden, activation, init="torch")
        if rate is not None:
            require_positive(rate=rate)
            # with learned rates alpha starts at the rate and the network at minus the gradient, so that TRPO's damping, which
            # knows no units, treats alpha as it treats Meta-SGD's; started at one it learned more slowly on 2D navigation
            start = torch.full((layout.size,), 1.0 if alpha == "fixed" else rate)
            self._check_start(rate, hidden, activation)
            self._start_as_gradient_descent(rate if alpha == "fixed" else 1.0, hidden)
        else:
            start = torch.rand(layout.size) if alpha == "uniform" else torch.ones(layout.size)
        if alpha == "fixed":
            self.register_buffer("alpha", start)
        else:
            self.alpha = nn.Parameter(start)

    def _check_start(self, rate: float, hidden: Sequence[int], activation: str) -> None:
        """Raise ConfigError if the network cannot start as gradient descent."""
        if "gradient" not in self.inputs:
            raise ConfigError(f"rate={rate} needs 'gradient' among inputs={self.inputs}: add it, or use rate=None")
        if hidden and (activation != "relu" or min(hidden) < 2):
            raise ConfigError(
                f"rate={rate} needs activation='relu' and hidden layers of at least two units, "
                f"not activation={activation!r} and hidden={tuple(hidden)}: change them, or use rate=None"
            )

    def _start_as_gradient_descent(self, rate: float, hidden: Sequence[int]) -> None:
        """Make the network minus ``rate`` times the gradient: in each hidden layer two units carry it and its negative."""
        column = sum(COLUMNS.get(name, 1) for name in self.inputs[: self.inputs.index("gradient")])
        linear = [layer for layer in self.network if isinstance(layer, nn.Linear)]
        with torch.no_grad():
            for layer in linear[:-1]:
                layer.weight *= SMALL
                layer.weight[:2] = 0
                layer.weight[0, column] = 1
                layer.weight[1, column if layer is linear[0] else 1] = -1 if layer is linear[0] else 1
                column = 0
            linear[-1].weight.zero_()
            linear[-1].weight[0, column] = -rate
            if hidden:
                linear[-1].weight[0, 1] = rate

    def initial_state(self, theta: Tensor) -> State:
        """Return the moving average before the first step, shape (P,), if the network sees one."""
        return torch.zeros_like(theta) if {"gradient-history", "update-history"} & set(self.inputs) else ()

    def forward(self, theta: Tensor, gradient: Tensor, loss: Tensor, state: State, step: int) -> tuple[Tensor, State]:
        """Return theta moved by the network's update, shape (P,), and the moving average."""
        history = state
        if "gradient-history" in self.inputs:
            history = gradient if step == 0 else self.beta * history + (1 - self.beta) * gradient
        columns = [self._columns(name, gradient, loss, history, step) for name in self.inputs]
        update = self.alpha * self.network(torch.cat(columns, dim=-1)).squeeze(-1)
        if "update-history" in self.inputs:
            history = update if step == 0 else self.beta * history + (1 - self.beta) * update
        return theta + update, history

    def _columns(self, name: Input, gradient: Tensor, loss: Tensor, history: State, step: int) -> Tensor:
        """Return one input for every coordinate, shape (P, its width)."""
        if name == "processed-gradient":
            return log_sign(gradient)
        if name == "processed-loss":
            return log_sign(loss).expand(*gradient.shape, 2)
        columns = {"gradient": gradient, "loss": loss, "time": torch.full_like(gradient, step)}
        column: Any = columns.get(name, history)
        return column.expand_as(gradient).unsqueeze(-1)  # type: ignore[no-any-return]

    def rates(self, step: int = 0) -> Tensor:
        """Return alpha, shape (P,), which scales the network's updates."""
        return self.alpha


def as_names(inputs: Input | Sequence[Input]) -> tuple[Input, ...]:
    """Return input names as a tuple; one name may stand alone."""
    if not isinstance(inputs, Sequence):
        raise ConfigError(f"inputs={inputs!r} must be names: {', '.join(get_args(Input))}")
    return (inputs,) if isinstance(inputs, str) else tuple(inputs)


def _checked(inputs: Input | Sequence[Input], steps: int) -> tuple[Input, ...]:
    names = as_names(inputs)
    for name in names:
        if name not in get_args(Input):
            raise unknown_name("inputs", name, get_args(Input))
        if steps == 1 and (name == "time" or name.endswith("-history")):
            raise ConfigError(f"inputs={name!r} says nothing with inner_steps=1: leave it out, or take more inner steps")
    if not names or len(set(names)) < len(names):
        raise ConfigError(f"inputs={names!r} must name at least one input, each once")
    if {"gradient-history", "update-history"} <= set(names):
        raise ConfigError(f"inputs={names!r} has two histories: the rule keeps one, of gradients or of updates")
    return names
