"""Random tabular MDPs: the total reward of a trial of several episodes.

Duan et al. 2016, "RL^2: Fast Reinforcement Learning via Slow Reinforcement Learning", Table 2: 10 states, 5 actions, 10 steps
an episode. The reference players are played exactly, on the test tasks that agents are evaluated on.

Posterior sampling is played twice. With the prior that tasks are drawn from, mean rewards of 1, it earns less in the first
episodes than the published figures say; with mean rewards of 0, so that what was never tried looks poor, it earns those. The
paper's greedy player is of the posterior's mode and earns less than ours, which is of its mean.
"""

from typing import TYPE_CHECKING

from metarl.agents.players import CertaintyEquivalent, Player, PosteriorSampling, Random, ValueIteration, play
from metarl.commands.presets.bandit import TABULAR_MDP
from metarl.commands.run import Run
from metarl.commands.table import Cell, Measured, Numbers, Row, Table

if TYPE_CHECKING:
    from typing import Any

TRIALS = 2000
"""Of each player."""
EPISODES = (10, 25, 50, 75, 100)
"""After which the total is read. No player here knows how many there will be, so one play gives all."""
PLAYERS: "dict[str, Player[Any]]" = {
    "random": Random(),
    "posterior sampling": PosteriorSampling(),
    "posterior sampling from 0": PosteriorSampling(prior_mean=0.0),
    "greedy": CertaintyEquivalent(),
    "told the MDP": ValueIteration(),
}
PSRL = (138.1, 408.8, 904.4, 1417.1, 1939.5)
PAPER: dict[str, tuple[float, ...]] = {
    "random": (100.1, 250.2, 499.7, 749.9, 999.4),
    "posterior sampling": PSRL,
    "posterior sampling from 0": PSRL,
    "greedy": (134.8, 368.8, 769.3, 1172.9, 1578.5),
}
"""Means over 1000 trials, by player and number of episodes."""


def row(player: str) -> Row:
    """Return a player's row."""
    papers = PAPER.get(player, (None,) * len(EPISODES))
    cells = (Cell(f"{player}, {episodes} episodes", paper, exam=None) for episodes, paper in zip(EPISODES, papers, strict=True))
    return Row(player, TABULAR_MDP, tuple(cells))


def reading(row: Row, run: Run, scale: float) -> Numbers:
    """Return the mean total rewards of a row's player after each number of episodes."""
    trials = max(2, round(TRIALS * scale))
    played = play(PLAYERS[row.name], run.env, trials, max(EPISODES), seed=run.seed, env_kwargs=run.env_kwargs)
    numbers: Numbers = {}
    for cell, episodes in zip(row.cells, EPISODES, strict=True):
        part = played.first(episodes)
        numbers[cell.name] = Measured(part.mean, part.ci95, tuple(part.totals.tolist()))
    return numbers


TABLE = Table(
    title="Random tabular MDPs: the total reward of a trial (RL^2, Table 2)",
    rows=[row(player) for player in PLAYERS],
    higher_is_better=True,
    seeds=1,
    columns=tuple(f"{episodes} episodes" for episodes in EPISODES),
    reading=reading,
)
