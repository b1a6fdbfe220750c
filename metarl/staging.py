"""A function that is called again and again, traced in two stages: what its makings settle, and what is left for each call."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch._functorch.compile_utils import fx_graph_cse
from torch.fx import Graph, GraphModule, Node
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils._pytree import tree_flatten, tree_unflatten

from metarl.compiler import compiled, warn_of_eager

Map = Callable[[Tensor], Tensor]
Stages = tuple[Callable[..., tuple[Tensor, ...]], Callable[..., Tensor]]


def staged(make_map: Callable[..., Map], compile_as: str | None = None) -> Callable[..., Map]:
    """Return ``make_map`` with the map that it makes traced; the map as it is where it cannot be traced.

    What does not depend on the map's input is computed once for each map. What does is run as the bare operations, without the
    Python and the transforms that led to them, or is compiled. The programs are made for the first arguments and the first
    input of a kind, and serve all of that kind: tensors of the same shapes, and beside them the very same things.

    Args:
        make_map: of nests of tensors and other things; returns a map of a tensor. It must be the same sequence of operations
            whatever numbers the tensors hold.
        compile_as: what the compiler says that it is at; None to compile nothing.
    """
    programs: dict[Any, Stages | None] = {}

    def made(*args: Any) -> Map:
        leaves, structure = tree_flatten(args)
        tensors = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
        of_args = structure, *(_kind(leaf) for leaf in leaves)
        bound: dict[Any, Map] = {}

        def whole(given: Tensor, *tensors: Tensor) -> Tensor:
            parts = iter(tensors)
            return make_map(*tree_unflatten([next(parts) if isinstance(x, Tensor) else x for x in leaves], structure))(given)

        def bind(given: Tensor, kind: Any) -> Map:
            if kind not in programs:
                programs[kind] = _stages(whole, compile_as, given, *tensors)
            stages = programs[kind]
            if stages is None:
                return make_map(*args)
            early, late = stages
            settled = early(*tensors)
            return lambda given: late(given, *settled)

        def apply(given: Tensor) -> Tensor:
            kind = _kind(given), torch.is_grad_enabled()
            if kind not in bound:
                bound[kind] = bind(given, (kind, of_args))
            return bound[kind](given)

        return apply

    return made


def _kind(leaf: Any) -> Any:
    return (leaf.shape, leaf.dtype, leaf.device) if isinstance(leaf, Tensor) else leaf


def _stages(function: Callable[..., Tensor], compile_as: str | None, *inputs: Tensor) -> Stages | None:
    """Return what a function computes without its first input, and what it makes of that and the first; None if untraceable."""
    try:
        traced = make_fx(function)(*inputs)
        _require_pure(traced.graph)
    except Exception as error:  # whatever a network of the user's may do
        if compile_as is not None:
            warn_of_eager(error)
        return None
    graph = fx_graph_cse(traced.graph)
    given = next(node for node in graph.nodes if node.op == "placeholder")
    later = {given}  # nodes come after those that they depend on
    for node in graph.nodes:
        if not later.isdisjoint(node.all_input_nodes):
            later.add(node)
    handed = dict.fromkeys(part for node in graph.nodes if node in later for part in node.all_input_nodes if part not in later)
    early, late = Graph(), Graph()
    copies: dict[Node, Node] = {}
    for node in graph.nodes:
        if node not in later:
            copies[node] = early.node_copy(node, copies.__getitem__)
    early.output(tuple(copies[node] for node in handed))
    copies = {node: late.placeholder(node.name) for node in (given, *handed)}
    for node in graph.nodes:
        if node in later and node is not given:
            copies[node] = late.node_copy(node, copies.__getitem__)
    early.eliminate_dead_code()
    stages = GraphModule(traced, early), GraphModule(traced, late)
    return stages if compile_as is None else (compiled(stages[0], compile_as), compiled(stages[1], compile_as))


def _require_pure(graph: Graph) -> None:
    """Raise if an operation writes into a tensor: what an earlier stage keeps would be another thing for the next call."""
    for node in graph.nodes:
        if getattr(getattr(node.target, "_schema", None), "is_mutable", False):
            raise NotImplementedError(f"{node.target} writes into a tensor")
