"""Other libraries train on our families by ``gym.make`` with nothing special: Stable-Baselines3, and CleanRL's scripts."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import wrappers
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env

from metarl.registry import FAMILIES

MADE_OF_MANY = ("metarl/ML10-v0", "metarl/ML25-v0", "metarl/ML45-v0")
"""Of the environments that ML1 is made of, whose tasks take a minute to make."""
IDS = [entry.name for entry in FAMILIES.entries() if entry.line.startswith("policies:") and entry.name not in MADE_OF_MANY]
STEPS = 6


def require(env):
    """Skip where what simulates a family is not installed."""
    if "locomotion" in str(FAMILIES[env].target):
        pytest.importorskip("mujoco")
    elif "metaworld" in str(FAMILIES[env].target):
        pytest.importorskip("metaworld")


def test_the_families_of_policies_are_all_here():
    assert len(IDS) >= 11
    assert {"metarl/Navigation2D-v0", "metarl/TabularMDP-v0", "metarl/AntGoal-v0"} <= set(IDS)


@pytest.mark.parametrize("env", IDS)
def test_ppo_of_stable_baselines_learns(env):
    require(env)
    made = make_vec_env(env, 2, env_kwargs={"max_episode_steps": STEPS}, seed=0)
    model = PPO("MlpPolicy", made, n_steps=8, batch_size=8, n_epochs=1, seed=0, device="cpu")
    before = model.policy.action_net.weight.clone()
    model.learn(16)
    assert not before.equal(model.policy.action_net.weight)
    lengths = [episode["l"] for episode in model.ep_info_buffer]
    assert len(lengths) >= 2
    assert max(lengths) <= STEPS
    made.close()


@pytest.mark.parametrize("env", IDS)
def test_the_wrappers_of_cleanrls_ppo_fit(env):
    require(env)

    def make():
        made = wrappers.RecordEpisodeStatistics(gym.make(env, max_episode_steps=STEPS))
        if not isinstance(made.action_space, gym.spaces.Box):
            return made
        made = wrappers.NormalizeObservation(wrappers.ClipAction(wrappers.FlattenObservation(made)))
        made = wrappers.TransformObservation(made, lambda seen: np.clip(seen, -10, 10), made.observation_space)
        return wrappers.TransformReward(wrappers.NormalizeReward(made, gamma=0.99), lambda reward: np.clip(reward, -10, 10))

    rows = SyncVectorEnv([make] * 2, autoreset_mode=AutoresetMode.SAME_STEP)
    seen, _ = rows.reset(seed=1)
    assert isinstance(rows.single_action_space, (gym.spaces.Box, gym.spaces.Discrete))
    ended = np.zeros(2, dtype=int)
    for _ in range(2 * STEPS):
        assert seen.shape == (2, *rows.single_observation_space.shape)
        assert np.isfinite(seen).all()
        seen, rewards, terminated, truncated, infos = rows.step(rows.action_space.sample())
        assert np.isfinite(rewards).all()
        over = terminated | truncated
        assert ("final_info" in infos) == over.any()
        for row in np.flatnonzero(over):
            episode = infos["final_info"]["episode"]
            assert np.isfinite(episode["r"][row])
            assert 0 < episode["l"][row] <= STEPS
        ended += over
    assert (ended >= 2).all()
    rows.close()
