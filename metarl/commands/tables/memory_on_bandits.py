"""Bernoulli bandits: the total reward of a trial.

Duan et al. 2016, "RL^2: Fast Reinforcement Learning via Slow Reinforcement Learning", Table 1. The reference players are
played exactly, on the test tasks that agents are evaluated on. As in the paper UCB1's factor is chosen for each number of
pulls and arms, here on training tasks, and Gittins's index is the best approximation of those that we tried: the index of the
pulls that are left. Of ten pulls the best
possible play has an exact value, which stands beside them.
"""

from contextlib import closing
from typing import TYPE_CHECKING

import numpy as np

from metarl.agents.players import (
    UCB1,
    Gittins,
    Greedy,
    Player,
    Random,
    Thompson,
    bayes_optimal_value,
    evaluation_tasks,
    play,
)
from metarl.agents.sources import make_env
from metarl.commands.presets.bandit import BANDIT
from metarl.commands.run import Run
from metarl.commands.table import Cell, Measured, Numbers, Row, Table

if TYPE_CHECKING:
    from typing import Any

    import gymnasium as gym

TRIALS = 10_000
"""Of each player."""
TUNING_TRIALS = 2000
"""On training tasks, for every factor of UCB1."""
FACTORS = (0.02, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.5, 1.0)
"""That UCB1's is chosen from."""
OPTIMUM = "Bayes-optimal"
PLAYERS: "dict[str, Player[Any]]" = {"random": Random(), "greedy": Greedy(), "Thompson": Thompson(), "Gittins": Gittins()}
"""Those that have nothing to choose."""
TUNED = "UCB1"
PAPER: dict[tuple[int, int], dict[str, float]] = {
    (10, 5): {"random": 5.0, "greedy": 6.6, "Thompson": 5.7, TUNED: 6.7, "Gittins": 6.6},
    (10, 10): {"random": 5.0, "greedy": 6.6, "Thompson": 5.5, TUNED: 6.7, "Gittins": 6.6},
    (100, 5): {"random": 49.9, "greedy": 74.8, "Thompson": 74.7, TUNED: 78.0, "Gittins": 78.3},
    (100, 10): {"random": 49.9, "greedy": 77.1, "Thompson": 76.7, TUNED: 82.4, "Gittins": 82.8},
}
"""By pulls and arms; means over 1000 trials."""
ENUMERATED = 10
"""Pulls up to which the best possible play is computed."""


def name_of(player: str, pulls: int, arms: int) -> str:
    """Return the name of a row and its cell."""
    return f"{player}, {pulls} pulls of {arms} arms"


def rows(pulls: int, arms: int) -> list[Row]:
    """Return the rows of a number of pulls and arms."""
    settings = {**BANDIT, "env_kwargs": {"arms": arms, "max_episode_steps": pulls}}
    players: dict[str, float | None] = {**PAPER[pulls, arms], **({OPTIMUM: None} if pulls <= ENUMERATED else {})}
    names = {player: name_of(player, pulls, arms) for player in players}
    return [Row(names[player], settings, (Cell(names[player], paper, exam=None),)) for player, paper in players.items()]


def reading(row: Row, run: Run, scale: float) -> Numbers:
    """Return the mean total reward of a row's player."""
    name, trials = row.name.partition(", ")[0], max(2, round(TRIALS * scale))
    if name == OPTIMUM:
        kwargs = run.env_kwargs
        return {row.name: Measured(bayes_optimal_value(int(kwargs["arms"]), int(kwargs["max_episode_steps"])), 0.0)}
    with closing(make_env(run.env, run.env_kwargs)) as env:
        player = tuned(env, max(2, round(TUNING_TRIALS * scale))) if name == TUNED else PLAYERS[name]
        played = play(player, env, trials, seed=run.seed)
    return {row.name: Measured(played.mean, played.ci95, tuple(played.totals.tolist()))}


def tuned(env: "gym.Env[Any, Any]", trials: int) -> UCB1:
    """Return UCB1 with the factor that is best on training tasks, all with the same rewards."""
    tasks = evaluation_tasks(env, trials, "train")
    means = [play(UCB1(c), env, tasks).mean for c in FACTORS]
    return UCB1(FACTORS[int(np.argmax(means))])


TABLE = Table(
    title="Bernoulli bandits: the total reward of a trial (RL^2, Table 1)",
    rows=[row for pulls, arms in PAPER for row in rows(pulls, arms)],
    higher_is_better=True,
    seeds=1,
    columns=tuple(f"{pulls} pulls of {arms} arms" for pulls, arms in PAPER),
    reading=reading,
)
