"""Checkpoints of version 1, written out by hand, load and go on."""

import pytest
import torch

import metarl
import tests.worlds  # noqa: F401 - registers the images
from metarl import checkpoint, rules
from metarl.agents import migration
from metarl.errors import CheckpointError
from metarl.outer import TRPO, GradientDescent, HypergradientDescent
from metarl.outer.meta_gradient import meta_gradient

ARGUMENTS = {
    "policy": "MLP",
    "env": "metarl/Sine-v0",
    "rule": "GradientDescent",
    "rule_kwargs": {"rate": [0.1, 0.05], "learned": "step", "steps": 2},
    "outer": {
        **{"name": "GradientDescent", "learning_rate": 0.01, "optimizer": "Adam", "optimizer_kwargs": {}, "clip_task": None},
        **{"clip_value": None, "clip_norm": 0.5, "tasks_at_once": None, "compile": False},
    },
    "inner_steps": 2,
    "first_order": False,
    "inner_clip": 3.0,
    "meta_batch": 2,
    "adapted": "all",
    "batch_norm": "batch",
    "support_batch": None,
    "rollouts": None,
    "policy_kwargs": {"hidden": [1], "init": "torch"},
    "env_kwargs": {"shots": 4},
    "seed": 3,
    "dtype": "float64",
}
THETA, TABLE = torch.tensor([0.5, 0.0, 2.0, 0.25], dtype=torch.float64), torch.tensor([[0.1], [0.05]], dtype=torch.float64)


def adam(like, step=3.0):
    return {"step": torch.tensor(step), "exp_avg": 0.1 * torch.ones_like(like), "exp_avg_sq": 0.2 * torch.ones_like(like)}


def version_1(**changes):
    """What a MAML of version 1 wrote after three iterations, the second of which was the best."""
    return {
        "version": 1,
        "agent": "MAML",
        "arguments": ARGUMENTS,
        "meta": {"theta": THETA, "rule.table": TABLE},
        "running": {},
        "outer": {"state": {0: adam(THETA), 1: adam(TABLE)}, "param_groups": [{"lr": 0.01, "params": [0, 1]}]},
        "generator": torch.Generator().manual_seed(5).get_state(),
        "device": "cpu",
        "iteration": 3,
        "num_timesteps": 6,
        "best": {"score": -2.5, "iteration": 2, "meta": {"theta": 2 * THETA, "rule.table": TABLE}, "running": {}},
        **changes,
    }


def load(tmp_path, content, **handed_in):
    return metarl.Agent.load(checkpoint.write(tmp_path / "old", content), device="cpu", **handed_in)


def test_everything_is_where_it_was(tmp_path):
    agent = load(tmp_path, version_1())
    assert type(agent) is metarl.MAML
    assert agent.options == metarl.MAML.Options(
        meta_batch=2,
        policy_kwargs={"hidden": [1], "init": "torch"},
        env_kwargs={"shots": 4},
        seed=3,
        device="cpu",
        dtype="float64",
        inner_steps=2,
        inner_clip=3.0,
        rate=[0.1, 0.05],
        learned="step",
    )
    assert agent.outer == GradientDescent(0.01, clip_norm=0.5)
    assert torch.equal(agent.meta["theta"], THETA)
    assert torch.equal(agent.meta["rule.table"], TABLE)
    assert (agent.iteration, agent.num_timesteps) == (3, 6)
    assert (agent.best["score"], agent.best["iteration"]) == (-2.5, 2)
    assert torch.equal(agent.restore_best().meta["theta"], 2 * THETA)
    assert torch.equal(agent.streams["tasks"].get_state(), torch.Generator().manual_seed(5).get_state())
    assert agent.outer_state["steps"] == 3
    assert {name: state["step"].item() for name, state in agent.outer_state["optimizer"].items()} == {
        "theta": 3,
        "rule.table": 3,
    }


