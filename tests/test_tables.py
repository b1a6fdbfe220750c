"""Tables: where every number comes from, which way a difference goes, and what a row trains."""

import io
from dataclasses import replace
from types import SimpleNamespace
from typing import get_args

import numpy as np
import pytest
import torch
from rich.console import Console

import metarl
from metarl import registry, rules
from metarl.adapters import ReadingAdapter
from metarl.commands import crossings, printing
from metarl.commands import measure as measuring
from metarl.commands.costs import Cost, costs
from metarl.commands.measure import measure, run_of
from metarl.commands.run import Run
from metarl.commands.table import Cell, Difference, Exam, Measured, Row, Share, Table, verdict
from metarl.commands.tables import discover, learned_optimiser, turtle_table_4
from metarl.errors import ConfigError, NonFiniteError
from metarl.evaluation import Evaluation
from metarl.streams import stream
from tests import worlds  # noqa: F401 - registers the small ones

NAMES = [entry.name for entry in discover()]
BY_EVALUATION = [name for name in NAMES if registry.TABLES.load(name).reading is None]
COSTS: dict[str, float] = {cost: 1000.0 + i for i, cost in enumerate(get_args(Cost))}
SKEW = (0.0, 0.0, 0.3)
"""Added to the tasks' numbers, so that a median ends in .0 and a mean in .1."""


class Fake:
    """An agent whose numbers say where they came from: each is the place of an entry in a list of origins."""

    def __init__(self, run, origins):
        self.run, self.origins = run, origins
        self.iteration, self.is_best, self.is_closed = 0, False, False
        self.best = {"score": -7.0, "iteration": 1}
        self.adapter = SimpleNamespace(problem=SimpleNamespace(sign=-1))
        self.num_timesteps = 2_500_000
        self.learned = {}

    def learn(self, iterations, **kwargs):
        self.iteration, self.learned = iterations, {"iterations": iterations, **kwargs}
        return self

    def close(self):
        assert not self.is_closed
        self.is_closed = True

    def restore_best(self):
        self.is_best = True
        return self

    def evaluate(self, tasks, steps=None, split="test", seed=None, repeats=1, env=None, env_kwargs=None):
        measured = tuple(range((self.run.options.get("inner_steps", 0) if steps is None else steps) + 1))
        columns = []
        for step in measured:
            self.origins.append(
                {
                    "run": self.run,
                    "step": step,
                    "is_last": step == measured[-1],
                    "is_best": self.is_best,
                    "iterations": self.iteration,
                    "tasks": tasks,
                    "steps": steps,
                    "split": split,
                    "repeats": repeats,
                    "env": env,
                    "env_kwargs": env_kwargs,
                }
            )
            columns.append([len(self.origins) - 1 + skew for skew in SKEW])
        return Evaluation("loss", np.array(columns).T, measured)

    def accuracy_by_instance(self, tasks, instances, env_kwargs):
        """An evaluation whose steps are instances from 1 on."""
        evaluation = self.evaluate(tasks, instances, env_kwargs=env_kwargs)
        return replace(evaluation, values=evaluation.values[:, 1:], steps=evaluation.steps[1:])


def side_by_side(agents, iterations, validate_every, validation_tasks):
    for agent in agents:
        agent.learn(iterations, validate_every=validate_every, validation_tasks=validation_tasks)
    return [iterations for _ in agents]


@pytest.fixture
def origins(monkeypatch):
    found = []
    monkeypatch.setattr(Run, "make", lambda run, **kwargs: Fake(run, found))
    monkeypatch.setattr("metarl.agents.learn_side_by_side", side_by_side)
    monkeypatch.setattr("metarl.commands.measure.costs", lambda agent, exam: COSTS)
    return found


def origin_of(cell, number, origins):
    """Return where a number came from, and check that it is the cell's statistic in the cell's unit.

    A sum over n steps is of entries that follow each other: of a total, n times the last one's place less what is before it.
    """
    value, n = number.mean / cell.unit, 1 + origins[-1]["step"]
    if cell.total:
        value = (value + n * (n - 1) / 2) / n
    index = int(value + 1e-6)
    fraction = value - index
    assert fraction == pytest.approx(0.0 if cell.statistic == "median" else 0.1, abs=1e-6)
    return origins[index]


@pytest.mark.parametrize("name", BY_EVALUATION)
def test_every_cell_is_read_from_its_own_trained_best_iterate_on_test_tasks(name, origins):
    table = registry.TABLES.load(name)
    for row in table.runs():
        if table.reading_of(row) is not None:
            continue
        (numbers,) = measure(table, row, [3], 1.0, "data")
        assert set(numbers) == {cell.name for cell in row.cells}
        for cell in row.cells:
            if cell.exam is None:
                assert numbers[cell.name] == Measured(7.0)  # a loss: minus the score
                continue
            if cell.cost == "million steps":
                assert numbers[cell.name] == Measured(2.5)
                continue
            if cell.cost == "minutes":
                assert 0 <= numbers[cell.name].mean < 0.1
                continue
            if cell.cost is not None:
                assert numbers[cell.name] == Measured(COSTS[cell.cost])
                continue
            origin = origin_of(cell, numbers[cell.name], origins)
            assert origin["run"] == run_of(table, row, 3, 1.0, "data")
            assert origin["run"].seed == 3
            assert origin["is_best"]
            assert origin["split"] == "test"
            assert origin["iterations"] == origin["run"].iterations
            assert origin["is_last"] or cell.step == origin["step"]
        origins.clear()


