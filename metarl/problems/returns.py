"""Discounted returns, advantages, and the linear feature baseline, for all tasks and trajectories at once.

``happened`` is True while an episode runs. What stands elsewhere, be it infinite or no number, reaches no result.
"""

from typing import Literal, NamedTuple

import torch
from torch import Tensor

Normalisation = Literal["normalised", "centred", "raw"]

NO_SIGNAL = 1e-5
"""Differences below this, relative to the root mean square of a task's returns, are taken for rounding: sums of a hundred
rewards in float32 are known to 6e-6 of their size, and a baseline's ridge leaves about 1e-5 of them unexplained."""


def discounted_sums(values: Tensor, discount: float) -> Tensor:
    r"""Return $\sum_{l \ge 0} \gamma^l v_{t+l}$ along the last axis, shape (..., steps).

    One product with a triangular matrix: values after an episode's end must be zero.
    """
    steps = torch.arange(values.shape[-1], device=values.device)
    lag = steps[:, None] - steps[None, :]  # row: the later step
    weights = torch.where(lag >= 0, torch.as_tensor(discount, dtype=values.dtype, device=values.device) ** lag.clamp(min=0), 0)
    return values @ weights.to(values.dtype)


def last_steps(happened: Tensor) -> Tensor:
    """Return True at each trajectory's last step, shape (..., steps)."""
    following = torch.cat([happened[..., 1:], torch.zeros_like(happened[..., :1])], dim=-1)
    return happened & ~following


def generalised_advantages(
    rewards: Tensor,
    values: Tensor,
    happened: Tensor,
    discount: float,
    gae_lambda: float,
    final_values: Tensor | None = None,
) -> Tensor:
    r"""Return $\hat A_t = \sum_l (\gamma \lambda)^l \delta_{t+l}$, $\delta_t = r_t + \gamma V_{t+1} - V_t$.

    Schulman et al. 2016, "High-Dimensional Continuous Control Using Generalized Advantage Estimation", eq. 16.

    Args:
        rewards: shape (..., steps).
        values: the baseline's values, shape (..., steps).
        happened: shape (..., steps).
        discount: gamma.
        gae_lambda: lambda; 1 gives returns minus the baseline.
        final_values: of the observations after the last step, shape (...): zero where an episode terminated, the baseline's
            where it was cut off. Without them all are zero, at a time limit too (Finn's convention).
    """
    values = torch.where(happened, values, 0)
    following = torch.cat([values[..., 1:], torch.zeros_like(values[..., :1])], dim=-1)
    if final_values is not None:
        following = torch.where(last_steps(happened), final_values[..., None], following)
    deltas = torch.where(happened, rewards + discount * following - values, 0)
    return torch.where(happened, discounted_sums(deltas, discount * gae_lambda), 0)


def features(observations: Tensor, time: Tensor) -> Tensor:
    """Return the baseline's features [o, o^2, t/100, (t/100)^2, (t/100)^3, 1], shape (..., 2 * observation + 4).

    Duan et al. 2016, "Benchmarking Deep Reinforcement Learning for Continuous Control", supplement, with observations
    clipped to [-10, 10] as in their code.

    Args:
        observations: shape (..., observation).
        time: the steps before the observation, shape (...) or one that broadcasts to it.
    """
    observations = observations.clamp(-10, 10)
    time = (time.to(observations.dtype) / 100).unsqueeze(-1)
    times = torch.cat([time, time**2, time**3, torch.ones_like(time)], dim=-1).expand(*observations.shape[:-1], 4)
    return torch.cat([observations, observations**2, times], dim=-1)


class TimeLimit(NamedTuple):
    """How trajectories ended, for a baseline that values what a time limit has cut off.

    Attributes:
        observations: after the last step, shape (tasks, trajectories, observation).
        reached: whether the trajectory was cut off, and did not terminate, shape (tasks, trajectories).
        discount: gamma.
    """

    observations: Tensor
    reached: Tensor
    discount: float


class Values(NamedTuple):
    """A baseline's values.

    Attributes:
        steps: of the observations before each step, shape (tasks, trajectories, steps).
        final: of the observations after the last one, zero unless a time limit cut off there, shape (tasks, trajectories).
    """

    steps: Tensor
    final: Tensor


