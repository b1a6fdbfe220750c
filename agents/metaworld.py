"""Agents as Meta-World's own judge wants them: its protocol ``MetaLearningAgent``, for ``metaworld.evaluation``.

The judge steps Meta-World's vector environment, one task to a sub-environment: some episodes by ``adapt_action``, each step
told to ``step``, then ``adapt``, and at last episodes by ``eval_action``. Nothing here imports Meta-World.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, Protocol, cast

import gymnasium as gym
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils._pytree import tree_map

from metarl.adapters import Adapter, TrialAdapter
from metarl.adapters.memory.policy import by_row
from metarl.agents.base import Agent
from metarl.agents.judging import EVALUATION_SEED
from metarl.agents.trajectories import TrajectorySource
from metarl.errors import ConfigError
from metarl.problems import Samples
from metarl.sampling.spaces import flat_size
from metarl.sampling.trajectories import Trajectories, recall_size
from metarl.streams import stream
from metarl.tasks import Array

REWARD_SCALE = 10.0
"""What Meta-World divides rewards by before it shows them in observations."""


class Timestep(Protocol):
    """One step of all environments, as ``metaworld.evaluation.Timestep`` has it."""

    observation: Array
    action: Array
    reward: Array
    terminated: Array
    truncated: Array
    aux_policy_outputs: Mapping[str, Array]


class MetaWorldAgent:
    """Serves ``metaworld.evaluation.metalearning_evaluation``: MAML, Meta-SGD and their like, RL^2 and SNAIL's policy.

    A gradient learner takes an inner step at each ``adapt``, on the episodes since the last: ``adaptation_steps`` counts them.
    A policy with memory lives through all of them as one trial, and every evaluation episode begins with what it then
    remembers. It must be shown its rewards in evaluation too: make the environments with ``recurrent_info_in_obs=True``, which
    serves gradient learners as well. As in training, actions are clipped to their space.

    Args:
        agent: whose meta-parameters are judged, as they are at each ``init``.
        deterministic: whether evaluation takes the distributions' modes, as the judge's authors do; adaptation never does.
        seed: of the actions in adaptation.
        reward_scale: what a reward in an observation is multiplied with: 1 where Meta-World is told not to divide it,
            ``normalize_reward_in_recurrent_info=False``.

    Raises:
        ConfigError: an agent without a policy of continuous actions, one that wants tasks told, or whose time limits have
            values: the protocol does not say what was seen at one.
    """

    def __init__(
        self, agent: Agent, deterministic: bool = True, seed: int = EVALUATION_SEED, reward_scale: float = REWARD_SCALE
    ) -> None:
        source = agent.source
        if not isinstance(source, TrajectorySource) or not isinstance(source.env.action_space, gym.spaces.Box):
            raise ConfigError("agent: Meta-World's judge moves an arm, and this agent has no policy of continuous actions")
        if source.tells_task:
            raise ConfigError(f"agent: Meta-World's judge does not tell tasks, and {type(agent).__name__} wants them told")
        if source.rollouts.recall and not isinstance(agent.adapter, TrialAdapter):
            raise ConfigError(
                "rollouts: recall=True shows Meta-World's judge's steps to policies with memory only: leave it out"
            )
        if source.rollouts.time_limit_value:
            raise ConfigError(
                "rollouts: time_limit_value=True asks for the observation at a time limit, which Meta-World's protocol does "
                "not hand over: train with time_limit_value=False"
            )
        self._agent, self._source, self._space = agent, source, source.env.action_space
        self._deterministic, self._scale = deterministic, reward_scale
        self._generator = stream(seed, "evaluation noise", agent.device)
        self._learner: _Learner | None = None

    def init(self) -> None:
        """Begin with other tasks, from the meta-learned start."""
        self._learner = None

    def adapt_action(self, observations: Array) -> tuple[Array, dict[str, Array]]:
        """Return sampled actions, shape (environments, action), and what ``step`` wants to be told of them."""
        learner = self._of(len(observations))
        parameters = learner.parameters(*self._seen(observations))
        distribution = self._source.distribution
        noise = distribution.noise(tuple(parameters.shape[:-1]), self._generator, parameters)
        chosen = distribution.sample(parameters, noise)
        return self._clipped(chosen), {"chosen": chosen.cpu().numpy(), "parameters": parameters.cpu().numpy()}

    def step(self, timestep: Timestep) -> None:
        """Take notice of a step of the adaptation."""
        self._of(len(timestep.reward)).live(timestep)

    def adapt(self) -> None:
        """Adapt to the episodes since the last time.

        Raises:
            ConfigError: an environment whose first episode has not ended.
        """
        if self._learner is None:
            raise ConfigError("adapt() has nothing to adapt to: adapt_action() and step() come first")
        self._learner.adapt()

    def eval_action(self, observations: Array) -> Array:
        """Return the adapted policies' actions, shape (environments, action)."""
        learner = self._of(len(observations))
        parameters = learner.judged(*self._seen(observations))
        distribution = self._source.distribution
        if self._deterministic:
            chosen = distribution.mode(parameters)
        else:
            chosen = distribution.sample(
                parameters, distribution.noise(tuple(parameters.shape[:-1]), self._generator, parameters)
            )
        learner.chose(chosen)
        return self._clipped(chosen)

    def reset(self, env_mask: NDArray[np.bool_]) -> None:
        """Begin another evaluation episode in some environments, with what was there after the adaptation."""
        self._of(len(env_mask)).begin(torch.as_tensor(env_mask, device=self._agent.device))

    def _of(self, count: int) -> "_Learner":
        """Return what learns so many tasks at once, anew after ``init``."""
        if self._learner is None:
            adapter = self._agent.over(self._source.problem)
            kind = _MemoryLearner if isinstance(adapter, TrialAdapter) else _GradientLearner
            self._learner = kind(self._agent, adapter, count)
        return self._learner

    def _seen(self, observations: Array) -> tuple[Tensor, Tensor | None]:
        """Return observations as training has them, shape (environments, entries), and rewards if they are shown.

        Raises:
            ConfigError: observations of another size.
        """
        like, entries = self._agent.meta["theta"], flat_size(self._source.env.observation_space)
        actions = int(np.prod(self._space.shape))
        tensor = torch.as_tensor(np.asarray(observations)).to(like)
        if tensor.shape[1] == entries:
            return tensor, None
        if tensor.shape[1] != entries + actions + 2:
            raise ConfigError(
                f"eval_envs show {tensor.shape[1]} numbers, and this agent was trained on {entries}: give it a class "
                "of Meta-World, with recurrent_info_in_obs or without"
            )
        return tensor[:, :entries], self._scale * tensor[:, entries + actions]

    def _clipped(self, chosen: Tensor) -> Array:
        actions = chosen.cpu().numpy().reshape(-1, *self._space.shape or ())
        return actions.clip(self._space.low, self._space.high).astype(self._space.dtype)