WHERE = [
    (
        "learners-on-omniglot",
        "ProtoNet, 20-way 5-shot",
        {"step": 0, "tasks": 200, "env_kwargs": {"ways": 20, "shots": 5, "queries": 5, "split": "test"}},
    ),
    (
        "lake-omniglot",
        "Matching with FCE",
        {
            "step": 0,
            "tasks": 400,
            "env_kwargs": {
                "ways": 20,
                "shots": 1,
                "queries": 1,
                "split": "test",
                "within": "alphabet",
                "drawers": "different",
                "rotations": "none",
                "distortions": "none",
            },
        },
    ),
    (
        "semi-supervised-omniglot",
        "masked k-means, unlabelled and distractors",
        {"step": 0, "tasks": 1000, "env_kwargs": {"unlabelled": 5, "distractors": 5, "split": "test"}},
    ),
    ("memory-on-bandits", "SNAIL, 100 pulls of 10 arms", {"step": 0, "steps": None, "tasks": 1000, "repeats": 1}),
    ("memory-on-bandits", "MAML, 10 pulls of 5 arms", {"step": 1, "tasks": 1000, "repeats": 20}),
    ("memory-on-mdps", "Meta-SGD, 10 episodes", {"step": 1, "tasks": 400, "repeats": 10}),
    ("maml-cheetah-direction", "MAML, after 1 step", {"step": 1, "steps": 3, "tasks": 40}),
    ("maml-cheetah-velocity", "oracle, after 0 steps", {"step": 0, "steps": 0, "tasks": 40}),
    ("maml-ant-direction", "random, after 3 steps", {"step": 3, "steps": 3}),
    ("maml-ant-velocity", "pretrained, after 2 steps", {"step": 2, "steps": 3}),
    ("rules-on-locomotion", "RL^2, by episode, after 3 steps", {"step": 3, "steps": 3, "tasks": 40}),
    ("outer-loops-on-navigation", "navigation: PPO, after 0 steps", {"step": 0, "tasks": 600}),
    ("maml-navigation", "our estimator, rate 0.05, after 0 steps", {"step": 0, "steps": 3, "tasks": 600}),
    ("maml-navigation", "Finn's estimator, rates 0.5 and 0.25, after 2 steps", {"step": 2, "steps": 3}),
    ("maml-sine", "rate 0.001, after 5 steps", {"step": 5, "steps": 10, "tasks": 600}),
    (
        "meta-sgd-table-1",
        "MAML, 5-shot training, 20-shot testing",
        {
            "step": 1,
            "tasks": 100,
            "repeats": 100,
            "env_kwargs": {
                "frequency": [0.8, 1.2],
                "phase_sign": 1,
                "shots": 20,
                "queries": 100,
                "query_inputs": "grid",
            },
        },
    ),
    (
        "learners-on-sine",
        "Neural process, 5-shot training, 20-shot testing",
        {
            "tasks": 100,
            "repeats": 100,
            "env_kwargs": {"frequency": [0.8, 1.2], "phase_sign": 1, "shots": 20, "queries": 100, "query_inputs": "grid"},
        },
    ),
    ("meta-sgd-table-2", "5-way, MAML, 5-shot", {"step": 3, "steps": 3, "env_kwargs": {"shots": 5}}),
    ("meta-sgd-table-2", "20-way, MAML, 1-shot", {"step": 5, "steps": None, "env_kwargs": {"shots": 1}}),
    ("meta-sgd-table-3", "5-way 5-shot, MAML", {"step": 10, "steps": 10, "env": None}),
    ("meta-sgd-table-3", "5-way 5-shot, LSTM", {"step": 8, "steps": None}),
    ("meta-sgd-table-4", "best found, varying start: Meta-SGD", {"step": 1, "tasks": 600, "steps": None}),
    ("methods-on-omniglot", "alphabets, MAML: median", {"step": 3, "steps": 3}),
    ("methods-on-omniglot", "characters, ProtoNet: mean", {"step": 0, "steps": None}),
    ("rules-on-navigation", "fixed start, TURTLE", {"step": 1, "tasks": 600}),
    ("turtle-sine", "T=5, LSTM: test", {"step": 5, "tasks": 2000}),
    ("turtle-table-1", "CUB, 5-shot, MAML: median", {"step": 10, "steps": 10, "env": None}),
    ("turtle-table-1", "CUB, 5-shot, TURTLE: mean", {"step": 5, "steps": None}),
    (
        "turtle-table-3",
        "1-shot, LSTM: median",
        {
            "step": 12,
            "env": "metarl/CUB-v0",
            "env_kwargs": {"shots": 1, "queries": 16, "classes": "turtle", "root": "data"},
        },
    ),
]


@pytest.mark.parametrize(("name", "cell_name", "wanted"), WHERE)
def test_a_cell_is_read_where_the_paper_says(name, cell_name, wanted, origins):
    table = registry.TABLES.load(name)
    row, cell = next((row, cell) for row in table.runs() for cell in row.cells if cell.name == cell_name)
    (numbers,) = measure(table, row, [0], 1.0, "data")
    origin = origin_of(cell, numbers[cell_name], origins)
    assert {key: origin[key] for key in wanted} == wanted


