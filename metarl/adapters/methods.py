"""A module's methods under meta-learned parameters."""

import copy
from collections.abc import Mapping
from typing import Any, Self

from torch import Tensor, nn


class Methods(nn.Module):
    """A module's methods as one call, so that ``functional_call`` gives each of them the module's meta-learned parameters.

    Attributes:
        target: the module without its numbers.
    """

    target: nn.Module

    @classmethod
    def of(cls, module: nn.Module) -> Self:
        """Return the methods of a module, which is left as it is."""
        methods = cls()
        methods.target = copy.deepcopy(module).to("meta")
        return methods

    @staticmethod
    def values(prefix: str, meta: Mapping[str, Tensor], constants: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return those meta-parameters and constants whose names have the prefix, as ``functional_call`` takes them."""
        own = {name: value for name, value in meta.items() if name.startswith(prefix)}
        return {f"target.{name[len(prefix) :]}": value for name, value in {**own, **constants}.items()}

    def forward(self, method: str, *arguments: Any) -> Any:
        """Return what the method of this name makes of the arguments."""
        return getattr(self.target, method)(*arguments)
