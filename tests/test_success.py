"""Success rates: whatever environment says in ``info`` that its task is done is counted, in logs and in evaluations."""

import gymnasium as gym
import numpy as np
import pytest

import metarl
from metarl.outer import GradientDescent
from metarl.sampling.row_stepper import RowStepper
from tests.simulators import make_walk
from tests.test_logger import logged


class Lamp(metarl.TaskFamily):
    """A lamp that is lit in the task's step, and out again in the next; every other task's never is."""

    observation_space = gym.spaces.Box(-1, 1, (1,), np.float32)
    action_space = gym.spaces.Discrete(2)
    bounds = {"step": (np.array(-1), np.array(3))}

    def __init__(self, name="success"):
        self.name = name

    def draw_tasks(self, n, rng):
        return {"step": np.array([2, -1] * n)[:n]}

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.take_task(options)
        self.time = 0
        return np.zeros(1, np.float32), {"task": self.task}

    def step(self, action):
        self.time += 1
        told = {self.name: self.time == int(self.task["step"]), "unstable": self.time == 3}
        return np.zeros(1, np.float32), float(action), False, False, {"task": self.task, **told}


gym.register("tests/Lamp-v0", Lamp, max_episode_steps=3)


def learner(cls=metarl.MAML, rollouts=None, **options):
    options = {"meta_batch": 4, "policy_kwargs": {"hidden": (2,)}, "outer": GradientDescent(), "device": "cpu", **options}
    return cls("MlpPolicy", "tests/Lamp-v0", rollouts=rollouts or metarl.Rollouts(trajectories=2), **options)


@pytest.mark.parametrize("name", ["success", "is_success"])
def test_a_row_has_succeeded_from_the_step_on_in_which_it_did(name):
    rows = RowStepper(lambda: gym.wrappers.TimeLimit(Lamp(name), 5))
    rows.reset([{"step": step} for step in (1, 3, -1)], range(3))
    steps = [rows.step(np.zeros(3, int)) for _ in range(3)]
    assert [step.succeeded.tolist() for step in steps] == [[1, 0, 0], [1, 0, 0], [1, 1, 0]]
    assert [step.unstable.tolist() for step in steps] == [[0] * 3, [0] * 3, [1] * 3]
    rows.reset([{"step": 2}], [0])
    assert rows.step(np.zeros(1, int)).succeeded.tolist() == [0]


def test_who_does_not_say_is_not_counted():
    rows = RowStepper(make_walk)
    rows.reset([{}], [0])
    steps = rows.step(np.zeros((1, 1)))
    assert (steps.succeeded.tolist(), steps.unstable.tolist()) == ([-1], [-1])
    agent = metarl.MAML("MlpPolicy", "metarl/Navigation2D-v0", meta_batch=1, rollouts=metarl.Rollouts(trajectories=1))
    assert agent.evaluate(1).success is None
    assert not [name for name in logged(agent, 1)[1] if "success" in name or "unstable" in name]


@pytest.mark.parametrize("max_envs", [None, 3])
def test_the_log_has_the_rate_after_each_inner_step(max_envs):
    row = logged(learner(rollouts=metarl.Rollouts(trajectories=2, max_envs=max_envs)), 1)[1]
    assert (row["success/after_0_steps"], row["success/after_1_steps"]) == (0.5, 0.5)
    assert row["train/unstable_episodes"] == (16 if max_envs is None else 18)  # the last block has been filled up with a row


def test_the_log_of_trials_has_the_rate_of_each_episode():
    row = logged(learner(metarl.RL2, episodes=2, hidden=2), 1)[1]
    assert (row["success/adapted"], row["success_of_episode_1/adapted"], row["success_of_episode_2/adapted"]) == (0.5,) * 3


@pytest.mark.parametrize(("cls", "options"), [(metarl.MAML, {}), (metarl.MetaSGD, {}), (metarl.RL2, {"hidden": 2})])
def test_an_evaluation_has_the_rates_with_intervals(cls, options):
    evaluation = learner(cls, **options).evaluate(4, repeats=2)
    success = evaluation.success
    assert (success.metric, success.steps, success.stage) == ("success", evaluation.steps, evaluation.stage)
    assert success.values.tolist() == [[1, 1], [0, 0], [1, 1], [0, 0]]
    np.testing.assert_allclose(success.ci95, 1.96 * np.sqrt(1 / 3) / 2)
    assert evaluation.as_dict()["success"] == success.as_dict()
    assert str(success) in str(evaluation)


def test_an_oracle_has_the_rates_too():
    assert learner(metarl.Oracle, outer=None).evaluate(4).success.values.tolist() == [[1], [0], [1], [0]]


def test_a_validation_logs_the_rate_beside_the_return():
    assert logged(learner(), 1, validate_every=1, validation_tasks=2)[1]["validation/success"] == 0.5