TRAINED = [
    (
        "learners-on-omniglot",
        "ProtoNet",
        {
            "agent": "protonet",
            "env_kwargs.train_ways": 20,
            "env_kwargs.ways": 5,
            "validate_every": 0,
            "outer.halve_every": 2000,
        },
    ),
    (
        "lake-omniglot",
        "deeper network, distortions",
        {"policy": "ResNet12", "env_kwargs.distortions": "affine", "env_kwargs.characters": "lake", "env_kwargs.ways": 20},
    ),
    (
        "semi-supervised-omniglot",
        "masked k-means",
        {"refinement": "masked", "env_kwargs.train_unlabelled": 0, "env_kwargs.labelled": 0.1, "env_kwargs.train_ways": 20},
    ),
    ("maml-navigation", "Finn's estimator, rates 0.5 and 0.25", {"agent": "maml", "rate": [0.5, 0.25], "outer": "trpo"}),
    (
        "memory-on-bandits",
        "Gittins, 100 pulls of 10 arms",
        {"env": "metarl/BernoulliBandit-v0", "env_kwargs.arms": 10, "env_kwargs.max_episode_steps": 100},
    ),
    (
        "starts-on-a-new-task",
        "PPO from the pretrained policy",
        {"agent": "pretrained-policy", "outer": "sb3_ppo", "outer.n_envs": 16, "rollouts.reward": "squared"},
    ),
    (
        "starts-on-a-new-cheetah",
        "PPO from the meta-learned start",
        {"agent": "maml", "env": "metarl/HalfCheetahDirection-v0", "meta_batch": 10, "rollouts.trajectories": 20},
    ),
    (
        "memory-on-bandits",
        "Meta-SGD, 100 pulls of 10 arms",
        {"env_kwargs.arms": 10, "env_kwargs.max_episode_steps": 1, "rollouts.trajectories": 50, "inner_steps": 1},
    ),
    (
        "memory-on-bandits",
        "RL^2, 10 pulls of 10 arms",
        {"env_kwargs.arms": 10, "env_kwargs.max_episode_steps": 10, "episodes": 1, "outer": "ppo", "validate_every": 0},
    ),
    ("memory-on-mdps", "posterior sampling", {"env": "metarl/TabularMDP-v0"}),
    ("memory-on-mdps", "SNAIL", {"agent": "snail-policy", "episodes": 10, "iterations": 10**7}),
    ("memory-on-mdps", "MAML", {"agent": "maml", "inner_steps": 1, "rollouts.trajectories": 5}),
    (
        "maml-cheetah-direction",
        "MAML",
        {"env": "metarl/HalfCheetahDirection-v0", "rate": [0.1, 0.05], "inner_steps": 1, "iterations": 10**7},
    ),
    ("maml-cheetah-velocity", "oracle", {"env": "metarl/HalfCheetahVelocity-v0", "agent": "oracle", "inner_steps": 0}),
    ("maml-ant-direction", "pretrained", {"env": "metarl/AntDirection-v0", "rate": [0.1, 0.001], "rollouts.trajectories": 40}),
    ("maml-ant-velocity", "random", {"env": "metarl/AntVelocity-v0", "agent": "scratch-policy", "outer": ""}),
    ("rules-on-locomotion", "ProMP", {"agent": "maml", "outer": "promp", "outer.learning_rate": 1e-3, "iterations": 120}),
    ("rules-on-locomotion", "LSTM2", {"agent": "meta-lstm-2", "outer": "trpo", "outer.cg_iterations": 6}),
    ("outer-loops-on-navigation", "navigation: TRPO", {"agent": "maml", "outer": "trpo", "rate": 0.05, "outer.max_kl": 0.02}),
    (
        "learned-optimiser",
        "quadratics: Adam",
        {"env": "metarl/Quadratics-v0", "inner_steps": 100, "start": 0.01, "outer.unroll": 20},
    ),
    ("maml-sine", "rate 0.001", {"agent": "maml", "rate": 0.001, "meta_batch": 25, "iterations": 70_000}),
    (
        "meta-sgd-table-1",
        "MAML, 20-shot training",
        {"agent": "maml", "rate": 0.01, "env_kwargs.shots": 20, "outer.clip_norm": 1.0},
    ),
    ("learners-on-sine", "SNAIL, 20-shot training", {"agent": "snail", "length": 21, "env_kwargs.shots": 20}),
    ("meta-sgd-table-2", "20-way, MAML", {"rate": 0.1, "inner_steps": 5, "env_kwargs.reduction": "sum over ways"}),
    ("meta-sgd-table-2", "5-way, LSTM2", {"rate": None, "inner_steps": 8, "outer.clip_norm": 0.25, "outer.tasks_at_once": 8}),
    ("meta-sgd-table-3", "20-way 5-shot, MAML", {"meta_batch": 2, "validate_every": 0, "outer.clip_value": 10.0}),
    ("meta-sgd-table-3", "5-way 1-shot, LSTM", {"batch_norm": "support", "iterations": 75_000, "outer.clip_value": None}),
    (
        "meta-sgd-table-4",
        "no clip, no scale, fixed start: MAML",
        {"agent": "maml", "rate": 0.0005, "env_kwargs.action_scale": 1.0},
    ),
    (
        "meta-sgd-table-4",
        "best found, varying start: MAML",
        {"env": "metarl/Navigation2DVaryingStart-v0", "rollouts.gae_lambda": 0.95},
    ),
    ("meta-sgd-table-4", "Finn's estimator, fixed start: Meta-SGD", {"agent": "meta-sgd", "rollouts.reward": "plain"}),
    (
        "methods-on-omniglot",
        "characters, MAML",
        {"rate": 0.4, "inner_clip": None, "outer.clip_task": None, "iterations": 15_000},
    ),
    ("methods-on-omniglot", "alphabets, Finetuning", {"rate": 0.01, "outer": "pretraining", "env_kwargs.characters": "lake"}),
    (
        "methods-on-omniglot",
        "characters, ProtoNet",
        {"agent": "protonet", "env_kwargs.train_ways": 20, "outer.halve_every": 2000},
    ),
    (
        "rules-on-navigation",
        "fixed start, LSTM2",
        {"agent": "meta-lstm-2", "rate": 0.05, "inner_steps": 1, "outer.cg_iterations": 6},
    ),
    ("rules-on-navigation", "fixed start, Alpha MAML", {"outer": "hypergradient_descent", "outer.alpha_hyper": 2e-5}),
    ("turtle-sine", "T=10, TURTLE, second order", {"beta": 0.3, "meta_batch": 4, "first_order": False, "validate_every": 625}),
    ("turtle-sine", "T=5, MAML, first order", {"agent": "maml", "first_order": True, "meta_batch": 1, "validate_every": 2500}),
    ("turtle-figure-1", "T=10, TURTLE with 3, first order", {"hidden": [20, 20, 20], "alpha": "fixed", "meta_batch": 1}),
    ("turtle-table-1", "CUB, 1-shot, TURTLE", {"inputs": ["gradient", "gradient-history"], "env_kwargs.classes": "turtle"}),
    (
        "turtle-table-1",
        "MiniImageNet, 5-shot, Baseline++",
        {"agent": "baseline++", "iterations": 40_000, "outer": "pretraining"},
    ),
    ("turtle-table-3", "5-shot, LSTM2", {"env": "metarl/MiniImageNet-v0", "inner_steps": 8, "outer.clip_norm": 0.25}),
    ("turtle-table-4", "5-shot, MAML", {"agent": "maml", "meta_batch": 2, "first_order": False, "inner_clip": 10.0}),
    ("alpha-maml-sine", "alpha 0.1, beta 0.001: MAML", {"rate": 0.1, "outer.learning_rate": 1e-3, "outer.alpha_hyper": 0.0}),
    (
        "alpha-maml-figures",
        "alpha 0.01, beta 0.0001: Alpha MAML, hyper-rates 0.01, 1e-05",
        {"rate": 0.01, "outer.learning_rate": 1e-4, "outer.alpha_hyper": 0.01, "outer.beta_hyper": 1e-5, "env_kwargs.ways": 20},
    ),
]


