"""Few-shot density estimation: how likely is every pixel of a character's drawing, given four other drawings of it?

    python examples/density_estimation.py

A pixel is an example: its place and the pixels before it are the input, its ink is the target. Attention finds the support
pixels that are like it, and how many of them are ink. After Reed et al. 2018, "Few-shot Autoregressive Density Estimation".
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

import metarl
from metarl.adapters import Support, SupportReader
from metarl.agents.reading import ReadingAgent
from metarl.supervised.omniglot import Omniglot
from metarl.tasks import Episodes, Examples


class Pixels(Omniglot):
    """Drawings of 14x14 pixels; of the 7x7 around a pixel the 24 before it are seen."""

    metric = "loss"

    def draw_episodes(self, tasks: Tensor, generator: torch.Generator) -> Episodes:
        """Return pixels: inputs of shape (n, pixels, 26), targets of shape (n, pixels, 1)."""
        sets = []
        for images, _ in super().draw_episodes(tasks, generator)[:2]:
            ink = (functional.avg_pool2d(images.flatten(0, 1), 2) > 0.3).to(images)
            windows = functional.unfold(ink, 7, padding=3).mT.unflatten(0, images.shape[:2]).flatten(1, 2)
            place = torch.cartesian_prod(*2 * [torch.linspace(-1, 1, 14)]).to(images).repeat(len(images), images.shape[1], 1)
            sets.append(Examples(torch.cat([place, windows[..., :24]], dim=-1), windows[..., 24:25]))
        return Episodes(*sets)

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return bits per pixel."""
        return functional.binary_cross_entropy_with_logits(outputs, targets) / 0.6931  # from nats


class Attention(SupportReader):
    """Predicts a pixel by its embedding, and by the ink of the support pixels whose embeddings are near."""

    serves = "values"

    def __init__(self, features: int) -> None:
        super().__init__()
        self.head = nn.Sequential(nn.Linear(features + 1, 64), nn.ReLU(), nn.Linear(64, 1))

    def read(self, support: Support) -> Support:
        """Keep the embedded pixels and their ink."""
        return support

    def answer(self, queries: Tensor, kept: Support) -> Tensor:
        """Return the logits of ink, shape (pixels, 1)."""
        nearness = 2 * queries @ kept.inputs.t() - kept.inputs.square().sum(1)  # minus the distances squared, up to a constant
        return self.head(torch.cat([queries, nearness.softmax(1) @ kept.columns], dim=1))


class DensityEstimator(ReadingAgent):
    """Estimates the density of drawings."""

    def make_reader(self, features: int, outputs: int) -> SupportReader:
        """Return the attention."""
        return Attention(features)


def main(root: str = "data", iterations: int = 600, tasks: int = 600) -> list[metarl.Evaluation]:
    """Train with the support set, and alike without it; return both evaluations on unseen characters."""
    options = {"env": Pixels(root, ways=1, shots=4, queries=1), "meta_batch": 8, "outer": metarl.GradientDescent(3e-3)}
    body = nn.Sequential(nn.Linear(26, 64), nn.ReLU(), nn.Linear(64, 64))
    alone = nn.Sequential(body, nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1))
    agents = [DensityEstimator(body, **options), metarl.MAML(alone, inner_steps=0, **options)]
    evaluations = [agent.learn(iterations, log_interval=50, progress_bar=True).evaluate(tasks) for agent in agents]
    print(f"with the support set: {evaluations[0]}\nwithout it: {evaluations[1]}")
    return evaluations


if __name__ == "__main__":
    main()
