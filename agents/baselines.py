"""Baselines that do not learn to learn: from scratch, or from a network pretrained on all training classes.

Ravi and Larochelle 2017, section 5.1; Chen et al. 2019, "A Closer Look at Few-shot Classification"; as Huisman et al. 2022
("TURTLE"), Tables 1 and 3, compare with them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, ClassVar, Self, cast

from torch import nn

from metarl.adapters import GradientAdapter, SupportReader
from metarl.adapters import NearestNeighbour as NearestNeighbourReader
from metarl.adapters.metric import Distance
from metarl.agents import building
from metarl.agents.base import Agent
from metarl.agents.metric import MetricAgent, MetricOptions
from metarl.agents.options import GradientOptions, RateOptions
from metarl.errors import ConfigError, require_whole
from metarl.learner import Layout
from metarl.networks import CosineHead
from metarl.normalisation import Statistics
from metarl.outer import OuterLoop, Pretraining
from metarl.progress import Meter
from metarl.rules import Adam, GradientDescent, UpdateRule


class PretrainedClassifier(Agent):
    """What the baselines share that pretrain on all training classes."""

    default_outer = "pretraining"

    def make_outer(self, outer: str | OuterLoop | None) -> OuterLoop:
        """Return pretraining: the default, or one that is configured."""
        return building.make_outer_of(Pretraining, outer, self, "pretraining")


@dataclass(frozen=True)
class AdamOptions(GradientOptions):
    """What baselines take that train on tasks with Adam."""

    inner_steps: int = 100
    """Steps of Adam on a task."""
    rate: float = 1e-3
    """Of Adam on a task."""
    support_batch: int | None = 4
    """How many support examples each inner step sees, drawn with replacement."""


class TrainFromScratch(Agent):
    """Trains a new network on every task: 100 steps of Adam on batches of 4 support images; ``learn`` learns nothing.

    Every task starts from the same random weights. Batch-normalisation uses the batch's statistics. See ``Agent`` for the
    arguments.
    """

    Options = AdamOptions  # type: ignore[assignment]

    def make_rule(self, layout: Layout) -> UpdateRule:
        """Return Adam."""
        return Adam(layout, self.options.rate)

    def learn(self, *args: Any, **kwargs: Any) -> Self:
        """Do nothing: there is nothing to learn before a task."""
        return self


class Finetuning(PretrainedClassifier):
    """Pretrains on all training classes; on a task trains a new last layer: 100 steps of Adam on batches of 4 support images.

    See ``Agent`` for the arguments.
    """

    @dataclass(frozen=True)
    class Options(AdamOptions):
        """What fine-tuning takes."""

        meta_batch: int | None = 16
        """Images in a step of pretraining."""
        adapted: str | Sequence[str] = "head"
        """Which parameters a task trains: all, head, or name patterns."""
        batch_norm: Statistics = "running"
        """Whose statistics batch-normalisation uses: the set's at hand (batch), the support set's, or running averages."""

    def make_rule(self, layout: Layout) -> UpdateRule:
        """Return Adam."""
        return Adam(layout, self.options.rate)


class BaselinePlusPlus(Finetuning):
    """Baseline++: fine-tuning with a classifier by cosines, in pretraining and on tasks.

    See ``Agent`` for the arguments; a network of one's own must end in a ``CosineHead`` itself.
    """

    @dataclass(frozen=True)
    class Options(Finetuning.Options):
        """What Baseline++ takes."""

        scale: float = 2.0
        """What the cosines are multiplied with."""

    def __init__(self, policy: str | nn.Module, *args: Any, scale: float = 2.0, **options: Any) -> None:
        if isinstance(policy, nn.Module) and not isinstance(list(policy.modules())[-1], CosineHead):
            raise ConfigError(f"policy={type(policy).__name__} must end in a CosineHead of metarl.networks, or use Finetuning")
        if isinstance(policy, str):
            options["policy_kwargs"] = {**(options.get("policy_kwargs") or {}), "head": "cosine", "scale": scale}
        super().__init__(policy, *args, scale=scale, **options)


class NearestNeighbour(PretrainedClassifier, MetricAgent):
    """Pretrains on all training classes; on a task gives a query image the class of the nearest support image.

    Nearest by the cosine between features. See ``Agent`` for the arguments.
    """

    @dataclass(frozen=True)
    class Options(MetricOptions):
        """What the nearest neighbour takes."""

        meta_batch: int | None = 16
        """Images in a step of pretraining."""
        batch_norm: Statistics = "running"
        """Whose statistics batch-normalisation uses: the set's at hand (batch), the support set's, or running averages."""
        distance: Distance = "cosine"
        """By which embeddings are compared: squared-euclidean or cosine."""

    def make_reader(self, features: int, outputs: int) -> SupportReader:
        """Return the support examples by the chosen distance."""
        return NearestNeighbourReader(self.options.distance)


class BaselineFinetune(PretrainedClassifier):
    """Ravi and Larochelle's Baseline-finetune: pretraining, then the whole network trained on a task by 15 gradient steps.

    The steps' rate and its decay, ``rate / (1 + decay * t)``, are chosen on validation tasks by ``tune``: the choice belongs to
    the weights then in force, and is not kept in a checkpoint. See ``Agent`` for the arguments.
    """

    @dataclass(frozen=True)
    class Options(RateOptions):
        """What Baseline-finetune takes."""

        meta_batch: int | None = 64
        """Images in a step of pretraining."""
        inner_steps: int = 15
        """Gradient steps on a task."""
        batch_norm: Statistics = "running"
        """Whose statistics batch-normalisation uses: the set's at hand (batch), the support set's, or running averages."""

    RATES: ClassVar[tuple[float, ...]] = (0.5, 0.1, 0.01, 1e-3, 1e-4, 1e-5)
    DECAYS: ClassVar[tuple[float, ...]] = (1.0, 0.1, 0.01, 1e-3, 0.0)

    def make_rule(self, layout: Layout) -> UpdateRule:
        """Return gradient descent at the untuned rate."""
        return GradientDescent(layout, self.options.rate)

    def learn(self, *args: Any, **kwargs: Any) -> Self:
        """Pretrain; validations take steps of the untuned rate. See ``Agent.learn`` for the arguments."""
        self._set_rule(self.make_rule(self.adapter.learner.layout))
        return super().learn(*args, **kwargs)

    def tune(self, tasks: int = 20) -> Self:
        """Choose the rate and its decay by the accuracy on validation tasks after the last step.

        Args:
            tasks: how many validation tasks; every pair of rate and decay is tried on the same ones.
        """
        require_whole(tasks=tasks)
        scores: dict[tuple[float, float], float] = {}
        try:
            pairs = list(product(self.RATES, self.DECAYS))
            with Meter(len(pairs)) as meter:
                for pair in pairs:
                    self._set_rule(self._decaying(*pair))
                    scores[pair] = self.evaluate(tasks, split="validation").mean[-1]
                    meter.advance(text="tuning the rates")
        finally:  # interrupted: the best of those tried
            if scores:
                self._set_rule(self._decaying(*max(scores, key=lambda pair: scores[pair])))
        return self

    def _decaying(self, rate: float, decay: float) -> UpdateRule:
        rates = [rate / (1 + decay * step) for step in range(max(1, self.adapter.steps))]
        return GradientDescent(self.adapter.learner.layout, rates)

    def _set_rule(self, rule: UpdateRule) -> None:
        adapter = cast(GradientAdapter, self.adapter)
        self.adapter = adapter.with_rule(rule.to(self.meta["theta"]))
