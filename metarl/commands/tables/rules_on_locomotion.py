"""All rules on half-cheetahs that run forwards or backwards, at equal environment steps: return by inner step, or by episode.

Every outer step samples 20 tasks and, of each, 20 trajectories of 100 steps before and 20 after the inner step, or for RL^2 10
trials of four episodes. So 120 outer steps are 9.6 million environment steps for all. What that took stands beside it.
Directions are two: unseen tasks are the two that were trained on, met anew.
"""

from typing import get_args

from metarl.commands.costs import Spent
from metarl.commands.presets.bandit import RL2_BANDIT
from metarl.commands.presets.locomotion import SHORT
from metarl.commands.settings import Settings
from metarl.commands.table import Cell, Exam, Row, Table

TASKS = 40
STEPS = 3
LEARNED: Settings = {"trpo.cg_iterations": 6}
"""The learned rules' Fisher products are several times as dear as gradient descent's: fewer of them, 10 for the others."""
RULES: dict[str, Settings] = {
    "MAML": {"agent": "maml"},
    "Meta-SGD": {"agent": "meta-sgd"},
    "Alpha MAML": {"agent": "alpha-maml", "alpha.alpha_hyper": 2e-5},
    "LSTM2": {"agent": "meta-lstm-2", **LEARNED},
    "TURTLE": {"agent": "turtle", "hidden": (20,), **LEARNED},
    "ProMP": {"agent": "maml", "outer": "promp"},
}
"""What each rule changes of the preset. The learned rules start as its gradient descent."""
OF_SAMPLING = ("env", "env_kwargs", "meta_batch", "iterations", "validate_every", "validation_tasks")
RL2: Settings = {
    **{name: value for name, value in RL2_BANDIT.items() if name.startswith("ppo.")},
    **{name: SHORT[name] for name in OF_SAMPLING},
    "agent": "rl2",
    "outer": "ppo",
    "policy": "MlpPolicy",
    "policy_kwargs": {"hidden": [64]},
    "hidden": 64,
    "episodes": STEPS + 1,
    "rollouts.trajectories": 10,
    "rollouts.gae_lambda": 0.95,
}
"""As on bandits, with as many episodes in a trial as returns are read."""
COLUMNS = (*(f"after {step} step{'s' * (step != 1)}" for step in range(STEPS + 1)), *get_args(Spent))


def row(name: str, settings: Settings) -> Row:
    """Return a rule's row: the returns after 0 to 3 steps (in a trial's episodes), and what training took."""
    exam = Exam(TASKS, STEPS)
    cells = [Cell(f"{name}, {COLUMNS[step]}", exam=exam, step=step) for step in range(STEPS + 1)]
    return Row(
        name, settings, (*cells, *(Cell(f"{name}, {cost}", exam=exam, cost=cost) for cost in ("million steps", "minutes")))
    )


TABLE = Table(
    title="All rules on half-cheetahs that run forwards or backwards, at equal environment steps: return after 0 to 3 steps",
    rows=[*(row(name, {**SHORT, **settings}) for name, settings in RULES.items()), row("RL^2, by episode", RL2)],
    higher_is_better=True,
    columns=COLUMNS,
)
