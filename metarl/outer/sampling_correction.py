r"""E-MAML's sampling correction: support trajectories are paid for what comes of adapting to them.

Stadie et al. 2018, "Some Considerations on Learning to Explore via Meta-Reinforcement Learning": the gradient of
$E_{D \sim \pi_\theta}[J(U(\theta, D))]$ by $\theta$ has, beside the derivative of the adaptation U at the sampled support
trajectories D, the term $E[\nabla \log \pi_\theta(D)\,J(U(\theta, D))]$. With both it is exact if the inner loss is the
log-likelihood's, whose curvature is U's own derivative. It is a sum over all support steps of a task, so its variance is large.
"""

import torch
from torch import Tensor

from metarl import processes
from metarl.problems.policy import PolicyProblem, Samples
from metarl.problems.returns import discounted_sums


def credits(problem: PolicyProblem, query: Samples) -> Tensor:
    r"""Return what the log-probability of each task's support actions is multiplied with, shape (tasks,).

    It is the task's mean discounted return after adaptation, less that of the other tasks of the meta-batch, divided by the
    mean length: outer losses are means over time-steps, not sums over a trajectory. The other tasks' mean does not depend on
    this task's support actions, so that it takes variance and adds no bias. Where advantages are normalised, the returns are
    divided by their deviation over the meta-batch too, as there is no unit that all tasks' losses share.

    Args:
        problem: says how rewards are discounted.
        query: whole trajectories of every task of this process.
    """
    returns = discounted_sums(query.by_trajectory(query.rewards), problem.rollouts.discount)[..., 0].mean(1)
    everybodys = processes.everybodys(returns)
    count = len(everybodys)
    others = (everybodys.sum() - returns) / (count - 1) if count > 1 else torch.zeros_like(returns)
    surplus = returns - others
    if problem.rollouts.advantages == "normalised":
        surplus = surplus / (everybodys.std(correction=0) + 1e-8)
    return surplus / query.lengths.mean(1)
