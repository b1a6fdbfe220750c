"""Baselines that do not learn to learn: from scratch, or from a network pretrained on all training classes.

Ravi and Larochelle 2017, section 5.1; Chen et al. 2019, "A Closer Look at Few-shot Classification"; as Huisman et al. 2022
("TURTLE"), Tables 1 and 3, compare with them.
"""

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any, ClassVar, Self, Unpack

import gymnasium as gym
from rich.console import Console
from rich.progress import track
from torch import nn

from metarl.agents.base import Agent, CommonOptions
from metarl.errors import ConfigError, require_positive
from metarl.networks import CosineHead
from metarl.outer import Pretraining
from metarl.problems import NearestNeighbourProblem, SupervisedProblem
from metarl.rules import Adam, GradientDescent

PRETRAINING_BATCH = 16
FINETUNING_STEPS, FINETUNING_BATCH = 100, 4


class TrainFromScratch(Agent):
    """Trains a new network on every task: 100 steps of Adam on batches of 4 support images; ``learn`` learns nothing.

    Every task starts from the same random weights. Batch-normalisation uses the batch's statistics.

    Args:
        policy: see ``Agent``.
        env: see ``Agent``.
        rate: Adam's.
        options: what every agent takes; see ``Agent``.
    """

    def __init__(
        self, policy: str | nn.Module, env: str | gym.Env[Any, Any], *, rate: float = 1e-3, **options: Unpack[CommonOptions]
    ) -> None:
        options = {"inner_steps": FINETUNING_STEPS, "support_batch": FINETUNING_BATCH, **options}
        super().__init__(policy, env, rule=Adam, rule_kwargs={"rate": rate}, **options)

    def learn(self, *args: Any, **kwargs: Any) -> Self:
        """Do nothing: there is nothing to learn before a task."""
        return self


class Finetuning(Agent):
    """Pretrains on all training classes; on a task trains a new last layer: 100 steps of Adam on batches of 4 support images.

    ``meta_batch`` is the batch of pretraining, 16 unless given. Batch-normalisation uses its running averages.

    Args:
        policy: see ``Agent``.
        env: see ``Agent``.
        rate: of Adam in fine-tuning.
        pretraining_rate: of Adam in pretraining.
        options: what every agent takes; see ``Agent``.
    """

    def __init__(
        self,
        policy: str | nn.Module,
        env: str | gym.Env[Any, Any],
        *,
        rate: float = 1e-3,
        pretraining_rate: float = 1e-3,
        **options: Unpack[CommonOptions],
    ) -> None:
        options = {
            "inner_steps": FINETUNING_STEPS,
            "support_batch": FINETUNING_BATCH,
            "meta_batch": PRETRAINING_BATCH,
            "adapted": "head",
            "batch_norm": "running",
            **options,
        }
        outer = Pretraining(learning_rate=pretraining_rate)
        super().__init__(policy, env, rule=Adam, rule_kwargs={"rate": rate}, outer=outer, **options)


class BaselinePlusPlus(Finetuning):
    """Baseline++: fine-tuning with a classifier by cosines, in pretraining and on tasks.

    Args:
        policy: the name of a network; a module must end in a ``CosineHead`` itself.
        env: see ``Agent``.
        scale: what the cosines are multiplied with.
        options: what ``Finetuning`` takes.
    """

    def __init__(self, policy: str | nn.Module, env: str | gym.Env[Any, Any], *, scale: float = 2.0, **options: Any) -> None:
        if isinstance(policy, nn.Module) and not isinstance(list(policy.modules())[-1], CosineHead):
            raise ConfigError(f"policy={type(policy).__name__} must end in a CosineHead of metarl.networks, or use Finetuning")
        if isinstance(policy, str):
            options["policy_kwargs"] = {**options.get("policy_kwargs", {}), "head": "cosine", "scale": scale}
        super().__init__(policy, env, **options)


