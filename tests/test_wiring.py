"""What is handed on from one part to the next arrives: each option of a command, each value of a run, each random stream."""

import math
from types import SimpleNamespace

import gymnasium as gym
import numpy as np
import pytest
import torch

import metarl
from metarl.adapters import GradientAdapter
from metarl.adapters.base import shared
from metarl.agents import Agent, training
from metarl.commands import evaluate, run_folder, train
from metarl.commands.printing import row_of
from metarl.commands.run import Run
from metarl.commands.table import Cell, Measured, Table
from metarl.evaluation import Evaluation
from metarl.logger import metrics
from metarl.normalisation import with_our_batch_norm
from metarl.outer import TRPO, GradientDescent, HypergradientDescent
from metarl.outer.trpo import _Policies, surrogate, surrogate_and_kl
from metarl.problems import SupervisedProblem
from metarl.sampling.row_stepper import RowStepper, Steps
from metarl.sampling.vector import SteppedVectorEnv
from metarl.streams import stream
from metarl.tasks import Episodes, Examples
from tests.small import small
from tests.toys import weight
from tests.worlds import gathered


class Recorded:
    """Stands for an agent, and keeps what it is asked."""

    def __init__(self, iteration=0):
        self.asked, self.is_best, self.iteration = [], False, iteration
        self.best = None
        self.adapter = SimpleNamespace(stage="inner step")
        self.env = SimpleNamespace(unwrapped=None)
        self.is_closed = False

    def close(self):
        self.is_closed = True

    def restore_best(self):
        self.is_best = True
        return self

    def learn(self, iterations, **options):
        self.asked.append(("learn", iterations, options))

    def evaluate(self, tasks, steps, **options):
        self.asked.append(("evaluate", tasks, steps, options, self.is_best))
        return Evaluation("loss", np.zeros((2, 1)), (0,))

    def pictures(self):
        return {}

    def save(self, path):
        pass


# -- the command line


@pytest.fixture
def loaded(monkeypatch):
    agent = Recorded()
    monkeypatch.setattr(Agent, "load", staticmethod(lambda path, **options: agent.asked.append((path, options)) or agent))
    return agent


def test_evaluate_asks_for_what_it_was_asked(loaded):
    arguments = "run --tasks 7 --steps 3 --split validation --repeats 2 --seed 9 --last --device cpu --root elsewhere"
    evaluate.main([*arguments.split(), "--env", "tests/Line-v0", "--env-kwargs", '{"shots": 5}'])
    (path, how), (_, tasks, steps, options, is_best) = loaded.asked
    assert (path, how) == ("run", {"device": "cpu", "env_kwargs": {"root": "elsewhere"}})
    assert (tasks, steps, is_best) == (7, 3, False)
    env_kwargs = {"shots": 5, "root": "elsewhere"}
    told = {"split": "validation", "repeats": 2, "env": "tests/Line-v0", "env_kwargs": env_kwargs, "seed": 9}
    assert options == {**told, "progress_bar": True}


def test_evaluate_takes_the_best_iterate_and_the_usual_tasks_unless_told(loaded):
    evaluate.main(["run"])
    options = {"split": "test", "repeats": 1, "env": None, "env_kwargs": None, "progress_bar": True}
    assert loaded.asked[1] == ("evaluate", 600, None, options, True)
    assert loaded.is_closed


def test_train_learns_what_is_left_and_evaluates_the_best_iterate(tmp_path, monkeypatch):
    agent = Recorded(iteration=2)
    monkeypatch.setattr(train, "_agent", lambda *_: agent)
    run = Run(iterations=5, validate_every=3, validation_tasks=7)
    how = train.Train(
        str(tmp_path), evaluation_tasks=4, evaluation_steps=6, log_interval=8, picture_every=9, video_every=11, save_every=10
    )
    train._train(run, how)
    (_, left, learned), evaluated = agent.asked
    callback = learned.pop("callback")
    assert (left, callback._every) == (3, 10)
    assert learned == {
        "log_interval": 8,
        "tb_log_name": "tensorboard",
        "progress_bar": True,
        "validate_every": 3,
        "validation_tasks": 7,
        "picture_every": 9,
        "video_every": 11,
    }
    assert evaluated == ("evaluate", 4, 6, {"progress_bar": True}, True)
    assert agent.is_closed


