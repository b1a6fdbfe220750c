"""Task sources: where an agent's tasks come from, and what its learner is in their world."""

from __future__ import annotations

import difflib
import inspect
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Self

import gymnasium as gym
import torch
from torch import Tensor, nn

from metarl.adapters.base import Adapted, Adapter, Meta
from metarl.errors import ConfigError, require_whole, unknown_name
from metarl.outer import Outcome
from metarl.problems import Problem, Rollouts
from metarl.problems.base import Tasks
from metarl.registry import FAMILIES, NETWORKS, World

if TYPE_CHECKING:
    from metarl.agents.base import Agent
    from metarl.agents.pictures import Pictures, Unseen


class Source(ABC):
    """Draws tasks from an environment's family, and makes of adapted parameters what a user acts or predicts with.

    Attributes:
        env: the environment.
        problem: the tasks' experience and its loss.
        world: ``"policies"`` or ``"predictors"``.
        default_meta_batch: tasks in an outer step unless the user says.
        default_outer: the outer loop's name unless the user says.
        rollouts: how trajectories are sampled; None where there are none.
    """

    env: gym.Env[Any, Any]
    problem: Problem[Any]
    world: ClassVar[World]
    default_meta_batch: ClassVar[int]
    default_outer: ClassVar[str]
    rollouts: Rollouts | None = None

    @property
    @abstractmethod
    def outputs(self) -> int:
        """How many numbers the learner's output has in training: ways, the entries of a value, or what a distribution takes."""

    def close(self) -> None:
        """Close the environments that were made here."""
        self.problem.close()

    def require_same_ways(self) -> None:  # noqa: B027 - without classes there are no ways
        """Raise ConfigError if training tasks have other ways than those that are tested."""

    @abstractmethod
    def network(self, policy: str | nn.Module, policy_kwargs: Mapping[str, Any], embedding: bool) -> nn.Module:
        """Return the network by name, or the user's, on the agent's device.

        Args:
            policy: its name, or the module.
            policy_kwargs: arguments of a network by name.
            embedding: whether features are wanted, and no last layer.

        Raises:
            ConfigError: an unknown name, or a network that does not fit the environment.
        """

    @abstractmethod
    def example_inputs(self) -> Tensor:
        """Return a small batch of what the network sees, shape (examples, ...)."""

    @abstractmethod
    def first_inputs(self, generator: torch.Generator) -> Tensor | None:
        """Return inputs that running averages begin with, shape (examples, ...); None if they begin with the first step."""

    @abstractmethod
    def sample(self, n: int, split: str, generator: torch.Generator, first: int = 0) -> Tasks:
        """Return a meta-batch of n tasks; ``first`` counts the tasks the run has had before."""

    @abstractmethod
    def batches(self, n: int, split: str, generator: torch.Generator, repeats: int, at_once: int) -> Iterator[Tasks]:
        """Yield n evaluation tasks, at most ``at_once`` together; the rows of a repeated task stand side by side."""

    @abstractmethod
    def slice(self, tasks: Tasks, rows: slice) -> Tasks:
        """Return some tasks of a meta-batch."""

    @abstractmethod
    def examples(self, n: int, generator: torch.Generator) -> Any:
        """Return a batch of n labelled examples of all training classes.

        Raises:
            ConfigError: there are no classes.
        """

    @abstractmethod
    def evaluation_batch(self, adapter: Adapter, meta: Meta, steps: int, meta_batch: int) -> int:
        """Return how many tasks an evaluation takes at once."""

    @abstractmethod
    def inputs(self, tasks: Tasks, outcome: Outcome) -> Tensor | None:
        """Return the inputs of an outer step whose moments the running averages take up, shape (examples, ...), or None."""

    @abstractmethod
    def own_task(self, given: Any) -> tuple[Problem[Any], Tasks]:
        """Return the problem and the meta-batch of one task for what ``agent.adapt`` was given."""

    @abstractmethod
    def elsewhere(self, env: gym.Env[Any, Any], any_ways: bool) -> Self:
        """Return the same source in another environment of the same kind.

        Args:
            env: the environment.
            any_ways: whether any number of classes fits the agent.

        Raises:
            ConfigError: an environment of other shapes, or without tasks.
        """

    @abstractmethod
    def wrap(self, adapter: Adapter, meta: Meta, adapted: Adapted) -> Any:
        """Return one adapted task as what the user acts or predicts with."""

    @abstractmethod
    def split_of(self, observation: Any) -> list[Any] | None:
        """Return the rows of an observation that a vector environment gave, each a task of its own; None for a single one."""

    @abstractmethod
    def pictures(self, agent: Agent, unseen: Unseen) -> Pictures:
        """Return the pictures, by name, of what an agent made of unseen tasks of this source."""


