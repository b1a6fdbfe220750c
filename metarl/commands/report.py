"""metarl report: a run as one page of HTML, with its settings, curves, evaluation, pictures and videos."""

import json
import shlex
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tyro
from rich.console import Console

from metarl.checkpoint import RUN_CHECKPOINT
from metarl.commands import curves, page
from metarl.commands.evaluate import load
from metarl.commands.run_folder import CONFIG, EVALUATION
from metarl.errors import ConfigError, MetaRLError
from metarl.files import require_folder, whole

if TYPE_CHECKING:
    from metarl.agents import Agent

TOTAL = "time/total_"
METRICS = ("return", "accuracy", "loss")
COLUMNS = {"mean": "mean", "ci95": "95% interval", "median": "median"}
"""Of the table of an evaluation, by their names in its file."""
CAPTIONS = {
    "adaptation": "Adaptation to unseen tasks",
    "returns": "Returns on unseen tasks, one by one",
    "updates": "What the rule makes of a gradient",
    "gates": "The rule's gates",
    "rates": "The learned rates",
}
OWN = ("agent", "outer", "env", "seed", "iterations", "policy", "device", "dtype", "validate_every", "validation_tasks", "root")
"""Settings of the run itself."""
PARTS = {"env_kwargs": "environment", "policy_kwargs": "policy", "options": "agent", "outer_options": "outer loop"}
PARTS |= {"rollouts": "sampling", "versions": "software"}
"""Groups of further settings, by their names in config.json."""
UNFINISHED = f"No {RUN_CHECKPOINT} is there: the run ended before its first one, or the file was moved."


@dataclass(frozen=True)
class Report:
    """Write a run as one page of HTML that needs nothing beside itself: settings, curves, evaluation, pictures and videos."""

    run_dir: tyro.conf.Positional[str]
    """A run folder that `metarl train` left."""
    out: str = ""
    """The page; report.html in the run folder by default."""
    videos: int = 2
    """Unseen tasks that are shown in videos, at most 4; 0 for none."""
    root: str = ""
    """The folder of an image data set, if other than in training."""
    last: bool = False
    """Pictures and videos of the last iterate instead of the best by validation."""


def main(arguments: list[str]) -> int:
    """Run the command."""
    asked = tyro.cli(Report, args=arguments, prog="metarl report")
    folder, console = Path(asked.run_dir), Console(soft_wrap=True)
    if not any((folder / name).is_file() for name in (CONFIG, RUN_CHECKPOINT)):
        raise ConfigError(f"run_dir={asked.run_dir} holds no run: give a run folder that `metarl train` left")
    if asked.videos < 0:
        raise ConfigError(f"videos={asked.videos} must not be negative")
    out = Path(asked.out or folder / "report.html")
    require_folder("out", out)
    log = curves.read(folder)
    config, evaluation = _read(folder / CONFIG), _read(folder / EVALUATION)
    title = f"{config.get('agent', 'an agent')} on {config.get('env', 'an unknown environment')}"
    body = [
        f"<header><p>metarl run</p><h1>{page.escape(title)}</h1><p>{page.escape(asked.run_dir)}</p></header>",
        page.tiles(_facts(log, evaluation)),
        _adaptation(folder, evaluation),
        *_of_agent(asked, config),
        _learning(log),
        _settings(config),
        _logged(log),
    ]
    with whole(out) as path:
        path.write_text(page.page(title, body), encoding="utf-8")
    console.print(f"report: {out} ({out.stat().st_size / 1e6:.1f} MB)", highlight=False)
    return 0


def _read(path: Path) -> Mapping[str, Any]:
    """Return what a file of JSON holds; nothing if it is missing or damaged."""
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _facts(log: curves.Log, evaluation: Mapping[str, Any]) -> dict[str, str]:
    """Return what is said in large print."""
    facts = {}
    if evaluation.get("mean"):
        names = _stages(evaluation)
        ends = dict.fromkeys((0, len(names) - 1))
        facts = {f"{evaluation['metric']}, {names[end]}": _said(evaluation["mean"][end]) for end in ends}
    counted = {"outer iterations": log.last("time/iterations")}
    for tag in log.scalars:
        if tag.startswith(TOTAL):
            counted[curves.UNITS.get(tag.removeprefix(TOTAL), tag.removeprefix(TOTAL))] = log.last(tag)
    facts |= {name: f"{value:,.0f}" for name, value in counted.items() if value is not None}
    return facts | ({"training time": _duration(log.seconds)} if log.seconds >= 1 else {})


def _stages(evaluation: Mapping[str, Any]) -> list[str]:
    """Return what an evaluation's measures are called: after each number of inner steps, or in each episode of a trial."""
    if evaluation.get("stage") == "episode":
        return [f"episode {step + 1}" for step in evaluation["steps"]]
    if evaluation.get("stage") == "support set":
        return ["after the support set" for _ in evaluation["steps"]]
    return [f"after {step} step{'s' * (step != 1)}" if step else "before adaptation" for step in evaluation["steps"]]