def value_of(run, key):
    part, _, name = key.partition(".")
    if name:
        return {"outer": run.outer_options, "env_kwargs": run.env_kwargs, "rollouts": run.rollouts}[part][name]
    value = run.options[key] if key in run.options else getattr(run, key)
    return list(value) if isinstance(value, tuple) else value


@pytest.mark.parametrize(("name", "row", "wanted"), TRAINED)
def test_a_row_trains_what_the_paper_says(name, row, wanted):
    table = registry.TABLES.load(name)
    run = run_of(table, table.row(row), 0, 1.0)
    assert {key: value_of(run, key) for key in wanted} == wanted


def test_every_table_has_cases_here():
    assert {name for name, *_ in TRAINED} == set(NAMES)
    seen_validation = {"turtle-figure-1"}  # reads validation alone, which its cells say
    assert {name for name, *_ in WHERE} | seen_validation == set(BY_EVALUATION)


@pytest.mark.parametrize("name", NAMES)
def test_cells_are_distinct_and_differences_go_as_their_names_say(name):
    table = registry.TABLES.load(name)
    cells = [cell for _, cell in table.cells()]
    names = [cell.name for cell in cells]
    assert len(set(names)) == len(names)
    for one in cells:
        if isinstance(one, Difference):
            left, right = one.name.split(" minus ")
            assert {one.minuend, one.subtrahend} <= set(names)
            assert left.split(": ")[-1] in one.minuend
            assert right.split(": ")[0] in one.subtrahend
            assert right.split(": ")[0] not in one.minuend


def test_the_first_rate_of_meta_sgd_is_drawn_by_the_seed():
    table = registry.TABLES.load("meta-sgd-table-1")
    rates = [run_of(table, table.row("Meta-SGD, 5-shot training"), seed, 1.0).options["rate"] for seed in (0, 1)]
    assert rates == [float(np.random.default_rng(seed).uniform(0.005, 0.1)) for seed in (0, 1)]


def test_scale_shortens_a_run():
    settings = {"agent": "maml", "policy": "MLP", "env": "metarl/Sine-v0", "iterations": 1000, "validate_every": 100}
    row = Row("r", {**settings, "gradient.compile": True}, (Cell("c"),))
    table = Table("t", [row], compiled_from=0.1)
    run = run_of(table, row, 5, 0.05, "somewhere")
    assert (run.iterations, run.seed, run.root, run.outer_options["compile"]) == (50, 5, "", False)
    assert run_of(table, row, 5, 0.1).outer_options["compile"]
    of_images = Row("r", {**settings, "env": "metarl/Omniglot-v0"}, ())
    assert run_of(replace(table, needs_root=True), of_images, 5, 0.1, "somewhere").root == "somewhere"


def test_a_budget_of_time_ends_every_run_and_iterations_none(monkeypatch):
    made, stops = [], []
    monkeypatch.setattr(Run, "make", lambda run, **kwargs: made.append(Fake(run, [])) or made[-1])
    monkeypatch.setattr("metarl.agents.callbacks.StopAfter", lambda minutes: stops.append(minutes) or "stop")
    row = Row("r", {"agent": "maml", "iterations": 1000}, (Cell("c"),))
    measure(Table("t", [row], minutes=30.0), row, [0], 0.1, "")
    assert (made[0].learned["iterations"], made[0].learned["callback"], stops) == (1000, "stop", [3.0])


def test_a_row_may_have_its_own_budget_and_its_own_reading(monkeypatch):
    made, stops = [], []
    monkeypatch.setattr(Run, "make", lambda run, **kwargs: made.append(Fake(run, [])) or made[-1])
    monkeypatch.setattr("metarl.agents.callbacks.StopAfter", lambda minutes: stops.append(minutes) or "stop")
    timed = Row("timed", {"agent": "maml", "iterations": 1000}, (Cell("c"),), minutes=8.0)
    counted = Row("counted", {"agent": "maml", "iterations": 1000}, (Cell("c"),))
    read = replace(counted, name="read", reading=lambda row, run, scale: {"c": Measured(run.iterations * scale)})
    table = Table("t", [timed, counted, read])
    for row in (timed, counted):
        measure(table, row, [0], 0.25, "")
    assert [(one.learned["iterations"], one.learned["callback"]) for one in made] == [(1000, "stop"), (250, None)]
    assert stops == [2.0]
    assert measure(table, read, [0], 0.25, "") == [{"c": Measured(62.5)}]
    by_table = replace(table, reading=lambda *_: {"c": Measured(7.0)})
    assert measure(by_table, timed, [0], 0.25, "") == [{"c": Measured(7.0)}]
    assert measure(by_table, read, [0], 0.25, "") == [{"c": Measured(62.5)}]


