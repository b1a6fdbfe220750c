"""Agents whose task is what a reader makes of the embedded support set: the base of metric and memory learners."""

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import cast

import torch
from torch import nn

from metarl.adapters import Adapter, Meta, ReadingAdapter, SupportReader
from metarl.agents.base import Agent
from metarl.agents.episodes import EpisodeSource
from metarl.agents.options import Options as CommonOptions
from metarl.learner import Learner
from metarl.normalisation import Statistics


@dataclass(frozen=True)
class ReadingOptions(CommonOptions):
    """What agents take that read a support set in one pass."""

    batch_norm: Statistics = "batch"
    """Whose statistics batch-normalisation uses: the set's at hand (batch), the support set's, or running averages."""


class ReadingAgent(Agent):
    """Learns an embedding and what reads it; a task's support set is read once, and nothing is stepped.

    Attributes:
        embedding_shape: of one example, before it is flattened: feature maps keep their height and width.
    """

    Options = ReadingOptions  # type: ignore[assignment]
    embeds = True
    embedding_shape: tuple[int, ...]

    @abstractmethod
    def make_reader(self, features: int, outputs: int) -> SupportReader:
        """Return what reads the embedded support set, new.

        Args:
            features: the entries of an embedding.
            outputs: the ways of a training task, or the numbers of a target.
        """

    def make_adapter(self, network: nn.Module) -> tuple[Adapter, Meta]:
        """Return the reading adapter; a network by name has no last layer."""
        learner = Learner(network, "all", self.options.batch_norm)
        with torch.no_grad():
            theta, shared, averages = learner.initial(network)
            self.embedding_shape = tuple(learner(theta, shared, self.source.example_inputs(), averages).shape[1:])
        features = math.prod(self.embedding_shape)
        reader = self.make_reader(features, self.source.outputs)
        if not reader.follows_ways:
            self.source.require_same_ways()
        adapter = ReadingAdapter(self.source.problem, learner, reader, features)
        meta = adapter.initial_meta(network, reader)
        with torch.no_grad():  # a support set that the reader cannot hold is said now, not after some work
            generator = torch.Generator(meta["theta"].device)
            longest = cast(EpisodeSource, self.source).longest_example(generator)
            adapter.over(self.source.problem).adapt(meta, longest, generator)
        return adapter, meta

    @property
    def follows_ways(self) -> bool:
        """Whether the reader takes tasks of any ways."""
        return cast(ReadingAdapter, self.adapter).reader.follows_ways
