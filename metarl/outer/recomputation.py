"""A gradient through a chain of functions that keeps what passes between them, and computes the rest again.

Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost", section 4: gradient checkpointing, whose segments
are here the links of the chain.
"""

from __future__ import annotations  # else torch.compile stumbles over those of nested functions

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.func import vjp
from torch.utils._pytree import tree_flatten, tree_leaves, tree_unflatten

from metarl.adapters.base import Link, Meta

Pullback = Callable[..., tuple[Meta, list[Tensor]]]


def chain_gradient(links: Sequence[Link], values: Meta, constants: Meta) -> tuple[Meta, Tensor]:
    """Return the gradient of the loss that a chain ends in, by the meta-parameters given as values; and the loss, shape ().

    The chain is run through once without a graph. Then its links, from the last to the first, are run again with one, of which
    no two are there at once. A single link is run once, as there is nothing before it to keep. A pure function, which ``vmap``
    takes; it is not to be differentiated again: no graph of it is made, and its derivative would be zero.

    Args:
        links: the chain; the first is handed ``()``, and the last returns the loss.
        values: the meta-parameters that are differentiated by.
        constants: the other ones.
    """
    handed: list[Any] = [()]
    with torch.no_grad():
        for link in links[:-1]:
            handed.append(link({**constants, **values}, handed[-1]))
    (loss,), pull = _pullback(links[-1], values, constants, handed.pop())
    total, onwards = _pulled(pull, [torch.ones_like(loss)])
    for link in reversed(links[:-1]):
        _, pull = _pullback(link, values, constants, handed.pop())
        gradients, onwards = _pulled(pull, onwards)
        total = {name: value + gradients[name] for name, value in total.items()}
    return total, loss


def _pullback(link: Link, values: Meta, constants: Meta, handed: Any) -> tuple[list[Tensor], Pullback]:
    """Return what a link returns, and its transposed derivative; of what is handed on, counts have none."""
    leaves, structure = tree_flatten(handed)

    def of_numbers(values: Meta, numbers: list[Tensor]) -> list[Tensor]:
        given = iter(numbers)
        whole = [next(given) if leaf.is_floating_point() else leaf for leaf in leaves]
        return _numbers(link({**constants, **values}, tree_unflatten(whole, structure)))

    found = vjp(of_numbers, values, _numbers(leaves))
    return found[0], found[1]


def _pulled(pull: Pullback, cotangents: list[Tensor]) -> tuple[Meta, list[Tensor]]:
    """Return the gradients by a link's two inputs; its graph is freed on the way, and no graph is made of that."""
    with torch.no_grad():
        return pull(cotangents, retain_graph=False)


def _numbers(tree: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if leaf.is_floating_point()]
