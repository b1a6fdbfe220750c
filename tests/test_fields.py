"""What dataclasses of options say of their fields."""

from dataclasses import dataclass, fields

import pytest

import metarl
from metarl import registry
from metarl.fields import documented, field_docs


@dataclass(frozen=True)
class Parent:
    """What parents take."""

    first: int = 1
    """Said by the
    parent."""
    second: int = 2
    """Said by the parent too."""


@dataclass(frozen=True)
class Child(Parent):
    """What children take."""

    second: int = 3
    """Said by the child."""
    silent: int = 4


def test_a_fields_docstring_is_its_own_or_its_parents():
    assert field_docs(Child) == {"first": "Said by the parent.", "second": "Said by the child."}
    assert field_docs(type("Made", (), {})) == {}


def test_a_class_says_what_its_fields_are_once():
    for _ in range(2):
        documented(Child)
        assert Child.__doc__ == (
            "What children take.\n\nAttributes:\n    first: Said by the parent.\n    second: Said by the child."
        )


@pytest.mark.parametrize("name", list(registry.AGENTS))
def test_help_of_an_agents_options_says_what_each_is(name):
    options = registry.AGENTS.load(name).Options
    assert all(f"\n    {one.name}: " in options.__doc__ for one in fields(options))


def test_the_general_agents_options_are_documented_too():
    assert "\n    rule_kwargs: The rule's other arguments." in metarl.Agent.Options.__doc__