def test_a_run_makes_the_agent_that_it_says():
    agent = Run(
        agent="maml",
        outer="gradient_descent",
        env="tests/Line-v0",
        seed=3,
        env_kwargs={"slopes": (2.0, 4.0)},
        policy="weight",
        policy_kwargs={"start": 0.5},
        device="cpu",
        dtype="float64",
        options={"rate": 0.25, "inner_steps": 2},
        outer_options={"learning_rate": 0.5},
    ).make(verbose=1, tensorboard_log="there")
    assert (agent.seed, agent.meta["theta"].tolist()) == (3, [0.5])
    assert str(agent.meta["theta"].dtype) == "torch.float64"
    assert (agent.options.rate, agent.options.inner_steps, agent.options.device) == (0.25, 2, "cpu")
    assert agent.outer == metarl.GradientDescent(0.5)
    assert agent.options.env_kwargs == {"slopes": (2.0, 4.0)}
    assert (agent.verbose, agent.tensorboard_log) == (1, "there")


def test_a_run_of_a_policy_samples_as_it_says():
    run = Run(agent="maml", outer="trpo", outer_options={"max_kl": 0.5}, rollouts={"trajectories": 3}, device="cpu")
    agent = run.make()
    assert agent.outer == metarl.TRPO(max_kl=0.5)
    assert agent.source.rollouts == agent.adapter.problem.rollouts == metarl.Rollouts(trajectories=3)


def test_a_run_of_images_reads_its_folder(monkeypatch):
    made = []
    monkeypatch.setattr("metarl.registry.Registry.load", lambda *_: lambda *args, **options: made.append(options))
    Run(root="there", env_kwargs={"shots": 5}, policy="MLP").make()
    assert made[0]["env_kwargs"] == {"shots": 5, "root": "there"}


def test_a_folder_is_of_one_run():
    there = Run(seed=1, iterations=3, root="a").as_dict()
    assert run_folder.differences(there, Run(seed=1, iterations=4, root="b")) == []
    assert run_folder.differences(there, Run(seed=2, iterations=3)) == ["seed (1 there, 2 here)"]


# -- agents


def test_arguments_of_an_evaluation_go_on_top_of_training_s():
    agent = small("MAML on batches of images", env_kwargs={"ways": 2, "shots": 1, "queries": 3})
    asked = SimpleNamespace()
    agent.source.elsewhere = lambda env, embeds: setattr(asked, "env", env) or agent.source
    agent.evaluate(1, env_kwargs={"shots": 2})
    family = asked.env.unwrapped
    assert (family.ways, family.shots, family.queries) == (2, 2, 3)


@pytest.mark.parametrize(("rate", "decay", "rates"), [(0.5, 1.0, [0.5, 0.25, 0.5 / 3]), (0.1, 0.0, [0.1, 0.1, 0.1])])
def test_tuned_rates_decay(rate, decay, rates):
    rule = small("Baseline-finetune")._decaying(rate, decay)
    assert [float(rule.table[step][0]) for step in range(3)] == pytest.approx(rates)


# -- outer loops


def test_a_gradient_is_scaled_by_the_norm_that_its_clipped_entries_leave():
    before, clipped = GradientDescent(clip_value=3.0, clip_norm=1.0).clip(
        {"theta": torch.tensor([30.0, 4.0], dtype=torch.float64)}
    )
    assert before.item() == pytest.approx(math.hypot(30, 4))
    assert clipped["theta"].tolist() == pytest.approx([math.sqrt(0.5)] * 2, rel=1e-5)


def line(**options):
    options = {"dtype": "float64", "device": "cpu", "meta_batch": 1, "rate": 0.25, **options}
    return metarl.AlphaMAML(weight(0.0), "tests/Line-v0", **options)


def test_beta_moves_before_the_step_that_it_is_the_length_of():
    # the loss after a step of 1/4 from w to the slope, 1, is (w - 1)^2: the gradients are -2 and, at 1/4, -1.5
    agent = line(outer=HypergradientDescent(0.125, alpha_hyper=0.0, beta_hyper=0.01))
    assert agent.learn(1).meta["theta"].item() == pytest.approx(0.25)
    assert agent.learn(1).outer_state["beta"].item() == pytest.approx(0.125 + 0.01 * 2 * 1.5)
    assert agent.meta["theta"].item() == pytest.approx(0.25 + 0.155 * 1.5)


