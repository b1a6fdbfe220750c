"""The tables, one file each: whatever is here is a table, its name the file's with hyphens."""

import ast
from pathlib import Path

from metarl.registry import Entry


def discover() -> list[Entry]:
    """Return the registry's entries: every file's TABLE, with its title, read without importing it."""
    files = sorted(path for path in Path(__file__).parent.glob("*.py") if path.stem != "__init__")
    return [Entry(path.stem.replace("_", "-"), _title(path), f"{__name__}.{path.stem}:TABLE") for path in files]


def _title(path: Path) -> str:
    """Return the title in ``TABLE = Table(title="...")``, or the file's first line."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and node.arg == "title" and isinstance(node.value, ast.Constant):
            return str(node.value.value)
    return (ast.get_docstring(tree) or path.stem).split("\n")[0]
