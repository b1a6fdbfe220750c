"""A rule, an adapter, an outer loop, an agent, a family, a data set and a network of one's own: one file's worth and one line.

What is registered is trained by name, saved, and loaded without being handed in.
"""

from dataclasses import dataclass

import gymnasium as gym
import numpy as np
import pytest
import torch
from torch import nn

import metarl
from metarl import registry
from metarl.adapters import Adaptation, Adapter
from metarl.adapters.base import initial_values, learned, shared
from metarl.errors import ConfigError
from metarl.learner import Learner
from metarl.outer import Outcome, OuterLoop
from metarl.outer.meta_gradient import meta_gradient
from metarl.supervised import EpisodeEnv
from metarl.tasks import Episodes, Examples


@pytest.fixture
def registered():
    """Register things for a test, and forget them after it."""
    names = []

    def add(kind, name, thing, **options):
        getattr(metarl, f"register_{kind}")(name, thing, "a toy", **options)
        names.append((kind, name))

    yield add
    homes = {"family": "families", "outer_loop": "outer-loops"}
    for kind, name in dict.fromkeys(names):
        registry.REGISTRIES[homes.get(kind, f"{kind}s")].remove(name)


# -- an update rule


class SignDescent(metarl.UpdateRule):
    """Takes a step of a learned length against the gradient's sign."""

    def __init__(self, layout, length=0.5):
        super().__init__(layout)
        self.length = nn.Parameter(torch.tensor(length))

    def forward(self, theta, gradient, loss, state, step):
        return theta - self.length * gradient.sign(), state


def test_a_rule(registered, tmp_path):
    registered("rule", "sign-descent", SignDescent)
    options = {"rule": SignDescent, "rule_kwargs": {"length": 0.25}, "device": "cpu"}
    agent = metarl.Agent("MLP", "metarl/Sine-v0", policy_kwargs={"hidden": (3,)}, **options)
    adapted, _ = agent.adapter.adapt(agent.meta, agent.source.sample(2, "train", torch.Generator()), torch.Generator()).adapted[
        1
    ]
    steps = (adapted - agent.meta["theta"]).abs()
    assert steps.max().item() == pytest.approx(0.25)
    agent.learn(2)
    assert agent.meta["rule.length"] != 0.25
    again = metarl.Agent.load(agent.save(tmp_path / "agent"), device="cpu")
    assert again.options.rule is SignDescent
    assert torch.equal(again.meta["rule.length"], agent.meta["rule.length"])
    bandit = {**options, "policy_kwargs": {"hidden": ()}, "meta_batch": 2, "rollouts": metarl.Rollouts(trajectories=2)}
    metarl.Agent("MlpPolicy", "metarl/BernoulliBandit-v0", **bandit).learn(1)


# -- an adapter, and an agent of it


class MeanShift(Adapter):
    """Adapts by adding to the network's output what the support set's targets are off by, in the mean."""

    def initial_meta(self, *modules):
        return initial_values(self.learner, modules[0])

    def adapt(self, meta, tasks, generator, steps=None):
        experiences = self.experiences(tasks, generator)
        return Adaptation([self.replay(meta, experiences, self.problem.count(tasks))], experiences)

    def experiences(self, tasks, generator):
        return [self.problem.collect(None, tasks, "support", generator)]

    def replay(self, meta, experiences, count, path=None):
        def one(support):
            return (support.targets - self.learner(meta["theta"], shared(meta), support.inputs)).mean(0)

        return torch.vmap(one)(experiences[0])

    def apply(self, meta, adapted, inputs, state=()):
        return self.learner(meta["theta"], shared(meta), inputs) + adapted, state

    def classifier_shapes(self, classes):
        raise ConfigError("there are no classes")

    def classify(self, meta, classifier, inputs):
        raise ConfigError("there are no classes")


class MeanShifter(metarl.Agent):
    """Learns what every task's curve has in common, up to a shift."""

    Options = metarl.agents.options.Options

    def make_adapter(self, network):
        adapter = MeanShift(self.source.problem, Learner(network))
        return adapter, adapter.initial_meta(network)


