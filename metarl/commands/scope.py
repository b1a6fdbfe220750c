"""Which options of a run have an effect, once its agent, environment and outer loop are chosen."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from inspect import Parameter, signature
from typing import Any

from metarl.commands.options import Group, Option, known_as, options_of, unknown_option
from metarl.commands.run import ROLLOUTS, Run, Uniform, nested
from metarl.commands.settings import Settings
from metarl.errors import ConfigError, unknown_name
from metarl.registry import AGENTS, FAMILIES, OUTER_LOOPS, AgentEntry, OuterEntry, World

OF_LEARNING = (
    *("iterations", "validate_every", "validation_tasks"),
    *("log_interval", "picture_every", "video_every", "save_every", "progress_bar", "verbose"),
)
"""What has no effect on an agent without an outer loop."""
_OF_A_RUN = options_of(Run, ("options", "outer_options", "rollouts"))
_NAMES = tuple(option.name for option in _OF_A_RUN)
_SHARED = ("policy_kwargs", "env_kwargs", "seed", "device", "dtype")
"""Options of every agent that a run has under its own name."""
_FREQUENT = ("rate", "inner_steps", "meta_batch")
"""What the help has first among an agent's options."""
_OF_PREDICTORS = ("batch_norm", "support_batch")
"""Options of agents that have no effect on policies."""


