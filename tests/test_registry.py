"""Names: taken once, missed with the nearest, imported when used, read from installed packages."""

import ast
from importlib.metadata import EntryPoint
from pathlib import Path

import gymnasium
import pytest

import metarl
from metarl import registry
from metarl.errors import ConfigError
from metarl.registry import AgentEntry, Entry, Families, FamilyEntry, OuterEntry, OuterLoops, Registry


class Thing:
    pass


@pytest.fixture
def things():
    return Registry("thing", "nobody.things", Entry, [Entry("one", "the first", "tests.test_registry:Thing")])


def test_a_target_is_imported_when_it_is_used_and_not_before(things):
    things.add(Entry("broken", "no such module", "metarl.nothing:Nothing"))
    assert list(things) == ["one", "broken"]
    assert things.load("one").__name__ == "Thing"
    with pytest.raises(ConfigError, match=r"'broken' is registered as 'metarl.nothing:Nothing', which cannot be imported"):
        things.load("broken")


def test_a_missed_name_has_the_nearest(things):
    things.add(Entry("another", "the second", Thing))
    with pytest.raises(ConfigError, match=r"thing='anothr' is not known: did you mean 'another'\?"):
        things["anothr"]


def test_a_name_taken_twice_names_both(things):
    with pytest.raises(
        ConfigError, match=r"thing='one' is taken twice: by tests.test_registry:Thing \(the first\), and by 7 \("
    ):
        things.add(Entry("one", "seven", 7))
    things.add(Entry("one", "the first", "tests.test_registry:Thing"))  # the same again is no second
    things.remove("one")
    things.add(Entry("one", "seven", 7))
    assert things.load("one") == 7


def test_a_things_name(things):
    from tests.test_registry import Thing as imported

    assert things.name_of(imported) == "one"
    with pytest.raises(ConfigError, match="thing=Registry has no name: register it"):
        things.name_of(Registry)


def test_packages_are_read_when_listed_or_missed(monkeypatch):
    points = [EntryPoint("theirs", "tests.test_registry:Thing", "nobody.things")]
    asked = []
    monkeypatch.setattr(registry, "entry_points", lambda group: asked.append(group) or points)
    things = Registry("thing", "nobody.things", Entry, [Entry("one", "the first", 1)])
    assert things["one"].load() == 1
    assert asked == []
    assert things["theirs"].target == "tests.test_registry:Thing"
    assert list(things) == ["one", "theirs"]
    assert asked == ["nobody.things"]
    clash = Registry("thing", "nobody.things", Entry, [Entry("theirs", "mine", 1)])
    with pytest.raises(ConfigError, match=r"by 1 \(mine\), and by tests.test_registry:Thing"):
        list(clash)


def test_entries_that_are_made_when_first_asked_for():
    things = Registry("thing", "nobody.things", Entry, "tests.test_registry:made")
    things.add(Entry("mine", "added before the others were made", 2))
    assert list(things) == ["made", "mine"]


def made():
    return [Entry("made", "made", 1)]


def test_an_outer_loop_has_one_name_in_a_world():
    loops = OuterLoops(
        "outer",
        "nobody.loops",
        OuterEntry,
        [
            OuterEntry("of_policies", "", Thing, ("policies",), "shared"),
            OuterEntry("of_predictors", "", Thing, ("predictors",), "shared"),
            OuterEntry("only_policies", "", Registry, ("policies",)),
        ],
    )
    assert (loops.of(Thing, "policies").name, loops.of(Thing, "predictors").name) == ("of_policies", "of_predictors")
    assert [entry.name for entry in loops.serving("policies")] == ["of_policies", "only_policies"]
    assert loops["only_policies"].prefix == "only-policies"
    with pytest.raises(
        ConfigError, match="outer=only_policies is for policies, not for predictors: choose one of of_predictors"
    ):
        loops.of(Registry, "predictors")


