"""Ants walk at a speed, as in MAML (Finn et al. 2017, Figure 5).

``metarl.commands.locomotion_rows`` says what can be compared.
"""

from metarl.commands.locomotion_rows import COLUMNS, rows
from metarl.commands.table import Table

PAPER = {
    "MAML": (30.6, 96.7, 100.1, 101.4),
    "pretrained": (-1.8, 6.1, 8.5, 9.5),
    "random": (-78.6, -62.8, -48.6, -35.6),
    "oracle": (107.9,),
}
MINUTES = {"MAML": 80.0, "Meta-SGD": 80.0, "pretrained": 20.0, "oracle": 20.0}
"""Of one core: all rows end within two hours on two."""

TABLE = Table(
    title="MAML, ants walk at a speed: return after 0 to 3 steps, percent of the way to the oracle's",
    rows=rows("ant-velocity", PAPER, MINUTES),
    higher_is_better=True,
    seeds=1,
    columns=COLUMNS,
)
