"""What an agent is put together from: the source of its tasks, its rule and its outer loop, by what the user said."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import gymnasium as gym
import torch

from metarl.agents.episodes import EpisodeSource
from metarl.agents.options import Options
from metarl.agents.sources import Source, name_of
from metarl.agents.trajectories import TrajectorySource
from metarl.errors import ConfigError
from metarl.learner import Layout
from metarl.outer import OuterLoop
from metarl.problems import Rollouts
from metarl.registry import OUTER_LOOPS, World
from metarl.rules import UpdateRule

if TYPE_CHECKING:
    from metarl.agents.base import Agent

Loop = TypeVar("Loop", bound=OuterLoop)


def make_source(
    kind: type[Agent], env: gym.Env[Any, Any], options: Options, rollouts: Rollouts | None, device: torch.device
) -> Source:
    """Return the task source that an environment is for a kind of agent.

    Raises:
        TaskError: an environment without tasks.
        ConfigError: an agent, or options, for another kind of environment.
    """
    if rollouts is not None and not isinstance(rollouts, Rollouts):
        raise ConfigError(f"rollouts={rollouts!r} must be a metarl.Rollouts(...)")
    dtype: torch.dtype = getattr(torch, options.dtype)
    support_batch = getattr(options, "support_batch", None)
    if hasattr(env.unwrapped, "sample_episodes"):
        if rollouts is not None:
            raise ConfigError(
                f"rollouts={rollouts!r} is for policies; {name_of(env)} has few-shot episodes, which are not sampled"
            )
        return EpisodeSource(env, support_batch, device, dtype)
    source = TrajectorySource(env, rollouts or Rollouts(), device, dtype)
    if kind.embeds and not source.rollouts.recall:
        raise ConfigError(
            f"env={name_of(env)} has policies, and {kind.__name__} reads support sets, which policies have not: choose "
            "few-shot episodes, such as metarl/Omniglot-v0 or metarl/Sine-v0, or an agent that takes inner steps, such as MAML"
        )
    batch_norm = getattr(options, "batch_norm", "batch")
    if batch_norm != "batch" or support_batch is not None:
        raise ConfigError(
            f"batch_norm={batch_norm!r}, support_batch={support_batch!r} are for predictors; "
            f"{name_of(env)} has policies: leave them out, and choose no baseline"
        )
    return source


def make_rule(rule: type[UpdateRule] | None, layout: Layout, rule_kwargs: Mapping[str, Any]) -> UpdateRule:
    """Return an update rule for a layout.

    Raises:
        ConfigError: no class of a rule, or arguments that do not fit.
    """
    if not isinstance(rule, type) or not issubclass(rule, UpdateRule):
        raise ConfigError(f"rule={rule!r} must be a class derived from metarl.UpdateRule, such as metarl.rules.MetaSGD")
    try:
        return rule(layout, **rule_kwargs)
    except TypeError as error:
        raise ConfigError(f"rule_kwargs={dict(rule_kwargs)!r} does not fit {rule.__name__}: {error}") from error


def make_outer(outer: str | OuterLoop | None, world: World, default: str) -> OuterLoop:
    """Return an outer loop by name or as it is; its options are frozen, so any number of agents can share it.

    Raises:
        ConfigError: an unknown name, or one that does not serve this world.
    """
    if isinstance(outer, OuterLoop):
        return outer
    entry = OUTER_LOOPS[default if outer is None else outer]
    if world not in entry.worlds:
        raise ConfigError(f"outer={entry.name!r} is for {' and '.join(entry.worlds)}, not {world}: {OUTER_LOOPS.choice(world)}")
    loop: OuterLoop = entry.load()()
    return loop


def make_outer_of(kind: type[Loop], outer: str | OuterLoop | None, agent: Agent, default: str) -> Loop:
    """Return the outer loop of an agent that learns by one kind alone: that of the default's name, or a configured one.

    Raises:
        ConfigError: another kind.
    """
    loop = make_outer(outer, agent.source.world, default)
    if not isinstance(loop, kind):
        raise ConfigError(
            f"outer={outer!r} is not {kind.__name__}, and {type(agent).__name__} learns by nothing else: leave it out"
        )
    return loop
