"""What a checkpoint of an agent holds: constructors make agents of it, no code of a file's choice runs, damage is named."""

import copy
import os
import sys

import gymnasium as gym
import pytest
import torch
from torch import nn

import metarl
from metarl import checkpoint
from metarl.errors import CheckpointError, ConfigError
from metarl.outer import GradientDescent, Outcome, OuterLoop
from metarl.rules import GradientDescent as GradientDescentRule
from tests.small import small
from tests.toys import weight
from tests.worlds import flat


def written(agent, folder, **changes):
    """Save an agent, and write its content with changes; a value of ``...`` leaves the entry out."""
    content = {**checkpoint.read(agent.save(folder / "agent")), **changes}
    return checkpoint.write(folder / "changed", {name: value for name, value in content.items() if value is not ...})


def test_a_checkpoint_holds_names_arguments_and_tensors(tmp_path):
    content = checkpoint.read(small("TURTLE", seed=5).learn(1).save(tmp_path / "agent"))
    assert set(content) == {
        *("format", "version", "agent", "policy", "env", "options", "outer", "rollouts", "meta", "outer_state"),
        *("streams", "device", "iteration", "num_timesteps", "best"),
    }
    assert (content["agent"], content["policy"], content["env"]) == ("turtle", "MLP", "metarl/Sine-v0")
    assert content["outer"]["name"] == "gradient_descent"
    assert content["outer"]["clip_task"] == 10.0
    assert content["options"]["seed"] == 5
    assert content["rollouts"] is None
    policy = checkpoint.read(small("Alpha MAML by TRPO").save(tmp_path / "policy"))
    assert policy["rollouts"]["trajectories"] == 3
    assert policy["outer"]["trpo"]["damping"] == 0.1


def test_loading_calls_the_constructor(tmp_path, monkeypatch):
    path = small("MAML", seed=4, meta_batch=3).save(tmp_path / "agent")
    calls, constructor = [], metarl.MAML.__init__

    def watch(self, *arguments, **options):
        calls.append(options)
        constructor(self, *arguments, **options)

    monkeypatch.setattr(metarl.MAML, "__init__", watch)
    metarl.Agent.load(path, device="cpu")
    (options,) = calls
    assert (options["seed"], options["meta_batch"], options["policy"], options["env"]) == (4, 3, "MLP", "metarl/Sine-v0")
    assert options["outer"] == GradientDescent(0.01)


def test_loading_as_another_agent_is_refused(tmp_path):
    path = small("MAML").save(tmp_path / "agent")
    with pytest.raises(CheckpointError, match=r"holds a MAML, not a MetaSGD: use MAML\.load"):
        metarl.MetaSGD.load(path)
    assert type(metarl.Agent.load(path)) is metarl.MAML
    lstm = small("enhanced LSTM").save(tmp_path / "lstm")
    assert type(metarl.MetaLSTM.load(lstm)) is metarl.MetaLSTM2


# -- what a file cannot hold


class Half(GradientDescentRule):
    pass


class Own(GradientDescent):
    pass


def test_what_cannot_be_stored_is_asked_for_again(tmp_path):
    module, env = nn.Sequential(nn.Linear(1, 4), nn.Tanh(), nn.Linear(4, 1)), gym.make("metarl/Sine-v0")
    options = {"rule": Half, "rule_kwargs": {"rate": 0.1}, "outer": Own(0.5), "device": "cpu"}
    made = metarl.Agent(module, env, **options).learn(1)
    path, handed_in = made.save(tmp_path / "own"), {}
    for name, says, value in (
        ("env", r"made with a env of its own: hand it in, load\(path, env=", env),
        ("policy", r"made with a policy of its own: hand it in, load\(path, policy=", module),
        ("rule", r"made with the rule 'Half': hand it in, load\(path, rule=", Half),
        ("outer", r"made with the outer loop 'Own': hand it in, load\(path, outer=", Own(0.5)),
    ):
        with pytest.raises(CheckpointError, match=says):
            metarl.Agent.load(path, **handed_in)
        handed_in[name] = value
    again = metarl.Agent.load(path, device="cpu", **handed_in)
    assert torch.equal(flat(again.meta), flat(made.meta))
    with pytest.raises(CheckpointError, match="hand in the same policy"):
        metarl.Agent.load(path, **{**handed_in, "policy": nn.Linear(1, 1)})
    with pytest.raises(CheckpointError, match=r"does not make a Agent here: policy=Linear gives outputs of shape"):
        metarl.Agent.load(path, **{**handed_in, "policy": nn.Linear(1, 3)})
    with pytest.raises(ConfigError, match="device='gpu' is not known"):
        metarl.Agent.load(path, **handed_in, device="gpu")


