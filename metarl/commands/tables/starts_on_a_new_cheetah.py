"""Where to start on a half-cheetah's new direction: the return after so many environment steps of it.

The same as ``starts-on-a-new-task``, on locomotion: an inner step takes 4,000 environment steps.
"""

from metarl.commands.presets.locomotion import PRESETS as LOCOMOTION
from metarl.commands.presets.players import PRESETS as PLAYERS
from metarl.commands.table import Table
from metarl.commands.tables.starts_on_a_new_task import column_of, picture, reading_of, rows

BUDGETS = (0, 4_000, 8_000, 16_000, 32_000, 64_000)
"""Environment steps."""

TABLE = Table(
    title="Half-cheetahs: the return in a new direction after so many environment steps of it, by where learning starts",
    rows=rows(LOCOMOTION["cheetah-direction-small"][1], PLAYERS["cheetah-direction-pretrained"][1], BUDGETS),
    higher_is_better=True,
    seeds=1,
    columns=tuple(map(column_of, BUDGETS)),
    reading=reading_of(BUDGETS),
    picture=picture,
)
