"""How large episodes of classes are: those that are shown, and those that ``sample_episodes`` draws for training."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from metarl.errors import ConfigError, require_between, require_positive
from metarl.tasks import Split, split_index


class Sizes(NamedTuple):
    """How many images of each class an episode has.

    Attributes:
        shots: support images.
        queries: query images.
        unlabelled: images without labels, of each distractor class too.
    """

    shots: int
    queries: int
    unlabelled: int = 0


@dataclass(frozen=True)
class EpisodeSizes:
    """The sizes that options ask for; see ``ImageEpisodes`` for what each means.

    Raises:
        ConfigError: one out of range or not whole, or distractors where nothing is unlabelled.
    """

    ways: int
    shots: int
    queries: int
    unlabelled: int
    distractors: int
    train_ways: int | None
    train_shots: int | Sequence[int] | None
    train_queries: int | None
    train_unlabelled: int | None

    def __post_init__(self) -> None:
        counts = {"ways": self.ways, "train_ways": self.ways_of("train"), "shots": self.shots, "queries": self.queries}
        training = self.of("train")
        require_positive(**counts, train_queries=training.queries)
        none_too = {"unlabelled": self.unlabelled, "distractors": self.distractors, "train_unlabelled": training.unlabelled}
        require_between(0, np.inf, **none_too)
        for name, count in {**counts, "train_queries": training.queries, **none_too}.items():
            if not isinstance(count, (int, np.integer)):
                raise ConfigError(f"{name}={count!r} must be a whole number")
        if self.distractors and not (self.unlabelled or training.unlabelled):
            raise ConfigError(f"distractors={self.distractors} give unlabelled images only: set unlabelled, or leave them out")

    @property
    def shown(self) -> Sizes:
        """The sizes of the episodes that ``reset`` shows."""
        return Sizes(self.shots, self.queries, self.unlabelled)

    def ways_of(self, split: Split) -> int:
        """Return how many classes an episode of ``sample_episodes`` has."""
        split_index(split)
        return self.train_ways if split == "train" and self.train_ways is not None else self.ways

    def shots_of(self, split: Split) -> tuple[int, int]:
        """Return the fewest and the most support images of a class in an episode of ``sample_episodes``."""
        split_index(split)
        return _range_of(self.train_shots) if split == "train" and self.train_shots is not None else (self.shots, self.shots)

    def of(self, split: Split) -> Sizes:
        """Return the sizes of the episodes of ``sample_episodes``, the largest if shots are drawn."""
        _, shots = self.shots_of(split)
        if split != "train":
            return self.shown
        queries = self.queries if self.train_queries is None else self.train_queries
        return Sizes(shots, queries, self.unlabelled if self.train_unlabelled is None else self.train_unlabelled)

    def option(self, name: str, value: int) -> str:
        """Return the option that a size is from, for errors: ``name``, or training's own."""
        return name if value == getattr(self, name) else f"train_{name}"


def _range_of(train_shots: int | Sequence[int]) -> tuple[int, int]:
    """Return the fewest and the most shots that ``train_shots`` means."""
    ends = tuple(train_shots) if isinstance(train_shots, Sequence) else (train_shots, train_shots)
    if len(ends) != 2 or not all(isinstance(end, (int, np.integer)) for end in ends) or not 0 < ends[0] <= ends[1]:
        raise ConfigError(f"train_shots={train_shots!r} must be a whole number above zero, or (lowest, highest)")
    return ends[0], ends[1]
