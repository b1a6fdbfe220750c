"""Alpha MAML, Figures 2 and 3: iterations to a training loss on Omniglot, by initial rates and hyper-rates.

Behl, Baydin and Torr 2019, section 4. The paper states neither ways, shots nor what its grid was; 2.99 lies just below ln 20.
"""

from metarl.commands.crossings import WINDOW, Grid

LOSSES = (2.99, 2.5)
GRID = Grid(
    settings={
        "env": "metarl/Omniglot-v0",
        "env_kwargs": {"ways": 20, "shots": 1, "queries": 1},
        "policy": "Conv4",
        "policy_kwargs": {"downsampling": "stride"},
        "meta_batch": 16,
    },
    alphas=(1e-2, 1e-3, 1e-4),
    betas=(1e-4, 1e-5, 1e-6),
    chosen=(1e-2, 1e-4),
    # each loss is crossed once, and once by its mean
    cells={
        f": {loss}{kind}": (loss, window) for loss in LOSSES for kind, window in (("", 1), (f" (mean of {WINDOW})", WINDOW))
    },
    compared={f": {loss}": f"loss {loss}" for loss in LOSSES},
    paper={"alpha 0.0001, beta 1e-06: MAML: 2.99": 165.0},
)

TABLE = GRID.table(
    title="Alpha MAML, Figures 2 and 3: iterations until the query loss on 20-way 1-shot Omniglot is below 2.99 and 2.5",
    over_all="Alpha MAML on 20-way Omniglot",
    needs_root=True,
)
