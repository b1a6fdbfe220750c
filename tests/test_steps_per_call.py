"""Several outer steps of one call are so many single ones on their parts of the tasks."""

from functools import partial

import pytest
import torch
from stable_baselines3.common.callbacks import BaseCallback

import metarl
from metarl import processes
from metarl.agents import training
from metarl.agents.callbacks import SaveCallback
from metarl.agents.side_by_side import learn_side_by_side
from metarl.errors import ConfigError, NonFiniteError
from metarl.outer.at_once import fitting_tasks
from metarl.outer.meta_gradient import Batch
from metarl.outer.optimisers import Optimiser
from tests.worlds import gathered

TOGETHER = 3


def learner(steps_per_call=TOGETHER, env_kwargs=None, loop=metarl.GradientDescent, **outer):
    return metarl.MetaSGD(
        "MLP",
        "metarl/Sine-v0",
        env_kwargs=env_kwargs,
        rate=0.05,
        meta_batch=2,
        dtype="float64",
        device="cpu",
        policy_kwargs={"hidden": (5,), "init": "torch"},
        outer=loop(0.01, steps_per_call=steps_per_call, **outer),
    )


OPTIONS = {
    "Adam": {},
    "clipped, and halved on the way": {"halve_every": 2, "clip_value": 0.1, "clip_norm": 0.2, "clip_task": 0.3},
    "AdamW that keeps the largest": {
        "optimizer": "AdamW",
        "optimizer_kwargs": {"weight_decay": 0.1, "amsgrad": True, "betas": (0.5, 0.7), "eps": 1e-3},
    },
    "Adam that decays": {"optimizer_kwargs": {"weight_decay": 0.1, "maximize": True}},
    "task by task, steps computed again": {"tasks_at_once": 1, "recompute_steps": True},
}


@pytest.mark.parametrize("outer", OPTIONS.values(), ids=OPTIONS)
def test_a_call_is_so_many_single_steps(outer):
    agent = learner(**outer)
    loop, adapter = agent.outer, agent.adapter
    generator = torch.Generator().manual_seed(0)
    together, (meta, state) = (agent.meta, agent.outer_state), (agent.meta, agent.outer_state)
    for _ in range(2):  # from no state, and from one
        drawn = agent.source.sample(2 * TOGETHER, "train", generator)
        batch = loop.gather(adapter, meta, drawn, generator, report=False)
        outcome, after = loop.improve_often(adapter, *together, batch, generator)
        together = outcome.meta, after
        for step in range(TOGETHER):
            rows = slice(2 * step, 2 * step + 2)
            support = [type(part)(*(leaf[rows] for leaf in part)) for part in batch.experiences]
            single, state = loop.improve(
                adapter, meta, state, Batch(support, type(batch.query)(*(leaf[rows] for leaf in batch.query)), 2), generator
            )
            meta = single.meta
        close = partial(torch.testing.assert_close, rtol=1e-9, atol=1e-12)
        close(outcome.meta, meta)
        close(outcome.loss, single.loss)
        close(outcome.metrics, single.metrics)
        close(after["optimizer"], state["optimizer"])
        assert after["steps"] == state["steps"]
    assert not torch.equal(meta["theta"], agent.meta["theta"])


class Calls(BaseCallback):
    """Notes the iteration after every outer step."""

    def _on_training_start(self):
        self.seen = []

    def _on_step(self):
        self.seen.append(self.model.iteration)
        return True


@pytest.mark.parametrize(
    ("plan", "expected"),
    [
        ({"log_interval": 100}, [3, 3, 3, 6, 6, 6, 9, 9, 9, 10]),
        ({"log_interval": 5}, [3, 3, 3, 4, 5, 6, 9, 9, 9, 10]),
        ({"log_interval": 100, "validate_every": 6, "validation_tasks": 2}, [3, 3, 3, 6, 6, 6, 9, 9, 9, 10]),
        ({"log_interval": 100, "validate_every": 4, "validation_tasks": 2}, [3, 3, 3, 4, 5, 6, 7, 8, 9, 10]),
        ({"log_interval": 100, "picture_every": 4}, [3, 3, 3, 4, 5, 6, 7, 8, 9, 10]),
    ],
    ids=["nothing between", "logged", "validated at a call's end", "validated between", "pictured between"],
)
def test_what_is_logged_or_validated_ends_a_call(plan, expected, monkeypatch):
    monkeypatch.setattr(metarl.MetaSGD, "pictures", lambda self: {})
    agent, calls = learner(), Calls()
    agent.learn(10, calls, **plan)
    assert calls.seen == expected
    assert agent.num_timesteps == 20


@pytest.mark.parametrize("step", [1, 2])
def test_on_tasks_that_are_fixed_a_run_in_calls_is_a_run_in_single_steps(step, tmp_path):
    """Of a set of tasks that are taken one after the other, nothing depends on how many are drawn at once."""
    sets = {"task_sets": {"train": 30, "validation": 2, "test": 2}}
    single, together = (learner(count, env_kwargs=sets).learn(9 + step, log_interval=100) for count in (1, TOGETHER))
    assert single.num_timesteps == together.num_timesteps == 2 * (9 + step)
    torch.testing.assert_close(together.meta, single.meta, rtol=1e-9, atol=1e-12)


def test_a_call_begins_at_a_multiple_so_that_a_resumed_run_is_an_uninterrupted_one(tmp_path):
    whole, parts, calls = learner().learn(12, log_interval=100), learner(), Calls()
    parts.learn(6, log_interval=100)
    resumed = type(parts).load(parts.save(tmp_path / "half.pt"))
    resumed.learn(6, calls, log_interval=100)
    assert calls.seen == [9, 9, 9, 12, 12, 12]
    assert all(torch.equal(value, resumed.meta[name]) for name, value in whole.meta.items())
    resumed.learn(1, log_interval=100)
    resumed.learn(5, calls, log_interval=100)
    assert calls.seen == [14, 15, 18, 18, 18]


