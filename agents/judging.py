"""Judging an agent: evaluations on unseen tasks, and validations that keep the best iterate."""

from collections.abc import Mapping
from contextlib import closing, nullcontext
from typing import Any, Self

import gymnasium as gym
import numpy as np
import torch
from stable_baselines3.common.logger import Logger

from metarl import processes
from metarl.adapters import Adapter, Meta
from metarl.agents.sources import Source, make_env
from metarl.errors import ConfigError, require_whole
from metarl.evaluation import Evaluation, evaluate, measured_steps
from metarl.problems import Problem
from metarl.problems.base import SUCCESS
from metarl.progress import tracked
from metarl.streams import stream

EVALUATION_SEED = 2**20
"""The seed of evaluations unless another is given: agents are compared on the same tasks."""


class Judged:
    """What can be judged: an adapter, its meta-parameters, and the source of its tasks."""

    adapter: Adapter
    best: dict[str, Any] | None
    device: torch.device
    env: gym.Env[Any, Any]
    iteration: int
    meta: Meta
    meta_batch: int
    source: Source

    @property
    def follows_ways(self) -> bool:
        """Whether tasks of other ways than in training can be adapted to."""
        return False

    @property
    def logger(self) -> Logger:
        """Where a validation's metric goes."""
        raise NotImplementedError

    def evaluate(
        self,
        tasks: int = 600,
        steps: int | None = None,
        *,
        split: str = "test",
        seed: int = EVALUATION_SEED,
        repeats: int = 1,
        env: str | gym.Env[Any, Any] | None = None,
        env_kwargs: Mapping[str, Any] | None = None,
        progress_bar: bool = False,
    ) -> Evaluation:
        """Measure returns, accuracies or losses after 0, 1, ... inner steps on unseen tasks, of another family too.

        Args:
            tasks: how many.
            steps: inner steps, if other than in training.
            split: ``"test"``, ``"validation"`` or ``"train"``.
            seed: of tasks and noise: the same seed pairs two agents' evaluations.
            repeats: adaptations to each task, with new data; a task's value is their mean.
            env: another environment than in training, by id or made, of the same shapes: cross-domain evaluation.
            env_kwargs: arguments of the environment that differ from those in training, such as ``{"shots": 10}``; all of
                another environment's.
            progress_bar: show how many tasks are done.

        Raises:
            ConfigError: a count out of range, or more tasks or repeats than a fixed set has.
        """
        require_whole(tasks=tasks, repeats=repeats)
        require_steps(steps)
        source, made = self.source, self.env
        if env is not None or env_kwargs is not None:
            made = make_env(env, env_kwargs or {}) if env is not None else self.changed_env(env_kwargs or {})
            source = self.source.elsewhere(made, self.follows_ways)
        adapter = self.over(source.problem)
        steps = adapter.steps if steps is None else steps
        at_once = source.evaluation_batch(adapter, self.meta, steps, self.meta_batch)
        batches = source.batches(tasks, split, stream(seed, "evaluation tasks", self.device), repeats, at_once)
        is_shown, count = progress_bar and processes.rank() == 0, source.problem.count
        shown = closing(tracked(batches, tasks * repeats, count)) if is_shown else nullcontext(batches)
        try:
            with shown as parts:
                measured = evaluate(adapter, self.meta, parts, stream(seed, "evaluation noise", self.device), steps)
        finally:
            if source is not self.source:
                source.problem.close()
            if made is not self.env and made is not env:  # made here, and done with
                made.close()
        about = tuple(measured_steps(steps)), adapter.learner.batch_norm, adapter.stage
        values = {name: of_all.reshape(tasks, repeats, -1).mean(axis=1) for name, of_all in measured.items()}
        success = Evaluation(SUCCESS, values[SUCCESS], *about) if SUCCESS in values else None
        return Evaluation(source.problem.metric, values[source.problem.metric], *about, success)

    def over(self, problem: Problem[Any]) -> Adapter:
        """Return the agent's adapter on a problem; what it does there does not count as training's time."""
        return self.adapter.over(problem)

    def changed_env(self, env_kwargs: Mapping[str, Any]) -> gym.Env[Any, Any]:
        """Return a new environment like the agent's, with some arguments changed.

        Raises:
            ConfigError: the agent's environment has no id.
        """
        if self.env.spec is None:
            raise ConfigError("env_kwargs needs an environment with an id; this agent was given one that was never registered")
        spec = self.env.spec
        limit = {} if spec.max_episode_steps is None else {"max_episode_steps": spec.max_episode_steps}
        return make_env(spec.id, {**limit, **spec.kwargs, **env_kwargs})

    def validate(self, tasks: int = 100) -> float:
        """Evaluate on validation tasks, keep the meta-parameters if they are the best so far, and return the metric."""
        evaluation = self.evaluate(tasks, split="validation", seed=EVALUATION_SEED + 1)
        value = float(evaluation.mean[-1])
        self.logger.record(f"validation/{evaluation.metric}", value)
        if evaluation.success is not None:
            self.logger.record(f"validation/{SUCCESS}", float(evaluation.success.mean[-1]))
        score = self.adapter.problem.sign * value
        if np.isfinite(score) and (self.best is None or score > self.best["score"]):
            self.best = {"score": score, "iteration": self.iteration, "meta": dict(self.meta)}
        return value

    def restore_best(self) -> Self:
        """Go back to the best meta-parameters by validation, if there was a validation."""
        if self.best is not None:
            self.meta = dict(self.best["meta"])
        return self


def require_steps(steps: int | None) -> None:
    """Raise ConfigError for a number of inner steps that is not whole, or negative."""
    if steps is not None and (steps < 0 or int(steps) != steps):
        raise ConfigError(f"steps={steps} must be a whole number, not negative")