def test_what_training_took_is_read(monkeypatch):
    class Busy(Fake):
        def learn(self, iterations, **kwargs):
            monkeypatch.setattr(measuring, "process_time", lambda: 130.0)

    monkeypatch.setattr(measuring, "process_time", lambda: 10.0)
    monkeypatch.setattr(Run, "make", lambda run, **kwargs: Busy(run, []))
    row = Row("r", {"agent": "maml"}, tuple(Cell(name, cost=name) for name in ("million steps", "minutes")))
    assert measure(Table("t", [row]), row, [0], 1.0, "") == [{"million steps": Measured(2.5), "minutes": Measured(2.0)}]


def test_costs_are_of_the_exam_s_tasks():
    options = {"policy_kwargs": {"hidden": (4,)}, "device": "cpu"}
    agent = metarl.ProtoNet("MLP", "tests/Images-v0", **options)
    shapes = []
    adapt, together = ReadingAdapter.adapt, ReadingAdapter.together
    agent.learn(2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ReadingAdapter, "adapt", lambda s, m, t, *a: shapes.append(t.support.inputs.shape) or adapt(s, m, t, *a))
        patch.setattr(ReadingAdapter, "together", lambda s, *a: shapes.append("query") or together(s, *a))
        found = costs(agent, Exam(env_kwargs={"shots": 3}))
    assert found.keys() == COSTS.keys()
    assert (found["outer steps"], found["parameters"]) == (2, sum(value.numel() for value in agent.meta.values()))
    assert found["ms to adapt"] > 0
    assert found["ms to predict"] > 0
    assert {shape[:2] for shape in shapes if shape != "query"} == {(1, 6)}
    assert len(shapes) == 2 * 21  # each once before it is timed


def test_costs_of_one_exam_are_measured_once(monkeypatch):
    asked = []
    monkeypatch.setattr("metarl.commands.measure.costs", lambda agent, exam: asked.append(exam) or COSTS)
    names = get_args(Cost)
    row = Row("r", {}, tuple(Cell(name, exam=Exam(3), cost=name) for name in names))
    numbers = measuring.read(Fake(Run.of({"agent": "maml"}), []), row, measuring.Learned(), Table("t", [row]), "")
    assert numbers == {name: Measured(COSTS[name], stopped=False) for name in names}
    assert asked == [Exam(3)]


def test_a_matrix_has_a_line_for_what_stands_before_the_comma():
    cells = [Cell("A, 1-shot", 98.8), Cell("A, size", exam=Exam(), cost="parameters"), Cell("B, long, 1-shot")]
    table = Table("t", [Row("r", {}, tuple(cells))], columns=("1-shot", "5-shot", "size"))
    numbers = {"A, 1-shot": [Measured(97.0, 0.5)], "A, size": [Measured(112345.0)], "B, long, 1-shot": [Measured(float("nan"))]}
    console = Console(file=io.StringIO(), width=80)
    printing.show(table, printing.rows_of(table, numbers, 0.5), 1.0, console)
    lines = [line.split("│")[1:-1] for line in console.file.getvalue().splitlines() if "│" in line]
    assert [[cell.strip() for cell in line] for line in lines] == [
        ["A", "97.0 ±0.5 (98.8)", "112,345"],
        ["B, long", "-", ""],
    ]


def test_memories_of_the_table_of_learners_hold_what_they_are_trained_and_tested_with():
    rows = [row for row in registry.TABLES.load("learners-on-omniglot").runs() if row.settings["agent"] == "mann"]
    assert len(rows) == 2
    for row in rows:
        family = row.settings["env_kwargs"]
        for shown in (family, *(cell.exam.env_kwargs for cell in row.cells)):
            assert shown["ways"] * max(shown.get("shots", 1), max(c.exam.instances for c in row.cells)) < row.settings["slots"]


def test_a_wide_matrix_is_printed_in_parts_that_fit_a_terminal():
    columns = [f"{shots}-shot" for shots in range(1, 7)]
    cells = [Cell(f"A, {column}", 98.8) for column in columns] + [Cell("B, 1-shot", 98.8)]
    table = Table("t", [Row("r", {}, tuple(cells))], columns=columns)
    console = Console(file=io.StringIO(), width=80)
    numbers = {cell.name: [Measured(90.0 + i, 0.5)] for i, cell in enumerate(cells)}
    printing.show(table, printing.rows_of(table, numbers, 1), 1.0, console)
    printed = console.file.getvalue()
    assert "…" not in printed
    assert all(f"{90 + i}.0" in printed for i in range(len(cells)))
    headings = [line.split() for line in printed.splitlines() if "-shot" in line]
    assert ["".join(heading).count("-shot") for heading in headings] == [4, 2]


@pytest.mark.parametrize(("validations", "every"), [(4, 12), (1, 50), (0, 100)])
def test_a_short_run_has_as_many_validations_as_its_table_wants(validations, every, monkeypatch):
    made = []
    monkeypatch.setattr(Run, "make", lambda run, **kwargs: made.append(Fake(run, [])) or made[-1])
    row = Row("r", {"agent": "maml", "iterations": 1000, "validate_every": 100, "validation_tasks": 9}, (Cell("c"),))
    measure(Table("t", [row], validations=validations), row, [0], 0.05, "")
    assert made[0].is_closed
    learned = made[0].learned
    assert (learned["iterations"], learned["validate_every"], learned["validation_tasks"]) == (50, every, 9)


def test_a_run_that_is_not_finite_is_read_as_far_as_it_came(monkeypatch):
    class Stopping(Fake):
        def learn(self, iterations, **kwargs):
            raise NonFiniteError("too far")

    monkeypatch.setattr(Run, "make", lambda run, **kwargs: Stopping(run, []))
    row = Row("r", {"agent": "maml"}, (Cell("c"),))
    assert measure(Table("t", [row]), row, [0], 1.0, "")[0]["c"].stopped


