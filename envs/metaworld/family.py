"""Meta-World's ML1, ML10, ML25 and ML45: a Sawyer robot's arm, and what it has to do in each task.

Yu et al. 2019, "Meta-World: A Benchmark and Evaluation for Multi-Task and Meta Reinforcement Learning"; version 3 of McLean et
al. 2025, "Meta-World+: An Improved, Standardized, RL Benchmark".
"""

from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from metarl.envs.locomotion.camera import drawing
from metarl.envs.locomotion.family import FARTHEST
from metarl.envs.locomotion.simulation import mujoco, unreported
from metarl.envs.metaworld.benchmarks import GOALS, Benchmark
from metarl.envs.metaworld.simulators import Kind, borrow, give_back
from metarl.envs.task_family import TaskFamily
from metarl.errors import ConfigError, require_between, require_whole, unknown_name
from metarl.tasks import Array, Split, Task

REWARDS = ("v1", "v2")
CAMERAS = ("corner", "corner2", "corner3", "corner4", "topview", "behindGripper", "gripperPOV")
HANGING = -0.1
"""Cameras whose upward axis points further down than this show the world upside down, as some of Meta-World's do."""


class MetaWorld(TaskFamily):
    """One of Meta-World's benchmarks for meta-learning.

    ## Observation
    `Box(-1e10, 1e10, (39,), float64)`: the hand's position and how far the gripper is open (4), up to two objects' positions
    and quaternions (14), the same 18 in the step before, and three zeros where the goal would be.

    ## Action
    `Box(-1, 1, (4,), float32)`: the hand's displacement, and the gripper's force.

    ## Reward
    The class's own, in [0, 10] with version 2.

    ## End
    Truncated by the time limit of `gym.make(id, max_episode_steps=...)`, 500 unless given. Terminated where the simulation has
    become unstable, and with `terminate_on_success` where the task is done. `info["success"]` says at every step whether it is
    (`info["is_success"]` too, which Stable-Baselines3 reads), and `info["unstable"]`; the rest of `info` is Meta-World's.

    ## Task
    `{"class": number, "goal": number}`, each of shape (): the class, counted through the training classes and then the test
    classes, whose names are in `class_names`; and which of Meta-World's own tasks of this class. A task that is set takes
    effect in the next `reset`. Of n tasks that are sampled every class has as many, or one more. Training tasks are validation
    tasks too: Meta-World has no others.

    ## Arguments
    - `task`: the first task; without it the first `reset` draws one.
    - `goal_seed`: the seed from which Meta-World makes its tasks.
    - `tasks_per_class`: how many of each class are drawn from, at most 50.
    - `reward_function_version`: `"v2"`, or `"v1"`, which the first papers have.
    - `terminate_on_success`: whether an episode ends where its task is done, as in Meta-World's own evaluation.
    - `render_mode`: `"rgb_array"`.
    - `width`, `height`: of pictures, in pixels.
    - `camera_name`: where pictures are taken from: `"corner"`, `"corner2"`, `"topview"` or another of Meta-World's.

    ## Version history
    - v0: the first.

    Raises:
        ConfigError: Meta-World is not installed, or an argument cannot be used.
    """

    benchmark: ClassVar[str]
    _env_name = ""
    metadata = {"render_modes": ["rgb_array"], "render_fps": 80}

    def __init__(
        self,
        task: Mapping[str, Any] | None = None,
        goal_seed: int = 0,
        tasks_per_class: int = GOALS,
        reward_function_version: str = "v2",
        terminate_on_success: bool = False,
        render_mode: str | None = None,
        width: int = 480,
        height: int = 480,
        camera_name: str = "corner",
    ) -> None:
        require_whole(tasks_per_class=tasks_per_class, width=width, height=height)
        require_between(1, GOALS, tasks_per_class=tasks_per_class)
        require_between(0, 2**32 - 2, goal_seed=goal_seed)
        named = {"reward_function_version": (reward_function_version, REWARDS), "camera_name": (camera_name, CAMERAS)}
        for name, (value, known) in named.items():
            if value not in known:
                raise unknown_name(name, value, known)
        if render_mode not in (None, *self.metadata["render_modes"]):
            raise ConfigError(f"render_mode={render_mode!r} must be None or 'rgb_array'")
        self.render_mode = render_mode
        self.terminate_on_success = terminate_on_success
        self.unstable_episodes = 0
        self._benchmark = Benchmark(self.benchmark, self._env_name, int(goal_seed))
        self._training, test = self._benchmark.classes()
        self.class_names = (*self._training, *test)
        self._look = (reward_function_version, render_mode, camera_name if render_mode else None, width, height)
        self._kind: Kind | None = None
        self._simulator: Any = None
        self._observation = np.zeros(39)
        self._has_drawn = False
        self._mujoco = mujoco()
        self.observation_space = gym.spaces.Box(-FARTHEST, FARTHEST, (39,), np.float64)
        self.action_space = gym.spaces.Box(-1, 1, (4,), np.float32)
        counts = {"class": len(self.class_names), "goal": tasks_per_class}
        self.bounds = {name: (np.array(0), np.array(count - 1)) for name, count in counts.items()}
        if task is not None:
            self.task = task

    def draw_tasks(self, n: int, rng: np.random.Generator) -> dict[str, Array]:
        """Draw training tasks."""
        return self.draw_tasks_of("train", n, rng)

    def draw_tasks_of(self, split: Split, n: int, rng: np.random.Generator) -> dict[str, Array]:
        """Draw classes in turns, in a new order each, and of each class no goal twice before all were drawn."""
        first, count = 0, len(self._training)
        if split == "test":
            first, count = count, len(self.class_names) - count
        turns = -(-n // count)
        classes = np.array([rng.permutation(count) for _ in range(turns)])
        goals_of = np.array([rng.permutation(self.bounds["goal"][1] + 1) for _ in range(count)])
        goals = np.array([goals_of[row, turn % goals_of.shape[1]] for turn, row in enumerate(classes)])
        return {"class": first + classes.reshape(-1)[:n], "goal": goals.reshape(-1)[:n]}

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Array, dict[str, Any]]:
        """Start; ``options={"task": task}`` sets the task."""
        super().reset(seed=seed)
        self._take_on(self.take_task(options))
        with unreported(self._mujoco):
            self._observation, _ = self._simulator.reset()
        return self._observation.copy(), {"task": self.task}

    def step(self, action: Array) -> tuple[Array, float, bool, bool, dict[str, Any]]:
        """Move."""
        assert self._simulator is not None, "call reset() before step()"
        data = self._simulator.data
        before = data.time
        with unreported(self._mujoco):
            observation, reward, _, _, info = self._simulator.step(action)
        unstable = not data.time > before  # MuJoCo has begun anew
        success = bool(info["success"]) and not unstable
        self.unstable_episodes += unstable
        if unstable:
            observation, reward = self._observation, 0.0
        self._observation = observation
        told = {"task": self.task, "success": success, "is_success": success, "unstable": unstable}
        ended = unstable or (self.terminate_on_success and success)
        return observation.copy(), float(reward), ended, False, {**info, **told}

    def _take_on(self, task: Task) -> None:
        """Give the task to a simulator of its class."""
        number = int(task["class"])
        kind = Kind(self.class_names[number], *self._look)
        if kind != self._kind:
            self._let_go()
            self._simulator, self._kind = borrow(kind), kind
        goal = self._benchmark.goal(number >= len(self._training), kind.env_name, int(task["goal"]))
        self._simulator.set_task(goal)

    def _let_go(self) -> None:
        if self._kind is not None:
            give_back(self._kind, self._simulator)
        self._simulator, self._kind = None, None

    def render(self) -> NDArray[np.uint8] | None:
        """Return a picture, shape (height, width, 3).

        Raises:
            ConfigError: there is no renderer.
        """
        if self._kind is None or self._kind.render_mode is None:
            gym.logger.warn("render() needs a render mode, gym.make(id, render_mode='rgb_array'), and a reset() before it")
            return None
        with nullcontext() if self._has_drawn else drawing(self._kind.width, self._kind.height):
            picture: NDArray[np.uint8] = self._simulator.render()
        self._has_drawn = True  # to look for a renderer is to make one, which every frame need not do
        upwards = self._simulator.data.camera(self._kind.camera_name).xmat.reshape(3, 3)[2, 1]
        return picture if upwards > HANGING else picture[::-1, ::-1].copy()

    def __getstate__(self) -> dict[str, Any]:
        """Leave the simulator out of copies, which begin with a reset: it cannot be copied in the midst of an episode."""
        return {**self.__dict__, "_simulator": None, "_kind": None, "_mujoco": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _mujoco=mujoco())

    def close(self) -> None:
        """Let other environments of this process have the simulator."""
        self._let_go()


class ML1(MetaWorld):
    """ML1: one class of Meta-World, with other goals in the test.

    The argument `env_name` is the class, such as `"reach-v3"`, `"push-v3"` or `"pick-place-v3"`. See `MetaWorld` for all else.
    """

    benchmark = "ML1"

    def __init__(self, env_name: str = "reach-v3", **kwargs: Any) -> None:
        self._env_name = env_name
        super().__init__(**kwargs)


class ML10(MetaWorld):
    """ML10: ten classes of Meta-World to learn from, five others in the test.

    See `MetaWorld`.
    """

    benchmark = "ML10"


class ML25(MetaWorld):
    """ML25: 25 classes of Meta-World to learn from, five others in the test.

    See `MetaWorld`.
    """

    benchmark = "ML25"


class ML45(MetaWorld):
    """ML45: 45 classes of Meta-World to learn from, five others in the test.

    See `MetaWorld`.
    """

    benchmark = "ML45"
