"""What a checkpoint of an agent holds, and how an agent is made from it again: names, options and tensors, never code."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import torch
from torch import Tensor, nn

from metarl import checkpoint
from metarl.agents import migration
from metarl.agents.options import device_of
from metarl.errors import CheckpointError, DataError, TaskError
from metarl.outer import OuterLoop
from metarl.problems import Rollouts
from metarl.registry import AGENTS, OUTER_LOOPS, RULES
from metarl.rules import UpdateRule
from metarl.streams import stream

if TYPE_CHECKING:
    from metarl.agents.base import Agent

DAMAGE = (TypeError, AttributeError, LookupError, ValueError, OverflowError)
"""What a checkpoint's contents can end in where they are not what they should be."""
ENTRIES: dict[str, type | tuple[type, ...]] = {
    "agent": str,
    "policy": (str, type(None)),
    "env": (str, type(None)),
    "options": dict,
    "outer": dict,
    "rollouts": (dict, type(None)),
    "meta": dict,
    "outer_state": object,
    "streams": dict,
    "device": str,
    "iteration": int,
    "num_timesteps": int,
    "best": (dict, type(None)),
}
"""What a checkpoint has to hold, and of which kind."""


@dataclass(frozen=True)
class Given:
    """What ``Agent.load`` is handed in, for what a checkpoint cannot hold; see there."""

    env: str | gym.Env[Any, Any] | None
    policy: str | nn.Module | None
    rule: type[UpdateRule] | None
    outer: OuterLoop | None
    env_kwargs: dict[str, Any]
    device: str
    verbose: int
    tensorboard_log: str | None


def content(agent: Agent) -> dict[str, Any]:
    """Return everything that a resumed run needs, in plain containers and tensors."""
    options = {**vars(agent.options)}
    options["env_kwargs"] = _of_file(options)
    if "rule" in options:
        entry = RULES.find(options["rule"])
        options["rule"] = entry.name if entry is not None else options["rule"].__name__
    entry = AGENTS.find(type(agent))
    return {
        "agent": type(agent).__name__ if entry is None else entry.name,
        "policy": agent.policy_name,
        "env": agent.env_name,
        "options": options,
        "outer": {"name": _outer_name(agent), **agent.outer.options()},
        "rollouts": None if agent.source.rollouts is None else asdict(agent.source.rollouts),
        "meta": {name: value.detach().cpu() for name, value in agent.meta.items()},
        "outer_state": agent.outer_state,
        "streams": {name: generator.get_state() for name, generator in agent.streams.items()},
        "device": agent.device.type,
        "iteration": agent.iteration,
        "num_timesteps": agent.num_timesteps,
        "best": agent.best,
    }


def load(cls: type[Agent], path: str | os.PathLike[str], given: Given) -> Any:
    """Return the agent of a checkpoint; see ``Agent.load``."""
    read = checkpoint.read(path)
    held = migration.current(read) if read["version"] < checkpoint.VERSION else read
    _require_entries(path, held)
    device_of(given.device)  # what is handed in is not the checkpoint's fault
    kind = _class(cls, path, held["agent"])
    try:
        agent = kind(**_arguments(path, held, given))
    except (DataError, TaskError):  # of the data that is here, not of the file
        raise
    except DAMAGE as error:
        raise CheckpointError(f"checkpoint {path} does not make a {kind.__name__} here: {error}") from error
    try:
        _restore(path, held, agent)
    except CheckpointError:
        raise
    except (*DAMAGE, RuntimeError) as error:
        raise CheckpointError(f"checkpoint {path} is damaged: {error}; use an earlier checkpoint") from error
    return agent


def _require_entries(path: str | os.PathLike[str], held: Mapping[str, Any]) -> None:
    for name, kind in ENTRIES.items():
        if name not in held or not isinstance(held[name], kind) or isinstance(held[name], bool):
            what = f"has {name}={held[name]!r}" if name in held else f"has no {name!r}"
            raise CheckpointError(f"checkpoint {path} is damaged: it {what}; use an earlier checkpoint")
    unknown = held.keys() - ENTRIES.keys() - {"format", "version"}
    if unknown:
        raise CheckpointError(f"checkpoint {path} is damaged: {', '.join(sorted(map(str, unknown)))} are unknown entries")
    for part in (held["meta"], held["outer_state"], held["best"]):
        for name, value in _tensors(part):
            if value.is_floating_point() and not bool(value.isfinite().all()):
                raise CheckpointError(
                    f"checkpoint {path} is damaged: {name} holds infinities or nan; use an earlier checkpoint"
                )


