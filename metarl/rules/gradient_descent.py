r"""Gradient descent: MAML's inner step.

Finn, Abbeel and Levine 2017, "Model-Agnostic Meta-Learning for Fast Adaptation of Deep Networks", eq. 1; learned rates
by layer and step as in Antoniou, Edwards and Storkey 2019, "How to train your MAML", section 4.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from metarl.errors import ConfigError, require_positive
from metarl.learner import Layout
from metarl.rules.base import State, UpdateRule

Granularity = Literal["fixed", "global", "step", "layer", "layer-step"]


class GradientDescent(UpdateRule):
    r"""Takes the step $\theta' = \theta - \alpha \nabla L(\theta)$.

    Args:
        layout: the names and shapes behind theta.
        rate: alpha: one number for all steps, or one for each (a step beyond the last takes the last: Finn's halving
            on 2D navigation is ``(0.5, 0.25)``).
        learned: which rates are meta-learned: ``"fixed"``, none; ``"global"``, one; ``"step"``, one a step;
            ``"layer"``, one a layer; ``"layer-step"``, one for each layer and step.
        steps: how many steps have a rate of their own under ``"step"`` and ``"layer-step"``.

    Raises:
        ConfigError: a rate that is not above zero, or an unknown ``learned``.

    Example:
        >>> layout = Layout(("weight",), (torch.Size([2]),))
        >>> rule = GradientDescent(layout, rate=0.5)
        >>> theta, _ = rule(torch.tensor([1.0, 1.0]), torch.tensor([1.0, -2.0]), torch.tensor(0.5), (), 0)
        >>> theta.tolist()
        [0.5, 2.0]
    """

    rate_parameters = ("table",)
    table: Tensor
    layer: Tensor

    def __init__(
        self, layout: Layout, rate: float | Sequence[float] = 0.1, learned: Granularity = "fixed", steps: int = 1
    ) -> None:
        super().__init__(layout)
        try:
            rates = [float(value) for value in rate] if isinstance(rate, Sequence) else [float(rate)]
        except (TypeError, ValueError) as error:
            raise ConfigError(f"rate={rate!r} is not a number: give one, or one for each step") from error
        if not rates:
            raise ConfigError("rate=() is empty: give one rate, or one for each step")
        require_positive(steps=steps, **{f"rate[{i}]": value for i, value in enumerate(rates)})
        if learned not in ("fixed", "global", "step", "layer", "layer-step"):
            raise ConfigError(f"learned={learned!r} must be 'fixed', 'global', 'step', 'layer' or 'layer-step'")
        if learned in ("step", "layer-step"):
            rates = [rates[min(i, len(rates) - 1)] for i in range(max(steps, len(rates)))]
        elif learned != "fixed" and len(rates) > 1:
            raise ConfigError(f"rate={tuple(rates)} has one rate a step, but learned={learned!r} shares one among steps")
        by_layer = learned.startswith("layer")
        columns = len(layout.layers) if by_layer else 1
        table = torch.tensor(rates)[:, None].expand(-1, columns).clone()  # (steps, layers)
        if learned == "fixed":
            self.register_buffer("table", table)
        else:
            self.table = nn.Parameter(table)
        layer = layout.layer_index() if by_layer else torch.zeros(1, dtype=torch.long)
        self.register_buffer("layer", layer)

    def forward(self, theta: Tensor, gradient: Tensor, loss: Tensor, state: State, step: int) -> tuple[Tensor, State]:
        """Return theta moved down the gradient, shape (P,), and the state, which this rule does not use."""
        row = self.table[min(step, len(self.table) - 1)]
        return theta - row[self.layer] * gradient, state

    def rates(self, step: int = 0) -> Tensor:
        """Return the rate of every coordinate at a step, shape (P,)."""
        return self.table[min(step, len(self.table) - 1)][self.layer].expand(self.layout.size)
