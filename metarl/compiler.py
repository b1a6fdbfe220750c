"""A function compiled, or as it is where there is no compiler."""

import warnings
from collections.abc import Callable, Generator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from rich.console import Console

from metarl import processes

COMPILING = "compiling {name}: a minute or more the first time, seconds where PyTorch's cache has it from an earlier run"


def compiled(function: Callable[..., Any], name: str, in_cpp: bool = False, alone: bool = False) -> Callable[..., Any]:
    """Return the function compiled; the function itself, with a word why, where there is no compiler.

    The first call says that it takes a while. PyTorch keeps what it has made on the disk, in ``TORCHINDUCTOR_CACHE_DIR``, for
    later runs of the same shapes.

    Args:
        function: of tensors.
        name: what the first call says that it compiles.
        in_cpp: let C++ call the kernels, not Python: for programs of many small ones.
        alone: let one thread run them: of kernels of microseconds threads wait for each other longer than they compute.
    """
    fast = torch.compile(function, dynamic=False, options={"cpp_wrapper": True} if in_cpp else None)
    was_tried = is_eager = False

    def call(*args: Any, **kwargs: Any) -> Any:
        nonlocal was_tried, is_eager
        if is_eager:
            return function(*args, **kwargs)
        if not was_tried and processes.rank() == 0:
            Console(stderr=True, soft_wrap=True).print(COMPILING.format(name=name), markup=False, highlight=False)
        try:
            with _one_thread() if alone else nullcontext():
                result = fast(*args, **kwargs)
        except Exception as error:  # whatever the compiler throws; a fault of the function's own shows again in eager
            if was_tried and not isinstance(error, torch._dynamo.exc.TorchDynamoException):
                raise
            is_eager = True
            warnings.warn(
                f"compile=True {'has no further' if was_tried else 'had no'} effect, the run goes on eagerly: torch.compile "
                f"failed with {type(error).__name__} "
                "(on Linux it needs a C++ compiler such as g++; what a killed run left half written in "
                "TORCHINDUCTOR_CACHE_DIR, or /tmp/torchinductor_USER, can be deleted)",
                stacklevel=2,
            )
            return function(*args, **kwargs)
        was_tried = True
        return result

    return call


@contextmanager
def _one_thread() -> Generator[None, None, None]:
    """Let PyTorch use one thread of the CPU."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