@dataclass(frozen=True)
class Scope:
    """The options that have an effect, once agent, environment and outer loop are chosen.

    Attributes:
        agent: the agent's entry.
        env: the Gymnasium id.
        world: what lives there.
        outer: the outer loop's entry; None where the agent learns nothing.
        direction: an outer loop inside it, such as TRPO in hypergradient descent; or None.
    """

    agent: AgentEntry
    env: str
    world: World
    outer: OuterEntry | None
    direction: OuterEntry | None = None

    @classmethod
    def of(cls, settings: Settings, chosen: Mapping[str, str] | None = None) -> "Scope":
        """Return the scope of settings.

        Args:
            settings: options by name; an outer loop that cannot serve here is passed over.
            chosen: ``agent``, ``env`` and ``outer`` where they were asked for by name: these are refused if they do not fit.

        Raises:
            ConfigError: an unknown name, or an outer loop asked for that does not serve here.
        """
        chosen = chosen or {}
        agent = AGENTS[chosen.get("agent") or settings.get("agent") or Run.agent]
        env = chosen.get("env") or settings.get("env") or Run.env
        world = world_of(env)
        loops = loops_of(agent, world)
        inside = {loop.name: (outer, loop) for outer in loops for loop in nested(outer) if world in loop.worlds}
        for name, is_asked in ((chosen.get("outer"), True), (settings.get("outer"), False)):
            if not name:
                continue
            entry = OUTER_LOOPS[name]
            if entry in loops:
                return cls(agent, env, world, entry)
            if name in inside:
                return cls(agent, env, world, *inside[name])
            if is_asked:
                raise ConfigError(f"--outer {name} {_why_not(entry, agent, env, world)}")
        return cls(agent, env, world, loops[0] if loops else None)

    @cached_property
    def own(self) -> tuple[Option, ...]:
        """The run's own options, as far as they apply."""
        without = OF_LEARNING if self.outer is None else ()
        return tuple(
            one for one in _OF_A_RUN if one.name not in without and (one.name != "root" or self._environment_takes("root"))
        )

    @cached_property
    def groups(self) -> tuple[Group, ...]:
        """The options of agent, outer loop and sampling, as far as they apply."""
        without = (*_SHARED, *self.agent.idle, *(_OF_PREDICTORS if self.world == "policies" else ()))
        options = options_of(self.agent.load().Options, without)
        frequent_first = tuple(sorted(options, key=lambda option: option.name not in _FREQUENT))
        groups = [Group(self.agent.name, "", frequent_first, self.agent.line)]
        if self.outer is not None:
            options = options_of(self.outer.load(), [one.prefix for one in nested(self.outer)])
            groups.append(Group(self.outer.name, self.outer.prefix, options, f"{self.outer.name}: {self.outer.line}"))
        if self.direction is not None:
            options = options_of(self.direction.load())
            groups.append(Group(self.direction.name, self.direction.prefix, options, f"its direction: {self.direction.line}"))
        if self.world == "policies":
            from metarl.problems import Rollouts

            groups.append(Group(ROLLOUTS, ROLLOUTS, options_of(Rollouts), "how trajectories are sampled"))
        return tuple(groups)

    @cached_property
    def options(self) -> dict[str, Option]:
        """The same by full name."""
        return {group.full(option): option for group in self.groups for option in group.options}

    def defaults(self, settings: Settings) -> dict[str, Any]:
        """Return the value of every option of this scope and of every run: the settings' as far as they apply.

        Raises:
            ConfigError: an option that nothing has.
        """
        require_known(settings)
        values: dict[str, Any] = {option.name: option.default for option in _OF_A_RUN}
        if self.outer is None:
            values |= {"iterations": 0, "validate_every": 0, "validation_tasks": 0}
        values |= {name: option.default for name, option in self.options.items()}
        values |= {name: value for name, value in settings.items() if self._applies(name, value, settings)}
        values |= {"agent": self.agent.name, "env": self.env, "outer": self.outer.name if self.outer else ""}
        if settings.get("env", self.env) != self.env:
            values |= self._elsewhere(settings)
        return values

    def run(self, values: Settings) -> Run:
        """Return the run of values by name; what does not apply is left out."""
        values = self.defaults(values)
        seed = values["seed"]
        values = {name: value.draw(seed) if isinstance(value, Uniform) else value for name, value in values.items()}
        parts = {group.prefix: {option.name: values[group.full(option)] for option in group.options} for group in self.groups}
        outer = dict(parts[self.outer.prefix]) if self.outer else {}
        if self.outer is not None:
            for loop in nested(self.outer):
                outer[loop.prefix] = parts[loop.prefix] if loop == self.direction else None
        _check_rates(parts[""])
        return Run(
            **{name: values[name] for name in _NAMES},
            options=parts[""],
            outer_options=outer,
            rollouts=parts.get(ROLLOUTS),
        )

    def refusal(self, name: str, written: str) -> ConfigError | None:
        """Return why an option has no effect here; None if it has one.

        Args:
            name: as ``trpo.max_kl``.
            written: as the user wrote it.
        """
        own = [option.name for option in self.own]
        if known_as(name, (*own, *self.options)) is not None:
            return None
        if known_as(name, ("root",)) is not None:
            return ConfigError(f"{written} has no effect: {self.env} reads no data")
        if known_as(name, OF_LEARNING) is not None:
            return ConfigError(
                f"{written} has no effect: {self.agent.name} has no outer loop, and learns nothing before a task"
            )
        prefix = name.rpartition(".")[0]
        if prefix == ROLLOUTS and self.world == "predictors":
            return ConfigError(f"{written} belongs to policies; {self.env} has few-shot episodes, which are not sampled")
        for entry in OUTER_LOOPS.entries():
            if prefix and entry.prefix == prefix and known_as(name, _names_of(entry)) is not None:
                where = _where(entry, self.agent, self.world)
                return ConfigError(f"{written} belongs to {where}; this run's outer loop is {self.outer_name}")
        if self.world == "policies" and name in _OF_PREDICTORS:
            return ConfigError(f"{written} belongs to predictors; {self.env} has policies")
        owners = [entry.name for entry in AGENTS.entries() if not prefix and known_as(name, _own_options(entry)) is not None]
        if owners:
            return ConfigError(f"{written} belongs to --agent {', '.join(owners)}; {self.agent.name} has no such option")
        return unknown_option(written, (*own, *self.options))

    @property
    def outer_name(self) -> str:
        """The outer loop's name, for errors."""
        return self.outer.name if self.outer else "none"

    def _applies(self, name: str, value: Any, settings: Settings) -> bool:
        if name in [option.name for option in self.own]:
            return True
        option = self.options.get(name)
        if option is None or not (isinstance(value, Uniform) or option.takes(value)):
            return False
        is_shared = not self.agent.is_baseline and not AGENTS[settings.get("agent", Run.agent)].is_baseline
        return name in self._of_sampling or is_shared or settings.get("agent") == self.agent.name

    @property
    def _of_sampling(self) -> set[str]:
        return {name for name in self.options if name.startswith(f"{ROLLOUTS}.")}

    def _elsewhere(self, settings: Settings) -> dict[str, Any]:
        """Return what changes of the settings in another environment than theirs: arguments that it does not take."""
        kept = {name: value for name, value in settings.get("env_kwargs", {}).items() if self._environment_takes(name)}
        changed: dict[str, Any] = {"env_kwargs": kept}
        if world_of(settings["env"]) != self.world:
            networks = getattr(_creator(self.env), "networks", {Run.policy: None})
            changed |= {"policy": next(iter(networks)), "policy_kwargs": {}}
        return changed

    def _environment_takes(self, name: str) -> bool:
        """Return whether an argument of this name can be given to the environment."""
        parameters = signature(_creator(self.env)).parameters
        return name in parameters or any(one.kind == Parameter.VAR_KEYWORD for one in parameters.values())


