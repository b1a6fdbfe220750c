"""The agent: one class that meta-trains policies and predictors alike, with Stable-Baselines3's habits."""

import inspect
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Self

import gymnasium as gym
import numpy as np
import torch
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecEnv
from torch import nn

from metarl import checkpoint, processes
from metarl.adapters import Adapter, GradientAdapter, Meta
from metarl.adapters.base import Adapted, has_seen_nothing
from metarl.agents import building, pictures, saving, sb3_models, training, videos
from metarl.agents.judging import Judged, require_steps
from metarl.agents.options import GradientOptions, Options, checked, device_of, signature
from metarl.agents.pictures import Pictures, Unseen, gradient_steps
from metarl.agents.sb3 import SB3Habits
from metarl.agents.sources import Source, make_env, name_of
from metarl.agents.videos import Video
from metarl.fields import documented
from metarl.learner import Layout, Learner
from metarl.outer import OuterLoop
from metarl.problems import Rollouts
from metarl.rules import UpdateRule
from metarl.streams import stream


class Agent(SB3Habits, Judged):
    """Meta-trains a learner with an update rule, in any task family or few-shot episodes.

    Args:
        policy: ``"MlpPolicy"`` for policies, the name of one of the family's networks for predictors (``"MLP"`` for sine
            waves), or an ``nn.Module``: of a policy the network that gives means or logits, of a predictor the predictor.
        env: a Gymnasium id, or an environment.
        outer: ``"trpo"`` (the default for policies) or ``"policy_gradient"``, ``"gradient_descent"`` (the default for
            predictors), another registered outer loop's name, or a configured one such as ``metarl.TRPO(...)``.
        rollouts: how trajectories are sampled (policies only).
        verbose: 0 silent, 1 tables of the log.
        tensorboard_log: the folder for TensorBoard, or None.
        options: the fields of the class's ``Options``, by name; ``help(metarl.MAML.Options)`` says what each is.

    Attributes:
        meta: the meta-parameters, by name.
        outer_state: what the outer loop remembers.
        iteration: outer steps taken.
        num_timesteps: environment steps taken by policies, tasks (in pretraining: images) seen by predictors.
        best: the best meta-parameters by validation, with their score and iteration; None before the first validation.

    Raises:
        ConfigError: an argument that cannot be used.
        TaskError: an environment without tasks.
    """

    @dataclass(frozen=True)
    class Options(GradientOptions):
        """What an agent with a rule of its user's takes."""

        rule: type[UpdateRule] | None = None
        """The update rule's class, called with theta's layout and ``rule_kwargs``."""
        rule_kwargs: Mapping[str, Any] = field(default_factory=dict)
        """The rule's other arguments."""

    embeds: ClassVar[bool] = False
    """Whether the network is an embedding, without a layer for the classes."""
    default_outer: ClassVar[str | None] = None
    """The outer loop's name unless the user says; None for the world's own default."""

    def __init__(
        self,
        policy: str | nn.Module,
        env: str | gym.Env[Any, Any],
        *,
        outer: str | OuterLoop | None = None,
        rollouts: Rollouts | None = None,
        verbose: int = 0,
        tensorboard_log: str | None = None,
        **options: Any,
    ) -> None:
        self.options = checked(self.Options, type(self).__name__, options)
        super().__init__(verbose, tensorboard_log)
        self.device = device_of(self.options.device)
        self.policy_name, self.env_name = (given if isinstance(given, str) else None for given in (policy, env))
        self.env = make_env(env, self.options.env_kwargs)
        self._made_env = self.env is not env
        self.source = self.make_source(rollouts)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(stream(self.options.seed, "weights").initial_seed())
            network = self.source.network(policy, self.options.policy_kwargs, self.embeds)
            self.adapter, self.meta = self.make_adapter(network)
        if has_seen_nothing(self.meta):  # averages of nothing would be far off
            first = self.source.first_inputs(stream(self.options.seed, "averages", self.device))
            self.meta = self.meta if first is None else self.adapter.track(self.meta, first)
        self.outer = self.make_outer(outer)
        self.outer.check(self.adapter)
        self.outer_state = self.outer.init(self.adapter, self.meta, stream(self.options.seed, "outer loop"))
        self.meta_batch: int = self.options.meta_batch or self.source.default_meta_batch
        self.streams = {name: stream(self.options.seed, name, self.device) for name in ("tasks", "noise", "adaptation")}
        self.iteration = 0
        self.num_timesteps = 0
        self.best: dict[str, Any] | None = None

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        documented(cls.Options)
        cls.__signature__ = _signature(cls.Options)  # type: ignore[attr-defined]

    def __repr__(self) -> str:
        policy = self.policy_name or type(self.adapter.learner.structure).__name__
        return f"<{type(self).__name__} with {policy} on {name_of(self.env)}, after {self.iteration} iterations>"

    # -- what a kind of agent says

    def make_source(self, rollouts: Rollouts | None) -> Source:
        """Return where tasks come from; an agent that wants them sampled in another way says how."""
        return building.make_source(type(self), self.env, self.options, rollouts, self.device)

    def make_rule(self, layout: Layout) -> UpdateRule:
        """Return the update rule for theta's layout; an agent of another kind of rule says its own."""
        return building.make_rule(self.options.rule, layout, self.options.rule_kwargs)

    def make_adapter(self, network: nn.Module) -> tuple[Adapter, Meta]:
        """Return how tasks change the network, and where meta-learning starts."""
        options = self.options
        learner = Learner(network, options.adapted, options.batch_norm)
        rule = self.make_rule(learner.layout).to(next(network.parameters()))
        problem, steps = self.source.problem, options.inner_steps
        adapter = GradientAdapter(problem, learner, rule, steps, options.first_order, options.inner_clip)
        return adapter, adapter.initial_meta(network, rule)

    def make_outer(self, outer: str | OuterLoop | None) -> OuterLoop:
        """Return the outer loop that a user's argument means."""
        return building.make_outer(outer, self.source.world, self.default_outer or self.source.default_outer)

    def adapter_pictures(self, unseen: Unseen) -> Pictures:
        """Return the pictures, by name, of what the adapter does; an agent of another kind of adapter says its own."""
        return gradient_steps.draw(self, unseen)

    # -- learning

    def learn(
        self,
        iterations: int,
        callback: BaseCallback | Sequence[BaseCallback] | Any = None,
        log_interval: int = 1,
        tb_log_name: str | None = None,
        progress_bar: bool = False,
        validate_every: int = 0,
        validation_tasks: int = 100,
        picture_every: int = 0,
        video_every: int = 0,
    ) -> Self:
        """Take outer steps; again for more: a run in pieces (of whole calls, see ``steps_per_call``) equals a run in one.

        Args:
            iterations: how many outer steps.
            callback: SB3 callbacks, or a function; ``on_step`` comes after every outer step, and after a call of several
                as often as it has steps.
            log_interval: outer steps between two entries of the log.
            tb_log_name: the run's name under ``tensorboard_log``; the agent's name by default.
            progress_bar: show the metric that matters as it changes.
            validate_every: outer steps between two evaluations on validation tasks, which keep the best iterate; 0 for none.
            validation_tasks: how many tasks each uses.
            picture_every: outer steps between two pictures in TensorBoard; 0 for none.
            video_every: outer steps between two videos in TensorBoard, see ``videos``; 0 for none.

        Raises:
            ConfigError: a count that is not positive, or a video where nothing can be drawn.
            NonFiniteError: a loss or reward that is not finite; the outer step was refused, ``meta`` is as before it.
        """
        plan = training.Plan(iterations, log_interval, validate_every, validation_tasks, picture_every, video_every)
        training.learn(self, plan, callback, tb_log_name or type(self).__name__, progress_bar)
        return self

    # -- using what was learned

    def adapt(self, env: Any, steps: int | None = None) -> Any:
        """Adapt to one task.

        Args:
            env: for a policy, an environment, whose own task is learned from fresh trajectories; for a predictor, an
                observation of an episode environment, or such an environment.
            steps: inner steps, if other than in training.

        Returns:
            An SB3-style policy, or a predictor.
        """
        require_steps(steps)
        adapter, adapted = self.adapted_to(env, steps)
        return self.source.wrap(adapter, self.meta, adapted)

    def adapted_to(self, env: Any, steps: int | None = None) -> tuple[Adapter, Adapted]:
        """Return what one task becomes, and the adapter that applies it; see ``adapt``."""
        problem, tasks = self.source.own_task(env)
        adapter = self.over(problem)
        try:
            with torch.no_grad(), processes.alone():
                adaptation = adapter.adapt(self.meta, tasks, self.streams["adaptation"], steps)
        finally:
            if problem is not self.adapter.problem:
                problem.close()
        return adapter, adapter.row(adaptation.adapted[-1], 0)

    def to_sb3(self, algorithm: Any, env: gym.Env[Any, Any] | VecEnv, *, steps: int = 0, **kwargs: Any) -> Any:
        """Return a Stable-Baselines3 model that starts at the meta-learned policy and goes on with SB3's own learning.

        Its critic is new. Means, logits and deviations are the policy's; SB3 clips actions to their space, as metarl does.

        Args:
            algorithm: ``PPO`` or ``A2C`` of Stable-Baselines3, or another of its on-policy algorithms.
            env: what it learns in, such as a ``TaskVecEnv``; for ``steps`` a single environment.
            steps: inner steps on ``env``'s own task before; 0 to start at the policy before adaptation.
            kwargs: the algorithm's other arguments, such as ``learning_rate``.

        Raises:
            ConfigError: an algorithm without a stochastic actor, or a policy that SB3's ``MlpPolicy`` is not like.
        """
        require_steps(steps)
        return sb3_models.to_sb3(self, algorithm, env, steps, **kwargs)

    @classmethod
    def from_sb3(cls, model: Any, env: str | gym.Env[Any, Any], **options: Any) -> Self:
        """Return an agent whose meta-learning starts at a Stable-Baselines3 model's actor; its critic is left behind.

        Args:
            model: a ``PPO`` or ``A2C`` with an ``MlpPolicy``.
            env: the family.
            options: as the constructor takes them.

        Raises:
            ConfigError: a model of another kind.
        """
        agent: Self = sb3_models.from_sb3(cls, model, env, **options)
        return agent

    def close(self) -> None:
        """Close the environments that the agent made."""
        self.source.close()
        if self._made_env:
            self.env.close()

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = False
    ) -> tuple[Any, Any]:
        """Act by the policy before adaptation; or adapt to an episode's support set and predict its query set."""
        if self.adapter.problem.on_policy:
            policy = self.source.wrap(self.adapter, self.meta, self.adapter.row(self.adapter.replay(self.meta, [], 1), 0))
            action, state = policy.predict(observation, state, episode_start, deterministic)
            return action, state
        rows = self.source.split_of(observation)
        if rows is not None:  # from a vector environment: each row is a task of its own
            return np.stack([self.predict(row)[0] for row in rows]), state
        return self.adapt(observation).predict(observation["query_inputs"]), state

    def pictures(self) -> Pictures:
        """Return matplotlib figures by name: adaptation on unseen tasks, and a learned rule's updates, gates and rates."""
        return pictures.draw(self)

    def videos(self, tasks: int = 2, steps: int | None = None) -> dict[str, Video]:
        """Return videos by name: a policy on unseen tasks, before adaptation and after 1, 2, ... inner steps, side by side.

        Of a policy that remembers: the episodes of a trial. Actions are samples, as in training and evaluation. The start and
        what happens by chance are the same in all panels as far as the environment's seed fixes them.

        Args:
            tasks: how many, of the unseen ones of ``pictures``; different ones first.
            steps: inner steps (episodes before the last one); unless given as in training, and at least three inner steps if it
                takes any.

        Raises:
            ConfigError: there is nothing to draw, or nothing to draw with.
        """
        require_steps(steps)
        return videos.film(self, tasks, steps)

    # -- keeping

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write everything a resumed run needs to a file, whole or not at all; return its path."""
        return checkpoint.write(path, saving.content(self))

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str],
        env: str | gym.Env[Any, Any] | None = None,
        policy: str | nn.Module | None = None,
        rule: type[UpdateRule] | None = None,
        outer: OuterLoop | None = None,
        *,
        env_kwargs: Mapping[str, Any] | None = None,
        device: str = "auto",
        verbose: int = 0,
        tensorboard_log: str | None = None,
    ) -> Self:
        """Return the agent that ``save`` wrote, ready to be used or trained on.

        Args:
            path: what ``save`` returned.
            env: needed if the agent was given an environment rather than an id, or an id of a module that is not imported.
            policy: needed if the agent was given a module: the same architecture again.
            rule: needed if the rule is not registered.
            outer: needed if the outer loop is not registered.
            env_kwargs: the environment's arguments that have changed since, such as the ``root`` of a data set.
            device: where to put it.
            verbose: as in the constructor.
            tensorboard_log: as in the constructor.

        Raises:
            CheckpointError: the file is missing, truncated, foreign, damaged, of another agent, or needs what was not
                handed in.
        """
        given = saving.Given(env, policy, rule, outer, dict(env_kwargs or {}), device, verbose, tensorboard_log)
        agent: Self = saving.load(cls, path, given)
        return agent


def _signature(options: type[Options]) -> inspect.Signature:
    """Return a constructor's signature with the options by name."""
    before = [p for p in inspect.signature(Agent.__init__).parameters.values() if p.name not in ("self", "options")]
    return signature(options, before)


documented(Agent.Options)  # a class is no subclass of itself
