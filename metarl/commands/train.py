"""metarl train: meta-train an agent, and leave a run folder."""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import torch
import tyro
from rich.console import Console
from torch import distributed

from metarl import processes
from metarl.agents import Agent, Evaluation
from metarl.agents.callbacks import SaveCallback
from metarl.checkpoint import RUN_CHECKPOINT as CHECKPOINT
from metarl.commands.presets import PRESETS, Run
from metarl.errors import ConfigError, NonFiniteError, require_positive
from metarl.files import whole

CONFIG = "config.json"
EVALUATION = "evaluation.json"
MAY_CHANGE = {"iterations": 0, "root": ""}
"""What a resumed run need not have in common with the run in the folder."""


@dataclass(frozen=True)
class Train:
    """Meta-train an agent; the run folder gets config.json, checkpoint.pt, TensorBoard logs, evaluation.json and pictures."""

    run: Annotated[Run, tyro.conf.arg(name="")] = field(default_factory=Run)
    """What to train."""
    run_dir: str = ""
    """Where the run goes; runs/PRESET-AGENT-SEED by default."""
    resume: bool = False
    """Go on with the run in the folder: the result equals an uninterrupted run's."""
    progress_bar: bool = True
    """Show a progress bar."""
    verbose: bool = False
    """Print the log's tables."""
    log_interval: int = 0
    """Outer steps between log entries; 0 for a hundredth of the run."""
    figure_every: int = 0
    """Outer steps between pictures in TensorBoard; 0 for a quarter of the run."""
    save_every: int = 0
    """Outer steps between checkpoints; 0 for a hundredth of the run."""
    evaluation_tasks: int = 600
    """Unseen tasks for the evaluation at the end; 0 for none."""
    evaluation_steps: int = 0
    """Inner steps in it; 0 for as many as in training."""

    def resolved(self, preset: str) -> "Train":
        """Return the settings with every "0 for" replaced."""
        run, hundredth = self.run, max(1, self.run.iterations // 100)
        return replace(
            self,
            run_dir=self.run_dir or f"runs/{preset}-{run.agent}-{run.seed}",
            log_interval=self.log_interval or hundredth,
            figure_every=self.figure_every or max(1, run.iterations // 4),
            save_every=self.save_every or hundredth,
        )


def main(arguments: list[str]) -> int:
    """Run the command."""
    configs = {name: (text, Train(run)) for name, (text, run) in PRESETS.items()}
    train: Train = tyro.extras.overridable_config_cli(configs, args=arguments, prog="metarl train")
    started_processes = _join_processes()
    try:
        _train(train.resolved(next(name for name in arguments if name in PRESETS)))
    finally:
        if started_processes:
            distributed.destroy_process_group()
    return 0


def _train(train: Train) -> None:
    console = Console(quiet=processes.rank() > 0, soft_wrap=True)
    folder, run = Path(train.run_dir), train.run
    require_positive(iterations=run.iterations)
    for name in ("evaluation_tasks", "evaluation_steps"):
        if getattr(train, name) < 0:
            raise ConfigError(f"{name}={getattr(train, name)} must not be negative")
    agent = _agent(train, folder)
    if processes.rank() == 0:
        folder.mkdir(parents=True, exist_ok=True)
        with whole(folder / CONFIG) as path:
            path.write_text(json.dumps(run.as_dict(), indent=2) + "\n")
    console.print(f"[bold]{type(agent).__name__}[/] on {run.env}, {run.iterations} iterations; everything goes to {folder}/")
    left = run.iterations - agent.iteration
    if train.resume:
        console.print(
            f"going on after {agent.iteration} iterations" if agent.iteration else "no checkpoint there yet: a new run"
        )
    if left > 0:
        try:
            agent.learn(
                left,
                callback=SaveCallback(folder / CHECKPOINT, train.save_every),
                log_interval=train.log_interval,
                tb_log_name="tensorboard",
                progress_bar=train.progress_bar,
                validate_every=run.validate_every,
                validation_tasks=run.validation_tasks,
                figure_every=train.figure_every,
            )
        except KeyboardInterrupt:  # in mid-iteration: the last checkpoint is what a resumed run must start from
            console.print(f"stopped; --resume goes on from the last checkpoint, at most {train.save_every} iterations ago")
            return
        except NonFiniteError:  # the step was refused: the state is the one after the last good step
            _save(agent, folder)
            raise
        _save(agent, folder)
    if agent.best is not None:
        console.print(f"best validation after {agent.best['iteration']} iterations; that iterate is kept")
    agent.restore_best()
    if processes.rank() == 0:
        finish(agent, folder, train.evaluation_tasks, train.evaluation_steps or None, console)


def finish(agent: Agent, folder: Path, tasks: int, steps: int | None, console: Console) -> None:
    """Evaluate, and write the evaluation, the pictures and what to look at."""
    if tasks:
        evaluation: Evaluation = agent.evaluate(tasks, steps)
        console.print(str(evaluation), highlight=False)
        with whole(folder / EVALUATION) as path:
            path.write_text(json.dumps(evaluation.as_dict(), indent=2) + "\n")
    for name, figure in agent.pictures().items():
        figure.savefig(folder / f"{name}.png", dpi=120)
        console.print(f"picture:     {folder / f'{name}.png'}")
    console.print(f"checkpoint:  {folder / CHECKPOINT}")
    console.print(f"TensorBoard: tensorboard --logdir {folder}")


def _save(agent: Agent, folder: Path) -> None:
    if processes.rank() == 0:
        agent.save(folder / CHECKPOINT)


def _agent(train: Train, folder: Path) -> Agent:
    """Return a new agent, or the one in the run folder."""
    path, log = folder / CHECKPOINT, str(folder)
    if not path.exists() or not train.resume:  # a run killed before its first checkpoint begins again
        if path.exists():
            raise ConfigError(
                f"run_dir={folder} already holds a run: add --resume to go on with it, or choose another --run-dir"
            )
        return train.run.make(int(train.verbose), log)
    saved = json.loads((folder / CONFIG).read_text()) if (folder / CONFIG).exists() else None
    ours = json.loads(json.dumps(train.run.as_dict()))
    if saved is not None and {**saved, **MAY_CHANGE} != {**ours, **MAY_CHANGE}:
        changed = [f"{name} ({there!r} there, {here!r} here)" for name, there, here in _differences(saved, ours)]
        raise ConfigError(
            f"run_dir={folder} holds another run, different in {', '.join(changed)}: give the same options to resume it"
        )
    moved = {"root": train.run.root} if train.run.root else None
    return Agent.load(path, env_kwargs=moved, device=train.run.device, verbose=int(train.verbose), tensorboard_log=log)


def _differences(there: Any, here: Any, name: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Yield the fields in which two configurations differ, with their values."""
    if isinstance(there, dict) and isinstance(here, dict):
        for key in here:
            if key not in MAY_CHANGE:
                yield from _differences(there.get(key), here[key], f"{name}.{key}".lstrip("."))
    elif there != here:
        yield name, there, here


def _join_processes() -> bool:
    """Join the other processes if torchrun started this one; return whether it did."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or distributed.is_initialized():
        return False
    on_gpu = torch.cuda.is_available()
    if on_gpu:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    distributed.init_process_group("nccl" if on_gpu else "gloo")
    return True
