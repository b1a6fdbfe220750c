"""Policies: the experience is trajectories sampled with theta, the loss a policy-gradient surrogate."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, get_args, get_type_hints

import torch
from torch import Tensor

from metarl.errors import require_between, require_positive, unknown_name
from metarl.learner import Learner
from metarl.problems.base import Phase, Problem
from metarl.problems.distributions import Distribution
from metarl.problems.returns import Normalisation, discounted_sums, generalised_advantages, linear_baseline, normalise
from metarl.problems.rollout import TensorVectorEnv, rollout


class Trajectories(NamedTuple):
    """Trajectories with their advantages, the trajectory and time axes flattened to ``samples``.

    Attributes:
        observations: shape (tasks, samples, observation).
        actions: shape (tasks, samples, action), or (tasks, samples) if discrete.
        advantages: shape (tasks, samples).
        weights: 1 / (steps that happened in the task) where one did, else 0, shape (tasks, samples): sums are means.
        parameters: of the distributions that the actions were drawn from, shape (tasks, samples, parameters).
        log_probs: of the actions under them, shape (tasks, samples).
        returns: undiscounted, in the environment's own reward, shape (tasks, trajectories).
        lengths: steps of each trajectory, shape (tasks, trajectories).
    """

    observations: Tensor
    actions: Tensor
    advantages: Tensor
    weights: Tensor
    parameters: Tensor
    log_probs: Tensor
    returns: Tensor
    lengths: Tensor

    def subset(self, samples: Tensor) -> "Trajectories":
        """Return the chosen samples, indices of shape (n,), of every task, their weights scaled to sum to one."""
        weights = self.weights[:, samples]
        weights = weights / weights.sum(1, keepdim=True).clamp(min=torch.finfo(weights.dtype).tiny)
        names = ("observations", "actions", "advantages", "parameters", "log_probs")
        return self._replace(weights=weights, **{name: getattr(self, name)[:, samples] for name in names})


@dataclass(frozen=True)
class Rollouts:
    """How trajectories are sampled and turned into a loss; the defaults are Finn's for 2D navigation.

    Raises:
        ConfigError: a count or discount out of range.
    """

    trajectories: int = 20
    """Trajectories sampled from each task, before and after each inner step."""
    discount: float = 0.99
    """Gamma."""
    gae_lambda: float = 1.0
    """Lambda of generalised advantage estimation; 1 is the return minus the baseline."""
    advantages: Normalisation = "normalised"
    """Each task's advantages centred and divided by their deviation, only centred, or raw."""
    reward: Literal["plain", "squared"] = "plain"
    """What the learner sees of a reward r: r itself, or sign(r) r^2 (returns are reported in r all the same)."""
    baseline: Literal["linear", "none"] = "linear"
    """The linear feature baseline, fitted to each task's own batch, or none."""
    inner_loss: Literal["log-likelihood", "likelihood-ratio"] = "log-likelihood"
    """The surrogate that the inner step descends: REINFORCE's, or the ratio's: same gradient, other curvature."""

    vectorization: Literal["auto", "sync", "async"] = "auto"
    """The family's own vector environment if it steps on tensors, else SyncVectorEnv; or AsyncVectorEnv: a process for each
    of tasks x trajectories, so take few."""

    def __post_init__(self) -> None:
        require_positive(trajectories=self.trajectories)
        for name, kind in get_type_hints(type(self)).items():
            if get_args(kind) and getattr(self, name) not in get_args(kind):
                raise unknown_name(name, getattr(self, name), get_args(kind))
        require_between(0, 1, discount=self.discount, gae_lambda=self.gae_lambda)


