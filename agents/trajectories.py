"""Task families as a task source: policies."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Self

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor, nn

from metarl import processes
from metarl.adapters.base import Adapted, Adapter, Meta
from metarl.adapters.memory import TrialAdapter
from metarl.agents.adapted import AdaptedPolicy, RecallingPolicy, RememberingPolicy, ToldPolicy
from metarl.agents.pictures import Pictures, Unseen, paths, returns
from metarl.agents.sources import Source, name_of, refuse_arguments, refuse_class, users_network
from metarl.agents.task_vec_env import TaskVecEnv
from metarl.errors import ConfigError, TaskError, unknown_name
from metarl.networks import ACTIVATIONS, mlp
from metarl.normalisation import BatchNorm, ObservationNorm
from metarl.outer import Outcome
from metarl.problems import PolicyProblem, Problem, Rollouts, Samples
from metarl.registry import World
from metarl.sampling.distributions import Categorical, DiagonalGaussian, Distribution
from metarl.sampling.spaces import flat_size
from metarl.sampling.stochastic_policy import StochasticPolicy, check_fit
from metarl.sampling.trajectories import TensorVectorEnv, recall_size
from metarl.sampling.vector import horizon_of, make_vector_env

if TYPE_CHECKING:
    from metarl.agents.base import Agent


class TrajectorySource(Source):
    """Policies in a task family, sampled through its vector environment.

    Args:
        env: an environment with tasks.
        rollouts: how trajectories are sampled.
        device: of the tensors.
        dtype: of observations and rewards.

    Attributes:
        tells_task: whether policies see the task's numbers behind every observation.
    """

    tells_task: ClassVar[bool] = False
    world: ClassVar[World] = "policies"
    default_meta_batch = 20
    default_outer = "trpo"
    problem: PolicyProblem
    rollouts: Rollouts

    def __init__(self, env: gym.Env[Any, Any], rollouts: Rollouts, device: torch.device, dtype: torch.dtype) -> None:
        if not env.has_wrapper_attr("sample_tasks"):
            raise TaskError(
                f"env={name_of(env)} has no tasks: it needs sample_tasks(n, split) and reset(options={{'task': task}}); "
                "wrap it in metarl.envs.TaskAdapter, or derive it from metarl.envs.TaskFamily"
            )
        self.env = env
        self.rollouts = rollouts
        self._like = torch.zeros(0, device=device, dtype=dtype)
        self._distribution = _distribution(env.action_space)
        self._entries = flat_size(env.observation_space) + (recall_size(self._distribution) if rollouts.recall else 0)
        self.problem = self._problem(env)
        self._vec_env: TaskVecEnv | None = None

    def vec_env(self, rows: int) -> TaskVecEnv:
        """Return the family as an SB3 vector environment of so many rows, each episode of a new training task."""
        if self._vec_env is not None and self._vec_env.num_envs != rows:
            self.close()
        if self._vec_env is None:
            self._vec_env = TaskVecEnv(self.env, rows, told=self.tells_task)
        return self._vec_env

    def close(self) -> None:
        """Close the environments that were made here."""
        self.problem.close()
        if self._vec_env is not None:
            self._vec_env.close()
        self._vec_env = None

    def _problem(self, env: gym.Env[Any, Any]) -> PolicyProblem:
        how, like = self.rollouts, self._like

        def make(rows: int) -> TensorVectorEnv:
            return make_vector_env(env, rows, like, how.vectorisation, how.workers, how.worker_timeout)

        return PolicyProblem(self._distribution, make, how)

    @property
    def outputs(self) -> int:
        """What the action distribution takes."""
        return self._distribution.outputs

    def network(self, policy: str | nn.Module, policy_kwargs: Mapping[str, Any], embedding: bool) -> nn.Module:
        """Return a stochastic policy, or what embeds observations for a policy with memory; see ``Source``."""
        if embedding:
            return self._embedding(policy, policy_kwargs).to(self._like.device, self._like.dtype)
        network = self._stochastic_policy(policy, policy_kwargs).to(self._like.device, self._like.dtype)
        check_fit(network, self.example_inputs())
        if any(isinstance(layer, (BatchNorm, nn.modules.batchnorm._BatchNorm)) for layer in network.modules()):
            raise ConfigError(
                f"policy={type(policy).__name__} has batch-norm layers: sampling sees other batches than the loss does, so "
                "their statistics would differ; remove them, or normalise with Rollouts(normalise_observations=True)"
            )
        return network

    def _embedding(self, policy: str | nn.Module, policy_kwargs: Mapping[str, Any]) -> nn.Module:
        """Return the hidden layers of a policy, behind a normalisation if there is to be one."""
        refuse_class(policy)
        if isinstance(policy, nn.Module):
            refuse_arguments(policy, policy_kwargs)
            return policy
        make = users_network(policy)
        if policy != "MlpPolicy" and make is None:
            raise unknown_name("policy", policy, ["MlpPolicy"])
        kwargs = {"hidden": (64,), "activation": "tanh", **policy_kwargs}
        network: nn.Module
        try:
            if make is not None:
                network = make((self._entries,), None, **policy_kwargs)
            else:
                *hidden, features = kwargs.pop("hidden")
                layers = mlp(self._entries, features, hidden, **kwargs)
                network = nn.Sequential(*layers, ACTIVATIONS[kwargs["activation"]]())
        except (TypeError, ValueError) as error:
            raise ConfigError(f"policy_kwargs={dict(policy_kwargs)!r} does not fit {policy}: {error}") from error
        return nn.Sequential(ObservationNorm(self._entries), network) if self.rollouts.normalise_observations else network

    @property
    def horizon(self) -> int:
        """The steps of the longest episode."""
        return horizon_of(self.env)

    @property
    def distribution(self) -> Distribution:
        """The family of action distributions."""
        return self._distribution

    def _stochastic_policy(self, policy: str | nn.Module, policy_kwargs: Mapping[str, Any]) -> StochasticPolicy:
        kwargs = {"hidden": (100, 100), "log_std": 0.0, **policy_kwargs}
        log_std, normalise = kwargs.pop("log_std"), self._entries if self.rollouts.normalise_observations else 0
        refuse_class(policy)
        if isinstance(policy, StochasticPolicy):
            if normalise and not isinstance(policy.norm, ObservationNorm):
                raise ConfigError(
                    "rollouts: normalise_observations=True has no effect on a StochasticPolicy, which is used as it is: make "
                    f"it with StochasticPolicy(..., normalised={normalise}), or give the network alone"
                )
            return policy
        if isinstance(policy, nn.Module):
            refuse_arguments(policy, {name: value for name, value in policy_kwargs.items() if name != "log_std"})
            return StochasticPolicy(policy, self._distribution, log_std, normalise)
        make = users_network(policy)
        network: nn.Module
        if policy != "MlpPolicy" and make is None:
            raise unknown_name("policy", policy, ["MlpPolicy"])
        try:
            if make is not None:
                theirs = {name: value for name, value in policy_kwargs.items() if name != "log_std"}
                network = make((self._entries,), self._distribution.outputs, **theirs)
            else:
                network = mlp(self._entries, self._distribution.outputs, **kwargs)
        except TypeError as error:
            raise ConfigError(f"policy_kwargs={dict(policy_kwargs)!r} does not fit {policy}: {error}") from error
        return StochasticPolicy(network, self._distribution, log_std, normalise)

    def example_inputs(self) -> Tensor:
        """Return one observation of zeros."""
        return self._like.new_zeros(1, self._entries)

    def first_inputs(self, generator: torch.Generator) -> None:
        """Return None: what has been seen begins with the first outer step."""

    def sample(self, n: int, split: str, generator: torch.Generator, first: int = 0) -> list[Any]:
        """Return n tasks, drawn by the family from a seed that the run's generator gives."""
        seed = int(torch.randint(2**31 - 1, (), generator=generator, device=generator.device))
        self.env.reset(seed=seed)
        # how much a reset draws may depend on the past, and a resumed run has none
        self.env.unwrapped.np_random = np.random.default_rng(seed)
        return list(self.env.get_wrapper_attr("sample_tasks")(n, split))

    def batches(self, n: int, split: str, generator: torch.Generator, repeats: int, at_once: int) -> Iterator[list[Any]]:
        """Yield the tasks in batches."""
        tasks = [task for task in self.sample(n, split, generator) for _ in range(repeats)]
        for start in range(0, len(tasks), at_once):
            yield tasks[start : start + at_once]

    def evaluation_batch(self, adapter: Adapter, meta: Meta, steps: int, meta_batch: int) -> int:
        """Return the meta-batch, whose vector environment there is."""
        return meta_batch

    def slice(self, tasks: list[Any], rows: slice) -> list[Any]:
        """Return some of the tasks."""
        return tasks[rows]

    def examples(self, n: int, generator: torch.Generator) -> Any:
        """Raise ConfigError: policies have no classes."""
        raise ConfigError("outer=Pretraining() needs image classes to tell apart; policies have none")

    def inputs(self, tasks: list[Any], outcome: Outcome) -> Tensor | None:
        """Return the observations of the outer step that were seen, shape (steps, entries)."""
        query: Samples = outcome.query
        return processes.everybodys(query.observations)[processes.everybodys(query.happened)]

    def own_task(self, given: Any) -> tuple[Problem[Any], list[Any]]:
        """Return the problem of the given environment's own task."""
        if not isinstance(given, gym.Env):
            raise ConfigError(f"adapt() of a policy needs an environment, not {type(given).__name__}")
        self._require_spaces(given)
        task = given.get_wrapper_attr("task") if given.has_wrapper_attr("task") else None
        if task is None:
            _, info = given.reset()
            task = info.get("task")
        return self._problem(given), [task]

    def _require_spaces(self, given: gym.Env[Any, Any]) -> None:
        for name in ("observation_space", "action_space"):
            theirs, ours = getattr(given, name), getattr(self.env, name)
            if type(theirs) is not type(ours) or theirs.shape != ours.shape or getattr(theirs, "n", 0) != getattr(ours, "n", 0):
                raise ConfigError(f"env={given.unwrapped!r} has the {name} {theirs}; this agent was made for {ours}")

    def elsewhere(self, env: gym.Env[Any, Any], any_ways: bool) -> Self:
        """Return a source whose trajectories come from another environment."""
        if not env.has_wrapper_attr("sample_tasks"):
            raise ConfigError(f"env={env.unwrapped!r} has no tasks: it needs sample_tasks(n, split)")
        self._require_spaces(env)
        other = copy.copy(self)
        other.env = env
        other.problem = self._problem(env)
        other._vec_env = None
        return other

    def split_of(self, observation: Any) -> list[Any] | None:
        """Return None: a policy takes batches of observations as they are."""
        return None

    def wrap(self, adapter: Adapter, meta: Meta, adapted: Adapted) -> AdaptedPolicy:
        """Return an SB3-style policy."""
        learned = self._distribution, meta, adapted
        shown = gym.spaces.Box(-np.inf, np.inf, (self._entries,), np.float32)
        policy: AdaptedPolicy
        if isinstance(adapter, TrialAdapter):
            policy = RememberingPolicy(shown, self.env.action_space, adapter, *learned)
        elif self.rollouts.recall:
            policy = RecallingPolicy(shown, self.env.action_space, adapter, *learned)
        elif self.tells_task:
            policy = ToldPolicy(shown, self.env.action_space, adapter, *learned)
        else:
            policy = AdaptedPolicy(self.env.observation_space, self.env.action_space, adapter, *learned)
        return policy.to(self._like.device)

    def pictures(self, agent: Agent, unseen: Unseen) -> Pictures:
        """Return the paths of trajectories, and their returns."""
        return {**paths.draw(agent, unseen), **returns.draw(agent, unseen)}


def _distribution(space: gym.spaces.Space[Any]) -> Distribution:
    if isinstance(space, gym.spaces.Box):
        return DiagonalGaussian(int(np.prod(space.shape)))
    if isinstance(space, gym.spaces.Discrete):
        return Categorical(int(space.n))
    raise ConfigError(f"env: the action space {space} is neither Box nor Discrete, and no other is supported")