def world_of(env: str) -> World:
    """Return what lives in an environment: predictors where it has episodes, else policies.

    Raises:
        ConfigError: an unknown id.
    """
    return "predictors" if hasattr(_creator(env), "sample_episodes") else "policies"


def loops_of(agent: AgentEntry, world: World) -> list[OuterEntry]:
    """Return the outer loops that an agent can have in a world, the default first."""
    allowed = agent.outer_loops
    serving = OUTER_LOOPS.serving(world)
    return [entry for entry in serving if entry.name in allowed] if allowed is not None else serving


def require_known(settings: Settings) -> None:
    """Raise ConfigError for an option that no run, agent, outer loop or sampling has."""
    from metarl.problems import Rollouts

    known = {*_NAMES, *(f"{ROLLOUTS}.{option.name}" for option in options_of(Rollouts))}
    missing = [name for name in settings if name not in known]
    if missing:
        known |= {name for entry in OUTER_LOOPS.entries() for name in _names_of(entry)}
        known |= {name for entry in AGENTS.entries() for name in _own_options(entry)}
    for name in missing:
        if name not in known:
            raise unknown_name("option", name, known)


def _creator(env: str) -> Any:
    """Return what makes an environment: its class, or a function."""
    import gymnasium
    from gymnasium.envs.registration import load_env_creator

    name = env.rpartition(":")[2]
    if ":" not in env and name not in gymnasium.registry and name not in FAMILIES:
        raise unknown_name("env", name, FAMILIES)
    try:
        entry_point = gymnasium.spec(env).entry_point
    except (gymnasium.error.Error, ImportError) as error:
        raise ConfigError(f"env={env!r} cannot be found: {error}") from error
    return load_env_creator(entry_point) if isinstance(entry_point, str) else entry_point


def _names_of(entry: OuterEntry) -> list[str]:
    inside = {loop.prefix for loop in nested(entry)}
    return [f"{entry.prefix}.{option.name}" for option in options_of(entry.load()) if option.name not in inside]


def _own_options(entry: AgentEntry) -> list[str]:
    return [option.name for option in options_of(entry.load().Options, (*_SHARED, *entry.idle))]


def _where(entry: OuterEntry, agent: AgentEntry, world: World) -> str:
    """Return what an option of an outer loop belongs to."""
    same = [loop for loop in OUTER_LOOPS.entries() if loop.prefix == entry.prefix]
    entry = next((loop for loop in same if world in loop.worlds), entry)
    if world not in entry.worlds:
        return f"--outer {entry.name}, which is for {entry.worlds[0]}"
    if entry in loops_of(agent, world):
        return f"--outer {entry.name}"
    bound = [one.name for one in AGENTS.entries() if entry in loops_of(one, world)]
    return f"--agent {', '.join(bound)}" if bound else f"--outer {entry.name}"


def _why_not(entry: OuterEntry, agent: AgentEntry, env: str, world: World) -> str:
    loops = loops_of(agent, world)
    if not loops:
        return f"does not fit {agent.name}, which has no outer loop in {env}"
    choice = ", ".join(loop.name for loop in loops)
    if world not in entry.worlds:
        return f"is for {entry.worlds[0]}; {env} has {world}: choose one of {choice}"
    return f"does not fit {agent.name}: its outer loop is {choice}"


def _check_rates(options: Mapping[str, Any]) -> None:
    """Raise ConfigError for rates that no step would take: one for each inner step, and one for all beyond."""
    rates, steps = options.get("rate"), options.get("inner_steps")
    if isinstance(rates, (list, tuple)) and isinstance(steps, int) and len(rates) > steps + 1:
        raise ConfigError(
            f"rate={tuple(rates)} has {len(rates)} numbers for inner_steps={steps}: give at most one for each step and one for "
            "the steps beyond"
        )
