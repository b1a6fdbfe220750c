"""Agents whose policies remember: the base of those that learn within a trial of one task, without a gradient."""

from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from torch import nn

from metarl.adapters import Adapter, MemoryPolicy, Meta, TrialAdapter
from metarl.adapters.memory.policy import LogStdFrom
from metarl.agents.base import Agent
from metarl.agents.options import Options as CommonOptions
from metarl.agents.pictures import Pictures, Unseen
from metarl.agents.sources import Source, name_of
from metarl.agents.trajectories import TrajectorySource
from metarl.errors import ConfigError, require_whole
from metarl.learner import Learner
from metarl.problems import Problem, Rollouts
from metarl.sampling.distributions import Distribution


@dataclass(frozen=True)
class TrialOptions(CommonOptions):
    """What agents take whose policies remember."""

    episodes: int = 2
    """Episodes of a trial: the memory lasts from one to the next, and each counts by what it brings in later ones too."""
    log_std: float = 0.0
    """Where the log standard deviation of continuous actions starts."""
    log_std_from: LogStdFrom = "parameter"
    """What it is: a trainable vector, or an output of the policy beside the mean, which depends on all that was seen."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_whole(episodes=self.episodes)


class TrialAgent(Agent):
    """Learns a policy that remembers what it saw, did and got, through all episodes of a trial of one task."""

    Options = TrialOptions  # type: ignore[assignment]
    embeds = True
    default_outer = "ppo"

    @abstractmethod
    def make_memory(self, features: int, distribution: Distribution, steps: int) -> MemoryPolicy:
        """Return what remembers, new.

        Args:
            features: the entries of an embedded observation.
            distribution: of the actions.
            steps: of the longest trial.
        """

    def make_source(self, rollouts: Rollouts | None) -> Source:
        """Return the task source, whose policies see what they did before.

        Raises:
            ConfigError: few-shot episodes, in which nothing is done.
        """
        if hasattr(self.env.unwrapped, "sample_episodes"):
            raise ConfigError(
                f"env={name_of(self.env)} has few-shot episodes, and {type(self).__name__} acts: choose a family of policies, "
                "such as metarl/BernoulliBandit-v0, or an agent that reads a support set, such as MANN or SNAIL"
            )
        return super().make_source(replace(rollouts or Rollouts(), recall=True))

    def make_adapter(self, network: nn.Module) -> tuple[Adapter, Meta]:
        """Return the trial adapter; a network by name has no last layer."""
        source, options = cast(TrajectorySource, self.source), self.options
        learner = Learner(network)
        with torch.no_grad():
            theta, shared, averages = learner.initial(network)
            features = learner(theta, shared, source.example_inputs(), averages).shape[-1]
        memory = self.make_memory(features, source.distribution, options.episodes * source.horizon)
        adapter = TrialAdapter(source.problem, learner, memory, options.episodes)
        return adapter, adapter.initial_meta(network, memory)

    def over(self, problem: Problem[Any]) -> Adapter:
        """Return the adapter that lives through a trial episode by episode."""
        return cast(TrialAdapter, super().over(problem)).in_use()

    def adapter_pictures(self, unseen: Unseen) -> Pictures:
        """Return no picture but those of the tasks."""
        return {}
