"""What an evaluation measures, and of what; its statistics. All by numbers worked out by hand."""

import math

import numpy as np
import pytest
import torch

import metarl
from metarl.errors import ConfigError
from metarl.evaluation import Evaluation, evaluate, measure_steps, measured_steps
from metarl.streams import stream
from tests.toys import weight
from tests.worlds import make

VALUES = np.array([[1.0, 10.0], [2.0, 40.0], [6.0, 10.0], [7.0, 20.0]])  # four tasks, before and after adaptation


def test_means_medians_and_intervals_by_hand():
    evaluation = Evaluation("return", VALUES, (0, 1))
    assert evaluation.mean.tolist() == [4, 20]
    assert evaluation.median.tolist() == [4, 15]
    # squared deviations 9 + 4 + 4 + 9 and 100 + 400 + 100 + 0, over three; the mean's error is half a deviation
    np.testing.assert_allclose(evaluation.ci95, [1.96 * math.sqrt(26 / 3) / 2, 1.96 * math.sqrt(600 / 3) / 2])


def test_one_task_has_no_interval():
    evaluation = Evaluation("return", VALUES[:1], (0, 1))
    assert np.isnan(evaluation.ci95).tolist() == [True, True]
    assert "one task has no confidence interval" in str(evaluation)
    assert "+-" not in str(evaluation)


def test_what_is_written_is_what_is_measured():
    written = Evaluation("return", VALUES, (0, 5), "support").as_dict()
    assert (written["tasks"], written["steps"], written["batch_norm"]) == (4, [0, 5], "support")
    assert written["mean"] == [4, 20]
    assert written["median"] == [4, 15]
    assert written["ci95"] == pytest.approx([2.885042, 13.859293], abs=1e-6)
    assert "return" in written.values()


def test_what_is_printed_is_what_is_measured():
    lines = str(Evaluation("return", VALUES, (0, 1), "running")).splitlines()
    assert lines[0] == "return on 4 unseen tasks (mean and 95% confidence interval)"
    assert lines[1].split() == ["after", "0", "inner", "steps:", "4.000", "+-", "2.885,", "median", "4.000"]
    assert lines[2].split() == ["after", "1", "inner", "step", ":", "20.000", "+-", "13.859,", "median", "15.000"]
    assert lines[3] == "  batch-normalisation with running averages over training"


# -- what agents measure; the tasks' slopes and levels say which split they are of


def line(**options):
    options = {"rate": 0.25, "dtype": "float64", "device": "cpu", "meta_batch": 2, **options}
    return metarl.MAML(weight(0.0), "tests/Line-v0", **options)


@pytest.mark.parametrize(("split", "slope"), [("train", 1), ("validation", 2), ("test", 3)])
def test_an_evaluation_is_of_the_split_that_it_names(split, slope):
    # the query loss is 4 (w - slope)^2, and a step goes half of the way
    np.testing.assert_allclose(line().evaluate(3, split=split).values, 3 * [[4 * slope**2, slope**2]])
    policy = metarl.MAML(weight(0.0), "tests/Level-v0", rollouts=metarl.Rollouts(trajectories=2), device="cpu")
    np.testing.assert_array_equal(policy.evaluate(3, split=split).values, 3 * [[slope, slope]])


def test_test_tasks_unless_another_split_is_named_and_validation_is_of_validation_tasks():
    agent = line()
    assert agent.evaluate(2).mean.tolist() == [36, 9]
    assert agent.validate(2) == 4
    with pytest.raises(ConfigError, match="split='tests' is not known: did you mean 'test'"):
        agent.evaluate(2, split="tests")


def test_evaluation_steps_as_training_does():
    # the test slope is 3: a gradient of -6 is clipped to -2, twice
    assert line(inner_clip=2.0).evaluate(1, steps=2).mean.tolist() == [36, 25, 16]
    assert line(first_order=True).evaluate(1).mean.tolist() == [36, 9]
    assert line(inner_steps=2, rate=[0.25, 0.125]).evaluate(1).mean.tolist() == [36, 9, 81 / 16]
    assert line(inner_steps=0).evaluate(1).mean.tolist() == [36]