def test_it_goes_on_with_its_optimiser_s_moments(tmp_path):
    agent = load(tmp_path, version_1())
    tasks = agent.source.sample(2, "train", torch.Generator().manual_seed(5), 6)
    outcome, _ = agent.outer.step(agent.adapter, agent.meta, agent.outer_state, tasks, torch.Generator())
    gradients = meta_gradient(agent.adapter, agent.meta, [tasks.support] * 2, tasks.query, 2)[1]
    norm = torch.cat([value.flatten() for value in gradients.values()]).norm()
    gradient = gradients["theta"] * (0.5 / (norm + 1e-6)).clamp(max=1)
    mean = (0.9 * 0.1 + 0.1 * gradient) / (1 - 0.9**4)  # Adam's fourth step
    square = (0.999 * 0.2 + 0.001 * gradient.square()) / (1 - 0.999**4)
    torch.testing.assert_close(outcome.meta["theta"], THETA - 0.01 * mean / (square.sqrt() + 1e-8))
    assert agent.learn(1).iteration == 4
    assert torch.equal(agent.meta["theta"], outcome.meta["theta"])  # the stream of tasks goes on too
    again = metarl.Agent.load(agent.save(tmp_path / "new"), device="cpu")
    assert torch.equal(again.meta["theta"], agent.meta["theta"])
    assert checkpoint.read(tmp_path / "new")["version"] == checkpoint.VERSION


def test_a_policy_s_rollouts_have_new_names(tmp_path):
    rollouts = {"trajectories": 2, "discount": 0.9, "advantages": "raw", "vectorization": "async"}
    arguments = {
        **ARGUMENTS,
        **{"policy": "MlpPolicy", "env": "metarl/BernoulliBandit-v0", "env_kwargs": {}, "policy_kwargs": {"hidden": []}},
        **{"outer": {"name": "TRPO", "max_kl": 0.02}, "rollouts": rollouts},
    }
    meta = {"theta": torch.ones(10, dtype=torch.float64), "rule.table": TABLE}
    agent = load(tmp_path, version_1(arguments=arguments, meta=meta, outer={}, best=None))
    assert agent.source.rollouts == metarl.Rollouts(trajectories=2, discount=0.9, advantages="raw", vectorisation="workers")
    assert agent.outer == TRPO(max_kl=0.02)
    assert agent.best is None


def test_hypergradients_keep_beta_and_the_last_direction(tmp_path):
    arguments = {
        **ARGUMENTS,
        "rule_kwargs": {"rate": 0.1, "learned": "global", "steps": 2},
        "outer": {"name": "HypergradientDescent", "optimizer": "Adam", "trpo": None},
    }
    table = torch.tensor([[0.07]], dtype=torch.float64)
    outer = {
        "beta": torch.tensor(0.004, dtype=torch.float64),
        "last": {"theta": 3 * THETA},
        "optimizer": {"state": {0: adam(THETA)}, "param_groups": []},
    }
    content = version_1(
        agent="AlphaMAML", arguments=arguments, meta={"theta": THETA, "rule.table": table}, outer=outer, best=None
    )
    agent = load(tmp_path, content)
    assert agent.outer == HypergradientDescent(optimizer="Adam")
    assert agent.outer_state["beta"] == 0.004
    assert torch.equal(agent.outer_state["last"]["theta"], 3 * THETA)
    assert set(agent.outer_state["optimizer"]) == {"theta"}
    agent.learn(1)


def of_images(agent, rule, rule_kwargs, adapted, meta, classifier, optimizer, **changes):
    arguments = {
        **ARGUMENTS,
        **{
            "env": "tests/Images-v0",
            "env_kwargs": {},
            "policy_kwargs": {"hidden": [2]},
            "rule": rule,
            "rule_kwargs": rule_kwargs,
        },
        **{"adapted": adapted, "batch_norm": "running", "inner_clip": None},
        "outer": {"name": "Pretraining", "learning_rate": 0.01, "optimizer": "Adam", "optimizer_kwargs": {}},
        **changes,
    }
    running = {
        "norm1.running_mean": torch.tensor([1.0, 2.0], dtype=torch.float64),
        "norm1.running_var": torch.tensor([3.0, 4.0], dtype=torch.float64),
        "norm1.num_batches_tracked": torch.tensor(9),
    }
    best = {"score": 0.5, "iteration": 2, "meta": meta, "running": {**running, "norm1.num_batches_tracked": torch.tensor(7)}}
    outer = {"classifier": classifier, "optimizer": {"state": optimizer, "param_groups": []}}
    return version_1(agent=agent, arguments=arguments, meta=meta, running=running, outer=outer, best=best)


