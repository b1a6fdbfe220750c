"""Random tabular MDPs: the total reward of a trial of several episodes.

Duan et al. 2016, "RL^2: Fast Reinforcement Learning via Slow Reinforcement Learning", Table 2: 10 states, 5 actions, 10 steps
an episode. The reference players are played exactly, on the test tasks that the learners are evaluated on.

Posterior sampling is played twice. With the prior that tasks are drawn from, mean rewards of 1, it earns less in the first
episodes than the published figures say; with mean rewards of 0, so that what was never tried looks poor, it earns those. The
paper's greedy player is of the posterior's mode and earns less than ours, which is of its mean.

Learners are trained for trials of ten episodes. Every episode counts, those of adaptation too: a gradient learner has five of
them before its one inner step, and five after it.
"""

from typing import TYPE_CHECKING

from metarl.agents.players import CertaintyEquivalent, Player, PosteriorSampling, Random, ValueIteration, evaluation_tasks, play
from metarl.agents.sources import make_env
from metarl.commands.presets.bandit import GRADIENT_MDP, RL2_MDP, SNAIL_MDP, TABULAR_MDP
from metarl.commands.run import Run
from metarl.commands.settings import Settings
from metarl.commands.table import Cell, Difference, Exam, Measured, Numbers, Row, Table
from metarl.commands.tables.memory_on_bandits import ENDLESS, MINUTES

if TYPE_CHECKING:
    from typing import Any

TASKS = 400
"""Test tasks of each row."""
TRIALS = 10
"""In each of them."""
EPISODES = (10, 25, 50, 75, 100)
"""After which the total is read. No player here knows how many there will be, so one play gives all."""
PLAYERS: "dict[str, Player[Any]]" = {
    "random": Random(),
    "posterior sampling": PosteriorSampling(),
    "posterior sampling from 0": PosteriorSampling(prior_mean=0.0),
    "greedy": CertaintyEquivalent(),
    "told the MDP": ValueIteration(),
}
STANDARDS = ("posterior sampling", "posterior sampling from 0")
"""What learners are compared with: the better one is what RL^2 published."""
REMEMBERING: dict[str, Settings] = {"RL^2": RL2_MDP, "SNAIL": SNAIL_MDP}
STEPPING: dict[str, Settings] = {
    "MAML": {**GRADIENT_MDP, "agent": "maml"},
    "Meta-SGD": {**GRADIENT_MDP, "agent": "meta-sgd"},
}
LEARNED = 10
"""Episodes of a learner's trial."""
PSRL = (138.1, 408.8, 904.4, 1417.1, 1939.5)
PAPER: dict[str, tuple[float, ...]] = {
    "random": (100.1, 250.2, 499.7, 749.9, 999.4),
    "posterior sampling": PSRL,
    "posterior sampling from 0": PSRL,
    "greedy": (134.8, 368.8, 769.3, 1172.9, 1578.5),
    "RL^2": (156.2, 445.7, 936.1, 1428.8, 1913.7),
}
"""Means over 1000 trials, by player and number of episodes."""


def row(player: str) -> Row:
    """Return a player's row."""
    papers = PAPER.get(player, (None,) * len(EPISODES))
    cells = (Cell(f"{player}, {episodes} episodes", paper, exam=None) for episodes, paper in zip(EPISODES, papers, strict=True))
    return Row(player, TABULAR_MDP, tuple(cells), reading)


def learner_row(learner: str) -> Row:
    """Return a learner's row: one with memory lives through all episodes, the others through half of them at a time."""
    paper = PAPER[learner][EPISODES.index(LEARNED)] if learner in PAPER else None
    name = f"{learner}, {LEARNED} episodes"
    if learner in REMEMBERING:
        settings = {**REMEMBERING[learner], "episodes": LEARNED, "rollouts.trajectories": TRIALS, **ENDLESS}
        return Row(learner, settings, (Cell(name, paper, exam=Exam(TASKS), total=True),))
    group = LEARNED // 2
    settings = {**STEPPING[learner], "rollouts.trajectories": group, **ENDLESS}
    return Row(learner, settings, (Cell(name, paper, exam=Exam(TASKS, repeats=TRIALS), total=True, unit=group),))


def difference(learner: str, standard: str) -> Difference:
    """Return how many percent a learner is above a player."""
    paper = 100 * (PAPER[learner][0] / PAPER[standard][0] - 1) if learner in PAPER else None
    ours, theirs = (f"{name}, {LEARNED} episodes" for name in (learner, standard))
    return Difference(f"in percent: {learner} minus {theirs}", ours, theirs, paper, relative=True)


def reading(row: Row, run: Run, scale: float) -> Numbers:
    """Return the mean total rewards of a row's player after each number of episodes; it has nothing to learn and no scale."""
    env = make_env(run.env, run.env_kwargs)
    tasks = [task for task in evaluation_tasks(env, TASKS) for _ in range(TRIALS)]
    played = play(PLAYERS[row.name], env, tasks, max(EPISODES), seed=run.seed)
    env.close()
    numbers: Numbers = {}
    for cell, episodes in zip(row.cells, EPISODES, strict=True):
        numbers[cell.name] = Measured.over(played.first(episodes).totals.reshape(-1, TRIALS).mean(1))
    return numbers


TABLE = Table(
    title="Random tabular MDPs: the total reward of a trial (RL^2, Table 2); learners have 30 minutes of a core at scale 1",
    rows=[
        *(row(player) for player in PLAYERS),
        *(learner_row(learner) for learner in (*REMEMBERING, *STEPPING)),
        *(difference(learner, standard) for standard in STANDARDS for learner in (*REMEMBERING, *STEPPING)),
    ],
    higher_is_better=True,
    seeds=1,
    minutes=MINUTES,
    columns=tuple(f"{episodes} episodes" for episodes in EPISODES),
)
