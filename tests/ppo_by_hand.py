"""PPO through one inner step of gradient descent, written anew for a policy of two numbers: task after task, with
``torch.distributions``; what the outer loops must give."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Normal, kl_divergence

import metarl
from metarl.agents import Agent
from metarl.outer.meta_gradient import Batch
from tests.toys import weight

RATE = 0.25


def level(outer: Any, cls: type[Agent] = metarl.MAML, lengths: tuple[int, ...] = (1, 3), **options: Any) -> Agent:
    """Return an agent whose policy is a weight of the observation and a log deviation, on episodes of different lengths."""
    rollouts = {"trajectories": 3, "baseline": "none", "advantages": "raw", **options.pop("rollouts", {})}
    return cls(
        weight(0.5),
        "tests/Level-v0",
        env_kwargs={"lengths": lengths, "slope": 1.0},
        policy_kwargs={"log_std": -0.3},
        outer=outer,
        rollouts=metarl.Rollouts(**rollouts),
        **{"meta_batch": len(lengths), "rate": RATE, "dtype": "float64", "device": "cpu", **options},
    )


def task_of(experience: Any, task: int) -> Any:
    """Return one task's samples, those that happened."""
    row = type(experience)(*(part[task] for part in experience))
    happened = row.happened
    names = ("observations", "actions", "advantages", "distribution_parameters", "log_probs")
    return row._replace(**{name: getattr(row, name)[happened] for name in names})


@dataclass
class ByHand:
    """PPO's loss of an agent's batch, as a function of theta, and its epochs of plain gradient steps.

    Args:
        ratio: takes the likelihood ratio in the inner step, and the log-likelihood otherwise.
        paid: E-MAML's credit of each task.
    """

    agent: Agent
    batch: Batch
    clip: float = 0.2
    ent_coef: float = 0.0
    kl_coef: float = 0.0
    inner_kl_coef: float = 0.0
    correction: float = 0.0
    ratio: bool = False
    paid: tuple[float, ...] = ()

    def distribution(self, theta: Tensor, observations: Tensor) -> Normal:
        names = self.agent.adapter.learner.layout.names
        by_name = dict(zip(names, theta, strict=True))
        return Normal(by_name["network.weight"] * observations[:, 0], by_name["log_std"].exp())

    def old(self, samples: Any) -> Normal:
        mean, log_std = samples.distribution_parameters.unbind(-1)
        return Normal(mean, log_std.exp())

    def log_prob(self, theta: Tensor, samples: Any) -> Tensor:
        return self.distribution(theta, samples.observations).log_prob(samples.actions[:, 0])

    def adapted(self, theta: Tensor, support: Any) -> Tensor:
        log_prob = self.log_prob(theta, support)
        term = (log_prob - support.log_probs).exp() if self.ratio else log_prob
        loss = -(term * support.advantages).mean()
        return theta - RATE * torch.autograd.grad(loss, theta, create_graph=True)[0]

    def surrogate(self, theta: Tensor, samples: Any, advantages: Any) -> Tensor:
        ratios = (self.log_prob(theta, samples) - samples.log_probs).exp()
        return -torch.minimum(ratios * advantages, ratios.clamp(1 - self.clip, 1 + self.clip) * advantages)

    def loss(self, theta: Tensor, tasks: Any = None) -> Tensor:
        total = []
        for task in range(self.batch.count) if tasks is None else tasks:
            support, query = (task_of(one, task) for one in (self.batch.experiences[0], self.batch.query))
            after = self.adapted(theta, support)
            now = self.distribution(after, query.observations)
            loss = self.surrogate(after, query, query.advantages).mean()
            loss = loss - self.ent_coef * now.entropy().mean() + self.kl_coef * kl_divergence(self.old(query), now).mean()
            before = self.distribution(theta, support.observations)
            loss = loss + self.inner_kl_coef * kl_divergence(self.old(support), before).mean()
            if self.correction:
                loss = loss + self.correction * self.surrogate(theta, support, self.paid[task]).sum()
            total.append(loss)
        return torch.stack(total).mean()

    def descend(self, learning_rate: float, parts: list[Any], norm: float | None = None) -> Tensor:
        """Return theta after a plain gradient step on each part of the tasks, None for all."""
        theta = self.agent.meta["theta"].clone()
        for tasks in parts:
            leaf = theta.clone().requires_grad_()
            gradient = torch.autograd.grad(self.loss(leaf, tasks), leaf)[0]
            if norm is not None:
                gradient = gradient * min(1.0, norm / (gradient.norm().item() + 1e-6))
            theta = theta - learning_rate * gradient
        return theta

    def kl(self, theta: Tensor) -> float:
        """Return the mean over tasks of the adapted policies' mean KL(old || new)."""
        kls = []
        for task in range(self.batch.count):
            support, query = (task_of(one, task) for one in (self.batch.experiences[0], self.batch.query))
            after = self.adapted(theta.clone().requires_grad_(), support)
            kls.append(kl_divergence(self.old(query), self.distribution(after, query.observations)).mean().item())
        return sum(kls) / len(kls)

    def inner_kl(self, theta: Tensor) -> float:
        """Return the same of the policies before adaptation, at the support observations."""
        supports = [task_of(self.batch.experiences[0], task) for task in range(self.batch.count)]
        kls = [kl_divergence(self.old(one), self.distribution(theta, one.observations)).mean().item() for one in supports]
        return sum(kls) / len(kls)
