"""The agent: one class that meta-trains policies and predictors alike, with Stable-Baselines3's habits."""

import copy
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, is_dataclass
from pathlib import Path
from time import perf_counter
from typing import Any, ClassVar, Self, TypedDict

import gymnasium as gym
import numpy as np
import torch
from stable_baselines3.common.callbacks import BaseCallback, CallbackList, ConvertCallback
from stable_baselines3.common.logger import Figure, HParam, Logger
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.utils import configure_logger
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv
from torch import Tensor, nn

from metarl import checkpoint, processes
from metarl.adaptation import InnerLoop
from metarl.agents import pictures, saving
from metarl.agents.callbacks import ProgressCallback
from metarl.agents.evaluation import Evaluation
from metarl.agents.worlds import EpisodeWorld, PolicyWorld, World, make_env, make_world
from metarl.batch_norm import Statistics
from metarl.errors import CheckpointError, ConfigError, NonFiniteError, require_positive, unknown_name
from metarl.learner import Layout
from metarl.logger import figures, measure_steps, measured_steps, seconds_by_part
from metarl.outer import TRPO, GradientDescent, Outcome, OuterLoop, Pretraining
from metarl.problems import Rollouts, SupervisedProblem
from metarl.rules import UpdateRule

OUTER = {"trpo": TRPO, "policy_gradient": GradientDescent, "gradient_descent": GradientDescent}
DTYPES = {"float32": torch.float32, "float64": torch.float64}
EVALUATION_SEED = 2**20
"""The seed of evaluations unless another is given: agents are compared on the same tasks."""


class CommonOptions(TypedDict, total=False):
    """What every agent takes, beside its policy, environment, rule and outer loop; see ``Agent``."""

    inner_steps: int
    first_order: bool
    inner_clip: float | None
    meta_batch: int
    adapted: str | Sequence[str]
    batch_norm: Statistics
    support_batch: int | None
    rollouts: Rollouts | None
    policy_kwargs: Mapping[str, Any] | None
    env_kwargs: Mapping[str, Any] | None
    seed: int
    device: str
    dtype: str
    verbose: int
    tensorboard_log: str | None


class AgentOptions(CommonOptions, total=False):
    """And the outer loop."""

    outer: str | OuterLoop | None


