r"""A whole training run that can be differentiated without being remembered: it is run backwards.

Maclaurin, Duvenaud and Adams 2015, "Gradient-based Hyperparameter Optimization through Reversible Learning", Algorithms 1 to 3.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from metarl.errors import ConfigError, NonFiniteError
from metarl.outer.exact_arithmetic import DENOMINATOR, LIMIT, InformationBuffer, numerator, to_fixed, to_float

Loss = Callable[..., Tensor]
"""``loss(theta, step, *parameters)``: the training loss, shape (), at theta of shape (P,) in a step counted from 0."""


def train_reversibly(
    loss: Loss,
    theta: Tensor,
    rates: Tensor,
    momentum: Tensor,
    *parameters: Tensor,
    groups: Tensor | None = None,
) -> Tensor:
    r"""Return what theta becomes in T steps of gradient descent with momentum; differentiable in every tensor argument.

    In step t, with $\gamma_t$ the momentum and $\alpha_t$ the rates,
    $v \leftarrow \gamma_t v - (1 - \gamma_t) \nabla L_t(\theta)$ and $\theta \leftarrow \theta + \alpha_t v$, from v = 0.

    The gradient of whatever is made of the result, such as a validation loss, comes from running the training backwards, step
    by step, rather than from keeping it: that takes a number of vectors of theta's size that does not depend on T, and the
    bits that multiplying with the momentum loses: $\log_2(1/\gamma)$ a step and coordinate, in words that are three quarters
    used (``InformationBuffer``). To lose nothing else, theta and v are whole multiples of 2^-48 and the momentum is rounded to
    multiples of 2^-16; the derivative is that of the run without rounding.

    The cost is about four gradients a step in all. The loss must give the same number whenever it is asked for the same step:
    draw a step's examples from a generator that is seeded by it.

    Args:
        loss: the training loss, of theta, the number of the step and the other parameters.
        theta: where the training begins, shape (P,).
        rates: shape (T,), or (T, groups) with a rate for each group of coordinates, such as a layer.
        momentum: shape (T,), in (0, 1].
        parameters: what else the loss depends on and is differentiated by, such as penalties of weights; tensors that it
            finds elsewhere are taken as constants.
        groups: the group of each coordinate, shape (P,), int64, such as ``layout.layer_index()``; needed if there are several.

    Raises:
        ConfigError: shapes that do not fit, a momentum out of range, or (in the backward run) a loss that does not repeat itself.
        NonFiniteError: a gradient or parameter that is not finite, or above 8,192.

    Example:
        >>> rates = torch.full((50,), 0.5, requires_grad=True)
        >>> trained = train_reversibly(lambda theta, step: (theta - 1).square().sum(), torch.zeros(2), rates, torch.full((50,), 0.5))
        >>> (trained - 2).square().sum().backward()
        >>> rates.grad.shape
        torch.Size([50])
    """
    _require_shapes(theta, rates, momentum, groups)
    table = rates if rates.ndim == 2 else rates[:, None]
    where = torch.zeros(len(theta), dtype=torch.long, device=theta.device) if groups is None else groups
    result: Tensor = _Training.apply(loss, where, theta, table, momentum, *parameters)  # type: ignore[no-untyped-call]
    return result


class _Training(torch.autograd.Function):
    """The run as one operation; its backward pass undoes it."""

    @staticmethod
    def forward(
        ctx: Any, loss: Loss, groups: Tensor, theta: Tensor, rates: Tensor, momentum: Tensor, *parameters: Tensor
    ) -> Tensor:
        numerators = [numerator(fraction) for fraction in momentum.tolist()]
        position = to_fixed(theta)
        velocity, buffer = torch.zeros_like(position), InformationBuffer(position)
        for step, n in enumerate(numerators):
            slope = _slope(loss, step, _as(position, theta), parameters)[0].detach()
            velocity = buffer.shrink(velocity, n) - to_fixed((1 - n / DENOMINATOR) * slope)
            motion = to_float(velocity)
            position = position + to_fixed(rates[step, groups] * motion)
            _require_within(step, slope.double(), motion, to_float(position))
        ctx.save_for_backward(groups, theta, rates, position, velocity, *parameters)
        ctx.loss, ctx.numerators, ctx.buffer = loss, numerators, buffer
        return _as(position, theta)

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, *outputs: Tensor) -> tuple[Tensor | None, ...]:
        groups, theta, rates, position, velocity, *parameters = ctx.saved_tensors
        buffer = ctx.buffer.copy()  # a graph may be kept for another backward pass
        by_theta, by_velocity = outputs[0].double(), torch.zeros_like(outputs[0], dtype=torch.float64)
        by_rates = torch.zeros_like(rates, dtype=torch.float64)
        by_momentum = by_rates.new_zeros(len(rates))
        by_parameters = [torch.zeros_like(value, dtype=torch.float64) for value in parameters]
        for step in reversed(range(len(rates))):
            n = ctx.numerators[step]
            kept, rate, motion = n / DENOMINATOR, rates[step, groups], to_float(velocity)
            position = position - to_fixed(rate * motion)
            slope, *inputs = _slope(ctx.loss, step, _as(position, theta), parameters)
            velocity = buffer.grow(velocity + to_fixed((1 - kept) * slope.detach()), n)
            by_rates[step].index_add_(0, groups, by_theta * motion)
            by_velocity = by_velocity + rate * by_theta
            by_momentum[step] = by_velocity @ (to_float(velocity) + slope.detach())
            if slope.requires_grad:  # else it is a constant
                downwards = ((kept - 1) * by_velocity).to(slope)
                along, *others = torch.autograd.grad(slope, inputs, downwards, allow_unused=True)
                by_theta = by_theta if along is None else by_theta + along
                by_parameters = [
                    total if other is None else total + other for total, other in zip(by_parameters, others, strict=True)
                ]
            by_velocity = kept * by_velocity
        _require_return(position, velocity, theta)
        gradients = [value.to(like) for value, like in zip(by_parameters, parameters, strict=True)]
        return None, None, by_theta.to(theta), by_rates.to(rates), by_momentum.to(theta), *gradients


def _slope(loss: Loss, step: int, theta: Tensor, parameters: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Return the loss's gradient by theta, shape (P,), differentiable, and the inputs that it is a function of.

    On the way there and back it comes from the very same operations, so that it is the same to the last bit.
    """
    with torch.enable_grad():
        inputs = tuple(value.detach().requires_grad_() for value in (theta, *parameters))
        (slope,) = torch.autograd.grad(loss(inputs[0], step, *inputs[1:]), inputs[:1], create_graph=True)
    return slope, *inputs


