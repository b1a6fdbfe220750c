"""Every error names the field, the value and the remedy; bounds are where they are said to be."""

import math

import numpy as np
import pytest

from metarl.errors import ConfigError, require_between, require_positive, unknown_name


@pytest.mark.parametrize("value", [1, 0.5, 1e-300, np.float32(2), np.int64(3)])
def test_numbers_above_zero_are_taken(value):
    require_positive(rate=value)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (0, "rate=0 must be above zero"),
        (-0.5, "rate=-0.5 must be above zero"),
        (math.inf, "rate=inf must be above zero"),
        (math.nan, "rate=nan must be above zero"),
        ("1", "rate='1' must be a number above zero"),
        (True, "rate=True must be a number above zero"),
        (None, "rate=None must be a number above zero"),
    ],
)
def test_others_are_refused(value, says):
    with pytest.raises(ConfigError) as error:
        require_positive(steps=1, rate=value)
    assert str(error.value) == says


@pytest.mark.parametrize("value", [0, 0.5, 2, np.float32(2)])
def test_a_range_holds_its_ends(value):
    require_between(0, 2, beta=value)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (-1e-9, "beta=-1e-09 must lie in [0, 2]"),
        (2.5, "beta=2.5 must lie in [0, 2]"),
        (math.nan, "beta=nan must lie in [0, 2]"),
        (False, "beta=False must be a number in [0, 2]"),
        ("1", "beta='1' must be a number in [0, 2]"),
    ],
)
def test_what_lies_outside_is_refused(value, says):
    with pytest.raises(ConfigError) as error:
        require_between(0, 2, gamma=1, beta=value)
    assert str(error.value) == says


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("mml", "agent='mml' is not known: did you mean 'maml'? choose one of lstm, maml, turtle"),
        ("zzz", "agent='zzz' is not known: choose one of lstm, maml, turtle"),
        (3, "agent=3 is not known: choose one of lstm, maml, turtle"),
    ],
)
def test_an_unknown_name_is_told_the_nearest(value, says):
    assert str(unknown_name("agent", value, ["turtle", "maml", "lstm"])) == says


def test_where_nothing_is_known_nothing_is_offered():
    assert str(unknown_name("agent", "x", [])) == "agent='x' is not known: choose one of (none)"
