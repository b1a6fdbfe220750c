"""Trials: a memory lasts through episodes, losses replay it, and no trial sees another."""

import warnings
from dataclasses import replace
from functools import partial

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env
from stable_baselines3.common.evaluation import evaluate_policy
from torch.utils._pytree import tree_leaves, tree_map

import metarl
from metarl.adapters.memory import GRUCore, RecurrentPolicy
from metarl.envs import Trial
from metarl.errors import ConfigError
from metarl.sampling.distributions import Categorical, DiagonalGaussian
from metarl.sampling.trajectories import sample
from tests import drawn, toys  # noqa: F401 - they register environments
from tests.test_sampling import GAUSSIAN, generator, linear, script

LENGTHS = (2, None, 1, 3)


def agent(**changes):
    """An agent of trials of three episodes, which end after 1 to 3 steps."""
    options = {
        "env": "tests/Level-v0",
        "env_kwargs": {"lengths": (1, 3, 2)},
        "policy_kwargs": {"hidden": (3,)},
        "hidden": 4,
        "episodes": 3,
        "meta_batch": 3,
        "rollouts": metarl.Rollouts(trajectories=2),
        "outer": "policy_gradient",
        "dtype": "float64",
        "device": "cpu",
        **changes,
    }
    return metarl.RL2("MlpPolicy", options.pop("env"), **options)


def snail(**changes):
    """The same by SNAIL."""
    sizes = {"filters": 2, "key_sizes": (3, 4), "value_sizes": (2, 3)}
    made = agent(**changes)
    options = {name: value for name, value in vars(made.options).items() if name not in ("core", "hidden")}
    rollouts = replace(made.source.rollouts, recall=False)
    return metarl.SNAILPolicy("MlpPolicy", made.env_name, rollouts=rollouts, outer="policy_gradient", **{**options, **sizes})


def trials(agent):
    """Return a meta-batch of trials of an agent in training, and the tasks."""
    tasks = agent.source.sample(3, "train", generator())
    with torch.no_grad():
        adapted = agent.adapter.adapt(agent.meta, tasks, generator(1)).adapted[-1]
        return agent.adapter.collect(agent.meta, adapted, tasks, generator(2)), tasks


def test_episodes_of_a_trial_follow_each_other_without_a_gap():
    env = script(after=float("nan"))
    one = sample(env, linear(torch.ones(2).double()), GAUSSIAN, ["a", "b"], generator(), 2, episodes=2)
    assert one.observations.shape == (2, 2, 8, 1)
    assert one.happened.sum(2).tolist() == [[4, 8], [2, 6]]
    rewards = env.rewards[3, :3]
    torch.testing.assert_close(one.rewards[1, 1], torch.cat([rewards, rewards, torch.zeros(2).double()]))
    torch.testing.assert_close(one.episode_returns[1, 1], rewards.sum().expand(2))
    torch.testing.assert_close(one.observations[0, 0, :4, 0], env.observations[0, [0, 1, 0, 1], 0])
    assert one.actions[0, 0, 0] != one.actions[0, 0, 2]  # the same observation, in the next episode with noise of its own
    assert one.terminated.tolist() == [[True, False], [True, True]]
    torch.testing.assert_close(one.last_observations[1, 0], env.observations[2, 1])


def test_a_step_is_recalled_at_the_next_one_and_in_the_next_episode():
    env = script()

    def apply(observations, state=()):
        return linear(torch.ones(2).double())(observations[..., :1], state)

    one = sample(env, apply, GAUSSIAN, ["a", "b"], generator(), 2, episodes=2, recall=True)
    recalled = one.observations[..., 1:]
    assert (recalled[:, :, 0] == 0).all()
    for task, trial, steps in ((0, 0, 4), (1, 1, 6)):
        torch.testing.assert_close(recalled[task, trial, 1:steps, :1], one.actions[task, trial, : steps - 1])
        torch.testing.assert_close(recalled[task, trial, 1:steps, 1], one.rewards[task, trial, : steps - 1])
    assert recalled[0, 0, :4, 2].tolist() == [0, 0, 1, 0]
    assert recalled[1, 1, :6, 2].tolist() == [0, 0, 0, 1, 0, 0]
    torch.testing.assert_close(one.last_observations[0, 0, 1:3], torch.stack([one.actions[0, 0, 3, 0], one.rewards[0, 0, 3]]))


KINDS = {"gru": agent, "lstm": partial(agent, core="lstm"), "snail": snail}


