"""Batch normalisation that can be differentiated twice over a batch of tasks, and says whose statistics it uses.

Ioffe and Szegedy 2015, "Batch Normalization"; which statistics a meta-learner may use: Bronskill et al. 2020, "TaskNorm".
"""

import copy
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from metarl.errors import ConfigError

Statistics = Literal["batch", "support", "running"]
"""Whose mean and variance normalise: the current batch's (a prediction then depends on the other query images: transductive),
the task's support set's alone, or running averages over training."""


class BatchNorm(nn.Module):
    """Batch normalisation with a learned scale and shift, over inputs of shape (examples, channels, ...).

    ``F.batch_norm`` differentiates twice wrongly through its own weight under ``torch.func.vmap``, so the scale is outside.
    The learner that calls the network sets whose statistics count; by themselves they are the batch's.

    Args:
        channels: how many.
        momentum: the weight of a new batch in the running averages, which begin as plain means of the first batches.
        eps: added to the variance.
    """

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(self, channels: int, momentum: float = 0.1, eps: float = 1e-5) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))
        self.register_buffer("num_batches_tracked", torch.tensor(0))
        self.momentum = momentum
        self.eps = eps
        self.statistics: Statistics = "batch"
        self.support = 0
        """How many of the inputs, the first, are the support set; 0 if all are."""
        self.tracking = False
        """Whether the batch's statistics go into the running averages."""

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the inputs, shape (examples, channels, ...), normalised, scaled and shifted.

        Raises:
            ConfigError: a batch of a single number for each channel, which has no variance.
        """
        shape = (-1, *[1] * (inputs.ndim - 2))
        if self.tracking:
            self._track(inputs)
        if self.statistics == "running":
            mean, variance = self.running_mean, self.running_var
        elif self.statistics == "support" and self.support:
            axes = [axis for axis in range(inputs.ndim) if axis != 1]
            variance, mean = torch.var_mean(inputs[: self.support], axes, correction=0)
        else:
            if inputs.numel() == inputs.shape[1]:
                raise ConfigError(
                    "batch_norm='batch': a single example has no variance; give more, or use batch_norm='support' or 'running'"
                )
            normal = functional.batch_norm(inputs, None, None, None, None, training=True, eps=self.eps)
            return normal * self.weight.view(shape) + self.bias.view(shape)
        scale = self.weight * (variance + self.eps).rsqrt()
        return inputs * scale.view(shape) + (self.bias - mean * scale).view(shape)

    @torch.no_grad()
    def _track(self, inputs: Tensor) -> None:
        axes = [axis for axis in range(inputs.ndim) if axis != 1]
        variance, mean = torch.var_mean(inputs.detach(), axes, correction=0)
        self.num_batches_tracked += 1
        weight = self.num_batches_tracked.to(mean).reciprocal().clamp(min=self.momentum)
        self.running_mean.lerp_(mean, weight)
        self.running_var.lerp_(variance, weight)


def with_own_batch_norm(module: nn.Module) -> nn.Module:
    """Return a copy of the module with PyTorch's batch-norm layers replaced by ours; the module itself if it has none at all.

    Raises:
        ConfigError: a layer without scale and shift, or one that averages over all batches alike.
    """
    if not any(isinstance(layer, (BatchNorm, nn.modules.batchnorm._BatchNorm)) for layer in module.modules()):
        return module
    return _replaced(copy.deepcopy(module))


def _replaced(module: nn.Module) -> nn.Module:
    if isinstance(module, nn.modules.batchnorm._BatchNorm):
        if not module.affine or module.momentum is None:
            raise ConfigError(
                f"policy: {module} has affine=False or momentum=None, which are not supported: give it both, or use GroupNorm"
            )
        ours = BatchNorm(module.num_features, module.momentum, module.eps)
        theirs = module.state_dict()
        ours.load_state_dict({name: theirs.get(name, value) for name, value in ours.state_dict().items()})
        return ours.to(next(iter(theirs.values()), ours.weight))
    for name, child in module.named_children():
        setattr(module, name, _replaced(child))
    return module
