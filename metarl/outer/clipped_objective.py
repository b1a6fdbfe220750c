r"""PPO's objective on experience that was collected, as a function of the meta-parameters: the adaptation is replayed.

Schulman et al. 2017, "Proximal Policy Optimization Algorithms", eqs. 7 to 9, with the adapted policies in the policy's place.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from metarl import processes
from metarl.adapters.base import Adapted, Adapter, Meta
from metarl.outer.critic import values_of_steps
from metarl.outer.meta_gradient import Batch
from metarl.problems.policy import Comparison, PolicyProblem, Samples

CRITIC = "critic."
"""Before the names of the critic's numbers, where they stand beside the meta-parameters."""


class Clips(NamedTuple):
    """How far ratios and values may go before they are clipped.

    Attributes:
        ratio: above and below one.
        value: from the value before; None for any distance.
    """

    ratio: float
    value: float | None = None


class Learned(NamedTuple):
    """What a critic learns from.

    Attributes:
        values: the critic's own before the first epoch, shape (tasks, samples).
        targets: what they should have been, shape (tasks, samples).
    """

    values: Tensor
    targets: Tensor


class Terms(NamedTuple):
    """What a loss is made of: means over the tasks of a mini-batch, each over the task's own time-steps.

    Attributes:
        policy: the clipped surrogate loss of the adapted policies, shape ().
        kl: KL(old || new) of the adapted policies, shape ().
        entropy: of the adapted policies, in nats, shape ().
        clipped: the fraction of the ratios beyond the clip range, shape ().
        value: the critic's squared error, shape (); zero without one.
        correction: the clipped surrogate loss of E-MAML's term, shape (); zero where it is not asked for.
        inner_kls: KL(old || new) of the policies that collected each support experience, shape (steps,).
    """

    policy: Tensor
    kl: Tensor
    entropy: Tensor
    clipped: Tensor
    value: Tensor
    correction: Tensor
    inner_kls: Tensor


class ClippedObjective:
    """The terms of PPO's and ProMP's losses.

    Args:
        adapter: replays the adaptation, on a policy problem.
        meta: the meta-parameters under which the experience was collected.
        batch: the experience, this process's share.
        clips: how far ratios and values may go.
        learned: what the critic learns from, if there is one.
        credits: what support actions are paid by E-MAML's term, shape (tasks,), if it is asked for.
        watches_steps: whether the KL of the policies that collected the support experience is asked for.
    """

    def __init__(
        self,
        adapter: Adapter,
        meta: Meta,
        batch: Batch,
        clips: Clips,
        learned: Learned | None = None,
        credits: Tensor | None = None,
        watches_steps: bool = False,
    ) -> None:
        assert isinstance(adapter.problem, PolicyProblem), "its outer loop's check refuses others"
        self.adapter, self.meta, self.batch, self.clips = adapter, meta, batch, clips
        self._compare = adapter.problem.compare
        self._learned, self._credits = learned, credits
        self._replays_steps = watches_steps or credits is not None
        self._watches_steps = watches_steps

    def terms(self, values: Meta, rows: Tensor | None = None, size: float | None = None) -> Terms:
        """Return the terms at other meta-parameters; pure, and differentiable in them.

        Args:
            values: what is learned, by name, the critic's numbers under ``CRITIC``.
            rows: this process's tasks of a mini-batch, at least one; all unless given.
            size: how many tasks all processes have in it; as many as this one on each, unless given.
        """
        experiences, query, learned, credits = self.batch.experiences, self.batch.query, self._learned, self._credits
        if rows is not None:
            parts = (experiences, query, learned, credits)
            experiences, query, learned, credits = tree_map(lambda part: None if part is None else part[rows], parts)
        count = len(query.weights)
        share = 1 / count if size is None else processes.count() / size
        meta = {**self.meta, **{name: value for name, value in values.items() if not name.startswith(CRITIC)}}
        *on_the_way, last = self._replayed(meta, experiences, count)

        def mean(by_step: Tensor, samples: Samples) -> Tensor:
            return share * (samples.weights * by_step).sum()

        after = self._of_tasks(meta, last, query)
        zero = query.weights.new_zeros(())
        value, correction, inner_kls = zero, zero, []
        if learned is not None:
            value = mean(self._value_losses(values, query, learned), query)
        for stage, support in zip(on_the_way, experiences, strict=False):
            before = self._of_tasks(meta, stage, support)
            inner_kls.append(mean(before.kls, support))
            if credits is not None:
                paid = (credits * support.lengths.sum(1))[:, None].expand_as(support.weights)
                correction = correction + mean(self._surrogate_losses(before, paid), support)
        return Terms(
            policy=mean(self._surrogate_losses(after, query.advantages), query),
            kl=mean(after.kls, query),
            entropy=mean(after.entropies, query),
            clipped=mean(((after.log_ratios.exp() - 1).abs() > self.clips.ratio).to(query.weights), query),
            value=value,
            correction=correction,
            inner_kls=torch.stack(inner_kls) if inner_kls else query.weights.new_zeros(0),
        )

    def _replayed(self, meta: Meta, experiences: list[Samples], count: int) -> list[Adapted]:
        """Return the tasks' policies on their way and at the end; the end alone where nobody looks at the way."""
        if self._replays_steps:
            return self.adapter.replay_steps(meta, experiences, count)
        return [self.adapter.replay(meta, experiences, count)]

    def _of_tasks(self, meta: Meta, adapted: Adapted, samples: Samples) -> Comparison:
        compared: Comparison = self.adapter.of_tasks(self._compare, meta, adapted, samples)
        return compared

    def _surrogate_losses(self, policies: Comparison, advantages: Tensor) -> Tensor:
        """Return the clipped surrogate loss of every step, shape (tasks, samples)."""
        ratios = policies.log_ratios.exp()
        clipped = ratios.clamp(1 - self.clips.ratio, 1 + self.clips.ratio)
        return -torch.minimum(ratios * advantages, clipped * advantages)

    def _value_losses(self, values: Meta, query: Samples, learned: Learned) -> Tensor:
        """Return the critic's squared error at every step, shape (tasks, samples)."""
        numbers = {name.removeprefix(CRITIC): value for name, value in values.items() if name.startswith(CRITIC)}
        now = values_of_steps(numbers, query)
        if self.clips.value is not None:  # as in SB3: beyond it the value learns nothing
            now = learned.values + (now - learned.values).clamp(-self.clips.value, self.clips.value)
        return (now - learned.targets).square()
