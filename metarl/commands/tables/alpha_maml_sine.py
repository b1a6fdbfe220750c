"""Alpha MAML on sine waves: iterations to a loss by initial rates and hyper-rates, as in Behl et al. 2019, Figures 2 and 3."""

from metarl.commands.crossings import WINDOW, Grid

GRID = Grid(
    settings={
        "env": "metarl/Sine-v0",
        "env_kwargs": {"shots": 10, "queries": 10},
        "policy": "MLP",
        "policy_kwargs": {"init": "torch"},
        "meta_batch": 25,
    },
    alphas=(1e-4, 1e-5, 1e-6),
    betas=(1e-6, 1e-7, 1e-8),
    chosen=(1e-5, 1e-6),  # the best of the grid
    cells={"": (3.0, WINDOW)},
    compared={"": "loss 3"},
)

TABLE = GRID.table(
    title="Alpha MAML on sine waves: iterations until the query loss (mean of 10 iterations) is below 3; 500: not reached",
    over_all="Alpha MAML on sine waves",
)
