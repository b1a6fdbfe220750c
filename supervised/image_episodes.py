"""Few-shot image classification: episodes of N ways and K shots, drawn on the device from one uint8 tensor."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torchvision.utils import make_grid

from metarl.errors import ConfigError, TaskError, require_positive, unknown_name
from metarl.supervised.distortions import affine
from metarl.supervised.episodes import EpisodeEnv, split_stream
from metarl.supervised.groups import Groups
from metarl.supervised.images import ImageSet
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
    in [0, 1] (before normalisation), in random order; `support_targets`, shape (ways * shots,), int64 in [0, ways).

    ## Action
    `MultiDiscrete`, shape (ways * queries,): the predicted classes of the query images.

    ## Reward
    The accuracy, in [0, 1]; guessing is worth 1 / ways.

    ## End
    One step ends the episode.

    ## Task
    `{"classes": (ways,), "rotations": (ways,)}`, int64: indices into ``class_names``, and quarter turns to the left.

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
        ConfigError: an argument out of range, or a training split with too few classes or images.
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
        require_positive(**counts)
        for name, count in counts.items():
            if not isinstance(count, (int, np.integer)):
                raise ConfigError(f"{name}={count!r} must be a whole number")
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
            self._groups.require_drawers(images.counts.tolist())
        self._moved: dict[torch.device, tuple[Tensor, Tensor, Tensor, dict[Split, Tensor]]] = {}
        self.input_shape = tuple(images.images.shape[1:])
        self.output_size = ways
        if rotations != "none" and self.input_shape[1] != self.input_shape[2]:
            raise ConfigError(f"rotations={rotations!r} need square images; these are {self.input_shape[1:]}: use 'none'")
        self.require_episodes("train")
        if normalisation == "imagenet" and self.input_shape[0] != len(IMAGENET[0]):
            raise ConfigError(f"normalisation='imagenet' is of three colours; these images have {self.input_shape[0]} channel")
        last = len(images.names) - 1
        self.bounds: Bounds = {
            "classes": (np.zeros(ways, np.int64), np.full(ways, last)),
            "rotations": (np.zeros(ways, np.int64), np.full(ways, QUARTERS - 1)),
        }
        low, high = (0.0, 1.0) if normalisation == "none" else (-3.0, 3.0)
        pixels = [gym.spaces.Box(low, high, (ways * count, *self.input_shape), np.float32) for count in (shots, queries)]
        self.observation_space = gym.spaces.Dict(
            support_inputs=pixels[0],
            support_targets=gym.spaces.MultiDiscrete(np.full(ways * shots, ways)),
            query_inputs=pixels[1],
        )
        self.action_space = gym.spaces.MultiDiscrete(np.full(ways * queries, ways))

    def ways_of(self, split: Split) -> int:
        """Return how many classes an episode of ``sample_episodes`` has: ``train_ways`` in training if given, else ``ways``."""
        split_index(split)
        return self.train_ways if split == "train" and self.train_ways is not None else self.ways

    def shots_of(self, split: Split) -> tuple[int, int]:
        """Return the fewest and the most support images of a class in an episode of ``sample_episodes``."""
        split_index(split)
        return self.train_shots if split == "train" and self.train_shots is not None else (self.shots, self.shots)

    def require_episodes(self, split: Split) -> None:
        """Raise ConfigError if the split has too few classes for its episodes, or one of them too few images."""
        self._require_classes(split, self.ways_of(split), self.shots_of(split)[1])

    def _require_classes(self, split: Split, ways: int, shots: int) -> None:
        split_index(split)
        classes = self.splits.get(split, ())
        field, turns = "ways" if ways == self.ways else "train_ways", QUARTERS if self.rotations == "classes" else 1
        available, where = len(classes) * turns, f"split {split!r}"
        if self._groups is not None and classes:
            largest, count = self._groups.largest(classes)
            available, where = count * turns, f"{largest}, the largest group of {where}"
        if ways > available:
            raise ConfigError(f"{field}={ways} is more than the {available} classes of {where}: ask for at most {available}")
        counts = self._images.counts[list(classes)]
        fewest = int(counts.min())
        if fewest < shots + self.queries:
            name = self.class_names[classes[int(counts.argmin())]]
            field = "shots" if shots == self.shots else "train_shots"
            raise ConfigError(
                f"{field}={shots} and queries={self.queries} need {shots + self.queries} images of a class, but "
                f"{name} of split {split!r} has {fewest}: lower one of them"
            )

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
        self._require_classes(split, self.ways, self.shots)
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
        rotations = drawn % turns
        if self.rotations == "drawn":
            rotations = torch.randint(QUARTERS, drawn.shape, generator=generator, device=generator.device)
        return torch.cat([classes[drawn // turns], rotations], dim=1).double()

    def draw_episodes(self, tasks: Tensor, generator: torch.Generator) -> Episodes:
        """Return support and query sets with inputs of shape (n, examples, channels, height, width), each in random order.

        The tasks may have any number of ways: their shape is (n, 2 * ways).
        """
        return self._draw(tasks, self.shots, generator)

    def draw_split_episodes(self, tasks: Tensor, split: Split, generator: torch.Generator) -> Episodes:
        """Return ``draw_episodes`` with the split's shots; in training distorted, if ``distortions`` says so."""
        low, high = self.shots_of(split)
        shots = low
        if low < high:  # one for all tasks: a batch is one tensor
            shots = int(torch.randint(low, high + 1, (), generator=generator, device=generator.device))
        episodes = self._draw(tasks, shots, generator)
        if split == "train" and self.distortions == "affine":
            support, query = (part._replace(inputs=self._distorted(part.inputs, generator)) for part in episodes[:2])
            return Episodes(support, query, tuple(self._distorted(inputs, generator) for inputs in episodes.unlabelled))
        return episodes

    def _draw(self, tasks: Tensor, shots: int, generator: torch.Generator) -> Episodes:
        classes, rotations = tasks.long().chunk(2, dim=1)
        images, starts, _, _ = self._on(tasks.device)
        chosen = self._choose(classes, shots + self.queries, generator)
        turned = rotations * len(self._images.images) if len(images) > len(self._images.images) else 0
        rows = (starts[classes] + turned)[..., None] + chosen
        parts = []
        for by_class in torch.split(rows, [shots, self.queries], dim=2):
            order = torch.rand(len(tasks), by_class[0].numel(), generator=generator, device=tasks.device).argsort(1)
            pixels = self._pixels(images, by_class.flatten(1).gather(1, order), tasks.dtype)
            parts.append(Examples(pixels, order // by_class.shape[2]))
        return Episodes(*parts)

    def _choose(self, classes: Tensor, count: int, generator: torch.Generator) -> Tensor:
        """Return the numbers of ``count`` images of each class, without replacement, shape (n, ways, count).

        They are the same for all of an episode's classes where they stand for drawers.
        """
        counts, most = self._on(classes.device)[2], int(self._images.counts.max())
        asked = classes[:, :1] if self.drawers == "different" else classes
        noise = torch.rand(*asked.shape, most, generator=generator, device=classes.device)
        noise.masked_fill_(torch.arange(most, device=classes.device) >= counts[asked][..., None], -1.0)
        return noise.topk(count).indices.expand(*classes.shape, count)

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

        Every class, and with ``rotations`` every quarter turn of it, is as likely. The images have the shape (n, channels,
        height, width), the numbers (n,) and lie below ``count_classes(split)``.
        """
        self.require_episodes(split)
        generator = split_stream(generator, split)
        images, starts, counts, classes = self._on(generator.device)
        turns = 1 if self.rotations == "none" else QUARTERS
        label = torch.randint(len(classes[split]) * turns, (n,), generator=generator, device=generator.device)
        drawn = classes[split][label // turns]
        unit = torch.rand(n, generator=generator, device=generator.device, dtype=torch.float64)
        rows = starts[drawn] + (unit * counts[drawn]).long() + label % turns * len(self._images.images)
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
        for number in classes:
            count, needed = int(self._images.counts[number]), self.shots + self.queries
            if count < needed:
                raise TaskError(
                    f"task['classes']={classes}: class {number} ({self.class_names[number]}) has {count} images, but "
                    f"shots={self.shots} and queries={self.queries} need {needed}: choose another"
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
        return self.picture(Episodes(*(Examples(*(part[None] for part in examples)) for examples in (support, query))))

    def picture(self, episodes: Episodes) -> Array:
        """Return a picture of the first episode, shape (height, width, 3), uint8: a row a class, support left of a gap."""
        halves = []
        ways = int(episodes.support.targets[0].max()) + 1
        for inputs, targets in (episodes.support, episodes.query):
            by_class = inputs[0][targets[0].argsort(stable=True)].cpu()
            scaled = (by_class - by_class.min()) / (by_class.max() - by_class.min()).clamp(min=1e-6)
            halves.append(make_grid(list(scaled), nrow=len(scaled) // ways, pad_value=0.5))
        gap = torch.ones(3, halves[0].shape[1], 8)
        picture = torch.cat([halves[0], gap, halves[1]], dim=2)
        pixels: Array = (255 * picture).byte().permute(1, 2, 0).numpy()
        return pixels