def _as(fixed: Tensor, like: Tensor) -> Tensor:
    return to_float(fixed).to(like.dtype)


def _require_shapes(theta: Tensor, rates: Tensor, momentum: Tensor, groups: Tensor | None) -> None:
    """Raise ConfigError for shapes that do not fit together."""
    several = rates.ndim == 2 and rates.shape[1] > 1
    fits = theta.ndim == 1 and rates.ndim in (1, 2) and momentum.shape == rates.shape[:1]
    if not fits or (groups is None and several) or (groups is not None and groups.shape != theta.shape):
        shapes = {"theta": theta, "rates": rates, "momentum": momentum, "groups": groups}
        said = ", ".join(f"{name} {None if value is None else tuple(value.shape)}" for name, value in shapes.items())
        raise ConfigError(
            f"shapes do not fit: {said}; give theta (P,), rates (T,) or (T, groups), momentum (T,), groups (P,) or none"
        )


def _require_within(step: int, *values: Tensor) -> None:
    """Raise NonFiniteError if a step led out of the numbers that can be held."""
    if not torch.stack([value.abs().amax() for value in values]).amax() < LIMIT:  # nan is not below
        raise NonFiniteError(f"step {step}: a gradient or parameter is not finite or above {LIMIT:g}: use smaller rates")


def _require_return(position: Tensor, velocity: Tensor, theta: Tensor) -> None:
    """Raise ConfigError unless the run came back to where it began, bit for bit."""
    if not torch.equal(position, to_fixed(theta)) or bool(velocity.any()):
        raise ConfigError(
            "loss gave other numbers when the training ran backwards: let it draw what is random in a step by the step's number"
        )
