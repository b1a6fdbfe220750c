"""Half-cheetahs run at a speed, as in MAML (Finn et al. 2017, Figure 5).

``metarl.commands.locomotion_rows`` says what can be compared.
"""

from metarl.commands.locomotion_rows import COLUMNS, rows
from metarl.commands.table import Table

PAPER = {
    "MAML": (-129.5, -78.6, -66.6, -60.8),
    "pretrained": (-158.0, -135.4, -128.5, -133.6),
    "random": (-254.8, -254.3, -246.8, -230.8),
    "oracle": (-54.5,),
}
MINUTES = {"MAML": 40.0, "Meta-SGD": 40.0, "pretrained": 10.0, "oracle": 10.0}
"""Of one core: all rows end within an hour on two."""

TABLE = Table(
    title="MAML, half-cheetahs run at a speed: return after 0 to 3 steps, percent of the way to the oracle's",
    rows=rows("cheetah-velocity", PAPER, MINUTES),
    higher_is_better=True,
    seeds=1,
    columns=COLUMNS,
)
