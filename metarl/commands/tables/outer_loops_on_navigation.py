"""MAML by TRPO, PPO and ProMP at the same environment steps: 2D navigation, and half-cheetahs that run forwards or backwards.

Each outer step samples as much, and each row has as many of them; where a goal ends an episode, steps are a few fewer. The
loops differ in what they make of the same experience: TRPO one natural step, PPO and ProMP five epochs of Adam's.
"""

from typing import get_args

from metarl.commands.costs import Spent
from metarl.commands.presets.locomotion import SHORT
from metarl.commands.presets.navigation import NAVIGATION_PPO
from metarl.commands.settings import Settings
from metarl.commands.table import Cell, Difference, Exam, Row, Table

LOOPS = {"TRPO": "trpo", "PPO": "ppo", "ProMP": "promp"}
STANDARD = "TRPO"
WORLDS: dict[str, tuple[Settings, int]] = {"navigation": (NAVIGATION_PPO, 600), "cheetah direction": (SHORT, 40)}
"""Settings, and test tasks."""
COLUMNS = ("after 0 steps", "after 1 step", *get_args(Spent))


def part(world: str) -> list[Row | Difference]:
    """Return a world's rows, and how far the others are above TRPO after one step."""
    settings, tasks = WORLDS[world]
    exam, found = Exam(tasks), list[Row | Difference]()
    for name, outer in LOOPS.items():
        line = f"{world}: {name}"
        cells = [Cell(f"{line}, {COLUMNS[step]}", exam=exam, step=step) for step in (0, 1)]
        spent = [Cell(f"{line}, {cost}", exam=exam, cost=cost) for cost in get_args(Spent)]
        found.append(Row(line, {**settings, "agent": "maml", "outer": outer}, (*cells, *spent)))
    for name in LOOPS:
        if name != STANDARD:
            ours, standard = (f"{world}: {loop}, {COLUMNS[1]}" for loop in (name, STANDARD))
            found.append(Difference(f"{world}: {name} minus {STANDARD}, {COLUMNS[1]}", ours, standard))
    return found


TABLE = Table(
    title="MAML by TRPO, PPO and ProMP at equal environment steps: return before and after one inner step",
    rows=[row for world in WORLDS for row in part(world)],
    higher_is_better=True,
    columns=COLUMNS,
)