def test_other_numbers_of_steps_are_measured():
    evaluation = line().evaluate(1, steps=3)
    assert evaluation.steps == (0, 1, 2, 3)
    assert evaluation.mean.tolist() == [36, 9, 2.25, 0.5625]
    assert measured_steps(20) == list(range(21))
    assert measured_steps(21) == [0, 2, 4, 6, 8, 10, 13, 15, 17, 19, 21]
    long = line().evaluate(1, steps=30)
    assert long.steps == tuple(range(0, 31, 3))
    assert long.mean.tolist() == pytest.approx([36 / 4**step for step in range(0, 31, 3)])


def test_a_policy_is_judged_by_the_trajectories_that_it_sampled_itself():
    agent = metarl.MAML(
        weight(0.0), "tests/Level-v0", env_kwargs={"slope": 1.0}, rollouts=metarl.Rollouts(trajectories=2), device="cpu"
    )
    adaptation = agent.adapter.adapt(agent.meta, agent.source.sample(1, "train", torch.Generator()), torch.Generator())
    query = agent.adapter.collect(
        agent.meta, adaptation.adapted[-1], agent.source.sample(1, "train", torch.Generator()), torch.Generator()
    )
    measures = measure_steps(agent.adapter, agent.meta, adaptation, query)
    assert [measure["return"].item() for measure in measures] == [
        adaptation.experiences[0].returns.mean().item(),
        query.returns.mean().item(),
    ]


def test_the_mean_of_repeats_is_a_tasks_value():
    agent = metarl.MAML("MLP", "metarl/Sine-v0", policy_kwargs={"hidden": (4,), "init": "torch"}, device="cpu")
    batches = []
    batched = agent.source.batches
    agent.source.batches = lambda *arguments: batches.append(arguments[3]) or batched(*arguments)
    repeated = agent.evaluate(2, repeats=3)
    assert batches == [3]
    assert repeated.values.shape == (2, 2)
    tasks = stream(2**20, "evaluation tasks")
    episodes = agent.source.family.sample_episodes(2, "test", tasks, repeats=3)
    values = evaluate(agent.adapter, agent.meta, [episodes], stream(2**20, "evaluation noise"))
    np.testing.assert_allclose(repeated.values, values["loss"].reshape(2, 3, 2).mean(1))


def test_evaluations_are_paired_and_repeatable():
    one, two = make("bandit", "gradient descent"), make("bandit", "Meta-SGD")
    first = one.evaluate(3).values
    np.testing.assert_array_equal(first, one.evaluate(3).values)
    np.testing.assert_array_equal(first, two.evaluate(3).values)  # the same start, rates and noise
    assert not np.array_equal(one.evaluate(3, seed=1).values, first)


def test_tasks_are_the_same_however_many_are_taken_at_once(monkeypatch):
    agent = metarl.MAML("MLP", "metarl/Sine-v0", policy_kwargs={"hidden": (4,), "init": "torch"}, device="cpu", dtype="float64")
    whole = agent.evaluate(5).values
    monkeypatch.setattr(agent.source, "evaluation_batch", lambda *_: 2)
    np.testing.assert_allclose(agent.evaluate(5).values, whole, rtol=1e-12)


def test_evaluating_elsewhere_changes_only_what_is_said():
    agent = line(env_kwargs={"slopes": (2.0,)})
    assert agent.evaluate(1).mean[0] == 144
    assert agent.evaluate(1, env_kwargs={"shots": 3}).mean[0] == 144
    assert agent.evaluate(1, env_kwargs={"slopes": (1.0,)}).mean[0] == 36
    assert agent.evaluate(1, env="tests/Line-v0").mean[0] == 36
    assert agent.evaluate(1).mean[0] == 144


def test_environments_of_an_evaluation_are_closed(monkeypatch):
    agent, closed = make("bandit"), []
    elsewhere = agent.source.elsewhere

    def watched(*arguments):
        source = elsewhere(*arguments)
        close = source.problem.close
        monkeypatch.setattr(source.problem, "close", lambda: closed.append(1) or close())
        return source

    monkeypatch.setattr(agent.source, "elsewhere", watched)
    agent.evaluate(2, env="metarl/BernoulliBandit-v0")
    assert closed == [1]
    agent.evaluate(2)
    assert closed == [1]  # the agent's own stay
