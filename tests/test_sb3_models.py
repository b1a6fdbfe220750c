"""SB3 models that start at our policies, and agents that start at theirs: the same actor, to the last digit."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3 import A2C, DQN, PPO
from stable_baselines3.common.evaluation import evaluate_policy

import metarl
from metarl.errors import ConfigError
from tests import drawn  # noqa: F401 - registers its environments

SMALL = {
    "policy_kwargs": {"hidden": (5, 4), "activation": "tanh", "log_std": -0.5},
    "rollouts": metarl.Rollouts(trajectories=3),
}
IDS = {"continuous": "metarl/Navigation2D-v0", "discrete": "metarl/BernoulliBandit-v0"}


def parameters_of(model, observations):
    """Return SB3's distribution parameters, as ours has them."""
    with torch.no_grad():
        distribution = model.policy.get_distribution(torch.as_tensor(observations)).distribution
    if isinstance(distribution, torch.distributions.Categorical):
        return distribution.logits
    return torch.cat([distribution.mean, distribution.stddev.log()], dim=-1)


@pytest.mark.parametrize("algorithm", [PPO, A2C])
@pytest.mark.parametrize("kind", IDS)
def test_a_model_starts_at_the_policy_and_learns_on(kind, algorithm):
    agent = metarl.MAML("MlpPolicy", IDS[kind], seed=1, device="cpu", **SMALL)
    env = gym.make(IDS[kind])
    observations = np.stack([env.observation_space.sample() for _ in range(4)])
    model = agent.to_sb3(algorithm, env, n_steps=8, seed=0, device="cpu", **({"batch_size": 8} if algorithm is PPO else {}))
    ours = agent.adapter.apply(agent.meta, (agent.meta["theta"], {}), torch.as_tensor(observations))[0]
    if kind == "discrete":
        ours = ours.log_softmax(-1)
    torch.testing.assert_close(parameters_of(model, observations), ours)
    before = model.policy.action_net.weight.clone()
    model.learn(16)
    assert not torch.equal(model.policy.action_net.weight, before)


def test_a_model_starts_at_the_adapted_policy():
    agent = metarl.MAML("MlpPolicy", IDS["continuous"], seed=1, rate=0.5, device="cpu", **SMALL)
    env = gym.make(IDS["continuous"], task={"goal": [0.3, -0.2]})
    stream = agent.streams["adaptation"].get_state()
    adapted = agent.adapt(env)
    agent.streams["adaptation"].set_state(stream)
    model = agent.to_sb3(PPO, env, steps=1, device="cpu")
    assert not torch.equal(model.policy.action_net.weight, agent.to_sb3(PPO, env, device="cpu").policy.action_net.weight)
    observations = np.stack([env.observation_space.sample() for _ in range(4)])
    torch.testing.assert_close(parameters_of(model, observations), adapted(torch.as_tensor(observations)))


@pytest.mark.parametrize("kind", IDS)
def test_there_and_back_is_the_same_policy(kind):
    agent = metarl.MAML("MlpPolicy", IDS[kind], seed=1, device="cpu", **SMALL)
    model = agent.to_sb3(PPO, gym.make(IDS[kind]), device="cpu")
    back = metarl.MetaSGD.from_sb3(model, IDS[kind], seed=5, device="cpu")
    assert torch.equal(back.meta["theta"], agent.meta["theta"])
    assert back.policy_name == "MlpPolicy"  # a checkpoint needs nothing else


def test_parts_that_are_not_adapted_come_back_too():
    agent = metarl.MAML("MlpPolicy", IDS["continuous"], seed=1, adapted="head", device="cpu", **SMALL)
    back = metarl.MAML.from_sb3(agent.to_sb3(PPO, gym.make(IDS["continuous"]), device="cpu"), IDS["continuous"], device="cpu")
    assert evaluate_policy(back, gym.make(IDS["continuous"], task={"goal": [0.1, 0.1]}), n_eval_episodes=1, warn=False) == (
        evaluate_policy(agent, gym.make(IDS["continuous"], task={"goal": [0.1, 0.1]}), n_eval_episodes=1, warn=False)
    )


def test_what_has_no_like_is_refused():
    agent = metarl.MAML("MlpPolicy", IDS["discrete"], device="cpu", **SMALL)
    env = gym.make(IDS["discrete"])
    with pytest.raises(ConfigError, match=r"algorithm=.*DQN.* has no stochastic actor of its own .* give PPO or A2C"):
        agent.to_sb3(DQN, env)
    with pytest.raises(ConfigError, match="changes the actor's layers"):
        agent.to_sb3(PPO, env, policy_kwargs={"net_arch": [3]}, device="cpu")
    q_network = DQN("MlpPolicy", env, device="cpu")
    with pytest.raises(ConfigError, match="model=DQN has no stochastic actor"):
        metarl.MAML.from_sb3(q_network, IDS["discrete"])
    remembers = metarl.RL2("MlpPolicy", IDS["discrete"], hidden=3, device="cpu")
    with pytest.raises(ConfigError, match=r"to_sb3\(\) needs a policy that gradient steps adapt, .* and RL2 has none"):
        remembers.to_sb3(PPO, env)
    rollouts = metarl.Rollouts(normalise_observations=True)
    normalises = metarl.MAML("MlpPolicy", IDS["continuous"], rollouts=rollouts, device="cpu")
    with pytest.raises(ConfigError, match="normalise_observations=True has no like in an SB3 policy"):
        normalises.to_sb3(PPO, gym.make(IDS["continuous"]))
    odd = PPO("MlpPolicy", env, policy_kwargs={"activation_fn": torch.nn.GELU}, device="cpu")
    with pytest.raises(ConfigError, match="activation_fn=GELU is not one of relu, tanh, elu"):
        metarl.MAML.from_sb3(odd, IDS["discrete"])


def test_spaces_that_do_not_fit_are_refused():
    continuous, discrete = (metarl.MAML("MlpPolicy", IDS[kind], device="cpu", **SMALL) for kind in IDS)
    for agent, env in ((continuous, "CartPole-v1"), (continuous, IDS["discrete"]), (discrete, "CartPole-v1")):
        with pytest.raises(
            ConfigError, match=r"env: the spaces .* are not those of this agent, whose policy takes [12] numbers"
        ):
            agent.to_sb3(PPO, gym.make(env), device="cpu")
    as_many = metarl.MAML("MlpPolicy", IDS["discrete"], env_kwargs={"arms": 2}, device="cpu", **SMALL)
    line = gym.make("tests/Drawn-v0")  # it shows one number too
    line.action_space = gym.spaces.Box(-1, 1, (2,))  # of as many entries as there are arms
    with pytest.raises(ConfigError, match="env: the spaces"):
        as_many.to_sb3(PPO, line, device="cpu")
    model = PPO("MlpPolicy", "CartPole-v1", device="cpu")
    for family in IDS.values():
        with pytest.raises(
            ConfigError, match=r"env=.* does not fit the model, which was made for the spaces Box.* and Discrete"
        ):
            metarl.MAML.from_sb3(model, family, device="cpu")
    with pytest.raises(ConfigError, match=r"from_sb3\(\) needs a policy that gradient steps adapt, .* and RL2 has none"):
        metarl.RL2.from_sb3(model, IDS["discrete"], device="cpu")
