"""Hallucinated support examples: a learned generator adds imagined ones to each class of a Prototypical Network.

    python examples/hallucination.py

The generator makes further embeddings of an embedded example and of noise. It is a part of the reader, so that it is
meta-learned with the embedding by the loss of the query set: what it imagines need not look real, only help to classify.
After Wang, Girshick, Hebert and Hariharan 2018, "Low-Shot Learning from Imaginary Data", section 4.
"""

import torch
from torch import Tensor, nn

import metarl
from metarl.adapters import Prototypes, Support, SupportReader

IMAGINED, NOISE = 4, 8


class Hallucination(Prototypes):
    """Prototypes of the support examples and of ``IMAGINED`` further ones for each, e + G(e, z); the z are drawn once."""

    noise: Tensor

    def __init__(self, features: int) -> None:
        super().__init__()
        self.generator = nn.Sequential(nn.Linear(features + NOISE, 64), nn.ReLU(), nn.Linear(64, features))
        self.register_buffer("noise", torch.randn(IMAGINED, NOISE))  # a reader draws nothing: it would not repeat

    def read(self, support: Support) -> Tensor:
        """Return the prototypes, shape (ways, features)."""
        examples = support.inputs.repeat_interleave(IMAGINED, 0)
        noise = self.noise.to(examples).repeat(len(support.inputs), 1)
        imagined = examples + self.generator(torch.cat([examples, noise], dim=1))
        columns = torch.cat([support.columns, support.columns.repeat_interleave(IMAGINED, 0)])
        return super().read(support._replace(inputs=torch.cat([support.inputs, imagined]), columns=columns))


class HallucinatingNet(metarl.ProtoNet):
    """Prototypical Networks that imagine."""

    def make_reader(self, features: int, outputs: int) -> SupportReader:
        """Return prototypes of real and imagined examples."""
        return Hallucination(features)


def main(root: str = "data", iterations: int = 600, tasks: int = 600) -> list[metarl.Evaluation]:
    """Train with and without imagined examples alike; return both evaluations on unseen characters, one image of each."""
    options = {"env_kwargs": {"root": root, "train_ways": 10, "queries": 5}, "policy_kwargs": {"downsampling": "stride"}}
    evaluations = []
    for kind in (HallucinatingNet, metarl.ProtoNet):
        agent = kind("Conv4", "metarl/Omniglot-v0", **options).learn(iterations, log_interval=50, progress_bar=True)
        evaluations.append(agent.evaluate(tasks))
        print(kind.__name__, evaluations[-1], sep=": ")
    return evaluations


if __name__ == "__main__":
    main()
