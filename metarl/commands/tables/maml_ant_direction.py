"""Ants walk forwards or backwards, as in MAML (Finn et al. 2017, Figure 5).

There are two directions and no others: unseen tasks are the two that were trained on, met anew.
``metarl.commands.locomotion_rows`` says what can be compared.
"""

from metarl.commands.locomotion_rows import COLUMNS, rows
from metarl.commands.table import Table

PAPER = {
    "MAML": (8.7, 499.2, 500.7, 499.1),
    "pretrained": (3.2, 1.3, 6.5, 6.9),
    "random": (3.1, 9.3, 16.0, 26.1),
    "oracle": (524.8,),
}
MINUTES = {"MAML": 80.0, "Meta-SGD": 80.0, "pretrained": 20.0, "oracle": 20.0}
"""Of one core: all rows end within two hours on two."""

TABLE = Table(
    title="MAML, ants walk forwards or backwards: return after 0 to 3 steps, percent of the way to the oracle's",
    rows=rows("ant-direction", PAPER, MINUTES),
    higher_is_better=True,
    seeds=1,
    columns=COLUMNS,
)
