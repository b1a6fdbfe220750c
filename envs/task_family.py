"""What a task family is: a Gymnasium environment that has tasks, and can be told which one it is."""

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import gymnasium as gym
import numpy as np

from metarl.errors import ConfigError, TaskError
from metarl.tasks import Array, Bounds, Split, Task, check_task, require_known_options, split_index


class TaskFamily(gym.Env[Any, Any]):
    """An environment with tasks.

    ``sample_tasks`` draws tasks; ``reset(options={"task": task})`` or setting ``task`` takes one on; a bare ``reset()`` keeps
    the one in force (the first draws one). ``info["task"]`` names it.

    A task is a dictionary of float arrays. A family says which in ``draw_tasks`` and ``bounds``; everything else is here.
    """

    bounds: Bounds
    """The lowest and highest values of every entry of a task."""
    _task: Task | None = None

    @abstractmethod
    def draw_tasks(self, n: int, rng: np.random.Generator) -> dict[str, Array]:
        """Return n tasks as one array per entry, each with n rows."""

    def draw_tasks_of(self, split: Split, n: int, rng: np.random.Generator) -> dict[str, Array]:
        """Return n tasks of a split, as ``draw_tasks`` does; a family with tasks of its own for each split says which."""
        return self.draw_tasks(n, rng)

    def sample_tasks(self, n: int, split: Split = "train") -> list[Task]:
        """Draw n tasks from the environment's random generator, which ``reset(seed=...)`` seeds.

        Args:
            n: how many.
            split: the splits of a continuous family are separate streams of the same distribution.

        Raises:
            ConfigError: n is not positive or the split is unknown.
        """
        if n < 1:
            raise ConfigError(f"n={n!r} tasks cannot be sampled: ask for at least one")
        rng = np.random.default_rng([int(self.np_random.integers(2**31)), split_index(split)])
        columns = self.draw_tasks_of(split, n, rng)
        return [{name: values[i] for name, values in columns.items()} for i in range(n)]

    @property
    def task(self) -> Task | None:
        """The task in force; None before the first."""
        return None if self._task is None else {name: value.copy() for name, value in self._task.items()}

    @task.setter
    def task(self, task: Mapping[str, Any]) -> None:
        self._task = self.check_task(task)

    def check_task(self, task: Mapping[str, Any]) -> Task:
        """Return the task as float32 arrays.

        Raises:
            TaskError: a missing, unknown, misshapen or out-of-range entry.
        """
        return check_task(type(self).__name__, task, self.bounds)

    def take_task(self, options: Mapping[str, Any] | None) -> Task:
        """Take on the task that ``reset`` was given, or keep the one in force, or draw the first; return it.

        Raises:
            ConfigError: another option than ``"task"``.
            TaskError: a task outside the family.
        """
        require_known_options(options)
        if options and "task" in options:
            self.task = options["task"]
        elif self._task is None:
            self.task = self.sample_tasks(1)[0]
        assert self._task is not None
        return self._task


@contextmanager
def _random_numbers_of(env: Any, split: Split) -> Iterator[None]:
    """Let ``env.np_random`` draw a split's own stream: for training as it is, else seeded by one number that it draws.

    An environment that knows no splits would otherwise give all of them the same tasks from one seed. Without a NumPy
    generator there is nothing to seed, and the environment is left as it is.
    """
    index = split_index(split)
    generator = getattr(env, "np_random", None)
    if split == "train" or not isinstance(generator, np.random.Generator):
        yield
        return
    bits = generator.bit_generator
    seed = np.random.SeedSequence([int(generator.integers(2**31)), index])
    kept, bits.state = bits.state, type(bits)(seed).state
    try:
        yield
    finally:
        bits.state = kept


class TaskAdapter(gym.Wrapper[Any, Any, Any, Any]):
    """Gives the task-family protocol to an environment whose tasks follow another convention.

    Understood without further words are ``sample_tasks(n)`` with ``reset_task(task)`` (the older meta-RL libraries) or with
    ``set_task(task)``. For others hand in the two functions. Both get the unwrapped environment, because sampling works on many
    copies of it.

    Args:
        env: the environment.
        sample: ``(env, n, split) -> tasks``, if the environment has no ``sample_tasks``; a seed fixes what it draws if it
            draws from ``env.np_random``.
        set_task: ``(env, task) -> None``, if it has neither ``set_task`` nor ``reset_task``.

    Raises:
        TaskError: the environment has no tasks that could be found.
    """

    def __init__(
        self,
        env: gym.Env[Any, Any],
        sample: Callable[[Any, int, str], list[Any]] | None = None,
        set_task: Callable[[Any, Any], object] | None = None,
    ) -> None:
        super().__init__(env)
        inner = env.unwrapped
        method = next((name for name in ("set_task", "reset_task") if hasattr(inner, name)), None)
        if (set_task is None and method is None) or (sample is None and not hasattr(inner, "sample_tasks")):
            raise TaskError(
                f"env={inner!r} has no tasks: it needs sample_tasks(n) and set_task(task) or reset_task(task); "
                "hand in TaskAdapter(env, sample=..., set_task=...)"
            )
        self._method = method
        self._sample = sample
        self._set_task = set_task
        self._task: Any = None

    def sample_tasks(self, n: int, split: Split = "train") -> list[Any]:
        """Draw n tasks; every split from a stream of its own, if the environment draws from its ``np_random``.

        Raises:
            ConfigError: an unknown split.
        """
        inner: Any = self.env.unwrapped
        with _random_numbers_of(inner, split):
            return list(inner.sample_tasks(n) if self._sample is None else self._sample(inner, n, split))

    @property
    def task(self) -> Any:
        """The task in force."""
        return self._task

    @task.setter
    def task(self, task: Any) -> None:
        if self._set_task is not None:
            self._set_task(self.env.unwrapped, task)
        else:
            getattr(self.env.unwrapped, str(self._method))(task)
        self._task = task

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Reset, taking on ``options["task"]`` if given."""
        if options and "task" in options:
            options = dict(options)
            self.task = options.pop("task")
        observation, info = self.env.reset(seed=seed, options=options)
        return observation, {**info, "task": self._task}