def _tensors(value: Any, name: str = "") -> Iterator[tuple[str, Tensor]]:
    """Yield every tensor in plain containers, with its name."""
    if isinstance(value, Tensor):
        yield name, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _tensors(item, f"{name}.{key}".lstrip("."))
    elif isinstance(value, (list, tuple)):
        for i, item in enumerate(value):
            yield from _tensors(item, f"{name}[{i}]")


def _class(cls: type[Agent], path: str | os.PathLike[str], name: str) -> type[Agent]:
    """Return the class of a checkpoint's agent: a registered one, or a descendant of the class that loads."""
    from metarl.agents.base import Agent

    descendants: list[type[Agent]] = [Agent, *_descendants(Agent)]
    kinds = {kind.__name__: kind for kind in descendants}
    if name in AGENTS:
        kind: type[Agent] = AGENTS.load(name)
    elif name in kinds:
        kind = kinds[name]
    else:
        raise CheckpointError(
            f"checkpoint {path} holds the agent {name!r}, which is not known: import its class, or register it with "
            f"metarl.register_agent; known are {', '.join([*AGENTS, 'Agent'])}"
        )
    if cls is not Agent and not issubclass(kind, cls):
        raise CheckpointError(f"checkpoint {path} holds a {kind.__name__}, not a {cls.__name__}: use {kind.__name__}.load")
    return kind


def _arguments(path: str | os.PathLike[str], held: Mapping[str, Any], given: Given) -> dict[str, Any]:
    """Return the constructor's arguments.

    Raises:
        CheckpointError: something is needed that was not handed in.
    """
    options = dict(held["options"])
    for name, value in (("env", given.env), ("policy", given.policy)):
        if value is None and held[name] is None:
            raise CheckpointError(f"checkpoint {path} was made with a {name} of its own: hand it in, load(path, {name}=...)")
    env = held["env"] if given.env is None else given.env
    if given.env is None:
        _require_known(path, held["env"])
    options["env_kwargs"] = {} if isinstance(env, gym.Env) else {**_of_file(options), **given.env_kwargs}
    if "rule" in options:
        name = options["rule"]
        if given.rule is None and not (isinstance(name, str) and name in RULES):
            raise CheckpointError(f"checkpoint {path} was made with the rule {name!r}: hand it in, load(path, rule=...)")
        options["rule"] = given.rule or RULES.load(name)
    outer = given.outer or _outer(path, held["outer"])
    rollouts = None if held["rollouts"] is None else Rollouts(**held["rollouts"])
    return {
        **options,
        "policy": held["policy"] if given.policy is None else given.policy,
        "env": env,
        "outer": outer,
        "rollouts": rollouts,
        "device": given.device,
        "verbose": given.verbose,
        "tensorboard_log": given.tensorboard_log,
    }


