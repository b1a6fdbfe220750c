"""What a run's log says: every number of an outer step under its own name, by hand where it can be."""

import pytest
import torch
from matplotlib.figure import Figure
from stable_baselines3.common.logger import KVWriter, Logger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import metarl
from metarl.agents.stable_baselines import StableBaselinesPPO
from metarl.clock import Clock
from metarl.logger import metrics, seconds_by_part
from metarl.outer import GradientDescent
from tests.small import LEARNING, small
from tests.toys import weight


class Kept(KVWriter):
    """Keeps what is logged, by iteration."""

    def __init__(self):
        self.rows = {}

    def write(self, key_values, key_excluded, step=0):
        self.rows[step] = dict(key_values)

    def close(self):
        pass


def logged(agent, *arguments, **options):
    """Learn, and return what was logged at which iteration."""
    kept = Kept()
    agent.set_logger(Logger(folder=None, output_formats=[kept]))
    agent.learn(*arguments, **options)
    return kept.rows


def line(**options):
    options = {"outer": GradientDescent(1 / 16, optimizer="SGD"), "rate": 0.25, "dtype": "float64", "device": "cpu", **options}
    options = {"env_kwargs": {"slopes": (1.0, 3.0)}, "meta_batch": 2, **options}
    return metarl.MAML(weight(0.0), "tests/Line-v0", **options)


def test_the_numbers_of_an_outer_step_by_hand():
    row = logged(line(inner_steps=2), 1)[1]
    expected = {
        # the slopes are 1 and 3, the query loss is 4 (w - slope)^2, and a step goes half of the way
        "loss/after_0_steps": 20.0,
        "loss/after_1_steps": 5.0,
        "loss/after_2_steps": 1.25,
        "train/query_loss": 1.25,
        "train/adaptation_gain": 18.75,  # a loss that falls is a gain
        "train/support_loss_before_step_1": 5.0,
        "train/support_loss_before_step_2": 1.25,
        "train/gradient_norm": 1.0,  # 8 (w'- slope) / 4, in the mean of -1/4 and -3/4
        "train/rate_mean": 0.25,
        "train/rate_std": 0.0,
        "time/iterations": 1,
        "time/total_tasks": 2,
    }
    assert {name: row[name] for name in expected} == pytest.approx(expected)
    timed = {"time/tasks_per_second", "time/iterations_per_second"}
    timed |= {f"time/{part}_seconds" for part in ("sampling", "adaptation", "outer_step")}
    assert all(row[name] > 0 for name in timed)


def test_a_return_that_rises_is_a_gain():
    agent = metarl.MAML(
        weight(0.0),
        "tests/Level-v0",
        env_kwargs={"lengths": (1, 3)},
        meta_batch=2,
        rollouts=metarl.Rollouts(trajectories=2),
        outer="policy_gradient",
        device="cpu",
    )
    row = logged(agent, 1)[1]
    # returns of 1 and 3, whatever is done; no task has a signal
    assert (row["return/after_0_steps"], row["return/after_1_steps"], row["train/adaptation_gain"]) == (2, 2, 0)
    assert (row["length/after_0_steps"], row["without_signal/after_1_steps"]) == (2, 1)
    assert row["entropy/after_0_steps"] == pytest.approx(1.4189385)  # of a Gaussian of deviation one
    assert row["time/total_env_steps"] == agent.num_timesteps == 2 * 2 * 4
    agent.adapter.measure = lambda meta, adapted, experience: {"return": torch.tensor([steps.pop(0)])}
    steps = [-7.0, -4.0]
    outcome = agent.outer.step(agent.adapter, agent.meta, agent.outer_state, *tasks_of(agent))[0]
    assert metrics(agent.adapter, agent.meta, outcome)["train/adaptation_gain"] == 3


def tasks_of(agent):
    return agent.source.sample(2, "train", agent.streams["tasks"]), agent.streams["noise"]


