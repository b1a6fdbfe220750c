"""Where to start on a new task: the return after so many environment steps of it.

Stable-Baselines3's PPO learns each test task alone, from a random policy, from one that was pretrained on all training
tasks, and from MAML's meta-learned start; beside it stand MAML's own inner steps from that start. PPO has the same settings
everywhere. All returns are of the stochastic policy, by as many trajectories as ``agent.evaluate`` takes, whose steps do not
count; an inner step counts as the longest that its trajectories can be.
"""

from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from matplotlib.figure import Figure
from stable_baselines3 import PPO

from metarl.agents import TaskVecEnv
from metarl.agents.judging import EVALUATION_SEED
from metarl.agents.sb3_models import with_actor_of
from metarl.commands.presets.navigation import NAVIGATION_BEST
from metarl.commands.presets.players import PRESETS as PLAYERS
from metarl.commands.run import Run
from metarl.commands.settings import Settings
from metarl.commands.table import Cell, Measured, Numbers, Reading, Row, Table, by_cell
from metarl.errors import ConfigError
from metarl.evaluation import evaluate
from metarl.streams import stream

if TYPE_CHECKING:
    from metarl.agents import Agent
    from metarl.agents.trajectories import TrajectorySource

TASKS = 10
"""New tasks, at scale 1; at least two."""
N_ENVS = 5
"""Environments of PPO on a task, each of one episode in an iteration; else it has SB3's defaults."""
BATCH_SIZE = 50
SCRATCH, PRETRAINED, META_LEARNED, INNER = (
    "PPO from scratch",
    "PPO from the pretrained policy",
    "PPO from the meta-learned start",
    "inner steps from the meta-learned start",
)
LINES = {"scratch-policy": (SCRATCH,), "pretrained-policy": (PRETRAINED,), "maml": (META_LEARNED, INNER)}
"""What is read from an agent."""


def rows(maml: Settings, pretrained: Settings, budgets: tuple[int, ...]) -> list[Row]:
    """Return a row for each start; its cells are returns after so many environment steps."""
    starts = ({**maml, "agent": "scratch-policy"}, pretrained, {**maml, "agent": "maml"})
    return [
        Row(
            LINES[settings["agent"]][0],
            settings,
            tuple(Cell(name_of(line, steps), exam=None) for line in LINES[settings["agent"]] for steps in budgets),
        )
        for settings in starts
    ]


def name_of(line: str, steps: int) -> str:
    """Return a cell's name."""
    return f"{line}, {column_of(steps)}"


def column_of(steps: int) -> str:
    """Return a column's name."""
    return f"{steps} steps"


def read(row: Row, run: Run, scale: float, budgets: tuple[int, ...]) -> Numbers:
    """Return the returns on new tasks from a row's start."""
    with closing(run.make()) as agent:
        if run.outer:
            every, tasks = run.validate_every, run.validation_tasks
            agent.learn(run.iterations, log_interval=run.iterations + 1, validate_every=every, validation_tasks=tasks)
        agent.restore_best()
        source: Any = agent.source
        new = source.sample(max(2, round(TASKS * scale)), "test", stream(EVALUATION_SEED, "evaluation tasks", agent.device))
        numbers: Numbers = {}
        for line in LINES[run.agent]:
            values = by_inner_steps(agent, new, budgets) if line == INNER else by_ppo(agent, source, new, budgets)
            for steps, column in zip(budgets, values.T, strict=True):
                half = 1.96 * column.std(ddof=1) / len(column) ** 0.5
                numbers[name_of(line, steps)] = Measured(float(column.mean()), float(half), tuple(column.tolist()))
    return numbers


def by_ppo(agent: "Agent", source: "TrajectorySource", tasks: list[Any], budgets: tuple[int, ...]) -> "np.ndarray[Any, Any]":
    """Return the returns of PPO on each task alone, shape (tasks, budgets)."""
    values, metric = np.zeros((len(tasks), len(budgets))), agent.adapter.problem.metric
    for place, task in enumerate(tasks):
        with closing(TaskVecEnv(source.env, N_ENVS, tasks=[task] * N_ENVS)) as env:
            seed = agent.seed * len(tasks) + place
            sizes = {"n_steps": source.horizon, "batch_size": BATCH_SIZE}
            model = agent.to_sb3(PPO, env, seed=seed, device="cpu", **sizes)
            for column, steps in enumerate(budgets):
                if steps > model.num_timesteps:
                    model.learn(steps - model.num_timesteps, reset_num_timesteps=False)
                meta = with_actor_of(agent.adapter, agent.meta, model)
                noise = stream(seed, "evaluation noise", agent.device)
                values[place, column] = evaluate(agent.adapter, meta, [[task]], noise, steps=0)[metric][0, 0]
    return values


def by_inner_steps(agent: "Agent", tasks: list[Any], budgets: tuple[int, ...]) -> "np.ndarray[Any, Any]":
    """Return the returns after inner steps on each task, shape (tasks, budgets).

    Raises:
        ConfigError: a budget that is no whole number of inner steps.
    """
    source: Any = agent.source
    of_one = source.rollouts.trajectories * source.horizon
    if any(steps % of_one for steps in budgets):
        raise ConfigError(f"budgets={budgets} must be multiples of the {of_one} environment steps of an inner step")
    inner = [steps // of_one for steps in budgets]
    noise: torch.Generator = stream(agent.seed, "evaluation noise", agent.device)
    metric = agent.adapter.problem.metric
    values = [evaluate(agent.adapter, agent.meta, [[task]], noise, steps=max(inner))[metric][0] for task in tasks]
    return np.stack(values)[:, inner]


def picture(rows: list[dict[str, Any]], scale: float) -> Figure:
    """Draw the returns against environment steps of the new task, a line for each start, with their intervals."""
    cells = by_cell(rows)
    drawing = Figure(figsize=(7, 4.5), layout="constrained")
    ax = drawing.subplots()
    for line in (SCRATCH, PRETRAINED, META_LEARNED, INNER):
        found = [(int(name.split(", ")[1].split()[0]), row) for name, row in cells.items() if name.startswith(f"{line}, ")]
        known = [(steps, row["ours"], row["ours_ci"] or 0.0) for steps, row in found if row["ours"] is not None]
        if known:
            steps, means, halves = map(np.array, zip(*known, strict=True))
            drawn = ax.plot(steps, means, marker="o", markersize=4, label=line)
            ax.fill_between(steps, means - halves, means + halves, alpha=0.2, color=drawn[0].get_color())
    ax.set(xlabel="environment steps of the new task", ylabel="return")
    ax.grid(alpha=0.3)
    ax.legend(fontsize="small")
    drawing.suptitle("Learning a new task, by where it starts: mean and 95% interval over tasks")
    return drawing


def reading_of(budgets: tuple[int, ...]) -> Reading:
    """Return what measures a row at these numbers of environment steps."""
    return partial(read, budgets=budgets)


BUDGETS = (0, 2_000, 4_000, 8_000, 16_000, 32_000)
"""Environment steps of 2D navigation; an inner step takes 2,000."""

TABLE = Table(
    title="2D navigation: the return on a new task after so many environment steps of it, by where learning starts",
    rows=rows(NAVIGATION_BEST, PLAYERS["navigation-pretrained"][1], BUDGETS),
    higher_is_better=True,
    seeds=1,
    columns=tuple(map(column_of, BUDGETS)),
    reading=reading_of(BUDGETS),
    picture=picture,
)