def test_a_checkpoint_is_written_once_by_the_call_that_passes_its_step(tmp_path, monkeypatch):
    agent, saved = learner(), []
    monkeypatch.setattr(type(agent), "save", lambda self, path: saved.append(self.iteration))
    agent.learn(12, SaveCallback(tmp_path / "x.pt", 4), log_interval=100)
    assert saved == [6, 9, 12]


def test_a_refused_call_leaves_the_agent_as_it_was(monkeypatch):
    agent = learner()
    before, streams = dict(agent.meta), training.stream_states(agent)
    honest = type(agent.outer).gradient

    def third_is_not_finite(self, *args, **kwargs):
        third_is_not_finite.calls += 1
        loss, norm, gradients = honest(self, *args, **kwargs)
        return (loss * float("nan") if third_is_not_finite.calls == 2 else loss), norm, gradients

    third_is_not_finite.calls = 0
    monkeypatch.setattr(type(agent.outer), "gradient", third_is_not_finite)
    with pytest.raises(NonFiniteError, match="the query loss or meta-gradient is not finite"):
        agent.learn(3, log_interval=100)
    assert agent.iteration == 0
    assert agent.outer_state == {"optimizer": {}, "steps": 0}
    assert all(torch.equal(value, before[name]) for name, value in agent.meta.items())
    assert all(torch.equal(value, streams[name]) for name, value in training.stream_states(agent).items())


def test_room_is_that_of_one_step(monkeypatch):
    seen = []

    def noted(adapter, meta, experiences, query, count, *rest):
        seen.append((len(query.targets), len(experiences[0].targets), count))
        return fitting_tasks(adapter, meta, experiences, query, count, *rest)

    monkeypatch.setattr("metarl.outer.gradient_descent.fitting_tasks", noted)
    learner().learn(3, log_interval=100)
    assert seen == [(2, 2, 2)]


def test_a_call_is_compiled_in_one_piece():
    agent = learner()
    batch = gathered(agent)  # one step's tasks: two steps of one task
    state = agent.outer._optimiser.traced_state(agent.meta)
    args = agent.adapter, agent.meta, state, torch.ones(2, dtype=torch.float64), batch.experiences, batch.query
    fast = torch.compile(agent.outer.several, backend="eager", fullgraph=True, dynamic=False)
    count = batch.count // 2
    expected = agent.outer.several(*args, count, count, False)
    torch.testing.assert_close(fast(*args, count, count, False), expected, rtol=1e-9, atol=1e-12)


class OwnMove(metarl.GradientDescent):
    """Somebody's own."""

    def move(self, meta, gradients, state):
        return meta, state


def test_one_s_own_move_is_called_where_it_is_compiled_too(monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda function, **_: function)
    agent = learner(1, loop=OwnMove, compile=True)
    before = dict(agent.meta)
    agent.learn(1, log_interval=2)
    assert all(torch.equal(value, before[name]) for name, value in agent.meta.items())


def test_meta_parameters_that_a_state_does_not_name_begin_at_their_first_step():
    agent = learner()
    values = {name: value.detach() for name, value in agent.meta.items()}
    gradients = {name: torch.ones_like(value) for name, value in values.items()}
    optimiser = Optimiser("Adam", 0.01, {})
    _, state = optimiser.step({"theta": values["theta"]}, gradients, {})
    agent.outer_state = {"optimizer": state, "steps": 1}
    agent.learn(3, log_interval=100)
    assert agent.outer_state["optimizer"]["rule.alpha"]["step"] == 3
    assert agent.outer_state["optimizer"]["theta"]["step"] == 4


def test_what_cannot_share_a_call_is_named(monkeypatch):
    with pytest.raises(ConfigError, match="steps_per_call=0 must be above zero"):
        learner(0)
    with pytest.raises(ConfigError, match=r"steps_per_call=3 needs an optimiser .* optimizer='SGD', .* use Adam or AdamW"):
        learner(optimizer="SGD")
    with pytest.raises(ConfigError, match=r"optimizer_kwargs=\{'fused': True\} cannot: use .* without capturable, .* fused"):
        learner(optimizer_kwargs={"fused": True})
    with pytest.raises(ConfigError, match=r"steps_per_call=3 would not call OwnMove\.move"):
        learner(loop=OwnMove)
    with pytest.raises(
        ConfigError, match=r"log_interval=3 leaves no room for calls of steps_per_call=3 steps, .* such as log_interval=300"
    ):
        learner().learn(9, log_interval=3)
    with pytest.raises(ConfigError, match="steps_per_call=3 has no effect side by side"):
        learn_side_by_side([learner()], 3)
    with pytest.raises(ConfigError, match="steps_per_call=3 needs a predictor: a policy is sampled after every step"):
        metarl.MAML("MlpPolicy", "metarl/Navigation2D-v0", outer=metarl.GradientDescent(steps_per_call=3))
    monkeypatch.setattr(processes, "count", lambda: 2)
    with pytest.raises(ConfigError, match="steps_per_call=3 is for one process"):
        learner()


def test_running_averages_of_batch_norm_are_named(image_data):
    with pytest.raises(ConfigError, match="steps_per_call=2 keeps no running averages of batch norm"):
        metarl.MAML(
            "Conv4",
            "metarl/Omniglot-v0",
            env_kwargs={"root": image_data, "ways": 2, "shots": 1, "queries": 1},
            batch_norm="running",
            outer=metarl.GradientDescent(steps_per_call=2),
        )
