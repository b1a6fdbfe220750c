"""Few-shot density estimation: how likely is each pixel of a character's drawing, given four other drawings of it?

    python examples/density_estimation.py

Every pixel is an example, of its ink. After Reed et al. 2018, "Few-shot Autoregressive Density Estimation".
"""

import torch
from torch import Tensor, nn

import metarl
from metarl import adapters, agents, supervised
from metarl.tasks import Episodes, Examples


class Pixels(supervised.Omniglot):
    """Drawings of 14x14 pixels; a pixel's place and, of the 7x7 around it, the 24 before it are seen. Its loss is in bits."""

    metric, loss = "loss", nn.BCEWithLogitsLoss(weight=1 / torch.tensor(2.0).log())

    def draw_episodes(self, tasks: Tensor, generator: torch.Generator) -> Episodes:
        """Return pixels: inputs of shape (n, pixels, 26), targets of shape (n, pixels, 1)."""
        sets = []
        for images, _ in super().draw_episodes(tasks, generator)[:2]:
            ink = (nn.functional.avg_pool2d(images.flatten(0, 1), 2) > 0.3).to(images)
            windows = nn.functional.unfold(ink, 7, padding=3).mT.unflatten(0, images.shape[:2]).flatten(1, 2)
            place = torch.cartesian_prod(*2 * [torch.linspace(-1, 1, 14)]).to(images).repeat(len(images), images.shape[1], 1)
            sets.append(Examples(torch.cat([place, windows[..., :24]], dim=-1), windows[..., 24:25]))
        return Episodes(*sets)


class Attention(adapters.NearestNeighbour):
    """Predicts a pixel by its embedding, and by the ink of the support pixels whose embeddings are near."""

    serves = "values"

    def __init__(self, features: int, outputs: int) -> None:
        super().__init__()
        self.head = nn.Sequential(nn.Linear(features + outputs, 64), nn.ReLU(), nn.Linear(64, outputs))

    def answer(self, queries: Tensor, kept: tuple[Tensor, Tensor]) -> Tensor:
        """Return the logits of ink, shape (pixels, 1), by what was kept: embedded support pixels, and their ink."""
        nearness = 2 * queries @ kept[0].t() - kept[0].square().sum(1)  # minus the distances squared, up to a constant
        return self.head(torch.cat([queries, nearness.softmax(1) @ kept[1]], dim=1))


def main(root: str = "data", iterations: int = 600, tasks: int = 600) -> list[metarl.Evaluation]:
    """Train with the support set, and alike without it; return both evaluations on unseen characters."""
    options = {"env": Pixels(root, ways=1, shots=4, queries=1), "meta_batch": 8, "outer": metarl.GradientDescent(3e-3)}
    torch.manual_seed(0)  # networks of one's own are drawn before an agent has its seed
    body, head = (nn.Sequential(nn.Linear(m, 64), nn.ReLU(), nn.Linear(64, n)) for m, n in ((26, 64), (64, 1)))
    reading = type("DensityEstimator", (agents.reading.ReadingAgent,), {"make_reader": Attention})
    both = [reading(body, **options), metarl.MAML(nn.Sequential(body, head), inner_steps=0, **options)]
    evaluations = [agent.learn(iterations, log_interval=50, progress_bar=True).evaluate(tasks) for agent in both]
    print(f"with the support set: {evaluations[0]}\nwithout it: {evaluations[1]}")
    return evaluations


if __name__ == "__main__":
    main()
