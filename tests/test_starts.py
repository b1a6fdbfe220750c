"""The table of starts on a new task: each number is of the policy after so many environment steps of the task."""

from dataclasses import replace

import numpy as np
import pytest

from metarl.commands.measure import run_of
from metarl.commands.tables import starts_on_a_new_task as starts
from metarl.errors import ConfigError
from tests import worlds  # noqa: F401 - registers its environments

BUDGETS = (0, 50, 100)


def small_run(row, **changes):
    run = run_of(starts.TABLE, starts.TABLE.row(row), 0, 1.0)
    small = {"env": "tests/Navigation2D-v0", "policy_kwargs": {"hidden": (4,)}, "iterations": 1, "validate_every": 0}
    rollouts = {**run.rollouts, "trajectories": 5}
    return replace(run, **{**small, "rollouts": rollouts, "device": "cpu", **changes})


@pytest.mark.parametrize("row", [row.name for row in starts.TABLE.runs()])
def test_a_start_is_read_at_every_budget(row, monkeypatch):
    run = small_run(row)
    if run.agent == "pretrained-policy":
        run = replace(run, outer_options={**run.outer_options, "n_envs": 2, "batch_size": 20, "n_epochs": 1})
    else:
        run = replace(run, options={**run.options, **({"meta_batch": 2} if run.agent == "maml" else {})})
    learned = []
    learn = starts.PPO.learn
    monkeypatch.setattr(
        starts.PPO, "learn", lambda model, steps, **kwargs: learned.append(steps) or learn(model, steps, **kwargs)
    )
    numbers = starts.read(starts.TABLE.row(row), run, 0.3, BUDGETS)
    assert list(numbers) == [starts.name_of(line, steps) for line in starts.LINES[run.agent] for steps in BUDGETS]
    assert all(len(one.values) == 3 and one.ci95 > 0 for one in numbers.values())
    assert learned[-6:] == [50, 50] * 3
    lines = [[numbers[starts.name_of(line, steps)].values for steps in BUDGETS] for line in starts.LINES[run.agent]]
    assert all(line[0] != line[1] != line[2] for line in lines)
    if run.agent == "maml":  # before anything is learned both are the same policy, seen in other trajectories
        assert lines[0][0] == pytest.approx(lines[1][0], abs=4)


def test_the_first_column_is_the_start_and_a_later_one_what_was_learned_in_between():
    agent = small_run(starts.SCRATCH).make()
    tasks = agent.source.sample(2, "test", agent.streams["tasks"])
    short, long = (starts.by_ppo(agent, agent.source, tasks, budgets) for budgets in ((0, 50), (0, 50, 100)))
    np.testing.assert_array_equal(short, long[:, :2])
    again = starts.by_inner_steps(agent, tasks, (0, 100))
    assert again.shape == (2, 2)
    with pytest.raises(ConfigError, match="must be multiples of the 50 environment steps of an inner step"):
        starts.by_inner_steps(agent, tasks, (0, 60))
