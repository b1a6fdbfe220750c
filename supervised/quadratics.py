"""Random quadratics: the functions that learned optimisers are first shown on.

Andrychowicz et al. 2016, "Learning to learn by gradient descent by gradient descent", section 3.1.
"""

from typing import ClassVar

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor

from metarl.errors import require_whole
from metarl.supervised.episodes import EpisodeEnv
from metarl.supervised.networks import linear
from metarl.tasks import Array, Episodes, Examples, Split

LIMIT = 10.0
"""Entries of a task are standard normal; none was ever so large."""


class Quadratics(EpisodeEnv):
    r"""Random quadratics: the search for the minimum of a squared norm.

    The loss is $\lVert W\theta - y \rVert^2$. It is a regression without noise: an input is a row of W, its target an entry of
    y, and theta the weights of a linear network. Learning is optimising here: the query set is the support set.

    ## Observation
    `Dict`: `support_inputs` and `query_inputs`, the rows of W, shape (dimensions, dimensions); `support_targets`, y, shape
    (dimensions, 1); all float32.

    ## Action
    `Box(-1000, 1000, (dimensions, 1), float32)`: the predictions W theta.

    ## Reward
    Minus the sum of squared errors.

    ## End
    One step ends the episode.

    ## Task
    `{"matrix": W, "vector": y}`, shapes (dimensions, dimensions) and (dimensions,), entries from N(0, 1).

    ## Arguments
    - `dimensions`: of theta; 10 in the paper.

    ## Version history
    - v0: the first.
    """

    metadata = {"render_modes": []}
    networks = {"Linear": linear}
    output_size: ClassVar[int] = 1  # type: ignore[misc]

    def __init__(self, dimensions: int = 10) -> None:
        require_whole(dimensions=dimensions)
        super().__init__(dimensions, dimensions)
        self.dimensions = dimensions
        self.input_shape = (dimensions,)
        shapes = {"matrix": (dimensions, dimensions), "vector": (dimensions,)}
        self.bounds = {
            name: (np.full(shape, -LIMIT, np.float32), np.full(shape, LIMIT, np.float32)) for name, shape in shapes.items()
        }
        rows = gym.spaces.Box(-LIMIT, LIMIT, (dimensions, dimensions), np.float32)
        self.observation_space = gym.spaces.Dict(
            support_inputs=rows,
            support_targets=gym.spaces.Box(-LIMIT, LIMIT, (dimensions, 1), np.float32),
            query_inputs=rows,
        )
        self.action_space = gym.spaces.Box(-1000, 1000, (dimensions, 1), np.float32)

    def draw_tasks(self, n: int, split: Split, generator: torch.Generator) -> Tensor:
        """Return W, row by row, and y, shape (n, dimensions * (dimensions + 1))."""
        size = self.dimensions * (self.dimensions + 1)
        return torch.randn(n, size, generator=generator, device=generator.device, dtype=torch.float64).clamp(-LIMIT, LIMIT)

    def draw_episodes(self, tasks: Tensor, generator: torch.Generator) -> Episodes:
        """Return the rows of W and the entries of y, as support and as query set."""
        matrix, vector = tasks[:, : self.dimensions**2], tasks[:, self.dimensions**2 :]
        examples = Examples(matrix.reshape(-1, self.dimensions, self.dimensions), vector[..., None])
        return Episodes(examples, examples)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the sum of squared errors."""
        return (outputs - targets).square().sum()

    def reward(self, predictions: Array, targets: Array) -> float:
        """Return minus the sum of squared errors."""
        return -float(np.square(predictions - targets).sum())
