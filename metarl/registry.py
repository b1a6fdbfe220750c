"""What metarl knows by name: agents, adapters, outer loops, rules, families, networks, tables and presets.

An entry is a name, one line of description and a target: an object, or ``"module:attribute"``, imported when it is first used,
so that naming everything imports nothing. A user's own entry is registered by ``register_agent`` and its like, or by an entry
point of an installed package (group ``metarl.agents``, ``metarl.tables`` and so on), and then appears everywhere: on the
command line, in ``metarl list``, in loading. An entry point names the thing itself, or an entry of this file's, which can say
more: ``family = FamilyEntry("theirs/Maze-v0", "a maze", "theirs.maze:Maze", {"max_episode_steps": 50})``.

The functions ``register_...`` raise ConfigError if the name is taken.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, Literal, TypeVar

import gymnasium

from metarl.errors import ConfigError, unknown_name

World = Literal["policies", "predictors"]
WORLDS: tuple[World, ...] = ("policies", "predictors")


@dataclass(frozen=True)
class Entry:
    """Something with a name.

    Attributes:
        name: as it is written on the command line and in checkpoints.
        line: what it is, in one line.
        target: the object, or ``"module:attribute"``.
    """

    name: str
    line: str
    target: Any

    def load(self) -> Any:
        """Return the object, imported if it has to be.

        Raises:
            ConfigError: there is no such module or attribute.
        """
        if not isinstance(self.target, str):
            return self.target
        module, _, attribute = self.target.partition(":")
        try:
            return getattr(import_module(module), attribute)
        except (ModuleNotFoundError, AttributeError) as error:
            raise ConfigError(f"{self.name!r} is registered as {self.target!r}, which cannot be imported: {error}") from error

    def is_of(self, thing: object) -> bool:
        """Return whether the object is ``thing``; a target whose attribute has another name is not imported to find out."""
        if not isinstance(self.target, str):
            return self.target is thing
        return self.target.partition(":")[2] == getattr(thing, "__name__", None) and self.load() is thing


@dataclass(frozen=True)
class AgentEntry(Entry):
    """An agent.

    Attributes:
        is_baseline: whether its rates, steps and batches are its own, so that other agents' presets do not say them.
        outer_loops: the names of the outer loops that it can have; None for all of its world.
        idle: inherited options that have no effect on it: the command line refuses them.
    """

    is_baseline: bool = False
    outer_loops: tuple[str, ...] | None = None
    idle: tuple[str, ...] = ()


@dataclass(frozen=True)
class OuterEntry(Entry):
    """An outer loop, a frozen dataclass of options.

    Attributes:
        worlds: where it serves.
        prefix: of its options on the command line: ``--prefix.option``; the name with hyphens unless given.
    """

    worlds: tuple[World, ...] = WORLDS
    prefix: str = ""

    def __post_init__(self) -> None:
        if not self.prefix:
            object.__setattr__(self, "prefix", self.name.replace("_", "-"))


@dataclass(frozen=True)
class FamilyEntry(Entry):
    """A task family or few-shot episodes: a Gymnasium id.

    Attributes:
        spec: what ``gymnasium.register`` takes beside id and entry point, such as ``max_episode_steps`` and ``kwargs``.
    """

    spec: Mapping[str, Any] = field(default_factory=dict)


E = TypeVar("E", bound=Entry)


class Registry(Generic[E]):
    """Entries by name, in the order in which they were registered.

    Entry points of installed packages are read when the registry is listed, or when a name is missed.

    Args:
        kind: what the entries are called in errors: ``"agent"``.
        group: the entry points' group: ``"metarl.agents"``.
        entry: the entries' class.
        entries: metarl's own entries, or ``"module:function"`` of what returns them when they are first asked for.
    """

    def __init__(self, kind: str, group: str, entry: type[E], entries: Iterable[E] | str) -> None:
        self.kind = kind
        self.group = group
        self._entry = entry
        self._source = entries if isinstance(entries, str) else None
        self._has_read_packages = False
        self._entries: dict[str, E] = {}
        for one in () if isinstance(entries, str) else entries:
            self.add(one)

    def add(self, entry: E) -> None:
        """Add an entry.

        Raises:
            ConfigError: the name is taken by something else, or is empty.
        """
        if not entry.name:
            raise ConfigError(f"{self.kind}={entry.name!r} has no name: give one")
        there = self._own().get(entry.name)
        if there is not None and there != entry:
            raise self._taken(entry, _described(there))
        self._entries[entry.name] = entry

    def remove(self, name: str) -> None:
        """Remove an entry, so that its name is free again."""
        del self._entries[self[name].name]

    def fill(self) -> None:
        """Add metarl's own entries, unless that was done."""
        self._own()

    def __getitem__(self, name: str) -> E:
        """Return an entry.

        Raises:
            ConfigError: there is none of this name; the error has the nearest ones.
        """
        if name not in self:
            raise unknown_name(self.kind, name, self)
        return self._entries[name]

    def __contains__(self, name: object) -> bool:
        if name not in self._own():
            self._read_packages()
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        self._own()
        self._read_packages()
        return iter(list(self._entries))

    def entries(self) -> list[E]:
        """Return all entries, in order."""
        return [self._entries[name] for name in self]

    def load(self, name: str) -> Any:
        """Return the object of a name.

        Raises:
            ConfigError: there is none of this name, or it cannot be imported.
        """
        return self[name].load()

    def find(self, thing: object) -> E | None:
        """Return the entry of an object, or None if it is not registered."""
        own = next((entry for entry in self._own().values() if entry.is_of(thing)), None)
        return own or next((entry for entry in self.entries() if entry.is_of(thing)), None)

    def name_of(self, thing: object) -> str:
        """Return the name of an object.

        Raises:
            ConfigError: it is not registered.
        """
        entry = self.find(thing)
        if entry is None:
            raise ConfigError(
                f"{self.kind}={getattr(thing, '__name__', repr(thing))} has no name: register it, see metarl.registry"
            )
        return entry.name

    def _own(self) -> dict[str, E]:
        """Return what is registered so far, packages' entry points apart unless they have been read."""
        if self._source is not None:
            source, self._source = self._source, None
            module, _, function = source.partition(":")
            for entry in getattr(import_module(module), function)():
                self.add(entry)
        return self._entries

    def _read_packages(self) -> None:
        if not self._has_read_packages:
            self._has_read_packages = True
            for point in entry_points(group=self.group):
                self.add(self._entry_of(point))

    def _entry_of(self, point: EntryPoint) -> E:
        """Return the entry that a package's entry point names, or one of the thing that it names."""
        try:
            named = point.load()
        except (ImportError, AttributeError):  # a broken package must not spoil a list; its name's first use says what it lacks
            named = None
        if isinstance(named, Entry):
            if not isinstance(named, self._entry):
                raise ConfigError(
                    f"{self.kind}={point.name!r}: the entry point {point.value} is of {type(named).__name__}, "
                    f"but {self.group} takes {self._entry.__name__}"
                )
            return named
        if point.dist is None:
            line = f"from {point.value}"
        else:
            line = f"{point.dist.metadata['Summary'] or 'no description'} (package {point.dist.name})"
        return self._entry(point.name, line, point.value)

    def _taken(self, entry: E, by: str) -> ConfigError:
        return ConfigError(f"{self.kind}={entry.name!r} is taken twice: by {by}, and by {_described(entry)}; rename one")


