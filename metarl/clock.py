"""A stopwatch for the parts of an iteration."""

from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter


class Clock:
    """Adds up the seconds spent under each name since the last ``read``."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Count the time inside the block under ``name``."""
        start = perf_counter()
        try:
            yield
        finally:
            self._seconds[name] = self._seconds.get(name, 0.0) + perf_counter() - start

    def read(self) -> dict[str, float]:
        """Return the seconds by name, and start again from zero."""
        seconds, self._seconds = self._seconds, {}
        return seconds
