"""Bernoulli bandits, and what every family with random numbers keeps as a batch: rows are single environments."""

import gymnasium as gym
import numpy as np
import pytest
import torch

from metarl.errors import ConfigError, TaskError
from metarl.sampling.vector import make_vector_env

BANDIT = "metarl/BernoulliBandit-v0"
RANDOM = {BANDIT: {"arms": 3, "max_episode_steps": 7}, "metarl/TabularMDP-v0": {"states": 4, "actions": 3}}
ROWS = 4


@pytest.mark.parametrize("name", RANDOM)
class TestBatch:
    def test_rows_are_single_environments_to_the_last_bit(self, name):
        vector = gym.make_vec(name, num_envs=ROWS, dtype="float64", **RANDOM[name])
        tasks = vector.unwrapped.sample_tasks(ROWS)
        singles = [gym.make(name, **RANDOM[name]) for _ in range(ROWS)]
        observations, _ = vector.reset(seed=3, options={"task": tasks})
        for row, env in enumerate(singles):
            np.testing.assert_array_equal(env.reset(seed=3 + row, options={"task": tasks[row]})[0], observations[row])
        over, rng, ends = np.zeros(ROWS, bool), np.random.default_rng(0), 0
        for _ in range(25):  # some episodes: rows go on with their random numbers
            actions = rng.integers(3, size=ROWS)
            observations, rewards, terminated, truncated, _ = vector.step(actions)
            for row, env in enumerate(singles):
                expected = (env.reset()[0], 0.0, False, False) if over[row] else env.step(actions[row])[:4]
                np.testing.assert_array_equal(observations[row], expected[0])
                assert (rewards[row], terminated[row], truncated[row]) == expected[1:]
                over[row] = expected[2] or expected[3]
            ends += truncated.sum()
        assert ends >= 2 * ROWS

    def test_agents_see_the_same_through_either_vectorisation(self, name):
        env, like = gym.make(name, **RANDOM[name]), torch.empty(0, dtype=torch.float32)
        env.reset(seed=0)
        (one, two), seeds = env.unwrapped.sample_tasks(2), torch.tensor([5, 9, 5, 7])
        seen = []
        for how in ("auto", "sync"):
            vector = make_vector_env(env, ROWS, like, how)
            steps = [vector.tensor_reset([one, one, two, two], seeds)]
            for step in range(vector.horizon):
                steps += vector.tensor_step(torch.tensor([0, 1, 2, step % 3]))
            seen.append(steps)
        for left, right in zip(*seen, strict=True):
            assert left.dtype == right.dtype
            torch.testing.assert_close(left, right, rtol=0, atol=0)

    def test_rows_that_are_not_seeded_differ_and_go_on(self, name):
        vector = gym.make_vec(name, num_envs=50, **RANDOM[name]).unwrapped
        vector.family.reset(seed=0)
        vector.np_random = np.random.default_rng(0)
        tasks = vector.sample_tasks(1) * 50
        runs = []
        for _ in range(2):
            vector.tensor_reset(tasks)
            runs.append(torch.stack([vector.tensor_step(torch.zeros(50, dtype=torch.long))[1] for _ in range(5)]))
        assert len({tuple(row) for row in runs[0].T.tolist()}) > 3
        assert not torch.equal(*runs)

    def test_a_seed_fixes_all_rows(self, name):
        runs = []
        for _ in range(2):
            vector = gym.make_vec(name, num_envs=ROWS, **RANDOM[name])
            observations, info = vector.reset(seed=1)
            runs.append([observations, list(info["task"]), *vector.step(np.zeros(ROWS, int))[:4]])
        np.testing.assert_equal(*runs)

    def test_one_task_per_row(self, name):
        vector = gym.make_vec(name, num_envs=3, **RANDOM[name])
        with pytest.raises(TaskError, match="2 tasks were given for 3 sub-environments"):
            vector.reset(options={"task": vector.unwrapped.sample_tasks(2)})


def test_arms_of_a_batch_pay_with_their_probabilities():
    vector = gym.make_vec(BANDIT, num_envs=2000, arms=3).unwrapped
    vector.tensor_reset([{"means": [0, 1, 0.3]}] * 2000, torch.arange(2000))
    means = [vector.tensor_step(torch.full((2000,), arm))[1].mean().item() for arm in (0, 1, 2)]
    assert means[:2] == [0, 1]
    assert means[2] == pytest.approx(0.3, abs=0.03)


@pytest.mark.parametrize("pulls", [1, 50])
def test_the_time_limit_is_the_number_of_pulls(pulls):
    env, vector = (make(BANDIT, max_episode_steps=pulls) for make in (gym.make, gym.make_vec))
    env.reset(seed=0)
    vector.reset(seed=0)
    for ends in ([env.step(0)[3] for _ in range(pulls)], [bool(vector.step([0])[3]) for _ in range(pulls)]):
        assert ends == [False] * (pulls - 1) + [True]


def test_a_picture_counts_the_pulls():
    env = gym.make(BANDIT, arms=3, render_mode="rgb_array")
    env.reset(seed=0)
    first = env.render()
    assert first.shape == (300, 400, 3)
    env.step(2)
    second = env.render()
    assert (second != first).any()
    env.reset(options={"task": {"means": [0.1, 0.2, 0.9]}})
    assert (env.render() != second).any()
    with pytest.raises(ConfigError, match="render_mode='human' must be None or 'rgb_array'"):
        type(env.unwrapped)(render_mode="human")
    with pytest.raises(ConfigError, match="arms=0 must be above zero"):
        gym.make(BANDIT, arms=0)