class OuterLoops(Registry[OuterEntry]):
    """The outer loops; a class may serve policies under one name and predictors under another."""

    def of(self, thing: object, world: World) -> OuterEntry:
        """Return the entry of a class in a world.

        Raises:
            ConfigError: it is not registered, or does not serve this world.
        """
        entries = [entry for entry in self.entries() if entry.is_of(thing)]
        fit = next((entry for entry in entries if world in entry.worlds), None)
        if fit is not None:
            return fit
        name = entries[0].name if entries else self.name_of(thing)
        raise ConfigError(f"outer={name} is for {' and '.join(self[name].worlds)}, not for {world}: {self.choice(world)}")

    def serving(self, world: World) -> list[OuterEntry]:
        """Return the outer loops of a world."""
        return [entry for entry in self.entries() if world in entry.worlds]

    def choice(self, world: World) -> str:
        """Return the end of an error: which outer loops serve a world."""
        return f"choose one of {', '.join(entry.name for entry in self.serving(world))}"


class Families(Registry[FamilyEntry]):
    """The task families and few-shot episodes, which Gymnasium knows too."""

    def add(self, entry: FamilyEntry) -> None:
        """Add an entry, here and to Gymnasium.

        Raises:
            ConfigError: the name is taken by something else, here or in Gymnasium, or is empty.
        """
        there = gymnasium.registry.get(entry.name)
        if there is None:
            super().add(entry)
            try:
                gymnasium.register(entry.name, entry_point=entry.target, **dict(entry.spec))
            except (gymnasium.error.Error, TypeError) as error:
                super().remove(entry.name)
                raise ConfigError(f"{self.kind}={entry.name!r} cannot be registered with Gymnasium: {error}") from error
        elif entry.name in self._own() or there.entry_point == entry.target or entry.is_of(there.entry_point):
            super().add(entry)
        else:
            raise self._taken(entry, f"{there.entry_point} (in Gymnasium)")

    def remove(self, name: str) -> None:
        """Remove an entry, here and from Gymnasium."""
        super().remove(name)
        gymnasium.registry.pop(name, None)


