"""Few-shot episodes as a task source: predictors."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Self, cast

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from metarl.adapters.base import Adapted, Adapter, Meta, shared
from metarl.agents.adapted import AdaptedPredictor
from metarl.agents.pictures import Pictures, Unseen
from metarl.agents.pictures import episodes as episode_pictures
from metarl.agents.sources import Source, name_of, refuse_arguments, refuse_class, users_network
from metarl.errors import ConfigError, unknown_name
from metarl.outer import Outcome
from metarl.problems import Problem, SupervisedProblem
from metarl.registry import World
from metarl.tasks import Episodes, Examples

if TYPE_CHECKING:
    from metarl.agents.base import Agent

DRAWN_AT_ONCE = 1000
"""Episodes of an evaluation that are drawn together, at most."""
DRAWN_NUMBERS = 2**27
"""Numbers in them, at most: images are large."""
CACHE = {"cpu": 2**20, "cuda": 2**28}
"""Numbers that a batch's step should work with, so that they fit into a CPU's cache or a GPU's memory."""
MEMORY = {"cpu": 2**27, "cuda": 2**31}
"""Numbers that all steps' parameters of a batch should be at most."""


class EpisodeSource(Source):
    """Predictors in few-shot episodes.

    Args:
        env: an episode environment.
        support_batch: see ``SupervisedProblem``.
        device: of the tensors.
        dtype: of inputs and real targets.
    """

    world: ClassVar[World] = "predictors"
    default_meta_batch = 4
    default_outer = "gradient_descent"
    problem: SupervisedProblem

    def __init__(self, env: gym.Env[Any, Any], support_batch: int | None, device: torch.device, dtype: torch.dtype) -> None:
        self.env = env
        self.family = cast(Any, env.unwrapped)
        self._support_batch = support_batch
        self._like = torch.zeros(0, device=device, dtype=dtype)
        self.problem = self._problem()

    def _problem(self) -> SupervisedProblem:
        family = self.family
        classes = family.count_classes("train") if hasattr(family, "count_classes") else 0
        return SupervisedProblem(family.loss, family.measures, family.metric, self._support_batch, classes)

    def network(self, policy: str | nn.Module, policy_kwargs: Mapping[str, Any], embedding: bool) -> nn.Module:
        """Return one of the family's networks, a registered one, or the user's module; see ``Source``."""
        family = self.family
        if embedding and policy_kwargs.get("head", "none") not in ("none", "maps"):
            raise ConfigError(
                f"policy_kwargs={dict(policy_kwargs)!r}: this agent compares features, its network has no head: leave it out"
            )
        kwargs = {**({"head": "none"} if embedding else {}), **policy_kwargs}
        refuse_class(policy)
        if isinstance(policy, nn.Module):
            refuse_arguments(policy, policy_kwargs)
            module = policy
        elif make := family.networks.get(policy) or users_network(policy):
            try:
                module = make(family.input_shape, family.output_size, **kwargs)
            except TypeError as error:
                raise ConfigError(f"policy_kwargs={dict(policy_kwargs)!r} does not fit {policy}: {error}") from error
        else:
            raise unknown_name("policy", policy, family.networks)
        module = module.to(self._like.device, self._like.dtype)
        self._check_fit(module, embedding)
        return module

    def _check_fit(self, module: nn.Module, embedding: bool) -> None:
        family, inputs = self.family, self.example_inputs()
        try:
            with torch.no_grad():
                outputs = copy.deepcopy(module)(inputs)
        except RuntimeError as error:
            raise ConfigError(
                f"policy={type(module).__name__} cannot take inputs of shape {tuple(inputs.shape)}: {error}"
            ) from error
        if embedding:
            if outputs.ndim < 2 or len(outputs) != len(inputs):
                raise ConfigError(
                    f"policy={type(module).__name__} gives outputs of shape {tuple(outputs.shape)}, but an embedding of "
                    f"{len(inputs)} inputs has shape ({len(inputs)}, features)"
                )
            return
        if outputs.shape != (len(inputs), family.output_size):
            raise ConfigError(
                f"policy={type(module).__name__} gives outputs of shape {tuple(outputs.shape)}, but {family} needs "
                f"{(len(inputs), family.output_size)}: change its last layer"
            )
        self.require_same_ways()

    def require_same_ways(self) -> None:
        """Raise ConfigError if training tasks have other ways than those that are tested: not every agent can follow."""
        ways, tested = (self.family.ways_of(split) for split in ("train", "test"))
        if ways != tested:
            raise ConfigError(
                f"train_ways={ways} differs from ways={tested}, but this agent has an output for each class: leave train_ways "
                "out, or use an agent that compares features, such as ProtoNet"
            )

    @property
    def outputs(self) -> int:
        """The ways of a training task, or the numbers of a target."""
        ways: int = self.family.ways_of("train")
        return ways

    @property
    def longest_support(self) -> int:
        """The most support examples that an episode has, in training or tested."""
        family, is_class = self.family, self.family.metric == "accuracy"
        examples = (family.shots_of(split)[1] * (family.ways_of(split) if is_class else 1) for split in ("train", "test"))
        most: int = max(examples)
        return most

    def longest_example(self, generator: torch.Generator) -> Episodes:
        """Return one training episode with the most support examples that any episode has, some of them twice if need be."""
        drawn = self._example(generator)
        own = drawn.support.inputs.shape[1]
        rows = torch.arange(max(own, self.longest_support), device=drawn.support.inputs.device) % own
        return drawn._replace(support=Examples(*(part[:, rows] for part in drawn.support)))

    def example_inputs(self) -> Tensor:
        """Return the support inputs of one training episode."""
        return self._example(torch.Generator(self._like.device)).support.inputs[0]

    def _example(self, generator: torch.Generator) -> Episodes:
        drawn: Episodes = self.family.sample_episodes(1, "train", generator, dtype=self._like.dtype)
        return drawn

    def first_inputs(self, generator: torch.Generator) -> Tensor:
        """Return the query inputs of one training episode, which averages of nothing begin with."""
        return self._example(generator).query.inputs[0]

    def sample(self, n: int, split: str, generator: torch.Generator, first: int = 0) -> Episodes:
        """Return a batch of n episodes."""
        drawn: Episodes = self.family.sample_episodes(n, split, generator, first=first, dtype=self._like.dtype)
        return drawn

    def batches(self, n: int, split: str, generator: torch.Generator, repeats: int, at_once: int) -> Iterator[Episodes]:
        """Yield the episodes in batches."""
        # how many are drawn together must not depend on the agent: every agent must see the same tasks
        spaces = cast(gym.spaces.Dict, self.env.observation_space)
        numbers = sum(int(np.prod(spaces[name].shape or ())) for name in spaces)
        drawn_at_once = max(1, min(DRAWN_AT_ONCE, DRAWN_NUMBERS // numbers) // repeats)
        size = getattr(self.family, "task_sets", {}).get(split, n)
        if n > size:
            raise ConfigError(f"tasks={n} is more than the {size} of the fixed set of split {split!r}: ask for at most {size}")
        for first in range(0, n, drawn_at_once):
            count = min(drawn_at_once, n - first)
            drawn = self.family.sample_episodes(count, split, generator, first=first, repeats=repeats, dtype=self._like.dtype)
            for start in range(0, count * repeats, at_once):
                yield self.slice(drawn, slice(start, start + at_once))

    def evaluation_batch(self, adapter: Adapter, meta: Meta, steps: int, meta_batch: int) -> int:
        """Return as many tasks as let a step's numbers fit into the cache, and all steps' parameters into memory."""
        kind = "cpu" if self._like.device.type == "cpu" else "cuda"
        size, every = meta["theta"].numel(), meta["theta"].numel() + shared(meta).numel()
        fits = min(
            CACHE[kind] // (adapter.numbers_per_coordinate * max(1, size)),
            MEMORY[kind] // ((steps + 1) * every * adapter.numbers_per_coordinate),
        )
        return min(DRAWN_AT_ONCE, max(1, fits))

    def slice(self, tasks: Episodes, rows: slice) -> Episodes:
        """Return some of the episodes."""
        part: Episodes = tree_map(lambda tensor: tensor[rows], tasks)
        return part

    def examples(self, n: int, generator: torch.Generator) -> Examples:
        """Return a batch of n labelled examples of all training classes."""
        drawn: Examples = self.family.sample_examples(n, "train", generator, self._like.dtype)
        return drawn

    def inputs(self, tasks: Any, outcome: Outcome) -> Tensor | None:
        """Return the episodes' query inputs; None in pretraining, which tracks its batch itself."""
        return None if outcome.query is None else tasks.query.inputs.flatten(0, 1)

    def own_task(self, given: Any) -> tuple[Problem[Any], Episodes]:
        """Return the support set of an observation, or of an environment's episode in force, as a batch of one."""
        if isinstance(given, gym.Env):
            shown = getattr(given.unwrapped, "observation", None)
            given = given.reset()[0] if shown is None else shown
        try:
            if not isinstance(given, Mapping):
                raise TypeError
            support = Examples(*(self._batch(given[name]) for name in ("support_inputs", "support_targets")))
            unlabelled = tuple(self._batch(given[name]) for name in ("unlabelled_inputs",) if name in given)
        except (KeyError, TypeError, IndexError) as error:
            raise ConfigError(
                "adapt() of a predictor needs an episode environment or its observation: a dictionary with "
                "support_inputs and support_targets"
            ) from error
        return self.problem, Episodes(support, support, unlabelled)

    def _batch(self, array: Any) -> Tensor:
        tensor = torch.as_tensor(np.asarray(array), device=self._like.device)[None]
        return tensor.to(self._like.dtype) if tensor.is_floating_point() else tensor

    def split_of(self, observation: Any) -> list[Any] | None:
        """Return the rows of an observation that a vector environment gave; None for a single one."""
        spaces = cast(gym.spaces.Dict, self.env.observation_space)
        if not isinstance(observation, Mapping) or not spaces.spaces.keys() <= observation.keys():
            raise ConfigError(
                "predict() of a predictor needs an episode environment's observation: a dictionary with "
                f"{', '.join(sorted(spaces))}"
            )
        if np.ndim(observation["support_inputs"]) <= len(spaces["support_inputs"].shape or ()):
            return None
        return [{name: part[i] for name, part in observation.items()} for i in range(len(observation["query_inputs"]))]

    def elsewhere(self, env: gym.Env[Any, Any], any_ways: bool) -> Self:
        """Return a source whose episodes come from another environment; of other ways too if any will do."""
        if not hasattr(env.unwrapped, "sample_episodes"):
            raise ConfigError(f"env={name_of(env)} has no few-shot episodes, and this agent predicts: choose a family that has")
        other = copy.copy(self)
        other.env, other.family = env, cast(Any, env.unwrapped)
        other.problem = other._problem()
        ours, theirs = (
            (family.input_shape, None if any_ways else family.output_size) for family in (self.family, other.family)
        )
        if ours != theirs:
            raise ConfigError(
                f"env={name_of(env)} has inputs of shape {theirs[0]} and {theirs[1]} outputs; this agent was made for "
                f"{ours[0]} and {ours[1]}: give it the same image size and ways, or use an agent that compares features, such "
                "as ProtoNet"
            )
        return other

    def wrap(self, adapter: Adapter, meta: Meta, adapted: Adapted) -> AdaptedPredictor:
        """Return a predictor."""
        return AdaptedPredictor(adapter, meta, adapted, self.family.decide)

    def pictures(self, agent: Agent, unseen: Unseen) -> Pictures:
        """Return the family's pictures: curves or accuracies, images, filters."""
        return episode_pictures.draw(agent, unseen, self.family)
