"""A mutant: a deliberate fault as data, one entry of a ``.toml`` file beside this one.

```toml
[[mutant]]
name = "adam: the step is counted from one"        # unique in its file
file = "metarl/rules/adam.py"
find = "(step + 1)"                                # must occur exactly once in the file
replace = "(step + 2)"
tests = ["tests/test_rules.py", "-k", "adam"]      # pytest's arguments: what must fail
why = "Every step's bias correction is that of the next."
```
"""

import tomllib
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent
ROOT = FOLDER.parent.parent


class StaleError(Exception):
    """A mutant that no longer fits the checkout: its text is not there, or not once."""


@dataclass(frozen=True)
class Mutant:
    """One deliberate fault.

    Attributes:
        area: the name of the ``.toml`` file that lists it.
        name: what is wrong, in a few words.
        file: the file with the fault, relative to the checkout's root.
        find: the right text, which occurs exactly once in the file.
        replace: the wrong text.
        tests: pytest's arguments; with the fault in place at least one of these tests must fail.
        why: what would go wrong for a user.
    """

    area: str
    name: str
    file: str
    find: str
    replace: str
    tests: tuple[str, ...]
    why: str

    def apply(self, source: str) -> str:
        """Return the file's text with the fault in it.

        Raises:
            StaleError: the right text does not occur exactly once, or the wrong text is the same.
        """
        count = source.count(self.find)
        if count != 1:
            raise StaleError(f"{self.file} holds {count} times what must be there once: {self.find!r}")
        if self.find == self.replace:
            raise StaleError(f"{self.file}: the fault changes nothing")
        return source.replace(self.find, self.replace)


def load(folder: Path = FOLDER) -> list[Mutant]:
    """Return the mutants of every ``.toml`` file of a folder, in order.

    Raises:
        TypeError: an entry with a missing or an unknown field.
    """
    mutants = []
    for path in sorted(folder.glob("*.toml")):
        for entry in tomllib.loads(path.read_text())["mutant"]:
            mutants.append(Mutant(area=path.stem, **entry | {"tests": tuple(entry["tests"])}))
    return mutants