def _of_file(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the environment's arguments that a checkpoint holds, but for what would let it fetch and write files."""
    return {name: value for name, value in options.get("env_kwargs", {}).items() if name != "download"}


def _require_known(path: str | os.PathLike[str], env: str) -> None:
    """Raise CheckpointError for an id whose module ``gym.make`` would import: loading runs no code of a file's choice."""
    module, _, name = env.rpartition(":")
    if name not in gym.registry or (module and module not in sys.modules):
        raise CheckpointError(
            f"checkpoint {path} was made with env={env!r}, which this program does not know: import its module first, "
            "or hand it in, load(path, env=...)"
        )


def _outer_name(agent: Agent) -> str:
    """Return the outer loop's name in the agent's world, or its class's."""
    kind = type(agent.outer)
    serving = (entry.name for entry in OUTER_LOOPS.serving(agent.source.world) if entry.is_of(kind))
    return next(serving, kind.__name__)


def _outer(path: str | os.PathLike[str], held: Mapping[str, Any]) -> OuterLoop:
    """Return the outer loop of a checkpoint, whose options its constructor checks."""
    options = dict(held)
    name = options.pop("name", None)
    if not isinstance(name, str) or name not in OUTER_LOOPS:
        raise CheckpointError(f"checkpoint {path} was made with the outer loop {name!r}: hand it in, load(path, outer=...)")
    loop: OuterLoop = OUTER_LOOPS.load(name)(**options)
    return loop


def _restore(path: str | os.PathLike[str], held: Mapping[str, Any], agent: Agent) -> None:
    """Give a new agent the checkpoint's state.

    Raises:
        CheckpointError: the state is of another network or other data.
    """
    best = held["best"]
    _require_same(path, held["meta"], agent.meta)
    if best is not None:
        if best.keys() != {"score", "iteration", "meta"} or not isinstance(best["score"], float):
            raise ValueError(f"best holds {sorted(map(str, best))} with the score {best.get('score')!r}")
        if not (isinstance(best["score"], float) and math.isfinite(best["score"]) and type(best["iteration"]) is int):
            raise ValueError(f"best has score={best['score']!r} and iteration={best['iteration']!r}")
        _require_same(path, best["meta"], agent.meta)
    if held["streams"].keys() != agent.streams.keys():
        raise ValueError(f"its streams are {sorted(map(str, held['streams']))}, not {sorted(agent.streams)}")
    if min(held["iteration"], held["num_timesteps"]) < 0:
        raise ValueError(f"iteration={held['iteration']} and num_timesteps={held['num_timesteps']} cannot be negative")

    def ours(meta: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {name: meta[name].to(value) for name, value in agent.meta.items()}

    agent.meta = ours(held["meta"])
    agent.best = None if best is None else {**best, "meta": ours(best["meta"])}
    if isinstance(agent.outer_state, dict):
        _require_like("outer_state", held["outer_state"], {})  # a dictionary, before the loop looks into it
    agent.outer.require_state(agent.meta, agent.outer_state, held["outer_state"])
    _require_like("outer_state", held["outer_state"], agent.outer_state)
    agent.outer_state = _moved(held["outer_state"], agent.device)
    for name, generator in agent.streams.items():
        state = held["streams"][name]
        if agent.device.type == held["device"] and state is not None:
            generator.set_state(state)
        else:  # another kind of device has another kind of generator: a new stream, not the old one again
            agent.streams[name] = stream(agent.seed, f"{name} from iteration {held['iteration']}", agent.device)
    agent.iteration, agent.num_timesteps = held["iteration"], held["num_timesteps"]


def _moved(value: Any, device: torch.device) -> Any:
    if isinstance(value, Tensor):
        return value.to(device)
    if isinstance(value, dict):
        return {key: _moved(item, device) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_moved(item, device) for item in value)
    return value


def _require_like(name: str, theirs: Any, ours: Any) -> None:
    """Raise ValueError if a state has other entries or shapes than a first one, whose empty dictionaries are to be filled."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        if ours and theirs.keys() != ours.keys():
            raise ValueError(f"{name} holds {sorted(map(str, theirs))}, not {sorted(map(str, ours))}")
        for key, value in ours.items():
            _require_like(f"{name}.{key}", theirs[key], value)
    elif isinstance(theirs, Tensor) and isinstance(ours, Tensor):
        if theirs.shape != ours.shape:
            raise ValueError(f"{name} has the shape {tuple(theirs.shape)}, not {tuple(ours.shape)}")
    elif type(theirs) is not type(ours):
        raise ValueError(f"{name}={theirs!r} is not a {type(ours).__name__}")


def _require_same(path: str | os.PathLike[str], theirs: Mapping[str, Any], ours: Mapping[str, Tensor]) -> None:
    shapes = {name: tuple(value.shape) if isinstance(value, Tensor) else value for name, value in theirs.items()}
    wanted = {name: tuple(value.shape) for name, value in ours.items()}
    if shapes != wanted:
        raise CheckpointError(
            f"checkpoint {path} holds meta-parameters {shapes}, but this agent has {wanted}: hand in the same policy"
        )


def _descendants(kind: type[Agent]) -> list[type[Agent]]:
    return [heir for child in kind.__subclasses__() for heir in (child, *_descendants(child))]
