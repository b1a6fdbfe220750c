"""The papers' reference players: Stable-Baselines3's own PPO on tasks as they come, and the task told."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import VecMonitor

import metarl
from metarl import checkpoint
from metarl.agents import TaskVecEnv
from metarl.agents.stable_baselines import StableBaselinesPPO
from metarl.envs import ToldTask
from metarl.errors import CheckpointError, ConfigError, NonFiniteError
from metarl.streams import stream
from tests import worlds  # noqa: F401 - registers its environments
from tests.small import small

ENV = "tests/Navigation2D-v0"


def test_an_iteration_is_one_of_ppos():
    agent = small("one policy of all tasks", seed=3, dtype="float32", outer=StableBaselinesPPO(n_envs=2, batch_size=5))
    values = dict(agent.outer_state["critic"])
    names = [f"{layer}.{part}" for layer in ("mlp_extractor.policy_net.0", "action_net") for part in ("weight", "bias")]
    layout = agent.adapter.learner.layout
    parts = layout.unflatten(agent.meta["theta"])
    values |= dict(zip(names, (parts[f"network.{i}.{part}"] for i in (0, 2) for part in ("weight", "bias")), strict=True))
    seeds = [stream(3, name) for name in ("tasks", "noise")]
    draws = [int(torch.randint(high, (), generator=one)) for high, one in zip((2**31 - 2, 2**31 - 1), seeds, strict=True)]
    before = np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
    agent.learn(1)
    assert (np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()) == before  # SB3 draws from the global ones
    torch.manual_seed(draws[1])
    np.random.seed(draws[1])
    model = PPO("MlpPolicy", VecMonitor(TaskVecEnv(ENV, 2)), n_steps=10, batch_size=5, policy_kwargs={"net_arch": [5]})
    model.policy.load_state_dict({**values, "log_std": parts["log_std"]})
    model.env.seed(draws[0])
    model.learn(20)
    after = layout.unflatten(agent.meta["theta"])
    for layer, i in (("mlp_extractor.policy_net.0", 0), ("action_net", 2)):
        for part in ("weight", "bias"):
            assert torch.equal(after[f"network.{i}.{part}"], model.policy.get_parameter(f"{layer}.{part}"))
    assert torch.equal(after["log_std"], model.policy.log_std)
    assert agent.num_timesteps == 20
    returns = [episode["r"] for episode in model.ep_info_buffer]
    assert agent.summary() == f"return {np.mean(returns):.2f}"


def test_critic_optimiser_and_the_rewards_scale_go_on():
    agent = small("told the task")
    assert agent.outer_state["rewards"]["count"] == 1e-4
    agent.learn(1)
    state = agent.outer_state
    assert state["rewards"]["count"] == pytest.approx(10, rel=1e-4)  # two environments of five steps
    assert state["optimizer"]["value_net.bias"]["step"] == 4  # two epochs of two mini-batches
    model = agent.outer.model(agent.adapter, agent.meta, state, agent.source.vec_env(2))
    assert model.get_vec_normalize_env().ret_rms.var == state["rewards"]["var"].item()
    assert torch.equal(model.policy.value_net.weight, state["critic"]["value_net.weight"])
    kept = model.policy.optimizer.state[model.policy.log_std]
    assert torch.equal(kept["exp_avg"], state["optimizer"]["log_std"]["exp_avg"])


def test_the_oracle_sees_the_task_wherever_it_plays():
    oracle = small("told the task", dtype="float32")
    env = ToldTask(gym.make(ENV, task={"goal": [0.4, -0.4]}))
    inputs = torch.tensor([[0.0, 0.0, 0.4, -0.4]])
    mean = oracle.adapter.apply(oracle.meta, (oracle.meta["theta"], {}), inputs)[0][0, :2]
    for policy in (oracle, oracle.adapt(env), oracle.adapt(env.env)):
        action, _ = policy.predict(env.reset()[0], deterministic=True)
        np.testing.assert_allclose(action, mean.clamp(-1, 1).numpy(), rtol=1e-5)
    assert oracle.get_env().observation_space.shape == (4,)
    model = oracle.to_sb3(PPO, env, n_steps=10, batch_size=10, device="cpu")
    np.testing.assert_allclose(model.predict(env.reset()[0], deterministic=True)[0], mean.clamp(-1, 1).numpy(), rtol=1e-5)
    seen = oracle.adapter.problem.collect(*_unadapted(oracle), [{"goal": np.array([0.4, -0.4])}], "query", torch.Generator())
    assert seen.observations[..., 2:].flatten(0, 1).unique(dim=0).tolist() == [[pytest.approx(0.4), pytest.approx(-0.4)]]


def _unadapted(agent):
    """What ``collect`` applies: the policy as it is."""
    adapted = agent.adapter.replay(agent.meta, [], 1)
    return (lambda observations, state=(): agent.adapter.apply(agent.meta, agent.adapter.row(adapted, 0), observations),)


@pytest.mark.slow
def test_the_oracle_learns_where_the_goal_is():
    options = {"policy_kwargs": {"hidden": (32,), "activation": "tanh"}, "rollouts": metarl.Rollouts(trajectories=2)}
    oracle = metarl.Oracle("MlpPolicy", "metarl/Navigation2D-v0", device="cpu", **options)
    before = oracle.evaluate(20).mean[0]
    after = oracle.learn(3, log_interval=4).evaluate(20).mean[0]
    assert after > 0.75 * before > before
    assert oracle.evaluate(20).steps == (0,)


def test_scratch_learns_nothing_and_takes_the_inner_steps_of_maml():
    scratch, agent = (
        cls("MlpPolicy", ENV, rate=0.2, seed=4, device="cpu", rollouts=metarl.Rollouts(trajectories=3))
        for cls in (metarl.Scratch, metarl.MAML)
    )
    assert scratch.learn(5) is scratch
    assert scratch.iteration == 0
    np.testing.assert_array_equal(scratch.evaluate(3, steps=2).values, agent.evaluate(3, steps=2).values)


def test_any_agent_whose_policy_takes_gradient_steps_can_learn_so():
    agent = metarl.MAML("MlpPolicy", ENV, outer=StableBaselinesPPO(n_envs=2, batch_size=5), adapted="head", device="cpu")
    before = {name: value.clone() for name, value in agent.meta.items()}
    agent.learn(1)
    assert not any(torch.equal(agent.meta[name], before[name]) for name in ("theta", "shared"))


def test_a_policy_that_runs_away_is_refused():
    agent = small("one policy of all tasks", outer=StableBaselinesPPO(1e36, n_envs=2, batch_size=5, n_epochs=3))
    before = agent.meta["theta"].clone()
    with pytest.raises(NonFiniteError, match=r"iteration 1: .*the outer step was refused"):
        agent.learn(1)
    assert torch.equal(agent.meta["theta"], before)
    assert agent.iteration == 0


def test_what_does_not_fit_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="outer='trpo' is not StableBaselinesPPO, and Oracle learns by nothing else"):
        metarl.Oracle("MlpPolicy", ENV, outer="trpo")
    with pytest.raises(ConfigError, match=r"env=.*Sine-v0.* has few-shot episodes, and an oracle"):
        metarl.Oracle("MLP", "metarl/Sine-v0")
    with pytest.raises(ConfigError, match="outer='sb3_ppo' is for policies, not predictors"):
        metarl.Pretrained("MLP", "metarl/Sine-v0")
    with pytest.raises(ConfigError, match="trains a policy without memory"):
        metarl.RL2("MlpPolicy", ENV, hidden=3, outer="sb3_ppo")
    with pytest.raises(ConfigError, match="n_envs=0 must be above zero"):
        StableBaselinesPPO(n_envs=0)
    with pytest.raises(ConfigError, match="n_steps=0 must be above zero"):
        StableBaselinesPPO(n_steps=0)
    with pytest.raises(ConfigError, match=r"gamma=1.5 must lie in \[0, 1\]"):
        StableBaselinesPPO(gamma=1.5)
    agent = small("one policy of all tasks").learn(1)
    agent.outer_state["optimizer"]["value_net.bias"]["exp_avg"] = torch.zeros(7)
    path = agent.save(tmp_path / "damaged")
    assert checkpoint.read(path)["outer"]["name"] == "sb3_ppo"
    with pytest.raises(CheckpointError, match=r"its optimiser's value_net.bias is not Adam's"):
        metarl.Agent.load(path)


def test_the_played_policy_is_the_evaluated_one():
    agent = small("one policy of all tasks", dtype="float32").learn(1)
    env = VecMonitor(TaskVecEnv(ENV, 4, tasks={"goal": [0.1, 0.2]}))
    assert evaluate_policy(agent, env, n_eval_episodes=4, warn=False)[0] < 0
