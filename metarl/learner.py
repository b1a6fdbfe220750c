"""A learner: an nn.Module as a function of one flat parameter vector theta."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import get_args

import torch
from torch import Tensor, nn
from torch.func import functional_call

from metarl.batch_norm import BatchNorm, Statistics, with_own_batch_norm
from metarl.errors import ConfigError, unknown_name


@dataclass(frozen=True)
class Layout:
    """Where each named parameter lies in a flat vector.

    Attributes:
        names: the parameters' names, in the order of the vector.
        shapes: their shapes, in the same order.
    """

    names: tuple[str, ...]
    shapes: tuple[torch.Size, ...]

    @property
    def sizes(self) -> tuple[int, ...]:
        """How many coordinates each parameter takes."""
        return tuple(shape.numel() for shape in self.shapes)

    @property
    def size(self) -> int:
        """P, the length of the vector."""
        return sum(self.sizes)

    @property
    def layers(self) -> tuple[str, ...]:
        """The modules that own the parameters, each once, in order: a weight and its bias are one layer."""
        return tuple(dict.fromkeys(name.rpartition(".")[0] for name in self.names))

    def layer_index(self) -> Tensor:
        """Return for every coordinate the index of its layer in ``layers``, shape (P,), int64."""
        rows = [self.layers.index(name.rpartition(".")[0]) for name in self.names]
        return torch.repeat_interleave(torch.tensor(rows, dtype=torch.long), torch.tensor(self.sizes, dtype=torch.long))

    def flatten(self, parameters: Mapping[str, Tensor]) -> Tensor:
        """Return the named parameters as one vector, shape (P,)."""
        if not self.names:
            return torch.zeros(0)
        return torch.cat([parameters[name].reshape(-1) for name in self.names])

    def unflatten(self, vector: Tensor) -> dict[str, Tensor]:
        """Return views of a vector of shape (P,) under the parameters' names and shapes."""
        parts = torch.split(vector, list(self.sizes)) if self.names else ()
        return {name: part.view(shape) for name, shape, part in zip(self.names, self.shapes, parts, strict=True)}


class Learner:
    """Turns a module into a function of theta, and says which of its parameters a task may change.

    The adapted parameters are theta, shape (P,). The others are meta-learned too but stay the same for every task:
    the shared vector, shape (S,). ``join`` puts the two together as the vector that the module is called with.

    Args:
        module: the network; its current parameters are where meta-learning starts.
        adapted: which parameters the inner loop changes. ``"all"`` as in MAML; ``"head"``, the last layer only, as in
            ANIL (Raghu et al. 2020, "Rapid Learning or Feature Reuse?"); or patterns such as ``["head.*", "*.bias"]``.
        batch_norm: whose statistics batch-normalisation uses: ``"batch"``, those of the set at hand, support or query
            (transductive, as MAML and TURTLE); ``"support"``, those of the task's support set, for the query set too;
            ``"running"``, averages over training, as ``track`` keeps them. PyTorch's layers are replaced by ``BatchNorm``.

    Raises:
        ConfigError: nothing matches ``adapted``, the module has no parameters, ``batch_norm`` is unknown or there is none, or
            the module holds normalisation or recurrent layers of which torch.func takes wrong or no second derivatives, or
            dropout.
    """

    def __init__(self, module: nn.Module, adapted: str | Sequence[str] = "all", batch_norm: Statistics = "batch") -> None:
        module = with_own_batch_norm(module)  # a copy, if it has any: the layers hold this learner's statistics
        self.module = module
        self._norms = [layer for layer in module.modules() if isinstance(layer, BatchNorm)]
        if batch_norm not in get_args(Statistics):
            raise unknown_name("batch_norm", batch_norm, get_args(Statistics))
        if not self._norms and batch_norm != "batch":
            raise ConfigError(f"batch_norm={batch_norm!r}: {type(module).__name__} has no batch-norm layer; give 'batch'")
        self.batch_norm: Statistics | None = batch_norm if self._norms else None
        _refuse_unsound_layers(module)
        named = dict(module.named_parameters())
        if not named:
            raise ConfigError(f"policy={type(module).__name__} has no parameters, so there is nothing to adapt")
        chosen = _choose(list(named), adapted)
        self.layout = _layout(named, [name for name in named if name in chosen])
        self.shared_layout = _layout(named, [name for name in named if name not in chosen])
        self._joined = Layout(self.layout.names + self.shared_layout.names, self.layout.shapes + self.shared_layout.shapes)

    def initial(self) -> tuple[Tensor, Tensor]:
        """Return copies of the module's own parameters: theta, shape (P,), and the shared vector, shape (S,)."""
        named = {name: parameter.detach().clone() for name, parameter in self.module.named_parameters()}
        theta = self.layout.flatten(named)
        return theta, self.shared_layout.flatten(named).to(theta)

    def join(self, theta: Tensor, shared: Tensor) -> Tensor:
        """Return the full parameters of one task or of many, shape (..., P + S), from theta, shape (..., P)."""
        if shared.numel() == 0:
            return theta
        return torch.cat([theta, shared.expand(*theta.shape[:-1], -1)], dim=-1)

    def __call__(self, parameters: Tensor, inputs: Tensor, support: Tensor | None = None) -> Tensor:
        """Return the module's output on ``inputs`` with full parameters of shape (P + S,); one task, ``vmap`` for more.

        Args:
            parameters: the full parameters.
            inputs: shape (examples, ...).
            support: the task's support inputs, shape (others, ...), from which batch-normalisation takes its statistics under
                ``batch_norm="support"``; ``inputs`` themselves unless given.
        """
        return self._call(self.unflatten(parameters), inputs, support)

    def _call(self, named: dict[str, Tensor], inputs: Tensor, support: Tensor | None) -> Tensor:
        first = 0 if support is None or self.batch_norm != "support" else len(support)
        self._set_norms(self.batch_norm or "batch", first)
        together = torch.cat([support, inputs]) if first and support is not None else inputs
        output: Tensor = functional_call(self.module, named, together)
        return output[first:]

    def _set_norms(self, statistics: Statistics, support: int = 0, tracking: bool = False) -> None:
        for layer in self._norms:
            layer.statistics, layer.support, layer.tracking = statistics, support, tracking

    @property
    def shapes(self) -> dict[str, torch.Size]:
        """The shape of every parameter, by name."""
        return dict(zip(self._joined.names, self._joined.shapes, strict=True))

    def unflatten(self, parameters: Tensor) -> dict[str, Tensor]:
        """Return views of full parameters, shape (P + S,), under their names and shapes."""
        return self._joined.unflatten(parameters)

    @property
    def head(self) -> list[str]:
        """The names of the last layer's parameters."""
        return _head([name for name, _ in self.module.named_parameters()])

    def pretrain(self, theta: Tensor, shared: Tensor | None, head: Mapping[str, Tensor], inputs: Tensor) -> Tensor:
        """Return the output with other parameters in the last layer, such as a classifier of more classes, or features.

        Batch-norm layers use the batch's statistics, and put them into their running averages.

        Args:
            theta: the adapted parameters, shape (P,).
            shared: the shared ones, shape (S,).
            head: the last layer's, by name.
            inputs: shape (examples, ...).
        """
        named = self.layout.unflatten(theta) | ({} if shared is None else self.shared_layout.unflatten(shared))
        self._set_norms("batch", tracking=True)
        try:
            output: Tensor = functional_call(self.module, {**named, **head}, inputs)
        finally:
            self._set_norms("batch")
        return output

    def features(self, parameters: Tensor, inputs: Tensor, support: Tensor | None = None) -> Tensor:
        """Return what the last layer is given, shape (examples, features); see ``__call__`` for the arguments."""
        size = self.shapes[self.head[0]][1]
        eye = torch.eye(size, device=parameters.device, dtype=parameters.dtype)
        named = self.unflatten(parameters)
        for name in self.head:
            named[name] = eye if name == self.head[0] else eye.new_zeros(size)
        return self._call(named, inputs, support)

    @property
    def running(self) -> dict[str, Tensor]:
        """The running averages of the batch-norm layers, by name; empty unless they are used."""
        return dict(self.module.named_buffers()) if self.batch_norm == "running" else {}

    def track(self, parameters: Tensor, inputs: Tensor) -> None:
        """Put the statistics of a batch of inputs, under parameters of shape (P + S,), into the running averages."""
        self._set_norms("batch", tracking=True)
        try:
            with torch.no_grad():
                functional_call(self.module, self.unflatten(parameters), inputs)
        finally:
            self._set_norms("batch")


