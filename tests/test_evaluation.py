"""The statistics of an evaluation against numbers worked out by hand."""

import math

import numpy as np
import pytest

from metarl.agents import Evaluation

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