def test_a_family_is_known_to_gymnasium():
    try:
        metarl.register_family("tests/Family-v0", "tests.test_registry:Thing", "a family", max_episode_steps=7)
        assert gymnasium.spec("tests/Family-v0").max_episode_steps == 7
        assert set(registry.FAMILIES) <= set(gymnasium.registry)
    finally:
        registry.FAMILIES.remove("tests/Family-v0")


def test_a_removed_family_leaves_gymnasium_too():
    metarl.register_family("tests/Gone-v0", "tests.test_registry:Thing", "a family")
    registry.FAMILIES.remove("tests/Gone-v0")
    assert "tests/Gone-v0" not in gymnasium.registry
    metarl.register_family("tests/Gone-v0", Thing, "another")
    assert gymnasium.spec("tests/Gone-v0").entry_point is Thing
    registry.FAMILIES.remove("tests/Gone-v0")


def test_an_id_of_gymnasiums_is_taken():
    with pytest.raises(
        ConfigError, match=r"'CartPole-v1' is taken twice: by gymnasium.envs.*CartPoleEnv \(in Gymnasium\), and by .*Thing"
    ):
        metarl.register_family("CartPole-v1", Thing, "mine")
    assert "CartPole-v1" not in registry.FAMILIES
    with pytest.raises(ConfigError, match="env='no id at all' cannot be registered with Gymnasium"):
        metarl.register_family("no id at all", Thing, "mine")
    assert "no id at all" not in registry.FAMILIES


FAMILY = FamilyEntry("theirs/Maze-v0", "a maze", "tests.test_registry:Thing", {"max_episode_steps": 50})


def test_a_packages_entry_point_can_be_an_entry(monkeypatch):
    points = [EntryPoint("maze", "tests.test_registry:FAMILY", "nobody.families")]
    monkeypatch.setattr(registry, "entry_points", lambda group: points)
    families = Families("env", "nobody.families", FamilyEntry, [])
    try:
        assert families["theirs/Maze-v0"].line == "a maze"
        assert gymnasium.spec("theirs/Maze-v0").max_episode_steps == 50
    finally:
        gymnasium.registry.pop("theirs/Maze-v0", None)
    agents = Registry("agent", "nobody.agents", AgentEntry, [])
    with pytest.raises(ConfigError, match=r"test_registry:FAMILY is of FamilyEntry, but nobody.agents takes AgentEntry"):
        list(agents)


def test_a_broken_package_is_listed_and_says_what_it_lacks_when_used(monkeypatch):
    points = [EntryPoint("theirs", "metarl.nothing:Nothing", "nobody.things")]
    monkeypatch.setattr(registry, "entry_points", lambda group: points)
    things = Registry("thing", "nobody.things", Entry, [])
    assert list(things) == ["theirs"]
    with pytest.raises(ConfigError, match=r"which cannot be imported: No module named 'metarl.nothing'"):
        things.load("theirs")


def test_registering_at_the_top_level(monkeypatch):
    for kind, where in {
        "agent": registry.AGENTS,
        "adapter": registry.ADAPTERS,
        "outer_loop": registry.OUTER_LOOPS,
        "rule": registry.RULES,
        "network": registry.NETWORKS,
        "table": registry.TABLES,
        "preset": registry.PRESETS,
    }.items():
        getattr(metarl, f"register_{kind}")("tests-own", Thing, "a thing")
        assert where["tests-own"].load() is Thing
        assert where["tests-own"].line == "a thing"
        where.remove("tests-own")
        assert "tests-own" not in where


@pytest.mark.parametrize("section", registry.REGISTRIES)
def test_every_entry_can_be_imported_and_has_a_line(section):
    for entry in registry.REGISTRIES[section].entries():
        assert entry.load() is not None
        assert entry.line
        assert len(entry.line) < 120


def test_the_top_level_has_what_type_checkers_are_told():
    (told,) = [node for node in ast.parse(Path(metarl.__file__).read_text()).body if isinstance(node, ast.If)]
    homes = {alias.name: line.module for line in told.body for alias in line.names}
    assert homes == metarl._HOME_OF
    assert {getattr(metarl, name).__module__.partition(".")[0] for name in homes} == {"metarl"}
