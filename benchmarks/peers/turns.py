"""Ours and others in turn: each library in an environment and a process of its own, one measuring while the others wait.

What another library needs is installed by pip, once, under ``~/.cache/metarl-benchmarks`` or ``METARL_BENCHMARKS``. Those that
are built on PyTorch take the one that we take. A side is a script beside this one, which answers every line of its standard
input with what it has measured (``serve``); how many threads all have is how many cores this process may use.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import IO, Any

Measures = dict[str, float]
HERE = Path(__file__).parent
CACHE = Path(os.environ.get("METARL_BENCHMARKS", Path.home() / ".cache" / "metarl-benchmarks"))
KEEPS_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(2**30), "MALLOC_TRIM_THRESHOLD_": str(2**31 - 1)}
"""Glibc's settings that metarl's command line makes."""
PATIENCE = 600
"""Seconds that an installation may take."""
RECIPES: dict[str, list[list[str]]] = {
    "jax": [["jax[cpu]"]],
    "higher": [["higher"]],
    "torchopt": [["torchopt"]],
    # its source has C that an old Cython wrote, which Python 3.11 refuses: Cython has to write it again
    "learn2learn": [
        ["cython<3", "setuptools<70", "wheel", "gym", "requests", "scipy", "tqdm"],
        ["--no-deps", "--no-build-isolation", "--use-pep517", "--config-settings=--global-option=build_ext", "learn2learn"],
    ],
}
"""What pip is given for each library, call by call."""


class DoesNotInstallError(Exception):
    """A library cannot be had here; the message is pip's."""


def interpreter(library: str) -> str:
    """Return the Python of a library's environment, made if it is not there.

    Raises:
        DoesNotInstallError: pip failed, now or before; or it took too long.
    """
    folder = CACHE / f"{library}-{sys.version_info.major}.{sys.version_info.minor}"
    python, failed = folder / "bin" / "python", folder / "failed.txt"
    if failed.exists():
        raise DoesNotInstallError(failed.read_text())
    if not (folder / "installed.txt").exists():
        print(f"installing {library} in {folder}", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        if library != "jax":
            import torch

            ours = Path(torch.__file__).parents[1]
            next(folder.glob("lib/*/site-packages")).joinpath("pytorch.pth").write_text(f"{ours}\n")
        said = "".join(_pip(str(python), arguments) for arguments in RECIPES[library])
        (failed if said else folder / "installed.txt").write_text(said)
        if said:
            raise DoesNotInstallError(said)
    return str(python)


def _pip(python: str, arguments: Sequence[str]) -> str:
    """Install; return the first line that tells of an error, empty if there is none."""
    env = {**os.environ, "CYTHON_FORCE_REGEN": "1"}
    command = [python, "-m", "pip", "install", "--quiet", *arguments]
    try:
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=PATIENCE, check=False)
    except subprocess.TimeoutExpired:
        return f"pip took more than {PATIENCE} s"
    if done.returncode == 0:
        return ""
    lines = [line.strip() for line in done.stderr.splitlines() if "error" in line.lower()]
    telling = [line for line in lines if "subprocess-exited" not in line]
    return next(iter(telling or lines), f"pip ended with {done.returncode}")


@dataclass
class Side:
    """One of those that are compared.

    Attributes:
        name: in the table.
        script: beside this one.
        arguments: its own.
        peer: the library whose environment it runs in; empty for ours.
        env: environment variables.
    """

    name: str
    script: str
    arguments: Sequence[str] = ()
    peer: str = ""
    env: dict[str, str] = field(default_factory=dict)
    process: "subprocess.Popen[str] | None" = None

    def start(self) -> None:
        """Start the process and wait until it is ready.

        Raises:
            DoesNotInstallError: the library cannot be had.
        """
        python = interpreter(self.peer) if self.peer else sys.executable
        env = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
        env |= {"OMP_NUM_THREADS": str(len(os.sched_getaffinity(0))), "PYTHONWARNINGS": "ignore", **self.env}
        env.setdefault("JAX_COMPILATION_CACHE_DIR", str(CACHE / "jax-compiled"))
        command = [python, str(HERE / self.script), *self.arguments]
        self.process = subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._line(self.process.stdout)

    def measure(self) -> Measures:
        """Return what the process measures now."""
        assert self.process is not None
        assert self.process.stdin is not None
        print(file=self.process.stdin, flush=True)
        measures: Measures = json.loads(self._line(self.process.stdout))
        return measures

    def stop(self) -> None:
        """Let the process end."""
        if self.process is not None:
            self.process.communicate()

    def _line(self, stream: IO[str] | None) -> str:
        assert stream is not None
        line = stream.readline()
        if not line:
            raise RuntimeError(f"{self.name} ended; what it said stands above")
        return line


