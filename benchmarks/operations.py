"""What a computation does, counted: for limits that a measured time can be held against."""

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten
from torch.utils.flop_counter import flop_registry


class Operations(TorchDispatchMode):
    """Counts the operations of what runs inside it."""

    def __init__(self) -> None:
        super().__init__()
        self.products, self.others = 0, 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation and count it."""
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        formula = flop_registry.get(func.overloadpacket)
        if formula is not None:
            self.products += formula(*args, **kwargs, out_val=out)
        elif not func.is_view:
            self.others += sum(leaf.numel() for leaf in tree_flatten(out)[0] if isinstance(leaf, torch.Tensor))
        return out
