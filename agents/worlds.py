"""The two worlds an agent can live in: policies in task families, and predictors in few-shot episodes.

A world builds the learner and its problem from what the user handed in, and draws the tasks; nothing else in ``agents``
tells the two apart.
"""

import copy
import difflib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Self, cast

import gymnasium as gym
import numpy as np
import torch
from gymnasium.envs.registration import load_env_creator
from stable_baselines3.common.monitor import Monitor
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from metarl.agents.adapted import AdaptedPolicy, AdaptedPredictor
from metarl.batch_norm import Statistics
from metarl.errors import ConfigError, TaskError, unknown_name
from metarl.learner import Learner
from metarl.networks import mlp
from metarl.problems import PolicyProblem, Problem, Rollouts, SupervisedProblem
from metarl.problems.distributions import Categorical, DiagonalGaussian, Distribution
from metarl.problems.rollout import NumpyVectorEnv, TensorVectorEnv
from metarl.problems.stochastic_policy import StochasticPolicy, check_fit
from metarl.tasks import Episodes, Examples

DRAWN_AT_ONCE = 1000
"""Episodes of an evaluation that are drawn together, at most."""
DRAWN_NUMBERS = 2**27
"""Numbers in them, at most: images are large."""


class World(ABC):
    """Where an agent learns."""

    problem: Problem[Any]
    env: gym.Env[Any, Any]
    evaluation_batch: int

    @abstractmethod
    def sample(self, n: int, split: str, generator: torch.Generator, first: int = 0) -> Any:
        """Return a meta-batch of n tasks; ``first`` counts the tasks the run has had before."""

    @abstractmethod
    def batches(self, n: int, split: str, generator: torch.Generator, repeats: int) -> Iterator[Any]:
        """Yield n evaluation tasks in batches; the rows of a repeated task stand side by side."""

    @abstractmethod
    def slice(self, tasks: Any, rows: slice) -> Any:
        """Return some tasks of a meta-batch."""

    def track(self, parameters: Tensor, tasks: Any) -> None:  # noqa: B027 - only batch-normalisation needs it
        """Take note of what an outer step's tasks say of the inputs."""

    @abstractmethod
    def own_task(self, given: Any) -> tuple[Problem[Any], Any]:
        """Return the problem and the meta-batch of one task for what ``agent.adapt`` was given."""

    @abstractmethod
    def elsewhere(self, env: gym.Env[Any, Any]) -> Self:
        """Return the same learner in another environment of the same kind."""

    @abstractmethod
    def wrap(self, parameters: Tensor, task: Any) -> Any:
        """Return full parameters, shape (P + S,), adapted to ``own_task``'s task, as what the user acts or predicts with."""


def make_env(env: str | gym.Env[Any, Any], env_kwargs: Mapping[str, Any]) -> gym.Env[Any, Any]:
    """Return an environment by id or as it is.

    Raises:
        ConfigError: an unknown id, with the nearest ones, or arguments that do not fit.
    """
    if not isinstance(env, str):
        if env_kwargs:
            raise ConfigError(f"env_kwargs={dict(env_kwargs)!r} needs an env id; this environment is already made")
        return env
    name = env.rpartition(":")[2]
    try:
        if ":" not in env and name not in gym.registry:
            raise gym.error.NameNotFound(name)
        return gym.make(env, **env_kwargs)
    except (gym.error.Error, ImportError) as error:
        near = difflib.get_close_matches(name, gym.registry, n=5, cutoff=0.6)
        ours = [known for known in gym.registry if known.startswith("metarl/")]
        raise unknown_name("env", name, near + [known for known in ours if known not in near]) from error
    except TypeError as error:
        raise ConfigError(f"env_kwargs={dict(env_kwargs)!r} does not fit {env}: {error}") from error


def make_world(
    policy: str | nn.Module,
    env: gym.Env[Any, Any],
    *,
    adapted: str | Sequence[str],
    batch_norm: Statistics,
    support_batch: int | None,
    predictor: type[SupervisedProblem],
    policy_kwargs: Mapping[str, Any],
    rollouts: Rollouts,
    device: torch.device,
    dtype: torch.dtype,
) -> World:
    """Return the world that the environment belongs to.

    Raises:
        TaskError: an environment without tasks.
        ConfigError: a policy that does not fit the environment.
    """
    if hasattr(env.unwrapped, "sample_episodes"):
        return EpisodeWorld(policy, env, adapted, batch_norm, support_batch, predictor, policy_kwargs, device, dtype)
    if env.has_wrapper_attr("sample_tasks"):
        if batch_norm != "batch" or support_batch is not None:
            raise ConfigError(
                f"batch_norm={batch_norm!r}, support_batch={support_batch!r} are for predictors; "
                f"{env.spec.id if env.spec else env.unwrapped!r} has policies: leave them out, and choose no baseline"
            )
        return PolicyWorld(policy, env, adapted, policy_kwargs, rollouts, device, dtype)
    raise TaskError(
        f"env={env.spec.id if env.spec else env.unwrapped!r} has no tasks: it needs sample_tasks(n, split) and "
        "reset(options={'task': task}); "
        "wrap it in metarl.envs.TaskAdapter, or derive it from metarl.envs.TaskFamily"
    )


