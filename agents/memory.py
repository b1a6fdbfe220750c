"""Agents that read the support set as a sequence: the base of MANN and of the LSTM."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import torch

from metarl import processes
from metarl.adapters import ReadingAdapter
from metarl.adapters.memory.recurrent import LossOn
from metarl.agents.judging import EVALUATION_SEED
from metarl.agents.pictures import Pictures, Unseen, memory
from metarl.agents.reading import ReadingAgent, ReadingOptions
from metarl.errors import ConfigError, require_whole
from metarl.evaluation import Evaluation, by_instance
from metarl.streams import stream


class MemoryAgent(ReadingAgent):
    """Reads the support set example by example, and predicts each before its label is seen; it has a ``MemoryReader``."""

    def accuracy_by_instance(
        self,
        tasks: int = 600,
        instances: int = 10,
        *,
        split: str = "test",
        seed: int = EVALUATION_SEED,
        env_kwargs: Mapping[str, Any] | None = None,
    ) -> Evaluation:
        """Measure accuracy at the first, second, ... presentation of a class, in sequences of unseen tasks in random order.

        The first is a guess, at best among the classes that have not come yet; the second is after one look, as 1-shot is.

        Args:
            tasks: how many.
            instances: of each class.
            split: ``"test"``, ``"validation"`` or ``"train"``.
            seed: of the tasks.
            env_kwargs: arguments of the environment that differ from those in training.

        Returns:
            Its ``steps`` are the instances from 1 on, its ``values`` of shape (tasks, instances).

        Raises:
            ConfigError: a count that is not positive, tasks without classes, or a sequence that the memory cannot hold.
        """
        require_whole(tasks=tasks, instances=instances)
        if self.source.problem.metric != "accuracy":
            raise ConfigError(f"accuracy_by_instance() is of classes, and env={self.env_name or self.env} has none: evaluate()")
        env = self.changed_env({**(env_kwargs or {}), "shots": instances, "queries": 1})
        source = self.source.elsewhere(env, self.follows_ways)
        adapter = cast(ReadingAdapter, self.over(source.problem))
        at_once = source.evaluation_batch(adapter, self.meta, 0, self.meta_batch)
        generator = stream(seed, "evaluation noise", self.device)
        rows = []
        try:
            with torch.no_grad(), processes.alone():
                for episodes in source.batches(tasks, split, stream(seed, "evaluation tasks", self.device), 1, at_once):
                    kept, _ = adapter.adapt(self.meta, episodes, generator).adapted[-1]
                    predictions = torch.vmap(partial(adapter.call, self.meta, "on_the_way"))(kept).argmax(-1)
                    targets = episodes.support.targets
                    rows.append(by_instance((predictions == targets).double(), targets))
        finally:
            env.close()
        values = torch.cat(rows).cpu().numpy()
        return Evaluation("accuracy", values, tuple(range(1, instances + 1)), adapter.learner.batch_norm, "instance")

    def adapter_pictures(self, unseen: Unseen) -> Pictures:
        """Return what is read of the memory as an unseen sequence goes on, and the accuracy by instance."""
        return memory.draw(self, unseen)


@dataclass(frozen=True)
class RecurrentOptions(ReadingOptions):
    """What agents take whose memory is recurrent."""

    meta_batch: int | None = 16
    """Tasks in an outer step, as Santoro et al. have it."""
    hidden: int = 200
    """Units of the LSTM."""
    loss_on: LossOn = "sequence"
    """What is minimised: predictions on the way through the support set and answers alike (sequence), or answers (queries)."""


class RecurrentAgent(MemoryAgent):
    """Reads the support set into the state of a recurrent core; its reader is a ``RecurrentReader``."""

    Options = RecurrentOptions  # type: ignore[assignment]
