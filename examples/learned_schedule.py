"""A rate schedule for each layer, a momentum schedule and weight decays, by the gradient through a whole training run.

    python examples/learned_schedule.py

The run's steps are not kept: it is run backwards (Maclaurin et al. 2015), so that its length takes no memory but the bits that
momentum loses. Here a network learns a noisy curve from 20 points; the schedules are learned on 20 others, and tested on 500.
"""

import torch
from torch import Tensor

import metarl
from metarl.networks import mlp
from metarl.outer import train_reversibly


def curve(points: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return inputs and noisy targets, shape (points, 1) each."""
    inputs = 4 * torch.rand(points, 1, generator=generator) - 2
    return inputs, (3 * inputs).sin() + 0.3 * torch.randn(points, 1, generator=generator)


def main(steps: int = 200, updates: int = 40) -> list[float]:
    """Learn the schedules; return the test loss after training before, and after each update of them."""
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    training, validation, test = (curve(points, generator) for points in (20, 20, 500))
    network = mlp(1, 1, (30, 30), activation="tanh")
    learner = metarl.Learner(network)
    start, shared, _ = learner.initial(network)
    layer = learner.layout.layer_index()

    def error(theta: Tensor, examples: tuple[Tensor, Tensor]) -> Tensor:
        return (learner(theta, shared, examples[0]) - examples[1]).square().mean()

    def loss(theta: Tensor, step: int, decays: Tensor) -> Tensor:
        return error(theta, training) + 0.5 * (decays[layer] * theta.square()).sum()

    layers = len(learner.layout.layers)  # all are learned as logarithms or logits: any number will do
    rates = torch.full((steps, layers), -3.0, requires_grad=True)
    momentum = torch.full((steps,), 2.0, requires_grad=True)
    decays = torch.full((layers,), -5.0, requires_grad=True)
    optimiser, losses = torch.optim.Adam([rates, momentum, decays], lr=0.05), []
    for update in range(updates + 1):
        trained = train_reversibly(loss, start, rates.exp(), momentum.sigmoid(), decays.exp(), groups=layer)
        losses.append(error(trained, test).item())
        if update % 10 == 0:
            print(f"after {update:2d} updates: test loss {losses[-1]:.3f}, training loss {error(trained, training).item():.3f}")
        optimiser.zero_grad()
        error(trained, validation).backward()
        optimiser.step()
    print("weight decays by layer:", [f"{decay:.1e}" for decay in decays.exp().tolist()])
    return losses


if __name__ == "__main__":
    main()
