"""Seeds trained side by side are the seeds trained one by one."""

import shutil

import pytest
import torch

import metarl
from metarl.agents.side_by_side import learn_side_by_side
from metarl.errors import ConfigError
from tests.worlds import flat

SETS = {"train": 50, "validation": 20}
PLAIN = {"inner_clip": None, "outer": metarl.GradientDescent()}


def make(seed, cls=metarl.TURTLE, **changes):
    options = {"inner_steps": 2, "inner_clip": 10.0, "policy_kwargs": {"hidden": (5,), "init": "torch"}, **changes}
    options = {"outer": metarl.GradientDescent(clip_task=0.5, clip_norm=0.3), "env_kwargs": {"task_sets": SETS}, **options}
    return cls("MLP", "metarl/Sine-v0", seed=seed, dtype="float64", device="cpu", **options)


@pytest.mark.parametrize("env_kwargs", [{"task_sets": SETS}, {}], ids=["fixed tasks", "endless tasks"])
@pytest.mark.parametrize("cls", [metarl.TURTLE, metarl.MetaLSTM, metarl.MAML])
def test_side_by_side_is_one_by_one(cls, env_kwargs):
    together, alone = ([make(seed, cls, env_kwargs=env_kwargs) for seed in range(3)] for _ in range(2))
    assert learn_side_by_side(together, 5, validate_every=2, validation_tasks=20) == [5, 5, 5]
    learn_side_by_side(together, 2)
    for ours, theirs in zip(together, alone, strict=True):
        theirs.learn(5, validate_every=2, validation_tasks=20).learn(2)
        torch.testing.assert_close(flat(ours.meta), flat(theirs.meta), rtol=0, atol=1e-12)
        assert ours.best["iteration"] == theirs.best["iteration"]
        assert ours.best["score"] == pytest.approx(theirs.best["score"], rel=1e-9)
        assert (ours.iteration, ours.num_timesteps) == (7, theirs.num_timesteps)
        # the optimiser's state too: learning on alone is the same again
        torch.testing.assert_close(flat(ours.learn(2).meta), flat(theirs.learn(2).meta), rtol=0, atol=1e-12)


def test_one_that_is_not_finite_stops_alone():
    agents = [make(seed, metarl.MAML, **PLAIN) for seed in range(3)]
    with torch.no_grad():
        agents[1].meta["theta"].fill_(float("inf"))
    generator = agents[1].generator.get_state()
    assert learn_side_by_side(agents, 3) == [3, 0, 3]
    assert flat(agents[1].meta).isinf().all()
    assert torch.equal(agents[1].generator.get_state(), generator)
    assert not agents[1].outer.state_dict()["state"]
    for seed in (0, 2):
        torch.testing.assert_close(flat(agents[seed].meta), flat(make(seed, metarl.MAML, **PLAIN).learn(3).meta))


def test_agents_that_were_interrupted_are_as_after_their_last_step():
    agents = [make(seed) for seed in range(2)]

    def interrupt(step):
        if step == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        learn_side_by_side(agents, 5, on_step=interrupt)
    for seed, agent in enumerate(agents):
        assert agent.iteration == 2
        torch.testing.assert_close(flat(agent.learn(2).meta), flat(make(seed).learn(4).meta), rtol=0, atol=1e-12)


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler here")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_compiled_side_by_side_is_eager():
    def learned(compile):
        outer = metarl.GradientDescent(clip_task=0.5, clip_norm=0.3, compile=compile)
        agents = [make(seed, outer=outer, hidden=(4,)) for seed in range(2)]
        learn_side_by_side(agents, 3)
        return [flat(agent.meta) for agent in agents]

    for fast, eager in zip(learned(True), learned(False), strict=True):
        torch.testing.assert_close(fast, eager, rtol=1e-9, atol=1e-12)


def test_only_what_differs_in_seed_can_learn_side_by_side():
    with pytest.raises(ConfigError, match="empty"):
        learn_side_by_side([], 1)
    with pytest.raises(ConfigError, match=r"agents differ in .*inner_steps"):
        learn_side_by_side([make(0, metarl.MAML), make(1, metarl.MAML, inner_steps=3)], 1)
    with pytest.raises(ConfigError, match="agents differ in rule"):
        learn_side_by_side([make(0), make(0, metarl.MetaLSTM)], 1)
    with pytest.raises(ConfigError, match="one agent twice"):
        learn_side_by_side([agent := make(0), agent], 1)
    with pytest.raises(ConfigError, match="optimizer='NAdam' does not treat every number by itself"):
        learn_side_by_side([make(0, outer=metarl.GradientDescent(optimizer="NAdam"))], 1)
    own = metarl.MAML(torch.nn.Linear(1, 1), "metarl/Sine-v0")
    with pytest.raises(ConfigError, match="policy: only agents that were given it by name"):
        learn_side_by_side([own, metarl.MAML(torch.nn.Linear(1, 1), "metarl/Sine-v0", seed=1)], 1)
    with pytest.raises(ConfigError, match="MAML with TRPO cannot learn side by side"):
        learn_side_by_side([metarl.MAML("MlpPolicy", "metarl/Navigation2D-v0")], 1)


def test_a_task_s_gradient_is_clipped_before_the_mean():
    wide, narrow = (make(0, metarl.MAML, outer=metarl.GradientDescent(clip_task=clip)) for clip in (1e6, 1e-3))
    tasks = wide.world.sample(4, "train", wide.generator)
    found = {}
    for name, agent in {"wide": wide, "narrow": narrow, "none": make(0, metarl.MAML, outer=metarl.GradientDescent())}.items():
        _, _, gradients = agent.outer.gradient(agent.inner, agent.meta, [tasks.support] * 2, tasks.query)
        found[name] = gradients["theta"]
    torch.testing.assert_close(found["wide"], found["none"], rtol=1e-9, atol=1e-12)
    by_hand = torch.zeros_like(found["none"])
    for task in range(4):
        own = type(tasks)(*(type(part)(*(tensor[task : task + 1] for tensor in part)) for part in tasks))
        _, _, gradients = wide.outer.gradient(wide.inner, wide.meta, [own.support] * 2, own.query)
        by_hand += gradients["theta"].clamp(-1e-3, 1e-3) / 4
    torch.testing.assert_close(found["narrow"], by_hand, rtol=1e-9, atol=1e-15)
