"""Task families as Stable-Baselines3 vector environments: many episodes at once, each of its own task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices, VecEnvStepReturn

from metarl.agents.sources import make_env, name_of
from metarl.errors import ConfigError, TaskError, require_whole
from metarl.sampling.row_stepper import Copies
from metarl.sampling.spaces import flat_size, flatten
from metarl.sampling.vector import has_vector_env, horizon_of, spec_of, without_monitors
from metarl.tasks import Array, Split, flat_task, split_index


class TaskVecEnv(VecEnv):
    """A task family as SB3's algorithms take it, stepped by the family's own vector environment where it has one.

    Each row draws a new task whenever an episode of it begins, unless it was given one: here, or by ``set_attr("task", task)``,
    which holds from the row's next episode on, until ``set_attr("task", None)``. ``get_attr("task")`` says which are in force,
    ``env_method("sample_tasks", n, split)`` draws others, ``seed`` fixes what the next ``reset`` and all after it draw. Returns
    of episodes are in ``infos`` where SB3's ``VecMonitor`` is wrapped around it.

    Args:
        env: a Gymnasium id with tasks, or such an environment.
        num_envs: how many rows.
        tasks: one for every row, or one for all; new ones for each episode unless given.
        split: where new ones are drawn.
        told: whether a task's numbers stand behind every observation, as in ``metarl.envs.ToldTask``.
        env_kwargs: arguments of an environment given by id.

    Attributes:
        horizon: the steps of the longest episode.

    Raises:
        ConfigError: an unknown id, a split or a number that cannot be used, or an environment without a time limit.
        TaskError: an environment without tasks, not one task for every row, or one outside the family.
    """

    def __init__(
        self,
        env: str | gym.Env[Any, Any],
        num_envs: int = 8,
        *,
        tasks: Mapping[str, Any] | Sequence[Any] | None = None,
        split: Split = "train",
        told: bool = False,
        env_kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        require_whole(num_envs=num_envs)
        split_index(split)
        self.env = without_monitors(make_env(env, env_kwargs or {}))
        if not self.env.has_wrapper_attr("sample_tasks"):
            raise TaskError(f"env={name_of(self.env)} has no tasks: it needs sample_tasks(n, split)")
        self.horizon = horizon_of(self.env)
        self.split: Split = split
        self.told = told
        self._made_env = self.env if isinstance(env, str) else None
        self._vector = _vector_env(self.env, num_envs)
        self._kept: list[Any] = self._of_rows(tasks, num_envs)
        self._tasks: list[Any] = list(self._kept)
        self._actions: Array = np.zeros(0)
        space = self.env.observation_space
        if told:
            entries = flat_size(space) + flat_task(self._draw(1)[0]).size
            space = gym.spaces.Box(-np.inf, np.inf, (entries,), np.float32)
        super().__init__(num_envs, space, self.env.action_space)

    def _of_rows(self, tasks: Mapping[str, Any] | Sequence[Any] | None, count: int) -> list[Any]:
        rows = [tasks] * count if tasks is None or isinstance(tasks, Mapping) else list(tasks)
        if len(rows) != count:
            raise TaskError(f"tasks: {len(rows)} tasks were given for {count} rows; give one for each")
        if self.env.has_wrapper_attr("check_task"):
            check = self.env.get_wrapper_attr("check_task")
            rows = [None if task is None else check(task) for task in rows]
        return rows

    def _draw(self, n: int) -> list[Any]:
        return list(self.env.get_wrapper_attr("sample_tasks")(n, self.split))

    def _begin(self, rows: Sequence[int], seed: int | None = None) -> Any:
        """Start some rows, each with its own task or a new one; return what all of them see.

        Args:
            rows: their places.
            seed: of the first row's random numbers, the others' follow; only where all of them start.
        """
        drawn = iter(self._draw(new) if (new := sum(self._kept[row] is None for row in rows)) else [])
        for row in rows:
            self._tasks[row] = next(drawn) if self._kept[row] is None else self._kept[row]
        chosen = [self._tasks[row] for row in rows]
        if not isinstance(self._vector, SyncVectorEnv):
            if len(rows) == self.num_envs:
                return self._vector.reset(seed=seed, options={"task": chosen})[0]
            return self._vector.reset_rows(rows, chosen)  # type: ignore[attr-defined]
        mask = np.zeros(self.num_envs, dtype=bool)
        mask[list(rows)] = True
        for row, task in zip(rows, chosen, strict=True):
            self._vector.envs[row].set_wrapper_attr("task", task)
        return self._vector.reset(seed=seed, options={"reset_mask": mask})[0]

    def reset(self) -> Any:
        """Start every row; return what they see, shape (num_envs, ...)."""
        seed = self._seeds[0]
        if seed is not None:
            self.env.reset(seed=seed)  # which draws the tasks; how much a reset draws may depend on the past
            self.env.unwrapped.np_random = np.random.default_rng(seed)
        observations = self._begin(range(self.num_envs), seed)
        self.reset_infos = [{"task": task} for task in self._tasks]
        self._reset_seeds()
        self._reset_options()
        return self._shown(observations)

    def step_async(self, actions: Array) -> None:
        """Take the actions of a step, shape (num_envs, ...)."""
        self._actions = actions

    def step_wait(self) -> VecEnvStepReturn:
        """Step every row, and start those anew whose episodes have ended."""
        seen, rewards, terminated, truncated, of_all = self._vector.step(self._actions)
        infos = _by_row(of_all, self.num_envs)
        for row, info in enumerate(infos):
            info["TimeLimit.truncated"] = bool(truncated[row] and not terminated[row])
        ended = np.flatnonzero(terminated | truncated).tolist()
        if ended:
            last = self._shown(seen)
            for row in ended:
                infos[row]["terminal_observation"] = _row_of(last, row)
            seen = self._begin(ended)
            for row in ended:
                self.reset_infos[row] = {"task": self._tasks[row]}
        return self._shown(seen), np.asarray(rewards, np.float32), terminated | truncated, infos

    def _shown(self, seen: Any) -> Any:
        if not self.told:
            return seen
        rows = (_row_of(seen, row) for row in range(self.num_envs))
        flat = np.stack([flatten(self.env.observation_space, row) for row in rows])
        return np.concatenate([flat, [flat_task(task) for task in self._tasks]], axis=1).astype(np.float32)

    def close(self) -> None:
        """Close the environments that were made here."""
        self._vector.close()
        if self._made_env is not None:
            self._made_env.close()

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """Return an attribute of some rows; of ``"task"`` the one in force, or that was set since."""
        rows = self._get_indices(indices)
        if attr_name == "task":
            return [self._tasks[row] if self._kept[row] is None else self._kept[row] for row in rows]
        if isinstance(self._vector, SyncVectorEnv):
            return [self._vector.envs[row].get_wrapper_attr(attr_name) for row in rows]
        return [None if attr_name == "render_mode" else self.env.get_wrapper_attr(attr_name) for _ in rows]

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """Set the task of some rows from their next episodes on; None to draw new ones.

        Raises:
            ConfigError: another attribute, where rows are stepped as one batch.
            TaskError: a task outside the family.
        """
        if attr_name == "task":
            check = getattr(self.env.unwrapped, "check_task", None)
            for row in self._get_indices(indices):
                self._kept[row] = value if value is None or check is None else check(value)
            return
        if not isinstance(self._vector, SyncVectorEnv):
            raise ConfigError(
                f"{attr_name}={value!r}: rows of {name_of(self.env)} are one batch, and only their tasks can be set: "
                "give env_kwargs"
            )
        for row in self._get_indices(indices):
            self._vector.envs[row].set_wrapper_attr(attr_name, value)

    def env_method(self, method_name: str, *method_args: Any, indices: VecEnvIndices = None, **method_kwargs: Any) -> list[Any]:
        """Call a method of the family, such as ``sample_tasks``, once for each of some rows."""
        rows = self._get_indices(indices)
        if isinstance(self._vector, SyncVectorEnv) and method_name != "sample_tasks":
            envs = [self._vector.envs[row] for row in rows]
        else:
            envs = [self.env for _ in rows]
        return [env.get_wrapper_attr(method_name)(*method_args, **method_kwargs) for env in envs]

    def env_is_wrapped(self, wrapper_class: type[gym.Wrapper[Any, Any, Any, Any]], indices: VecEnvIndices = None) -> list[bool]:
        """Return whether rows are wrapped: they are what the family makes."""
        return [False for _ in self._get_indices(indices)]


def _vector_env(env: gym.Env[Any, Any], count: int) -> VectorEnv[Any, Any, Any]:
    """Return the family's own vector environment, if rows of it can be started one by one, or copies of the environment."""
    spec = spec_of(env)
    if spec is not None and has_vector_env(spec, "reset_rows"):
        return gym.make_vec(spec, num_envs=count)
    make = Copies(env if spec is None else spec)
    return SyncVectorEnv([make] * count, autoreset_mode=AutoresetMode.DISABLED)


def _row_of(seen: Any, row: int) -> Any:
    """Return what one row sees, of arrays, dictionaries or tuples of them."""
    if isinstance(seen, Mapping):
        return {name: _row_of(part, row) for name, part in seen.items()}
    return tuple(_row_of(part, row) for part in seen) if isinstance(seen, tuple) else seen[row]


def _by_row(infos: Mapping[str, Any], count: int) -> list[dict[str, Any]]:
    """Return what Gymnasium's vector environments say of all rows as what each says, as SB3's do."""
    rows: list[dict[str, Any]] = [{} for _ in range(count)]
    for name, values in infos.items():
        if name.startswith("_"):
            continue
        known: NDArray[np.bool_] = infos.get(f"_{name}", np.ones(count, dtype=bool))
        parts = _by_row(values, count) if isinstance(values, Mapping) else values
        for row in np.flatnonzero(known).tolist():
            rows[row][name] = parts[row]
    return rows
