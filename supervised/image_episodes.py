"""Few-shot image classification: episodes of N ways and K shots, drawn on the device from one uint8 tensor."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torch.utils._pytree import tree_map
from torchvision.utils import make_grid

from metarl.errors import ConfigError, TaskError, require_between, require_positive, unknown_name
from metarl.supervised.distortions import affine
from metarl.supervised.episodes import EpisodeEnv, split_stream
from metarl.supervised.groups import Groups
from metarl.supervised.images import ImageSet
from metarl.supervised.labels import LabelSplit, Sizes, split_labels
from metarl.supervised.networks import conv4, koch, perceptron, resnet12
from metarl.tasks import Array, Bounds, Episodes, Examples, Split, Task, split_index

Rotations = Literal["classes", "drawn", "none"]
Reduction = Literal["mean", "sum over ways"]
Normalisation = Literal["none", "imagenet"]
Drawers = Literal["any", "different"]
Distortions = Literal["none", "affine"]
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""The mean and deviation of ImageNet's colours, in [0, 1]."""
QUARTERS = 4


def _range_of(train_shots: int | Sequence[int]) -> tuple[int, int]:
    """Return the fewest and the most shots that ``train_shots`` means."""
    ends = tuple(train_shots) if isinstance(train_shots, Sequence) else (train_shots, train_shots)
    if len(ends) != 2 or not all(isinstance(end, (int, np.integer)) for end in ends) or not 0 < ends[0] <= ends[1]:
        raise ConfigError(f"train_shots={train_shots!r} must be a whole number above zero, or (lowest, highest)")
    return ends[0], ends[1]