def level(lengths=(1, 3), **options):
    options = {"outer": "trpo", "dtype": "float64", "device": "cpu", "meta_batch": len(lengths), **options}
    rollouts = metarl.Rollouts(trajectories=3, advantages="raw", baseline="none")
    env_kwargs = {"lengths": lengths, "slope": 1.0}
    return options.pop("cls", metarl.MAML)(weight(0.5), "tests/Level-v0", env_kwargs=env_kwargs, rollouts=rollouts, **options)


def test_the_kl_is_a_mean_over_time_steps_not_over_tasks():
    agent = level(lengths=(1, 4))
    batch = gathered(agent)
    policies = _Policies.of(agent.adapter, agent.meta, batch)
    moved = {name: value + 0.1 for name, value in agent.meta.items()}
    outputs = policies.of_tasks(policies.problem.outputs, moved, policies.replay(moved))
    kl = agent.adapter.problem.distribution.kl(batch.query.distribution_parameters, outputs)
    happened = batch.query.happened
    by_task = [kl[task][happened[task]].mean() for task in range(2)]
    assert happened.sum(1).tolist() == [3, 12]
    assert by_task[0] != pytest.approx(by_task[1].item(), rel=0.05)
    loss, mean = surrogate_and_kl(policies, moved)
    assert loss.item() == pytest.approx(surrogate(policies, moved).item())
    assert mean.item() == pytest.approx(kl[happened].mean().item())


def test_beta_is_the_length_of_trpos_step():
    def change(beta):
        outer = HypergradientDescent(beta, alpha_hyper=0.0, beta_hyper=0.0, trpo=TRPO(damping=0.1, max_kl=1e-4))
        agent = level(cls=metarl.AlphaMAML, rate=0.01, outer=outer)
        before = agent.meta["theta"]
        return agent.learn(1).meta["theta"] - before

    assert change(0.25).abs().min() > 0
    torch.testing.assert_close(change(0.5), 2 * change(0.25))


# -- adapters


class Lower(metarl.UpdateRule):
    """Moves by the loss itself."""

    def forward(self, theta, gradient, loss, state, step):
        return theta - loss / 2, state


@pytest.mark.parametrize(("first_order", "moved"), [(True, 0.75), (False, 1.5)])
def test_first_order_takes_the_losses_as_constants(first_order, moved):
    # from 0 the loss, 1, leads to -1/2, where the query loss 4 (w' - 1)^2 has the gradient -12; w' has the derivative 2 by w
    outer = GradientDescent(1 / 16, optimizer="SGD")
    options = {"rule": Lower, "first_order": first_order, "outer": outer, "meta_batch": 1, "dtype": "float64", "device": "cpu"}
    assert Agent(weight(0.0), "tests/Line-v0", **options).learn(1).meta["theta"].item() == pytest.approx(moved)


@pytest.fixture
def seen(monkeypatch):
    """Which theta all experience is collected with, in turn."""
    found = []
    policies = GradientAdapter.policies

    def watched(adapter, meta, adapted):
        found.append(adapted[0])
        return policies(adapter, meta, adapted)

    monkeypatch.setattr(GradientAdapter, "policies", watched)
    return found


def test_every_policy_samples_for_itself(seen):
    agent = level(inner_steps=2)
    path = gathered(agent).adaptation.adapted
    assert len(seen) == len(path) == 3  # before each of two steps, and the query
    assert all(torch.equal(theta, adapted[0]) for theta, adapted in zip(seen, path, strict=True))
    assert not torch.equal(seen[0], seen[1])


def test_the_statistics_of_a_support_set_are_of_the_adapted_network():
    agent = small("Meta-SGD on images")
    tasks = agent.source.sample(2, "train", torch.Generator())
    theta, moments = agent.adapter.adapt(agent.meta, tasks, torch.Generator()).adapted[-1]
    for task in range(2):
        expected = agent.adapter.learner.moments(theta[task], shared(agent.meta), tasks.support.inputs[task])
        assert expected
        for name, value in expected.items():
            torch.testing.assert_close(moments[name][task], value)


