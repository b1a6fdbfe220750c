"""The exact value of a Bernoulli bandit with few pulls, by dynamic programming over what may have been seen of all arms."""

from functools import cache

from metarl.errors import ConfigError, require_whole

Seen = tuple[tuple[int, int], ...]
"""Successes and failures of every arm, in order: arms are alike until they are pulled."""
MOST_PULLS = 15
"""Beyond it there are too many sets of counts."""


def bayes_optimal_value(arms: int, pulls: int) -> float:
    """Return the mean total reward of the best possible play, when arms' probabilities are uniform.

    Args:
        arms: how many.
        pulls: of a trial.

    Raises:
        ConfigError: no arms or pulls, or more pulls than can be enumerated.
    """
    require_whole(arms=arms, pulls=pulls)
    if pulls > MOST_PULLS:
        raise ConfigError(f"pulls={pulls!r} are too many to enumerate what may be seen: at most {MOST_PULLS}")
    alike = min(arms, pulls)  # more arms than pulls are never all pulled, and one that was not is like another
    try:
        return _value(((0, 0),) * alike, pulls)
    finally:
        _value.cache_clear()


@cache
def _value(seen: Seen, left: int) -> float:
    """Return the value of the pulls that are left."""
    if left == 0:
        return 0.0
    values = []
    for arm in dict.fromkeys(seen):
        paid, failed = arm
        mean = (paid + 1) / (paid + failed + 2)
        after = [_value(_replaced(seen, arm, new), left - 1) for new in ((paid + 1, failed), (paid, failed + 1))]
        values.append(mean * (1 + after[0]) + (1 - mean) * after[1])
    return max(values)


def _replaced(seen: Seen, old: tuple[int, int], new: tuple[int, int]) -> Seen:
    arms = list(seen)
    arms[arms.index(old)] = new
    return tuple(sorted(arms))