def test_best_validation_without_a_validation_is_the_worst_there_is(monkeypatch):
    agent = Fake(Run(), [])
    agent.best = None
    monkeypatch.setattr(Run, "make", lambda run, **kwargs: agent)
    row = Row("r", {"agent": "maml"}, (Cell("c", exam=None),))
    assert measure(Table("t", [row]), row, [0], 1.0, "")[0]["c"].mean == float("inf")


def test_seeds_side_by_side(origins):
    table = registry.TABLES.load("turtle-sine")
    found = measure(table, table.row("T=1, LSTM"), [4, 6], 0.1, "")
    assert len(found) == 2
    assert [origin["run"].seed for origin in origins if origin["is_last"]] == [4, 6]


@pytest.mark.parametrize(
    ("losses", "first", "mean"),
    [
        ([5.0, 2.9, 4.0, 1.0, 9.0], 2, 4),  # the mean of two is below 3 at the fourth
        ([5.0, 4.0, 4.0, 4.0, 4.0], 20, 20),  # never: the cap
        ([2.0, 9.0, 9.0, 2.0, 3.0], 1, 5),  # one loss is no mean of two
    ],
)
def test_iterations_to_a_loss(losses, first, mean, monkeypatch):
    class Losing(Fake):
        def learn(self, iterations, callback, **kwargs):
            for loss in (losses * 10)[:iterations]:
                self.iteration += 1
                if not callback({"outcome": SimpleNamespace(loss=loss)}, {}):
                    return
                assert self.iteration < max(first, mean) or mean == 20

    monkeypatch.setattr(Run, "make", lambda run, **kwargs: Losing(run, []))
    monkeypatch.setattr(crossings, "CAP", 20)
    found = crossings.count(Run(), 1.0, {"first": (3.0, 1), "mean": (3.0, 2)})
    assert {name: one.mean for name, one in found.items()} == {"first": first, "mean": mean}


def small_optimiser(monkeypatch):
    """An agent in front of quadratics of two dimensions, and its table's measurements made short."""
    for name, value in {"HORIZONS": (1, 3), "TASKS": 4, "AT_ONCE": 2, "RATES": (0.1, 0.01, 0.05)}.items():
        monkeypatch.setattr(learned_optimiser, name, value)
    options = {"env_kwargs": {"dimensions": 2}, "inner_steps": 4, "hidden": 2, "device": "cpu"}
    return metarl.LearnedOptimiser("Linear", "metarl/Quadratics-v0", **options)


def test_a_curve_is_of_one_training_of_unseen_tasks(monkeypatch):
    agent = small_optimiser(monkeypatch)
    found = learned_optimiser.curve(agent, agent.adapter, agent.meta, "test")
    tasks = agent.source.sample(4, "test", stream(0, "test tasks of the table"))
    walked = agent.adapter.adapt(agent.meta, tasks, stream(0, "test starts of the table"), 12)
    for column, step in zip(found.T, (4, 12), strict=True):
        expected = agent.adapter.losses(agent.meta, walked.adapted[step], tasks.query)
        np.testing.assert_allclose(column, expected.detach(), rtol=1e-5)
    agent.meta = {**agent.meta, "rule.output.bias": torch.tensor([torch.inf])}
    assert (learned_optimiser.curve(agent, agent.adapter, agent.meta, "test") == np.inf).all()


def test_a_rate_is_chosen_on_training_tasks_for_each_length_of_training(monkeypatch):
    agent = small_optimiser(monkeypatch)
    training = {0.1: [1.0, np.inf], 0.01: [3.0, 1.0], 0.05: [2.0, 2.0]}

    def curve(agent, adapter, meta, split):
        rate = round(adapter.rates(meta)[0].item(), 6)
        return np.tile(training[rate] if split == "train" else [10 * rate, 20 * rate], (4, 1))

    monkeypatch.setattr(learned_optimiser, "curve", curve)
    found = learned_optimiser.tuned(agent, agent.adapter, rules.GradientDescent)
    np.testing.assert_allclose(found, np.tile([1.0, 0.2], (4, 1)))


def test_a_hand_made_rule_that_diverges_on_an_unseen_task_has_an_infinite_loss(monkeypatch):
    agent = small_optimiser(monkeypatch)
    monkeypatch.setattr(Run, "make", lambda run: agent)
    monkeypatch.setattr(learned_optimiser, "tuned", lambda *_: np.array([[1.0, np.inf], [2.0, 1.0]]))
    cells = tuple(Cell(f"c{number}", exam=None) for number in range(2))
    run = run_of(learned_optimiser.TABLE, learned_optimiser.TABLE.row("quadratics: Adam"), 0, 1.0)
    numbers = learned_optimiser.reading(Row("quadratics: Adam", {}, cells), run, 1.0)
    assert (numbers["c0"].mean, numbers["c1"].mean) == (1.5, np.inf)


def test_the_learned_optimiser_learns_and_the_others_do_not(monkeypatch):
    agent = small_optimiser(monkeypatch)
    monkeypatch.setattr(Run, "make", lambda run: agent)
    table = learned_optimiser.TABLE
    run = replace(run_of(table, table.row("quadratics: Adam"), 0, 1.0), iterations=2)
    cells = tuple(Cell(f"c{number}", exam=None) for number in range(2))
    for name, iterations in (("quadratics: gradient descent", 0), ("quadratics: learned optimiser", 2)):
        numbers = learned_optimiser.reading(Row(name, {}, cells), run, 1.0)
        assert list(numbers) == ["c0", "c1"]
        assert len(numbers["c0"].values) == 4
        assert numbers["c1"].mean == pytest.approx(np.mean(numbers["c1"].values))
        assert agent.iteration == iterations


