"""A learner: an nn.Module as a function of one flat parameter vector theta."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import get_args

import torch
from torch import Tensor, nn
from torch.func import functional_call

from metarl.errors import ConfigError, unknown_name
from metarl.normalisation import Averaging, BatchNorm, Statistics, Use, with_our_batch_norm

Averages = dict[str, Tensor]
"""What normalisation layers normalise with, by name: means and variances, and how many batches they are of."""


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
    """Turns a module into a pure function of theta, and says which of its parameters a task may change.

    The adapted parameters are theta, shape (P,). The others are meta-learned too but stay the same for every task: the shared
    vector, shape (S,). The learner holds the module's structure only: parameters and averages come in with every call, and
    come out beside the outputs where they are tracked.

    Args:
        module: the network; its current parameters are where meta-learning starts. It is left as it is.
        adapted: which parameters the inner loop changes. ``"all"`` as in MAML; ``"head"``, the last layer only, as in
            ANIL (Raghu et al. 2020, "Rapid Learning or Feature Reuse?"); or patterns such as ``["head.*", "*.bias"]``.
        batch_norm: whose statistics batch-normalisation uses: ``"batch"``, those of the set at hand, support or query
            (transductive, as MAML and TURTLE); ``"support"``, those of the task's support set, for the query set too;
            ``"running"``, averages over training. PyTorch's layers are replaced by ``BatchNorm``.

    Raises:
        ConfigError: nothing matches ``adapted``, the module has no parameters, ``batch_norm`` is unknown or there is none, or
            the module holds normalisation or recurrent layers of which torch.func takes wrong or no second derivatives, or
            dropout.
    """

    def __init__(self, module: nn.Module, adapted: str | Sequence[str] = "all", batch_norm: Statistics = "batch") -> None:
        module = with_our_batch_norm(module)
        norms = [layer for layer in module.modules() if isinstance(layer, Averaging)]
        has_batch_norm = any(isinstance(layer, BatchNorm) for layer in norms)
        if batch_norm not in get_args(Statistics):
            raise unknown_name("batch_norm", batch_norm, get_args(Statistics))
        if not has_batch_norm and batch_norm != "batch":
            raise ConfigError(f"batch_norm={batch_norm!r}: {type(module).__name__} has no batch-norm layer; give 'batch'")
        self.batch_norm: Statistics | None = batch_norm if has_batch_norm else None
        self.keeps_averages = bool(norms) and (batch_norm == "running" or not has_batch_norm)
        """Whether averages over training are part of what is learned."""
        _refuse_unsound_layers(module)
        named = dict(module.named_parameters())
        if not named:
            raise ConfigError(f"policy={type(module).__name__} has no parameters, so there is nothing to adapt")
        chosen = _choose(list(named), adapted)
        self.layout = _layout(named, [name for name in named if name in chosen])
        self.shared_layout = _layout(named, [name for name in named if name not in chosen])
        self.shapes = {name: value.shape for name, value in named.items()}
        """The shape of every parameter, by name, in the module's order."""
        self._tied = _tied(module)
        tracked, self._constants = _buffers(module)
        self._averages = {name: value.to("meta") for name, value in tracked.items()}
        self._structure: dict[Use, nn.Module] = {
            use: _structure(module, use) for use in (get_args(Use) if norms else ("batch",))
        }

    @property
    def structure(self) -> nn.Module:
        """The module, without its numbers."""
        return next(iter(self._structure.values()))

    def initial(self, module: nn.Module) -> tuple[Tensor, Tensor, Averages]:
        """Return copies of a module's numbers, where meta-learning starts.

        Args:
            module: the one that the learner was made with, or another of the same architecture.

        Returns:
            Theta, shape (P,), the shared vector, shape (S,), and the averages, which are empty if none are kept.
        """
        named = {name: value.detach().clone() for name, value in module.named_parameters()}
        theta = self.layout.flatten(named)
        averages = _buffers(with_our_batch_norm(module))[0] if self.keeps_averages else {}
        return theta, self.shared_layout.flatten(named).to(theta), averages

    def __call__(
        self,
        theta: Tensor,
        shared: Tensor,
        inputs: Tensor,
        averages: Averages | None = None,
        replaced: Mapping[str, Tensor] | None = None,
    ) -> Tensor:
        """Return the module's output on ``inputs``, shape (examples, ...); one task, ``vmap`` for more.

        Args:
            theta: the adapted parameters, shape (P,).
            shared: the shared ones, shape (S,).
            inputs: shape (examples, ...).
            averages: what the normalisation layers normalise with; the batch's own moments if empty or None.
            replaced: parameters by name that take the place of the vectors', such as another classifier's.
        """
        return self._call("averages" if averages else "batch", theta, shared, inputs, dict(averages or {}), replaced)

    def track(
        self,
        theta: Tensor,
        shared: Tensor,
        inputs: Tensor,
        averages: Averages,
        replaced: Mapping[str, Tensor] | None = None,
    ) -> tuple[Tensor, Averages]:
        """Return the output with the batch's own moments, and the averages with these moments put in; see ``__call__``."""
        averages = dict(averages)
        return self._call("track" if averages else "batch", theta, shared, inputs, averages, replaced), averages

    def moments(self, theta: Tensor, shared: Tensor, inputs: Tensor) -> Averages:
        """Return the moments of one batch at every batch-norm layer, as averages to call with; differentiable."""
        # averages of nothing: the first batch's moments take their place
        nothing = {name: torch.zeros_like(value, device=inputs.device) for name, value in self._averages.items()}
        return self.track(theta, shared, inputs, nothing)[1]

    def _call(
        self,
        use: Use,
        theta: Tensor,
        shared: Tensor,
        inputs: Tensor,
        averages: Averages,
        replaced: Mapping[str, Tensor] | None,
    ) -> Tensor:
        values = {**self.unflatten(theta, shared), **(replaced or {}), **self._constants, **averages}
        values |= {name: values[first] for name, first in self._tied.items()}
        # tied weights are among the values, and need not be looked for at every call
        output: Tensor = functional_call(self._structure[use], values, inputs, tie_weights=False)
        averages.update((name, values[name]) for name in averages)  # functional_call puts there what a layer has changed
        return output

    def unflatten(self, theta: Tensor, shared: Tensor) -> dict[str, Tensor]:
        """Return views of theta, shape (P,), and the shared vector, shape (S,), under the parameters' names and shapes."""
        return self.layout.unflatten(theta) | self.shared_layout.unflatten(shared)

    @property
    def head(self) -> list[str]:
        """The names of the last layer's parameters."""
        return _head(list(self.shapes))


def _structure(module: nn.Module, use: Use) -> nn.Module:
    """Return the module without its numbers, which come with every call, its normalisation layers set for one use."""
    structure = copy.deepcopy(module).to("meta")
    for layer in structure.modules():
        if isinstance(layer, Averaging):
            layer.use = use
    return structure


def _tied(module: nn.Module) -> dict[str, str]:
    """Return the further names of parameters that stand in several places, with the name that they are known by."""
    first: dict[int, str] = {}
    tied = {}
    for name, value in module.named_parameters(remove_duplicate=False):
        if first.setdefault(id(value), name) != name:
            tied[name] = first[id(value)]
    return tied


def _buffers(module: nn.Module) -> tuple[Averages, dict[str, Tensor]]:
    """Return copies of the averages of the module's normalisation layers, and of all its other buffers, by name."""
    averages: Averages = {}
    constants: dict[str, Tensor] = {}
    for path, layer in module.named_modules():  # each once, also if it stands in several places
        into = averages if isinstance(layer, Averaging) else constants
        for name, value in layer.named_buffers(path, recurse=False, remove_duplicate=False):
            into[name] = value.detach().clone()
    return averages, constants


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
