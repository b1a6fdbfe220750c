"""A process that runs tests in a copy of the checkout, again and again, and imports torch once.

``python worker.py`` imports what is slow to import but none of our own code, then forks for every line that it reads: each
run of the tests imports the code as it stands in the copy.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

SLOW = (
    "torch",
    "torch.func",
    "torch._dynamo",
    "torchvision.transforms.v2",
    "gymnasium",
    "stable_baselines3",
    "matplotlib.figure",
    "tyro",
    "rich.progress",
    "pytest",
)
PYTEST = ("-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "--no-header", "--tb=no")
RAN_ON = -1
"""In place of pytest's exit status: the tests were ended at their time limit."""


class Worker:
    """Runs tests in one copy of the checkout.

    Args:
        folder: the copy.
        imports: modules to import once, before any test; those that are not installed are left out.
    """

    def __init__(self, folder: Path, imports: Sequence[str] = SLOW) -> None:
        self.folder = folder
        self._process = subprocess.Popen(
            [sys.executable, __file__, *imports],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def run(self, tests: Sequence[str], limit: float) -> int:
        """Return pytest's exit status for its arguments, or RAN_ON after ``limit`` seconds."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"tests": list(tests), "limit": limit}) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


def _child(tests: Sequence[str]) -> int:
    """Run the tests in this process, quietly; return pytest's exit status."""
    import pytest

    os.setsid()  # so that what the tests start can be ended with them
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in range(3):
        os.dup2(nowhere, stream)
    return int(pytest.main([*PYTEST, *tests]))


def _wait(child: int, limit: float) -> int:
    """Return the child's exit status; end it and its processes after ``limit`` seconds."""
    until = time.monotonic() + limit
    while time.monotonic() < until:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    try:
        os.killpg(child, signal.SIGKILL)
    except ProcessLookupError:  # not yet a group of its own
        os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return RAN_ON


def _serve(imports: Sequence[str]) -> None:
    sys.path.pop(0)  # this file's folder, which no test sees
    for name in imports:
        try:
            import_module(name)
        except ImportError:
            continue
    for line in sys.stdin:
        request = json.loads(line)
        child = os.fork()
        if child == 0:
            os._exit(_child(request["tests"]))
        print(_wait(child, request["limit"]), flush=True)


if __name__ == "__main__":
    _serve(sys.argv[1:])