class Agent:
    """Meta-trains a learner with an update rule, in any task family or few-shot episodes.

    Args:
        policy: ``"MlpPolicy"`` for policies, the name of one of the family's networks for predictors (``"MLP"`` for sine
            waves), or an ``nn.Module``: of a policy the network that gives means or logits, of a predictor the predictor.
        env: a Gymnasium id, or an environment.
        rule: the update rule's class, called with theta's layout and ``rule_kwargs``.
        rule_kwargs: the rule's other arguments.
        outer: ``"trpo"`` (the default for policies), ``"policy_gradient"``, ``"gradient_descent"`` (the default for
            predictors), or a configured ``TRPO(...)``, ``GradientDescent(...)``, ``HypergradientDescent(...)`` or
            ``Pretraining(...)``.
        inner_steps: T, the inner steps in training.
        first_order: treat inner gradients and losses as constants.
        inner_clip: clip every entry of the inner gradients to plus or minus this, or None.
        meta_batch: tasks in an outer step; 20 for policies and 4 for predictors unless given.
        adapted: which parameters the inner loop changes: ``"all"``, ``"head"`` (ANIL), or name patterns.
        batch_norm: whose statistics batch-normalisation uses: ``"batch"``, ``"support"`` or ``"running"``; see ``Learner``.
        support_batch: how many support examples each inner step sees, drawn with replacement; None for all (predictors only).
        rollouts: how trajectories are sampled (policies only).
        policy_kwargs: arguments of a policy given by name, such as ``{"hidden": (64, 64), "activation": "tanh"}``.
        env_kwargs: arguments of an environment given by id.
        seed: fixes the run: on one CPU bit for bit.
        device: ``"auto"``, ``"cpu"``, ``"cuda"``.
        dtype: ``"float32"`` or ``"float64"``.
        verbose: 0 silent, 1 tables of the log.
        tensorboard_log: the folder for TensorBoard, or None.

    Attributes:
        meta: the meta-parameters, by name.
        iteration: outer steps taken.
        num_timesteps: environment steps taken by policies, tasks (in pretraining: images) seen by predictors.
        best: the best meta-parameters by validation, with their score and iteration; None before the first validation.

    Raises:
        ConfigError: an argument that cannot be used.
        TaskError: an environment without tasks.
    """

    predictor: ClassVar[type[SupervisedProblem]] = SupervisedProblem
    """How a predictor's outputs come about."""

    def __init__(
        self,
        policy: str | nn.Module,
        env: str | gym.Env[Any, Any],
        *,
        rule: type[UpdateRule],
        rule_kwargs: Mapping[str, Any] | None = None,
        outer: str | OuterLoop | None = None,
        inner_steps: int = 1,
        first_order: bool = False,
        inner_clip: float | None = None,
        meta_batch: int | None = None,
        adapted: str | Sequence[str] = "all",
        batch_norm: Statistics = "batch",
        support_batch: int | None = None,
        rollouts: Rollouts | None = None,
        policy_kwargs: Mapping[str, Any] | None = None,
        env_kwargs: Mapping[str, Any] | None = None,
        seed: int = 0,
        device: str = "auto",
        dtype: str = "float32",
        verbose: int = 0,
        tensorboard_log: str | None = None,
    ) -> None:
        if rollouts is not None and not isinstance(rollouts, Rollouts):
            raise ConfigError(f"rollouts={rollouts!r} must be a metarl.Rollouts(...)")
        if dtype not in DTYPES:
            raise unknown_name("dtype", dtype, DTYPES)
        self.device = _device(device)
        self.verbose = verbose
        self.tensorboard_log = tensorboard_log
        self.seed = seed
        self.generator = torch.Generator(self.device).manual_seed(seed)
        self._adapt_generator = torch.Generator(self.device).manual_seed(seed)  # its own: adapt() must not change a run
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.env = make_env(env, env_kwargs or {})
            self.world: World = make_world(
                policy,
                self.env,
                adapted=adapted,
                batch_norm=batch_norm,
                support_batch=support_batch,
                predictor=self.predictor,
                policy_kwargs=policy_kwargs or {},
                rollouts=rollouts or Rollouts(),
                device=self.device,
                dtype=DTYPES[dtype],
            )
            made = _make_rule(rule, self.world.problem.learner.layout, rule_kwargs or {}).to(self.device, DTYPES[dtype])
        is_policy = isinstance(self.world, PolicyWorld)
        self.meta_batch = (20 if is_policy else 4) if meta_batch is None else meta_batch
        require_positive(meta_batch=self.meta_batch)
        if is_policy:
            self.world.evaluation_batch = self.meta_batch
        else:
            # what a batch's step works with should fit into a CPU's cache or a GPU's memory, all steps' parameters into memory
            numbers, kept = (2**20, 2**27) if self.device.type == "cpu" else (2**28, 2**31)
            learner = self.world.problem.learner
            width, full = made.width * learner.layout.size, learner.layout.size + learner.shared_layout.size
            fits = min(numbers // width, kept // ((inner_steps + 1) * full))
            self.world.evaluation_batch = min(self.world.evaluation_batch, max(1, fits))
        if rollouts is not None and not is_policy:
            raise ConfigError(f"rollouts={rollouts!r} is for policies; {env} has few-shot episodes, which are not sampled")
        self.outer = _make_outer(outer, "trpo" if is_policy else "gradient_descent")
        self.inner = InnerLoop(self.world.problem, made, inner_steps, first_order, inner_clip)
        self.outer.check(self.inner)
        self.meta = self.inner.initial_meta()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed + 1)
            if isinstance(self.outer, Pretraining):
                assert isinstance(self.world, EpisodeWorld), "its check refuses policies"
                self.outer.classes = self.world.count_classes()
            self.outer.start(self.meta)
        self.iteration = 0
        self.num_timesteps = 0
        self.best: dict[str, Any] | None = None
        self._logger: Logger | None = None
        self._latest = ""
        self._vec_env: VecEnv | None = None
        self.arguments: dict[str, Any] = {
            "policy": policy if isinstance(policy, str) else None,
            "env": env if isinstance(env, str) else None,
            "rule": rule.__name__,
            "rule_kwargs": dict(rule_kwargs or {}),
            "outer": {"name": type(self.outer).__name__, **(asdict(self.outer) if is_dataclass(self.outer) else {})},
            "inner_steps": inner_steps,
            "first_order": first_order,
            "inner_clip": inner_clip,
            "meta_batch": self.meta_batch,
            "adapted": adapted if isinstance(adapted, str) else list(adapted),
            "batch_norm": batch_norm,
            "support_batch": support_batch,
            "rollouts": asdict(rollouts or Rollouts()) if is_policy else None,
            "policy_kwargs": dict(policy_kwargs or {}),
            "env_kwargs": dict(env_kwargs or {}),
            "seed": seed,
            "dtype": dtype,
        }

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
        figure_every: int = 0,
    ) -> Self:
        """Take outer steps; again for more: a run in pieces equals a run in one.

        Args:
            iterations: how many outer steps.
            callback: SB3 callbacks, or a function; ``on_step`` comes after every outer step.
            log_interval: outer steps between two entries of the log.
            tb_log_name: the run's name under ``tensorboard_log``; the agent's name by default.
            progress_bar: show the figure that matters as it changes.
            validate_every: outer steps between two evaluations on validation tasks, which keep the best iterate; 0 for none.
            validation_tasks: how many tasks each uses.
            figure_every: outer steps between two pictures in TensorBoard; 0 for none.

        Raises:
            ConfigError: a count that is not positive.
            NonFiniteError: a loss or reward that is not finite; the outer step was refused, ``meta`` is as before it.
        """
        require_positive(iterations=iterations, log_interval=log_interval, validation_tasks=validation_tasks)
        if iterations != int(iterations):
            raise ConfigError(f"iterations={iterations} must be a whole number")
        if validate_every < 0 or figure_every < 0:
            raise ConfigError(f"validate_every={validate_every} and figure_every={figure_every} must not be negative")
        if validate_every:  # a split with too few tasks is said before the work, not after some of it
            self.world.sample(1, "validation", torch.Generator(self.device))
        if figure_every:
            self.world.sample(1, "test", torch.Generator(self.device))
        self._start_logger(tb_log_name or type(self).__name__)
        hooks = self._callbacks(callback, iterations, progress_bar)
        hooks.on_training_start(locals(), globals())
        try:
            self._learn(hooks, iterations, log_interval, validate_every, validation_tasks, figure_every)
        finally:
            hooks.on_training_end()
        return self

    def _learn(
        self,
        hooks: BaseCallback,
        iterations: int,
        log_interval: int,
        validate_every: int,
        validation_tasks: int,
        figure_every: int,
    ) -> None:
        started, timesteps = perf_counter(), self.num_timesteps
        since = 0
        for _ in range(int(iterations)):
            hooks.on_rollout_start()
            report = (self.iteration + 1) % log_interval == 0
            outcome = self._outer_step(report)
            since += 1
            if report:
                seconds = max(perf_counter() - started, 1e-9)
                self._record(outcome, seconds, self.num_timesteps - timesteps, since)
            if validate_every and self.iteration % validate_every == 0:
                self.validate(validation_tasks)
            if figure_every and self.iteration % figure_every == 0:
                for name, figure in self.pictures().items():
                    self.logger.record(f"figures/{name}", Figure(figure, close=True), exclude=("stdout", "log", "json", "csv"))
            if report:
                self.logger.dump(self.iteration)
                started, timesteps, since = perf_counter(), self.num_timesteps, 0
            hooks.update_locals(locals())
            hooks.on_rollout_end()
            if not hooks.on_step():
                break

    def _outer_step(self, report: bool) -> Outcome:
        before = self.generator.get_state()
        try:
            if isinstance(self.world, EpisodeWorld) and self.outer.learns_from == "examples":
                whole = tasks = self.world.examples(self.meta_batch, self.generator)  # its statistics cannot be shared out
            else:
                whole = self.world.sample(self.meta_batch, "train", self.generator, self.iteration * self.meta_batch)
                tasks = self.world.slice(whole, processes.own_rows(self.meta_batch)) if processes.count() > 1 else whole
            with self.inner.clock("outer step"):
                outcome = self.outer.step(self.inner, self.meta, tasks, self.generator, report)
        except NonFiniteError as error:
            self.generator.set_state(before)
            raise NonFiniteError(f"iteration {self.iteration + 1}: {error}") from error
        self.iteration += 1
        self.num_timesteps += self._timesteps(outcome)
        self.world.track(self.parameters, whole)
        return outcome

    def _timesteps(self, outcome: Outcome) -> int:
        if not isinstance(self.world, PolicyWorld) or outcome.adaptation is None:
            return self.meta_batch
        batches = [*outcome.adaptation.experiences, outcome.query]
        return round(float(processes.mean(torch.stack([batch.lengths.sum() for batch in batches]).sum())) * processes.count())

    def _record(self, outcome: Outcome, seconds: float, timesteps: int, iterations: int) -> None:
        """Put one outer step's figures into the log."""
        found = figures(self.inner, self.meta, outcome) | seconds_by_part(self.inner, iterations)
        problem = self.world.problem
        unit = "env_steps" if problem.on_policy else "tasks"
        found[f"time/{unit}_per_second"] = timesteps / seconds
        found["time/iterations_per_second"] = iterations / seconds
        found[f"time/total_{unit}"] = self.num_timesteps
        found["time/iterations"] = self.iteration
        for name, value in found.items():
            self.logger.record(name, value)
        if outcome.adaptation is not None:
            first, last = (found[f"{problem.figure}/after_{step}_steps"] for step in (0, self.inner.steps))
            self._latest = f"{problem.figure} {first:.2f} -> {last:.2f}"
        else:
            self._latest = f"loss {float(outcome.loss):.2f}"

    def summary(self) -> str:
        """Return the figure that matters, before and after adaptation, as last logged; for a progress bar."""
        return self._latest

    # -- using what was learned

    @property
    def parameters(self) -> Tensor:
        """The full parameters before adaptation, shape (P + S,)."""
        theta = self.meta["theta"]
        return self.world.problem.learner.join(theta, self.meta.get("shared", theta.new_zeros(0))).detach()

    def adapt(self, env: Any, steps: int | None = None) -> Any:
        """Adapt to one task.

        Args:
            env: for a policy, an environment, whose own task is learned from fresh trajectories; for a predictor, an
                observation of an episode environment, or such an environment.
            steps: inner steps, if other than in training.

        Returns:
            An SB3-style policy, or a predictor.
        """
        if steps is not None and steps < 0:
            raise ConfigError(f"steps={steps} must not be negative")
        problem, tasks = self.world.own_task(env)
        inner = InnerLoop(problem, self.inner.rule, self.inner.steps, clip=self.inner.clip)
        try:
            with torch.no_grad(), processes.alone():
                adaptation = inner.adapt(self.meta, tasks, self._adapt_generator, steps)
        finally:
            if problem is not self.world.problem:
                problem.close()
        return self.world.wrap(adaptation.adapted[0], tasks)

    def close(self) -> None:
        """Close the environments that the agent made."""
        self.world.problem.close()

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = False
    ) -> tuple[Any, Any]:
        """Act by the policy before adaptation; or adapt to an episode's support set and predict its query set."""
        if isinstance(self.world, EpisodeWorld):
            single = self.env.observation_space["support_inputs"].shape  # type: ignore[index]
            if np.ndim(observation["support_inputs"]) > len(single):  # from a vector environment: each row is its own task
                rows = [{name: part[i] for name, part in observation.items()} for i in range(len(observation["query_inputs"]))]
                return np.stack([self.predict(row)[0] for row in rows]), state
            return self.adapt(observation).predict(observation["query_inputs"]), state
        policy = self.world.wrap(self.parameters, None)
        action, state = policy.predict(observation, state, episode_start, deterministic)
        return action, state

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
    ) -> Evaluation:
        """Measure returns, accuracies or losses after 0, 1, ... inner steps on unseen tasks, of another family too.

        Args:
            tasks: how many.
            steps: inner steps, if other than in training.
            split: ``"test"``, ``"validation"`` or ``"train"``.
            seed: of tasks and noise: the same seed pairs two agents' evaluations.
            repeats: adaptations to each task, with new data; a task's figure is their mean.
            env: another environment than in training, by id or made, of the same shapes: cross-domain evaluation.
            env_kwargs: arguments of the environment that differ from those in training, such as ``{"shots": 10}``; all of
                another environment's.

        Raises:
            ConfigError: a count out of range, or more tasks or repeats than a fixed set has.
        """
        require_positive(tasks=tasks, repeats=repeats)
        if steps is not None and steps < 0:
            raise ConfigError(f"steps={steps} must not be negative")
        world = self.world
        if env is not None:
            world = self.world.elsewhere(make_env(env, env_kwargs or {}))
        elif env_kwargs is not None:
            world = self.world.elsewhere(self._changed_env(env_kwargs))
        steps = self.inner.steps if steps is None else steps
        generator = torch.Generator(self.device).manual_seed(seed)
        # a predictor's inner steps may draw too: not from the tasks' generator, or agents would see other tasks
        noise = generator if isinstance(world, PolicyWorld) else torch.Generator(self.device).manual_seed(seed + 1)
        problem, rows = world.problem, []
        inner = InnerLoop(problem, self.inner.rule, self.inner.steps, clip=self.inner.clip)
        with torch.no_grad(), processes.alone():
            for batch in world.batches(tasks, split, generator, repeats):
                adaptation = inner.adapt(self.meta, batch, noise, steps)
                query = problem.collect(adaptation.adapted, batch, "query", noise)
                measures = [measure[problem.figure] for measure in measure_steps(problem, adaptation, query)]
                rows.append(torch.stack(measures, dim=1))
        values = torch.cat(rows).double().cpu().numpy()
        values = values.reshape(tasks, repeats, -1).mean(axis=1)
        return Evaluation(problem.figure, values, tuple(measured_steps(steps)), problem.learner.batch_norm)

    def _changed_env(self, env_kwargs: Mapping[str, Any]) -> gym.Env[Any, Any]:
        if self.env.spec is None:
            raise ConfigError("env_kwargs needs an environment with an id; this agent was given one that was never registered")
        return make_env(self.env.spec.id, {**self.env.spec.kwargs, **env_kwargs})

    def validate(self, tasks: int = 100) -> float:
        """Evaluate on validation tasks, keep the meta-parameters if they are the best so far, and return the figure."""
        evaluation = self.evaluate(tasks, split="validation", seed=EVALUATION_SEED + 1)
        figure = float(evaluation.mean[-1])
        self.logger.record(f"validation/{evaluation.figure}", figure)
        score = self.world.problem.gain * figure
        if np.isfinite(score) and (self.best is None or score > self.best["score"]):
            kept = {name: value.detach().clone() for name, value in self.meta.items()}
            running = {name: value.clone() for name, value in self.world.problem.learner.running.items()}
            self.best = {"score": score, "iteration": self.iteration, "meta": kept, "running": running}
        return figure

    def restore_best(self) -> Self:
        """Go back to the best meta-parameters by validation, if there was a validation."""
        if self.best is not None:
            self._set_meta(self.best["meta"], self.best.get("running", {}))
        return self

    def _set_meta(self, meta: Mapping[str, Tensor], running: Mapping[str, Tensor]) -> None:
        with torch.no_grad():
            for ours, theirs in ((self.meta, meta), (self.world.problem.learner.running, running)):
                for name, value in ours.items():
                    value.copy_(theirs[name])

    def pictures(self) -> dict[str, Any]:
        """Return matplotlib figures by name: adaptation on unseen tasks, and a learned rule's updates, gates and rates."""
        return pictures.draw(self)

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
            env: needed if the agent was given an environment rather than an id.
            policy: needed if the agent was given a module: the same architecture again.
            rule: needed if the rule is not one of ``metarl.rules``.
            outer: needed if the outer loop is not one of ``metarl.outer``.
            env_kwargs: the environment's arguments that have changed since, such as the ``root`` of a data set.
            device: where to put it.
            verbose: as in the constructor.
            tensorboard_log: as in the constructor.

        Raises:
            CheckpointError: the file is missing, truncated, foreign, of another agent, or needs what was not handed in.
        """
        content = checkpoint.read(path)
        if cls is not Agent and content["agent"] != cls.__name__:
            raise CheckpointError(
                f"checkpoint {path} holds a {content['agent']}, not a {cls.__name__}: use {content['agent']}.load"
            )
        if cls is Agent:
            cls = next((kind for kind in _descendants(cls) if kind.__name__ == content["agent"]), cls)
        arguments = saving.arguments(path, content, env, policy, rule, outer)
        arguments["env_kwargs"] = {**arguments["env_kwargs"], **(env_kwargs or {})}
        agent = cls.__new__(cls)
        Agent.__init__(agent, **arguments, device=device, verbose=verbose, tensorboard_log=tensorboard_log)
        saving.restore(path, content, agent)
        return agent

    # -- Stable-Baselines3's habits

    @property
    def logger(self) -> Logger:
        """SB3's logger."""
        if self._logger is None:
            self._start_logger(type(self).__name__)
        assert self._logger is not None
        return self._logger

    def set_logger(self, logger: Logger) -> None:
        """Log with this SB3 logger from now on."""
        self._logger = logger

    def _start_logger(self, name: str) -> None:
        if self._logger is not None:
            return
        quiet = processes.rank() > 0
        folder = None if quiet else self.tensorboard_log
        self._logger = configure_logger(0 if quiet else self.verbose, folder, name, reset_num_timesteps=True)
        flat = {
            key: value if isinstance(value, (int, float, str, bool)) else str(value) for key, value in self.arguments.items()
        }
        figure = f"{self.world.problem.figure}/after_{self.inner.steps}_steps"
        parameters = HParam(flat, {figure: 0.0, "train/adaptation_gain": 0.0})
        self._logger.record("hparams", parameters, exclude=("stdout", "log", "json", "csv"))

    def _callbacks(self, callback: Any, iterations: int, progress_bar: bool) -> BaseCallback:
        given = [] if callback is None else list(callback) if isinstance(callback, (list, tuple)) else [callback]
        hooks = [hook if isinstance(hook, BaseCallback) else ConvertCallback(hook) for hook in given]
        if progress_bar and processes.rank() == 0:
            hooks.append(ProgressCallback(iterations))
        joined = CallbackList(hooks)
        joined.init_callback(self)  # type: ignore[arg-type]
        return joined

    def get_env(self) -> VecEnv:
        """Return the environment as an SB3 vector environment, for SB3's callbacks."""
        if self._vec_env is None:
            self._vec_env = DummyVecEnv([lambda: Monitor(self.env)])
        return self._vec_env

    def get_vec_normalize_env(self) -> None:
        """Return None: observations are not normalised."""
        return None