class _Learner(ABC):
    """What learns all tasks of a vector environment at once, one to a sub-environment."""

    def __init__(self, agent: Agent, adapter: Adapter, count: int) -> None:
        self.source = cast(TrajectorySource, agent.source)
        self.adapter, self.meta, self.count = adapter, agent.meta, count
        self.adapted: Any = ()

    @abstractmethod
    def parameters(self, observations: Tensor, rewards: Tensor | None) -> Tensor:
        """Return distribution parameters, shape (tasks, size), for a step of the adaptation."""

    @abstractmethod
    def live(self, timestep: Timestep) -> None:
        """Keep a step of the adaptation."""

    @abstractmethod
    def adapt(self) -> None:
        """Adapt to what was kept."""

    def judged(self, observations: Tensor, rewards: Tensor | None) -> Tensor:
        """Return distribution parameters, shape (tasks, size), for a step of the evaluation."""
        return self.parameters(observations, rewards)

    def chose(self, chosen: Tensor) -> None:  # noqa: B027 - without a memory there is none to keep it in
        """Keep what was chosen in evaluation."""

    def begin(self, rows: Tensor) -> None:  # noqa: B027
        """Begin another evaluation episode in some rows."""

    def policies(self, inputs: Tensor, state: Any = ()) -> tuple[Tensor, Any]:
        """Return what all tasks' policies give for one input each, shape (tasks, entries)."""
        with torch.no_grad():
            outputs, state = self.adapter.together(self.meta, self.adapted)(inputs[:, None], state)
        return outputs[:, 0], state


class _GradientLearner(_Learner):
    """Takes an inner step on the episodes that were kept since the last."""

    def __init__(self, agent: Agent, adapter: Adapter, count: int) -> None:
        super().__init__(agent, adapter, count)
        self._experiences: list[Samples] = []
        self._steps: list[Timestep] = []
        self._replay()

    def _replay(self) -> None:
        with torch.no_grad():
            self.adapted = self.adapter.replay(self.meta, self._experiences, self.count)

    def parameters(self, observations: Tensor, rewards: Tensor | None) -> Tensor:
        return self.policies(observations)[0]

    def live(self, timestep: Timestep) -> None:
        self._steps.append(timestep)

    def adapt(self) -> None:
        trajectories = trajectories_of(self._steps, flat_size(self.source.env.observation_space), self.meta["theta"])
        self._experiences.append(self.source.problem.samples(trajectories))
        self._steps = []
        self._replay()