def test_arguments_of_the_environment_may_have_changed(tmp_path):
    path = metarl.MAML(weight(0.0), "tests/Line-v0", env_kwargs={"slopes": (3.0,)}, device="cpu").save(tmp_path / "agent")
    again = metarl.MAML.load(path, policy=weight(0.0), env_kwargs={"shots": 4}, device="cpu")
    assert (again.env.unwrapped.slopes, again.env.unwrapped.shots) == ((3.0,), 4)
    assert again.options.env_kwargs == {"slopes": (3.0,), "shots": 4}


@pytest.mark.parametrize("env", ["flagged_by_its_import:SomeEnv-v0", "flagged_by_its_import:metarl/Sine-v0", "Unknown/Env-v0"])
def test_loading_imports_no_module_that_a_checkpoint_names(env, tmp_path, monkeypatch):
    (tmp_path / "flagged_by_its_import.py").write_text("import os; os.environ['FLAG_OF_AN_IMPORT'] = 'code ran'")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delenv("FLAG_OF_AN_IMPORT", raising=False)
    path = written(small("MAML"), tmp_path, env=env)
    with pytest.raises(
        CheckpointError, match=r"which this program does not know: import its module first, or hand it in, load\(path, env="
    ):
        metarl.MAML.load(path)
    assert "FLAG_OF_AN_IMPORT" not in os.environ
    assert "flagged_by_its_import" not in sys.modules
    assert metarl.MAML.load(path, env="metarl/Sine-v0", device="cpu").env_name == "metarl/Sine-v0"


def test_an_env_of_a_module_that_is_imported_is_taken(tmp_path):
    agent = metarl.MAML(weight(0.0), "tests.toys:tests/Line-v0", device="cpu")
    assert metarl.MAML.load(agent.save(tmp_path / "agent"), policy=weight(0.0)).env_name == "tests.toys:tests/Line-v0"


# -- damage


def damaged(part, **changes):
    """Change entries of a part of a checkpoint's content."""

    def change(content):
        inner = dict(content[part])
        for name, value in changes.items():
            inner[name] = value(inner[name]) if callable(value) else value
        return {part: {name: value for name, value in inner.items() if value is not ...}}

    return change


def entry(**changes):
    return lambda content: changes


