"""Families so small that what learning makes of them can be worked out by hand."""

from typing import Any

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor, nn

import metarl
from metarl.supervised import EpisodeEnv
from metarl.tasks import Array, Episodes, Examples, Split, Task, split_index

LEVELS = {"train": 1.0, "validation": 2.0, "test": 3.0}
"""What every task of a split is multiplied with: a loss or a return says which split it is of."""


class Line(EpisodeEnv):
    """Lines through the origin: the support is the point at 1 (``shots`` times), the query the point at 2 (``queries`` times).

    The slopes of a meta-batch are the given ones in turn, times the split's level. With one weight w the support loss is
    (w - slope)^2, its gradient 2 (w - slope), and the query loss 4 (w - slope)^2.
    """

    networks = {"weight": lambda inputs, outputs, start=0.0: weight(start)}
    input_shape = (1,)
    output_size = 1
    bounds = {"slope": (np.array(-100, np.float32), np.array(100, np.float32))}

    def __init__(self, slopes: tuple[float, ...] = (1.0,), shots: int = 1, queries: int = 1) -> None:
        super().__init__(shots, queries)
        self.slopes = slopes
        points, query = (gym.spaces.Box(-100, 100, (count, 1), np.float32) for count in (shots, queries))
        self.observation_space = gym.spaces.Dict(support_inputs=points, support_targets=points, query_inputs=query)
        self.action_space = query

    def draw_tasks(self, n: int, split: Split, generator: torch.Generator) -> Tensor:
        slopes = [LEVELS[split] * self.slopes[i % len(self.slopes)] for i in range(n)]
        return torch.tensor(slopes, dtype=torch.float64)[:, None]

    def draw_episodes(self, tasks: Tensor, generator: torch.Generator) -> Episodes:
        support = torch.ones(len(tasks), self.shots, 1, dtype=tasks.dtype)
        query = torch.full((len(tasks), self.queries, 1), 2.0, dtype=tasks.dtype)
        return Episodes(*(Examples(inputs, tasks[:, None] * inputs) for inputs in (support, query)))

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return (outputs - targets).square().mean()

    def reward(self, predictions: Array, targets: Array) -> float:
        return -float(np.square(predictions - targets).mean())


def weight(*start: float) -> nn.Linear:
    """Return a linear map without bias, of one output, with these weights."""
    linear = nn.Linear(len(start), 1, bias=False)
    with torch.no_grad():
        linear.weight.copy_(torch.tensor([start]))
    return linear


class Level(metarl.TaskFamily):
    """A constant reward at every step: the split's level. An episode terminates after the task's length."""

    observation_space = gym.spaces.Box(-1, 1, (1,), np.float32)
    action_space = gym.spaces.Box(-10, 10, (1,), np.float32)
    bounds = {
        "level": (np.array(0, np.float32), np.array(9, np.float32)),
        "length": (np.array(1, np.float32), np.array(9, np.float32)),
    }

    def __init__(self, lengths: tuple[int, ...] = (1,), slope: float = 0.0) -> None:
        self.lengths = lengths
        self.slope = slope

    def draw_tasks(self, n: int, rng: np.random.Generator) -> dict[str, Array]:
        raise AssertionError("sample_tasks knows the split")

    def sample_tasks(self, n: int, split: Split = "train") -> list[Task]:
        split_index(split)
        return [
            {"level": np.float32(LEVELS[split]), "length": np.float32(self.lengths[i % len(self.lengths)])} for i in range(n)
        ]

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Array, dict[str, Any]]:
        super().reset(seed=seed)
        self.take_task(options)
        self._time = 0
        return np.ones(1, np.float32), {"task": self.task}

    def step(self, action: Array) -> tuple[Array, float, bool, bool, dict[str, Any]]:
        assert self._task is not None
        self._time += 1
        reward = float(self._task["level"]) + self.slope * float(action[0])
        observation = np.full(1, 1 - 0.1 * self._time, np.float32)
        return observation, reward, self._time >= self._task["length"], False, {"task": self.task}


def _register() -> None:
    if "tests/Line-v0" not in gym.registry:
        gym.register("tests/Line-v0", entry_point=Line)
        gym.register("tests/Level-v0", entry_point=Level, max_episode_steps=5)


_register()
