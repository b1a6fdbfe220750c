"""Drawing images for episodes: classes without replacement, then images of each, on the generator's device.

All images lie on the device as one uint8 tensor; an episode is rows of it. Nothing here waits for the device.
"""

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from metarl.errors import ConfigError
from metarl.supervised.episode_sizes import EpisodeSizes, Sizes
from metarl.supervised.groups import Groups
from metarl.supervised.image_transforms import Normalisation, pixels
from metarl.supervised.images import ImageSet
from metarl.supervised.labels import LabelSplit
from metarl.tasks import Episodes, Examples, Split, split_index

Rotations = Literal["classes", "drawn", "none"]
QUARTERS = 4


class Pool(NamedTuple):
    """What is drawn from, on one device.

    Attributes:
        images: in every quarter turn if there are any, one turn of all images after another.
        starts: the row of each class's first image, shape (classes,).
        counts: how many images each class has, shape (classes,).
        splits: the classes of each split.
        labels: which images have labels.
    """

    images: Tensor
    starts: Tensor
    counts: Tensor
    splits: dict[Split, Tensor]
    labels: LabelSplit


class ImageSampler:
    """Draws the classes, quarter turns and images of episodes, and single images with their classes.

    Args:
        images: the images of all classes.
        splits: the classes of each split.
        labels: which images may be shown with their labels.
        sizes: of the episodes, and how many distractor classes they have.
        rotations: what quarter turns mean (see ``ImageEpisodes``).
        normalisation: of the pixels.
        groups: the group of every class, if each episode's classes shall be of one.
        same_places: whether an episode's labelled images have the same places in all of its classes, where they stand for
            the people who drew them.
    """

    def __init__(
        self,
        images: ImageSet,
        splits: Mapping[Split, Sequence[int]],
        labels: LabelSplit,
        sizes: EpisodeSizes,
        *,
        rotations: Rotations,
        normalisation: Normalisation,
        groups: Groups | None,
        same_places: bool,
    ) -> None:
        self.images = images
        self.splits = splits
        self.labels = labels
        self.sizes = sizes
        self.rotations = rotations
        self.normalisation = normalisation
        self.groups = groups
        self.same_places = same_places
        self.turns = QUARTERS if rotations == "classes" else 1
        """How many classes of an episode's kind each class of the images makes."""
        self._pools: dict[torch.device, Pool] = {}
        self._possible: set[tuple[Split, int, Sizes]] = set()  # splits that were found to have enough, for what

    def require(self, split: Split, ways: int, sizes: Sizes) -> None:
        """Raise ConfigError if the split has too few classes for such episodes, or one of them too few images."""
        if (split, ways, sizes) in self._possible:
            return
        split_index(split)
        classes, distractors = self.splits.get(split, ()), self.sizes.distractors
        option, every = self.sizes.option("ways", ways), len(classes) * self.turns
        available, where = every, f"split {split!r}"
        if self.groups is not None and classes:
            largest, count = self.groups.largest(classes)
            available, where = count * self.turns, f"{largest}, the largest group of {where}"
        if ways > available:
            raise ConfigError(f"{option}={ways} is more than the {available} classes of {where}: ask for at most {available}")
        if sizes.unlabelled and ways + distractors > every:
            raise ConfigError(
                f"distractors={distractors} and {option}={ways} are more than the {every} classes of split {split!r}: ask "
                f"for at most {every - ways} distractors"
            )
        if lack := self.lack(classes, sizes, f" of split {split!r}"):
            raise ConfigError(lack)
        self._possible.add((split, ways, sizes))

    def lack(self, classes: Sequence[int], sizes: Sizes, where: str = "") -> str | None:
        """Return what to say if one of the classes has too few images for episodes of these sizes; None if none has."""
        rows = list(classes)
        needed, labelled = sizes.shots + sizes.queries, self.labels.labelled[rows]
        left = self.images.counts[rows] - self.labels.unlabelled_from[rows].clamp(min=needed)
        shots, queries, unlabelled = (self.sizes.option(name, size) for name, size in sizes._asdict().items())
        if int(labelled.min()) < needed:
            kind = "images" if self.labels.fraction == 1 else f"images with a label (labelled={self.labels.fraction:g})"
            return (
                f"{shots}={sizes.shots} and {queries}={sizes.queries} need {needed} {kind} of a class, but "
                f"{self.images.names[rows[int(labelled.argmin())]]}{where} has {int(labelled.min())}: lower one of them"
                + ("" if self.labels.fraction == 1 else ", or raise labelled")
            )
        if int(left.min()) < sizes.unlabelled:
            return (
                f"{unlabelled}={sizes.unlabelled} is more than the {int(left.min())} other images of "
                f"{self.images.names[rows[int(left.argmin())]]}{where}: lower it, or {queries}={sizes.queries}"
            )
        return None

    def draw_tasks(self, n: int, split: Split, ways: int, generator: torch.Generator) -> Tensor:
        """Return n tasks as rows, distinct classes and then their quarter turns, shape (n, 2 * ways), float64."""
        classes = self._pool(generator.device).splits[split]
        noise = torch.rand(n, len(classes) * self.turns, generator=generator, device=generator.device)
        if self.groups is not None:
            own = [number for number in self.splits[split] for _ in range(self.turns)]
            members = self.groups.members(own, ways, generator.device)
            group = torch.randint(len(members), (n,), generator=generator, device=generator.device)
            noise.masked_fill_(~members[group], -1.0)
        drawn = noise.topk(ways).indices  # distinct
        return torch.cat([classes[drawn // self.turns], self._turned(drawn, generator)], dim=1).double()

    def draw_episodes(self, tasks: Tensor, sizes: Sizes, generator: torch.Generator) -> Episodes:
        """Return data for tasks of shape (n, 2 * ways), each set in random order, in the tasks' dtype.

        Support and query sets are the same whether or not there are unlabelled images.
        """
        classes, rotations = tasks.long().chunk(2, dim=1)
        chosen = self._choose(classes, sizes.shots + sizes.queries, generator)
        rows = self._rows(classes, rotations, chosen)
        sets = []
        for by_class in torch.split(rows, [sizes.shots, sizes.queries], dim=2):
            order = torch.rand(len(tasks), by_class[0].numel(), generator=generator, device=tasks.device).argsort(1)
            inputs = self._pixels(by_class.flatten(1).gather(1, order), tasks.dtype)
            sets.append(Examples(inputs, order // by_class.shape[2]))
        support, query = sets
        if not sizes.unlabelled:
            return Episodes(support, query)
        return Episodes(support, query, *self._draw_unlabelled(tasks, chosen, sizes.unlabelled, generator))

    def draw_distractors(self, classes: Tensor, rotations: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return further classes of the split that each task's are of, and their rotations, shape (n, distractors) each."""
        split_of = self._pool(classes.device).labels.split_of
        noise = torch.rand(len(classes), len(split_of) * self.turns, generator=generator, device=classes.device)
        noise.masked_fill_((split_of != split_of[classes[:, :1]]).repeat_interleave(self.turns, 1), -1.0)
        noise.scatter_(1, classes * self.turns + rotations % self.turns, -1.0)
        drawn = noise.topk(self.sizes.distractors).indices
        return drawn // self.turns, self._turned(drawn, generator)

    def draw_examples(self, n: int, split: Split, generator: torch.Generator, dtype: torch.dtype) -> Examples:
        """Return n images of a split's classes and the classes' numbers in it, times their quarter turns if there are any.

        Every class in every quarter turn is as likely, and each of its images with a label too.
        """
        pool = self._pool(generator.device)
        classes, turns = pool.splits[split], 1 if self.rotations == "none" else QUARTERS
        label = torch.randint(len(classes) * turns, (n,), generator=generator, device=generator.device)
        drawn = classes[label // turns]
        unit = torch.rand(n, generator=generator, device=generator.device, dtype=torch.float64)
        places = (unit * pool.labels.labelled[drawn]).long()
        return Examples(self._pixels(self._rows(drawn, label % turns, places[:, None])[:, 0], dtype), label)

    def _pool(self, device: torch.device) -> Pool:
        """Return what is drawn from, moved to a device once."""
        if device not in self._pools:
            images, counts = self.images.images.to(device), self.images.counts.to(device)
            if self.rotations != "none":
                images = torch.cat([images.rot90(k, (2, 3)) for k in range(QUARTERS)])
            splits = {name: torch.tensor(numbers, device=device, dtype=torch.long) for name, numbers in self.splits.items()}
            starts = counts.cumsum(0) - counts
            self._pools[device] = Pool(images, starts, counts, splits, self.labels.to(device))
        return self._pools[device]

    def _draw_unlabelled(
        self, tasks: Tensor, used: Tensor, count: int, generator: torch.Generator
    ) -> tuple[tuple[Tensor], tuple[Tensor]]:
        """Return images without labels, in random order, and the classes that they are of: ``ways`` if none of the episode's.

        Args:
            tasks: shape (n, 2 * ways).
            used: the places in their classes of the support and query images, shape (n, ways, images).
            count: of each class and each distractor class.
            generator: the source of randomness.
        """
        classes, rotations = tasks.long().chunk(2, dim=1)
        ways = classes.shape[1]
        if self.sizes.distractors:
            further = self.draw_distractors(classes, rotations, generator)
            classes, rotations = (torch.cat(parts, 1) for parts in zip((classes, rotations), further, strict=True))
        pool = self._pool(tasks.device)
        places = self._draw_places(count, pool.labels.unlabelled_from[classes], pool.counts[classes], generator, used)
        rows = self._rows(classes, rotations, places).flatten(1)
        order = torch.rand(rows.shape, generator=generator, device=tasks.device).argsort(1)
        return (self._pixels(rows.gather(1, order), tasks.dtype),), ((order // count).clamp(max=ways),)

    def _turned(self, drawn: Tensor, generator: torch.Generator) -> Tensor:
        """Return the rotations of classes that were drawn among all classes, and turns of them if these are classes."""
        if self.rotations == "drawn":
            return torch.randint(QUARTERS, drawn.shape, generator=generator, device=generator.device)
        return drawn % self.turns

    def _choose(self, classes: Tensor, count: int, generator: torch.Generator) -> Tensor:
        """Return the places in their classes of ``count`` images with labels, distinct, shape (n, ways, count)."""
        labelled = self._pool(classes.device).labels.labelled[classes]
        asked = labelled[:, :1] if self.same_places else labelled
        return self._draw_places(count, torch.zeros_like(asked), asked, generator).expand(*classes.shape, count)

    def _draw_places(
        self, count: int, start: Tensor, end: Tensor, generator: torch.Generator, used: Tensor | None = None
    ) -> Tensor:
        """Return distinct places in classes, shape (n, classes, count), from ``start`` on and before ``end``: (n, classes).

        None of them is among ``used``, those of the first classes that are used already, shape (n, first classes, images).
        """
        most = int(self.images.counts.max())
        noise = torch.rand(*start.shape, most, generator=generator, device=start.device)
        place = torch.arange(most, device=start.device)
        noise.masked_fill_((place < start[..., None]) | (place >= end[..., None]), -1.0)
        if used is not None:
            noise[:, : used.shape[1]].scatter_(2, used, -1.0)
        return noise.topk(count).indices

    def _rows(self, classes: Tensor, rotations: Tensor, places: Tensor) -> Tensor:
        """Return the rows, among images in every rotation, of those at places in their classes: (*classes, images)."""
        pool = self._pool(classes.device)
        turned = rotations * len(self.images.images) if self.rotations != "none" else torch.zeros_like(rotations)
        return pool.labels.order[pool.starts[classes][..., None] + places] + turned[..., None]

    def _pixels(self, rows: Tensor, dtype: torch.dtype) -> Tensor:
        """Return what networks are shown of the images in these rows, shape (*rows, channels, height, width)."""
        images = self._pool(rows.device).images
        return pixels(images.index_select(0, rows.flatten()).view(*rows.shape, *images.shape[1:]), dtype, self.normalisation)
