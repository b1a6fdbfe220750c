"""Tabular MDPs: what a step does by hand, what tasks are drawn from, and what is no task."""

import gymnasium as gym
import numpy as np
import pytest

from metarl.envs.tabular_mdp import cumulative
from metarl.errors import ConfigError, TaskError

NAME = "metarl/TabularMDP-v0"


def ring(states=3):
    """Action 0 stays, action 1 goes to the next state; the mean reward is 10 times the state, and 1 more for going."""
    transitions, rewards = np.zeros((states, 2, states)), np.zeros((states, 2))
    for state in range(states):
        transitions[state, 0, state] = transitions[state, 1, (state + 1) % states] = 1
        rewards[state] = 10 * state, 10 * state + 1
    return {"transitions": transitions, "rewards": rewards}


def test_a_step_by_hand():
    env = gym.make(NAME, states=3, actions=2, task=ring())
    observation, _ = env.reset(seed=5)
    rng = np.random.default_rng(5)
    assert observation.tolist() == [1, 0, 0]
    for action, state, mean in ((0, 0, 0), (1, 1, 1), (1, 2, 11), (0, 2, 20), (1, 0, 21)):
        observation, reward, terminated, truncated, _ = env.step(action)
        rng.random()  # the next state's
        assert reward == mean + rng.standard_normal()
        assert observation.tolist() == np.eye(3)[state].tolist()
        assert not terminated
        assert not truncated


def test_an_episode_has_ten_steps_and_starts_in_the_first_state():
    env = gym.make(NAME)
    for _ in range(3):
        observation, _ = env.reset()
        assert observation.argmax() == 0
        assert [env.step(env.action_space.sample())[3] for _ in range(10)] == [False] * 9 + [True]


def test_states_follow_with_their_probabilities_and_never_without_one():
    task = ring(4)
    task["transitions"][:] = [0, 0.3, 0.7, 0]
    env = gym.make(NAME, states=4, actions=2, task=task, max_episode_steps=4000)
    env.reset(seed=0)
    visits = sum(env.step(0)[0] for _ in range(4000))
    np.testing.assert_allclose(visits / 4000, [0, 0.3, 0.7, 0], atol=0.03)
    assert visits[0] == visits[3] == 0


def test_probabilities_whose_sum_is_rounded_have_no_gap():
    row = np.array([0.3, 0.7 - 1e-6, 0], np.float32)
    assert cumulative(row).tolist()[1:] == [1, 1]


def test_tasks_are_drawn_from_the_papers_prior():
    env = gym.make(NAME, states=4, actions=3).unwrapped
    env.reset(seed=0)
    tasks = env.sample_tasks(2000)
    transitions, rewards = (np.stack([task[name] for task in tasks]) for name in ("transitions", "rewards"))
    np.testing.assert_allclose(transitions.mean(0), 1 / 4, atol=0.02)
    np.testing.assert_allclose(transitions.var(0), (1 / 4 * 3 / 4) / 5, atol=0.005)  # of a flat Dirichlet distribution
    np.testing.assert_allclose(rewards.mean(), 1, atol=0.02)
    np.testing.assert_allclose(rewards.std(), 1, atol=0.02)


def test_what_is_no_task_is_named_in_a_line():
    env = gym.make(NAME).unwrapped
    env.reset(seed=0)
    (task,) = env.sample_tasks(1)
    halved = {**task, "transitions": task["transitions"].copy()}
    halved["transitions"][3, 2] /= 2
    with pytest.raises(TaskError, match=r"task\['transitions'\]\[3, 2\] has the sum 0.5"):
        env.reset(options={"task": halved})
    with pytest.raises(
        TaskError, match=r"task\['transitions'\]=numbers from 9 to 9 is outside .* numbers from 0 to 0 to"
    ) as said:
        env.reset(options={"task": {**task, "transitions": np.full((10, 5, 10), 9)}})
    assert len(str(said.value)) < 200
    with pytest.raises(TaskError, match=r"task\['rewards'\]=.* is outside"):
        env.reset(options={"task": {**task, "rewards": np.full((10, 5), np.nan)}})
    with pytest.raises(ConfigError, match="states=0 must be above zero"):
        gym.make(NAME, states=0)


def test_a_picture_follows_the_state():
    env = gym.make(NAME, states=3, actions=2, task=ring(), render_mode="rgb_array")
    env.reset(seed=0)
    first = env.render()
    assert first.shape == (400, 400, 3)
    env.step(1)
    assert (env.render() != first).any()
    with pytest.raises(ConfigError, match="render_mode='ansi' must be None or 'rgb_array'"):
        type(env.unwrapped)(render_mode="ansi")