@pytest.mark.parametrize("kind", KINDS)
def test_losses_replay_the_memory_that_sampling_had(kind):
    learner = KINDS[kind]()
    experience, _ = trials(learner)
    assert experience.happened.sum(1).tolist() == [2 * 3, 2 * 9, 2 * 6]
    replayed = learner.adapter.of_tasks(learner.adapter.problem.outputs, learner.meta, (), experience)
    torch.testing.assert_close(replayed, experience.distribution_parameters, rtol=0, atol=1e-12)
    assert len(experience.distribution_parameters[experience.happened].unique(dim=0)) > 20  # a memory makes all steps differ


@pytest.mark.parametrize("kind", KINDS)
def test_an_episode_after_episodes_is_one_of_the_trial(kind):
    """Lived through one by one, episodes give what the whole trial's observations give in one go."""
    learner = KINDS[kind]()
    adapter, tasks = learner.over(learner.adapter.problem), learner.source.sample(3, "train", generator())
    with torch.no_grad():
        adaptation = adapter.adapt(learner.meta, tasks, generator(1))
        query = adapter.collect(learner.meta, adaptation.adapted[-1], tasks, generator(2))
    assert len(adaptation.experiences) == 2
    episodes = [*adaptation.experiences, query]
    for task, length in enumerate((1, 3, 2)):
        shown, given, ended = [], [], None
        for episode in episodes:
            sequences = episode.observations[task].view(2, -1, episode.observations.shape[-1])[:, :length].clone()
            if ended is not None:
                sequences[:, 0, -3:] = ended
            shown.append(sequences)
            given.append(episode.distribution_parameters[task].view(2, -1, 2)[:, :length])
            ended = episode.last_observations[task, :, -3:]
        replayed, _ = learner.adapter.apply(learner.meta, (), torch.cat(shown, 1))
        torch.testing.assert_close(replayed, torch.cat(given, 1), rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_a_memory_that_was_gone_on_from_is_as_it_was(kind):
    learner = KINDS[kind]()
    adapter, tasks = learner.over(learner.adapter.problem), learner.source.sample(3, "train", generator())
    with torch.no_grad():
        lived = adapter.adapt(learner.meta, tasks, generator(1)).adapted[1]
        before = tree_map(torch.clone, lived)
        first, other, again = (adapter.collect(learner.meta, lived, tasks, generator(seed)) for seed in (2, 5, 2))
    assert all(map(torch.equal, tree_leaves(lived), tree_leaves(before)))
    assert all(map(torch.equal, first, again))
    assert not torch.equal(first.actions, other.actions)


@pytest.mark.parametrize("kind", KINDS)
def test_steps_that_write_into_their_memory_are_those_that_copy_it(kind):
    """With gradients every step has tensors of its own; a loss of what follows episodes needs them."""
    learner = KINDS[kind]()
    adapter, meta = learner.adapter, {name: value.requires_grad_() for name, value in learner.meta.items()}
    inputs = torch.randn(5, 2, 4, generator=generator(), dtype=torch.float64)

    def walk():
        outputs, state = [], ()
        for one in inputs:
            output, state = adapter.apply(meta, (), one, state)
            outputs.append(output)
        return torch.stack(outputs, 1)

    copied = walk()
    copied.sum().backward()
    assert meta["theta"].grad.abs().max() > 0
    with torch.no_grad():
        assert torch.equal(walk(), copied)
        whole = adapter.apply(meta, (), inputs.transpose(0, 1))[0]
    torch.testing.assert_close(whole, copied, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_no_trial_sees_another_and_no_step_a_later_one(kind):
    learner = KINDS[kind]()
    inputs = torch.randn(2, 5, 4, generator=generator(), dtype=torch.float64)
    (by_inputs,) = torch.autograd.functional.jacobian(
        lambda x: learner.adapter.apply(learner.meta, (), x)[0], (inputs,), create_graph=False
    )
    assert (by_inputs[0, :, :, 1] == 0).all()
    assert (by_inputs[1, :, :, 0] == 0).all()
    for step in range(5):
        assert (by_inputs[0, step, 0, 0, step + 1 :] == 0).all()
        assert (by_inputs[0, step, 0, 0, : step + 1] != 0).any(1).all()


@pytest.mark.parametrize("kind", KINDS)
def test_the_policy_gradient_of_trials_is_the_finite_difference(kind):
    learner = KINDS[kind]()
    experience, _ = trials(learner)
    names = [name for name in learner.meta if learner.meta[name].numel()]

    def loss(values):
        return learner.adapter.losses({**learner.meta, **values}, (), experience).mean()

    gradients = torch.func.grad(loss)({name: learner.meta[name] for name in names})
    assert {"theta", "memory.head.log_std"} <= set(names)
    for name in names:
        direction = torch.randn(learner.meta[name].shape, generator=generator(3), dtype=torch.float64)
        step = 1e-5 * direction
        difference = (loss({name: learner.meta[name] + step}) - loss({name: learner.meta[name] - step})) / 2e-5
        torch.testing.assert_close((gradients[name] * direction).sum(), difference, rtol=1e-5, atol=1e-8)


def test_what_is_done_in_an_episode_counts_by_what_later_ones_bring():
    learner = agent(rollouts=metarl.Rollouts(trajectories=2, baseline="none", advantages="raw", discount=0.5))
    experience, _ = trials(learner)  # a reward of 1 at every step
    assert experience.advantages[0, :3].tolist() == [1.75, 1.5, 1]
    assert experience.episode_returns[1].tolist() == [[3, 3, 3], [3, 3, 3]]
    assert experience.returns[1].tolist() == [9, 9]


def test_the_gru_is_torchs():
    core, theirs = GRUCore(3, 4).double(), torch.nn.GRUCell(3, 4).double()
    x, h = torch.randn(2, 3, dtype=torch.float64), torch.randn(2, 4, dtype=torch.float64)
    with torch.no_grad():
        theirs.weight_ih.copy_(core.input_weights)
        theirs.weight_hh.copy_(core.hidden_weights)
        theirs.bias_hh.zero_()
        theirs.bias_ih.copy_(core.bias.normal_())
    torch.testing.assert_close(core(x, h)[0], theirs(x, h))


def test_evaluation_is_by_episode():
    evaluation = agent().evaluate(3)
    assert evaluation.values.tolist() == [[3.0] * 3, [9.0] * 3, [6.0] * 3]  # of the test split, in which a step gives 3
    assert "in episode 3:" in str(evaluation)
    assert agent().evaluate(3, steps=1).values.shape == (3, 2)
    assert agent().evaluate(3, steps=4).values.shape == (3, 5)
    with pytest.raises(ConfigError, match=r"steps=3: SNAILPolicy has room for 3 episodes.* give at most 2"):
        snail().evaluate(3, steps=3)


class TestWrapper:
    """``metarl.envs.Trial``."""

    def test_gymnasium_finds_nothing_wrong(self):
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*(is different from the unwrapped version|infinity)")
            check_env(Trial(gym.make("metarl/BernoulliBandit-v0").unwrapped, 2), skip_render_check=True)

    @pytest.mark.parametrize("env_id", ["metarl/Navigation2D-v0", "metarl/BernoulliBandit-v0"])
    def test_it_shows_what_sampling_shows(self, env_id):
        learner = agent(env=env_id, env_kwargs={}, episodes=2, meta_batch=1, rollouts=metarl.Rollouts(trajectories=1))
        tasks = learner.source.sample(1, "train", generator())
        with torch.no_grad():
            experience = learner.adapter.collect(learner.meta, (), tasks, generator(2))
        env = Trial(gym.make(env_id, max_episode_steps=learner.source.horizon), 2)
        observation, _ = env.reset(options={"task": tasks[0]})
        for step in range(int(experience.lengths[0, 0])):
            shown = experience.observations[0, step].numpy()
            if env_id == "metarl/BernoulliBandit-v0":  # what it pays is drawn anew
                observation[-2] = shown[-2]
            np.testing.assert_allclose(observation, shown, atol=1e-6)
            action = experience.actions[0, step].numpy()
            observation, _, terminated, truncated, info = env.step(int(action) if action.ndim == 0 else action)
        assert terminated or truncated
        assert len(info["episode_returns"]) == 2


def test_an_adapted_policy_goes_on_from_what_it_lived_through():
    learner = agent()
    env = Trial(gym.make("tests/Level-v0", lengths=(2,)))
    env.reset(seed=0)
    policy, fresh = learner.adapt(env.env), learner.adapt(env.env, steps=0)
    observation, _ = env.reset()
    acts = [one.predict(observation, deterministic=True)[0] for one in (policy, fresh)]
    assert acts[0] != acts[1]
    assert evaluate_policy(policy, env, n_eval_episodes=2, warn=False)[0] == pytest.approx(2 * 1.0)


def test_an_adapted_policy_carries_its_memory_and_forgets_it_at_a_start():
    learner = agent()
    policy = learner.adapt(gym.make("tests/Level-v0"), steps=0)
    shown = np.random.default_rng(0).normal(size=(2, 4)).astype(np.float32)
    _, state = policy.predict(shown, deterministic=True)
    first, _ = policy.predict(shown, deterministic=True)
    started, _ = policy.predict(shown, state, np.array([True, False]), deterministic=True)
    assert started[0] == pytest.approx(first[0], abs=1e-12)
    assert started[1] != pytest.approx(first[1], abs=1e-6)


def test_a_trial_beyond_the_longest_is_refused():
    learner = snail()
    env = Trial(gym.make("tests/Level-v0", lengths=(3,)), episodes=4)
    policy = learner.adapt(env.env, steps=0)
    assert evaluate_policy(policy, Trial(env.env, episodes=3), n_eval_episodes=1, warn=False)[0] == pytest.approx(9)
    longest = 3 * learner.source.horizon
    state, shown = None, np.zeros((1, 4), np.float32)
    for _ in range(longest):
        _, state = policy.predict(shown, state)
    with pytest.raises(
        ConfigError, match="SNAILPolicy has room for the steps of 3 episodes, as many as in training, and all are"
    ):
        policy.predict(shown, state)
    assert policy.predict(shown, state, np.array([True]))[0].shape == (1, 1)


def test_a_policy_without_memory_recalls_the_step_before():
    recall = metarl.Rollouts(recall=True, trajectories=1)
    learner = metarl.MAML("MlpPolicy", "tests/Drawn-v0", rollouts=recall, meta_batch=1, dtype="float64", device="cpu")
    tasks = learner.source.sample(1, "train", generator())
    with torch.no_grad():
        adapted = learner.adapter.replay(learner.meta, [], 1)
        experience = learner.adapter.collect(learner.meta, adapted, tasks, generator(2))
    policy = learner.source.wrap(learner.adapter, learner.meta, learner.adapter.row(adapted, 0))
    env = Trial(gym.make("tests/Drawn-v0"))
    shown, _ = env.reset(options={"task": tasks[0]})
    for step, action in enumerate(experience.actions[0, :2].numpy()):
        means = experience.distribution_parameters[0, step, :1].clamp(-1, 1)
        np.testing.assert_allclose(policy.predict(shown, deterministic=True)[0], means, rtol=1e-5)
        shown = env.step(action.astype(np.float32))[0]
    assert metarl.MAML("MlpPolicy", "tests/Drawn-v0", rollouts=recall, device="cpu").videos(1)["task_1"].frames.shape[0] == 5
    with pytest.raises(ConfigError, match="recall=True has no like in the environments that SB3's PPO learns in"):
        metarl.Pretrained("MlpPolicy", "tests/Drawn-v0", rollouts=recall)
    with pytest.raises(ConfigError, match=r"wrap the environment in metarl\.envs\.Trial"):
        policy.predict(np.zeros(1, np.float32))


@pytest.mark.parametrize(("cls", "wrapper"), [(metarl.RL2, "Trial"), (metarl.Oracle, "ToldTask")])
def test_a_policy_names_the_wrapper_that_shows_what_it_wants(cls, wrapper):
    learner = cls("MlpPolicy", "tests/Level-v0", device="cpu")
    policy = learner.adapt(gym.make("tests/Level-v0", lengths=(2,)), steps=0)
    with pytest.raises(
        ConfigError, match=rf"Policy wants the shape \([34],\), not \(1,\): wrap the environment in metarl.envs.{wrapper}\(env"
    ):
        policy.predict(np.zeros(1, np.float32))
    with pytest.raises(ValueError, match="Unexpected observation shape"):
        metarl.MAML("MlpPolicy", "tests/Level-v0", device="cpu").predict(np.zeros(3, np.float32))


def test_rows_have_the_shapes_that_policies_want():
    for distribution in (Categorical(3), DiagonalGaussian(2)):
        policy = RecurrentPolicy(GRUCore(4, 5), distribution)
        inputs = torch.randn(2, 6, 4)
        assert policy.sequence(inputs, policy.initial_state(2)).shape == (2, 6, distribution.size)


def test_bad_input_is_refused():
    with pytest.raises(ConfigError, match=r"env=.*few-shot episodes, and RL2 acts"):
        metarl.RL2("MLP", "metarl/Sine-v0")
    with pytest.raises(ConfigError, match="outer='trpo' improves gradient steps, and TrialAdapter takes none: use outer='ppo'"):
        agent(outer="trpo")
    part, recall = metarl.TRPO(fisher_fraction=0.5), metarl.Rollouts(recall=True)
    with pytest.raises(ConfigError, match=r"fisher_fraction=0.5 .* recall=True needs whole ones: use fisher_fraction=1"):
        metarl.MAML("MlpPolicy", "metarl/Navigation2D-v0", rollouts=recall, outer=part, device="cpu")
    with pytest.raises(ConfigError, match="episodes=0 must be above zero"):
        agent(episodes=0)
    with pytest.raises(ConfigError, match="episodes=0 must be above zero"):
        Trial(gym.make("metarl/BernoulliBandit-v0"), 0)
