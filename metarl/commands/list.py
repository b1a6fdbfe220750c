"""metarl list: name what there is."""

from dataclasses import dataclass

import tyro
from rich.console import Console
from rich.table import Table

from metarl.errors import unknown_name
from metarl.registry import PRESETS, REGISTRIES, TABLES, Entry

HEADINGS = {
    "agents": "agents (metarl train --agent)",
    "adapters": "adapters",
    "outer-loops": "outer loops (metarl train --outer)",
    "rules": "update rules",
    "families": "task families and episodes (gym.make, metarl train --env)",
    "networks": "networks (metarl train --policy)",
    "presets": "presets (metarl train)",
    "tables": "tables (metarl reproduce; metarl list TABLE names its rows)",
}


@dataclass(frozen=True)
class List:
    """Name the agents, adapters, outer loops, rules, families, networks, presets and tables; or one sort; or a table's rows."""

    what: tyro.conf.Positional[str] = ""
    """One sort of them, such as agents, or the name of a table or a preset, whose settings are shown."""
    markdown: bool = False
    """Print everything with all options as the page docs/reference.md."""


def main(arguments: list[str]) -> int:
    """Run the command."""
    asked = tyro.cli(List, args=arguments, prog="metarl list")
    what, console = asked.what, Console()
    if asked.markdown:
        print(reference(), end="")
        return 0
    if what and what not in REGISTRIES:
        if what not in TABLES and what not in PRESETS:
            raise unknown_name("metarl list", what, [*REGISTRIES, *TABLES, *PRESETS])
        lines = []
        if what in TABLES:
            lines += [f"rows of {what} (metarl train {what}/ROW)", *(f"  {row.name}" for row in TABLES.load(what).runs())]
        if what in PRESETS:
            settings = PRESETS.load(what)
            lines += [
                f"settings of {what} (metarl train {what})",
                *(f"  {name} = {value!r}" for name, value in settings.items()),
            ]
        for line in lines:
            console.print(line, markup=False, highlight=False, soft_wrap=True)
        return 0
    for section in [what] if what else REGISTRIES:
        console.print(_table(HEADINGS[section], REGISTRIES[section].entries()))
    return 0


def _table(title: str, entries: list[Entry]) -> Table:
    table = Table(title=title, title_justify="left", show_header=False, box=None, padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for entry in entries:
        table.add_row(entry.name, entry.line)
    return table


def reference() -> str:
    """Return all names with their lines, and all options of agents, outer loops and rollouts, as a page of documents."""
    from metarl.commands.options import Option, options_of
    from metarl.problems import Rollouts

    def options(cls: type) -> list[str]:
        def row(option: Option) -> str:
            default = "" if option.default is None else f"`{option.default!r}`"
            return f"| `{option.name}` | {default} | {option.help.replace('|', '/')} |"

        return ["", "| option | default | |", "|---|---|---|", *(row(option) for option in options_of(cls))]

    lines = ["# Reference", "", "Whatever has a name, as `metarl list` prints it (`metarl list --markdown` makes this page)."]
    for section, registry in REGISTRIES.items():
        lines += ["", f"## {HEADINGS[section].partition(' (')[0].capitalize()}", "", "| name | |", "|---|---|"]
        lines += [f"| `{entry.name}` | {entry.line} |" for entry in registry.entries()]
    for section in ("agents", "outer-loops"):
        for entry in REGISTRIES[section].entries():
            cls = entry.load()
            lines += ["", f"## `{entry.name}`: the options of `metarl.{cls.__name__}`", *options(getattr(cls, "Options", cls))]
    lines += ["", "## Sampling: the options of `metarl.Rollouts`", *options(Rollouts)]
    return "\n".join(lines) + "\n"
