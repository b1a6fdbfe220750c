"""Bernoulli bandits: the total reward of a trial.

Duan et al. 2016, "RL^2: Fast Reinforcement Learning via Slow Reinforcement Learning", Table 1, and Mishra et al. 2018, "A
Simple Neural Attentive Meta-Learner", which has SNAIL and MAML beside it. The reference players are played exactly, on the test
tasks that the learners are evaluated on, as often on each. As in the paper UCB1's factor is chosen for each number of pulls and
arms, here on training tasks, and Gittins's index is the best approximation of those that we tried: the index of the pulls that
are left. Of ten pulls the best possible play has an exact value, which stands beside them.

Every pull counts, those of adaptation too. A gradient learner has as many as the others: half of them before its one inner
step, each a trajectory of its own, and half after it. How SNAIL's paper divides them for MAML is not known to us; its 67.1 and
70.1 of 100 pulls are about what fifty pulls at random and fifty of the best arm earn.
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
from metarl.commands.presets.bandit import BANDIT, GRADIENT_BANDIT, RL2_BANDIT, SNAIL_BANDIT
from metarl.commands.run import Run
from metarl.commands.settings import Settings
from metarl.commands.table import Cell, Difference, Exam, Measured, Numbers, Row, Table

if TYPE_CHECKING:
    from typing import Any

    import gymnasium as gym

TASKS = 1000
"""Test tasks of each row."""
TRIALS = 20
"""In each of them; of learners with memory as many as in training."""
TUNING_TRIALS = 2000
"""On training tasks, for every factor of UCB1."""
FACTORS = (0.02, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.5, 1.0)
"""That UCB1's is chosen from."""
MINUTES = 30.0
"""Of one core, for every learner's run."""
ENDLESS: Settings = {"iterations": 10**7, "validate_every": 0}
"""The time ends a run, and what it has learned by then is measured."""
OPTIMUM = "Bayes-optimal"
STANDARD = "Gittins"
PLAYERS: "dict[str, Player[Any]]" = {"random": Random(), "greedy": Greedy(), "Thompson": Thompson(), STANDARD: Gittins()}
"""Those that have nothing to choose."""
TUNED = "UCB1"
REMEMBERING: dict[str, Settings] = {"RL^2": RL2_BANDIT, "SNAIL": SNAIL_BANDIT}
LONG: Settings = {"meta_batch": 20, "rollouts.trajectories": 10, "rollouts.gae_lambda": 0.9, "ppo.learning_rate": 3e-3}
"""What learners with memory change for more than ten pulls: fewer trials an outer step, and longer ones of Adam's."""
STEPPING: dict[str, Settings] = {
    "MAML": {**GRADIENT_BANDIT, "agent": "maml"},
    "Meta-SGD": {**GRADIENT_BANDIT, "agent": "meta-sgd"},
}
PAPER: dict[tuple[int, int], dict[str, float]] = {
    (10, 5): {"random": 5.0, "greedy": 6.6, "Thompson": 5.7, TUNED: 6.7, STANDARD: 6.6, "RL^2": 6.7, "SNAIL": 6.6, "MAML": 6.5},
    (10, 10): {
        "random": 5.0,
        "greedy": 6.6,
        "Thompson": 5.5,
        TUNED: 6.7,
        STANDARD: 6.6,
        "RL^2": 6.7,
        "SNAIL": 6.7,
        "MAML": 6.6,
    },
    (100, 5): {
        **{"random": 49.9, "greedy": 74.8, "Thompson": 74.7, TUNED: 78.0, STANDARD: 78.3},
        **{"RL^2": 78.7, "SNAIL": 79.1, "MAML": 67.1},
    },
    (100, 10): {
        **{"random": 49.9, "greedy": 77.1, "Thompson": 76.7, TUNED: 82.4, STANDARD: 82.8},
        **{"RL^2": 83.5, "SNAIL": 83.5, "MAML": 70.1},
    },
}
"""By pulls and arms; means over 1000 trials."""
ENUMERATED = 10
"""Pulls up to which the best possible play is computed."""
TOLERANCE = 3.0
"""How many percent below Gittins's index a learner with memory may be."""


def name_of(player: str, pulls: int, arms: int) -> str:
    """Return the name of a row and its cell."""
    return f"{player}, {pulls} pulls of {arms} arms"


def rows(pulls: int, arms: int) -> list[Row | Difference]:
    """Return the rows of a number of pulls and arms."""
    paper, family = PAPER[pulls, arms], {"arms": arms, "max_episode_steps": pulls}
    found: list[Row | Difference] = []
    for player in (*PLAYERS, TUNED, *([OPTIMUM] if pulls <= ENUMERATED else [])):
        name = name_of(player, pulls, arms)
        cells = (Cell(name, paper.get(player), exam=None),)
        found.append(Row(name, {**BANDIT, "env_kwargs": family}, cells, reading))
    for learner, settings in REMEMBERING.items():
        name = name_of(learner, pulls, arms)
        cells = (Cell(name, paper[learner], exam=Exam(TASKS)),)
        further = LONG if pulls > ENUMERATED else {}
        found.append(Row(name, {**settings, **further, "env_kwargs": family, **ENDLESS}, cells))
    group, one_pull = pulls // 2, {"arms": arms, "max_episode_steps": 1}
    for learner, settings in STEPPING.items():
        name = name_of(learner, pulls, arms)
        cells = (Cell(name, paper.get(learner), exam=Exam(TASKS, repeats=TRIALS), total=True, unit=group),)
        own = {**settings, "env_kwargs": one_pull, "rollouts.trajectories": group, "iterations": ENDLESS["iterations"]}
        found.append(Row(name, own, cells))
    for learner in (*REMEMBERING, *STEPPING):
        published = 100 * (paper[learner] / paper[STANDARD] - 1) if learner in paper else None
        ours, standard = (name_of(player, pulls, arms) for player in (learner, STANDARD))
        name = f"in percent: {learner} minus {standard}"
        found.append(Difference(name, ours, standard, published, -TOLERANCE, relative=True))
    return found


def reading(row: Row, run: Run, scale: float) -> Numbers:
    """Return the mean total reward of a row's player, which has nothing to learn and so no scale."""
    name = row.name.partition(", ")[0]
    if name == OPTIMUM:
        kwargs = run.env_kwargs
        return {row.name: Measured(bayes_optimal_value(int(kwargs["arms"]), int(kwargs["max_episode_steps"])), 0.0)}
    with closing(make_env(run.env, run.env_kwargs)) as env:
        player = tuned(env, TUNING_TRIALS) if name == TUNED else PLAYERS[name]
        tasks = [task for task in evaluation_tasks(env, TASKS) for _ in range(TRIALS)]
        played = play(player, env, tasks, seed=run.seed)
    return {row.name: Measured.over(played.totals.reshape(-1, TRIALS).mean(1))}


def tuned(env: "gym.Env[Any, Any]", trials: int) -> UCB1:
    """Return UCB1 with the factor that is best on training tasks, all with the same rewards."""
    tasks = evaluation_tasks(env, trials, "train")
    means = [play(UCB1(c), env, tasks).mean for c in FACTORS]
    return UCB1(FACTORS[int(np.argmax(means))])


TABLE = Table(
    title="Bernoulli bandits: the total reward of a trial (RL^2, Table 1); learners have 30 minutes of a core at scale 1",
    rows=[row for pulls, arms in PAPER for row in rows(pulls, arms)],
    higher_is_better=True,
    seeds=1,
    minutes=MINUTES,
    columns=tuple(f"{pulls} pulls of {arms} arms" for pulls, arms in PAPER),
)
