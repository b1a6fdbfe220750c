"""Few-shot episodes as Gymnasium environments: one reset is one task, one step answers it."""

from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor, nn

from metarl.errors import ConfigError, require_positive
from metarl.tasks import Array, Bounds, Episodes, Split, Task, check_task, require_known_options, split_index


def split_stream(generator: torch.Generator, split: Split) -> torch.Generator:
    """Return the stream of random numbers that a split's tasks and data are drawn from.

    Training draws from the generator itself. Any other split draws from a new one on the same device, seeded by one number
    of the generator together with the split's own, so that one seed never shows two splits the same tasks.

    Raises:
        ConfigError: an unknown split.
    """
    index = split_index(split)
    if split == "train":
        return generator
    drawn = int(torch.randint(2**31, (), generator=generator, device=generator.device))
    seed = int(np.random.SeedSequence([drawn, index]).generate_state(1)[0])
    return torch.Generator(generator.device).manual_seed(seed)


class EpisodeEnv(gym.Env[Any, Any]):
    """A few-shot task as an episode of one step.

    ``reset`` draws a task (or takes ``options["task"]``) and shows its support set with targets and the query inputs; the
    action is the predictions for the query set, the reward is ``reward(predictions, targets)``; one step ends it, and only
    then does ``info["query_targets"]`` tell the targets. Agents train on ``sample_episodes``, whole batches on any device.

    A family says what its tasks are (``bounds``, ``draw_tasks``) and what their data is (``draw_episodes``).

    Args:
        shots: support examples (of each class).
        queries: query examples (of each class).
        split: what ``reset`` draws from unless told otherwise.

    Raises:
        ConfigError: a count that is not positive, or an unknown split.
    """

    bounds: Bounds
    """The lowest and highest values of every entry of a task."""
    networks: ClassVar[Mapping[str, Callable[..., nn.Module]]]
    """The networks that fit this family, by the names that agents take."""
    input_shape: tuple[int, ...]
    output_size: int
    metric: ClassVar[str] = "loss"
    """The name in ``measures`` of the number that matters: ``"loss"`` or ``"accuracy"``."""

    def __init__(self, shots: int, queries: int, split: Split = "train") -> None:
        require_positive(shots=shots, queries=queries)
        split_index(split)
        self.split = split
        self.shots = shots
        self.queries = queries
        self._task: Task | None = None
        self._query_targets: Array | None = None
        self._shown: dict[str, Array] = {}

    @abstractmethod
    def draw_tasks(self, n: int, split: Split, generator: torch.Generator) -> Tensor:
        """Return n tasks as rows: the entries of ``bounds`` one after another, shape (n, entries), float64.

        The generator is already the split's own stream: a family whose splits differ in nothing else may ignore ``split``.
        """

    def draw_episode_tasks(self, n: int, split: Split, generator: torch.Generator) -> Tensor:
        """Return n tasks for ``sample_episodes``: those of ``draw_tasks`` unless a family trains on others than it shows."""
        return self.draw_tasks(n, split, generator)

    def ways_of(self, split: Split) -> int:
        """Return how many classes an episode of ``sample_episodes`` has; of a regression, how many numbers a target has."""
        split_index(split)
        return self.output_size

    def shots_of(self, split: Split) -> tuple[int, int]:
        """Return the fewest and the most support examples (of each class) in an episode of ``sample_episodes``."""
        split_index(split)
        return self.shots, self.shots

    @abstractmethod
    def draw_episodes(self, tasks: Tensor, generator: torch.Generator) -> Episodes:
        """Return data for tasks of shape (n, entries), on the generator's device and in their dtype."""

    def draw_split_episodes(self, tasks: Tensor, split: Split, generator: torch.Generator) -> Episodes:
        """Return the data of ``sample_episodes``: that of ``draw_episodes`` unless a family trains on other than it shows."""
        return self.draw_episodes(tasks, generator)

    @abstractmethod
    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of one task's examples, shape ()."""

    def measures(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """Return what people want to know of one task's outputs, each of shape (); the loss unless a family says more."""
        return {"loss": self.loss(outputs, targets)}

    def decide(self, outputs: Tensor) -> Tensor:
        """Return the predictions that a network's outputs mean, as the action space has them; the outputs by default."""
        return outputs

    @abstractmethod
    def reward(self, predictions: Array, targets: Array) -> float:
        """Return what the predictions for the query set are worth."""

    def sample_episodes(
        self,
        n: int,
        split: Split,
        generator: torch.Generator,
        *,
        first: int = 0,
        repeats: int = 1,
        dtype: torch.dtype = torch.float32,
    ) -> Episodes:
        """Return a batch of episodes on the generator's device.

        Args:
            n: how many tasks.
            split: which tasks.
            generator: the source of tasks and data; every split draws from a stream of its own (see ``split_stream``).
            first: how many tasks the run has had before; a family with a finite set passes through it in order.
            repeats: how many times each task gets new data; rows of one task stand side by side.
            dtype: of inputs and real targets.

        Raises:
            ConfigError: an unknown split.
        """
        generator = split_stream(generator, split)
        tasks = self.draw_episode_tasks(n, split, generator)
        if repeats > 1:
            tasks = tasks.repeat_interleave(repeats, 0)
        return self.draw_split_episodes(tasks.to(dtype), split, generator)

    def _generator(self, split: Split) -> torch.Generator:
        """Return a generator seeded by a number of the environment's generator, another for each split."""
        seed = np.random.SeedSequence([int(self.np_random.integers(2**31)), split_index(split)]).generate_state(1)[0]
        return torch.Generator().manual_seed(int(seed))

    def sample_tasks(self, n: int, split: Split = "train") -> list[Task]:
        """Draw n tasks from the environment's random generator, which ``reset(seed=...)`` seeds.

        Raises:
            ConfigError: n is not positive or the split is unknown.
        """
        if n < 1:
            raise ConfigError(f"n={n!r} tasks cannot be sampled: ask for at least one")
        rows = self.draw_tasks(n, split, self._generator(split)).numpy()
        lows = [low for low, _ in self.bounds.values()]
        parts = np.split(rows, np.cumsum([low.size for low in lows])[:-1], axis=1)
        return [
            {
                name: part[i].reshape(low.shape).astype(low.dtype)
                for name, part, low in zip(self.bounds, parts, lows, strict=True)
            }
            for i in range(n)
        ]

    def check(self, task: Mapping[str, Any]) -> Task:
        """Return a task's entries as arrays.

        Raises:
            TaskError: a task outside the family.
        """
        return check_task(type(self).__name__, task, self.bounds)

    @property
    def task(self) -> Task | None:
        """The task in force; None before the first reset."""
        return None if self._task is None else {name: value.copy() for name, value in self._task.items()}

    @property
    def observation(self) -> dict[str, Array] | None:
        """What the episode in force shows; None before the first reset."""
        return {name: value.copy() for name, value in self._shown.items()} or None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Array], dict[str, Any]]:
        """Draw a task, or take ``options["task"]``; ``options["split"]`` names the split to draw from, if another.

        Raises:
            TaskError: a task outside the family.
            ConfigError: an unknown split, or another option.
        """
        require_known_options(options, "task", "split")
        super().reset(seed=seed)
        options = options or {}
        split: Split = options.get("split", self.split)
        self._task = self.check(options["task"] if "task" in options else self.sample_tasks(1, split)[0])
        row = np.concatenate([self._task[name].reshape(-1) for name in self.bounds])
        drawn = self.draw_episodes(torch.as_tensor(row, dtype=torch.float32)[None], self._generator(split))
        support, query = drawn.support, drawn.query
        self._query_targets = query.targets[0].numpy()
        self._shown = {
            "support_inputs": support.inputs[0].numpy(),
            "support_targets": support.targets[0].numpy(),
            "query_inputs": query.inputs[0].numpy(),
        }
        for inputs in drawn.unlabelled:
            self._shown["unlabelled_inputs"] = inputs[0].numpy()
        assert self.observation is not None
        return self.observation, {"task": self.task}

    def step(self, action: Array) -> tuple[dict[str, Array], float, bool, bool, dict[str, Any]]:
        """Score the predictions for the query set and end the episode; the observation that ends it is all zeros.

        Raises:
            ConfigError: predictions of another shape than the action space's.
        """
        assert self._query_targets is not None, "call reset() before step()"
        if np.shape(action) != self.action_space.shape:
            raise ConfigError(f"action has shape {np.shape(action)}; give predictions of shape {self.action_space.shape}")
        blank = {name: np.zeros_like(value) for name, value in self._shown.items()}
        reward = self.reward(np.asarray(action), self._query_targets)
        return blank, reward, True, False, {"task": self.task, "query_targets": self._query_targets.copy()}
