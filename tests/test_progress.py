"""Progress: a bar on a terminal, lines elsewhere."""

import io

import pytest
from rich.console import Console

import metarl
from metarl import progress
from metarl.agents import callbacks
from metarl.errors import ConfigError


class Model:
    iteration, num_timesteps, device = 0, 0, "cpu"

    def summary(self):
        return f"loss {self.iteration}.00 -> 0.50"


def run(monkeypatch, iterations, seconds, terminal, done=None, before=0):
    """Return what is shown of a run whose iterations take so many seconds each."""
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    console = Console(file=io.StringIO(), force_terminal=terminal, width=100)
    callback = callbacks.ProgressCallback(before + iterations, console, done=before)
    callback.model = Model()
    callback.on_training_start({}, {})
    for i in range(iterations if done is None else done):
        now[0] += seconds
        callback.model.iteration = i + 1
        assert callback.on_step()
    callback.on_training_end()
    return console.file.getvalue()


@pytest.mark.parametrize(
    ("iterations", "seconds", "said"),
    [
        (200, 10, [*range(3, 200, 3), 200]),  # every 30 seconds, which take less than a tenth
        (200, 0.5, range(20, 201, 20)),  # every tenth, which takes less than 30 seconds
        (5, 100, range(1, 6)),
        (1000, 0.001, [1000]),  # at the end at least
    ],
)
def test_without_a_terminal_there_is_a_line_now_and_then(monkeypatch, iterations, seconds, said):
    lines = run(monkeypatch, iterations, seconds, terminal=False).splitlines()
    assert lines == [f"{i}/{iterations} loss {i}.00 -> 0.50 ({i * seconds:.0f} s)" for i in said]


def test_a_run_that_stops_early_says_where(monkeypatch):
    assert run(monkeypatch, 100, 0.01, terminal=False, done=7) == "7/100 loss 7.00 -> 0.50 (0 s)\n"
    assert run(monkeypatch, 100, 1, terminal=False, done=0) == ""


def test_a_resumed_run_counts_on(monkeypatch):
    assert run(monkeypatch, 1, 60, terminal=False, before=9) == "10/10 loss 1.00 -> 0.50 (60 s)\n"


def test_on_a_terminal_there_is_a_bar(monkeypatch):
    shown = run(monkeypatch, 20, 1, terminal=True)
    assert "20/20" in shown
    assert "loss 20.00 -> 0.50" in shown
    assert "(20 s)" not in shown


def test_learning_stops_after_so_many_minutes_of_the_process(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(callbacks, "process_time", lambda: now[0])
    stop = callbacks.StopAfter(0.5)
    stop.model = Model()
    stop.on_training_start({}, {})
    goes_on = []
    for now[0] in (101.0, 129.0, 130.5):
        goes_on.append(stop.on_step())
    assert goes_on == [True, True, False]
    monkeypatch.setattr(callbacks.processes, "mean", lambda spent: spent - 1)  # of several processes, all end together
    assert stop.on_step()
    with pytest.raises(ConfigError, match="minutes=0 must be above zero"):
        callbacks.StopAfter(0)


def test_parts_of_long_work_are_counted_as_they_come_back(monkeypatch):
    said = []
    monkeypatch.setattr(progress.Meter, "advance", lambda self, steps=1, text="": said.append(steps))
    assert list(progress.tracked(["ab", "c"], 3, len)) == ["ab", "c"]
    assert said == [2, 1]


def test_the_bar_is_gone_when_an_evaluation_fails(monkeypatch):
    """Before the error is told, which it would be drawn over."""
    agent = metarl.MAML("MLP", "metarl/Sine-v0", policy_kwargs={"hidden": (4,)}, device="cpu")
    closed = []
    monkeypatch.setattr(progress.Meter, "close", lambda self: closed.append(self))

    def fail(*_):
        raise ConfigError("no")

    monkeypatch.setattr(agent.adapter.problem, "collect", fail)
    with pytest.raises(ConfigError, match="no") as kept:
        agent.evaluate(3, progress_bar=True)
    assert len(closed) == 1, kept
