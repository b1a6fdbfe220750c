"""The baselines by what they are defined to do, and pretraining."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from torch.nn import functional

import metarl
from metarl.errors import CheckpointError, ConfigError, NonFiniteError
from metarl.outer import Pretraining
from metarl.rules import GradientDescent
from tests.worlds import flat, images

AGENTS = {
    "TrainFromScratch": metarl.TrainFromScratch,
    "Finetuning": metarl.Finetuning,
    "BaselinePlusPlus": metarl.BaselinePlusPlus,
    "NearestNeighbour": metarl.NearestNeighbour,
    "BaselineFinetune": metarl.BaselineFinetune,
}
PRETRAINED = [name for name in AGENTS if name != "TrainFromScratch"]


def make(kind, **changes):
    options = {"policy_kwargs": {"hidden": (8,)}, "device": "cpu", **changes}
    if kind not in ("NearestNeighbour",):
        options.setdefault("inner_steps", 5)
    return AGENTS[kind]("MLP", options.pop("env", "tests/Images-v0"), **options)


@pytest.mark.parametrize("kind", AGENTS)
class TestContract:
    def test_it_learns_evaluates_predicts_and_is_loaded_again(self, kind, tmp_path):
        agent = make(kind, seed=2).learn(3, validate_every=2, validation_tasks=4)
        again = metarl.Agent.load(agent.save(tmp_path / "agent"))
        assert type(again) is type(agent)
        assert torch.equal(flat(agent.meta), flat(again.meta))
        found = agent.evaluate(6)
        np.testing.assert_array_equal(found.values, again.evaluate(6).values)
        assert found.figure == "accuracy"
        env = images()
        observation, _ = env.reset(seed=0)
        labels, _ = agent.predict(observation)
        assert env.action_space.contains(labels)
        assert agent.pictures()

    def test_a_seed_fixes_it_and_pieces_are_one(self, kind):
        whole = make(kind).learn(4, validate_every=1, validation_tasks=4)
        pieces = make(kind).learn(1, validate_every=1, validation_tasks=4)
        if kind == "BaselineFinetune":
            pieces.tune(2)  # which later validations must not see
        pieces.learn(3, validate_every=1, validation_tasks=4)
        assert torch.equal(flat(whole.meta), flat(pieces.meta))
        assert (whole.best is None) == (kind == "TrainFromScratch")
        if whole.best is not None:
            assert (whole.best["iteration"], whole.best["score"]) == (pieces.best["iteration"], pieces.best["score"])
        np.testing.assert_array_equal(whole.evaluate(4).values, pieces.evaluate(4).values)


@pytest.mark.parametrize("kind", PRETRAINED)
def test_pretraining_tells_the_training_classes_apart(kind):
    agent = make(kind)
    before = agent.world.problem.learner.features(agent.parameters, torch.rand(2, 1, 4, 4))
    metarl.Agent.learn(agent, 150, log_interval=1000)
    examples = agent.world.examples(64, torch.Generator().manual_seed(9))
    meta = agent.meta
    logits = agent.world.problem.learner.pretrain(
        meta["theta"].detach(), meta.get("shared"), agent.outer._classifier, examples.inputs
    )
    assert agent.outer.classes == logits.shape[1] == 4
    assert (logits.argmax(1) == examples.targets).float().mean() > 0.9
    assert before.shape[1] == 8


def test_training_from_scratch_learns_nothing_before_a_task():
    agent = make("TrainFromScratch", inner_steps=60, rate=0.05)
    before = flat(agent.meta)
    agent.learn(5)
    assert torch.equal(before, flat(agent.meta))
    found = agent.evaluate(10)
    assert found.steps == tuple(range(0, 61, 6))
    assert found.mean[-1] > found.mean[0] + 0.2


@pytest.mark.parametrize("kind", ["Finetuning", "BaselinePlusPlus"])
def test_finetuning_moves_the_head_alone(kind):
    agent = make(kind)
    assert agent.world.problem.learner.layout.names[0] == "head.weight"
    episodes = agent.world.sample(2, "test", agent.generator)
    with torch.no_grad():
        adapted = agent.inner.adapt(agent.meta, episodes, agent.generator).adapted
    size = agent.meta["theta"].numel()
    assert torch.equal(adapted[:, size:], agent.meta["shared"].detach().expand(2, -1))
    assert not torch.equal(adapted[0, :size], agent.meta["theta"])


def test_the_nearest_neighbour_is_the_nearest():
    agent = make("NearestNeighbour").learn(2)
    episodes = agent.world.sample(1, "test", agent.generator)
    learner = agent.world.problem.learner
    support, query = (learner.features(agent.parameters, part.inputs[0]) for part in episodes)
    cosines = functional.cosine_similarity(query[:, None], support[None], dim=-1)
    expected = episodes.support.targets[0][cosines.argmax(1)]
    observation = {"support_inputs": episodes.support.inputs[0], "support_targets": episodes.support.targets[0]}
    assert torch.equal(torch.tensor(agent.adapt(observation).predict(episodes.query.inputs[0])), expected)


def test_tuning_takes_the_best_rate_on_validation_tasks():
    agent = make("BaselineFinetune")
    agent.RATES, agent.DECAYS = (1e-5, 0.5), (0.0,)
    metarl.Agent.learn(agent, 60, log_interval=100)
    agent.tune(20)
    scores = {}
    for rate in agent.RATES:
        agent.inner.rule = GradientDescent(agent.inner.rule.layout, rate=[rate] * 5)
        scores[rate] = agent.evaluate(20, split="validation").mean[-1]
    agent.tune(20)
    torch.testing.assert_close(agent.inner.rule.table[:, 0], torch.full((5,), max(scores, key=scores.get)))


def test_inner_steps_see_batches_of_the_support_set():
    agent = make("TrainFromScratch", support_batch=3)
    episodes = agent.world.sample(2, "train", agent.generator)
    drawn = agent.world.problem.collect(agent.meta["theta"], episodes, "support", agent.generator)
    assert drawn.inputs.shape == (2, 3, 1, 4, 4)
    for task in range(2):
        for image, label in zip(drawn.inputs[task], drawn.targets[task], strict=True):
            same = (episodes.support.inputs[task] == image).flatten(1).all(1)
            assert (episodes.support.targets[task][same] == label).all()
            assert same.any()


def test_what_cannot_be_pretrained_is_named():
    with pytest.raises(ConfigError, match="needs classes to tell apart"):
        metarl.Finetuning("MLP", "metarl/Sine-v0", batch_norm="batch")
    with pytest.raises(ConfigError, match="policies have none"):
        metarl.MAML("MlpPolicy", "metarl/Navigation2D-v0", outer=Pretraining())
    with pytest.raises(ConfigError, match="support_batch=0 must be above zero"):
        make("TrainFromScratch", support_batch=0)


def test_no_inner_steps_is_learning_on_the_query_sets():
    agent = metarl.MAML("MLP", "tests/Images-v0", inner_steps=0, policy_kwargs={"hidden": (4,)}, meta_batch=3, device="cpu")
    episodes = agent.world.sample(3, "train", agent.generator)
    loss, gradients = agent.outer.gradient(agent.inner, agent.meta, [], episodes.query)[::2]
    theta = agent.meta["theta"].detach()
    expected = torch.func.grad(lambda t: torch.vmap(agent.world.problem.loss)(t.expand(3, -1), episodes.query).mean())(theta)
    torch.testing.assert_close(gradients["theta"], expected)
    assert loss > 0


def test_parts_of_a_meta_batch_give_the_gradient_of_the_whole():
    found = []
    for at_once in (None, 2):
        outer = metarl.GradientDescent(tasks_at_once=at_once, clip_task=0.05)
        agent = metarl.MetaSGD(
            "MLP", "tests/Images-v0", outer=outer, policy_kwargs={"hidden": (4,)}, meta_batch=5, dtype="float64", device="cpu"
        )
        found.append(flat(agent.learn(2).meta))
    torch.testing.assert_close(*found, rtol=0, atol=1e-7)


def test_evaluation_elsewhere():
    agent = make("TrainFromScratch")
    ours = agent.evaluate(5)
    there = agent.evaluate(5, env="tests/Images-v0", env_kwargs={"queries": 4})
    assert there.values.shape == ours.values.shape
    assert agent.evaluate(5, env=gym.make("tests/Images-v0")).mean.tolist() == ours.mean.tolist()
    with pytest.raises(ConfigError, match="give it the same image size and ways"):
        agent.evaluate(5, env="tests/Images-v0", env_kwargs={"ways": 4, "queries": 1, "split": "train"})
    np.testing.assert_allclose(ours.median, np.median(ours.values, axis=0))
    assert ours.as_dict()["steps"] == list(range(6))


def test_batches_of_the_support_set_are_each_agents_own():
    agents = [metarl.MAML("MLP", "tests/Images-v0", support_batch=2, seed=seed) for seed in (0, 1)]
    with pytest.raises(ConfigError, match="each agent draws its own batches"):
        metarl.learn_side_by_side(agents, 1)


def test_a_validation_split_with_too_few_classes_is_said_before_the_work():
    agent = metarl.MAML("MLP", "tests/Images-v0", env_kwargs={"ways": 3}, policy_kwargs={"hidden": (4,)})
    with pytest.raises(ConfigError, match="ways=3 is more than the 2 classes of split 'validation'"):
        agent.learn(5, validate_every=5)
    assert agent.iteration == 0


def test_a_loaded_pretraining_goes_on_as_if_nothing_had_happened(tmp_path):
    agent = make("Finetuning").learn(3)
    again = metarl.Finetuning.load(agent.save(tmp_path / "agent"))
    assert torch.equal(flat(agent.learn(3).meta), flat(again.learn(3).meta))
    ours, theirs = (a.world.problem.learner.running for a in (agent, again))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    env = images()
    env.splits["train"] = (0, 1, 2)
    with pytest.raises(CheckpointError, match="told 4 classes apart, but the training split has 3"):
        metarl.Finetuning.load(tmp_path / "agent.pt", env=env)


def test_a_refused_step_of_pretraining_changes_nothing():
    agent = make("Finetuning").learn(2)
    with torch.no_grad():
        agent.meta["shared"][0] = float("nan")
    before = {name: value.clone() for name, value in agent.world.problem.learner.running.items()}
    with pytest.raises(NonFiniteError):
        agent.learn(1)
    assert all(torch.equal(agent.world.problem.learner.running[name], value) for name, value in before.items())


def test_a_users_own_rule_can_be_pretrained():
    agent = metarl.MAML("MLP", "tests/Images-v0", outer=Pretraining(), batch_norm="running", policy_kwargs={"hidden": (8,)})
    before = flat(agent.meta)
    agent.learn(3)
    assert not torch.equal(before, flat(agent.meta))
    assert agent.evaluate(3).steps == (0, 1)


def test_agents_see_the_same_tasks_whatever_their_steps_draw(monkeypatch):
    monkeypatch.setattr("metarl.agents.worlds.DRAWN_AT_ONCE", 3)
    seen = []
    for kind in ("TrainFromScratch", "NearestNeighbour"):
        agent, own = make(kind), []
        draw = agent.world.family.sample_episodes
        keep = lambda *args, draw=draw, own=own, **kwargs: own.append(draw(*args, **kwargs)) or own[-1]  # noqa: E731
        agent.world.family.sample_episodes = keep
        agent.evaluate(8)
        seen.append(torch.cat([episodes.query.inputs for episodes in own]))
    assert len(seen[0]) == 8
    assert torch.equal(*seen)


def test_what_does_not_fit_elsewhere_is_named():
    with pytest.raises(ConfigError, match="has no few-shot episodes"):
        make("TrainFromScratch").evaluate(2, env="metarl/Navigation2D-v0")
    policy = metarl.MAML("MlpPolicy", "metarl/Navigation2D-v0")
    with pytest.raises(ConfigError, match="has the observation_space"):
        policy.evaluate(2, env="metarl/BernoulliBandit-v0")
    with pytest.raises(ConfigError, match="has no tasks"):
        policy.evaluate(2, env="CartPole-v1")
    with pytest.raises(ConfigError, match="takes no inner steps"):
        make("NearestNeighbour").evaluate(2, steps=1)
    with pytest.raises(ConfigError, match="must end in a CosineHead"):
        metarl.BaselinePlusPlus(torch.nn.Linear(2, 2), "tests/Images-v0")


def test_without_inner_steps_there_is_no_picture_of_them():
    agent = metarl.MetaSGD("MLP", "tests/Images-v0", inner_steps=0, policy_kwargs={"hidden": (4,)})
    assert set(agent.pictures()) == {"episode"}
