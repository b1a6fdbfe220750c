"""How many cores this process may use."""

import os


def cores() -> int:
    """Return this process's share of the cores, which ``torchrun`` starts so many processes on."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