class PolicyProblem(Problem[Trajectories]):
    """Meta-reinforcement learning with any vectorised task family.

    Args:
        learner: maps observations to the action distribution's parameters.
        distribution: the action distribution.
        make_env: returns a vector environment with the given number of rows.
        rollouts: how to sample, and how to make advantages.
    """

    figure = "return"
    on_policy = True

    def __init__(
        self,
        learner: Learner,
        distribution: Distribution,
        make_env: Callable[[int], TensorVectorEnv],
        rollouts: Rollouts = Rollouts(),
    ) -> None:
        self.learner = learner
        self.distribution = distribution
        self.rollouts = rollouts
        self._make_env = make_env
        self._envs: dict[int, TensorVectorEnv] = {}

    def count(self, tasks: list[Any]) -> int:
        """Return how many tasks a meta-batch holds."""
        return len(tasks)

    def collect(self, parameters: Tensor, tasks: list[Any], phase: Phase, generator: torch.Generator) -> Trajectories:
        """Sample trajectories of every task with its parameters, and work out their advantages."""
        rows = len(tasks) * self.rollouts.trajectories
        if rows not in self._envs:
            self._envs[rows] = self._make_env(rows)
        batch = rollout(self._envs[rows], self.learner, self.distribution, parameters.detach(), tasks, generator)
        how = self.rollouts
        rewards = batch.rewards if how.reward == "plain" else batch.rewards * batch.rewards.abs()
        returns = discounted_sums(rewards, how.discount)
        if how.baseline == "linear":
            values = linear_baseline(batch.observations, returns, batch.mask)
        else:
            values = torch.zeros_like(returns)
        advantages = generalised_advantages(rewards, values, batch.mask, how.discount, how.gae_lambda)
        advantages = normalise(advantages, batch.mask, how.advantages)
        return Trajectories(
            observations=batch.observations.flatten(1, 2),
            actions=batch.actions.flatten(1, 2),
            advantages=advantages.flatten(1, 2),
            weights=(batch.mask / batch.mask.sum((1, 2), keepdim=True)).flatten(1, 2),
            parameters=batch.parameters.flatten(1, 2),
            log_probs=self.distribution.log_prob(batch.parameters, batch.actions).flatten(1, 2),
            returns=batch.rewards.sum(2),
            lengths=batch.mask.sum(2),
        )

    def loss(self, parameters: Tensor, experience: Trajectories) -> Tensor:
        r"""Return the inner loss of one task, whose gradient is the policy gradient: $-\overline{\log\pi(a|s)\,\hat A}$.

        Williams 1992 (REINFORCE) with advantages; the mean is over all the task's time-steps, as in Finn's code.
        """
        if self.rollouts.inner_loss == "likelihood-ratio":
            return self.surrogate(parameters, experience)
        log_probs = self.distribution.log_prob(self.outputs(parameters, experience), experience.actions)
        return -(experience.weights * experience.advantages * log_probs).sum()

    def outputs(self, parameters: Tensor, experience: Trajectories) -> Tensor:
        """Return the action distributions of one task at its observations, shape (samples, parameters)."""
        return self.learner(parameters, experience.observations)

    def surrogate(self, parameters: Tensor, experience: Trajectories) -> Tensor:
        r"""Return TRPO's surrogate loss of one task, $-\overline{\frac{\pi(a|s)}{\pi_{old}(a|s)}\hat A}$, shape ().

        Schulman et al. 2015, "Trust Region Policy Optimization", eq. 14.
        """
        log_probs = self.distribution.log_prob(self.outputs(parameters, experience), experience.actions)
        return -(experience.weights * experience.advantages * (log_probs - experience.log_probs).exp()).sum()

    def measure(self, parameters: Tensor, experience: Trajectories) -> dict[str, Tensor]:
        """Return each task's mean undiscounted return, trajectory length, and entropy of its policy, each of shape (tasks,)."""
        entropy = (self.distribution.entropy(experience.parameters) * experience.weights).sum(1)
        return {"return": experience.returns.mean(1), "length": experience.lengths.mean(1), "entropy": entropy}

    def close(self) -> None:
        """Close the vector environments."""
        for env in self._envs.values():
            env.close()
        self._envs.clear()