class NearestNeighbour(Agent):
    """Pretrains on all training classes; on a task gives a query image the class of the nearest support image.

    Nearest by the cosine between the features before the last layer; no inner steps. ``meta_batch`` is the batch of
    pretraining, 16 unless given. Batch-normalisation uses its running averages.

    Args:
        policy: see ``Agent``.
        env: see ``Agent``.
        pretraining_rate: of Adam in pretraining.
        options: what every agent takes; see ``Agent``.
    """

    predictor: ClassVar[type[SupervisedProblem]] = NearestNeighbourProblem

    def __init__(
        self,
        policy: str | nn.Module,
        env: str | gym.Env[Any, Any],
        *,
        pretraining_rate: float = 1e-3,
        **options: Unpack[CommonOptions],
    ) -> None:
        options = {
            "inner_steps": 0,
            "meta_batch": PRETRAINING_BATCH,
            "adapted": "head",
            "batch_norm": "running",
            **options,
        }
        outer = Pretraining(learning_rate=pretraining_rate)
        super().__init__(policy, env, rule=GradientDescent, outer=outer, **options)


class BaselineFinetune(Agent):
    """Ravi and Larochelle's Baseline-finetune: pretraining, then the whole network trained on a task by 15 gradient steps.

    The steps' rate and its decay, ``rate / (1 + decay * t)``, are chosen on validation tasks by ``tune``, which
    ``restore_best`` calls: the choice belongs to the weights then in force, and is not kept in a checkpoint. ``meta_batch`` is
    the batch of pretraining, 64 unless given. Batch-normalisation uses its running averages.

    Args:
        policy: see ``Agent``.
        env: see ``Agent``.
        rate: of the gradient steps, until it is tuned.
        pretraining_rate: of Adam in pretraining.
        options: what every agent takes; see ``Agent``.
    """

    RATES: ClassVar[tuple[float, ...]] = (0.5, 0.1, 0.01, 1e-3, 1e-4, 1e-5)
    DECAYS: ClassVar[tuple[float, ...]] = (1.0, 0.1, 0.01, 1e-3, 0.0)

    def __init__(
        self,
        policy: str | nn.Module,
        env: str | gym.Env[Any, Any],
        *,
        rate: float | Sequence[float] = 0.1,
        pretraining_rate: float = 1e-3,
        **options: Unpack[CommonOptions],
    ) -> None:
        options = {"inner_steps": 15, "meta_batch": 64, "batch_norm": "running", **options}
        outer = Pretraining(learning_rate=pretraining_rate)
        super().__init__(policy, env, rule=GradientDescent, rule_kwargs={"rate": rate}, outer=outer, **options)

    def learn(self, *args: Any, **kwargs: Any) -> Self:
        """Pretrain; validations take steps of the untuned rate. See ``Agent.learn`` for the arguments."""
        self._set_rule(self.arguments["rule_kwargs"])
        return super().learn(*args, **kwargs)

    def restore_best(self) -> Self:
        """Go back to the best weights by validation, if there was a validation; and ``tune``."""
        super().restore_best()
        return self.tune()

    def tune(self, tasks: int = 20) -> Self:
        """Choose the rate and its decay by the accuracy on validation tasks after the last step.

        Args:
            tasks: how many validation tasks; every pair of rate and decay is tried on the same ones.
        """
        require_positive(tasks=tasks)
        scores = {}
        try:
            pairs = list(product(self.RATES, self.DECAYS))
            for pair in track(pairs, "tuning the rates", console=Console(stderr=True), transient=True):
                self._set_rule(self._decaying(*pair))
                scores[pair] = self.evaluate(tasks, split="validation").mean[-1]
        finally:  # interrupted: the best of those tried
            if scores:
                self._set_rule(self._decaying(*max(scores, key=lambda pair: scores[pair])))
        return self

    def _decaying(self, rate: float, decay: float) -> Mapping[str, Any]:
        return {"rate": [rate / (1 + decay * step) for step in range(max(1, self.inner.steps))]}

    def _set_rule(self, rule_kwargs: Mapping[str, Any]) -> None:
        rule = GradientDescent(self.inner.rule.layout, **rule_kwargs)
        self.inner.rule = rule.to(self.meta["theta"])
