"""Discounted returns, advantages, and the linear feature baseline, for all tasks and trajectories at once."""

from typing import Literal

import torch
from torch import Tensor

Normalisation = Literal["normalised", "centred", "raw"]


def discounted_sums(values: Tensor, discount: float) -> Tensor:
    r"""Return $\sum_{l \ge 0} \gamma^l v_{t+l}$ along the last axis, shape (..., steps).

    One product with a triangular matrix: values after an episode's end must be zero.
    """
    steps = torch.arange(values.shape[-1], device=values.device)
    lag = steps[:, None] - steps[None, :]  # row: the later step
    weights = torch.where(lag >= 0, torch.as_tensor(discount, dtype=values.dtype, device=values.device) ** lag.clamp(min=0), 0)
    return values @ weights.to(values.dtype)


def generalised_advantages(rewards: Tensor, values: Tensor, mask: Tensor, discount: float, gae_lambda: float) -> Tensor:
    r"""Return $\hat A_t = \sum_l (\gamma \lambda)^l \delta_{t+l}$, $\delta_t = r_t + \gamma V_{t+1} - V_t$.

    Schulman et al. 2016, "High-Dimensional Continuous Control Using Generalized Advantage Estimation", eq. 16. The value
    after the last step is zero, at a time limit too (Finn's convention).

    Args:
        rewards: shape (..., steps).
        values: the baseline's values, shape (..., steps).
        mask: 1 while the episode runs, 0 after its end, shape (..., steps).
        discount: gamma.
        gae_lambda: lambda; 1 gives returns minus the baseline.
    """
    values = values * mask
    following = torch.cat([values[..., 1:], torch.zeros_like(values[..., :1])], dim=-1)
    return discounted_sums((rewards + discount * following - values) * mask, discount * gae_lambda) * mask


def features(observations: Tensor, mask: Tensor) -> Tensor:
    """Return the baseline's features [o, o^2, t/100, (t/100)^2, (t/100)^3, 1], shape (..., steps, 2 * observation + 4).

    Duan et al. 2016, "Benchmarking Deep Reinforcement Learning for Continuous Control", supplement, with observations
    clipped to [-10, 10] as in their code.

    Args:
        observations: shape (..., steps, observation).
        mask: shape (..., steps).
    """
    observations = observations.clamp(-10, 10)
    time = torch.arange(observations.shape[-2], device=observations.device, dtype=observations.dtype)[:, None] / 100
    ones = torch.ones_like(time)
    times = torch.cat([time, time**2, time**3, ones], dim=-1).expand(*observations.shape[:-1], 4)
    return torch.cat([observations, observations**2, times], dim=-1) * mask[..., None]


def linear_baseline(observations: Tensor, returns: Tensor, mask: Tensor, ridge: float = 1e-5) -> Tensor:
    """Return the values of a linear baseline fitted to each task's own returns, shape (tasks, trajectories, steps).

    The normal equations are solved for all tasks in one batch, in float64: there the ridge alone keeps them positive
    definite, also where all trajectories end early and features coincide (in float32 they can be exactly singular).

    Args:
        observations: shape (tasks, trajectories, steps, observation).
        returns: discounted returns, shape (tasks, trajectories, steps).
        mask: shape (tasks, trajectories, steps).
        ridge: what is added to the diagonal.
    """
    x = features(observations, mask).flatten(1, 2).double()  # (tasks, samples, features)
    y = (returns * mask).flatten(1, 2).double()[..., None]
    gram = x.mT @ x
    gram.diagonal(dim1=-2, dim2=-1).add_(ridge)
    weights = torch.cholesky_solve(x.mT @ y, torch.linalg.cholesky_ex(gram).L)
    return (x @ weights).view_as(returns).to(returns.dtype)


def normalise(advantages: Tensor, mask: Tensor, how: Normalisation) -> Tensor:
    """Return each task's advantages centred and divided by their deviation, only centred, or as they are.

    Args:
        advantages: shape (tasks, trajectories, steps).
        mask: shape (tasks, trajectories, steps).
        how: ``"normalised"`` as Finn's code does; ``"raw"`` keeps the size of the advantage, hence the distance to the goal.
    """
    if how == "raw":
        return advantages
    count = mask.sum((1, 2), keepdim=True)
    centred = (advantages - (advantages * mask).sum((1, 2), keepdim=True) / count) * mask
    if how == "centred":
        return centred
    return centred / ((centred.square().sum((1, 2), keepdim=True) / count).sqrt() + 1e-8)
