"""A pool of worker processes that step environments, for simulators without a batched form.

Rows are split among the workers, which serve batches of any size. A worker that raises, dies or hangs ends the pool with
one error; none outlives the process that started it. Workers are started anew, not forked, and without the main program:
no ``if __name__ == "__main__"`` is needed. Needs a POSIX system.
"""

import mmap
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import time
import weakref
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import pairwise
from multiprocessing.connection import Connection, Pipe, wait
from typing import Any, NoReturn

import cloudpickle
import gymnasium as gym
import numpy as np

from metarl.errors import ConfigError, WorkerError
from metarl.sampling.row_stepper import Steps
from metarl.sampling.worker import NUMBER
from metarl.tasks import Array

ONE_THREAD = {name: "1" for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
"""A pool has a process for every core already."""

SLOW = "raise worker_timeout if the simulator is only slow, else "


class _Worker:
    """One process, the connection to it, and the row it is at."""

    def __init__(self) -> None:
        self.connection, theirs = Pipe()
        with tempfile.TemporaryFile() as shared:
            shared.truncate(NUMBER.size)
            self._row = mmap.mmap(shared.fileno(), NUMBER.size)
            descriptors = (theirs.fileno(), shared.fileno())
            code = f"import sys; sys.path[:] = {sys.path!r}; from metarl.sampling.worker import main; main{descriptors}"
            self.process = subprocess.Popen(
                [sys.executable, "-c", code],
                stdin=subprocess.PIPE,
                pass_fds=descriptors,
                env={**os.environ, **ONE_THREAD},
                start_new_session=True,  # an interrupt is this process's to handle; and a group can be killed whole
            )
        theirs.close()

    @property
    def row(self) -> int:
        """The row of its share whose environment ran last."""
        number: int = NUMBER.unpack_from(self._row, 0)[0]
        return number

    def request(self, method: str, *arguments: Any) -> None:
        # a step brings numbers alone, for which pickle takes half the time
        dumps = pickle.dumps if method == "step" else cloudpickle.dumps
        self.connection.send_bytes(dumps((method, arguments)))

    def stop(self) -> None:
        """End the process, with whatever a simulator may have started in it."""
        self.connection.close()
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        assert self.process.stdin is not None
        self.process.stdin.close()


def _stop(workers: list[_Worker]) -> None:
    while workers:
        workers.pop().stop()


class WorkerPool:
    """Does what ``RowStepper`` does, in several processes at once, with the same results.

    Args:
        make: makes one environment; it is pickled, by value where it was defined in the main program.
        workers: how many processes.
        timeout: seconds that a reset or step of a worker's share may take.

    Raises:
        ConfigError: ``make`` cannot be pickled.
    """

    def __init__(self, make: Callable[[], gym.Env[Any, Any]], workers: int, timeout: float) -> None:
        try:
            cloudpickle.dumps(make)
        except Exception as error:
            raise ConfigError(
                f"vectorisation='workers' sends the environment to other processes, but it cannot be pickled ({error}): "
                "register it and hand in its id, or use vectorisation='sync'"
            ) from error
        self._make = make
        self._count = workers
        self._timeout = timeout
        self._tasks: list[Any] = []
        self._shares: list[slice] = []
        self._workers: list[_Worker] = []
        self._finalizer = weakref.finalize(self, _stop, self._workers)  # also when the interpreter ends

    def reset(self, tasks: Sequence[Any], seeds: Sequence[int]) -> Array:
        """Set one task per row and start each with its seed; return flat observations, shape (rows, observation).

        Raises:
            WorkerError: a worker raised an exception, stopped, or took too long.
        """
        self._tasks, self._shares = list(tasks), []
        busy = min(self._count, len(tasks))
        self._start(busy)
        self._ask("close", {i: () for i in range(busy, len(self._workers))})  # what those that rest had of an earlier reset
        bounds = np.linspace(0, len(tasks), busy + 1).round().astype(int).tolist()
        self._shares = [slice(low, high) for low, high in pairwise(bounds)]
        answers = self._ask("reset", {i: (self._tasks[share], list(seeds[share])) for i, share in enumerate(self._shares)})
        return np.concatenate(answers)

    def step(self, actions: Array) -> Steps:
        """Step every row whose episode runs.

        Raises:
            WorkerError: a worker raised an exception, stopped, or took too long.
        """
        answers: list[Steps] = self._ask("step", {i: (actions[share],) for i, share in enumerate(self._shares)})
        return Steps(*(np.concatenate(parts) for parts in zip(*answers, strict=True)))

    def close(self) -> None:
        """Close the environments and end the processes; a later reset starts them anew."""
        if all(worker.process.poll() is None for worker in self._workers):
            self._shares = []
            self._ask("close", {i: () for i in range(len(self._workers))})
        _stop(self._workers)

    def _start(self, count: int) -> None:
        """Start as many workers as are missing to ``count``, and hand each the function that makes environments."""
        missing = range(len(self._workers), count)
        self._workers.extend(_Worker() for _ in missing)
        self._ask("make", {i: (self._make,) for i in missing})

    def _ask(self, method: str, requests: dict[int, tuple[Any, ...]]) -> list[Any]:
        """Send some workers a request, each with its arguments, and return their answers in the same order."""
        answers: dict[int, Any] = {}
        try:
            for i, arguments in requests.items():
                try:
                    self._workers[i].request(method, *arguments)
                except (BrokenPipeError, ConnectionResetError):
                    self._fail(i, "stopped")
            deadline = time.monotonic() + self._timeout
            waiting: dict[Connection[Any, Any], int] = {self._workers[i].connection: i for i in requests}
            while waiting:
                ready = wait(list(waiting), max(0.0, deadline - time.monotonic()))
                if not ready:
                    self._fail(min(waiting.values()), f"gave no answer within {self._timeout:g} seconds", SLOW)
                for connection in ready:
                    assert isinstance(connection, Connection)
                    i = waiting.pop(connection)
                    try:
                        state, answers[i] = connection.recv()
                    except (EOFError, ConnectionResetError):
                        self._fail(i, "stopped")
                    if state == "failed":
                        error, trace = answers[i]
                        self._fail(i, f"raised {error}", trace=f"\n\nIn the worker:\n{trace}")
        except BaseException:
            _stop(self._workers)  # an answer that nobody has read would be taken for the next one's
            raise
        return [answers[i] for i in requests]

    def _fail(self, i: int, what: str, remedy: str = "", trace: str = "") -> NoReturn:
        """Raise WorkerError for a worker, naming the task that it is at."""
        worker = self._workers[i]
        if what == "stopped":
            what = f"stopped ({_ending(worker.process)})"
        rows = range(len(self._tasks))[self._shares[i]] if self._shares else range(0)
        where = f" in task {self._tasks[rows[worker.row]]!r}" if worker.row < len(rows) else ""
        raise WorkerError(
            f"worker {i} {what}{where}; {remedy}see what the environment does with "
            f"rollouts=Rollouts(vectorisation='sync'), which steps it in this process{trace}"
        )


def _ending(process: "subprocess.Popen[bytes]") -> str:
    """Return how a process ended, which may be a moment after its connection closed."""
    try:
        code = process.wait(1.0)
    except subprocess.TimeoutExpired:
        return "it closed its connection"
    return f"signal {-code}" if code < 0 else f"exit status {code}"