def _adaptation(folder: Path, evaluation: Mapping[str, Any]) -> str:
    """Return the section of the evaluation: a table and its drawing."""
    title = "Adaptation to unseen tasks"
    if not evaluation.get("mean"):
        if not (folder / RUN_CHECKPOINT).is_file():
            return page.section(title, page.missing(f"{UNFINISHED} Run it again: there is nothing yet that can be evaluated."))
        run, file = shlex.quote(str(folder)), shlex.quote(str(folder / EVALUATION))
        return page.section(title, page.missing(f"No evaluation is there. `metarl evaluate {run} --json {file}` adds it."))
    known = {key: heading for key, heading in COLUMNS.items() if key in evaluation}
    rows = [
        [name, *(f"± {_said(evaluation[key][i])}" if key == "ci95" else _said(evaluation[key][i]) for key in known)]
        for i, name in enumerate(_stages(evaluation))
    ]
    table = page.table([str(evaluation["metric"]), *known.values()], rows)
    tasks = evaluation.get("tasks")
    remark = page.note(f"On {tasks} tasks that were not seen in training; the interval is of the mean over tasks.")
    if len(rows) < 2:
        return page.section(title, table, remark)
    drawn = page.drawing(partial(curves.adaptation, evaluation), "Means over unseen tasks, with 95% intervals", "adaptation")
    return page.section(title, f'<div class="two"><div>{table}{remark}</div>{drawn}</div>')


def _of_agent(asked: Report, config: Mapping[str, Any]) -> Iterator[str]:
    """Yield the sections of videos and of pictures, for which the agent is needed."""
    if not (Path(asked.run_dir) / RUN_CHECKPOINT).is_file():
        yield page.section("Videos and pictures", page.missing(UNFINISHED))
        return
    try:
        agent = load(asked.run_dir, asked.last, root=asked.root)
    except MetaRLError as error:
        yield page.section("Videos and pictures", page.missing(f"They need the agent, which cannot be loaded: {error}"))
        return
    with closing(agent):
        iterate = f"the best iterate by validation, after {agent.best['iteration']} outer iterations" if agent.best else ""
        iterate = iterate if iterate and not asked.last else "the last iterate"
        if asked.videos and agent.adapter.problem.on_policy:
            yield page.section("Videos", *_videos(agent, asked.videos), page.note(f"Of {iterate}."))
        try:
            pictures = [
                page.picture(figure, CAPTIONS.get(name, name.capitalize())) for name, figure in agent.pictures().items()
            ]
        except MetaRLError as error:
            pictures = [page.missing(f"No pictures: {error}")]
        if pictures:
            yield page.section("Pictures", page.gallery(pictures), page.note(f"Of {iterate}."))


def _videos(agent: "Agent", tasks: int) -> Iterator[str]:
    """Yield videos, and what they lack."""
    from metarl.agents.videos import INSTALL, film, has_encoder

    try:
        videos = film(agent, tasks, asked=f"videos={tasks}", is_shown=True)
    except MetaRLError as error:
        yield page.missing(f"No videos: {error}")
        return
    for video in videos.values():
        returns = ", ".join(f"{label} {value:.1f}" for label, value in zip(video.labels, video.returns, strict=True))
        yield page.film(video, f"{video.caption[:1].upper()}{video.caption[1:]}. Returns of these episodes: {returns}.")
    if not has_encoder():
        yield page.note(f"These are GIFs; {INSTALL} makes them smaller videos that can be stopped.")


def _learning(log: curves.Log) -> str:
    """Return the section of the learning curves and of the speed."""
    if not log.scalars:
        return page.section("Learning", page.missing("No TensorBoard logs are there: `metarl train` writes them."))
    metric = next((name for name in METRICS if any(tag.startswith(f"{name}/") for tag in log.scalars)), "loss")
    drawn = (
        (partial(curves.learning, log, metric), f"The {metric} in training and on validation tasks", "learning"),
        (partial(curves.speed, log), "Speed, and where an outer iteration's time goes", "speed"),
    )
    return page.section("Learning", page.gallery((page.drawing(*one) for one in drawn), "two pair"))


def _settings(config: Mapping[str, Any]) -> str:
    """Return the section of the settings, with the command that makes the run again."""
    if not config:
        return page.section("Settings", page.missing(f"No {CONFIG} is there that can be read: `metarl train` writes it."))
    command = config.get("command")
    again = f"<h3>The same run again</h3><pre>{page.escape(command)}</pre>" if command else ""
    own = {name: str(config[name]) for name in OWN if config.get(name) not in (None, "")}
    groups = [page.settings("run", own)]
    groups += [page.settings(title, _plain(config.get(name) or {})) for name, title in PARTS.items()]
    without = page.note("The command was not kept, by an earlier version: the settings are all that fixes the run.")
    return page.section("Settings", again or without, f'<div class="columns">{"".join(groups)}</div>')


def _plain(entries: Mapping[str, Any]) -> dict[str, str]:
    """Return settings as text; those that are not set are left out."""
    return {
        name: value if isinstance(value, str) else json.dumps(value) for name, value in entries.items() if value is not None
    }


def _logged(log: curves.Log) -> str:
    """Return all that was logged, first and last values, folded away."""
    rows = []
    for tag, points in log.scalars.items():
        values = list(points.values())
        rows.append([tag, _said(values[0]), _said(values[-1]), f"{max(points):,}"])
    if not rows:
        return ""
    table = page.table(["logged", "first", "last", "at iteration"], rows)
    return f"<section><details><summary>Everything that was logged</summary>{table}</details></section>"


def _said(value: Any) -> str:
    """Return a number in four digits; a dash for none."""
    if not isinstance(value, (int, float)) or not isfinite(value):
        return "–"  # noqa: RUF001
    size = abs(value)
    return f"{value:,.0f}" if size >= 10_000 else f"{value:.{4 if size < 1 else 3 if size < 10 else 2 if size < 100 else 1}f}"


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {seconds:02d} s" if minutes else f"{seconds} s"
