"""Stable-Baselines3's habits: its logger, its callbacks, and what its callbacks ask of a model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stable_baselines3.common.callbacks import BaseCallback, CallbackList, ConvertCallback
from stable_baselines3.common.logger import HParam, Logger
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.utils import configure_logger
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv

from metarl import processes
from metarl.agents.callbacks import ProgressCallback
from metarl.logger import stage_labels

if TYPE_CHECKING:
    import gymnasium as gym

    from metarl.adapters import Adapter
    from metarl.outer import OuterLoop


class SB3Habits:
    """What Stable-Baselines3's users and callbacks expect of a model beside ``learn``, ``predict``, ``save`` and ``load``.

    Args:
        verbose: 0 silent, 1 tables of the log.
        tensorboard_log: the folder for TensorBoard, or None.
    """

    adapter: Adapter
    env: gym.Env[Any, Any]
    iteration: int
    options: Any
    outer: OuterLoop

    def __init__(self, verbose: int, tensorboard_log: str | None) -> None:
        self.verbose = verbose
        self.tensorboard_log = tensorboard_log
        self._logger: Logger | None = None
        self._latest = ""
        self._vec_env: VecEnv | None = None

    @property
    def seed(self) -> int:
        """The run's seed."""
        seed: int = self.options.seed
        return seed

    @property
    def logger(self) -> Logger:
        """SB3's logger."""
        if self._logger is None:
            self.start_logger(type(self).__name__)
        assert self._logger is not None
        return self._logger

    def set_logger(self, logger: Logger) -> None:
        """Log with this SB3 logger from now on."""
        self._logger = logger

    def start_logger(self, name: str) -> None:
        """Make a logger of this name, unless there is one; what the agent was told is its first entry."""
        if self._logger is not None:
            return
        quiet = processes.rank() > 0
        folder = None if quiet else self.tensorboard_log
        self._logger = configure_logger(0 if quiet else self.verbose, folder, name, reset_num_timesteps=True)
        outer = {f"outer.{name}": value for name, value in self.outer.options().items()}
        told = {**vars(self.options), "outer": type(self.outer).__name__, **outer}
        flat = {key: value if isinstance(value, (int, float, str, bool)) else str(value) for key, value in told.items()}
        metric = f"{self.adapter.problem.metric}/{stage_labels(self.adapter, self.adapter.steps)[-1]}"
        parameters = HParam(flat, {metric: 0.0, "train/adaptation_gain": 0.0})
        self._logger.record("hparams", parameters, exclude=("stdout", "log", "json", "csv"))

    def dump_logs(self, iteration: int = 0) -> None:
        """Write what was recorded since the last entry of the log, for SB3's callbacks."""
        self.logger.dump(iteration or self.iteration)

    def hooks(self, callback: Any, iterations: int, progress_bar: bool) -> BaseCallback:
        """Return a user's callbacks, and the progress bar, as one."""
        listed = [] if callback is None else list(callback) if isinstance(callback, (list, tuple)) else [callback]
        hooks = [hook if isinstance(hook, BaseCallback) else ConvertCallback(hook) for hook in listed]
        if progress_bar and processes.rank() == 0:
            hooks.append(ProgressCallback(self.iteration + iterations, done=self.iteration))
        joined = CallbackList(hooks)
        joined.init_callback(self)  # type: ignore[arg-type]
        return joined

    def say(self, latest: str) -> None:
        """Keep what a progress bar shows."""
        self._latest = latest

    def summary(self) -> str:
        """Return the metric that matters, before and after adaptation, as last logged; for a progress bar."""
        return self._latest

    def get_env(self) -> VecEnv:
        """Return the environment as an SB3 vector environment, for SB3's callbacks."""
        if self._vec_env is None:
            self._vec_env = DummyVecEnv([lambda: Monitor(self.env)])
        return self._vec_env

    def get_vec_normalize_env(self) -> None:
        """Return None: no wrapper normalises observations."""
        return None