class _MemoryLearner(_Learner):
    """Remembers all steps of the adaptation as one trial; evaluation episodes begin with that memory."""

    def __init__(self, agent: Agent, adapter: Adapter, count: int) -> None:
        super().__init__(agent, adapter, count)
        empty = cast(TrialAdapter, adapter).call(self.meta, "initial_state", 1)
        memory = tree_map(lambda one: one.expand(count, *one.shape).clone(), empty)  # steps write into it
        self._lived = memory, self.meta["theta"].new_zeros(count, recall_size(self.source.distribution))
        self._memory, self._recalled = self._lived
        self._starting = torch.ones(count, dtype=torch.bool, device=self.meta["theta"].device)

    def parameters(self, observations: Tensor, rewards: Tensor | None) -> Tensor:
        cast(TrialAdapter, self.adapter).require_room(self.meta, self._memory)
        parameters, self._memory = self.policies(torch.cat([observations, self._recalled], 1), self._memory)
        return parameters

    def live(self, timestep: Timestep) -> None:
        like, chosen = self.meta["theta"], torch.as_tensor(timestep.aux_policy_outputs["chosen"])
        ended = np.logical_or(timestep.terminated, timestep.truncated)
        reward, end = (torch.as_tensor(np.asarray(column)).to(like)[:, None] for column in (timestep.reward, ended))
        # the reward is seen in the next step
        self._recalled = torch.cat([self.source.distribution.encode(chosen).to(like), reward, end], 1)

    def adapt(self) -> None:
        self._lived = self._memory, self._recalled

    def judged(self, observations: Tensor, rewards: Tensor | None) -> Tensor:
        if rewards is None:
            raise ConfigError(
                "eval_envs do not show what a policy with memory has got: make them with recurrent_info_in_obs=True"
            )
        going_on = self._recalled.clone()
        going_on[:, -2] = rewards
        self._recalled = torch.where(self._starting[:, None], self._recalled, going_on)
        return self.parameters(observations, rewards)

    def chose(self, chosen: Tensor) -> None:
        self._starting = torch.zeros_like(self._starting)
        encoded = self.source.distribution.encode(chosen).to(self._recalled)
        self._recalled = torch.cat([encoded, torch.zeros_like(self._recalled[:, -2:])], 1)

    def begin(self, rows: Tensor) -> None:
        self._memory, self._recalled = by_row(rows, self._lived, (self._memory, self._recalled))
        self._starting = self._starting | rows


def trajectories_of(steps: list[Timestep], entries: int, like: Tensor) -> Trajectories:
    """Return the episodes that ended in every environment, as many of each, as trajectories of its task.

    Args:
        steps: of all environments, in order; an environment begins another episode in the step after its end.
        entries: of an observation; what stands behind them is left out.
        like: a tensor whose device and dtype they take.

    Raises:
        ConfigError: an environment whose first episode has not ended.
    """
    ended = np.array([np.logical_or(step.terminated, step.truncated) for step in steps])
    if not len(steps) or not ended.any(0).all():
        raise ConfigError("adapt() wants at least one whole episode of every environment: step them to the end")
    ends = [np.flatnonzero(column) for column in ended.T]
    count = min(map(len, ends))
    starts = [np.r_[0, rows[: count - 1] + 1] for rows in ends]
    lengths = np.array([rows[:count] - first + 1 for rows, first in zip(ends, starts, strict=True)])
    steps_of = np.arange(lengths.max())
    happened = steps_of < lengths[..., None]
    # what did not happen repeats its trajectory's first step
    index = np.array(starts)[..., None] + np.where(happened, steps_of, 0)
    rows = np.arange(len(ends))[:, None, None]

    def column(values: list[Array]) -> Tensor:
        return torch.as_tensor(np.array(values)[index, rows]).to(like)

    rewards = column([step.reward for step in steps]) * torch.as_tensor(happened).to(like)
    observations = column([step.observation[:, :entries] for step in steps])
    last = np.array(starts) + lengths - 1
    terminated = np.array([step.terminated for step in steps])[last, rows[..., 0]]
    return Trajectories(
        observations=observations,
        actions=column([step.aux_policy_outputs["chosen"] for step in steps]),
        rewards=rewards,
        happened=torch.as_tensor(happened, device=like.device),
        distribution_parameters=column([step.aux_policy_outputs["parameters"] for step in steps]),
        last_observations=observations[:, :, 0],  # nobody looks: see MetaWorldAgent
        terminated=torch.as_tensor(terminated, device=like.device),
        episode_returns=rewards.sum(2, keepdim=True),
        successes=rewards.new_zeros(*rewards.shape[:2], 0),
    )