@pytest.mark.parametrize("kind", LEARNING)
def test_every_kind_of_agent_logs_what_matters(kind):
    agent = small(kind)
    row = logged(agent, 1)[1]
    wanted = {"train/query_loss", "train/gradient_norm", "time/iterations", f"time/total_{agent.adapter.problem.unit}"}
    pretrained = "pretraining" in type(agent).default_outer if type(agent).default_outer else False
    if pretrained:
        wanted |= {"train/pretraining_accuracy"}
    elif isinstance(agent.outer, StableBaselinesPPO):  # adapts to no task
        wanted = wanted - {"train/gradient_norm"} | {"train/value_loss", "train/approx_kl", "train/clip_fraction"}
        assert ("return/after_0_steps" in row) == (agent.outer.n_steps is None)  # episodes of ten steps have ended
    elif kind == "learned optimiser":  # takes a segment of the steps
        wanted |= {"train/steps_taken", "train/last_loss"}
    else:
        metric, steps = agent.adapter.problem.metric, range(agent.adapter.steps + 1)
        takes_steps = agent.adapter.stage == "inner step"
        wanted |= {f"{metric}/after_{step}_steps" for step in steps} if takes_steps else {f"{metric}/adapted"}
        assert ("train/adaptation_gain" in row) == (takes_steps and len(steps) > 1)
    if "TRPO" in kind:
        wanted |= {"train/kl", "train/line_search_steps", "train/step_accepted", "train/surrogate_improvement"}
    if "Alpha" in kind:
        wanted |= {"train/alpha", "train/beta"}
    if "LSTM" in kind:
        wanted |= {"train/forget_gate_of_step_1", "train/input_gate_of_step_1"}
    assert wanted <= set(row)


def test_intervals_between_entries():
    rows = logged(line(), 7, log_interval=3)
    assert list(rows) == [3, 6]
    assert [row["time/iterations"] for row in rows.values()] == [3, 6]
    assert "loss/after_1_steps" in rows[3]


def test_a_validation_is_logged_at_the_iteration_that_it_is_of():
    agent = line(inner_steps=0)
    rows = logged(agent, 5, log_interval=5, validate_every=2, validation_tasks=2)
    assert list(rows) == [2, 4, 5]
    assert set(rows[2]) == {"validation/loss"}
    assert "validation/loss" not in rows[5]
    # every step goes half of the way to the mean slope, 2; the validation slopes are 2 and 6
    assert rows[2]["validation/loss"] == pytest.approx(2 * ((1.5 - 2) ** 2 + (1.5 - 6) ** 2))


def test_pictures_come_when_they_shall(tmp_path, monkeypatch):
    agent = line(tensorboard_log=str(tmp_path))
    drawn = []
    monkeypatch.setattr(agent, "pictures", lambda: drawn.append(agent.iteration) or {"adaptation": Figure((1, 1))})
    agent.learn(5, picture_every=2, log_interval=2, tb_log_name="run")
    assert drawn == [2, 4]
    events = EventAccumulator(str(tmp_path / "run_1"))
    events.Reload()
    assert events.Tags()["images"] == ["pictures/adaptation"]
    assert [event.step for event in events.Images("pictures/adaptation")] == [2, 4]
    assert [event.step for event in events.Scalars("train/query_loss")] == [2, 4]


def test_seconds_are_shared_out_among_the_parts(monkeypatch):
    clock, adapter = Clock(), line().adapter
    monkeypatch.setattr(clock, "read", lambda: {"sampling": 2.0, "adaptation": 3.0, "outer step": 9.0})
    adapter.clock = clock
    assert seconds_by_part(adapter, 2) == {
        "time/sampling_seconds": 1.0,
        "time/adaptation_seconds": 1.5,
        "time/outer_step_seconds": 2.0,
    }


def test_a_clock_adds_up_and_begins_again(monkeypatch):
    times = iter([0.0, 1.0, 10.0, 12.5, 20.0, 20.5])
    monkeypatch.setattr("metarl.clock.perf_counter", lambda: next(times))
    clock = Clock()
    for name in ("a", "b", "a"):
        with clock(name):
            pass
    assert clock.read() == {"a": 1.5, "b": 2.5}
    assert clock.read() == {}


def test_a_summary_says_what_the_bar_shows():
    agent = line()
    agent.learn(1)
    assert agent.summary() == "loss 20.00 -> 5.00"
