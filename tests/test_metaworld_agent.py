"""Agents as Meta-World's judge wants them: what they learn from the judge's steps is what they learn from their own."""

from types import SimpleNamespace

import gymnasium as gym
import numpy as np
import pytest
import torch

import metarl
from metarl.agents import MetaWorldAgent
from metarl.errors import ConfigError

HORIZON = 4
RECALLED = 4
"""An action of two numbers, a reward, and an end."""
LEARNERS = {
    "MAML": (metarl.MAML, {"inner_steps": 2}),
    "Meta-SGD": (metarl.MetaSGD, {"inner_steps": 2}),
    "RL^2": (metarl.RL2, {"episodes": 3, "hidden": 3}),
    "SNAIL": (metarl.SNAILPolicy, {"episodes": 3, "filters": 2, "key_sizes": (3, 4), "value_sizes": (2, 3)}),
}


class Field(metarl.TaskFamily):
    """A walk on a plane to a goal; some tasks end by themselves before the time limit."""

    observation_space = gym.spaces.Box(-100, 100, (2,), np.float64)
    action_space = gym.spaces.Box(-1, 1, (2,), np.float64)
    bounds = {"goal": (np.full(2, -1.0), np.ones(2)), "length": (np.array(1), np.array(9))}

    def draw_tasks(self, n, rng):
        return {"goal": rng.uniform(-1, 1, (n, 2)), "length": np.array([2, 9] * n)[:n]}

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.take_task(options)
        self.place, self.time = self.np_random.normal(size=2), 0
        return self.place, {"task": self.task}

    def step(self, action):
        self.place, self.time = self.place + action, self.time + 1
        reward = -float(np.abs(self.place - self.task["goal"]).sum())
        return self.place, reward, self.time == int(self.task["length"]), False, {"task": self.task}


gym.register("tests/Field-v0", Field, max_episode_steps=HORIZON)


def agent(kind="MAML", trajectories=3, **options):
    cls, theirs = LEARNERS[kind]
    rollouts = metarl.Rollouts(trajectories=1 if "episodes" in theirs else trajectories, **options.pop("rollouts", {}))
    options = {"policy_kwargs": {"hidden": (3,)}, "meta_batch": 2, "dtype": "float64", "device": "cpu", **theirs, **options}
    return cls("MlpPolicy", "tests/Field-v0", rollouts=rollouts, **options)


def lived(experience):
    """Return one task's steps, one trajectory after another: observations, actions, rewards, ends, parameters."""
    happened = experience.happened
    ends = experience.by_trajectory(torch.zeros_like(experience.rewards)).clone()
    for task, lengths in enumerate(experience.lengths.long().tolist()):
        for trajectory, length in enumerate(lengths):
            ends[task, trajectory, length - 1] = 1
    columns = (experience.observations, experience.actions, experience.rewards, ends.flatten(1, 2))
    columns = (*columns, experience.distribution_parameters)
    return [[column[task][happened[task]].numpy() for column in columns] for task in range(len(happened))]


def told(experience, entries):
    """Yield the steps of an experience as the judge tells them, all tasks at once; shorter ones begin again at their end."""
    tasks = lived(experience)
    longest = max(len(columns[0]) for columns in tasks)
    for step in range(longest):
        rows = [[column[step % len(column)] for column in columns] for columns in tasks]
        observations, actions, rewards, ends, parameters = (np.array(column) for column in zip(*rows, strict=True))
        late = np.array([step >= len(columns[0]) for columns in tasks])
        yield SimpleNamespace(
            observation=observations[:, :entries],
            action=actions.clip(-1, 1),
            reward=rewards,
            terminated=np.logical_and(
                ends, ~late
            ),  # what comes after an environment's last episode is the beginning of another
            truncated=np.zeros(len(tasks), bool),
            aux_policy_outputs={"chosen": actions, "parameters": parameters},
        )


@pytest.mark.parametrize("kind", ["MAML", "Meta-SGD"])
def test_what_a_gradient_learner_becomes_is_what_its_own_adaptation_makes_of_the_same_steps(kind):
    learner = agent(kind)
    tasks = learner.source.sample(2, "train", torch.Generator().manual_seed(0))
    expected = learner.adapter.adapt(learner.meta, tasks, torch.Generator().manual_seed(1))
    judged = MetaWorldAgent(learner)
    judged.init()
    for step, experience in enumerate(expected.experiences, start=1):
        for timestep in told(experience, 2):
            judged.step(timestep)
        judged.adapt()
        torch.testing.assert_close(judged._learner.adapted[0], expected.adapted[step][0].detach(), rtol=1e-12, atol=1e-12)
    policies = [
        learner.source.wrap(learner.adapter, learner.meta, learner.adapter.row(expected.adapted[-1], i)) for i in (0, 1)
    ]
    seen = np.random.default_rng(0).normal(size=(2, 2))
    modes = [policy.predict(one, deterministic=True)[0] for policy, one in zip(policies, seen, strict=True)]
    np.testing.assert_allclose(judged.eval_action(seen), np.clip(modes, -1, 1), rtol=1e-6)  # SB3's are float32
    judged.init()
    np.testing.assert_array_equal(judged.eval_action(seen), MetaWorldAgent(learner).eval_action(seen))


