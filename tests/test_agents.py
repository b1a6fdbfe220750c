"""Agents as a user meets them, in both worlds."""

import copy

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3.common.callbacks import CheckpointCallback, EvalCallback
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.logger import configure
from stable_baselines3.common.monitor import Monitor
from torch import nn

import metarl
from metarl import rules
from metarl.errors import ConfigError, NonFiniteError, TaskError
from metarl.rules import GradientDescent
from tests.small import IDLE, KINDS, LEARNING, small
from tests.toys import weight
from tests.worlds import WORLDS, flat, make


def same(one, other):
    """Whether two nests of containers and tensors hold the same, bit for bit."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[name], other[name]) for name in one)
    return torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other


def state(agent):
    """Everything that a run goes on from."""
    streams = {name: generator.get_state() for name, generator in agent.streams.items()}
    return {
        "meta": agent.meta,
        "outer": agent.outer_state,
        "best": agent.best,
        "counts": (agent.iteration, agent.num_timesteps),
        "streams": {name: streams[name] for name in ("tasks", "noise")},
    }


# -- the contract


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_in_pieces_with_a_checkpoint_between_them_is_the_run_in_one(kind, tmp_path):
    whole = small(kind, seed=3).learn(3, validate_every=1, validation_tasks=2)
    part = small(kind, seed=3).learn(1, log_interval=5, validate_every=1, validation_tasks=2)
    again = type(part).load(part.save(tmp_path / "agent"), device="cpu")
    assert type(again) is type(part)
    assert (again.options, again.outer, again.seed) == (part.options, part.outer, 3)
    assert same(state(again), state(part))
    again.learn(2, validate_every=1, validation_tasks=2)
    assert same(state(again), state(whole))
    assert (whole.iteration == 3) == (kind not in IDLE)


@pytest.mark.parametrize("kind", LEARNING)
def test_another_seed_is_another_run(kind):
    one, other = (small(kind, seed=seed) for seed in (0, 1))
    assert not torch.equal(one.meta["theta"], other.meta["theta"])
    assert not torch.equal(one.streams["tasks"].get_state(), other.streams["tasks"].get_state())


@pytest.mark.parametrize("world", ["navigation", "bandit", "sine", "images", "images, statistics of the support set"])
def test_no_module_that_was_handed_in_changes_and_agents_can_share_one(world):
    options = {"dtype": "float64", "device": "cpu", **WORLDS[world]}
    policy, env, kwargs = (options.pop(name) for name in ("policy", "env", "policy_kwargs"))
    module = metarl.MAML(policy, env, policy_kwargs=kwargs, **options).source.network(policy, kwargs, False)
    before, training = copy.deepcopy(module.state_dict()), [layer.training for layer in module.modules()]
    one, two, alone = (metarl.MetaSGD(module, env, **options) for _ in range(3))
    for agent in (one, two):
        agent.learn(1)
    one.evaluate(2)
    task = gym.make(env)
    observation, _ = task.reset(seed=0)
    one.adapt(task)
    one.predict(observation)
    two.learn(1)
    assert same(dict(module.state_dict()), dict(before))
    assert [layer.training for layer in module.modules()] == training
    assert same(two.meta, alone.learn(2).meta)
    assert not torch.equal(one.meta["theta"], two.meta["theta"])


def test_an_agent_holds_its_numbers_once():
    agent = small("LSTM").learn(1)
    structures = [structure.state_dict() for structure in agent.adapter.learner._structure.values()]
    held = [value for values in (*structures, agent.adapter.rule.state_dict()) for value in values.values()]
    assert {value.device.type for value in held} == {"meta"}
    assert not any(isinstance(value, nn.Module) and not isinstance(value, GradientDescent) for value in vars(agent).values())


# -- learning


def test_learning_finds_the_weight_from_which_a_step_does_best():
    outer = metarl.GradientDescent(0.125, optimizer="SGD")
    options = {"env_kwargs": {"slopes": (1.0, 3.0)}, "meta_batch": 2, "rate": 0.25, "outer": outer, "dtype": "float64"}
    agent = metarl.MAML(weight(0.0), "tests/Line-v0", device="cpu", **options)
    # the mean query loss is (w - 1)^2 / 2 + (w - 3)^2 / 2, whose gradient is 2 (w - 2): a quarter of the way in every step
    assert agent.learn(1).meta["theta"].item() == 0.5
    assert agent.learn(1).meta["theta"].item() == 0.875
    assert agent.learn(60, log_interval=100).meta["theta"].item() == pytest.approx(2, abs=1e-6)
    assert agent.evaluate(2, split="train").mean.tolist() == pytest.approx([4, 1])


@pytest.mark.parametrize("outer", ["trpo", metarl.GradientDescent(0.05)])
def test_learning_earns_more(outer):
    # the reward is the action and a constant
    options = {"env_kwargs": {"slope": 1.0}, "meta_batch": 2, "rate": 0.01, "device": "cpu", "outer": outer}
    agent = metarl.MAML(weight(0.0), "tests/Level-v0", rollouts=metarl.Rollouts(trajectories=30), **options)
    before = agent.evaluate(4).mean
    agent.learn(5)
    assert (agent.evaluate(4).mean > before + 0.1).all()
    assert agent.predict(np.ones(1, np.float32), deterministic=True)[0] > 0.1


def test_the_best_iterate_is_kept_and_restoring_it_does_nothing_else():
    options = {"outer": metarl.GradientDescent(1.0, optimizer="SGD"), "dtype": "float64", "device": "cpu", "inner_steps": 0}
    agent = metarl.MAML(weight(0.0), "tests/Line-v0", **options)
    # the validation slope is 2: the loss is 4 (w - 2)^2
    for iteration, (value, kept) in enumerate([(0.0, 16), (1.5, 1), (3.0, 1), (2.25, 0.25), (2.5, 0.25)]):
        agent.meta = {"theta": torch.tensor([value], dtype=torch.float64)}
        agent.iteration = iteration
        assert agent.validate(1) == 4 * (value - 2) ** 2
        assert agent.best["score"] == -kept
    assert (agent.best["iteration"], agent.best["meta"]["theta"].item()) == (3, 2.25)
    before = state(agent)
    assert agent.restore_best() is agent
    assert agent.meta["theta"].item() == 2.25
    assert same({**state(agent), "meta": None}, {**before, "meta": None})
    agent.meta = {"theta": torch.tensor([float("nan")], dtype=torch.float64)}
    agent.validate(1)
    assert agent.best["score"] == -0.25
    fresh = metarl.MAML(weight(0.5), "tests/Line-v0", **options)
    assert fresh.restore_best().meta["theta"].item() == 0.5  # nothing was validated


def test_validations_are_of_validation_tasks_and_come_when_they_shall():
    agent = metarl.MAML(weight(0.0), "tests/Line-v0", device="cpu", inner_steps=0)
    scores = []
    validate = agent.validate
    agent.validate = lambda tasks: scores.append((agent.iteration, tasks, validate(tasks)))
    agent.learn(5, validate_every=2, validation_tasks=3)
    assert [score[:2] for score in scores] == [(2, 3), (4, 3)]
    assert scores[0][2] == pytest.approx(16, rel=0.01)  # 4 for training tasks, 36 for test tasks


def test_sb3_callbacks_and_loggers_are_taken(tmp_path):
    agent = make("bandit")
    agent.set_logger(configure(str(tmp_path), ["csv"]))
    callbacks = [
        CheckpointCallback(2, str(tmp_path), name_prefix="agent"),
        EvalCallback(Monitor(gym.make("metarl/BernoulliBandit-v0")), eval_freq=2, n_eval_episodes=1, verbose=0),
    ]
    agent.learn(2, callback=callbacks)
    (saved,) = tmp_path.glob("agent_*_steps.zip")
    assert torch.equal(flat(metarl.Agent.load(saved).meta), flat(agent.meta))
    assert "return/after_1_steps" in (tmp_path / "progress.csv").read_text().splitlines()[0]
    agent.learn(5, callback=lambda local, _: False)
    assert agent.iteration == 3
    agent.logger.close()


class Blowup(metarl.TaskFamily):
    """Rewards are infinite from some step on."""

    observation_space = gym.spaces.Box(0, 1, (1,), np.float32)
    action_space = gym.spaces.Box(-1, 1, (1,), np.float32)
    bounds = {"level": (np.zeros((), np.float32), np.ones((), np.float32))}
    bad = False

    def draw_tasks(self, n, rng):
        return {"level": rng.uniform(size=n).astype(np.float32)}

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.take_task(options)
        return np.ones(1, np.float32), {"task": self.task}

    def step(self, action):
        return np.ones(1, np.float32), np.inf if self.bad else -float(abs(action[0])), False, False, {"task": self.task}


@pytest.mark.parametrize("outer", ["trpo", "policy_gradient"])
def test_an_infinite_reward_refuses_the_outer_step(outer, monkeypatch):
    env = gym.wrappers.TimeLimit(Blowup(), 4)
    agent = metarl.MetaSGD("MlpPolicy", env, outer=outer, meta_batch=2, rollouts=metarl.Rollouts(trajectories=2)).learn(1)
    before = copy.deepcopy(state(agent))
    monkeypatch.setattr(Blowup, "bad", True)
    with pytest.raises(NonFiniteError, match=r"iteration 2: reward is not finite in task \{'level'"):
        agent.learn(1)
    assert same(state(agent), before)
    monkeypatch.setattr(Blowup, "bad", False)
    agent.learn(1)


def test_a_validation_split_with_too_few_classes_is_said_before_the_work():
    agent = metarl.MAML("MLP", "tests/Images-v0", env_kwargs={"ways": 3}, policy_kwargs={"hidden": (4,)})
    with pytest.raises(ConfigError, match="ways=3 is more than the 2 classes of split 'validation'"):
        agent.learn(5, validate_every=5)
    assert agent.iteration == 0


# -- adapting and predicting


@pytest.mark.parametrize("world", ["navigation", "bandit"])
def test_an_adapted_policy_works_in_sb3(world):
    agent = make(world, dtype="float32")
    env = Monitor(gym.make(WORLDS[world]["env"]))
    env.reset(seed=0)
    policy = agent.adapt(env)
    returns, _ = evaluate_policy(policy, env, n_eval_episodes=2, return_episode_rewards=True)
    assert len(returns) == 2
    action, _ = policy.predict(env.observation_space.sample(), deterministic=True)
    assert env.action_space.contains(action)


def test_adaptation_uses_the_environments_own_task():
    agent = metarl.MAML("MlpPolicy", "tests/Navigation2D-v0", rate=5.0, rollouts=metarl.Rollouts(trajectories=50), device="cpu")
    policies = [agent.adapt(gym.make("tests/Navigation2D-v0", task={"goal": [x, 0.0]})) for x in (-0.5, 0.5)]
    left, right = (policy.predict(np.zeros(2, np.float32), deterministic=True)[0] for policy in policies)
    assert left[0] < right[0] - 0.1


def test_adapting_a_policy_to_an_environment_without_tasks():
    agent = metarl.MAML(
        "MlpPolicy", "metarl/BernoulliBandit-v0", env_kwargs={"arms": 2}, rollouts=metarl.Rollouts(trajectories=2)
    )

    class Plain(gym.Env):
        observation_space, action_space = gym.spaces.Box(0, 1, (1,), np.float32), gym.spaces.Discrete(2)

        def reset(self, *, seed=None, options=None):
            super().reset(seed=seed)
            return np.ones(1, np.float32), {}

        def step(self, action):
            return np.ones(1, np.float32), 1.0, False, False, {}

    assert agent.adapt(gym.wrappers.TimeLimit(Plain(), 5)).predict(np.ones(1, np.float32))[0] in (0, 1)


def test_predict_adapts_a_predictor_to_the_observation():
    agent = metarl.MAML(weight(0.0), "tests/Line-v0", rate=0.25, inner_steps=2, device="cpu")
    observation = {name: np.array([[value]], np.float32) for name, value in {"support_inputs": 1, "support_targets": 8}.items()}
    observation["query_inputs"] = np.array([[2.0], [-1.0]], np.float32)
    prediction, _ = agent.predict(observation)
    assert prediction.tolist() == [[12], [-6]]  # the weight went to 4, and to 6
    assert agent.adapt(observation, steps=0).predict(observation["query_inputs"]).tolist() == [[0], [0]]
    assert agent.adapt(observation, steps=1).outputs(np.array([[3.0]])).tolist() == [[12]]


def test_a_predictor_takes_each_row_of_a_vector_environment_as_its_own_task():
    agent = metarl.MAML("MLP", "metarl/Sine-v0", rate=0.1, policy_kwargs={"init": "torch", "hidden": (8,)}, device="cpu")
    observation, _ = gym.make_vec("metarl/Sine-v0", num_envs=3).reset(seed=0)
    together, _ = agent.predict(observation)
    for row in range(3):
        alone, _ = agent.predict({name: part[row] for name, part in observation.items()})
        np.testing.assert_allclose(together[row], alone, rtol=1e-6)


def test_a_predictor_adapts_to_the_episode_in_force():
    agent, env = make("sine"), gym.make("metarl/Sine-v0")
    observation, _ = env.reset(seed=0)
    inputs = observation["query_inputs"]
    np.testing.assert_array_equal(agent.adapt(env).predict(inputs), agent.adapt(observation).predict(inputs))


def test_adapting_and_evaluating_do_not_change_a_run():
    one, two = make("bandit"), make("bandit")
    one.adapt(gym.make("metarl/BernoulliBandit-v0"))
    one.evaluate(2)
    one.predict(np.ones(1, np.float32))
    assert same(state(one.learn(1)), state(two.learn(1)))


def test_what_was_adapted_stays_when_the_agent_learns_on():
    agent = metarl.MAML(weight(0.0), "tests/Line-v0", rate=0.25, device="cpu")
    predictor = agent.adapt(agent.env)
    before = predictor.outputs(np.ones((1, 1)))
    agent.learn(3)
    agent.meta["theta"].add_(5)
    assert predictor.outputs(np.ones((1, 1))) == before


# -- networks and environments of one's own


def test_a_users_own_network_serves():
    policy = nn.Sequential(nn.Linear(2, 8), nn.GELU(), nn.Linear(8, 2))
    agent = metarl.MetaSGD(
        policy,
        "tests/Navigation2D-v0",
        policy_kwargs={"log_std": -1.0},
        rollouts=metarl.Rollouts(trajectories=2),
        meta_batch=2,
        device="cpu",
    )
    assert agent.meta["theta"].numel() == 8 * 3 + 2 * 9 + 2
    assert (agent.adapter.learner.unflatten(agent.meta["theta"], torch.zeros(0))["log_std"] == -1).all()
    agent.learn(1)
    predictor = nn.Sequential(nn.Linear(1, 8), nn.GELU(), nn.Linear(8, 1))
    metarl.MAML(predictor, "metarl/Sine-v0", device="cpu").learn(1)


def test_any_vector_environment_gives_what_the_tensor_one_gives():
    def run(mode):
        # a baseline fitted to so few steps, and a Fisher matrix of so few, would make much of rounding
        rollouts = metarl.Rollouts(trajectories=3, vectorisation=mode, advantages="raw", baseline="none")
        agent = make("navigation", rollouts=rollouts, dtype="float32", outer="policy_gradient")
        return agent.learn(1).evaluate(3).values

    np.testing.assert_allclose(run("auto"), run("sync"), rtol=1e-4)


def test_the_adapter_copies_go_their_own_ways():
    class Dial(gym.Env):
        observation_space, action_space = gym.spaces.Box(-1, 1, (1,), np.float32), gym.spaces.Box(-1, 1, (1,), np.float32)
        mark = 0.0

        def reset(self, *, seed=None, options=None):
            super().reset(seed=seed)
            return np.zeros(1, np.float32), {}

        def step(self, action):
            return np.zeros(1, np.float32), float(self.mark), False, False, {}

    env = metarl.TaskAdapter(
        gym.wrappers.TimeLimit(Dial(), 2),
        sample=lambda env, n, split: env.np_random.uniform(-1, 1, n).tolist(),
        set_task=lambda env, task: setattr(env, "mark", task),
    )
    agent = metarl.MAML("MlpPolicy", env, meta_batch=3, rollouts=metarl.Rollouts(trajectories=2), device="cpu")
    tasks = agent.source.sample(3, "train", agent.streams["tasks"])
    query = agent.adapter.adapt(agent.meta, tasks, agent.streams["noise"]).experiences[0]
    np.testing.assert_allclose(query.returns.numpy(), 2 * np.array(tasks)[:, None].repeat(2, 1), rtol=1e-5)


def test_discrete_actions_may_start_anywhere():
    class FromFive(gym.Env):
        observation_space, action_space = gym.spaces.Box(-1, 1, (1,), np.float32), gym.spaces.Discrete(2, start=5)

        def sample_tasks(self, n):
            return [0] * n

        def set_task(self, task):
            pass

        def reset(self, *, seed=None, options=None):
            super().reset(seed=seed)
            return np.zeros(1, np.float32), {}

        def step(self, action):
            assert self.action_space.contains(action)
            return np.zeros(1, np.float32), 0.0, False, False, {}

    env = metarl.TaskAdapter(gym.wrappers.TimeLimit(FromFive(), 3))
    agent = metarl.MAML("MlpPolicy", env, meta_batch=2, rollouts=metarl.Rollouts(trajectories=2), device="cpu").learn(1)
    assert agent.predict(np.zeros(1, np.float32))[0] in (5, 6)


def test_closing_an_agent_closes_its_environments():
    agent, closed = make("bandit").learn(1), []
    env = agent.adapter.problem._env
    close = env.close
    env.close = lambda: closed.append(1) or close()
    agent.close()
    assert closed == [1]
    agent.learn(1)  # they are made anew


# -- rules


def test_a_rule_may_have_parameters_that_these_steps_do_not_use():
    agent = make("bandit", "rates by step", inner_steps=1)
    before = agent.meta["rule.table"].detach().clone()
    agent.learn(1)
    assert agent.meta["rule.table"][0] != before[0]
    torch.testing.assert_close(agent.meta["rule.table"][1:], before[1:])


class TwoParameters(GradientDescent):
    def __init__(self, layout):
        super().__init__(layout, 0.1, "global")
        self.spare = nn.Parameter(torch.ones(3))


def test_trpo_takes_a_rule_with_a_spare_parameter():
    options = {**WORLDS["bandit"], "device": "cpu"}
    agent = metarl.Agent(options.pop("policy"), options.pop("env"), rule=TwoParameters, **options).learn(1)
    assert torch.equal(agent.meta["rule.spare"], torch.ones(3))


@pytest.mark.parametrize("wrong", [lambda theta: theta, lambda theta: (theta[:-1], ()), lambda theta: (theta, (), ())])
def test_a_rule_that_returns_something_else_is_named(wrong):
    class Wrong(rules.UpdateRule):
        def forward(self, theta, gradient, loss, state, step):
            return wrong(theta)

    with pytest.raises(ConfigError, match=r"rule=Wrong must return the moved theta, of shape \(1761,\), and its state"):
        metarl.Agent("MLP", "metarl/Sine-v0", rule=Wrong).learn(1)


# -- bad input


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        (
            {"env": "metarl/Navigaton2D-v0"},
            ConfigError,
            "env='metarl/Navigaton2D-v0' is not known: did you mean 'metarl/Navigation2D",
        ),
        ({"env": "metarl:metarl/Navigaton2D-v0"}, ConfigError, "did you mean 'metarl/Navigation2D"),
        ({"env": "CartPol-v1"}, ConfigError, "did you mean 'CartPole-v1'"),
        ({"policy": nn.Sequential(nn.Linear(2, 2), nn.Dropout())}, ConfigError, "draws noise of its own"),
        ({"policy": nn.Linear}, ConfigError, r"policy=Linear is a class: give an instance, Linear\(...\)"),
        ({"rollouts": {"trajectories": 2}}, ConfigError, r"rollouts={'trajectories': 2} must be a metarl.Rollouts"),
        ({"device": "gpu"}, ConfigError, "device='gpu' is not known: .*auto, cpu, cuda"),
        ({"policy": "MlpPolcy"}, ConfigError, "policy='MlpPolcy' is not known: did you mean 'MlpPolicy'"),
        ({"env": "CartPole-v1"}, TaskError, "has no tasks: it needs sample_tasks"),
        ({"inner_steps": -1}, ConfigError, "inner_steps=-1 must be a whole number, not negative"),
        ({"inner_steps": 2.5}, ConfigError, r"inner_steps=2\.5 must be a whole number"),
        ({"inner_clip": "x"}, ConfigError, "inner_clip='x' must be a number above zero"),
        ({"outer": "trop"}, ConfigError, "outer='trop' is not known: did you mean 'trpo'"),
        ({"outer": "gradient_descent"}, ConfigError, "outer='gradient_descent' is for predictors, not policies: choose one of"),
        ({"policy": nn.Linear(2, 3)}, ConfigError, r"gives outputs of shape \(1, 3\).*needs 2 outputs"),
        ({"policy": nn.Linear(5, 2)}, ConfigError, r"cannot take an observation batch of shape \(1, 2\)"),
        ({"policy_kwargs": {"widths": 3}}, ConfigError, "policy_kwargs={'widths': 3} does not fit MlpPolicy"),
        ({"policy_kwargs": {"hidden": (0,)}}, ConfigError, r"hidden\[0\]=0"),
        (
            {"env_kwargs": {"goal": 1}},
            ConfigError,
            "env_kwargs: metarl/Navigation2D-v0's argument='goal' is not known: choose one of action_limit",
        ),
        ({"adapted": "tail"}, ConfigError, "adapted='tail' matches no parameter"),
        ({"env": "metarl/Sine-v0", "policy": "MlpPolicy"}, ConfigError, "policy='MlpPolicy' is not known: .*MLP"),
        ({"env": "metarl/Sine-v0", "policy": "Conv4"}, ConfigError, "policy='Conv4' is not known: .*MLP"),
        ({"policy": "Conv4"}, ConfigError, "policy='Conv4' is not known: .*MlpPolicy"),
        (
            {"env": "metarl/Sine-v0", "policy": "MLP", "outer": "trpo"},
            ConfigError,
            "outer='trpo' is for policies, not predictors",
        ),
        ({"env": "metarl/Sine-v0", "policy": nn.Linear(1, 2)}, ConfigError, "gives outputs of shape"),
        (
            {"env": "metarl/Sine-v0", "policy": "MLP", "rollouts": metarl.Rollouts()},
            ConfigError,
            "is for policies; 'metarl/Sine-v0' has few-shot episodes",
        ),
    ],
)
def test_bad_arguments_are_named(arguments, error, says):
    options = {"policy": "MlpPolicy", "env": "metarl/Navigation2D-v0", **arguments}
    with pytest.raises(error, match=says):
        metarl.MetaSGD(options.pop("policy"), options.pop("env"), **{"device": "cpu", **options})


@pytest.mark.parametrize(
    ("cls", "options", "says"),
    [
        (metarl.TURTLE, {"hidden": 20}, "hidden=20 must be the widths"),
        (metarl.TURTLE, {"inputs": 5}, "inputs=5 must be names"),
        (metarl.Agent, {"rule": "turtle"}, "rule='turtle' must be a class"),
        (metarl.Agent, {}, "rule=None must be a class"),
        (metarl.Agent, {"rule": GradientDescent, "rule_kwargs": {"rat": 1}}, "rule_kwargs={'rat': 1} does not fit Gradient"),
    ],
)
def test_bad_rules_are_named(cls, options, says):
    with pytest.raises(ConfigError, match=says):
        cls("MLP", "metarl/Sine-v0", **options)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_named():
    with pytest.raises(ConfigError, match="device='cuda' is not to be had: PyTorch sees no GPU here"):
        metarl.MAML("MLP", "metarl/Sine-v0", device="cuda")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"trajectories": 0}, "trajectories=0 must be above zero"),
        ({"trajectories": 1.5}, r"trajectories=1\.5 must be a whole number"),
        ({"discount": 1.1}, r"discount=1.1 must lie in \[0, 1\]"),
        ({"gae_lambda": -0.1}, "gae_lambda=-0.1"),
        ({"advantages": "normalized"}, "advantages='normalized' is not known: did you mean 'normalised'"),
        ({"reward": "square"}, "reward='square' is not known: did you mean 'squared'"),
        ({"max_envs": 0}, "max_envs=0 must be above zero"),
        ({"time_limit_value": True, "baseline": "none"}, "time_limit_value=True needs a baseline"),
        ({"normalise_observations": 1}, "normalise_observations=1 must be True or False"),
    ],
)
def test_bad_rollouts_are_named(options, says):
    with pytest.raises(ConfigError, match=says):
        metarl.Rollouts(**options)


def test_bad_counts_are_named():
    agent = make("sine")
    for call, says in [
        (lambda: agent.learn(0), "iterations=0"),
        (lambda: agent.learn(1.5), "iterations=1.5 must be a whole number"),
        (lambda: agent.learn(1, log_interval=0), "log_interval=0"),
        (lambda: agent.learn(1, validate_every=-1), "validate_every=-1"),
        (lambda: agent.learn(1, picture_every=-1), "picture_every=-1 must not be negative"),
        (lambda: agent.learn(1, validation_tasks=0), "validation_tasks=0"),
        (lambda: agent.evaluate(-1), "tasks=-1"),
        (lambda: agent.evaluate(1, repeats=0), "repeats=0"),
        (lambda: agent.evaluate(1, steps=-1), "steps=-1"),
        (lambda: agent.adapt(None), "needs an episode environment"),
        (lambda: agent.adapt(agent.env, steps=1.5), r"steps=1\.5"),
    ]:
        with pytest.raises(ConfigError, match=says):
            call()


def test_an_agent_says_what_it_is():
    agent = metarl.MAML("MlpPolicy", "metarl/Navigation2D-v0", policy_kwargs={"hidden": (4,)}, device="cpu")
    assert repr(agent) == "<MAML with MlpPolicy on 'metarl/Navigation2D-v0', after 0 iterations>"