def serve(prepare: Callable[[], Callable[[], Measures]]) -> None:
    """Be a side: prepare, say so, and answer every line of the standard input with a measurement."""
    answers, sys.stdout = sys.stdout, sys.stderr
    measure = prepare()
    print("ready", file=answers, flush=True)
    for _ in sys.stdin:
        print(json.dumps(measure()), file=answers, flush=True)


def seconds_of(work: Callable[[], Any], at_least: float = 1.0) -> float:
    """Return the mean seconds of calling a function, which waits for what it computes, again and again for some seconds."""
    started, times = perf_counter(), 0
    while times == 0 or perf_counter() - started < at_least:
        work()
        times += 1
    return (perf_counter() - started) / times


def take_turns(sides: Sequence[Side], rounds: int) -> dict[str, list[Measures]]:
    """Return what each side measured in each round, by name; a side that cannot be installed is said and left out."""
    found: dict[str, list[Measures]] = {}
    running = []
    try:
        for side in sides:
            try:
                side.start()
            except DoesNotInstallError as error:
                print(f"{side.peer} does not install: {error}")
                continue
            running.append(side)
            print(f"{side.name} is ready", file=sys.stderr)
        for number in range(rounds):
            for side in running if number % 2 == 0 else running[::-1]:
                found.setdefault(side.name, []).append(side.measure())
                print(f"round {number + 1}, {side.name}: {found[side.name][-1]['seconds']:.3g} s", file=sys.stderr)
    finally:
        for side in running:
            side.stop()
    return found


def spread(values: Sequence[float], digits: int) -> str:
    """Return the median and the range."""
    return f"{median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def print_seconds(found: dict[str, list[Measures]], unit: float = 1.0, heading: str = "seconds", digits: int = 2) -> None:
    """Print each side's time and how many times the first one's it is, round by round.

    Args:
        found: what ``take_turns`` returned; every side has measured ``seconds``.
        unit: what times are divided by.
        heading: says so.
        digits: of times.
    """
    width = max(map(len, found))
    rounds = [len(measured) for measured in found.values()]
    first = next(iter(found.values()))
    print(f"{'':>{width}} {heading:>24} {'times the first':>24}   (median and range of {rounds[0]} rounds)")
    for name, measured in found.items():
        seconds = [measures["seconds"] for measures in measured]
        ratios = [one / other["seconds"] for one, other in zip(seconds, first, strict=True)]
        print(f"{name:>{width}} {spread([one / unit for one in seconds], digits):>24} {spread(ratios, 2):>24}")


def print_agreement(found: dict[str, list[Measures]], names: Sequence[str], within: float) -> None:
    """Print the measures of the same computation, and whether all sides agree in them; they are of the last round."""
    first = next(iter(found.values()))[-1]
    for name in names:
        values = {side: measured[-1][name] for side, measured in found.items()}
        worst = max(abs(value - first[name]) for value in values.values()) / max(abs(first[name]), 1e-12)
        verdict = "agree" if worst <= within else "DO NOT AGREE: " + ", ".join(f"{k} {v:.6g}" for k, v in values.items())
        print(f"{name}: {first[name]:.6g}, all {len(values)} {verdict} (largest difference {worst:.1g} of it)")
