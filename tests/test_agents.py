"""Agents as a user meets them, in both worlds."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3.common.callbacks import CheckpointCallback, EvalCallback
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.logger import configure
from stable_baselines3.common.monitor import Monitor
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn

import metarl
from metarl import rules
from metarl.errors import ConfigError, NonFiniteError, TaskError
from metarl.rules import GradientDescent
from tests.worlds import WORLDS, flat, make

AGENTS = {
    "MAML": (metarl.MAML, {}),
    "MetaSGD": (metarl.MetaSGD, {}),
    "MetaLSTM": (metarl.MetaLSTM, {"hidden": 3}),
    "MetaLSTM2": (metarl.MetaLSTM2, {"hidden": 3, "rate": 0.1, "inner_steps": 1}),
    "TURTLE": (metarl.TURTLE, {"hidden": (4, 4)}),
    "AlphaMAML": (metarl.AlphaMAML, {}),
}
OUTER = {
    "navigation": ["trpo", "policy_gradient"],
    "bandit": ["trpo", "policy_gradient"],
    "sine": ["gradient_descent"],
    "images": ["gradient_descent"],
}


def user_agent(kind, world, **changes):
    cls, own = AGENTS[kind]
    options = {**WORLDS[world], **own, **changes}
    return cls(options.pop("policy"), options.pop("env"), device="cpu", **options)


@pytest.mark.parametrize(("world", "outer"), [(world, outer) for world, loops in OUTER.items() for outer in loops])
@pytest.mark.parametrize("kind", AGENTS)
class TestContract:
    def test_a_seed_fixes_a_run_bit_for_bit(self, kind, world, outer):
        runs = [flat(user_agent(kind, world, outer=outer, seed=3).learn(3).meta) for _ in range(2)]
        assert torch.equal(*runs)
        other = user_agent(kind, world, outer=outer, seed=4).learn(3)
        assert not torch.equal(runs[0], flat(other.meta))

    def test_learning_in_pieces_is_learning_in_one(self, kind, world, outer):
        whole = user_agent(kind, world, outer=outer).learn(4, validate_every=2, validation_tasks=4)
        pieces = user_agent(kind, world, outer=outer).learn(1, log_interval=5)
        pieces.learn(3, validate_every=2, validation_tasks=4)
        assert torch.equal(flat(whole.meta), flat(pieces.meta))

    def test_save_and_load_give_back_everything(self, kind, world, outer, tmp_path):
        agent = user_agent(kind, world, outer=outer).learn(2, validate_every=1, validation_tasks=4)
        path = agent.save(tmp_path / "agent")
        again = AGENTS[kind][0].load(path)
        assert torch.equal(flat(agent.meta), flat(again.meta))
        assert (again.iteration, again.num_timesteps) == (2, agent.num_timesteps)
        assert again.best["score"] == agent.best["score"]
        np.testing.assert_array_equal(agent.evaluate(5).values, again.evaluate(5).values)
        assert torch.equal(flat(agent.learn(2).meta), flat(again.learn(2).meta))

    def test_the_log_has_the_figures_that_matter(self, kind, world, outer, tmp_path):
        agent = user_agent(kind, world, outer=outer, tensorboard_log=str(tmp_path), inner_steps=2)
        agent.learn(2, figure_every=2, tb_log_name="run")
        events = EventAccumulator(str(tmp_path / "run_1"))
        events.Reload()
        figure = agent.world.problem.figure
        wanted = {f"{figure}/after_{step}_steps" for step in range(3)} | {"train/adaptation_gain", "train/gradient_norm"}
        wanted |= {"time/sampling_seconds", "time/adaptation_seconds", "time/outer_step_seconds"}
        if world not in ("sine", "images"):
            wanted.add("time/env_steps_per_second")
        if outer == "trpo":
            wanted |= {"train/kl", "train/line_search_steps"}
        if kind == "AlphaMAML":
            wanted |= {"train/alpha", "train/beta"}
        if kind.startswith("MetaLSTM"):
            wanted |= {"train/forget_gate_of_step_2", "train/input_gate_of_step_2"}
        assert wanted <= set(events.Tags()["scalars"])
        assert [event.step for event in events.Scalars("train/adaptation_gain")] == [1, 2]
        pictures = set(events.Tags()["images"])
        assert ("figures/adaptation" in pictures) == (world != "bandit")
        assert ("figures/updates" in pictures) == (kind != "MAML")
        assert ("figures/gates" in pictures) == kind.startswith("MetaLSTM")


@pytest.mark.parametrize("world", ["navigation", "bandit"])
def test_an_adapted_policy_works_in_sb3(world):
    agent = user_agent("MetaSGD", world)
    env = Monitor(gym.make(WORLDS[world]["env"]))
    env.reset(seed=0)
    policy = agent.adapt(env)
    returns, _ = evaluate_policy(policy, env, n_eval_episodes=2, return_episode_rewards=True)
    assert len(returns) == 2
    action, _ = policy.predict(env.observation_space.sample(), deterministic=True)
    assert env.action_space.contains(action)


def test_adaptation_uses_the_environments_own_task():
    agent = user_agent("MAML", "navigation", rate=5.0, rollouts=metarl.Rollouts(trajectories=50))
    policies = [agent.adapt(gym.make("metarl/Navigation2D-v0", task={"goal": [x, 0.0]})) for x in (-0.5, 0.5)]
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
    agent = user_agent("MAML", "sine", rate=0.05, inner_steps=5, policy_kwargs={"init": "torch"})
    env = gym.make("metarl/Sine-v0")
    observation, _ = env.reset(seed=1)
    prediction, _ = agent.predict(observation)
    assert prediction.shape == env.action_space.shape
    support = {**observation, "query_inputs": observation["support_inputs"]}

    def error(values):
        return np.square(values - observation["support_targets"]).mean()

    before = agent.adapt(observation, steps=0).predict(observation["support_inputs"])
    assert error(agent.predict(support)[0]) < error(before)
    np.testing.assert_array_equal(agent.adapt(observation).predict(observation["query_inputs"]), prediction)


@pytest.mark.parametrize("world", ["navigation", "sine"])
def test_learning_helps(world):
    changes = {"meta_batch": 10, "policy_kwargs": {"hidden": (30,)}}
    if world == "navigation":
        changes |= {"rollouts": metarl.Rollouts(trajectories=10, reward="squared", advantages="raw"), "rate": 0.05}
    else:
        changes |= {"rate": 0.02, "outer": metarl.GradientDescent(learning_rate=0.01)}
    agent = user_agent("MetaSGD", world, **changes)
    before = agent.evaluate(30).mean[1]
    after = agent.learn(12 if world == "navigation" else 300, log_interval=100).evaluate(30).mean[1]
    assert after > before + 10 if world == "navigation" else after < before - 0.5


def test_sb3_callbacks_and_loggers_are_taken(tmp_path):
    agent = user_agent("MetaSGD", "navigation")
    agent.set_logger(configure(str(tmp_path), ["csv"]))
    callbacks = [
        CheckpointCallback(2, str(tmp_path), name_prefix="agent"),
        EvalCallback(Monitor(gym.make("metarl/Navigation2D-v0")), eval_freq=2, n_eval_episodes=1, verbose=0),
    ]
    agent.learn(2, callback=callbacks)
    assert list(tmp_path.glob("agent_*_steps.zip"))
    assert torch.equal(flat(metarl.MetaSGD.load(next(tmp_path.glob("agent_*_steps.zip"))).meta), flat(agent.meta))
    assert "return/after_1_steps" in (tmp_path / "progress.csv").read_text().splitlines()[0]
    agent.learn(5, callback=lambda local, _: False)
    assert agent.iteration == 3
    agent.logger.close()


def test_the_best_iterate_is_kept_and_restored():
    agent = user_agent("MAML", "sine", outer=metarl.GradientDescent(learning_rate=0.01)).learn(40, validate_every=10)
    best = agent.best
    agent.learn(1)
    with torch.no_grad():
        agent.meta["theta"] += 10
    assert agent.validate() > -best["score"]
    assert agent.best is best
    assert torch.equal(agent.restore_best().meta["theta"], best["meta"]["theta"])
    assert agent.validate() == pytest.approx(-best["score"])


def test_evaluations_are_paired_and_repeatable():
    one, two = user_agent("MAML", "navigation"), user_agent("MetaSGD", "navigation", rate=0.1)
    np.testing.assert_array_equal(one.evaluate(5).values, one.evaluate(5).values)
    np.testing.assert_array_equal(one.evaluate(5).values, two.evaluate(5).values)  # the same start, rates and noise
    assert not np.array_equal(one.evaluate(5, seed=1).values, one.evaluate(5).values)
    assert one.evaluate(3, steps=3).values.shape == (3, 4)


def test_a_users_own_network_serves():
    policy = nn.Sequential(nn.Linear(2, 8), nn.GELU(), nn.Linear(8, 2))
    agent = user_agent("MetaSGD", "navigation", policy=policy, policy_kwargs={"log_std": -1.0}).learn(1)
    assert agent.meta["theta"].numel() == 8 * 3 + 2 * 9 + 2
    predictor = nn.Sequential(nn.Linear(1, 8), nn.GELU(), nn.Linear(8, 1))
    user_agent("MAML", "sine", policy=predictor, policy_kwargs=None).learn(1)


def test_synchronous_and_asynchronous_environments_agree():
    def run(mode):
        rollouts = metarl.Rollouts(trajectories=2, vectorization=mode)
        return flat(user_agent("MAML", "bandit", rollouts=rollouts).learn(1).meta)

    assert torch.equal(run("sync"), run("async"))


def test_any_vector_environment_gives_what_the_tensor_one_gives():
    def run(mode):
        rollouts = metarl.Rollouts(trajectories=3, vectorization=mode)
        return user_agent("MAML", "navigation", rollouts=rollouts).learn(1).evaluate(3).values

    np.testing.assert_allclose(run("auto"), run("sync"), rtol=1e-4)


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
    agent = metarl.MetaSGD("MlpPolicy", env, outer=outer, meta_batch=2, rollouts=metarl.Rollouts(trajectories=2)).learn(2)
    before = flat(agent.meta)
    monkeypatch.setattr(Blowup, "bad", True)
    with pytest.raises(NonFiniteError, match=r"iteration 3: reward is not finite in task \{'level'"):
        agent.learn(1)
    assert torch.equal(flat(agent.meta), before)
    assert agent.iteration == 2
    monkeypatch.setattr(Blowup, "bad", False)
    agent.learn(1)


def test_an_infinite_loss_refuses_the_outer_step():
    agent = user_agent("MAML", "sine").learn(1)
    agent.world.problem._loss = lambda outputs, targets: (outputs - targets).square().mean() / 0
    before = flat(agent.meta)
    with pytest.raises(NonFiniteError, match="iteration 2: the query loss or meta-gradient is not finite"):
        agent.learn(1)
    assert torch.equal(flat(agent.meta), before)


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
        ({"meta_batch": 0}, ConfigError, "meta_batch=0 must be above zero"),
        ({"inner_steps": -1}, ConfigError, "inner_steps=-1 must be a whole number, not negative"),
        ({"outer": "trop"}, ConfigError, "outer='trop' is not known: did you mean 'trpo'"),
        ({"dtype": "float16"}, ConfigError, "dtype='float16' is not known"),
        ({"policy": nn.Linear(2, 3)}, ConfigError, r"gives outputs of shape \(1, 3\).*needs 2 outputs"),
        ({"policy": nn.Linear(5, 2)}, ConfigError, r"cannot take an observation batch of shape \(1, 2\)"),
        ({"policy_kwargs": {"widths": 3}}, ConfigError, "policy_kwargs={'widths': 3} does not fit MlpPolicy"),
        ({"policy_kwargs": {"hidden": (0,)}}, ConfigError, r"hidden\[0\]=0"),
        ({"env_kwargs": {"goal": 1}}, ConfigError, "env_kwargs={'goal': 1} does not fit"),
        ({"adapted": "tail"}, ConfigError, "adapted='tail' matches no parameter"),
        ({"rate": -1.0}, ConfigError, "must be above zero"),
        ({"env": "metarl/Sine-v0", "policy": "MlpPolicy"}, ConfigError, "policy='MlpPolicy' is not known: .*MLP"),
        ({"env": "metarl/Sine-v0", "policy": "MLP", "outer": "trpo"}, ConfigError, "outer='trpo' needs a policy"),
        ({"env": "metarl/Sine-v0", "policy": nn.Linear(1, 2)}, ConfigError, "gives outputs of shape"),
    ],
)
def test_bad_arguments_are_named(arguments, error, says):
    options = {"policy": "MlpPolicy", "env": "metarl/Navigation2D-v0", **arguments}
    with pytest.raises(error, match=says):
        metarl.MetaSGD(options.pop("policy"), options.pop("env"), **{"device": "cpu", **options})


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_named():
    with pytest.raises(ConfigError, match="device='cuda' is not to be had: PyTorch sees no GPU here"):
        metarl.MAML("MLP", "metarl/Sine-v0", device="cuda")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"trajectories": 0}, "trajectories=0 must be above zero"),
        ({"discount": 1.1}, r"discount=1.1 must lie in \[0, 1\]"),
        ({"gae_lambda": -0.1}, "gae_lambda=-0.1"),
        ({"advantages": "normalized"}, "advantages='normalized' is not known: did you mean 'normalised'"),
        ({"reward": "square"}, "reward='square' is not known: did you mean 'squared'"),
    ],
)
def test_bad_rollouts_are_named(options, says):
    with pytest.raises(ConfigError, match=says):
        metarl.Rollouts(**options)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"learning_rate": 0}, "learning_rate=0 must be above zero"),
        ({"optimizer": "Adm"}, "optimizer='Adm' is not known: did you mean 'Adam'"),
        ({"clip_norm": -1}, "clip_norm=-1"),
        ({"optimizer": "LBFGS"}, "optimizer='LBFGS' is not known"),
        ({"optimizer_kwargs": {"beta": 1}}, "optimizer_kwargs={'beta': 1} does not fit Adam"),
    ],
)
def test_bad_gradient_descent_is_named(options, says):
    with pytest.raises(ConfigError, match=says):
        metarl.GradientDescent(**options).start({"theta": torch.zeros(2, requires_grad=True)})


def test_evaluating_elsewhere_changes_only_what_is_said():
    agent = user_agent("MAML", "sine", env_kwargs={"frequency": (0.8, 1.2), "phase_sign": 1})
    same = agent.evaluate(5, env_kwargs={"shots": 5})
    np.testing.assert_array_equal(same.values, agent.evaluate(5).values)
    assert not np.array_equal(agent.evaluate(5, env_kwargs={"phase_sign": -1}).values, same.values)


def test_adapting_does_not_change_a_run():
    one, two = user_agent("MAML", "navigation"), user_agent("MAML", "navigation")
    one.adapt(gym.make("metarl/Navigation2D-v0"))
    assert torch.equal(flat(one.learn(1).meta), flat(two.learn(1).meta))


def test_one_outer_loop_can_be_given_to_two_agents():
    outer = metarl.GradientDescent()
    one, two = user_agent("MAML", "sine", outer=outer), user_agent("MAML", "sine", outer=outer)
    assert torch.equal(flat(one.learn(2).meta), flat(two.learn(2).meta))
    assert not torch.equal(flat(one.meta), flat(user_agent("MAML", "sine").meta))


def test_a_predictor_takes_each_row_of_a_vector_environment_as_its_own_task():
    agent = user_agent("MAML", "sine", rate=0.1, policy_kwargs={"init": "torch"})
    vector = gym.make_vec("metarl/Sine-v0", num_envs=3)
    observation, _ = vector.reset(seed=0)
    together, _ = agent.predict(observation)
    for row in range(3):
        alone, _ = agent.predict({name: part[row] for name, part in observation.items()})
        np.testing.assert_allclose(together[row], alone, rtol=1e-6)


def test_a_predictor_adapts_to_the_episode_in_force():
    agent = user_agent("MAML", "sine", rate=0.1, policy_kwargs={"init": "torch"})
    env = gym.make("metarl/Sine-v0")
    observation, _ = env.reset(seed=0)
    inputs = observation["query_inputs"]
    np.testing.assert_array_equal(agent.adapt(env).predict(inputs), agent.adapt(observation).predict(inputs))


def test_a_rule_may_have_parameters_that_these_steps_do_not_use():
    agent = make("navigation", "rates by step", inner_steps=1)
    before = agent.meta["rule.table"].detach().clone()
    agent.learn(1)
    assert agent.meta["rule.table"][0] != before[0]
    torch.testing.assert_close(agent.meta["rule.table"][1:], before[1:])


class TwoParameters(GradientDescent):
    def __init__(self, layout):
        super().__init__(layout, 0.1, "global")
        self.spare = nn.Parameter(torch.ones(3))


def test_trpo_takes_a_rule_with_a_spare_parameter():
    options = {**WORLDS["navigation"], "device": "cpu"}
    agent = metarl.Agent(options.pop("policy"), options.pop("env"), rule=TwoParameters, **options).learn(1)
    assert torch.equal(agent.meta["rule.spare"], torch.ones(3))


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
    tasks = agent.world.sample(3, "train", agent.generator)
    query = agent.inner.adapt(agent.meta, tasks, agent.generator).experiences[0]
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


def test_bad_counts_are_named():
    agent = make("sine")
    for call, says in [
        (lambda: agent.learn(0), "iterations=0"),
        (lambda: agent.learn(1.5), "iterations=1.5 must be a whole number"),
        (lambda: agent.learn(1, log_interval=0), "log_interval=0"),
        (lambda: agent.evaluate(-1), "tasks=-1"),
        (lambda: agent.evaluate(1, steps=-1), "steps=-1"),
        (lambda: agent.adapt(None), "needs an episode environment"),
    ]:
        with pytest.raises(ConfigError, match=says):
            call()


@pytest.mark.parametrize("optimizer", ["SGD", "AdamW", "RMSprop"])
def test_any_torch_optimiser_serves(optimizer):
    agent = user_agent("MAML", "sine", outer=metarl.GradientDescent(optimizer=optimizer, learning_rate=0.01))
    before = flat(agent.meta)
    assert not torch.equal(flat(agent.learn(1).meta), before)


def test_clipping_bounds_the_step():
    agent = user_agent("MAML", "sine", outer=metarl.GradientDescent(optimizer="SGD", learning_rate=1.0, clip_norm=1e-3))
    before = flat(agent.meta)
    agent.learn(1)
    assert (flat(agent.meta) - before).norm().item() == pytest.approx(1e-3, rel=1e-3)
    agent = user_agent("MAML", "sine", outer=metarl.GradientDescent(optimizer="SGD", learning_rate=1.0, clip_value=1e-4))
    before = flat(agent.meta)
    agent.learn(1)
    assert (flat(agent.meta) - before).abs().max().item() == pytest.approx(1e-4, rel=1e-2)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"rule": rules.MetaLSTM}, "rule=MetaLSTM has other learned parameters than rates"),
        ({"rule": rules.TURTLE}, "rule=TURTLE has other learned parameters than rates"),
        ({"rule": GradientDescent}, "rule=GradientDescent has no rates for alpha"),
    ],
)
def test_hypergradients_need_rates(changes, says):
    with pytest.raises(ConfigError, match=says):
        metarl.Agent("MLP", "metarl/Sine-v0", outer=metarl.HypergradientDescent(), **changes)
    agent = metarl.Agent("MLP", "metarl/Sine-v0", outer=metarl.HypergradientDescent(), rule=rules.MetaSGD)
    assert agent.learn(1).meta["rule.alpha"].std() > 0


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"alpha_hyper": -1.0}, "alpha_hyper=-1.0 must lie in"),
        ({"alpha_hyper": "x"}, "alpha_hyper='x' must be a number"),
        ({"learning_rate": float("inf")}, "learning_rate=inf must be above zero"),
        ({"reduction": "max"}, "reduction='max' must be 'sum' or 'mean'"),
        ({"optimizer": "Sgd"}, "optimizer='Sgd' is not known: choose one of"),
        ({"optimizer": "AdamW"}, "not on parameters as weight decay does"),
        ({"optimizer_kwargs": {"weight_decay": 0.1}}, "not on parameters as weight decay does"),
        ({"optimizer": "Adam", "trpo": metarl.TRPO()}, "optimizer='Adam'.* have no part under TRPO"),
        ({"trpo": True}, "trpo=True must be a metarl.TRPO"),
    ],
)
def test_hypergradient_options_are_checked(options, says):
    with pytest.raises(ConfigError, match=says):
        metarl.HypergradientDescent(**options)


def test_alpha_maml_says_what_it_cannot_do():
    with pytest.raises(ConfigError, match="outer='trpo' needs a policy"):
        metarl.AlphaMAML("MLP", "metarl/Sine-v0", outer="trpo")
    with pytest.raises(ConfigError, match="moves no rates: give AlphaMAML a metarl"):
        metarl.AlphaMAML("MLP", "metarl/Sine-v0", outer=metarl.GradientDescent())
    with pytest.raises(ConfigError, match="hidden=20 must be the widths"):
        metarl.TURTLE("MLP", "metarl/Sine-v0", hidden=20)
    with pytest.raises(ConfigError, match="inputs=5 must be names"):
        metarl.TURTLE("MLP", "metarl/Sine-v0", inputs=5)
    with pytest.raises(ConfigError, match="inner_clip='x' must be a number above zero"):
        metarl.MAML("MLP", "metarl/Sine-v0", inner_clip="x")
    with pytest.raises(ConfigError, match=r"inner_steps=2.5 must be a whole number"):
        metarl.MAML("MLP", "metarl/Sine-v0", inner_steps=2.5)


@pytest.mark.parametrize("wrong", [lambda theta: theta, lambda theta: (theta[:-1], ()), lambda theta: (theta, (), ())])
def test_a_rule_that_returns_something_else_is_named(wrong):
    class Wrong(rules.UpdateRule):
        def forward(self, theta, gradient, loss, state, step):
            return wrong(theta)

    with pytest.raises(ConfigError, match=r"rule=Wrong must return the moved theta, of shape \(1761,\), and its state"):
        metarl.Agent("MLP", "metarl/Sine-v0", rule=Wrong).learn(1)
    with pytest.raises(ConfigError, match="rule='turtle' must be a class"):
        metarl.Agent("MLP", "metarl/Sine-v0", rule="turtle")


def test_pictures_of_an_adaptation_that_diverges():
    agent = metarl.MetaSGD("MLP", "metarl/Sine-v0", rate=1e30, inner_steps=4, policy_kwargs={"init": "torch"})
    assert not agent.evaluate(3).mean[-1] < 1e30
    for figure in agent.pictures().values():
        figure.canvas.draw()
