"""How many of the machine's cores, and how much of its memory, this process may use."""

import os
from contextlib import suppress
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")
"""Where Linux says what a container may use: in one file a controller, or, in version 1, in a folder for each."""


def cores() -> int:
    """Return this process's share of the cores, at least 1: those of its container, among the processes of ``torchrun``."""
    return max(1, _containers_cores() // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))


def memory() -> int:
    """Return this process's share of the memory in bytes: that of its container, among the processes of ``torchrun``."""
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 2**33
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        with suppress(OSError, ValueError):  # no such file, or "max"
            whole = min(whole, int((CGROUP / name).read_text()))
    return whole // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def visible_cores() -> int:
    """Return how many cores PyTorch sees, a container's quota apart."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _containers_cores() -> int:
    with suppress(OSError, ValueError):
        allowed, period = (CGROUP / "cpu.max").read_text().split()
        return min(visible_cores(), max(1, int(allowed) // int(period)))
    with suppress(OSError, ValueError):
        allowed, period = ((CGROUP / f"cpu/cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
        if int(allowed) > 0:  # -1 for no limit
            return min(visible_cores(), max(1, int(allowed) // int(period)))
    return visible_cores()