def linear_baseline(
    observations: Tensor, returns: Tensor, happened: Tensor, ridge: float = 1e-5, limit: TimeLimit | None = None
) -> Values:
    r"""Return the values of a baseline fitted to each task's own returns.

    The baseline is linear in ``features``, with the weights that leave the least squared advantages (at lambda one). Where a
    time limit's value counts, that advantage is $R_t + \gamma^{n_t} V_{final} - V_t$ with $n_t$ steps to go, which is linear
    in the weights all the same.

    A fit to little data explains it away, whatever it is: one trajectory's returns are a smooth curve, and as many steps as
    features are met exactly. So a task with a single trajectory, or fewer than twice as many steps as features, has the
    mean of its returns for a baseline instead: with fewer steps a linear fit explains, on average, more than half of the
    variance of returns that are nothing but noise.

    The normal equations are solved for all tasks in one batch, in float64: there the ridge alone keeps them positive
    definite, also where all trajectories end early and features coincide (in float32 they can be exactly singular).

    Args:
        observations: shape (tasks, trajectories, steps, observation).
        returns: discounted returns, shape (tasks, trajectories, steps).
        happened: shape (tasks, trajectories, steps).
        ridge: what is added to the diagonal.
        limit: how trajectories ended; without it nothing is worth anything after the last step.
    """
    tasks, trajectories, steps = happened.shape
    time = torch.arange(steps, device=observations.device)
    x = torch.where(happened[..., None], features(observations, time), 0)
    y = torch.where(happened, returns, 0)
    final = torch.zeros_like(x[:, :, 0])
    explained = x
    if limit is not None:
        to_go = happened.flip(-1).cumsum(-1).flip(-1)  # from each step, itself included
        final = torch.where(limit.reached[..., None], features(limit.observations, to_go[..., 0]), 0)
        discounts = torch.as_tensor(limit.discount, dtype=x.dtype, device=x.device) ** to_go
        explained = x - torch.where(happened, discounts, 0)[..., None] * final[:, :, None]
    a = explained.flatten(1, 2).double()  # (tasks, samples, features)
    gram = a.mT @ a
    gram.diagonal(dim1=-2, dim2=-1).add_(ridge)
    weights = torch.cholesky_solve(a.mT @ y.flatten(1, 2).double()[..., None], torch.linalg.cholesky_ex(gram).L)
    values = (x.flatten(1, 2).double() @ weights).view(tasks, trajectories, steps).to(returns.dtype)
    final_values = (final.double() @ weights).squeeze(-1).to(returns.dtype)
    count = happened.sum((1, 2))
    fitted = (count >= 2 * x.shape[-1]) & (trajectories > 1)
    mean = (y.sum((1, 2)) / count)[:, None]
    return Values(
        torch.where(fitted[:, None, None], values, mean[..., None]),
        torch.where(fitted[:, None], final_values, 0 if limit is None else torch.where(limit.reached, mean, 0)),
    )


def has_signal(returns: Tensor, advantages: Tensor, happened: Tensor) -> Tensor:
    """Return whether a task's rewards say anything about its actions, shape (tasks,).

    They do not if its trajectories have the same return from each step on (a single trajectory: from every step on), or if
    the baseline explains them: if their differences, or the advantages' deviation, are at most ``NO_SIGNAL`` of the root mean
    square of the returns. To divide such advantages by their deviation would make a full-length step of rounding.

    Args:
        returns: discounted, shape (tasks, trajectories, steps).
        advantages: shape (tasks, trajectories, steps).
        happened: shape (tasks, trajectories, steps).
    """
    count = happened.sum((1, 2))
    smallest = NO_SIGNAL * (torch.where(happened, returns, 0).square().sum((1, 2)) / count).sqrt()
    compared = (1,) if happened.shape[1] > 1 else (1, 2)
    highest = torch.where(happened, returns, -torch.inf).amax(compared)
    lowest = torch.where(happened, returns, torch.inf).amin(compared)
    spread = (highest - lowest).view(len(returns), -1).amax(1)  # minus infinity at steps that no trajectory reached
    return (spread > smallest) & (_deviation(_centred(advantages, happened), happened) > smallest)


def normalise(advantages: Tensor, happened: Tensor, how: Normalisation, signal: Tensor | None = None) -> Tensor:
    """Return each task's advantages centred and divided by their deviation, only centred, or as they are.

    Args:
        advantages: zero where nothing happened, shape (tasks, trajectories, steps).
        happened: shape (tasks, trajectories, steps).
        how: ``"normalised"`` as Finn's code does; ``"raw"`` keeps the size of the advantage, hence the distance to the goal.
        signal: which tasks have any, shape (tasks,); where there is none, centred and normalised advantages are zero.
    """
    if how == "raw":
        return advantages
    centred = _centred(advantages, happened)
    if how == "normalised":
        centred = centred / _unit(centred, happened)
    return centred if signal is None else torch.where(signal[:, None, None], centred, 0)


def subtracted(values: Tensor, advantages: Tensor, happened: Tensor, signal: Tensor, how: Normalisation) -> Tensor:
    """Return what ``normalise`` and the baseline together have taken from the returns, in the unit of their difference.

    Advantages as ``normalise`` gives them, and this, add up to returns in the same unit. It is zero where a task has no signal,
    unless advantages are raw.

    Args:
        values: the baseline's, shape (tasks, trajectories, steps).
        advantages: as they are before ``normalise``, shape (tasks, trajectories, steps).
        happened: shape (tasks, trajectories, steps).
        signal: as in ``normalise``.
        how: as in ``normalise``.
    """
    values = torch.where(happened, values, 0)
    if how == "raw":
        return values
    centred = _centred(advantages, happened)
    taken = values + torch.where(happened, advantages - centred, 0)
    if how == "normalised":
        taken = taken / _unit(centred, happened)
    return torch.where(signal[:, None, None], taken, 0)


def _centred(advantages: Tensor, happened: Tensor) -> Tensor:
    count = happened.sum((1, 2), keepdim=True)
    mean = torch.where(happened, advantages, 0).sum((1, 2), keepdim=True) / count
    return torch.where(happened, advantages - mean, 0)


def _unit(centred: Tensor, happened: Tensor) -> Tensor:
    """Return what normalised advantages are divided by, shape (tasks, 1, 1)."""
    return _deviation(centred, happened)[:, None, None] + 1e-8


def _deviation(centred: Tensor, happened: Tensor) -> Tensor:
    return (centred.square().sum((1, 2)) / happened.sum((1, 2))).sqrt()