class ImageEpisodes(EpisodeEnv):
    """Images of classes: N-way K-shot classification.

    A family of image episodes says where its images are and how its classes are split.

    ## Observation
    `Dict`: `support_inputs`, shape (ways * shots, channels, height, width), and `query_inputs`, (ways * queries, ...), float32
    in [0, 1] (before normalisation), in random order; `support_targets`, shape (ways * shots,), int64 in [0, ways). With
    `unlabelled` also `unlabelled_inputs`, ((ways + distractors) * unlabelled, ...), in random order.

    ## Action
    `MultiDiscrete`, shape (ways * queries,): the predicted classes of the query images.

    ## Reward
    The accuracy, in [0, 1]; guessing is worth 1 / ways.

    ## End
    One step ends the episode.

    ## Task
    `{"classes": (ways,), "rotations": (ways,)}`, int64: indices into ``class_names``, and quarter turns to the left.
    Distractor classes are no part of it: as the images, they are drawn anew for every episode, from the split of its classes.

    Args:
        images: the images of all classes.
        splits: the classes of each split; disjoint.
        ways: N, the classes of an episode.
        train_ways: the classes of the episodes that ``sample_episodes`` draws for training, if not ``ways``: Prototypical
            Networks train with more ways than they are tested with. Whatever else the environment shows has ``ways``.
        shots: K, the support images of each.
        train_shots: K of the episodes that ``sample_episodes`` draws for training, if not ``shots``; or its lowest and highest
            value, both included, from which one K is drawn for all episodes of a batch (SNAIL: 1 and 5).
        queries: the query images of each.
        train_queries: those of the episodes that ``sample_episodes`` draws for training, if not ``queries``: where few images
            have labels, training cannot have as many as testing.
        unlabelled: the images of each class that are shown without labels, besides support and query images.
        train_unlabelled: those of the episodes that ``sample_episodes`` draws for training, if not ``unlabelled``.
        distractors: how many further classes, without support or query images, give as many unlabelled images each.
        labelled: the fraction of each training class's images that have labels: support and query images are some of them, and
            unlabelled images are some of the others (Ren et al. 2018: 0.1 on Omniglot, 0.4 on miniImageNet). A drawing has a
            label in all of its quarter turns or in none. All images of the other splits have labels.
        label_seed: of which images these are; the paper takes the mean over ten.
        split: what ``reset`` draws from unless told otherwise.
        rotations: ``"classes"``: every class in each of its four quarter turns is a class of its own; ``"drawn"``: each drawn
            class gets a quarter turn (MAML's code); ``"none"``.
        reduction: what the loss makes of the images' cross-entropies: the ``"mean"``, or the ``"sum over ways"`` of the means,
            which is N times as large (MAML's code: its inner rate of 0.4 is one of 2.0 under the mean at 5 ways).
        normalisation: ``"imagenet"`` subtracts the mean of ImageNet's colours and divides by their deviation.
        distortions: ``"affine"`` gives every image that ``sample_episodes`` and ``sample_examples`` draw for training an affine
            map of its own (see ``distortions.affine``); whatever else the environment shows is as it is.
        groups: the group of every class, if each episode's classes shall be of one: every group of the split that has enough
            classes is as likely, the others are passed over. None for classes of the whole split.
        drawers: ``"different"``: the k-th image of every class of a group is by the k-th drawer, and an episode's k-th support
            image and k-th query image of every class are by one drawer each, all of them different people.
        render_mode: ``"rgb_array"`` or None.

    Raises:
        ConfigError: an argument out of range, or a training split with too few classes or images; with unlabelled images, any
            split that has too few.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 1}
    networks = {"Conv4": conv4, "MLP": perceptron, "ResNet12": resnet12, "Koch": koch}
    metric = "accuracy"

    def __init__(
        self,
        images: ImageSet,
        splits: Mapping[Split, Sequence[int]],
        *,
        ways: int = 5,
        train_ways: int | None = None,
        shots: int = 1,
        train_shots: int | Sequence[int] | None = None,
        queries: int = 15,
        train_queries: int | None = None,
        unlabelled: int = 0,
        train_unlabelled: int | None = None,
        distractors: int = 0,
        labelled: float = 1.0,
        label_seed: int = 0,
        split: Split = "train",
        rotations: Rotations = "none",
        reduction: Reduction = "mean",
        normalisation: Normalisation = "none",
        distortions: Distortions = "none",
        groups: Sequence[str] | None = None,
        drawers: Drawers = "any",
        render_mode: str | None = None,
    ) -> None:
        super().__init__(shots, queries, split)
        counts = {"ways": ways, "train_ways": ways if train_ways is None else train_ways, "shots": shots, "queries": queries}
        counts["train_queries"] = queries if train_queries is None else train_queries
        require_positive(**counts)
        none_too = {"unlabelled": unlabelled, "distractors": distractors, "label_seed": label_seed}
        none_too["train_unlabelled"] = unlabelled if train_unlabelled is None else train_unlabelled
        require_between(0, np.inf, **none_too)
        require_between(0, 1, labelled=labelled)
        for name, count in {**counts, **none_too}.items():
            if not isinstance(count, (int, np.integer)):
                raise ConfigError(f"{name}={count!r} must be a whole number")
        if distractors and not (unlabelled or none_too["train_unlabelled"]):
            raise ConfigError(f"distractors={distractors} give unlabelled images only: set unlabelled, or leave them out")
        for name, value, known in (
            ("rotations", rotations, Rotations),
            ("reduction", reduction, Reduction),
            ("normalisation", normalisation, Normalisation),
            ("distortions", distortions, Distortions),
            ("drawers", drawers, Drawers),
            ("render_mode", render_mode or "rgb_array", Literal["rgb_array"]),
        ):
            if value not in get_args(known):
                raise unknown_name(name, value, get_args(known))
        self.ways = ways
        self.train_ways = train_ways
        self.train_shots = None if train_shots is None else _range_of(train_shots)
        self.unlabelled = unlabelled
        self.distractors = distractors
        self.labelled = labelled
        self._shown_sizes = Sizes(shots, queries, unlabelled)
        self._training_sizes = Sizes(shots, counts["train_queries"], none_too["train_unlabelled"])
        self.rotations = rotations
        self.reduction = reduction
        self.normalisation = normalisation
        self.distortions = distortions
        self.drawers = drawers
        self.render_mode = render_mode
        self.class_names = images.names
        self.splits = {name: tuple(splits.get(name, ())) for name in get_args(Split)}
        numbers = [number for classes in self.splits.values() for number in classes]
        if len(set(numbers)) < len(numbers) or any(not 0 <= number < len(images.names) for number in numbers):
            raise ConfigError(f"splits={dict(splits)!r} must be disjoint numbers of the {len(images.names)} classes, from 0")
        self._images = images
        self._groups = None if groups is None else Groups(groups, images.names)
        if drawers == "different":
            if self._groups is None:
                raise ConfigError(
                    "drawers='different' needs classes that the same people drew, which are those of one alphabet: pass "
                    "within='alphabet' to metarl/Omniglot-v0, or groups to image episodes of your own"
                )
            if labelled < 1:
                raise ConfigError(
                    f"drawers='different' and labelled={labelled:g} do not go together: which images have labels is "
                    "drawn for each class; leave one of them out"
                )
            self._groups.require_drawers(images.counts.tolist())
        self._labels = split_labels(images.counts, self.splits, labelled, label_seed)
        self._moved_labels: dict[torch.device, LabelSplit] = {}
        self._possible: set[tuple[Split, int, Sizes]] = set()  # splits that were found to have enough, for what
        self._moved: dict[torch.device, tuple[Tensor, Tensor, Tensor, dict[Split, Tensor]]] = {}
        self.input_shape = tuple(images.images.shape[1:])
        self.output_size = ways
        if rotations != "none" and self.input_shape[1] != self.input_shape[2]:
            raise ConfigError(f"rotations={rotations!r} need square images; these are {self.input_shape[1:]}: use 'none'")
        self.require_episodes("train")
        for other in get_args(Split)[1:]:
            if unlabelled and self.splits[other]:
                self.require_episodes(other)
        if normalisation == "imagenet" and self.input_shape[0] != len(IMAGENET[0]):
            raise ConfigError(f"normalisation='imagenet' is of three colours; these images have {self.input_shape[0]} channel")
        last = len(images.names) - 1
        self.bounds: Bounds = {
            "classes": (np.zeros(ways, np.int64), np.full(ways, last)),
            "rotations": (np.zeros(ways, np.int64), np.full(ways, QUARTERS - 1)),
        }
        low, high = (0.0, 1.0) if normalisation == "none" else (-3.0, 3.0)
        sizes = (ways * shots, ways * queries, (ways + distractors) * unlabelled)
        pixels = [gym.spaces.Box(low, high, (size, *self.input_shape), np.float32) for size in sizes]
        shown: dict[str, gym.Space[Any]] = {
            "support_inputs": pixels[0],
            "support_targets": gym.spaces.MultiDiscrete(np.full(ways * shots, ways)),
            "query_inputs": pixels[1],
        }
        if unlabelled:
            shown["unlabelled_inputs"] = pixels[2]
        self.observation_space = gym.spaces.Dict(list(shown.items()))  # a dictionary would be sorted
        self.action_space = gym.spaces.MultiDiscrete(np.full(ways * queries, ways))

    def ways_of(self, split: Split) -> int:
        """Return how many classes an episode of ``sample_episodes`` has: ``train_ways`` in training if given, else ``ways``."""
        split_index(split)
        return self.train_ways if split == "train" and self.train_ways is not None else self.ways

    def shots_of(self, split: Split) -> tuple[int, int]:
        """Return the fewest and the most support images of a class in an episode of ``sample_episodes``."""
        split_index(split)
        return self.train_shots if split == "train" and self.train_shots is not None else (self.shots, self.shots)

    def sizes_of(self, split: Split) -> Sizes:
        """Return how many images of each class an episode of ``sample_episodes`` has, at most if shots are drawn."""
        sizes = self._training_sizes if split == "train" else self._shown_sizes
        return sizes._replace(shots=self.shots_of(split)[1])

    def require_episodes(self, split: Split) -> None:
        """Raise ConfigError if the split has too few classes for its episodes, or one of them too few images."""
        self._require_classes(split, self.ways_of(split), self.sizes_of(split))

    def _require_classes(self, split: Split, ways: int, sizes: Sizes) -> None:
        if (split, ways, sizes) in self._possible:
            return
        split_index(split)
        classes = self.splits.get(split, ())
        field, turns = "ways" if ways == self.ways else "train_ways", QUARTERS if self.rotations == "classes" else 1
        available, where = len(classes) * turns, f"split {split!r}"
        if self._groups is not None and classes:
            largest, count = self._groups.largest(classes)
            available, where = count * turns, f"{largest}, the largest group of {where}"
        if ways > available:
            raise ConfigError(f"{field}={ways} is more than the {available} classes of {where}: ask for at most {available}")
        if sizes.unlabelled and ways + self.distractors > len(classes) * turns:
            most = len(classes) * turns
            raise ConfigError(
                f"distractors={self.distractors} and {field}={ways} are more than the {most} classes of split {split!r}: ask "
                f"for at most {most - ways} distractors"
            )
        if lack := self._lack(classes, sizes, f" of split {split!r}"):
            raise ConfigError(lack)
        self._possible.add((split, ways, sizes))

    def _lack(self, classes: Sequence[int], sizes: Sizes, where: str = "") -> str | None:
        """Return what to say if one of the classes has too few images for episodes of these sizes; None if none has."""
        rows = list(classes)
        needed, labelled = sizes.shots + sizes.queries, self._labels.labelled[rows]
        left = self._images.counts[rows] - self._labels.unlabelled_from[rows].clamp(min=needed)
        shots = "shots" if sizes.shots == self.shots else "train_shots"
        queries = "queries" if sizes.queries == self.queries else "train_queries"
        if int(labelled.min()) < needed:
            kind = "images" if self.labelled == 1 else f"images with a label (labelled={self.labelled:g})"
            return (
                f"{shots}={sizes.shots} and {queries}={sizes.queries} need {needed} {kind} of a class, but "
                f"{self.class_names[rows[int(labelled.argmin())]]}{where} has {int(labelled.min())}: lower one of them"
            )
        if int(left.min()) < sizes.unlabelled:
            field = "unlabelled" if sizes.unlabelled == self.unlabelled else "train_unlabelled"
            return (
                f"{field}={sizes.unlabelled} is more than the {int(left.min())} other images of "
                f"{self.class_names[rows[int(left.argmin())]]}{where}: lower it, or {queries}={sizes.queries}"
            )
        return None

    def _on(self, device: torch.device) -> tuple[Tensor, Tensor, Tensor, dict[Split, Tensor]]:
        """Return what is drawn from, on a device: the images in every rotation, the classes' starts and counts, the splits."""
        if device not in self._moved:
            self._moved[device] = self._move(device)
        return self._moved[device]

    def _move(self, device: torch.device) -> tuple[Tensor, Tensor, Tensor, dict[Split, Tensor]]:
        images = self._images.images.to(device)
        turned = [images.rot90(k, (2, 3)) for k in range(QUARTERS)] if self.rotations != "none" else [images]
        counts = self._images.counts.to(device)
        classes = {name: torch.tensor(numbers, device=device, dtype=torch.long) for name, numbers in self.splits.items()}
        return torch.cat(turned) if len(turned) > 1 else images, counts.cumsum(0) - counts, counts, classes

    def draw_tasks(self, n: int, split: Split, generator: torch.Generator) -> Tensor:
        """Return n tasks as rows, the classes and then their rotations, shape (n, 2 * ways), float64."""
        self._require_classes(split, self.ways, self._shown_sizes)
        return self._draw_ways(n, split, self.ways, generator)

    def draw_episode_tasks(self, n: int, split: Split, generator: torch.Generator) -> Tensor:
        """Return n tasks as rows, the classes and then their rotations, shape (n, 2 * ways_of(split)), float64."""
        self.require_episodes(split)
        return self._draw_ways(n, split, self.ways_of(split), generator)

    def _draw_ways(self, n: int, split: Split, ways: int, generator: torch.Generator) -> Tensor:
        classes = self._on(generator.device)[3][split]
        turns = QUARTERS if self.rotations == "classes" else 1
        noise = torch.rand(n, len(classes) * turns, generator=generator, device=generator.device)
        if self._groups is not None:
            own = [number for number in self.splits[split] for _ in range(turns)]
            members = self._groups.members(own, ways, generator.device)
            group = torch.randint(len(members), (n,), generator=generator, device=generator.device)
            noise.masked_fill_(~members[group], -1.0)
        drawn = noise.topk(ways).indices  # distinct
        return torch.cat([classes[drawn // turns], self._turned(drawn, generator)], dim=1).double()

    def draw_episodes(self, tasks: Tensor, generator: torch.Generator) -> Episodes:
        """Return support and query sets with inputs of shape (n, examples, channels, height, width), each in random order.

        The tasks may have any number of ways: their shape is (n, 2 * ways). Support and query sets are the same whether or not
        there are unlabelled images.
        """
        return self._draw(tasks, self._shown_sizes, generator)

    def draw_split_episodes(self, tasks: Tensor, split: Split, generator: torch.Generator) -> Episodes:
        """Return ``draw_episodes`` with the split's sizes; in training distorted, if ``distortions`` says so."""
        low, high = self.shots_of(split)
        shots = low
        if low < high:  # one for all tasks: a batch is one tensor
            shots = int(torch.randint(low, high + 1, (), generator=generator, device=generator.device))
        sizes = self.sizes_of(split)._replace(shots=shots)
        same = sizes == self._shown_sizes  # a subclass may say what the data are by draw_episodes alone
        episodes = self.draw_episodes(tasks, generator) if same else self._draw(tasks, sizes, generator)
        if split == "train" and self.distortions == "affine":
            support, query = (part._replace(inputs=self._distorted(part.inputs, generator)) for part in episodes[:2])
            unlabelled = tuple(self._distorted(inputs, generator) for inputs in episodes.unlabelled)
            return episodes._replace(support=support, query=query, unlabelled=unlabelled)
        return episodes

    def _draw(self, tasks: Tensor, sizes: Sizes, generator: torch.Generator) -> Episodes:
        classes, rotations = tasks.long().chunk(2, dim=1)
        images = self._on(tasks.device)[0]
        chosen = self._choose(classes, sizes.shots + sizes.queries, generator)
        rows = self._rows(classes, rotations, chosen)
        sets = []
        for by_class in torch.split(rows, [sizes.shots, sizes.queries], dim=2):
            order = torch.rand(len(tasks), by_class[0].numel(), generator=generator, device=tasks.device).argsort(1)
            pixels = self._pixels(images, by_class.flatten(1).gather(1, order), tasks.dtype)
            sets.append(Examples(pixels, order // by_class.shape[2]))
        support, query = sets
        if not sizes.unlabelled:
            return Episodes(support, query)
        return Episodes(support, query, *self._draw_unlabelled(tasks, chosen, sizes.unlabelled, generator))

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
        if self.distractors:
            further = self._draw_distractors(classes, rotations, generator)
            classes, rotations = (torch.cat(parts, 1) for parts in zip((classes, rotations), further, strict=True))
        start, end = self._labels_on(tasks.device).unlabelled_from[classes], self._on(tasks.device)[2][classes]
        places = self._draw_places(count, start, end, generator, used)
        rows = self._rows(classes, rotations, places).flatten(1)
        order = torch.rand(rows.shape, generator=generator, device=tasks.device).argsort(1)
        pixels = self._pixels(self._on(tasks.device)[0], rows.gather(1, order), tasks.dtype)
        return (pixels,), ((order // count).clamp(max=ways),)

    def _draw_distractors(self, classes: Tensor, rotations: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return further classes of the split that each task's are of, and their rotations, shape (n, distractors) each."""
        turns = QUARTERS if self.rotations == "classes" else 1
        split_of = self._labels_on(classes.device).split_of
        noise = torch.rand(len(classes), len(split_of) * turns, generator=generator, device=classes.device)
        noise.masked_fill_((split_of != split_of[classes[:, :1]]).repeat_interleave(turns, 1), -1.0)
        noise.scatter_(1, classes * turns + rotations % turns, -1.0)
        drawn = noise.topk(self.distractors).indices
        return drawn // turns, self._turned(drawn, generator)

    def _turned(self, drawn: Tensor, generator: torch.Generator) -> Tensor:
        """Return the rotations of classes that were drawn among all classes, and turns of them if these are classes."""
        if self.rotations == "drawn":
            return torch.randint(QUARTERS, drawn.shape, generator=generator, device=generator.device)
        return drawn % (QUARTERS if self.rotations == "classes" else 1)

    def _draw_places(
        self, count: int, start: Tensor, end: Tensor, generator: torch.Generator, used: Tensor | None = None
    ) -> Tensor:
        """Return distinct places in classes, shape (n, classes, count), from ``start`` on and before ``end``: (n, classes).

        None of them is among ``used``, those of the first classes that are used already, shape (n, first classes, images).
        """
        most = int(self._images.counts.max())
        noise = torch.rand(*start.shape, most, generator=generator, device=start.device)
        place = torch.arange(most, device=start.device)
        noise.masked_fill_((place < start[..., None]) | (place >= end[..., None]), -1.0)
        if used is not None:
            noise[:, : used.shape[1]].scatter_(2, used, -1.0)
        return noise.topk(count).indices

    def _rows(self, classes: Tensor, rotations: Tensor, places: Tensor) -> Tensor:
        """Return the rows, among images in every rotation, of those at places in their classes: (*classes, images)."""
        images, starts, _, _ = self._on(classes.device)
        turned = rotations * len(self._images.images) if len(images) > len(self._images.images) else torch.zeros_like(rotations)
        return self._labels_on(classes.device).order[starts[classes][..., None] + places] + turned[..., None]

    def _labels_on(self, device: torch.device) -> LabelSplit:
        """Return which images have labels, on a device."""
        if device not in self._moved_labels:
            self._moved_labels[device] = LabelSplit(*(part.to(device) for part in self._labels))
        return self._moved_labels[device]

    def _choose(self, classes: Tensor, count: int, generator: torch.Generator) -> Tensor:
        """Return the places in their classes of ``count`` images with labels, distinct, shape (n, ways, count).

        They are the same for all of an episode's classes where they stand for drawers.
        """
        labelled = self._labels_on(classes.device).labelled[classes]
        asked = labelled[:, :1] if self.drawers == "different" else labelled
        return self._draw_places(count, torch.zeros_like(asked), asked, generator).expand(*classes.shape, count)

    def _distorted(self, inputs: Tensor, generator: torch.Generator) -> Tensor:
        """Return inputs of shape (..., channels, height, width), each under a map of its own; black comes in from outside."""
        images = inputs.flatten(0, -4)
        if self.normalisation == "none":
            return affine(images, generator).view_as(inputs)
        black = self._normalised(torch.zeros_like(images[:1]))
        return (affine(images - black, generator) + black).view_as(inputs)

    def _pixels(self, images: Tensor, rows: Tensor, dtype: torch.dtype) -> Tensor:
        pixels: Tensor = images.index_select(0, rows.flatten()).view(*rows.shape, *images.shape[1:]).to(dtype) / 255
        return pixels if self.normalisation == "none" else self._normalised(pixels)

    def _normalised(self, pixels: Tensor) -> Tensor:
        mean, deviation = (pixels.new_tensor(values)[:, None, None] for values in IMAGENET)
        return (pixels - mean) / deviation

    def sample_examples(self, n: int, split: Split, generator: torch.Generator, dtype: torch.dtype = torch.float32) -> Examples:
        """Return n images of a split's classes with their classes' numbers, for training without episodes.

        Every class, and with ``rotations`` every quarter turn of it, is as likely, and each of its images with a label too.
        The images have the shape (n, channels, height, width), the numbers (n,) and lie below ``count_classes(split)``.
        """
        self.require_episodes(split)
        generator = split_stream(generator, split)
        images, starts, _, classes = self._on(generator.device)
        order, labelled, _, _ = self._labels_on(generator.device)
        turns = 1 if self.rotations == "none" else QUARTERS
        label = torch.randint(len(classes[split]) * turns, (n,), generator=generator, device=generator.device)
        drawn = classes[split][label // turns]
        unit = torch.rand(n, generator=generator, device=generator.device, dtype=torch.float64)
        places = (unit * labelled[drawn]).long()
        rows = order[starts[drawn] + places] + label % turns * len(self._images.images)
        inputs = self._pixels(images, rows, dtype)
        if split == "train" and self.distortions == "affine":
            inputs = self._distorted(inputs, generator)
        return Examples(inputs, label)

    def count_classes(self, split: Split) -> int:
        """Return how many classes ``sample_examples`` tells apart."""
        return len(self.splits[split]) * (1 if self.rotations == "none" else QUARTERS)

    def check(self, task: Mapping[str, Any]) -> Task:
        """Return a task's entries as arrays.

        Raises:
            TaskError: a task outside the family, or one that has a class twice.
        """
        checked = super().check(task)
        classes, rotations = checked["classes"].tolist(), checked["rotations"].tolist()
        distinct = set(zip(classes, rotations, strict=True)) if self.rotations == "classes" else set(classes)
        if len(distinct) < self.ways:
            raise TaskError(f"task={dict(task)!r} has a class twice: give {self.ways} different ones")
        groups = [] if self._groups is None else self._groups.names(classes)
        if len(groups) > 1:
            raise TaskError(f"task['classes']={classes} are of {len(groups)} groups, {', '.join(groups)}: choose all of one")
        if lack := self._lack(classes, self._shown_sizes):
            raise TaskError(f"task['classes']={classes}: {lack}")
        splits = [name for name, numbers in self.splits.items() if set(classes) & set(numbers)]
        if self.distractors and not (len(splits) == 1 and set(classes) <= set(self.splits[splits[0]])):
            raise TaskError(
                f"task['classes']={classes} are not of one split, from which the {self.distractors} distractors would come: "
                "choose classes of one split, or leave distractors out"
            )
        if self.rotations == "none" and checked["rotations"].any():
            raise TaskError(
                f"task['rotations']={checked['rotations'].tolist()}: this environment was made with rotations='none'"
            )
        return checked

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the cross-entropy of outputs of shape (examples, ways), reduced as ``reduction`` says."""
        loss = functional.cross_entropy(outputs, targets)
        return loss * outputs.shape[-1] if self.reduction == "sum over ways" else loss

    def measures(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """Return one task's loss and accuracy, each of shape ()."""
        accuracy = (outputs.argmax(-1) == targets).to(outputs.dtype).mean()
        return {"loss": self.loss(outputs, targets), "accuracy": accuracy}

    def decide(self, outputs: Tensor) -> Tensor:
        """Return the predicted classes, shape (examples,), from outputs of shape (examples, ways)."""
        return outputs.argmax(-1)

    def reward(self, predictions: Array, targets: Array) -> float:
        """Return the accuracy."""
        return float((predictions == targets).mean())

    def render(self) -> Any:
        """Return the episode in force as a picture, shape (height, width, 3), uint8: a row a class, support images first."""
        shown = self.observation
        if shown is None or self._query_targets is None:
            return None
        query = Examples(torch.as_tensor(shown["query_inputs"]), torch.as_tensor(self._query_targets))
        support = Examples(torch.as_tensor(shown["support_inputs"]), torch.as_tensor(shown["support_targets"]))
        unlabelled = tuple(torch.as_tensor(shown[name]) for name in ("unlabelled_inputs",) if name in shown)
        episode: Episodes = tree_map(lambda part: part[None], Episodes(support, query, unlabelled))
        return self.picture(episode)

    def picture(self, episodes: Episodes) -> Array:
        """Return a picture of the first episode, shape (height, width, 3), uint8.

        A row a class, support images left of a gap; right of another those without labels, in their order, row by row.
        """
        support, query = episodes.support, episodes.query
        sets = [examples.inputs[0][examples.targets[0].argsort(stable=True)] for examples in (support, query)]
        sets += [inputs[0] for inputs in episodes.unlabelled]
        ways = int(support.targets[0].max()) + 1
        parts = []
        for images in sets:
            scaled = (images - images.min()) / (images.max() - images.min()).clamp(min=1e-6)
            columns = -(-len(images) // ways)
            blank = scaled.new_full((ways * columns - len(images), *images.shape[1:]), 0.5)
            grid = make_grid(list(torch.cat([scaled, blank]).cpu()), nrow=columns, pad_value=0.5)
            parts += [torch.ones(3, grid.shape[1], 8), grid]
        picture = torch.cat(parts[1:], dim=2)
        pixels: Array = (255 * picture).byte().permute(1, 2, 0).numpy()
        return pixels