def _layout(named: Mapping[str, Tensor], names: Sequence[str]) -> Layout:
    return Layout(tuple(names), tuple(named[name].shape for name in names))


def _head(names: list[str]) -> list[str]:
    layer = names[-1].rpartition(".")[0]
    return [name for name in names if name.rpartition(".")[0] == layer]


def _choose(names: list[str], adapted: str | Sequence[str]) -> set[str]:
    if adapted == "all":
        return set(names)
    if adapted == "head":
        return set(_head(names))
    patterns = [adapted] if isinstance(adapted, str) else list(adapted)
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise ConfigError(
                f"adapted={pattern!r} matches no parameter; use 'all', 'head' or patterns over {', '.join(names)}"
            )
    return {name for name in names if any(fnmatchcase(name, pattern) for pattern in patterns)}


def _refuse_unsound_layers(module: nn.Module) -> None:
    """Refuse layers whose second derivative under ``torch.func.vmap`` is wrong (seen in float64) or missing.

    F.layer_norm and F.instance_norm differentiate twice wrongly through their weight; the recurrent layers have no batching
    rule; an instance-norm's running statistics would be changed in place by every task.
    """
    for name, layer in module.named_modules():
        affine_norm = isinstance(layer, (nn.LayerNorm, nn.modules.instancenorm._InstanceNorm))
        running = getattr(layer, "track_running_stats", False)
        if (affine_norm and getattr(layer, "weight", None) is not None) or running:
            raise ConfigError(
                f"policy: the layer {name or 'itself'} ({type(layer).__name__}) gives wrong meta-gradients; use GroupNorm, "
                "or the norm without affine and running statistics followed by a scale and shift of your own"
            )
        if isinstance(layer, nn.modules.dropout._DropoutNd):
            raise ConfigError(
                f"policy: the layer {name or 'itself'} ({type(layer).__name__}) draws noise of its own, which a replay of the "
                "adaptation could not repeat; remove it"
            )
        if isinstance(layer, (nn.RNNBase, nn.RNNCellBase)):
            raise ConfigError(
                f"policy: the layer {name or 'itself'} ({type(layer).__name__}) cannot be batched over tasks; "
                "write the cell in plain tensor operations"
            )
