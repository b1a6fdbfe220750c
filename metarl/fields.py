"""What a dataclass says of its fields: the docstrings under them."""

import ast
import inspect
import textwrap
from functools import cache
from itertools import pairwise
from typing import Any


def field_docs(cls: type[Any]) -> dict[str, str]:
    """Return the docstrings under a class's fields, its parents' included, each on one line."""
    docs: dict[str, str] = {}
    for part in reversed(cls.__mro__[:-1]):
        docs |= _own_docs(part)
    return docs


def documented(cls: type[Any]) -> None:
    """Let ``help`` say what each field is: a part ``Attributes`` at the end of the class's docstring."""
    docs = field_docs(cls)
    if docs and "\nAttributes:\n" not in (cls.__doc__ or ""):
        lines = [f"    {name}: {text}" for name, text in docs.items()]
        cls.__doc__ = "\n".join([inspect.cleandoc(cls.__doc__ or ""), "", "Attributes:", *lines])


@cache
def _own_docs(cls: Any) -> dict[str, str]:
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(cls)))
    except (OSError, TypeError):  # a class without source, made at run time
        return {}
    body = tree.body[0].body if isinstance(tree.body[0], ast.ClassDef) else []
    docs = {}
    for line, after in pairwise(body):
        is_text = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
        if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name) and is_text:
            docs[line.target.id] = " ".join(str(after.value.value).split())  # type: ignore[attr-defined]
    return docs