def test_an_adapter_and_its_agent(registered, tmp_path):
    registered("adapter", "mean-shift", MeanShift)
    registered("agent", "mean-shifter", MeanShifter)
    assert registry.ADAPTERS.load("mean-shift") is MeanShift
    agent = MeanShifter("MLP", "metarl/Sine-v0", policy_kwargs={"hidden": (3,)}, seed=2, device="cpu")
    observation, _ = agent.env.reset(seed=0)
    predictor = agent.adapt(observation)
    errors = observation["support_targets"] - predictor.predict(observation["support_inputs"])
    assert errors.mean() == pytest.approx(0, abs=1e-5)
    before = agent.meta["theta"]
    agent.learn(2, validate_every=1, validation_tasks=2)
    assert not torch.equal(agent.meta["theta"], before)
    assert agent.evaluate(3).values.shape == (3, 1)
    again = metarl.Agent.load(agent.save(tmp_path / "agent"), device="cpu")
    assert type(again) is MeanShifter
    assert torch.equal(again.learn(1).meta["theta"], agent.learn(1).meta["theta"])
    pair = [MeanShifter("MLP", "metarl/Sine-v0", policy_kwargs={"hidden": (3,)}, seed=s, device="cpu") for s in (0, 1)]
    assert metarl.learn_side_by_side(pair, 1) == [1, 1]


# -- an outer loop


@dataclass(frozen=True)
class SignMomentum(OuterLoop):
    """Moves everything by a fixed length against the sign of the meta-gradients' average."""

    length: float = 0.01
    decay: float = 0.5

    def init(self, adapter, meta, generator):
        return {name: torch.zeros_like(value) for name, value in learned(meta).items()}

    def improve(self, adapter, meta, state, batch, generator):
        loss, gradients = meta_gradient(adapter, meta, batch.experiences, batch.query, batch.count)
        state = {name: self.decay * state[name] + gradient for name, gradient in gradients.items()}
        moved = {name: meta[name] - self.length * value.sign() for name, value in state.items()}
        return Outcome({**meta, **moved}, loss, batch.adaptation, batch.query), state


def test_an_outer_loop(registered, tmp_path):
    registered("outer_loop", "sign_momentum", SignMomentum, worlds=["predictors"])
    options = {"outer": "sign_momentum", "policy_kwargs": {"hidden": (3,)}, "device": "cpu"}
    agent = metarl.MAML("MLP", "metarl/Sine-v0", seed=1, **options)
    before = agent.meta["theta"]
    agent.learn(1)
    assert ((agent.meta["theta"] - before).abs() - 0.01).abs().max() < 1e-6
    path = agent.save(tmp_path / "agent")
    assert torch.equal(metarl.MAML.load(path, device="cpu").learn(1).meta["theta"], agent.learn(1).meta["theta"])
    pair = [metarl.MAML("MLP", "metarl/Sine-v0", seed=seed, **options) for seed in (1, 2)]
    assert metarl.learn_side_by_side(pair, 2) == [2, 2]
    assert torch.equal(pair[0].meta["theta"], agent.meta["theta"])
    with pytest.raises(ConfigError, match="outer='sign_momentum' is for predictors, not policies"):
        metarl.MAML("MlpPolicy", "metarl/Navigation2D-v0", outer="sign_momentum")


# -- a task family, and a data set of episodes


class Reach(metarl.TaskFamily):
    """One action that should be the task's number."""

    observation_space = gym.spaces.Box(0, 1, (1,), np.float32)
    action_space = gym.spaces.Box(-1, 1, (1,), np.float32)
    bounds = {"number": (np.array(-1, np.float32), np.array(1, np.float32))}

    def draw_tasks(self, n, rng):
        return {"number": rng.uniform(-1, 1, n).astype(np.float32)}

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.take_task(options)
        return np.ones(1, np.float32), {"task": self.task}

    def step(self, action):
        return np.ones(1, np.float32), -float(abs(action[0] - self.task["number"])), True, False, {"task": self.task}