def numbers(*shape, start=0.0):
    size = torch.Size(shape).numel()
    return (start + torch.arange(size, dtype=torch.float64)).view(shape)


# of the perceptron on 1x4x4 images: 16 * 2 + 2 for the layer, 2 + 2 for its norm, and a head of 2 * 2 + 2
BODY, HEAD = 38, 6


def test_pretraining_keeps_its_classifier_and_averages(tmp_path):
    meta = {"theta": numbers(HEAD), "shared": numbers(BODY)}
    classifier = {"head.weight": numbers(4, 2), "head.bias": numbers(4)}
    optimizer = {0: adam(meta["theta"], 1.0), 1: adam(meta["shared"], 2.0), 2: adam(classifier["head.weight"], 3.0)}
    content = of_images("Finetuning", "Adam", {"rate": 0.02}, "head", meta, classifier, optimizer)
    agent = load(tmp_path, content)
    assert type(agent) is metarl.Finetuning
    assert agent.options.rate == 0.02
    assert torch.equal(agent.meta["shared"], meta["shared"])
    assert agent.meta["running.norm1.running_var"].tolist() == [3, 4]
    assert agent.best["meta"]["running.norm1.num_batches_tracked"] == 7
    assert torch.equal(agent.outer_state["classifier"]["head.weight"], classifier["head.weight"])
    steps = {name: state["step"].item() for name, state in agent.outer_state["optimizer"].items()}
    assert steps == {"theta": 1, "shared": 2, "classifier.head.weight": 3}
    agent.learn(1)
    assert agent.meta["running.norm1.num_batches_tracked"] == 10


def test_an_embedding_loses_the_head_that_nothing_used(tmp_path):
    meta = {"theta": numbers(HEAD, start=100), "shared": numbers(BODY)}
    classifier = {"head.weight": numbers(4, 2), "head.bias": numbers(4)}
    optimizer = {
        0: adam(meta["theta"], 1.0),
        1: adam(meta["shared"], 2.0),
        2: adam(classifier["head.weight"], 3.0),
        3: adam(classifier["head.bias"], 4.0),
    }
    agent = load(tmp_path, of_images("NearestNeighbour", "GradientDescent", {"rate": 0.1}, "head", meta, classifier, optimizer))
    assert type(agent) is metarl.NearestNeighbour
    assert torch.equal(agent.meta["theta"], numbers(BODY))
    assert torch.equal(agent.outer_state["classifier"]["weight"], classifier["head.weight"])
    steps = {name: state["step"].item() for name, state in agent.outer_state["optimizer"].items()}
    assert steps == {"theta": 2, "classifier.weight": 3, "classifier.bias": 4}
    agent.learn(1)


def test_a_rule_of_one_s_own_is_asked_for(tmp_path):
    with pytest.raises(CheckpointError, match=r"made with the rule 'Half': hand it in, load\(path, rule="):
        load(tmp_path, version_1(agent="Agent", arguments={**ARGUMENTS, "rule": "Half"}))
    agent = load(tmp_path, version_1(agent="Agent"))
    assert type(agent) is metarl.Agent
    assert agent.options.rule is rules.GradientDescent
    assert agent.options.rule_kwargs["learned"] == "step"


@pytest.mark.parametrize("entry", ["agent", "arguments", "meta", "outer", "generator", "device", "iteration", "best"])
def test_what_is_missing_is_named(entry, tmp_path):
    content = version_1()
    del content[entry]
    with pytest.raises(CheckpointError, match=f"version 1 is damaged: KeyError '{entry}'"):
        load(tmp_path, content)


def test_what_is_of_another_kind_is_named():
    for changes in ({"arguments": 3}, {"outer": [1]}, {"best": 3}, {"meta": 3}, {"arguments": {**ARGUMENTS, "outer": {}}}):
        with pytest.raises(CheckpointError, match="version 1 is damaged"):
            migration.current(version_1(**changes))