@pytest.mark.parametrize("kind", ["RL^2", "SNAIL"])
def test_what_a_memory_remembers_is_what_its_own_trial_leaves_in_it(kind):
    learner = agent(kind, rollouts={"normalise_observations": True})
    adapter = learner.over(learner.source.problem)
    tasks = [task | {"length": np.array(9)} for task in learner.source.sample(2, "train", torch.Generator().manual_seed(0))]
    expected = adapter.adapt(learner.meta, tasks, torch.Generator().manual_seed(1))
    judged = MetaWorldAgent(learner)
    for experience in expected.experiences:
        for timestep in told(experience, 2):
            judged.adapt_action(timestep.observation)
            judged.step(timestep)
    judged.adapt()
    memory, recalled = judged._learner._lived
    torch.testing.assert_close(memory, expected.adapted[-1]["memory"])
    torch.testing.assert_close(recalled, expected.adapted[-1]["recalled"][:, 0])
    # and every evaluation episode goes on from there, as the query experience does
    with torch.no_grad():
        query = adapter.collect(learner.meta, expected.adapted[-1], tasks, torch.Generator().manual_seed(2))
    for _ in range(2):
        judged.reset(np.ones(2, bool))
        for number, timestep in enumerate(told(query, 2 + RECALLED)):
            shown = timestep.observation.copy()
            shown[:, -2] /= 10  # Meta-World's unit
            if number == 0:
                shown[:, 2:] = 0
            means = query.distribution_parameters[:, number, :2]
            np.testing.assert_allclose(judged.eval_action(shown), means.clamp(-1, 1), rtol=1e-9)
            judged._learner.chose(torch.as_tensor(timestep.aux_policy_outputs["chosen"]))


def test_modes_or_samples_are_clipped_to_their_space():
    learner = agent(policy_kwargs={"hidden": (3,), "log_std": 3.0})
    seen = np.zeros((5, 2))
    assert np.abs(MetaWorldAgent(learner).eval_action(seen)).max() < 1e-6
    sampled = MetaWorldAgent(learner, deterministic=False).eval_action(seen)
    assert np.abs(sampled).max() == 1
    actions, told_of = MetaWorldAgent(learner).adapt_action(seen)
    np.testing.assert_array_equal(actions, told_of["chosen"].clip(-1, 1))
    assert np.abs(told_of["chosen"]).max() > 1
    np.testing.assert_array_equal(actions, MetaWorldAgent(learner).adapt_action(seen)[0])  # a seed fixes them
    assert not np.array_equal(actions, MetaWorldAgent(learner, seed=1).adapt_action(seen)[0])


def test_what_cannot_be_judged_is_said():
    with pytest.raises(ConfigError, match="no policy of continuous actions"):
        MetaWorldAgent(metarl.MAML("MlpPolicy", "metarl/BernoulliBandit-v0", device="cpu"))
    with pytest.raises(ConfigError, match="no policy of continuous actions"):
        MetaWorldAgent(metarl.MAML("MLP", "metarl/Sine-v0", device="cpu"))
    oracle = metarl.Oracle("MlpPolicy", "tests/Field-v0", device="cpu")
    with pytest.raises(ConfigError, match="agent: Meta-World's judge does not tell tasks, and Oracle wants them told"):
        MetaWorldAgent(oracle)
    with pytest.raises(ConfigError, match=r"recall=True shows .* to policies with memory only"):
        MetaWorldAgent(agent(rollouts={"recall": True}))
    with pytest.raises(ConfigError, match="time_limit_value=False"):
        MetaWorldAgent(agent(rollouts={"time_limit_value": True}))
    judged = MetaWorldAgent(agent())
    with pytest.raises(ConfigError, match=r"adapt_action\(\) and step\(\) come first"):
        judged.adapt()
    with pytest.raises(ConfigError, match="show 5 numbers, and this agent was trained on 2"):
        judged.adapt_action(np.zeros((1, 5)))
    aux = judged.adapt_action(np.zeros((1, 2)))[1]
    judged.step(
        SimpleNamespace(observation=np.zeros((1, 2)), reward=[0.0], terminated=[0], truncated=[0], aux_policy_outputs=aux)
    )
    with pytest.raises(ConfigError, match="at least one whole episode"):
        judged.adapt()
    with pytest.raises(ConfigError, match="recurrent_info_in_obs=True"):
        MetaWorldAgent(agent("RL^2")).eval_action(np.zeros((1, 2)))
