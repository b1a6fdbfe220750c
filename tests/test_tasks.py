"""A task is checked entry by entry against its family's bounds."""

import numpy as np
import pytest

from metarl.errors import ConfigError, TaskError
from metarl.tasks import check_task, split_index

CORNER = np.full(2, 0.5, np.float32)
BOUNDS = {"goal": (-CORNER, CORNER), "turns": (np.zeros(1, np.int64), np.full(1, 3))}
GOOD = {"goal": [0.5, -0.5], "turns": [3]}  # the bounds belong to the family


def test_entries_become_arrays_of_their_bounds_dtypes():
    given = {"goal": np.array([0.1, 0.2]), "turns": [2.0]}
    task = check_task("Family", given, BOUNDS)
    assert {name: value.dtype for name, value in task.items()} == {"goal": np.float32, "turns": np.int64}
    given["goal"][0] = 9
    np.testing.assert_allclose(task["goal"], [0.1, 0.2])  # a copy
    check_task("Family", GOOD, BOUNDS)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"goal": [0.1, 0.6]}, r"task\['goal'\]=.*is outside Family: choose from \[-0.5, -0.5\] to \[0.5, 0.5\]"),
        ({"goal": [-0.6, 0.1]}, r"task\['goal'\]=.*is outside Family"),
        ({"goal": [np.nan, 0.1]}, r"task\['goal'\]=.*is outside Family"),
        ({"turns": [4]}, r"task\['turns'\]=\[4\] is outside Family"),
        ({"turns": [1.5]}, "are not whole numbers"),
        ({"goal": "left"}, "is not numeric: give 2 numbers"),
        ({"goal": [0.1]}, r"has shape \(1,\); Family needs \(2,\)"),
        ({"speed": [1]}, r"is not a task of Family: give a dictionary \{'goal': array of shape \(2,\), 'turns'"),
    ],
)
def test_others_are_named(changes, says):
    with pytest.raises(TaskError, match=says):
        check_task("Family", {**GOOD, **changes}, BOUNDS)


def test_a_missing_entry_and_what_is_no_task_are_named():
    for task in ({"goal": [0, 0]}, [0.1, 0.2], None):
        with pytest.raises(TaskError, match="is not a task of Family"):
            check_task("Family", task, BOUNDS)


def test_splits_have_numbers_of_their_own():
    assert [split_index(split) for split in ("train", "validation", "test")] == [0, 1, 2]
    with pytest.raises(ConfigError, match="split='tests' is not known: did you mean 'test'"):
        split_index("tests")


def test_a_single_number_may_be_written_as_one():
    assert check_task("Family", {**GOOD, "turns": 2}, BOUNDS)["turns"].tolist() == [2]
