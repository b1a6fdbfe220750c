"""Random streams: one seed feeds a generator of its own for each purpose, so that no two purposes share their numbers."""

from hashlib import sha256

import torch


def stream(seed: int, purpose: str, device: torch.device | str = "cpu") -> torch.Generator:
    """Return the generator of a seed for one purpose, such as ``"weights"``, ``"tasks"`` or ``"noise"``.

    Args:
        seed: the run's.
        purpose: what the numbers are for; another purpose has other numbers under the same seed.
        device: where the numbers are drawn.
    """
    digest = sha256(f"{seed}: {purpose}".encode()).digest()
    return torch.Generator(device).manual_seed(int.from_bytes(digest[:7], "big"))
