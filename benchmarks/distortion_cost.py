"""What an affine distortion costs an image beside a network's step: ``python benchmarks/distortion_cost.py``.

Prints microseconds of one core for each image of 28x28: the distortion, and forward and backward of the networks, with their
parameters: a Conv4 of 64 filters, the same with strides, and a narrow ResNet12.
"""

import time
from collections.abc import Callable

import torch

from metarl.supervised.distortions import affine
from metarl.supervised.networks import conv4, resnet12

IMAGES, SHAPE, REPEATS = 120, (1, 28, 28), 20
"""Twenty classes with one support and five query images each."""


def microseconds(step: Callable[[], object]) -> float:
    """Return the CPU time of a step for each image."""
    step()
    start = time.process_time()
    for _ in range(REPEATS):
        step()
    return (time.process_time() - start) / REPEATS / IMAGES * 1e6


def main() -> None:
    """Measure."""
    torch.set_num_threads(1)
    images, generator = torch.rand(IMAGES, *SHAPE), torch.Generator().manual_seed(0)
    print(f"affine distortion: {microseconds(lambda: affine(images, generator)):.0f} us an image")
    networks = {
        "Conv4": conv4(SHAPE, 5, head="none"),
        "Conv4, strides": conv4(SHAPE, 5, downsampling="stride", head="none"),
        "ResNet12, 16-32-64-128": resnet12(SHAPE, 5, filters=(16, 32, 64, 128), head="none"),
    }
    for name, network in networks.items():

        def step(network: torch.nn.Module = network) -> None:
            network.zero_grad()
            network(images).square().mean().backward()

        size = sum(parameter.numel() for parameter in network.parameters())
        print(f"{name}: {microseconds(step):.0f} us an image, {size} parameters")


if __name__ == "__main__":
    main()
