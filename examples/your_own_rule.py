"""An update rule of your own, in ten lines: it adapts policies and predictors alike, and has a name everywhere.

    python examples/your_own_rule.py

The rule normalises: it moves theta by a learned length in the gradient's direction, whatever the gradient's size. There
is a length for each layer, and meta-training finds them together with theta.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor, nn

import metarl
from metarl.rules import State


class NormalisedStep(metarl.UpdateRule):
    """One step for one task: theta' = theta - length * gradient / |gradient|."""

    layer: Tensor  # the number of each coordinate's layer, shape (P,)

    def __init__(self, layout: metarl.Layout, length: float = 0.1) -> None:
        super().__init__(layout)
        self.length = nn.Parameter(torch.full((len(layout.layers),), length))  # an nn.Parameter is meta-learned
        self.register_buffer("layer", layout.layer_index())

    def forward(self, theta: Tensor, gradient: Tensor, loss: Tensor, state: State, step: int) -> tuple[Tensor, State]:
        """Return the moved theta, shape (P,), and the rule's memory, of which it has none."""
        norm = (gradient.square().sum() + 1e-12).sqrt()  # finite, with a finite derivative, where the gradient is nought
        return theta - self.length[self.layer] * gradient / norm, state


def on_a_predictor(iterations: int, tasks: int) -> metarl.Agent:
    """Learn to fit sine waves from five points, in three steps of the rule."""
    agent = metarl.Agent("MLP", "metarl/Sine-v0", rule=NormalisedStep, inner_steps=3, env_kwargs={"shots": 5})
    agent.learn(iterations, log_interval=100, progress_bar=True)
    print(agent.evaluate(tasks))
    return agent


def on_a_policy(iterations: int, meta_batch: int, trajectories: int, tasks: int) -> metarl.Agent:
    """Learn to find a goal in the plane, in one step of the same rule, under TRPO."""
    agent = metarl.Agent(
        "MlpPolicy",
        "metarl/Navigation2D-v0",
        rule=NormalisedStep,
        meta_batch=meta_batch,
        rollouts=metarl.Rollouts(trajectories=trajectories),
    )
    agent.learn(iterations, progress_bar=True)
    print(agent.evaluate(tasks))
    return agent


def saved_and_loaded(agent: metarl.Agent) -> metarl.Agent:
    """Register the rule: `metarl list` shows it, and a checkpoint that names it loads without being handed the class."""
    metarl.register_rule("normalised-step", NormalisedStep, "a learned length for each layer, along the gradient")
    with TemporaryDirectory() as folder:
        return metarl.Agent.load(agent.save(Path(folder) / "agent"))


def main(
    iterations: int = 2000, policy_iterations: int = 50, meta_batch: int = 20, trajectories: int = 20, tasks: int = 600
) -> list[metarl.Agent]:
    """Run the example; return the predictor's agent, the policy's, and the predictor's once more, loaded from a file."""
    predictor = on_a_predictor(iterations, tasks)
    policy = on_a_policy(policy_iterations, meta_batch, trajectories, tasks)
    for agent in (predictor, policy):
        print("lengths by layer, which began at 0.1:", agent.meta["rule.length"].tolist())
    return [predictor, policy, saved_and_loaded(predictor)]


if __name__ == "__main__":
    main()
