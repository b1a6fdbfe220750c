"""Policies: the experience is sampled with the learner, the loss a policy-gradient surrogate."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from metarl.problems.base import SUCCESS, Apply, Phase, Problem
from metarl.problems.estimators import ANY_ORDER, Decisions
from metarl.problems.returns import (
    TimeLimit,
    Values,
    discounted_sums,
    generalised_advantages,
    has_signal,
    linear_baseline,
    normalise,
    subtracted,
)
from metarl.problems.rollouts import Rollouts
from metarl.sampling.distributions import Distribution
from metarl.sampling.trajectories import TensorVectorEnv, Trajectories, block_size, require_finite_experience, sample


class Samples(NamedTuple):
    """Trajectories as a loss sees them: with advantages, the trajectory and time axes flattened to ``samples``.

    Those that did not happen weigh nothing, and repeat what did. ``samples`` runs through one trajectory after another, each
    to the horizon, so that ``unflatten(1, (trajectories, -1))`` gives the two axes back, but not in a ``subset``.

    Attributes:
        observations: shape (tasks, samples, observation).
        actions: shape (tasks, samples, action), or (tasks, samples) if discrete.
        advantages: shape (tasks, samples).
        weights: 1 / (steps that happened in the task) where one did, else 0, shape (tasks, samples): sums are means.
        distribution_parameters: of the distributions that actions were drawn from, shape (tasks, samples, size).
        log_probs: of the actions under them, shape (tasks, samples).
        returns: undiscounted, in the environment's own reward, shape (tasks, trajectories).
        lengths: steps of each trajectory, shape (tasks, trajectories).
        without_signal: 1 where a task's rewards say nothing about its actions, else 0, shape (tasks,).
        episode_returns: undiscounted, of each episode of a trial, shape (tasks, trajectories, episodes).
        rewards: as the learner sees them, shape (tasks, samples).
        baselines: what advantages and returns in the same unit differ by, shape (tasks, samples).
        last_observations: after the last action, shape (tasks, trajectories, observation).
        terminated: whether a trajectory ended by itself, and not at a time limit, shape (tasks, trajectories).
        successes: 1 for each episode of a trial whose task was done at some step, else 0, shape (tasks, trajectories,
            episodes); (tasks, trajectories, 0) where the environment does not say.
    """

    observations: Tensor
    actions: Tensor
    advantages: Tensor
    weights: Tensor
    distribution_parameters: Tensor
    log_probs: Tensor
    returns: Tensor
    lengths: Tensor
    without_signal: Tensor
    episode_returns: Tensor
    rewards: Tensor
    baselines: Tensor
    last_observations: Tensor
    terminated: Tensor
    successes: Tensor

    @property
    def happened(self) -> Tensor:
        """Which samples are steps that happened."""
        return self.weights > 0

    def by_trajectory(self, values: Tensor) -> Tensor:
        """Return values of shape (..., samples, any) as (..., trajectories, steps, any); not of a subset."""
        return values.reshape(*self.lengths.shape, -1, *values.shape[self.lengths.dim() :])

    def subset(self, samples: Tensor) -> "Samples":
        """Return the chosen samples, indices of shape (n,), of every task, their weights scaled to sum to one."""
        weights = self.weights[:, samples]
        weights = weights / weights.sum(1, keepdim=True).clamp(min=torch.finfo(weights.dtype).tiny)
        names = ("observations", "actions", "advantages", "distribution_parameters", "log_probs", "rewards", "baselines")
        return self._replace(weights=weights, **{name: getattr(self, name)[:, samples] for name in names})


class Comparison(NamedTuple):
    """How a task's policy compares with the one that sampled, sample by sample; zero where nothing happened.

    Attributes:
        log_ratios: of the probabilities of the actions, the policy's over the sampler's, shape (samples,).
        kls: KL(sampler || policy), shape (samples,).
        entropies: of the policy, in nats, shape (samples,).
    """

    log_ratios: Tensor
    kls: Tensor
    entropies: Tensor


class PolicyProblem(Problem[Samples]):
    """Meta-reinforcement learning with any task family.

    A policy may carry a state while it samples. With ``rollouts.recall`` losses replay it: what a policy with memory gives at a
    step is of all steps before.

    Args:
        distribution: the action distribution; a policy's outputs are what parametrises it.
        make_env: returns a vector environment with the given number of rows.
        rollouts: how to sample, and how to make advantages.
    """

    metric = "return"
    on_policy = True
    unit = "env_steps"

    def __init__(
        self, distribution: Distribution, make_env: Callable[[int], TensorVectorEnv], rollouts: Rollouts = Rollouts()
    ) -> None:
        self.distribution = distribution
        self.rollouts = rollouts
        self._make_env = make_env
        self._env: TensorVectorEnv | None = None

    def count(self, tasks: list[Any]) -> int:
        """Return how many tasks a meta-batch holds."""
        return len(tasks)

    def timesteps(self, experiences: list[Samples], count: int) -> Tensor:
        """Return how many environment steps were taken, shape ()."""
        return torch.stack([experience.lengths.sum() for experience in experiences]).sum()

    def collect(self, apply: Apply, tasks: list[Any], phase: Phase, generator: torch.Generator, episodes: int = 1) -> Samples:
        """Sample trajectories of every task, and work out their advantages.

        Args:
            apply: the policies of all tasks, for observations of shape (tasks, trajectories, observation).
            tasks: one for each of them.
            phase: support and query are sampled alike.
            generator: the run's.
            episodes: of a trajectory, which is then a trial: the policies' state lasts from one to the next, and advantages
                count what a later episode brings.
        """
        how = self.rollouts
        env = self._vector_env(block_size(len(tasks) * how.trajectories, how.max_envs))
        trajectories = sample(
            env, apply, self.distribution, tasks, generator, how.trajectories, how.max_envs, episodes, how.recall
        )
        if how.time_limit_value:
            cut_off = torch.where(trajectories.terminated[..., None], 0, trajectories.last_observations)
            require_finite_experience("observation at the time limit", cut_off, tasks)
        return self.samples(trajectories)

    def samples(self, trajectories: Trajectories) -> Samples:
        """Return trajectories with their advantages."""
        how, happened = self.rollouts, trajectories.happened
        rewards = trajectories.rewards
        if how.reward == "squared":
            rewards = rewards * rewards.abs()
        values = self._values(trajectories, self._returns(rewards))
        _, advantages, baselines, signal = self._advantages(rewards, values, happened)
        lengths = happened.sum(2).to(rewards.dtype)
        log_probs = self.distribution.log_prob(trajectories.distribution_parameters, trajectories.actions)
        return Samples(
            observations=trajectories.observations.flatten(1, 2),
            actions=trajectories.actions.flatten(1, 2),
            advantages=advantages.flatten(1, 2),
            weights=(happened.to(rewards.dtype) / lengths.sum(1)[:, None, None]).flatten(1, 2),
            distribution_parameters=trajectories.distribution_parameters.flatten(1, 2),
            log_probs=log_probs.flatten(1, 2),
            returns=trajectories.rewards.sum(2),
            lengths=lengths,
            without_signal=(~signal).to(rewards.dtype),
            episode_returns=trajectories.episode_returns,
            rewards=rewards.flatten(1, 2),
            baselines=baselines.flatten(1, 2),
            last_observations=trajectories.last_observations,
            terminated=trajectories.terminated,
            successes=trajectories.successes,
        )

    def revalued(self, experience: Samples, values: Values) -> tuple[Samples, Tensor]:
        """Return experience with advantages over other values, such as a critic's, and what these values should have been.

        Args:
            experience: whole trajectories of every task.
            values: of their observations; the final ones count where ``rollouts.time_limit_value`` says so.

        Returns:
            The experience, and the returns of generalised advantage estimation, in rewards' unit, shape (tasks, samples).
        """
        rewards, happened = map(experience.by_trajectory, (experience.rewards, experience.happened))
        cut_off = ~experience.terminated if self.rollouts.time_limit_value else torch.zeros_like(experience.terminated)
        values = values._replace(final=torch.where(cut_off, values.final, 0))
        raw, advantages, baselines, signal = self._advantages(rewards, values, happened)
        changed = experience._replace(
            advantages=advantages.flatten(1, 2),
            baselines=baselines.flatten(1, 2),
            without_signal=(~signal).to(rewards.dtype),
        )
        return changed, torch.where(happened, raw + values.steps, 0).flatten(1, 2)

    def _advantages(self, rewards: Tensor, values: Values, happened: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return raw advantages, then these and baselines as ``Samples`` has them, by trajectory, and who has signal."""
        how = self.rollouts
        raw = generalised_advantages(rewards, values.steps, happened, how.discount, how.gae_lambda, values.final)
        signal = has_signal(self._returns(rewards), raw, happened)
        baselines = subtracted(values.steps, raw, happened, signal, how.advantages)
        return raw, normalise(raw, happened, how.advantages, signal), baselines, signal

    def _returns(self, rewards: Tensor) -> Tensor:
        return discounted_sums(rewards, self.rollouts.discount)

    def _values(self, trajectories: Trajectories, returns: Tensor) -> Values:
        if self.rollouts.baseline == "none":
            return Values(torch.zeros_like(returns), torch.zeros_like(returns[..., 0]))
        limit = None
        if self.rollouts.time_limit_value:
            limit = TimeLimit(trajectories.last_observations, ~trajectories.terminated, self.rollouts.discount)
        return linear_baseline(trajectories.observations, returns, trajectories.happened, limit=limit)

    def loss(self, apply: Apply, experience: Samples) -> Tensor:
        r"""Return the inner loss of one task, whose gradient is the policy gradient: $-\overline{\log\pi(a|s)\,\hat A}$.

        Williams 1992 (REINFORCE) with advantages; the mean is over all the task's time-steps, as in Finn's code. Other
        ``rollouts.inner_loss`` have the same gradient and another curvature; see ``metarl.problems.estimators``.
        """
        if self.rollouts.inner_loss == "likelihood-ratio":
            return self.surrogate(apply, experience)
        if self.rollouts.inner_loss in ANY_ORDER:
            return self._any_order(apply, experience)
        log_probs = self._log_probs(apply, experience)
        return -_sum(experience.weights * experience.advantages * log_probs, experience)

    def outputs(self, apply: Apply, experience: Samples) -> Tensor:
        """Return one task's distribution parameters at its observations, shape (samples, size).

        Where nothing happened they are those that the sample has, so that no derivative is taken there. A policy with memory is
        shown whole sequences of observations, shape (trajectories, steps, observation).
        """
        if self.rollouts.recall:
            sequences = experience.by_trajectory(experience.observations)
            outputs = apply(sequences)[0].flatten(0, 1)
        else:
            outputs, _ = apply(experience.observations)
        return torch.where(experience.happened[:, None], outputs, experience.distribution_parameters)

    def surrogate(self, apply: Apply, experience: Samples) -> Tensor:
        r"""Return TRPO's surrogate loss of one task, $-\overline{\frac{\pi(a|s)}{\pi_{old}(a|s)}\hat A}$, shape ().

        Schulman et al. 2015, "Trust Region Policy Optimization", eq. 14.
        """
        return self.surrogate_of(self.outputs(apply, experience), experience)

    def surrogate_of(self, outputs: Tensor, experience: Samples) -> Tensor:
        """Return the surrogate loss of one task's policy that gives these distribution parameters, which ``surrogate`` is."""
        log_ratios = self.distribution.log_prob(outputs, experience.actions) - experience.log_probs
        # masked before the exponential: behind it, an overflow would come back as nought times infinity in the gradient
        ratios = torch.where(experience.happened, log_ratios, 0).exp()
        return -_sum(experience.weights * experience.advantages * ratios, experience)

    def _any_order(self, apply: Apply, experience: Samples) -> Tensor:
        """Return the loss of a surrogate that follows what earlier actions have done, which needs whole trajectories."""
        how = self.rollouts
        log_ratios = torch.where(experience.happened, self._log_probs(apply, experience) - experience.log_probs, 0)
        parts = log_ratios, experience.advantages, experience.baselines
        by_trajectory, advantages, baselines = map(experience.by_trajectory, parts)
        decisions = Decisions(by_trajectory, advantages, baselines, how.dice_lambda)
        return -_sum(experience.weights * ANY_ORDER[how.inner_loss](decisions).flatten(), experience)

    def compare(self, apply: Apply, experience: Samples) -> Comparison:
        """Return how one task's policy compares with the one that sampled the experience."""
        outputs, happened = self.outputs(apply, experience), experience.happened
        log_ratios = self.distribution.log_prob(outputs, experience.actions) - experience.log_probs
        kls = self.distribution.kl(experience.distribution_parameters, outputs)
        entropies = self.distribution.entropy(outputs)
        return Comparison(*(torch.where(happened, value, 0) for value in (log_ratios, kls, entropies)))

    def _log_probs(self, apply: Apply, experience: Samples) -> Tensor:
        return self.distribution.log_prob(self.outputs(apply, experience), experience.actions)

    def measure(self, apply: Apply, experience: Samples) -> dict[str, Tensor]:
        """Return one task's mean undiscounted return, trajectory length, entropy of its policy, and whether it lacks signal.

        Where the environment says whether the task is done, the rate of trajectories in which it was at some step, too.
        """
        return {
            "return": experience.returns.mean(),
            **_by_episode("return", experience.episode_returns),
            **({SUCCESS: experience.successes.mean()} if experience.successes.shape[-1] else {}),
            **_by_episode(SUCCESS, experience.successes),
            "length": experience.lengths.mean(),
            "entropy": _sum(experience.weights * self.distribution.entropy(experience.distribution_parameters), experience),
            "without_signal": experience.without_signal,
        }

    def counts(self) -> dict[str, float]:
        """Return how many episodes a simulator gave up, if the environment counts them."""
        unstable = getattr(self._env, "unstable_episodes", None)
        return {} if unstable is None else {"unstable_episodes": float(unstable)}

    def _vector_env(self, rows: int) -> TensorVectorEnv:
        """Return the environment, made anew if the one there is has another number of rows; there is never a second."""
        if self._env is not None and self._env.num_envs not in (None, rows):
            self.close()
        if self._env is None:
            self._env = self._make_env(rows)
        return self._env

    def close(self) -> None:
        """Close the vector environment."""
        if self._env is not None:
            self._env.close()
        self._env = None


def _by_episode(name: str, values: Tensor) -> dict[str, Tensor]:
    """Return the means over one task's trajectories for each episode of a trial of several; (trajectories, episodes)."""
    means = values.mean(0)
    return {f"{name}_of_episode_{i}": one for i, one in enumerate(means.unbind(), start=1)} if len(means) > 1 else {}


def _sum(weighted: Tensor, experience: Samples) -> Tensor:
    """Return the sum of one task's weighted values over the steps that happened, shape ()."""
    return torch.where(experience.happened, weighted, 0).sum()