def test_a_steps_averages_are_of_the_network_after_it(monkeypatch):
    agent = small("MAML on batches of images")
    before, inputs = agent.meta, []
    of_step = agent.source.inputs
    agent.source.inputs = lambda *arguments: inputs.append(of_step(*arguments)) or inputs[-1]
    after = agent.learn(1).meta
    expected = agent.adapter.track({**after, **{name: before[name] for name in before if name.startswith("running.")}}, *inputs)
    old = agent.adapter.track(before, *inputs)
    for name, value in expected.items():
        torch.testing.assert_close(after[name], value)
    assert any(not torch.allclose(after[name], old[name]) for name in old if name.startswith("running."))


# -- random streams, tasks and splits


@pytest.mark.parametrize("kind", ["fine-tuning", "MAML by TRPO"])
def test_no_stream_serves_two_purposes(kind, monkeypatch):
    asked = []

    def watched(seed, purpose, device="cpu"):
        asked.append((seed, purpose))
        return stream(seed, purpose, device)

    monkeypatch.setattr("metarl.agents.base.stream", watched)
    monkeypatch.setattr("metarl.agents.judging.stream", watched)
    small(kind, seed=7).evaluate(1, seed=8)
    assert {seed for seed, _ in asked} == {7, 8}
    assert len(set(asked)) == len(asked) >= 7


def test_a_validation_is_of_what_adaptation_leads_to():
    # the validation slope is 2: from 0 a step of 1/4 leads to 1, where the query loss is 4
    assert line().validate(1) == pytest.approx(4)


def test_the_tasks_of_a_run_are_counted():
    agent, asked = small("MAML", meta_batch=3), []
    sample = agent.source.sample
    agent.source.sample = lambda *arguments: asked.append((arguments[0], arguments[1], arguments[3])) or sample(*arguments)
    agent.learn(2)
    assert asked == [(3, "train", 0), (3, "train", 3)]


def test_a_fixed_set_goes_on_where_it_was():
    source = small("MAML", env_kwargs={"task_sets": {"train": 5}}).source
    whole, part = (source.sample(count, "train", torch.Generator(), first) for count, first in ((5, 0), (3, 4)))
    assert torch.equal(part.support.inputs, whole.support.inputs[[4, 0, 1]])


def test_pretraining_sees_training_classes():
    agent, asked = small("fine-tuning"), []
    draw = agent.source.family.sample_examples
    agent.source.family.sample_examples = lambda *arguments: asked.append(arguments[:2]) or draw(*arguments)
    agent.learn(1)
    assert asked == [(2, "train")]


def test_a_classifier_is_drawn_from_its_stream_and_its_optimiser_remembers():
    agent = small("fine-tuning")

    def classifier(seed):
        return agent.outer.init(agent.adapter, agent.meta, torch.Generator().manual_seed(seed))["classifier"]

    assert all(torch.equal(value, classifier(1)[name]) for name, value in classifier(1).items())
    assert not any(torch.equal(value, classifier(2)[name]) for name, value in classifier(1).items())
    agent.learn(1)
    assert set(agent.outer_state["optimizer"]) >= {f"classifier.{name}" for name in agent.outer_state["classifier"]}


def test_batches_of_a_support_set_are_of_all_of_it():
    problem = SupervisedProblem(torch.nn.functional.mse_loss, support_batch=2)
    inputs = torch.arange(50.0).expand(20, -1)[..., None]
    episodes = Episodes(Examples(inputs, inputs), Examples(inputs, inputs))
    drawn = problem.collect(None, episodes, "support", torch.Generator().manual_seed(0))
    assert drawn.inputs.shape == (20, 2, 1)
    assert torch.equal(drawn.inputs, drawn.targets)
    assert drawn.inputs.max() > 40
    assert len(drawn.inputs.unique()) > 20


@pytest.mark.parametrize(("kind", "preprocess"), [("LSTM", True), ("enhanced LSTM", False)])
def test_which_lstm_preprocesses(kind, preprocess):
    assert small(kind).adapter.rule.preprocess is preprocess


# -- rows of environments