DAMAGE = {
    "an unknown outer loop": (damaged("outer", name="trop"), "the outer loop 'trop': hand it in"),
    "an outer loop without a name": (damaged("outer", name=...), "the outer loop None: hand it in"),
    "an outer loop's name that is a list": (damaged("outer", name=["trpo"]), r"the outer loop \['trpo'\]: hand it in"),
    "an outer loop's unknown option": (damaged("outer", speed=1), "does not make a .*speed"),
    "an outer loop's option out of range": (damaged("outer", learning_rate=-1), "learning_rate=-1 must be above zero"),
    "a rule's name that is a module": (
        damaged("options", rule="metarl.rules.preprocess"),
        "the rule 'metarl.rules.preprocess'",
    ),
    "a rule that is a list": (damaged("options", rule=[1]), r"the rule \[1\]: hand it in"),
    "an unknown agent": (entry(agent="leap"), "holds the agent 'leap', which is not known: import its class"),
    "an agent that is no name": (entry(agent=3), "has agent=3"),
    "an unknown option": (damaged("options", inner_stps=3), "option='inner_stps' is not known: did you mean 'inner_steps'"),
    "an option of another kind": (damaged("options", seed="x"), "seed='x' must be a whole number"),
    "an option out of range": (damaged("options", inner_steps=-1), "inner_steps=-1 must be a whole number"),
    "an unknown policy": (entry(policy="MPL"), "policy='MPL' is not known"),
    "an unknown entry": (entry(extra=1), "extra are unknown entries"),
    "rollouts for a predictor": (entry(rollouts={}), "is for policies"),
    "rollouts with an unknown field": (entry(rollouts={"trajectoris": 1}), "does not make a .*trajectoris"),
    "no meta": (entry(meta=...), "has no 'meta'"),
    "meta of another kind": (entry(meta=[1]), r"has meta=\[1\]"),
    "a parameter missing": (damaged("meta", theta=...), "hand in the same policy"),
    "a parameter of another shape": (damaged("meta", theta=lambda x: x[:-1]), "hand in the same policy"),
    "a parameter that is a list": (damaged("meta", theta=lambda x: x.tolist()), "hand in the same policy"),
    "a parameter more": (damaged("meta", more=torch.ones(1)), "hand in the same policy"),
    "nan parameters": (damaged("meta", theta=lambda x: x * torch.nan), "theta holds infinities or nan"),
    "infinite averages of an optimiser": (
        lambda content: {"outer_state": {"optimizer": {"theta": {"exp_avg": torch.tensor([torch.inf])}}, "steps": 1}},
        r"optimizer\.theta\.exp_avg holds infinities or nan",
    ),
    "moments of another shape": (
        lambda content: {"outer_state": {"optimizer": {"theta": {"exp_avg": torch.zeros(3)}}, "steps": 1}},
        r"its optimiser's theta\.exp_avg is not of this agent's theta",
    ),
    "moments that are a list": (
        lambda content: {"outer_state": {"optimizer": [1], "steps": 1}},
        "is damaged",
    ),
    "no steps of the outer loop": (damaged("outer_state", steps=...), "outer_state holds"),
    "steps that are no number": (damaged("outer_state", steps="x"), r"outer_state\.steps='x' is not a int"),
    "an outer state of another kind": (entry(outer_state=[1]), r"outer_state=\[1\] is not a dict"),
    "no streams": (entry(streams=...), "has no 'streams'"),
    "a stream missing": (damaged("streams", noise=...), "its streams are"),
    "a stream that is none": (damaged("streams", noise=torch.zeros(3, dtype=torch.uint8)), "is damaged"),
    "a stream of another kind": (damaged("streams", noise=3), "is damaged"),
    "iterations that are no number": (entry(iteration="3"), "has iteration='3'"),
    "a negative iteration": (entry(iteration=-1), "iteration=-1 .* cannot be negative"),
    "a truth for a number": (entry(num_timesteps=True), "has num_timesteps=True"),
    "the best without a score": (damaged("best", score=...), "best holds"),
    "the best of another shape": (damaged("best", meta=lambda x: {"theta": x["theta"][:2]}), "hand in the same policy"),
    "the best as nan": (damaged("best", meta=lambda x: {**x, "theta": x["theta"] * torch.nan}), "holds infinities or nan"),
    "the best of another kind": (entry(best=3), "has best=3"),
}


@pytest.fixture(scope="module")
def content(tmp_path_factory):
    """What a checkpoint of an agent with a rule by name holds."""
    agent = metarl.Agent(
        "MLP",
        "metarl/Sine-v0",
        rule=GradientDescentRule,
        rule_kwargs={"rate": 0.1},
        policy_kwargs={"hidden": (3,)},
        device="cpu",
    )
    agent.learn(1, validate_every=1, validation_tasks=2)
    return checkpoint.read(agent.save(tmp_path_factory.mktemp("sound") / "agent"))


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_ends_in_one_clear_error(damage, content, tmp_path):
    change, says = DAMAGE[damage]
    changed = {**content, **change(copy.deepcopy(content))}
    path = checkpoint.write(tmp_path / "damaged", {name: value for name, value in changed.items() if value is not ...})
    with pytest.raises(CheckpointError, match=says) as failure:
        metarl.Agent.load(path)
    assert "checkpoint" in str(failure.value)
    assert "\n" not in str(failure.value)


def test_what_is_not_damaged_loads(content, tmp_path):
    agent = metarl.Agent.load(checkpoint.write(tmp_path / "sound", dict(content)), device="cpu")
    assert torch.equal(agent.meta["theta"], content["meta"]["theta"])
    assert agent.iteration == 1


def test_on_another_kind_of_device_the_streams_begin_anew(content, tmp_path):
    path = checkpoint.write(tmp_path / "elsewhere", {**content, "device": "cuda"})
    agent = metarl.Agent.load(path, device="cpu")
    states = [generator.get_state() for generator in agent.streams.values()]
    states += list(content["streams"].values())
    assert len({bytes(state.numpy()) for state in states}) == 6
    again = metarl.Agent.load(path, device="cpu")
    assert torch.equal(again.streams["tasks"].get_state(), states[0])


def test_an_outer_loop_without_state_is_saved_too(tmp_path):
    class Nothing(OuterLoop):
        def improve(self, adapter, meta, state, batch, generator):
            return Outcome(meta, torch.zeros(())), state

    agent = small("MAML", outer=Nothing())
    path = agent.save(tmp_path / "agent")
    assert metarl.MAML.load(path, outer=Nothing(), device="cpu").outer_state == {}
