"""metarl train: meta-train an agent, and leave a run folder."""

import json
import os
import shlex
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from metarl.commands.run_folder import CONFIG, EVALUATION, differences, versions
from metarl.commands.settings import Settings
from metarl.errors import ConfigError, NonFiniteError, require_whole, unknown_name
from metarl.files import whole
from metarl.registry import PRESETS, TABLES

if TYPE_CHECKING:
    from metarl.agents import Agent
    from metarl.commands.run import Run
    from metarl.commands.scope import Scope

INTERRUPTED = 130
"""The exit status of a run that was stopped from the keyboard, as shells have it."""
CHOICES = ("agent", "outer", "env")
"""What decides which other options there are."""
USAGE = """usage: metarl train PRESET [--agent AGENT] [--outer LOOP] [--env ENV] [options]

Meta-train an agent. The run folder gets config.json, checkpoint.pt, TensorBoard
logs, evaluation.json and pictures. PRESET is a preset, or a row of a table as
TABLE/ROW (metarl list TABLE names them). Whatever a preset says can be said
otherwise by an option; what does not apply to another agent is left out.

  metarl train PRESET --help             the options of this run
  metarl train PRESET --agent A --help   those of another agent
"""


@dataclass(frozen=True)
class Train:
    """Where a run goes, and what is said of it while it runs."""

    run_dir: str = ""
    """Where the run goes; runs/PRESET-AGENT-SEED by default."""
    resume: bool = False
    """Go on with the run in the folder: the result equals an uninterrupted run's."""
    evaluation_tasks: int = 600
    """Unseen tasks for the evaluation at the end; 0 for none."""
    evaluation_steps: int = 0
    """Inner steps in it; 0 for as many as in training."""
    progress_bar: bool = True
    """Show how far the run is: a bar, or without a terminal a line now and then."""
    verbose: bool = False
    """Print the log's tables."""
    log_interval: int = 0
    """Outer steps between log entries; 0 for a hundredth of the run, and no less than ten calls of several steps."""
    picture_every: int = 0
    """Outer steps between pictures in TensorBoard; 0 for a quarter of the run."""
    video_every: int = 0
    """Outer steps between videos of a policy in TensorBoard; 0 for none."""
    save_every: int = 0
    """Outer steps between checkpoints; 0 for a hundredth of the run."""

    def resolved(self, preset: str, run: "Run") -> "Train":
        """Return the settings with every "0 for" replaced."""
        for name in ("evaluation_tasks", "evaluation_steps", "log_interval", "picture_every", "video_every", "save_every"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name}={getattr(self, name)} must not be negative")
        hundredth = max(1, run.iterations // 100)
        together = run.outer_options.get("steps_per_call", 1)
        calls = 10 * together if together > 1 else 1  # the steps of a call up to a logged one are taken singly
        return replace(
            self,
            run_dir=self.run_dir or f"runs/{preset.replace('/', '-')}-{run.agent}-{run.seed}",
            log_interval=self.log_interval or max(hundredth, calls),
            picture_every=self.picture_every or max(1, run.iterations // 4),
            save_every=self.save_every or hundredth,
        )


def main(arguments: list[str]) -> int:
    """Run the command."""
    if not arguments or arguments[0].startswith("-"):
        asked = bool({"-h", "--help"} & set(arguments))
        print(USAGE + "\npresets (metarl list presets says more):\n  " + "\n  ".join(PRESETS))
        return 0 if asked else 2
    name, given = arguments[0], arguments[1:]
    run, train = parse(name, settings_of(name), given)
    started_processes = _join_processes()
    try:
        return _train(run, train.resolved(name, run), _command(arguments))
    finally:
        if started_processes:
            from torch import distributed

            distributed.destroy_process_group()


def settings_of(name: str) -> Settings:
    """Return a preset's settings, or those of a table's row, ``TABLE/ROW``.

    Raises:
        ConfigError: an unknown name, with the nearest ones.
    """
    table, slash, row = name.partition("/")
    if slash and table in TABLES:
        settings: Settings = TABLES.load(table).row(row).settings
        return settings
    if name not in PRESETS:
        raise unknown_name("preset", name, PRESETS)
    settings = PRESETS.load(name)
    return settings


def parse(name: str, settings: Settings, arguments: list[str]) -> "tuple[Run, Train]":
    """Return the run that a preset and options are, and what goes with it.

    Args:
        name: of the preset, for the help.
        settings: the preset's.
        arguments: options; those that have no effect on the chosen agent, outer loop or environment are refused.

    Raises:
        ConfigError: an option that has no effect here, or a value out of range.
        SystemExit: after ``--help``, or if a value cannot be read.
    """
    from metarl.commands.options import Group, Option, named, options_of
    from metarl.commands.options import parse as parse_options
    from metarl.commands.scope import OF_LEARNING, Scope

    scope = Scope.of(settings, _chosen(arguments))
    about = options_of(Train, OF_LEARNING if scope.outer is None else ())
    agent_kwargs = Option("agent_kwargs", Mapping[str, Any], {}, "The agent's own options as JSON, such as '{\"rate\": 0.1}'.")
    known = {option.name for option in (*about, agent_kwargs)}
    for option, written in named(arguments).items():
        if option.removeprefix("no_") not in known and option != "help":
            refused = scope.refusal(option, written)
            if refused is not None:
                raise refused
    defaults = scope.defaults(settings)
    groups = [
        Group("run", "", tuple(replace(one, default=defaults[one.name]) for one in scope.own)),
        *(
            replace(group, options=tuple(replace(one, default=defaults[group.full(one)]) for one in group.options))
            for group in scope.groups
        ),
        Group("folder", "", (*about, agent_kwargs)),
    ]
    values = parse_options(
        groups, arguments, f"metarl train {name}", "Meta-train an agent: the options that apply to this run."
    )
    train = Train(**{option.name: values.pop(option.name) for option in about})
    values |= _agent_kwargs(scope, values.pop(agent_kwargs.name), named(arguments))
    return scope.run(values), train


def _agent_kwargs(scope: "Scope", given: Mapping[str, Any], written: Mapping[str, str]) -> Mapping[str, Any]:
    """Return the agent's options that were given as JSON.

    Raises:
        ConfigError: an option that the agent has not, or that was given by its own name too.
    """
    from metarl.commands.options import flag

    known = {option.name for option in scope.groups[0].options}
    for name in given:
        if name not in known:
            raise unknown_name(f"agent_kwargs of {scope.agent.name}", name, known)
        if name in written:
            raise ConfigError(f"agent_kwargs has {name}, and {written[name]} says it too: give {flag(name)} once")
    return given


def _chosen(arguments: list[str]) -> dict[str, str]:
    """Return the agent, outer loop and environment that arguments ask for."""
    chosen = {}
    for argument, after in zip(arguments, [*arguments[1:], ""], strict=False):
        name, is_equal, value = argument.partition("=")
        if name.removeprefix("--") in CHOICES and name.startswith("--"):
            chosen[name.removeprefix("--")] = value if is_equal else after
    return chosen


def _train(run: "Run", train: Train, command: str = "") -> int:
    """Train, and return the exit status."""
    folder = Path(train.run_dir)
    if run.outer:
        require_whole(iterations=run.iterations)
    with closing(_agent(run, train, folder)) as agent:
        _require_evaluations(agent, run, train)
        return _fill(folder, agent, run, train, command)


def _require_evaluations(agent: "Agent", run: "Run", train: Train) -> None:
    """Raise ConfigError for an evaluation that would fail after the training, or a validation in the midst of it."""
    if train.evaluation_tasks and train.evaluation_steps and agent.adapter.stage == "support set":
        raise ConfigError(f"evaluation_steps={train.evaluation_steps}: {run.agent} takes no inner steps; leave it out")
    sets: Mapping[str, int] = getattr(agent.env.unwrapped, "task_sets", {})
    validation_tasks = run.validation_tasks if run.validate_every else 0
    for name, split, wanted in (
        ("evaluation_tasks", "test", train.evaluation_tasks),
        ("validation_tasks", "validation", validation_tasks),
    ):
        size = sets.get(split, wanted)
        if wanted > size:
            raise ConfigError(
                f"{name}={wanted} is more than the {size} of the fixed set of split {split!r}: ask for at most {size}"
            )


def _fill(folder: Path, agent: "Agent", run: "Run", train: Train, command: str) -> int:
    """Let an agent learn and be evaluated, put everything into the run folder, and return the exit status."""
    from metarl import processes
    from metarl.agents.callbacks import SaveCallback
    from metarl.checkpoint import RUN_CHECKPOINT

    console = Console(quiet=processes.rank() > 0, soft_wrap=True)
    if processes.rank() == 0:
        folder.mkdir(parents=True, exist_ok=True)
        with whole(folder / CONFIG) as path:
            content = {**run.as_dict(), "command": command, "versions": versions()}
            path.write_text(json.dumps(content, indent=2) + "\n")
    length = f", {run.iterations} iterations" if run.outer else ""
    console.print(f"[bold]{type(agent).__name__}[/] on {run.env}{length}; everything goes to {folder}/")
    left = run.iterations - agent.iteration
    if train.resume and run.outer:
        console.print(
            f"going on after {agent.iteration} iterations" if agent.iteration else "no checkpoint there yet: a new run"
        )
    if left > 0:
        try:
            agent.learn(
                left,
                callback=SaveCallback(folder / RUN_CHECKPOINT, train.save_every),
                log_interval=train.log_interval,
                tb_log_name="tensorboard",
                progress_bar=train.progress_bar,
                validate_every=run.validate_every,
                validation_tasks=run.validation_tasks,
                picture_every=train.picture_every,
                video_every=train.video_every,
            )
        except KeyboardInterrupt:  # in mid-iteration: the last checkpoint is what a resumed run must start from
            if (folder / RUN_CHECKPOINT).exists():
                console.print(f"stopped; --resume goes on from the last checkpoint, at most {train.save_every} iterations ago")
            else:
                console.print(f"stopped before the first checkpoint, which comes after {train.save_every} iterations")
            return INTERRUPTED
        except NonFiniteError:  # the step was refused: the state is the one after the last good step
            _save(agent, folder)
            raise
    if left > 0 or not run.outer:
        _save(agent, folder)
    if agent.best is not None:
        console.print(f"best validation after {agent.best['iteration']} iterations; that iterate is kept")
    agent.restore_best()
    tune(agent, console)
    if processes.rank() == 0:
        finish(agent, folder, train.evaluation_tasks, train.evaluation_steps or None, console)
    return 0


def _command(arguments: list[str]) -> str:
    """Return the command that makes a run again, from its start."""
    return shlex.join(["metarl", "train", *(argument for argument in arguments if argument != "--resume")])


def tune(agent: "Agent", console: Console) -> None:
    """Let an agent choose what it chooses on validation tasks, where it does so, and say it."""
    if hasattr(agent, "tune"):
        console.print(f"tuning the steps of {type(agent).__name__} on validation tasks")
        agent.tune()


def finish(agent: "Agent", folder: Path, tasks: int, steps: int | None, console: Console) -> None:
    """Evaluate, and write the evaluation, the pictures and what to look at."""
    from metarl.checkpoint import RUN_CHECKPOINT

    if tasks:
        console.print(f"evaluating on {tasks} unseen tasks (--evaluation-tasks says on how many)")
        evaluation = agent.evaluate(tasks, steps, progress_bar=True)
        console.print(str(evaluation), highlight=False)
        with whole(folder / EVALUATION) as path:
            path.write_text(json.dumps(evaluation.as_dict(), indent=2) + "\n")
    for name, picture in agent.pictures().items():
        picture.savefig(folder / f"{name}.png", dpi=120)
        console.print(f"picture:     {folder / f'{name}.png'}")
    console.print(f"checkpoint:  {folder / RUN_CHECKPOINT}")
    console.print(f"TensorBoard: tensorboard --logdir {folder}")


def _save(agent: "Agent", folder: Path) -> None:
    from metarl import processes
    from metarl.checkpoint import RUN_CHECKPOINT

    if processes.rank() == 0:
        agent.save(folder / RUN_CHECKPOINT)


def _agent(run: "Run", train: Train, folder: Path) -> "Agent":
    """Return a new agent, or the one in the run folder."""
    from metarl.agents import Agent
    from metarl.checkpoint import RUN_CHECKPOINT

    path, log = folder / RUN_CHECKPOINT, str(folder)
    if not path.exists() or not train.resume:  # a run killed before its first checkpoint begins again
        if path.exists():
            raise ConfigError(
                f"run_dir={folder} already holds a run: add --resume to go on with it, or choose another --run-dir"
            )
        return run.make(verbose=int(train.verbose), tensorboard_log=log)
    if (folder / CONFIG).exists():
        changed = differences(json.loads((folder / CONFIG).read_text()), run)
        if changed:
            raise ConfigError(
                f"run_dir={folder} holds another run, different in {', '.join(changed)}: give the same options to resume it"
            )
    moved = {"root": run.root} if run.root else None
    agent: Agent = Agent.load(path, env_kwargs=moved, device=run.device, verbose=int(train.verbose), tensorboard_log=log)
    return agent


def _join_processes() -> bool:
    """Join the other processes if torchrun started this one; return whether it did."""
    import torch
    from torch import distributed

    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or distributed.is_initialized():
        return False
    on_gpu = torch.cuda.is_available()
    if on_gpu:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    distributed.init_process_group("cpu:gloo,cuda:nccl" if on_gpu else "gloo")
    return True