class PolicyWorld(World):
    """Policies in a task family, sampled through its vector environment."""

    def __init__(
        self,
        policy: str | nn.Module,
        env: gym.Env[Any, Any],
        adapted: str | Sequence[str],
        policy_kwargs: Mapping[str, Any],
        rollouts: Rollouts,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        self.env = env
        self._rollouts = rollouts
        self._like = torch.zeros(0, device=device, dtype=dtype)
        self.evaluation_batch = 20
        space = env.observation_space
        if not isinstance(space, gym.spaces.Box):
            raise ConfigError(
                f"env: the observation space {space} is not a Box; wrap it in gymnasium.wrappers.FlattenObservation"
            )
        self._distribution = _distribution(env.action_space)
        network = self._network(policy, int(np.prod(space.shape)), policy_kwargs).to(device, dtype)
        check_fit(network, torch.zeros(1, int(np.prod(space.shape)), device=device, dtype=dtype))
        self.learner = Learner(network, adapted)
        if self.learner.batch_norm is not None:
            raise ConfigError(
                f"policy={type(policy).__name__} has batch-norm layers: sampling sees other batches than the loss does, so "
                "their statistics would differ; remove them"
            )
        self.problem = PolicyProblem(self.learner, self._distribution, lambda rows: self._vector(env, rows), rollouts)

    def _network(self, policy: str | nn.Module, inputs: int, policy_kwargs: Mapping[str, Any]) -> StochasticPolicy:
        kwargs = {"hidden": (100, 100), "log_std": 0.0, **policy_kwargs}
        log_std = kwargs.pop("log_std")
        if isinstance(policy, StochasticPolicy):
            return policy
        if isinstance(policy, nn.Module):
            return StochasticPolicy(policy, self._distribution, log_std)
        _refuse_class(policy)
        if policy != "MlpPolicy":
            raise unknown_name("policy", policy, ["MlpPolicy"])
        try:
            return StochasticPolicy(mlp(inputs, self._distribution.outputs, **kwargs), self._distribution, log_std)
        except TypeError as error:
            raise ConfigError(f"policy_kwargs={dict(policy_kwargs)!r} does not fit MlpPolicy: {error}") from error

    def _vector(self, env: gym.Env[Any, Any], rows: int) -> TensorVectorEnv:
        """Return a vector environment like ``env``: its registered one if that steps on tensors, else Gymnasium's."""
        while isinstance(env, Monitor):
            env = env.env  # it only watches, and Gymnasium cannot make it anew
        spec, mode = env.spec, self._rollouts.vectorization
        plain = spec is not None and not spec.additional_wrappers and env.unwrapped is not env
        if plain and spec is not None and spec.vector_entry_point is not None and mode == "auto":
            entry = spec.vector_entry_point
            if hasattr(load_env_creator(entry) if isinstance(entry, str) else entry, "tensor_step"):
                dtype = str(self._like.dtype).removeprefix("torch.")
                return cast(TensorVectorEnv, gym.make_vec(spec, num_envs=rows, device=self._like.device, dtype=dtype))
        horizon = getattr(spec, "max_episode_steps", None)
        if horizon is None and env.has_wrapper_attr("_max_episode_steps"):
            horizon = env.get_wrapper_attr("_max_episode_steps")
        if horizon is None:
            raise ConfigError(
                f"env={env.unwrapped!r} has no time limit, so trajectories might never end: register it with max_episode_steps "
                "or wrap it in gymnasium.wrappers.TimeLimit"
            )
        make = [(lambda: gym.make(spec)) if plain and spec is not None else (lambda: copy.deepcopy(env))] * rows
        kind = gym.vector.AsyncVectorEnv if mode == "async" else gym.vector.SyncVectorEnv
        return NumpyVectorEnv(kind(make), horizon, self._like)

    def sample(self, n: int, split: str, generator: torch.Generator, first: int = 0) -> list[Any]:
        """Return n tasks, drawn by the family from a seed that the run's generator gives."""
        seed = int(torch.randint(2**31 - 1, (), generator=generator, device=generator.device))
        self.env.reset(seed=seed)
        # how much a reset draws may depend on the past, and a resumed run has none
        self.env.unwrapped.np_random = np.random.default_rng(seed)
        return list(self.env.get_wrapper_attr("sample_tasks")(n, split))

    def batches(self, n: int, split: str, generator: torch.Generator, repeats: int) -> Iterator[list[Any]]:
        """Yield the tasks, a meta-batch at a time."""
        tasks = [task for task in self.sample(n, split, generator) for _ in range(repeats)]
        for start in range(0, len(tasks), self.evaluation_batch):
            yield tasks[start : start + self.evaluation_batch]

    def slice(self, tasks: list[Any], rows: slice) -> list[Any]:
        """Return some of the tasks."""
        return tasks[rows]

    def own_task(self, given: Any) -> tuple[Problem[Any], Any]:
        """Return the problem of the given environment's own task."""
        if not isinstance(given, gym.Env):
            raise ConfigError(f"adapt() of a policy needs an environment, not {type(given).__name__}")
        self._require_spaces(given)
        task = given.get_wrapper_attr("task") if given.has_wrapper_attr("task") else None
        if task is None:
            _, info = given.reset()
            task = info.get("task")
        make = lambda rows: self._vector(given, rows)  # noqa: E731
        return PolicyProblem(self.learner, self._distribution, make, self._rollouts), [task]

    def _require_spaces(self, given: gym.Env[Any, Any]) -> None:
        for name in ("observation_space", "action_space"):
            theirs, ours = getattr(given, name), getattr(self.env, name)
            if type(theirs) is not type(ours) or theirs.shape != ours.shape or getattr(theirs, "n", 0) != getattr(ours, "n", 0):
                raise ConfigError(f"env={given.unwrapped!r} has the {name} {theirs}; this agent was made for {ours}")

    def elsewhere(self, env: gym.Env[Any, Any]) -> Self:
        """Return a world whose trajectories come from another environment."""
        other = copy.copy(self)
        if not env.has_wrapper_attr("sample_tasks"):
            raise ConfigError(f"env={env.unwrapped!r} has no tasks: it needs sample_tasks(n, split)")
        self._require_spaces(env)
        other.env = env
        other.problem = PolicyProblem(self.learner, self._distribution, lambda rows: self._vector(env, rows), self._rollouts)
        return other

    def wrap(self, parameters: Tensor, task: Any = None) -> AdaptedPolicy:
        """Return an SB3-style policy."""
        return AdaptedPolicy(
            self.env.observation_space, self.env.action_space, self.learner, self._distribution, parameters
        ).to(parameters.device)


class EpisodeWorld(World):
    """Predictors in few-shot episodes."""

    problem: SupervisedProblem

    def __init__(
        self,
        policy: str | nn.Module,
        env: gym.Env[Any, Any],
        adapted: str | Sequence[str],
        batch_norm: Statistics,
        support_batch: int | None,
        predictor: type[SupervisedProblem],
        policy_kwargs: Mapping[str, Any],
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        self.env, family = env, cast(Any, env.unwrapped)
        self.family = family
        self._like = torch.zeros(0, device=device, dtype=dtype)
        self.evaluation_batch = DRAWN_AT_ONCE
        if isinstance(policy, nn.Module):
            module = policy
        elif policy in self.family.networks:
            try:
                module = self.family.networks[policy](self.family.input_shape, self.family.output_size, **policy_kwargs)
            except TypeError as error:
                raise ConfigError(f"policy_kwargs={dict(policy_kwargs)!r} does not fit {policy}: {error}") from error
        else:
            _refuse_class(policy)
            raise unknown_name("policy", policy, self.family.networks)
        self.learner = Learner(module.to(device, dtype), adapted, batch_norm)
        self._predictor, self._support_batch = predictor, support_batch
        self.problem = self._problem_of(self.family)
        self._check_fit(module)

    def _problem_of(self, family: Any) -> SupervisedProblem:
        return self._predictor(self.learner, family.loss, family.measures, family.figure, self._support_batch)

    def _check_fit(self, module: nn.Module) -> None:
        episodes = self.family.sample_episodes(1, "train", torch.Generator(self._like.device), dtype=self._like.dtype)
        inputs = episodes.support.inputs[0]
        try:
            with torch.no_grad():
                outputs = self.learner(self.learner.join(*self.learner.initial()), inputs)
        except RuntimeError as error:
            raise ConfigError(
                f"policy={type(module).__name__} cannot take inputs of shape {tuple(inputs.shape)}: {error}"
            ) from error
        if not any(bool(count) for name, count in self.learner.running.items() if name.endswith("num_batches_tracked")):
            self.track(self.learner.join(*self.learner.initial()), episodes)  # averages of nothing would be far off
        if outputs.shape != (len(inputs), self.family.output_size):
            raise ConfigError(
                f"policy={type(module).__name__} gives outputs of shape {tuple(outputs.shape)}, but {self.family} needs "
                f"{(len(inputs), self.family.output_size)}: change its last layer"
            )

    def sample(self, n: int, split: str, generator: torch.Generator, first: int = 0) -> Any:
        """Return a batch of n episodes."""
        return self.family.sample_episodes(n, split, generator, first=first, dtype=self._like.dtype)

    def batches(self, n: int, split: str, generator: torch.Generator, repeats: int) -> Iterator[Any]:
        """Yield the episodes in batches."""
        # not the batch: every agent must see the same tasks
        spaces = cast(gym.spaces.Dict, self.env.observation_space)
        numbers = sum(int(np.prod(spaces[name].shape or ())) for name in spaces)
        at_once = max(1, min(DRAWN_AT_ONCE, DRAWN_NUMBERS // numbers) // repeats)
        size = getattr(self.family, "task_sets", {}).get(split, n)
        if n > size:
            raise ConfigError(f"tasks={n} is more than the {size} of the fixed set of split {split!r}: ask for at most {size}")
        for first in range(0, n, at_once):
            count = min(at_once, n - first)
            drawn = self.family.sample_episodes(count, split, generator, first=first, repeats=repeats, dtype=self._like.dtype)
            for start in range(0, count * repeats, self.evaluation_batch):
                yield self.slice(drawn, slice(start, start + self.evaluation_batch))

    def slice(self, tasks: Any, rows: slice) -> Any:
        """Return some of the episodes, or of the examples."""
        return tree_map(lambda tensor: tensor[rows], tasks)

    def own_task(self, given: Any) -> tuple[Problem[Any], Any]:
        """Return the support set of an observation, or of an environment's episode in force, as a batch of one."""
        if isinstance(given, gym.Env):
            shown = getattr(given.unwrapped, "observation", None)
            given = given.reset()[0] if shown is None else shown
        try:
            if not isinstance(given, Mapping):
                raise TypeError
            support = Examples(*(self._batch(given[name]) for name in ("support_inputs", "support_targets")))
        except (KeyError, TypeError, IndexError) as error:
            raise ConfigError(
                "adapt() of a predictor needs an episode environment or its observation: a dictionary with "
                "support_inputs and support_targets"
            ) from error
        return self.problem, Episodes(support, support)

    def _batch(self, array: Any) -> Tensor:
        tensor = torch.as_tensor(np.asarray(array), device=self._like.device)[None]
        return tensor.to(self._like.dtype) if tensor.is_floating_point() else tensor

    def elsewhere(self, env: gym.Env[Any, Any]) -> Self:
        """Return a world whose episodes come from another environment."""
        other = copy.copy(self)
        if not hasattr(env.unwrapped, "sample_episodes"):
            raise ConfigError(
                f"env={env.unwrapped!r} has no few-shot episodes, and this agent predicts: choose a family that has"
            )
        other.env, other.family = env, env.unwrapped
        other.problem = self._problem_of(other.family)
        ours, theirs = ((family.input_shape, family.output_size) for family in (self.family, other.family))
        if ours != theirs:
            raise ConfigError(
                f"env={env} has inputs and outputs of shape {theirs}; this agent was made for {ours}: "
                "give it the same image size and ways"
            )
        return other

    def wrap(self, parameters: Tensor, task: Episodes) -> AdaptedPredictor:
        """Return a predictor."""
        support = Examples(*(part[0] for part in task.support)) if self.problem.needs_support else None
        return AdaptedPredictor(self.problem, parameters, self.family.decide, support)

    def count_classes(self) -> int:
        """Return how many classes the training examples have.

        Raises:
            ConfigError: the family has no classes.
        """
        if not hasattr(self.family, "sample_examples"):
            raise ConfigError(f"outer=Pretraining() needs classes to tell apart; {self.family} has none")
        return int(self.family.count_classes("train"))

    def track(self, parameters: Tensor, tasks: Episodes | Examples) -> None:
        """Put the statistics of the episodes' query inputs into the running averages, if batch-normalisation uses them."""
        if self.learner.batch_norm != "running" or isinstance(tasks, Examples):  # pretraining has done it already
            return
        self.learner.track(parameters, tasks.query.inputs.flatten(0, 1))

    def examples(self, n: int, generator: torch.Generator) -> Examples:
        """Return a batch of n labelled examples of all training classes."""
        drawn: Examples = self.family.sample_examples(n, "train", generator, self._like.dtype)
        return drawn


def _refuse_class(policy: Any) -> None:
    if isinstance(policy, type):
        raise ConfigError(f"policy={policy.__name__} is a class: give an instance, {policy.__name__}(...), or a name")


def _distribution(space: gym.spaces.Space[Any]) -> Distribution:
    if isinstance(space, gym.spaces.Box):
        return DiagonalGaussian(int(np.prod(space.shape)))
    if isinstance(space, gym.spaces.Discrete):
        return Categorical(int(space.n))
    raise ConfigError(f"env: the action space {space} is neither Box nor Discrete, and no other is supported")
