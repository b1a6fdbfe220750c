"""A map of many vectors, compiled in two stages: what its arguments settle, and what is left for each vector."""

from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch._functorch.compile_utils import fx_graph_cse
from torch.fx import Graph, GraphModule, Node
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils._pytree import tree_flatten, tree_unflatten

from metarl.outer.compiler import compiled, warn_of_eager

Map = Callable[[Tensor], Tensor]
Stages = tuple[Callable[..., tuple[Tensor, ...]], Callable[..., Tensor]]


def staged(make_map: Callable[..., Map], name: str) -> Callable[..., Map]:
    """Return ``make_map`` with the map that it makes compiled; where that cannot be, with a word why, the map as it is.

    What does not depend on the vector is computed once for each map, as ``make_map`` would. The programs are made for the first
    arguments of a kind, and serve all of that kind: tensors of the same shapes, and beside them the very same things.

    Args:
        make_map: of nests of tensors and other things; returns a map of vectors of shape (n,). It is traced, so it must be the
            same sequence of operations whatever numbers the tensors hold.
        name: what the first call says that it compiles.
    """
    programs: dict[Any, Stages | None] = {}

    def made(*args: Any) -> Map:
        leaves, structure = tree_flatten(args)
        tensors = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
        kind = structure, *((leaf.shape, leaf.dtype, leaf.device) if isinstance(leaf, Tensor) else leaf for leaf in leaves)

        def whole(vector: Tensor, *tensors: Tensor) -> Tensor:
            given = iter(tensors)
            return make_map(*tree_unflatten([next(given) if isinstance(x, Tensor) else x for x in leaves], structure))(vector)

        def bound(like: Tensor) -> Map:
            if kind not in programs:
                programs[kind] = _stages(whole, name, like, *tensors)
            stages = programs[kind]
            if stages is None:
                return make_map(*args)
            early, late = stages
            settled = early(*tensors)
            return lambda vector: late(vector, *settled)

        product: Map | None = None

        def apply(vector: Tensor) -> Tensor:
            nonlocal product
            product = product or bound(vector)
            return product(vector)

        return apply

    return made


def _stages(function: Callable[..., Tensor], name: str, *inputs: Tensor) -> Stages | None:
    """Return what a function computes without its first input, and what it makes of that and the first; None if untraceable."""
    try:
        traced = make_fx(function)(*inputs)
        _require_pure(traced.graph)
    except Exception as error:  # whatever a network of the user's may do
        warn_of_eager(error)
        return None
    graph = fx_graph_cse(traced.graph)
    vector = next(node for node in graph.nodes if node.op == "placeholder")
    later = {vector}  # nodes come after those that they depend on
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
    copies = {node: late.placeholder(node.name) for node in (vector, *handed)}
    for node in graph.nodes:
        if node in later and node is not vector:
            copies[node] = late.node_copy(node, copies.__getitem__)
    early.eliminate_dead_code()
    return compiled(GraphModule(traced, early), name), compiled(GraphModule(traced, late), name)


def _require_pure(graph: Graph) -> None:
    """Raise if an operation writes into a tensor: what an earlier stage keeps would be another thing for the next vector."""
    for node in graph.nodes:
        if getattr(getattr(node.target, "_schema", None), "is_mutable", False):
            raise NotImplementedError(f"{node.target} writes into a tensor")
