"""The baselines by what they are defined to do; every kind's contract is in test_agents."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import metarl
from metarl.adapters.base import shared
from metarl.errors import CheckpointError, ConfigError
from metarl.networks import CosineHead
from metarl.outer import Pretraining
from tests.small import small
from tests.worlds import flat, images

KINDS = ["from scratch", "fine-tuning", "Baseline++", "nearest neighbour", "Baseline-finetune"]


@pytest.mark.parametrize("kind", KINDS)
def test_it_predicts_labels_and_is_judged_by_accuracy(kind):
    agent, env = small(kind), images()
    evaluation = agent.evaluate(4)
    assert evaluation.metric == "accuracy"
    assert ((evaluation.values >= 0) & (evaluation.values <= 1)).all()
    observation, _ = env.reset(seed=0)
    labels, _ = agent.predict(observation)
    assert env.action_space.contains(labels)


@pytest.mark.parametrize("kind", KINDS[1:])
def test_pretraining_tells_the_training_classes_apart(kind):
    agent = small(kind, outer=Pretraining(0.01), policy_kwargs={"hidden": (8,)})
    metarl.Agent.learn(agent, 60, log_interval=100)
    examples = agent.source.examples(64, torch.Generator().manual_seed(9))
    logits, _ = agent.adapter.classify(agent.meta, agent.outer_state["classifier"], examples.inputs)
    assert logits.shape == (64, 4)
    assert (logits.argmax(1) == examples.targets).double().mean() > 0.9


def test_training_from_scratch_learns_nothing_before_a_task():
    agent = small("from scratch", inner_steps=40, rate=0.05)
    before = flat(agent.meta)
    agent.learn(5)
    assert torch.equal(before, flat(agent.meta))
    assert agent.iteration == 0
    evaluation = agent.evaluate(10)
    assert evaluation.steps == tuple(range(0, 41, 4))
    assert evaluation.mean[-1] > evaluation.mean[0] + 0.2


@pytest.mark.parametrize(("kind", "head"), [("fine-tuning", nn.Linear), ("Baseline++", CosineHead)])
def test_finetuning_moves_the_head_alone(kind, head):
    agent = small(kind)
    layer = agent.adapter.learner._structure["batch"].get_submodule("head")
    assert type(layer) is head
    assert {name.partition(".")[0] for name in agent.adapter.learner.layout.names} == {"head"}
    assert not {name for name in agent.adapter.learner.shared_layout.names if name.startswith("head")}
    episodes = agent.source.sample(2, "test", agent.streams["tasks"])
    theta, _ = agent.adapter.adapt(agent.meta, episodes, agent.streams["noise"]).adapted[-1]
    assert theta.shape == (2, len(agent.meta["theta"]))
    assert not torch.equal(theta[0], agent.meta["theta"])


def test_the_nearest_neighbour_is_the_nearest():
    agent = small("nearest neighbour").learn(2)
    episodes = agent.source.sample(1, "test", agent.streams["tasks"])
    meta, learner = agent.meta, agent.adapter.learner
    averages = {name.removeprefix("running."): value for name, value in meta.items() if name.startswith("running.")}
    support, query = (learner(meta["theta"], shared(meta), part.inputs[0], averages) for part in episodes[:2])
    cosines = functional.cosine_similarity(query[:, None], support[None], dim=-1)
    expected = episodes.support.targets[0][cosines.argmax(1)]
    observation = {"support_inputs": episodes.support.inputs[0], "support_targets": episodes.support.targets[0]}
    assert torch.equal(torch.tensor(agent.adapt(observation).predict(episodes.query.inputs[0])), expected)
    assert "head" not in " ".join(learner.shapes)


def test_tuning_takes_the_best_rate_on_validation_tasks(monkeypatch):
    agent = small("Baseline-finetune")
    agent.RATES, agent.DECAYS = (0.5, 0.25, 0.1), (1.0, 0.0)
    asked = []

    def score(tasks, split):
        rates = [agent.adapter.rates(agent.meta, step)[0].item() for step in range(3)]
        asked.append((tasks, split, [round(rate, 4) for rate in rates]))
        best = rates[0] == 0.25 and rates[1] == 0.125  # a quarter, halved in the second step
        return metarl.Evaluation("accuracy", np.array([[0.0, float(best)]]), (0, 3))

    monkeypatch.setattr(agent, "evaluate", score)
    assert agent.tune(7) is agent
    assert [entry[:2] for entry in asked] == [(7, "validation")] * 6
    assert asked[2][2] == [0.25, 0.125, 0.0833]
    assert [agent.adapter.rates(agent.meta, step)[0].item() for step in (0, 1)] == [0.25, 0.125]
    with pytest.raises(ConfigError, match="tasks=0 must be above zero"):
        agent.tune(0)


def test_what_was_tuned_is_not_kept_for_later_learning():
    agent, plain = small("Baseline-finetune").learn(1), small("Baseline-finetune").learn(1)
    agent.RATES, agent.DECAYS = (0.5,), (0.0,)
    agent.tune(2).learn(1, validate_every=1, validation_tasks=2)
    plain.learn(1, validate_every=1, validation_tasks=2)
    assert agent.best["score"] == plain.best["score"]
    np.testing.assert_array_equal(agent.evaluate(2).values, plain.evaluate(2).values)


def test_inner_steps_see_batches_of_the_support_set():
    agent = small("from scratch", support_batch=3)
    episodes = agent.source.sample(2, "train", agent.streams["tasks"])
    drawn = agent.adapter.experiences(episodes, agent.streams["noise"])
    assert len(drawn) == 3
    assert not torch.equal(drawn[0].inputs, drawn[1].inputs)
    assert drawn[0].inputs.shape == (2, 3, 1, 4, 4)
    for task in range(2):
        for image, label in zip(drawn[0].inputs[task], drawn[0].targets[task], strict=True):
            alike = (episodes.support.inputs[task] == image).flatten(1).all(1)
            assert (episodes.support.targets[task][alike] == label).all()
            assert alike.any()


def test_no_inner_steps_is_learning_on_the_query_sets():
    agent = small(
        "MAML on batches of images", inner_steps=0, batch_norm="batch", outer=metarl.GradientDescent(1.0, optimizer="SGD")
    )
    episodes = agent.source.sample(2, "train", torch.Generator().manual_seed(0))
    outcome, _ = agent.outer.step(agent.adapter, agent.meta, agent.outer_state, episodes, agent.streams["noise"])
    learner, theta = agent.adapter.learner, agent.meta["theta"]

    def loss(theta):
        outputs = [learner(theta, theta.new_zeros(0), inputs) for inputs in episodes.query.inputs]
        return sum(functional.cross_entropy(o, t) for o, t in zip(outputs, episodes.query.targets, strict=True)) / 2

    torch.testing.assert_close(theta - outcome.meta["theta"], torch.func.grad(loss)(theta))
    assert outcome.loss.item() == pytest.approx(loss(theta).item())


def test_evaluation_elsewhere():
    agent = small("from scratch")
    ours = agent.evaluate(3)
    assert agent.evaluate(3, env="tests/Images-v0", env_kwargs={"queries": 4}).values.shape == ours.values.shape
    np.testing.assert_array_equal(agent.evaluate(3, env=gym.make("tests/Images-v0")).values, ours.values)
    with pytest.raises(ConfigError, match="give it the same image size and ways"):
        agent.evaluate(3, env="tests/Images-v0", env_kwargs={"ways": 4, "queries": 1, "split": "train"})
    with pytest.raises(ConfigError, match="has no few-shot episodes"):
        agent.evaluate(2, env="metarl/Navigation2D-v0")
    policy = metarl.MAML("MlpPolicy", "metarl/Navigation2D-v0")
    with pytest.raises(ConfigError, match="has the observation_space"):
        policy.evaluate(2, env="metarl/BernoulliBandit-v0")
    with pytest.raises(ConfigError, match="has no tasks"):
        policy.evaluate(2, env="CartPole-v1")


def test_a_checkpoint_s_pretraining_needs_the_classes_it_was_of(tmp_path):
    path = small("fine-tuning").learn(1).save(tmp_path / "agent")
    env = images()
    env.splits["train"] = (0, 1, 2)
    with pytest.raises(CheckpointError, match="told 4 classes apart, but the training split has 3"):
        metarl.Finetuning.load(path, env=env, device="cpu")


def test_a_users_own_rule_can_be_pretrained():
    agent = small("MAML on batches of images", outer=Pretraining())
    before = flat(agent.meta)
    agent.learn(1)
    assert not torch.equal(before, flat(agent.meta))
    assert agent.evaluate(2).steps == (0, 1)


def test_agents_see_the_same_tasks_whatever_their_steps_draw(monkeypatch):
    monkeypatch.setattr("metarl.agents.episodes.DRAWN_AT_ONCE", 3)
    seen = []
    for kind in ("from scratch", "nearest neighbour"):
        agent, drawn = small(kind), []
        draw = agent.source.family.sample_episodes
        keep = lambda *args, draw=draw, drawn=drawn, **kwargs: drawn.append(draw(*args, **kwargs)) or drawn[-1]  # noqa: E731
        agent.source.family.sample_episodes = keep
        agent.evaluate(8)
        seen.append(torch.cat([episodes.query.inputs for episodes in drawn]))
    assert len(seen[0]) == 8
    assert torch.equal(*seen)


def test_what_does_not_fit_is_named():
    with pytest.raises(ConfigError, match="takes no inner steps"):
        small("nearest neighbour").evaluate(2, steps=1)
    with pytest.raises(ConfigError, match="must end in a CosineHead"):
        metarl.BaselinePlusPlus(torch.nn.Linear(2, 2), "tests/Images-v0")
    with pytest.raises(ConfigError, match="is not Pretraining, and Finetuning learns by nothing else"):
        metarl.Finetuning("MLP", "tests/Images-v0", outer=metarl.GradientDescent())
    with pytest.raises(ConfigError, match="are for predictors"):
        metarl.Finetuning("MlpPolicy", "metarl/Navigation2D-v0")
