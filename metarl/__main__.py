"""metarl's command line: ``metarl train | evaluate | reproduce | plot | report | list``."""

import sys
from difflib import get_close_matches
from importlib import import_module

from rich.console import Console

from metarl.errors import MetaRLError

COMMANDS = {
    "train": "meta-train an agent and leave a run folder",
    "evaluate": "measure a trained agent on unseen tasks",
    "reproduce": "run a published table and print the paper's numbers beside ours",
    "plot": "draw a run's curves, adaptation and learned rule, and film its policy",
    "report": "write a run as one page of HTML: settings, curves, evaluation, pictures, videos",
    "list": "name the agents, outer loops, families, presets, tables and so on",
}
COMPUTING = ("train", "evaluate", "reproduce")
"""Those for which it is settled how they use the machine."""
USAGE = "\n".join(
    [
        "usage: metarl COMMAND [options]",
        "",
        *(f"  {name:<10} {text}" for name, text in COMMANDS.items()),
        "",
        "metarl COMMAND --help says more. To begin: metarl train navigation-demo",
    ]
)


def main(arguments: list[str] | None = None) -> int:
    """Run a command and return its exit status: 0 done, 1 a clear error, 2 a command that does not exist."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if not arguments or arguments[0] in ("-h", "--help"):
        print(USAGE)
        return 0 if arguments else 2
    if arguments[0] == "--version":
        from metarl import __version__

        print(f"metarl {__version__}")
        return 0
    if arguments[0] not in COMMANDS:
        near = get_close_matches(arguments[0], COMMANDS, n=1, cutoff=0.4)
        hint = f": did you mean {near[0]!r}?" if near else ""
        print(f"metarl: {arguments[0]!r} is not a command{hint}\n\n{USAGE}", file=sys.stderr)
        return 2
    if arguments[0] in COMPUTING and not {"-h", "--help"} & set(arguments) and "torch" not in sys.modules:
        from metarl.commands import start

        start.say(start.settle())
    try:
        status: int = import_module(f"metarl.commands.{arguments[0]}").main(arguments[1:])
    except MetaRLError as error:
        Console(stderr=True, soft_wrap=True).print(f"metarl: {error}", markup=False, highlight=False)
        return 1
    return status


if __name__ == "__main__":
    sys.exit(main())
