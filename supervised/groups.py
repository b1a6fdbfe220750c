"""Groups of classes, such as alphabets of characters: an episode's classes can be kept within one."""

from collections import Counter
from collections.abc import Sequence

import torch
from torch import Tensor

from metarl.errors import ConfigError


class Groups:
    """Says which group every class is of.

    Args:
        of_class: the name of every class's group.
        class_names: the classes, for errors.

    Raises:
        ConfigError: not one group for each class.
    """

    def __init__(self, of_class: Sequence[str], class_names: Sequence[str]) -> None:
        if len(of_class) != len(class_names):
            raise ConfigError(f"groups has {len(of_class)} entries for {len(class_names)} classes: give one for each class")
        self._of_class = tuple(of_class)
        self._class_names = class_names
        self._members: dict[tuple[tuple[int, ...], int, torch.device], Tensor] = {}

    def names(self, classes: Sequence[int]) -> list[str]:
        """Return the groups of some classes, in order and each once."""
        return sorted({self._of_class[number] for number in classes})

    def largest(self, classes: Sequence[int]) -> tuple[str, int]:
        """Return the group that has most of these classes, and how many."""
        return Counter(self._of_class[number] for number in classes).most_common(1)[0]

    def members(self, classes: Sequence[int], fewest: int, device: torch.device) -> Tensor:
        """Return which of these classes each group has, shape (groups, classes); only groups with so many or more of them."""
        key = (tuple(classes), fewest, device)
        if key not in self._members:
            own = [self._of_class[number] for number in classes]
            members = torch.tensor([[group == other for group in own] for other in self.names(classes)])
            self._members[key] = members[members.sum(1) >= fewest].to(device)
        return self._members[key]

    def require_drawers(self, counts: Sequence[int]) -> None:
        """Raise ConfigError unless all classes of a group have as many images: the k-th of each is by the k-th drawer."""
        first: dict[str, int] = {}
        for group, name, count in zip(self._of_class, self._class_names, counts, strict=True):
            if first.setdefault(group, count) != count:
                raise ConfigError(
                    f"drawers='different' needs as many images of every class of a group, but {name} of {group} has {count} "
                    f"and another class {first[group]}: use drawers='any'"
                )