class Blobs(EpisodeEnv):
    """Two classes of points about centres in the plane."""

    networks = {"MLP": lambda inputs, outputs, head="linear": nn.Linear(2, 3 if head == "none" else outputs)}
    input_shape, output_size, metric = (2,), 2, "accuracy"
    bounds = {"centres": (np.full(4, -1, np.float32), np.ones(4, np.float32))}

    def __init__(self, shots=2, queries=3):
        super().__init__(shots, queries)
        inputs, labels = (
            [gym.spaces.Box(-9, 9, (2 * n, 2), np.float32) for n in (shots, queries)],
            [gym.spaces.MultiDiscrete([2] * 2 * n) for n in (shots, queries)],
        )
        self.observation_space = gym.spaces.Dict(support_inputs=inputs[0], support_targets=labels[0], query_inputs=inputs[1])
        self.action_space = labels[1]

    def draw_tasks(self, n, split, generator):
        return 2 * torch.rand(n, 4, generator=generator, dtype=torch.float64) - 1

    def draw_episodes(self, tasks, generator):
        parts = []
        for count in (self.shots, self.queries):
            labels = torch.arange(2).repeat_interleave(count).expand(len(tasks), -1)
            centres = tasks.view(-1, 2, 2).repeat_interleave(count, 1)
            noise = torch.randn(centres.shape, generator=generator, dtype=tasks.dtype)
            parts.append(Examples(centres + 0.1 * noise, labels))
        return Episodes(*parts)

    def loss(self, outputs, targets):
        return nn.functional.cross_entropy(outputs, targets)

    def measures(self, outputs, targets):
        return {"loss": self.loss(outputs, targets), "accuracy": (outputs.argmax(1) == targets).to(outputs.dtype).mean()}

    def decide(self, outputs):
        return outputs.argmax(1)

    def reward(self, predictions, targets):
        return float((predictions == targets).mean())


def test_a_family(registered, tmp_path):
    registered("family", "yours/Reach-v0", Reach, max_episode_steps=1)
    options = {"meta_batch": 2, "rollouts": metarl.Rollouts(trajectories=3), "policy_kwargs": {"hidden": ()}}
    agent = metarl.MetaSGD("MlpPolicy", "yours/Reach-v0", device="cpu", **options).learn(1)
    again = metarl.MetaSGD.load(agent.save(tmp_path / "agent"), device="cpu")
    assert again.evaluate(2).metric == "return"


def test_a_data_set(registered, tmp_path):
    registered("family", "yours/Blobs-v0", Blobs)
    for cls in (metarl.MAML, metarl.ProtoNet):
        agent = cls("MLP", "yours/Blobs-v0", device="cpu", env_kwargs={"shots": 3}).learn(1)
        again = cls.load(agent.save(tmp_path / "agent"), device="cpu")
        evaluation = again.evaluate(20)
        assert evaluation.metric == "accuracy"
        np.testing.assert_array_equal(evaluation.values, agent.evaluate(20).values)
    assert evaluation.mean[-1] > 0.8  # three projections of the plane tell most blobs apart


# -- a network


def test_a_network(registered, tmp_path):
    def squares(input_shape, outputs, width=3):
        return nn.Sequential(nn.Flatten(), nn.Linear(int(np.prod(input_shape)), width), nn.Tanh(), nn.Linear(width, outputs))

    registered("network", "Squares", squares)
    for env, options in (("metarl/Sine-v0", {}), ("metarl/BernoulliBandit-v0", {"rollouts": metarl.Rollouts(trajectories=2)})):
        agent = metarl.MAML("Squares", env, policy_kwargs={"width": 4}, meta_batch=2, device="cpu", **options).learn(1)
        assert metarl.MAML.load(agent.save(tmp_path / "agent"), device="cpu").policy_name == "Squares"


# -- and what goes wrong


def test_a_name_taken_twice_is_refused(registered):
    registered("rule", "sign-descent", SignDescent)
    registered("rule", "sign-descent", SignDescent)  # the same again is no other
    with pytest.raises(ConfigError, match=r"rule='sign-descent' is taken twice: by .*SignDescent.*, and by .*; rename one"):
        metarl.register_rule("sign-descent", MeanShift, "another")
    with pytest.raises(ConfigError, match="agent='maml' is taken twice"):
        metarl.register_agent("maml", MeanShifter, "another")


def test_an_unknown_name_shows_the_users_too(registered):
    registered("network", "Squares", lambda inputs, outputs: nn.Linear(1, outputs))
    assert "Squares" in registry.NETWORKS
    with pytest.raises(ConfigError, match="did you mean 'Squares'"):
        registry.NETWORKS.load("Square")
