"""Options as data: what a dataclass of options offers, and a command-line parser of just those that apply."""

import json
import types
from collections.abc import Collection, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, make_dataclass
from difflib import get_close_matches
from functools import cache
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import tyro
from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

from metarl.errors import ConfigError
from metarl.fields import field_docs

JSON = ConstructorRegistry()
"""tyro's types, and mappings as JSON."""


@JSON.primitive_rule
def _json(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[Any] | None:
    if (get_origin(info.type) or info.type) not in (dict, Mapping):
        return None
    return PrimitiveConstructorSpec(
        nargs=1,
        metavar="JSON",
        instance_from_str=_mapping,
        is_instance=lambda value: isinstance(value, Mapping),
        str_from_instance=lambda value: [json.dumps(value)],
    )


def _mapping(strings: list[str]) -> dict[str, Any]:
    value = json.loads(strings[0])
    if not isinstance(value, dict):
        raise ValueError(f"{strings[0]} is JSON, but no object: write '{{\"name\": value}}'")
    return value


@dataclass(frozen=True)
class Option:
    """One option: a field of a dataclass.

    Attributes:
        name: the field's.
        type: its annotation.
        default: its value unless given.
        help: the field's docstring.
    """

    name: str
    type: Any
    default: Any
    help: str = ""

    def takes(self, value: Any) -> bool:
        """Return whether a value has this option's kind: None, several values or one, or one of a few words."""
        kinds = _members(self.type)
        if value is None:
            return type(None) in kinds or Any in kinds
        words = [word for kind in kinds if get_origin(kind) is Literal for word in get_args(kind)]
        if words and all(get_origin(kind) is Literal or kind is type(None) for kind in kinds):
            return value in words
        several = any(_is_sequence(kind) or kind is Any for kind in kinds)
        return several or not isinstance(value, (list, tuple))

    @property
    def may_be_empty(self) -> bool:
        """Whether the option without a value means None."""
        kinds = _members(self.type)
        return type(None) in kinds and not any(map(_is_sequence, kinds))


@dataclass(frozen=True)
class Group:
    """Options that stand together in the help.

    Attributes:
        title: the group's heading.
        prefix: before every option's name: ``--prefix.name``; empty for none.
        options: in the order of the help.
        description: the text under the heading.
    """

    title: str
    prefix: str
    options: tuple[Option, ...]
    description: str = ""

    def full(self, option: Option) -> str:
        """Return an option's full name, such as ``trpo.max_kl``."""
        return f"{self.prefix}.{option.name}" if self.prefix else option.name


def options_of(cls: type[Any], without: Collection[str] = ()) -> tuple[Option, ...]:
    """Return the options that a dataclass's fields are, but for some."""
    kind: Any = cls  # mypy takes a class for unhashable
    return tuple(option for option in _options_of(kind) if option.name not in without)


@cache
def _options_of(cls: Any) -> tuple[Option, ...]:
    types_of, docs = get_type_hints(cls), field_docs(cls)
    return tuple(
        Option(
            one.name,
            types_of[one.name],
            one.default_factory() if one.default_factory is not MISSING else None if one.default is MISSING else one.default,
            docs.get(one.name, ""),
        )
        for one in fields(cls)
        if one.init
    )


def parse(groups: Sequence[Group], arguments: Sequence[str], prog: str, description: str) -> dict[str, Any]:
    """Return every option's value by its full name; ``--help`` prints the groups and leaves.

    Raises:
        SystemExit: help was asked for, or a value does not fit.
    """
    annotated: Any = Annotated  # its arguments are made at run time
    parts = []
    for number, group in enumerate(groups):
        members = [
            (
                one.name,
                Annotated[one.type, tyro.conf.arg(help=one.help, prefix_name=bool(group.prefix))],
                _default(_fitting(one.default, one.type)),
            )
            for one in group.options
        ]
        made = make_dataclass(f"Group{number}", members, frozen=True)
        about = tyro.conf.arg(name=group.prefix or group.title, help=group.description)
        parts.append((f"group{number}", annotated[made, about], field(default_factory=made)))
    whole = make_dataclass("Options", parts, frozen=True)
    filled = _with_none(groups, arguments)
    parsed: Any = tyro.cli(whole, args=filled, prog=prog, description=description, registry=JSON)
    return {
        group.full(one): getattr(getattr(parsed, f"group{number}"), one.name)
        for number, group in enumerate(groups)
        for one in group.options
    }


def named(arguments: Sequence[str]) -> dict[str, str]:
    """Return the options that arguments name, as ``trpo.max_kl``, and how each was written."""
    names = {}
    for argument in arguments:
        if argument.startswith("--") and len(argument) > 2:
            written = argument.partition("=")[0]
            names[written[2:].replace("-", "_")] = written
    return names


def known_as(name: str, known: Collection[str]) -> str | None:
    """Return which of the known options a name is, ``no_`` before its last part apart; None if it is none."""
    prefix, dot, last = name.rpartition(".")
    positive = f"{prefix}{dot}{last.removeprefix('no_')}"
    return next((one for one in (name, positive) if one in known), None)


def unknown_option(written: str, known: Collection[str]) -> ConfigError:
    """Return the error for an option that nothing has, with the nearest ones."""
    flags = [flag(name) for name in known]
    near = get_close_matches(written, flags, n=3, cutoff=0.6)
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    return ConfigError(f"{written} is no option: {hint}--help shows those of this run")


def flag(name: str) -> str:
    """Return an option as it is written on the command line."""
    return "--" + name.replace("_", "-")


def _with_none(groups: Sequence[Group], arguments: Sequence[str]) -> list[str]:
    """Return the arguments with a value after options given none: True of a switch, None of others that may have none."""
    empty = {flag(group.full(one)): one for group in groups for one in group.options if one.may_be_empty}
    filled = []
    for argument, after in zip(arguments, [*arguments[1:], "--"], strict=False):
        filled.append(argument)
        option = empty.get(argument.replace("_", "-"))
        if option is not None and after.startswith("--"):
            filled.append(str(True if bool in _members(option.type) else None))
    return filled


def _fitting(default: Any, kind: Any) -> Any:
    """Return a default as tyro takes it: lists for sequences that are no tuples."""
    sequences = [get_origin(one) or one for one in _members(kind) if _is_sequence(one)]
    return list(default) if isinstance(default, tuple) and sequences and tuple not in sequences else default


def _default(value: Any) -> Any:
    return field(default_factory=lambda: value)


def _members(kind: Any) -> tuple[Any, ...]:
    return get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)


def _is_sequence(kind: Any) -> bool:
    origin = get_origin(kind) or kind
    return isinstance(origin, type) and issubclass(origin, Sequence) and origin is not str