def test_running_times_are_ratios_to_first_order_maml(monkeypatch):
    def timer(run, shots):
        assert shots == 5
        is_standard = run.agent == "maml" and run.options["first_order"]
        return lambda: 2.0 if is_standard else 6.0

    monkeypatch.setattr(turtle_table_4, "timer", timer)
    table = turtle_table_4.TABLE
    row = table.row("5-shot, LSTM")
    (found,) = measure(table, row, [0], 1.0, "")
    assert found == {"5-shot, LSTM / first-order MAML": Measured(3.0)}


def test_a_step_that_was_not_measured_is_named():
    evaluation = Evaluation("loss", np.zeros((2, 2)), (0, 50))
    with pytest.raises(ConfigError, match="step=1 of 'c' was not measured: measured were"):
        Measured.of(evaluation, Cell("c", step=1))
    values = np.array([[1.0, 5.0], [3.0, 9.0]])
    assert Measured.of(Evaluation("loss", values, (0, 50)), Cell("c", step=50, unit=100.0)).values == (500.0, 900.0)
    assert Measured.of(Evaluation("loss", values, (0, 50)), Cell("c", step=0)).mean == 2.0


def test_differences_are_paired_over_tasks():
    one, other = Measured(2.0, 0.5, (1.0, 2.0, 3.0)), Measured(1.0, 0.5, (0.0, 1.0, 2.0))
    assert one.minus(other) == Measured(1.0, 0.0, (1.0, 1.0, 1.0))
    assert one.minus(Measured(1.5)) == Measured(0.5)


def test_a_total_is_of_all_steps_up_to_the_cell_s():
    evaluation = Evaluation("return", np.array([[1.0, 2.0, 4.0], [3.0, 5.0, 8.0]]), (0, 1, 2))
    assert Measured.of(evaluation, Cell("c", total=True, unit=5.0)).values == (35.0, 80.0)
    two = Measured.of(evaluation, Cell("c", total=True, step=1))
    assert (two.values, two.mean) == ((3.0, 8.0), 5.5)
    assert two.ci95 == pytest.approx(1.96 * 2.5 * 2**0.5 / 2**0.5)
    assert Measured.of(evaluation, Cell("c", step=1)).values == (2.0, 5.0)


def test_a_relative_difference_is_in_percent_of_the_subtrahend():
    one, other = Measured(3.0, 0.5, (2.0, 4.0)), Measured(4.0, 0.5, (3.0, 5.0))
    found = Difference("d", "a", "b", relative=True).of(one, other)
    assert found.mean == pytest.approx(-25)
    # what the ratio -1/4 leaves of the differences (-1, -1): (-1/4, 1/4), over the mean 4
    assert found.ci95 == pytest.approx(100 * 1.96 * 0.25 / 4)
    assert Difference("d", "a", "b", relative=True).of(one, Measured(4.0)) == Measured(-25.0)
    assert np.isnan(one.relative_to(Measured(0.0)).mean)


def test_a_share_of_the_way_by_hand():
    start, goal = Measured(-1.0, 0.5, (-2.0, 0.0)), Measured(9.0, 0.5, (10.0, 8.0))
    reached = Measured(5.0, 0.5, (3.0, 7.0))
    share = Share("s", "reached", "start", "goal")
    found = share.of(reached, start, goal)
    assert found.mean == pytest.approx(60)
    # the way of each task is (12, 8), what came of it (5, 7): six tenths of the way leave (-2.2, 2.2), over the mean of 10
    assert found.ci95 == pytest.approx(100 * 1.96 * 2.2 / 10)
    assert share.of(start, start, goal).mean == 0
    assert share.of(goal, start, goal).mean == 100
    other_tasks = share.of(reached, start, Measured(9.0, 0.5, (9.0,)))
    assert (other_tasks.mean, other_tasks.ci95) == (pytest.approx(60), None)
    assert np.isnan(share.of(reached, start, start).mean)


def test_a_report_has_the_shares_of_what_was_measured_seed_by_seed():
    cells = tuple(Cell(name) for name in ("start", "reached", "goal"))
    table = Table("t", [Row("r", {}, cells), Share("s", "reached", "start", "goal", 70.0)])
    numbers = {
        "start": [Measured(0.0), Measured(1.0)],
        "reached": [Measured(1.0), Measured(4.0)],
        "goal": [Measured(2.0), Measured(5.0)],
    }
    row = printing.rows_of(table, numbers, 1.0)[-1]
    assert (row["cell"], row["ours_by_seed"], row["paper"]) == ("s", [50.0, 75.0], 70.0)
    assert row["verdict"] == "short by 7.50"  # a share is better if it is larger, whatever the table's numbers are
    del numbers["goal"]
    assert [row["cell"] for row in printing.rows_of(table, numbers, 1.0)] == ["start", "reached"]


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith(("maml-cheetah", "maml-ant"))])
def test_shares_are_between_a_row_s_own_start_and_the_oracle_s_return(name):
    table = registry.TABLES.load(name)
    cells = {cell.name: cell for _, cell in table.cells()}
    shares = [cell for cell in cells.values() if isinstance(cell, Share)]
    assert len(shares) == 2 * 4
    for share in shares:
        row, _, when = share.name.partition(": ")[2].rpartition(", ")
        assert share.parts == (f"{row}, {when}", f"{row}, after 0 steps", "oracle, after 0 steps")
        reached, start, goal = (cells[part].paper for part in share.parts)
        assert (share.paper is None) == (reached is None)
        if reached is not None:
            assert share.paper == pytest.approx(100 * (reached - start) / (goal - start))
    published = {
        "cheetah-direction": (70, 74),
        "cheetah-velocity": (68, 92),
        "ant-direction": (95, 95),
        "ant-velocity": (86, 92),
    }
    assert tuple(round(share.paper) for share in shares[:2]) == published[name.removeprefix("maml-")]
    assert sum(table.minutes_of(row) or 0 for row in table.runs()) <= 2 * (60 if "cheetah" in name else 120)


