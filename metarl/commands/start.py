"""How a command uses the machine: its threads, how they wait for each other, and the memory that it keeps.

To be settled before PyTorch is imported, whose libraries read it once. What the user has set stays.
"""

import ctypes
import os
import sys
import time
from pathlib import Path

from metarl.cores import cores, visible_cores

LOOK = 0.2
"""Seconds for which other programs' use of the processor is watched."""
BUSY = 0.25
"""The share of the cores from which on others are said to use them: a thread that spins as it waits takes from both."""
WAITING = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
THREADS = "OMP_NUM_THREADS"
ALLOCATOR = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "GLIBC_TUNABLES", "LD_PRELOAD")
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Glibc's names of what ``mallopt`` sets."""
LARGEST, KEPT = 2**30, 2**31 - 1
"""Bytes of the largest block that is taken from kept memory, and of kept memory that is free before any is given back."""
STAT = Path("/proc/stat")


def settle() -> str:
    """Choose what the user has not set, for this process and those that it starts; return it in words."""
    said = ["freed memory is kept"] if keep_memory() else []
    allowed, is_one_of_several = cores(), "LOCAL_WORLD_SIZE" in os.environ
    if THREADS in os.environ:
        said.append(f"{THREADS}={os.environ[THREADS]}")
    elif allowed < visible_cores() and not is_one_of_several:  # a container's share, which PyTorch does not look at
        os.environ[THREADS] = str(allowed)
        said.append(f"{THREADS}={allowed}, the container's share")
    else:
        said.append(f"threads on {allowed} core{'s' * (allowed > 1)}")
    # processes of torchrun would take each other for other programs
    if not is_one_of_several and not any(name in os.environ for name in WAITING) and (others := used_by_others(LOOK)) >= BUSY:
        os.environ["OMP_WAIT_POLICY"] = "passive"
        said.append(f"OMP_WAIT_POLICY=passive, as other programs use {others:.0%} of the cores")
    return "; ".join(said)


def keep_memory() -> bool:
    """Let glibc keep what large tensors leave for those that follow, here and in processes that are started; return whether.

    It would give every block of more than 32 MiB back at once, and the kernel would fill the next one with zeros page by page:
    up to half the time of a meta-gradient of image tasks. A glibc that refuses so large a threshold, another C library, and an
    allocator that the user has set or loaded stay as they are.
    """
    if any(name in os.environ for name in ALLOCATOR):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):  # TypeError: there is no library to look up on Windows
        return False
    # in this order: a threshold for giving back alone would fix the other one at 128 KiB
    if not (mallopt(M_MMAP_THRESHOLD, LARGEST) and mallopt(M_TRIM_THRESHOLD, KEPT)):
        return False
    os.environ["MALLOC_MMAP_THRESHOLD_"], os.environ["MALLOC_TRIM_THRESHOLD_"] = str(LARGEST), str(KEPT)
    return True


def used_by_others(seconds: float) -> float:
    """Return which share of the machine's cores works while this process sleeps for some seconds; 0 if nobody can tell."""
    before = _ticks()
    if before is None:
        return 0.0
    time.sleep(seconds)
    after = _ticks()
    if after is None or sum(after) == sum(before):
        return 0.0
    idle = sum(after[3:5]) - sum(before[3:5])  # the fourth and fifth: with nothing to do, and waiting for a disk
    return 1 - idle / (sum(after) - sum(before))


def _ticks() -> list[int] | None:
    """Return what the machine's cores have done since it started, in ticks; None where there is no such count."""
    try:
        return [int(number) for number in STAT.read_text().splitlines()[0].split()[1:9]]
    except (OSError, ValueError, IndexError):
        return None


def say(what: str) -> None:
    """Print one line on standard error, of the first process of several."""
    if os.environ.get("RANK", "0") == "0":
        print(f"metarl: {what}", file=sys.stderr)