def _described(entry: Entry) -> str:
    return f"{entry.target if isinstance(entry.target, str) else repr(entry.target)} ({entry.line})"


AGENTS = Registry("agent", "metarl.agents", AgentEntry, "metarl.catalogue:agents")
ADAPTERS = Registry("adapter", "metarl.adapters", Entry, "metarl.catalogue:adapters")
OUTER_LOOPS = OuterLoops("outer", "metarl.outer_loops", OuterEntry, "metarl.catalogue:outer_loops")
RULES = Registry("rule", "metarl.rules", Entry, "metarl.catalogue:rules")
FAMILIES = Families("env", "metarl.families", FamilyEntry, "metarl.catalogue:families")
NETWORKS = Registry("network", "metarl.networks", Entry, "metarl.catalogue:networks")
TABLES = Registry("table", "metarl.tables", Entry, "metarl.commands.tables:discover")
PRESETS = Registry("preset", "metarl.presets", Entry, "metarl.commands.presets:entries")
REGISTRIES: dict[str, Registry[Any]] = {
    "agents": AGENTS,
    "adapters": ADAPTERS,
    "outer-loops": OUTER_LOOPS,
    "rules": RULES,
    "families": FAMILIES,
    "networks": NETWORKS,
    "presets": PRESETS,
    "tables": TABLES,
}
"""All of them, by the name of their section in ``metarl list``."""


def register_agent(
    name: str,
    cls: Any,
    line: str,
    *,
    is_baseline: bool = False,
    outer_loops: Iterable[str] | None = None,
    idle: Iterable[str] = (),
) -> None:
    """Register an agent, a class or ``"module:attribute"``; see ``AgentEntry`` for the arguments."""
    loops = None if outer_loops is None else tuple(outer_loops)
    AGENTS.add(AgentEntry(name, line, cls, is_baseline, loops, tuple(idle)))


def register_adapter(name: str, cls: Any, line: str) -> None:
    """Register an adapter, a class or ``"module:attribute"``."""
    ADAPTERS.add(Entry(name, line, cls))


def register_outer_loop(name: str, cls: Any, line: str, worlds: Iterable[World] = WORLDS, prefix: str = "") -> None:
    """Register an outer loop, a frozen dataclass or ``"module:attribute"``; see ``OuterEntry`` for the arguments."""
    OUTER_LOOPS.add(OuterEntry(name, line, cls, tuple(worlds), prefix))


def register_rule(name: str, cls: Any, line: str) -> None:
    """Register an update rule, a class or ``"module:attribute"``."""
    RULES.add(Entry(name, line, cls))


def register_family(name: str, entry_point: Callable[..., Any] | str, line: str, **spec: Any) -> None:
    """Register a task family or few-shot episodes, with Gymnasium too; see ``FamilyEntry`` for the arguments."""
    FAMILIES.add(FamilyEntry(name, line, entry_point, spec))


def register_network(name: str, make: Callable[..., Any] | str, line: str) -> None:
    """Register a network: ``make(input_shape, outputs, **policy_kwargs)`` returns a module; or ``"module:attribute"``."""
    NETWORKS.add(Entry(name, line, make))


def register_table(name: str, table: Any, line: str) -> None:
    """Register a table for ``metarl reproduce``: a ``metarl.commands.table.Table``, or ``"module:attribute"``."""
    TABLES.add(Entry(name, line, table))


def register_preset(name: str, run: Mapping[str, Any] | str, line: str) -> None:
    """Register a preset for ``metarl train``: options of a run by name, as ``metarl.commands.settings`` says."""
    PRESETS.add(Entry(name, line, run))