def test_rules_on_locomotion_take_as_many_environment_steps():
    table = registry.TABLES.load("rules-on-locomotion")
    taken = set()
    for row in table.runs():
        run = run_of(table, row, 0, 1.0)
        stages = run.options["episodes"] if run.agent == "rl2" else 1 + run.options["inner_steps"]
        batch = run.options["meta_batch"] * run.rollouts["trajectories"] * run.env_kwargs["max_episode_steps"]
        taken.add(run.iterations * batch * stages)
    assert taken == {9_600_000}


def test_a_trial_of_the_tables_of_memory_has_as_many_steps_for_every_learner():
    for name, wanted in (("memory-on-bandits", lambda cell: int(cell.split()[-5])), ("memory-on-mdps", lambda _: 10)):
        table = registry.TABLES.load(name)
        for row in table.runs():
            if table.reading_of(row) is not None:
                continue
            run = run_of(table, row, 0, 1.0)
            (cell,) = row.cells
            if run.agent in ("rl2", "snail-policy"):
                assert cell.unit == 1
                lived = run.options["episodes"] * (run.env_kwargs["max_episode_steps"] if name == "memory-on-bandits" else 1)
            else:
                assert cell.unit == run.rollouts["trajectories"]
                lived = cell.unit * (1 + run.options["inner_steps"])
            assert lived == wanted(cell.name)


def test_a_report_has_the_difference_of_what_was_measured():
    table = Table("t", [Row("r", {}, (Cell("a"), Cell("b"))), Difference("b minus a", "b", "a")])
    rows = printing.rows_of(table, {"a": [Measured(1.0), Measured(2.0)], "b": [Measured(4.0), Measured(6.0)]}, 0.5)
    assert [(row["cell"], row["ours"], row["ours_by_seed"]) for row in rows] == [
        ("a (scale 0.5)", 1.5, [1.0, 2.0]),
        ("b (scale 0.5)", 5.0, [4.0, 6.0]),
        ("b minus a (scale 0.5)", 3.5, [3.0, 4.0]),
    ]
    assert [row["cell"] for row in printing.rows_of(table, {"b": [Measured(4.0)]}, 1.0)] == ["b"]


def test_seeds_that_are_not_finite_are_left_out_and_counted():
    cell, table = Cell("c", 0.5), Table("t", [])
    row = printing.row_of(cell, [Measured(0.4, 0.1), Measured(float("inf"), float("nan")), Measured(0.6, 0.1)], table, 1.0)
    assert (row["ours"], row["ours_ci"], row["ours_by_seed"]) == (0.5, 0.1, [0.4, None, 0.6])
    assert row["verdict"] == "at least the paper's; 1 of 3 seeds not finite, left out"
    assert printing.row_of(cell, [Measured(float("nan"))], table, 1.0)["verdict"] == "not finite"
    stopped = printing.row_of(cell, [Measured(0.4, stopped=True)], replace(table, interval="seeds"), 1.0)
    assert stopped["verdict"].endswith("1 of 1 seeds stopped early at a loss that was not finite")
    over_seeds = printing.row_of(cell, [Measured(1.0, 9.0), Measured(3.0, 9.0)], replace(table, interval="seeds"), 1.0)
    assert over_seeds["ours_ci"] == round(1.96 * 2**0.5 / 2**0.5, 4)


@pytest.mark.parametrize(
    ("cell", "higher_is_better", "ours", "said"),
    [
        (Cell("c", 0.5, 0.1), False, 0.4, "at least the paper's"),
        (Cell("c", 0.5, 0.1), False, 0.55, "within the paper's interval"),
        (Cell("c", 0.5, 0.1), False, 0.7, "short by 0.20"),
        (Cell("c", 0.5), False, 0.55, "short by 0.05"),
        (Cell("c", -9.0), True, -8.0, "at least the paper's"),
        (Cell("c", -9.0, 0.5), True, -9.4, "within the paper's interval"),
        (Cell("c", -9.0, 0.5), True, -11.0, "short by 2.00"),
        (Cell("c"), False, 1.0, "no published number"),
        (Cell("c", 5.0, comparable=False), True, 4.0, "not comparable in value"),
        (Cell("c", cost="minutes"), True, 4.0, "a cost"),
        (Share("s", "a", "b", "c", 70.0), False, 71.0, "at least the paper's"),
        (Share("s", "a", "b", "c"), True, 71.0, "no published number"),
        (Difference("d", "a", "b", 0.5), True, 0.1, "not below 0"),
        (Difference("d", "a", "b", 0.5), True, -0.1, "not told apart from 0"),
        (Difference("d", "a", "b", 0.5), False, -0.3, "below 0"),
    ],
)
def test_verdicts(cell, higher_is_better, ours, said):
    assert verdict(cell, ours, 0.2, higher_is_better) == said


@pytest.mark.parametrize("name", [name for name in NAMES if registry.TABLES.load(name).picture])
def test_a_tables_picture_draws_what_there_is(name):
    table = registry.TABLES.load(name)
    rows = [
        {"cell": f"{cell.name} (scale 0.1)", "ours": 1.0 + i % 40, "ours_ci": 0.1, "ours_by_seed": [1.0 + i % 40]}
        for i, (_, cell) in enumerate(table.cells())
    ]
    drawn = []
    for part in (rows, rows[: len(rows) // 2], rows[:2]):
        picture = table.picture(part, 0.1)
        drawn.append(
            sum(len(ax.texts) + len(ax.patches) + sum(len(line.get_xdata()) for line in ax.lines) for ax in picture.axes)
        )
    assert drawn[0] > drawn[1] > drawn[2]
