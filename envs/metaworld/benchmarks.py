"""Meta-World's benchmarks: their classes, and their own tasks, which are made once in a process."""

from functools import cache
from importlib.util import find_spec
from typing import Any, NamedTuple

from metarl.envs.locomotion.simulation import mujoco
from metarl.errors import ConfigError, unknown_name

GOALS = 50
"""The tasks that Meta-World makes of each class."""


def metaworld() -> Any:
    """Return the package, which is an extra.

    Raises:
        ConfigError: it is not installed, or MuJoCo cannot load the renderer that the environment variable MUJOCO_GL names.
    """
    if find_spec("metaworld") is None:
        raise ConfigError("Meta-World's families need Meta-World, which is not installed: pip install 'metarl[metaworld]'")
    mujoco()
    import metaworld

    return metaworld


class Benchmark(NamedTuple):
    """One of Meta-World's benchmarks for meta-learning.

    Attributes:
        name: ``"ML1"``, ``"ML10"``, ``"ML25"`` or ``"ML45"``.
        env_name: ML1's class; empty for the others, which have their own.
        seed: of the tasks.
    """

    name: str
    env_name: str
    seed: int

    def classes(self) -> tuple[list[str], list[str]]:
        """Return the names of the training and the test classes; ML1 has one for both, with other tasks in each.

        Raises:
            ConfigError: an unknown class.
        """
        known = metaworld().env_dict
        if self.name != "ML1":
            classes = getattr(known, f"{self.name}_V3")
            return list(classes["train"]), list(classes["test"])
        if self.env_name not in known.ALL_V3_ENVIRONMENTS:
            raise unknown_name("env_name", self.env_name, known.ALL_V3_ENVIRONMENTS)
        return [self.env_name], [self.env_name]

    def goal(self, test: bool, name: str, number: int) -> Any:
        """Return Meta-World's own task of a class, by its number among the class's, from 0."""
        return _tasks(self)[test, name][number]


@cache
def _tasks(which: Benchmark) -> dict[tuple[bool, str], list[Any]]:
    """Return the tasks, by whether they are test tasks and by their class; a second of work for each class."""
    made = getattr(metaworld(), which.name)(*([which.env_name] if which.env_name else []), seed=which.seed)
    tasks: dict[tuple[bool, str], list[Any]] = {}
    for test, several in ((False, made.train_tasks), (True, made.test_tasks)):
        for task in several:
            tasks.setdefault((test, task.env_name), []).append(task)
    return tasks
