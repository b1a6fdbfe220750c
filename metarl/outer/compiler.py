"""A function compiled, or as it is where there is no compiler."""

import warnings
from collections.abc import Callable
from typing import Any

import torch


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function compiled; the function itself, with a word why, where there is no compiler."""
    fast = torch.compile(function, dynamic=False)
    works: list[Callable[..., Any]] = []

    def first_try(*args: Any, **kwargs: Any) -> Any:
        if works:
            return works[0](*args, **kwargs)
        try:
            result = fast(*args, **kwargs)
            works.append(fast)
        except Exception as error:  # whatever the compiler throws; a fault of the function's own shows again in eager
            warnings.warn(
                f"compile=True had no effect, the run goes on eagerly: torch.compile failed with {type(error).__name__} "
                "(on Linux it needs a C++ compiler such as g++)",
                stacklevel=2,
            )
            result = function(*args, **kwargs)
            works.append(function)
        return result

    return first_try
