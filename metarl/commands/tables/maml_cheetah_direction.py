"""Half-cheetahs run forwards or backwards, as in MAML (Finn et al. 2017, Figure 5).

There are two directions and no others: unseen tasks are the two that were trained on, met anew.
``metarl.commands.locomotion_rows`` says what can be compared.
"""

from metarl.commands.locomotion_rows import COLUMNS, rows
from metarl.commands.table import Table

PAPER = {
    "MAML": (-50.7, 293.2, 313.5, 315.7),
    "pretrained": (-43.0, -24.8, -12.9, 19.6),
    "random": (-35.7, 21.8, 62.3, 86.2),
    "oracle": (442.7,),
}
MINUTES = {"MAML": 40.0, "Meta-SGD": 40.0, "pretrained": 10.0, "oracle": 10.0}
"""Of one core: all rows end within an hour on two."""

TABLE = Table(
    title="MAML, half-cheetahs run forwards or backwards: return after 0 to 3 steps, percent of the way to the oracle's",
    rows=rows("cheetah-direction", PAPER, MINUTES),
    higher_is_better=True,
    seeds=1,
    columns=COLUMNS,
)
