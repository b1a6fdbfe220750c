"""Tables of locomotion: returns after each inner step on unseen tasks, and how far that is on the way to an oracle's.

Finn, Abbeel and Levine 2017, "Model-Agnostic Meta-Learning", Figure 5; the numbers are those behind it, means over 40 tasks.
Returns are not comparable in value with them: a step lasts 0.05 s on Gymnasium's models, where theirs of rllab last 0.01 s
(half-cheetahs) or 0.02 s (ants), and bodies differ. What is comparable is the share of the way from the return before
adaptation to that of an oracle, which is told the task. Every row has a budget of one core's time; the papers' lengths are the
presets for many cores, such as ``metarl train cheetah-direction``.
"""

from collections.abc import Mapping, Sequence

from metarl.commands.presets import PRESETS
from metarl.commands.settings import Settings
from metarl.commands.table import Cell, Exam, Row, Share

STEPS = 3
TASKS = 40
ENDLESS: Settings = {"iterations": 10**7}
"""The time ends a run first."""
ORACLE = "oracle"
COLUMNS = tuple(f"after {step} step{'s' * (step != 1)}" for step in range(STEPS + 1))
OF_THE_WAY = (1, 3)
"""Steps after which the share of the way is read."""


def rows(family: str, paper: Mapping[str, Sequence[float]], minutes: Mapping[str, float]) -> list[Row | Share]:
    """Return a family's rows and shares.

    Args:
        family: how the names of its presets begin, such as ``"cheetah-direction"``.
        paper: published returns after 0, 1, ... steps, by row; the oracle's before any.
        minutes: that each row has to learn in, at scale 1.
    """
    small = PRESETS[f"{family}-small"][1]
    first = small["rate"][0]
    learners: dict[str, Settings] = {
        "MAML": {**small, "agent": "maml"},
        "Meta-SGD": {**small, "agent": "meta-sgd", "rate": first},
        "pretrained": PRESETS[f"{family}-pretrained"][1],
        "random": {**small, "agent": "scratch-policy"},
        ORACLE: PRESETS[f"{family}-oracle"][1],
    }
    found: list[Row | Share] = [
        _row(name, settings, paper.get(name, ()), minutes.get(name)) for name, settings in learners.items()
    ]
    return [*found, *(_share(name, step, paper) for name in learners if name != ORACLE for step in OF_THE_WAY)]


def _row(name: str, settings: Settings, paper: Sequence[float], minutes: float | None) -> Row:
    steps = 0 if name == ORACLE else STEPS
    exam = Exam(TASKS, steps)
    cells = (
        Cell(f"{name}, {COLUMNS[step]}", paper[step] if step < len(paper) else None, exam=exam, step=step, comparable=False)
        for step in range(steps + 1)
    )
    return Row(name, settings if minutes is None else {**settings, **ENDLESS}, tuple(cells), minutes=minutes)


def _share(name: str, step: int, paper: Mapping[str, Sequence[float]]) -> Share:
    published = None
    if name in paper:
        start = paper[name][0]
        published = 100 * (paper[name][step] - start) / (paper[ORACLE][0] - start)
    cells = (f"{name}, {COLUMNS[step]}", f"{name}, {COLUMNS[0]}", f"{ORACLE}, {COLUMNS[0]}")
    return Share(f"percent of the way to the {ORACLE}: {name}, {COLUMNS[step]}", *cells, published)
