"""Sine waves: few-shot regression of a curve from a handful of its points.

Finn, Abbeel and Levine 2017, section 5.1; with frequencies, Li et al. 2017, "Meta-SGD", section 4.1; with fixed sets of
tasks, Huisman, Plaat and van Rijn 2022, "Stateless neural meta-learning using second-order gradients" (TURTLE).
"""

import math
from collections.abc import Mapping
from functools import cache
from typing import ClassVar, Literal

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor

from metarl.errors import ConfigError, require_positive
from metarl.supervised.episodes import EpisodeEnv
from metarl.supervised.networks import regressor
from metarl.tasks import Array, Episodes, Examples, Split, split_index

Range = tuple[float, float]
INPUT_RANGE = (-5.0, 5.0)
AMPLITUDE_RANGE = (0.1, 5.0)
PHASE_RANGE = (0.0, math.pi)


class Sine(EpisodeEnv):
    r"""Sine waves: regression of a curve from a few of its points.

    The curve is $y = a \sin(\omega x \pm p)$.

    ## Observation
    `Dict`: `support_inputs` and `support_targets`, shape (shots, 1); `query_inputs`, shape (queries, 1); all float32,
    inputs in [-5, 5].

    ## Action
    `Box(-10, 10, (queries, 1), float32)`: the predictions for the query inputs.

    ## Reward
    Minus the mean squared error.

    ## End
    One step ends the episode.

    ## Task
    `{"amplitude": a, "phase": p, "frequency": w}`, scalars, uniform in [0.1, 5], [0, pi] and ``frequency``.

    ## Arguments
    - `shots`, `queries`: support and query examples, drawn uniformly.
    - `frequency`: (1, 1) as in MAML and TURTLE; (0.8, 1.2) as in Meta-SGD.
    - `phase_sign`: -1 for MAML's and TURTLE's text, a sin(x - p); +1 for Meta-SGD, a sin(w x + p), and for TURTLE's code.
    - `query_inputs`: `"random"`, or `"grid"` for even spacing over [-5, 5] (Meta-SGD's test).
    - `task_sets`: sizes of fixed sets by split, such as `{"train": 70000, "validation": 1000, "test": 2000}`: each task with
      its data is drawn once from `task_seed`, and training passes through them in order. None for endless tasks.

    ## Version history
    - v0: the first.
    """

    metadata = {"render_modes": []}
    networks = {"MLP": regressor}
    input_shape: ClassVar[tuple[int, ...]] = (1,)  # type: ignore[misc]
    output_size: ClassVar[int] = 1  # type: ignore[misc]

    def __init__(
        self,
        shots: int = 5,
        queries: int = 10,
        frequency: Range = (1.0, 1.0),
        phase_sign: Literal[-1, 1] = -1,
        query_inputs: Literal["random", "grid"] = "random",
        task_sets: Mapping[str, int] | None = None,
        task_seed: int = 1337,
    ) -> None:
        super().__init__(shots, queries)
        if not 0 < frequency[0] <= frequency[1]:
            raise ConfigError(f"frequency={frequency!r} must be a range (low, high) with 0 < low <= high")
        if phase_sign not in (-1, 1):
            raise ConfigError(f"phase_sign={phase_sign!r} must be -1 or 1")
        if query_inputs not in ("random", "grid"):
            raise ConfigError(f"query_inputs={query_inputs!r} must be 'random' or 'grid'")
        for split in task_sets or {}:
            split_index(split)
        require_positive(**{f"task_sets[{name!r}]": size for name, size in (task_sets or {}).items()})
        self.phase_sign = phase_sign
        self.query_inputs = query_inputs
        self.task_sets = dict(task_sets or {})
        self.task_seed = task_seed
        ranges = {"amplitude": AMPLITUDE_RANGE, "phase": PHASE_RANGE, "frequency": frequency}
        self.bounds = {name: (np.array(low, np.float32), np.array(high, np.float32)) for name, (low, high) in ranges.items()}
        self._low = torch.tensor([low for low, _ in ranges.values()], dtype=torch.float64)
        self._width = torch.tensor([high - low for low, high in ranges.values()], dtype=torch.float64)
        points = gym.spaces.Box(*INPUT_RANGE, (shots, 1), np.float32)
        height = AMPLITUDE_RANGE[1]
        self.observation_space = gym.spaces.Dict(
            support_inputs=points,
            support_targets=gym.spaces.Box(-height, height, (shots, 1), np.float32),
            query_inputs=gym.spaces.Box(*INPUT_RANGE, (queries, 1), np.float32),
        )
        self.action_space = gym.spaces.Box(-2 * height, 2 * height, (queries, 1), np.float32)
        self._fixed = cache(self._draw_fixed)

    def draw_tasks(self, n: int, split: Split, generator: torch.Generator) -> Tensor:
        """Return amplitudes, phases and frequencies, shape (n, 3), from the split's fixed set if it has one."""
        if split in self.task_sets:
            rows = torch.randint(self.task_sets[split], (n,), generator=generator, device=generator.device)
            return self._fixed_tasks(split).to(rows.device)[rows]
        return self._uniform(n, generator)

    def _uniform(self, n: int, generator: torch.Generator) -> Tensor:
        unit = torch.rand(n, 3, generator=generator, device=generator.device, dtype=torch.float64)
        return self._low.to(unit.device) + self._width.to(unit.device) * unit

    def draw_episodes(self, tasks: Tensor, generator: torch.Generator) -> Episodes:
        """Return support and query sets with inputs of shape (n, examples, 1)."""
        low, high = INPUT_RANGE
        grid = self.query_inputs == "grid"
        count = self.shots if grid else self.shots + self.queries
        unit = torch.rand(len(tasks), count, generator=generator, device=tasks.device, dtype=tasks.dtype)
        inputs = low + (high - low) * unit
        if grid:
            even = torch.linspace(low, high, self.queries, device=tasks.device, dtype=tasks.dtype)
            inputs = torch.cat([inputs, even.expand(len(tasks), -1)], dim=1)
        amplitude, phase, frequency = tasks[:, :, None].unbind(1)
        targets = amplitude * torch.sin(frequency * inputs + self.phase_sign * phase)
        inputs, targets = inputs[..., None], targets[..., None]
        k = self.shots
        return Episodes(Examples(inputs[:, :k], targets[:, :k]), Examples(inputs[:, k:], targets[:, k:]))

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
        """Return a batch of episodes; see ``EpisodeEnv``. A fixed set gives its rows from ``first`` on, round and round.

        Raises:
            ConfigError: an unknown split, or ``repeats`` of a fixed set, whose data is fixed too.
        """
        if split not in self.task_sets:
            return super().sample_episodes(n, split, generator, first=first, repeats=repeats, dtype=dtype)
        if repeats > 1:
            raise ConfigError(f"repeats={repeats} is for endless tasks: the fixed set of split {split!r} has fixed data")
        fixed = self._fixed(split, generator.device, dtype)
        rows = (first + torch.arange(n, device=generator.device)).remainder(self.task_sets[split])
        return Episodes(*(Examples(*(tensor[rows] for tensor in examples)) for examples in fixed[:2]))

    def _fixed_tasks(self, split: Split) -> Tensor:
        return self._uniform(self.task_sets[split], torch.Generator().manual_seed(2 * self.task_seed - split_index(split)))

    def _draw_fixed(self, split: Split, device: torch.device, dtype: torch.dtype) -> Episodes:
        """Draw the whole of a split's fixed set, on the CPU so that every device sees the same tasks."""
        tasks = self._fixed_tasks(split)
        generator = torch.Generator().manual_seed(2 * self.task_seed + 1 + split_index(split))
        drawn = self.draw_episodes(tasks.to(dtype), generator)
        return Episodes(*(Examples(*(tensor.to(device) for tensor in examples)) for examples in drawn[:2]))

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean squared error."""
        return (outputs - targets).square().mean()

    def reward(self, predictions: Array, targets: Array) -> float:
        """Return minus the mean squared error."""
        return -float(np.square(predictions - targets).mean())