def make_env(env: str | gym.Env[Any, Any], env_kwargs: Mapping[str, Any]) -> gym.Env[Any, Any]:
    """Return an environment by id or as it is.

    Raises:
        ConfigError: an unknown id, with the nearest ones, or arguments that do not fit.
    """
    if not isinstance(env, (str, gym.Env)):
        raise ConfigError(f"env={env!r} must be a Gymnasium id or an environment")
    if not isinstance(env, str):
        if env_kwargs:
            raise ConfigError(f"env_kwargs={dict(env_kwargs)!r} needs an env id; this environment is already made")
        return env
    if env_kwargs.get("max_episode_steps") is not None:
        require_whole(max_episode_steps=env_kwargs["max_episode_steps"])
    name = env.rpartition(":")[2]
    try:
        if ":" not in env and name not in gym.registry and name not in FAMILIES:  # asked for, packages announce theirs
            raise gym.error.NameNotFound(name)
        return gym.make(env, **env_kwargs)
    except (gym.error.Error, ImportError) as error:
        near = difflib.get_close_matches(name, gym.registry, n=5, cutoff=0.6)
        ours = [known for known in gym.registry if known.startswith("metarl/")]
        raise unknown_name("env", name, near + [known for known in ours if known not in near]) from error
    except TypeError as error:
        if unexpected := re.search(r"unexpected keyword argument '(\w+)'", str(error)):
            raise unknown_name(f"env_kwargs: {env}'s argument", unexpected[1], arguments_of(env)) from error
        raise ConfigError(f"env_kwargs={dict(env_kwargs)!r} does not fit {env}: {error}") from error


def arguments_of(env: str) -> list[str]:
    """Return the names of the arguments that a family's class and its bases take."""
    entry = gym.spec(env).entry_point
    made = gym.envs.registration.load_env_creator(entry) if isinstance(entry, str) else entry
    kinds = [kind.__init__ for kind in made.__mro__ if "__init__" in vars(kind)] if isinstance(made, type) else [made]
    parameters = [parameter for kind in kinds for parameter in inspect.signature(kind).parameters.values()]  # type: ignore[arg-type]
    named = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    limit = {"max_episode_steps"} if gym.spec(env).max_episode_steps is not None else set()
    return sorted({one.name for one in parameters if one.kind in named} - {"self", "images", "splits"} | limit)


def name_of(env: gym.Env[Any, Any]) -> str:
    """Return what an error calls an environment."""
    return repr(env.spec.id if env.spec else env.unwrapped)


def users_network(name: str) -> Callable[..., nn.Module] | None:
    """Return what makes a network that a user registered; None for metarl's own, which fit the families that name them."""
    if name not in NETWORKS or str(NETWORKS[name].target).startswith("metarl."):
        return None
    make: Callable[..., nn.Module] = NETWORKS.load(name)
    return make


def refuse_arguments(policy: nn.Module, policy_kwargs: Mapping[str, Any]) -> None:
    """Raise ConfigError for arguments of a network that is already made."""
    if policy_kwargs:
        raise ConfigError(
            f"policy_kwargs={dict(policy_kwargs)!r} are for networks by name; policy={type(policy).__name__} is made already: "
            "leave them out"
        )


def refuse_class(policy: Any) -> None:
    """Raise ConfigError for a class in the place of an instance or a name."""
    if isinstance(policy, type):
        raise ConfigError(f"policy={policy.__name__} is a class: give an instance, {policy.__name__}(...), or a name")