def _descendants(kind: type[Agent]) -> list[Any]:
    return [heir for child in kind.__subclasses__() for heir in (child, *_descendants(child))]


def _device(name: str) -> torch.device:
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise unknown_name("device", name, ["auto", "cpu", "cuda"]) from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError(f"device={name!r} is not to be had: PyTorch sees no GPU here; use 'cpu' or 'auto'")
    return torch.device("cuda", torch.cuda.current_device()) if name == "cuda" else device


def _make_rule(rule: type[UpdateRule], layout: Layout, rule_kwargs: Mapping[str, Any]) -> UpdateRule:
    if not isinstance(rule, type) or not issubclass(rule, UpdateRule):
        raise ConfigError(f"rule={rule!r} must be a class derived from metarl.UpdateRule, such as metarl.rules.MetaSGD")
    try:
        return rule(layout, **rule_kwargs)
    except TypeError as error:
        raise ConfigError(f"rule_kwargs={dict(rule_kwargs)!r} does not fit {rule.__name__}: {error}") from error


def _make_outer(outer: str | OuterLoop | None, default: str) -> OuterLoop:
    if isinstance(outer, OuterLoop):
        return copy.deepcopy(outer)  # it may hold an optimiser, which belongs to one agent
    name = default if outer is None else outer
    if name not in OUTER:
        raise unknown_name("outer", name, OUTER)
    made: OuterLoop = OUTER[name]()
    return made