class Brief(gym.Env):
    """Ends by a time limit at its second step, and must not be stepped after it."""

    observation_space = gym.spaces.Box(-1, 1, (1,), np.float32)
    action_space = gym.spaces.Discrete(3, start=1)
    closed = 0

    def reset(self, *, seed=None, options=None):
        self.steps = 0
        return np.zeros(1, np.float32), {}

    def step(self, action):
        self.steps += 1
        assert self.steps <= 2
        return np.zeros(1, np.float32), 1.0, False, self.steps == 2, {}

    def close(self):
        Brief.closed += 1


def test_rows_end_at_their_time_limit_and_are_closed_when_there_are_too_many(monkeypatch):
    monkeypatch.setattr(Brief, "closed", 0)
    rows = RowStepper(Brief)
    rows.reset([None] * 3, [0, 1, 2])
    assert [rows.step(np.ones(3)).rewards.tolist() for _ in range(3)] == [[1] * 3, [1] * 3, [0] * 3]
    rows.reset([None], [0])
    assert Brief.closed == 2
    rows.close()
    assert Brief.closed == 3


def test_actions_begin_where_their_space_does_and_ends_are_told_apart():
    asked = []
    flags, silent = (np.array([True, False]), np.array([False, True])), [np.full(2, -1, np.int8)] * 2
    stepper = SimpleNamespace(
        step=lambda actions: asked.append(actions) or Steps(np.zeros((2, 1)), np.zeros(2), *flags, *silent)
    )
    env = SteppedVectorEnv(stepper, Brief.action_space, 5, torch.empty(0))
    _, _, terminated, truncated = env.tensor_step(torch.tensor([0, 2]))
    assert asked[0].tolist() == [1, 3]
    assert (terminated.tolist(), truncated.tolist()) == ([True, False], [False, True])


# -- reports and logs


@pytest.mark.parametrize(("interval", "half"), [("seeds", 1.96), ("tasks", 0.6)])
def test_an_interval_is_over_what_it_says(interval, half):
    table = Table("", [], interval=interval)
    row = row_of(Cell("a"), [Measured(1.0, 0.5), Measured(3.0, 0.7)], table, 1.0)
    assert (row["ours"], row["ours_ci"]) == (2.0, pytest.approx(half))  # the deviation over seeds is the root of two


def test_a_log_shows_the_rates_that_were_learned():
    agent = small("MAML")
    outcome = training.outer_step(agent, report=True)
    before = small("MAML").meta
    shown = metrics(agent.adapter, before, outcome)["train/rate_mean"]
    assert shown == pytest.approx(float(agent.adapter.rates(agent.meta).mean()))
    assert shown != pytest.approx(float(agent.adapter.rates(before).mean()))


# -- where things begin


def test_pytorchs_batch_norm_keeps_its_numbers():
    theirs = torch.nn.BatchNorm1d(2)
    for number, (name, value) in enumerate(theirs.state_dict().items(), start=2):
        value.fill_(number)
        assert getattr(with_our_batch_norm(theirs), name).unique().tolist() == [number]


def test_averages_begin_with_the_first_episode():
    agent = small("MAML on batches of images")
    tracked = {name: value for name, value in agent.meta.items() if name.startswith("running.")}
    assert {value.item() for name, value in tracked.items() if name.endswith("num_batches_tracked")} == {1}
    assert all(value.abs().sum() > 0 for name, value in tracked.items() if name.endswith("running_mean"))


def test_repeats_of_a_task_stand_side_by_side():
    (tasks,) = level().source.batches(2, "train", torch.Generator(), 2, 4)
    assert [int(task["length"]) for task in tasks] == [1, 1, 3, 3]


def test_adapting_leaves_an_environment_that_has_a_task_as_it_is():
    env = gym.make("tests/Level-v0", lengths=(3,))
    env.reset(options={"task": {"level": 2.0, "length": 3.0}})
    env.reset = None
    (task,) = level().source.own_task(env)[1]
    assert (task["level"], task["length"]) == (2, 3)


def test_a_log_is_of_the_parameters_that_the_step_was_taken_from(monkeypatch):
    agent, asked = small("MAML"), []
    before = agent.meta
    monkeypatch.setattr(
        training, "metrics", lambda adapter, meta, outcome: asked.append(meta) or metrics(adapter, meta, outcome)
    )
    agent.learn(1)
    assert len(asked) == 1
    assert asked[0] is before
