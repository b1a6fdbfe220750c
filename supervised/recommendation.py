"""Cold-start recommendation: which new items will a user engage with? On synthetic interactions.

The task of Vartak et al. 2017, "A Meta-Learning Perspective on Cold-Start Recommendations for Items". Their data, engagements
with Tweets, are not public; these are drawn from the model that is described in ``Recommendation``.
"""

from functools import partial
from typing import ClassVar

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from metarl.errors import ConfigError
from metarl.supervised.episodes import EpisodeEnv
from metarl.supervised.networks import regressor
from metarl.tasks import Array, Episodes, Examples, Split

LATENTS = 4
"""What makes an item: its latent qualities, each in [-1, 1]."""
FEATURES = 16
"""What is seen of an item, each in [-1, 1]."""
GAIN = 2.0
"""The deviation of the sum of qualities that a feature bends, for qualities of deviation 1."""
NOISE = 0.1
"""The part of a feature that is noise."""
SHARPNESS = 4.0
"""How much an engagement's log-odds grow with a user's liking."""
COMMON = 0.5
"""The length of the taste that all users share."""
KINDS = 2
"""Not engaged with, 0, and engaged with, 1."""


class Recommendation(EpisodeEnv):
    r"""Recommendation: will a user engage with new items? Synthetic.

    A task is a user; the support set is items with which the user did or did not engage, the query set new items.

    An item has latent qualities $z$, uniform in $[-1, 1]^4$, and observed features
    $x = (1 - 0.1) \tanh(A z + a) + 0.1\, n$ in $[-1, 1]^{16}$, with noise $n$ uniform in $[-1, 1]^{16}$. A user has a taste
    $u$, uniform in $[-1, 1]^4$, and engages with probability $\sigma(4 (u + c) \cdot z)$, where $c$, of length 0.5, is what all
    like. $A$ (normal, of deviation $2 / \sqrt{4}$), $a$ (uniform in $[-1, 1]^{16}$) and the direction of $c$ are the world's,
    drawn once from `world_seed`. No item occurs twice, and the splits are other users of the same world.

    Half of each set are items of either kind: the item and the chance are turned round, z to -z, where they gave the other
    kind, which by symmetry is the model's distribution given the kind.

    ## Observation
    `Dict`: `support_inputs`, shape (2 * shots, 16), and `query_inputs`, (2 * queries, 16), float32 in [-1, 1], in random order;
    `support_targets`, shape (2 * shots,), int64: 1 for engaged with, 0 for not.

    ## Action
    `MultiDiscrete`, shape (2 * queries,): whether the user will engage with each query item.

    ## Reward
    The accuracy, in [0, 1]; guessing is worth 0.5.

    ## End
    One step ends the episode.

    ## Task
    `{"taste": (4,)}`, float32 in [-1, 1].

    ## Arguments
    - `shots`, `queries`: items of each kind in the support and in the query set.
    - `world_seed`: of what all users and items share.

    ## Version history
    - v0: the first.
    """

    metadata = {"render_modes": []}
    networks = {"MLP": partial(regressor, init="torch")}
    input_shape: ClassVar[tuple[int, ...]] = (FEATURES,)  # type: ignore[misc]
    output_size: ClassVar[int] = KINDS  # type: ignore[misc]
    metric = "accuracy"

    def __init__(self, shots: int = 10, queries: int = 10, world_seed: int = 0) -> None:
        super().__init__(shots, queries)
        if isinstance(world_seed, bool) or not isinstance(world_seed, int) or world_seed < 0:
            raise ConfigError(f"world_seed={world_seed!r} must be a whole number, not negative")
        world = np.random.default_rng(world_seed)
        self._mixing = torch.from_numpy(GAIN / LATENTS**0.5 * world.normal(size=(FEATURES, LATENTS)))
        self._offset = torch.from_numpy(world.uniform(-1, 1, FEATURES))
        common = world.normal(size=LATENTS)
        self._common = torch.from_numpy(COMMON * common / np.linalg.norm(common))
        self.bounds = {"taste": (np.full(LATENTS, -1, np.float32), np.full(LATENTS, 1, np.float32))}
        items = [gym.spaces.Box(-1, 1, (KINDS * count, FEATURES), np.float32) for count in (shots, queries)]
        self.observation_space = gym.spaces.Dict(
            support_inputs=items[0],
            support_targets=gym.spaces.MultiDiscrete(np.full(KINDS * shots, KINDS)),
            query_inputs=items[1],
        )
        self.action_space = gym.spaces.MultiDiscrete(np.full(KINDS * queries, KINDS))

    def draw_tasks(self, n: int, split: Split, generator: torch.Generator) -> Tensor:
        """Return n users' tastes, shape (n, 4), float64."""
        return 2 * torch.rand(n, LATENTS, generator=generator, device=generator.device, dtype=torch.float64) - 1

    def draw_episodes(self, tasks: Tensor, generator: torch.Generator) -> Episodes:
        """Return support and query sets with inputs of shape (n, items, 16), each in random order."""
        parts = []
        for count in (self.shots, self.queries):
            shape = (len(tasks), KINDS * count)
            order = torch.rand(shape, generator=generator, device=tasks.device).argsort(1)
            targets = order % KINDS
            unit = torch.rand(*shape, LATENTS + 1 + FEATURES, generator=generator, device=tasks.device, dtype=tasks.dtype)
            qualities, chance, noise = torch.split(unit, [LATENTS, 1, FEATURES], dim=2)
            qualities = self.turned(2 * qualities - 1, chance[..., 0], tasks, targets)
            parts.append(Examples(self.features(qualities, 2 * noise - 1), targets))
        return Episodes(*parts)

    def turned(self, qualities: Tensor, chance: Tensor, tastes: Tensor, targets: Tensor) -> Tensor:
        """Return qualities, shape (n, items, 4), with those turned round that the user would meet with the other target.

        Args:
            qualities: shape (n, items, 4).
            chance: shape (n, items), uniform in [0, 1): a user engages where it is below the probability.
            tastes: shape (n, 4).
            targets: what the user shall do, shape (n, items).
        """
        engages = chance < self.probability(qualities, tastes)
        return torch.where((engages == (targets == 1))[..., None], qualities, -qualities)

    def probability(self, qualities: Tensor, tastes: Tensor) -> Tensor:
        """Return how probably users of tastes (n, 4) engage with items of qualities (n, items, 4), shape (n, items)."""
        return torch.sigmoid(SHARPNESS * (qualities @ (tastes + self._common.to(tastes))[..., None])[..., 0])

    def features(self, qualities: Tensor, noise: Tensor) -> Tensor:
        """Return what is seen of items, shape (..., 16), from their qualities, (..., 4), and noise in [-1, 1], (..., 16)."""
        bent = torch.tanh(qualities @ self._mixing.to(qualities).t() + self._offset.to(qualities))
        return (1 - NOISE) * bent + NOISE * noise

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean cross-entropy of outputs of shape (items, 2)."""
        return functional.cross_entropy(outputs, targets)

    def measures(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """Return one user's loss and accuracy, each of shape ()."""
        accuracy = (self.decide(outputs) == targets).to(outputs.dtype).mean()
        return {"loss": self.loss(outputs, targets), "accuracy": accuracy}

    def decide(self, outputs: Tensor) -> Tensor:
        """Return whether the user will engage, shape (items,), from outputs of shape (items, 2)."""
        return outputs.argmax(-1)

    def reward(self, predictions: Array, targets: Array) -> float:
        """Return the accuracy."""
        return float((predictions == targets).mean())
