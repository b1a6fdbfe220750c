"""Seeds trained side by side are the seeds trained one by one."""

import pytest
import torch

import metarl
from metarl.agents.side_by_side import learn_side_by_side
from metarl.errors import ConfigError
from metarl.outer import GradientDescent
from metarl.outer.optimisers import ELEMENTWISE
from tests.small import LEARNING, small
from tests.worlds import flat, make


def assert_alike(ours, theirs):
    for name, value in theirs.meta.items():
        torch.testing.assert_close(ours.meta[name], value, rtol=0, atol=1e-10)
    assert (ours.iteration, ours.num_timesteps) == (theirs.iteration, theirs.num_timesteps)
    assert (ours.best is None) == (theirs.best is None)
    if ours.best is not None:
        assert ours.best["iteration"] == theirs.best["iteration"]
        assert ours.best["score"] == pytest.approx(theirs.best["score"], rel=1e-9)
    for name in ("tasks", "noise"):
        assert torch.equal(ours.streams[name].get_state(), theirs.streams[name].get_state())


@pytest.mark.parametrize("kind", [kind for kind in LEARNING if kind != "Baseline-finetune"])
def test_side_by_side_is_one_by_one(kind):
    together, alone = ([small(kind, seed=seed) for seed in (0, 1)] for _ in range(2))
    assert learn_side_by_side(together, 2, validate_every=2, validation_tasks=2) == [2, 2]
    for ours, theirs in zip(together, alone, strict=True):
        theirs.learn(2, log_interval=10, validate_every=2, validation_tasks=2)
        assert_alike(ours, theirs)
    # the outer loop's state too: learning on alone is the same again
    assert_alike(together[1].learn(1, log_interval=10), alone[1].learn(1, log_interval=10))


@pytest.mark.parametrize("optimizer", ELEMENTWISE)
def test_every_elementwise_optimiser_takes_all_runs_in_one_step(optimizer, monkeypatch):
    outer = GradientDescent(0.01, optimizer=optimizer)
    together, alone = ([small("MAML", seed=seed, outer=outer) for seed in (0, 1)] for _ in range(2))
    learn_side_by_side(together[:1], 1)
    monkeypatch.setattr(GradientDescent, "improve", lambda *_: pytest.fail("not one run after the other"))
    learn_side_by_side(together[1:], 1)
    learn_side_by_side(together, 2)
    monkeypatch.undo()
    for ours, theirs in zip(together, alone, strict=True):
        assert_alike(ours, theirs.learn(3, log_interval=10))


def test_runs_may_draw_other_shots():
    options = {"env_kwargs": {"train_shots": (1, 3)}, "support_batch": None}
    together, alone = ([small("MAML on batches of images", seed=seed, **options) for seed in range(2)] for _ in range(2))
    learn_side_by_side(together, 3)
    for ours, theirs in zip(together, alone, strict=True):
        assert_alike(ours, theirs.learn(3, log_interval=10))


def test_a_fixed_set_of_tasks_is_passed_through_as_alone():
    options = {
        "env_kwargs": {"task_sets": {"train": 5, "validation": 4}},
        "outer": GradientDescent(clip_task=0.5, clip_norm=0.3),
    }
    together, alone = ([small("TURTLE", seed=seed, **options) for seed in range(3)] for _ in range(2))
    learn_side_by_side(together, 4, validate_every=2, validation_tasks=4)
    for ours, theirs in zip(together, alone, strict=True):
        assert_alike(ours, theirs.learn(4, log_interval=10, validate_every=2, validation_tasks=4))


@pytest.mark.parametrize("kind", ["MAML", "Alpha MAML", "fine-tuning"])
def test_one_that_is_not_finite_stops_alone(kind):
    agents = [small(kind, seed=seed) for seed in range(3)]
    name = "shared" if kind == "fine-tuning" else "theta"
    agents[1].meta[name] = torch.full_like(agents[1].meta[name], torch.inf)
    before, state = dict(agents[1].meta), agents[1].outer_state
    streams = {key: generator.get_state() for key, generator in agents[1].streams.items()}
    assert learn_side_by_side(agents, 2) == [2, 0, 2]
    assert all(agents[1].meta[key] is value for key, value in before.items())
    assert agents[1].outer_state is state
    assert all(torch.equal(generator.get_state(), streams[key]) for key, generator in agents[1].streams.items())
    for seed in (0, 2):
        assert_alike(agents[seed], small(kind, seed=seed).learn(2, log_interval=10))
    assert learn_side_by_side([agents[1]], 1) == [0]


def test_agents_that_were_interrupted_are_as_after_their_last_step():
    agents = [small("MAML", seed=seed) for seed in range(2)]

    def interrupt(step):
        if step == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        learn_side_by_side(agents, 5, on_step=interrupt)
    for seed, agent in enumerate(agents):
        assert agent.iteration == 2
        assert_alike(agent.learn(1), small("MAML", seed=seed).learn(3))


def test_only_what_differs_in_seed_can_learn_side_by_side():
    with pytest.raises(ConfigError, match="empty"):
        learn_side_by_side([], 1)
    with pytest.raises(ConfigError, match=r"agents differ in .*inner_steps"):
        learn_side_by_side([small("MAML"), small("MAML", inner_steps=3)], 1)
    with pytest.raises(ConfigError, match=r"agents differ in .*class"):
        learn_side_by_side([small("LSTM"), small("enhanced LSTM")], 1)
    with pytest.raises(ConfigError, match="agents differ in outer"):
        learn_side_by_side([small("MAML"), small("MAML", seed=1, outer=GradientDescent(0.5))], 1)
    with pytest.raises(ConfigError, match="agents differ in rule"):
        learn_side_by_side([make("sine", "Meta-SGD"), make("sine", "LSTM")], 1)
    with pytest.raises(ConfigError, match="one agent twice"):
        learn_side_by_side([agent := small("MAML"), agent], 1)
    with pytest.raises(ConfigError, match="iterations=0"):
        learn_side_by_side([agent], 0)
    modules = [metarl.MAML(torch.nn.Linear(1, 1), "metarl/Sine-v0", seed=seed) for seed in (0, 1)]
    with pytest.raises(ConfigError, match="policy: only agents that were given it by name"):
        learn_side_by_side(modules, 1)
    with pytest.raises(ConfigError, match=r"learns in its own way: call learn\(\) of each"):
        learn_side_by_side([small("from scratch")], 1)
    sampled = [small("MAML by policy gradient", seed=s, rollouts=metarl.Rollouts(trajectories=2 + s)) for s in (0, 1)]
    with pytest.raises(ConfigError, match="agents differ in rollouts"):
        learn_side_by_side(sampled, 1)


def test_numbers_are_the_runs_own():
    agents = [small("MAML", seed=seed) for seed in (0, 1)]
    learn_side_by_side(agents, 1)
    assert not torch.equal(flat(agents[0].meta), flat(agents[1].meta))
    agents[0].meta["theta"].zero_()
    assert agents[1].meta["theta"].abs().sum() > 0
