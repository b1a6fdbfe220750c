"""The tables that the contract tests run over: a new rule or world adds one line."""

from collections.abc import Callable
from functools import partial
from typing import Any

import gymnasium
import torch

import metarl
from metarl.adapters import Adapter, Meta
from metarl.adapters.base import learned
from metarl.agents import Agent, training
from metarl.outer.meta_gradient import Batch
from tests.rules import RULES


def images(**options: Any) -> Any:
    """Return image episodes of eight classes of noisy patterns, 1x4x4."""
    from metarl.supervised import ImageEpisodes
    from metarl.supervised.images import ImageSet

    generator = torch.Generator().manual_seed(0)
    patterns = torch.randint(256, (8, 1, 1, 4, 4), generator=generator)
    noise = torch.randint(40, (8, 6, 1, 4, 4), generator=generator)
    pixels = (0.8 * patterns + noise).clamp(0, 255).to(torch.uint8).flatten(0, 1)
    families = ImageSet(pixels, torch.full((8,), 6), tuple("abcdefgh"))
    splits = {"train": range(4), "validation": range(4, 6), "test": range(6, 8)}
    return ImageEpisodes(families, splits, **{"ways": 2, "shots": 2, "queries": 3, **options})


def _register() -> None:
    """Register the images, and both navigations with a tenth of the steps: as exact, and eight times as quick."""
    if "tests/Images-v0" in gymnasium.registry:
        return
    gymnasium.register("tests/Images-v0", entry_point=images)
    for name in ("Navigation2D-v0", "Navigation2DVaryingStart-v0"):
        spec = gymnasium.spec(f"metarl/{name}")
        options = {"vector_entry_point": spec.vector_entry_point, "kwargs": spec.kwargs}
        gymnasium.register(f"tests/{name}", spec.entry_point, max_episode_steps=10, **options)


_register()

WORLDS: dict[str, dict[str, Any]] = {
    "navigation": {
        "policy": "MlpPolicy",
        "env": "tests/Navigation2D-v0",
        "policy_kwargs": {"hidden": (5,), "activation": "tanh"},
        "rollouts": metarl.Rollouts(trajectories=3),
        "meta_batch": 2,
    },
    "varying start": {
        "policy": "MlpPolicy",
        "env": "tests/Navigation2DVaryingStart-v0",
        "policy_kwargs": {"hidden": (5,), "activation": "tanh"},
        "rollouts": metarl.Rollouts(trajectories=3, reward="squared", advantages="raw", inner_loss="likelihood-ratio"),
        "meta_batch": 2,
    },
    "bandit": {
        "policy": "MlpPolicy",
        "env": "metarl/BernoulliBandit-v0",
        "policy_kwargs": {"hidden": (4,), "activation": "tanh"},
        "rollouts": metarl.Rollouts(trajectories=3),
        "meta_batch": 2,
    },
    "sine": {
        "policy": "MLP",
        "env": "metarl/Sine-v0",
        "policy_kwargs": {"hidden": (5,), "activation": "tanh", "init": "torch"},
        "meta_batch": 2,
    },
    "images": {
        "policy": "MLP",
        "env": "tests/Images-v0",
        "policy_kwargs": {"hidden": (4,)},
        "meta_batch": 2,
    },
    "images, statistics of the support set": {
        "policy": "MLP",
        "env": "tests/Images-v0",
        "policy_kwargs": {"hidden": (4,), "head": "cosine"},
        "meta_batch": 2,
        "batch_norm": "support",
    },
}


def make(world: str, rule: str = "Meta-SGD", **changes: Any) -> Agent:
    """Return a small float64 agent."""
    cls, kwargs = RULES[rule]
    options = {"dtype": "float64", "device": "cpu", **WORLDS[world], **changes}
    return Agent(options.pop("policy"), options.pop("env"), rule=cls, rule_kwargs=kwargs, **options)


def gathered(agent: Agent) -> Batch:
    """Return the experience of an outer step, with the adaptation."""
    return training.gather(agent, report=True)[1]


def flat(meta: Meta) -> torch.Tensor:
    """Return all learned meta-parameters as one vector."""
    return torch.cat([value.detach().flatten() for value in learned(meta).values()])


def unflat(vector: torch.Tensor, like: Meta) -> Meta:
    """Return a vector as meta-parameters."""
    values = learned(like)
    parts = vector.split([value.numel() for value in values.values()])
    return {**like, **{name: part.view_as(value) for (name, value), part in zip(values.items(), parts, strict=True)}}


def outer_loss(agent: Agent, batch: Batch, adapter: Adapter | None = None) -> Callable[..., torch.Tensor]:
    """Return the query loss after a replay, as a function of the flat meta-parameters."""
    adapter = adapter or agent.adapter

    def loss(vector: torch.Tensor) -> torch.Tensor:
        meta = unflat(vector, agent.meta)
        return adapter.losses(meta, adapter.replay(meta, batch.experiences, batch.count), batch.query).mean()

    return loss


def applied(agent: Agent, theta: torch.Tensor) -> Callable[..., Any]:
    """Return the network with theta, shape (P,), as one task's ``apply``."""
    return partial(agent.adapter.apply, agent.meta, (theta, {}))
