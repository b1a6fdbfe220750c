"""Partial evaluation: a function that is called again and again is traced, and what its input has no part in worked out once.

Jones, Gomard and Sestoft 1993, "Partial Evaluation and Automatic Program Generation", chapter 1: the two stages of a program
whose inputs come one after the other.
"""

import warnings
import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.fx import Graph, GraphModule, Node
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils._pytree import tree_flatten, tree_unflatten

from metarl.compiler import compiled

Map = Callable[[Tensor], Tensor]
Stages = tuple[Callable[..., tuple[Tensor, ...]], Callable[..., Tensor]]


def staged(make_map: Callable[..., Map], compile_as: str | None = None) -> Callable[..., Map]:
    """Return ``make_map`` with the maps that it makes traced.

    What does not depend on a map's input is computed at its first call. What does is run at every call as the bare operations,
    without the Python and the transforms that led to them, or compiled. A program is made for the first arguments and input of
    a kind and serves all of that kind: tensors of the same shapes, strides, types and devices, and beside them the very same
    objects, which are not kept alive. A map that cannot be traced is the one that ``make_map`` makes.

    Args:
        make_map: of nests of tensors and other things; returns a map of one tensor, of any shape, to another. Both must be the
            same sequence of operations on tensors whatever numbers these hold, and read no number out of them.
        compile_as: what the compiler says that it is at; None to compile nothing.
    """
    programs: dict[Any, Stages | None] = {}
    return lambda *args: _Staged(programs, make_map, args, compile_as)


class _Staged:
    """A map of one tensor; see ``staged``."""

    def __init__(
        self, programs: dict[Any, Stages | None], make_map: Callable[..., Map], args: tuple[Any, ...], compile_as: str | None
    ) -> None:
        self._programs, self._make_map, self._args, self._compile_as = programs, make_map, args, compile_as
        self._leaves, self._structure = tree_flatten(args)
        self._tensors = [leaf for leaf in self._leaves if isinstance(leaf, Tensor)]
        self._kind = self._structure, *map(_kind, self._leaves)
        self._ready: dict[Any, Map] = {}

    def __call__(self, given: Tensor) -> Tensor:
        """Return the map's value."""
        kind = *_kind(given), torch.is_grad_enabled(), torch.is_autocast_enabled(given.device.type)
        if kind not in self._ready:
            self._ready[kind] = self._settled(given, kind)
        return self._ready[kind](given)

    def _settled(self, given: Tensor, kind: Any) -> Map:
        """Return what is left of the map for inputs of a kind, of which ``given`` is the first."""
        kind = self._kind, kind
        if kind not in self._programs:
            self._programs[kind] = self._program(given)
        stages = self._programs[kind]
        if stages is None:
            return self._make_map(*self._args)
        early, late = stages
        kept = early(*self._tensors)
        return lambda given: late(given, *kept)

    def _program(self, given: Tensor) -> Stages | None:
        """Return the two stages; None if the map cannot be traced."""

        def whole(given: Tensor, *tensors: Tensor) -> Tensor:
            parts = iter(tensors)
            leaves = [next(parts) if isinstance(leaf, Tensor) else leaf for leaf in self._leaves]
            return self._make_map(*tree_unflatten(leaves, self._structure))(given)

        try:
            early, late = _split(make_fx(whole)(given, *self._tensors))
        except Exception as error:  # whatever a network of the user's may do
            if self._compile_as is not None:
                warnings.warn(f"{self._compile_as} cannot be compiled and run eagerly: {error}", stacklevel=5)
            return None
        if self._compile_as is None:
            return early, late
        return compiled(early, f"{self._compile_as}, 1 of 2"), compiled(late, f"{self._compile_as}, 2 of 2")


def _kind(leaf: Any) -> Any:
    """Return what a program may depend on."""
    if isinstance(leaf, Tensor):
        return leaf.shape, leaf.stride(), leaf.dtype, leaf.device
    try:
        return weakref.ref(leaf)
    except TypeError:  # a number, a string, None
        return leaf


def _split(whole: GraphModule) -> tuple[GraphModule, GraphModule]:
    """Return what a graph computes without its first input, and what it makes of that and the first.

    Raises:
        NotImplementedError: it writes into a tensor, or draws random numbers: kept for the next call, they would be wrong.
    """
    for node in whole.graph.nodes:
        if getattr(getattr(node.target, "_schema", None), "is_mutable", False):
            raise NotImplementedError(f"{node.target} writes into a tensor")
        if torch.Tag.nondeterministic_seeded in getattr(node.target, "tags", ()):
            raise NotImplementedError(f"{node.target} draws random numbers")
    first, *_, output = whole.graph.nodes
    later = {first, output}
    for node in whole.graph.nodes:  # each after all that it depends on
        if not later.isdisjoint(node.all_input_nodes):
            later.add(node)
    kept = dict.fromkeys(part for node in whole.graph.nodes if node in later for part in node.all_input_nodes)
    kept = {node: None for node in kept if node not in later}
    early, late = Graph(), Graph()
    copies: dict[Node, Node] = {}
    for node in whole.graph.nodes:
        if node not in later:
            copies[node] = early.node_copy(node, copies.__getitem__)
    early.output(tuple(copies[node] for node in kept))
    copies = {node: late.placeholder(node.name) for node in (first, *kept)}
    for node in whole.graph.nodes:
        if node in later and node is not first:
            copies[node] = late.node_copy(node, copies.__getitem__)
    for graph in (early, late):
        graph.eliminate_dead_code()
    return GraphModule(whole, early), GraphModule(whole, late)
