"""Layers that keep averages of what they have seen: batch normalisation, and the normalisation of observations.

Their averages are values: a layer reads them from its buffers and puts new ones into their place, and
``torch.func.functional_call`` hands both in and out, so that a call changes nothing on the module itself.

Ioffe and Szegedy 2015, "Batch Normalization"; which statistics a meta-learner may use: Bronskill et al. 2020, "TaskNorm".
"""

import copy
from abc import ABC, abstractmethod
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from metarl.errors import ConfigError

Statistics = Literal["batch", "support", "running"]
"""Whose mean and variance normalise: the current batch's (a prediction then depends on the other query images: transductive),
the task's support set's alone, or running averages over training."""
Use = Literal["batch", "track", "averages"]
"""What a layer does with its averages: nothing, for the batch's own moments normalise; the same, and put the batch's moments
into them; or normalise with them."""


class Averaging(nn.Module, ABC):
    """A layer that normalises with the moments of a batch, or with averages that it keeps.

    Args:
        channels: how many; axis 1 of the inputs.
        momentum: the least weight of a new batch in the averages, which begin as plain means of the first batches.
        eps: added to the variance.
    """

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(self, channels: int, momentum: float, eps: float) -> None:
        super().__init__()
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))
        self.register_buffer("num_batches_tracked", torch.tensor(0))
        self.momentum = momentum
        self.eps = eps
        self.use: Use = "batch"

    @abstractmethod
    def forward(self, inputs: Tensor) -> Tensor:
        """Return the inputs, shape (examples, channels, ...), normalised."""

    def _moments(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return the variance and the mean of every channel, shape (channels,) each."""
        return torch.var_mean(inputs, [axis for axis in range(inputs.ndim) if axis != 1], correction=0)

    def _track(self, inputs: Tensor) -> None:
        """Put the batch's moments into the averages; the first batch's take their place, exactly."""
        variance, mean = self._moments(inputs)
        self.num_batches_tracked = self.num_batches_tracked + 1
        weight = self.num_batches_tracked.to(mean).reciprocal().clamp(min=self.momentum)
        self.running_mean = self.running_mean.lerp(mean, weight)
        self.running_var = self.running_var.lerp(variance, weight)


class BatchNorm(Averaging):
    """Batch normalisation with a learned scale and shift, over inputs of shape (examples, channels, ...).

    ``F.batch_norm`` differentiates twice wrongly through its own weight under ``torch.func.vmap``, so the scale is outside.
    By themselves the layers normalise with the batch's moments; ``Learner`` makes the forms that track and use averages.
    """

    def __init__(self, channels: int, momentum: float = 0.1, eps: float = 1e-5) -> None:
        super().__init__(channels, momentum, eps)
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the inputs, shape (examples, channels, ...), normalised, scaled and shifted.

        Raises:
            ConfigError: a batch of a single number for each channel, which has no variance.
        """
        shape = (-1, *[1] * (inputs.ndim - 2))
        if self.use == "averages":
            scale = self.weight * (self.running_var + self.eps).rsqrt()
            return inputs * scale.view(shape) + (self.bias - self.running_mean * scale).view(shape)
        if inputs.numel() == inputs.shape[1]:
            raise ConfigError(
                "batch_norm='batch': a single example has no variance; give more, or use batch_norm='support' or 'running'"
            )
        if self.use == "track":
            self._track(inputs)
        normal = functional.batch_norm(inputs, None, None, None, None, training=True, eps=self.eps)
        return normal * self.weight.view(shape) + self.bias.view(shape)


class ObservationNorm(Averaging):
    """Normalises every entry of an observation by averages over training, and clips it to ten deviations.

    As Gymnasium's and Stable-Baselines3's observation wrappers, but with statistics that are part of what is meta-learned:
    the same for every task of a meta-batch, and moved between outer steps only. Before the first batch it changes nothing.

    Args:
        entries: of an observation, which is the last axis of the inputs.
    """

    LIMIT = 10.0

    def __init__(self, entries: int) -> None:
        super().__init__(entries, momentum=1e-3, eps=1e-8)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return observations of shape (..., entries), normalised."""
        if self.use == "track":
            self._track(inputs.reshape(-1, inputs.shape[-1]))
        return ((inputs - self.running_mean) * (self.running_var + self.eps).rsqrt()).clamp(-self.LIMIT, self.LIMIT)


def with_our_batch_norm(module: nn.Module) -> nn.Module:
    """Return a copy of the module with PyTorch's batch-norm layers replaced by ours; the module itself if it has none.

    Raises:
        ConfigError: a layer without scale and shift, or one that averages over all batches alike.
    """
    if not any(isinstance(layer, nn.modules.batchnorm._BatchNorm) for layer in module.modules()):
        return module
    return _replaced(copy.deepcopy(module), {})


def _replaced(module: nn.Module, done: dict[nn.Module, nn.Module]) -> nn.Module:
    """Return a module with its batch-norm layers replaced; one that stands in several places is replaced by one."""
    if module not in done:
        done[module] = _ours(module)
        for name, child in list(module._modules.items()):
            if child is not None:
                done[module]._modules[name] = _replaced(child, done)
    return done[module]


def _ours(module: nn.Module) -> nn.Module:
    if isinstance(module, nn.modules.batchnorm._BatchNorm):
        if not module.affine or module.momentum is None:
            raise ConfigError(
                f"policy: {module} has affine=False or momentum=None, which are not supported: give it both, or use GroupNorm"
            )
        ours = BatchNorm(module.num_features, module.momentum, module.eps)
        theirs = module.state_dict()
        ours.load_state_dict({name: theirs.get(name, value) for name, value in ours.state_dict().items()})
        return ours.to(next(iter(theirs.values()), ours.weight))
    return module
