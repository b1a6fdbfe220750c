"""Few-shot image classification: episodes of N ways and K shots."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torch.utils._pytree import tree_map

from metarl.errors import ConfigError, TaskError, require_between, unknown_name
from metarl.supervised.episode_picture import episode_picture
from metarl.supervised.episode_sizes import EpisodeSizes, Sizes
from metarl.supervised.episodes import EpisodeEnv, split_stream
from metarl.supervised.groups import Groups
from metarl.supervised.image_sampler import QUARTERS, ImageSampler, Rotations
from metarl.supervised.image_transforms import IMAGENET, Distortions, Normalisation, distorted
from metarl.supervised.images import ImageSet
from metarl.supervised.labels import split_labels
from metarl.supervised.networks import conv4, koch, perceptron, resnet12
from metarl.tasks import Array, Bounds, Episodes, Examples, Split, Task

Reduction = Literal["mean", "sum over ways"]
Drawers = Literal["any", "different"]


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
        self.sizes = EpisodeSizes(
            ways, shots, queries, unlabelled, distractors, train_ways, train_shots, train_queries, train_unlabelled
        )
        require_between(0, np.inf, label_seed=label_seed)
        require_between(0, 1, labelled=labelled)
        if not isinstance(label_seed, (int, np.integer)):
            raise ConfigError(f"label_seed={label_seed!r} must be a whole number")
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
        self._sampler = ImageSampler(
            images,
            self.splits,
            split_labels(images.counts, self.splits, labelled, label_seed),
            self.sizes,
            rotations=rotations,
            normalisation=normalisation,
            groups=self._groups,
            same_places=drawers == "different",
        )
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
        return self.sizes.ways_of(split)

    def shots_of(self, split: Split) -> tuple[int, int]:
        """Return the fewest and the most support images of a class in an episode of ``sample_episodes``."""
        return self.sizes.shots_of(split)

    def sizes_of(self, split: Split) -> Sizes:
        """Return how many images of each class an episode of ``sample_episodes`` has, at most if shots are drawn."""
        return self.sizes.of(split)

    def require_episodes(self, split: Split) -> None:
        """Raise ConfigError if the split has too few classes for its episodes, or one of them too few images."""
        self._sampler.require(split, self.ways_of(split), self.sizes_of(split))

    def draw_tasks(self, n: int, split: Split, generator: torch.Generator) -> Tensor:
        """Return n tasks as rows, the classes and then their rotations, shape (n, 2 * ways), float64."""
        self._sampler.require(split, self.ways, self.sizes.shown)
        return self._sampler.draw_tasks(n, split, self.ways, generator)

    def draw_episode_tasks(self, n: int, split: Split, generator: torch.Generator) -> Tensor:
        """Return n tasks as rows, the classes and then their rotations, shape (n, 2 * ways_of(split)), float64."""
        self.require_episodes(split)
        return self._sampler.draw_tasks(n, split, self.ways_of(split), generator)

    def draw_episodes(self, tasks: Tensor, generator: torch.Generator) -> Episodes:
        """Return support and query sets with inputs of shape (n, examples, channels, height, width), each in random order.

        The tasks may have any number of ways: their shape is (n, 2 * ways). Support and query sets are the same whether or not
        there are unlabelled images.
        """
        return self._sampler.draw_episodes(tasks, self.sizes.shown, generator)

    def draw_split_episodes(self, tasks: Tensor, split: Split, generator: torch.Generator) -> Episodes:
        """Return ``draw_episodes`` with the split's sizes; in training distorted, if ``distortions`` says so."""
        low, high = self.shots_of(split)
        shots = low
        if low < high:  # one for all tasks: a batch is one tensor
            shots = int(torch.randint(low, high + 1, (), generator=generator, device=generator.device))
        sizes = self.sizes_of(split)._replace(shots=shots)
        same = sizes == self.sizes.shown  # a subclass may say what the data are by draw_episodes alone
        if not same and type(self).draw_episodes is not ImageEpisodes.draw_episodes:
            raise ConfigError(
                f"{type(self).__name__} says by draw_episodes what its data are, which has the sizes that are shown: leave out "
                "train_shots, train_queries and train_unlabelled, or override draw_split_episodes too"
            )
        episodes = self.draw_episodes(tasks, generator) if same else self._sampler.draw_episodes(tasks, sizes, generator)
        if split == "train" and self.distortions == "affine":
            support, query = (
                part._replace(inputs=distorted(part.inputs, self.normalisation, generator)) for part in episodes[:2]
            )
            unlabelled = tuple(distorted(inputs, self.normalisation, generator) for inputs in episodes.unlabelled)
            return episodes._replace(support=support, query=query, unlabelled=unlabelled)
        return episodes

    def sample_examples(self, n: int, split: Split, generator: torch.Generator, dtype: torch.dtype = torch.float32) -> Examples:
        """Return n images of a split's classes with their classes' numbers, for training without episodes.

        Every class, and with ``rotations`` every quarter turn of it, is as likely, and each of its images with a label too.
        The images have the shape (n, channels, height, width), the numbers (n,) and lie below ``count_classes(split)``.
        """
        self.require_episodes(split)
        generator = split_stream(generator, split)
        examples = self._sampler.draw_examples(n, split, generator, dtype)
        if split == "train" and self.distortions == "affine":
            return examples._replace(inputs=distorted(examples.inputs, self.normalisation, generator))
        return examples

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
        if lack := self._sampler.lack(classes, self.sizes.shown):
            raise TaskError(f"task['classes']={classes}: {lack}")
        splits = [name for name, numbers in self.splits.items() if set(classes) & set(numbers)]
        if self.sizes.distractors and not (len(splits) == 1 and set(classes) <= set(self.splits[splits[0]])):
            raise TaskError(
                f"task['classes']={classes} are not of one split, from which the {self.sizes.distractors} distractors would "
                "come: choose classes of one split, or leave distractors out"
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
        """Return a picture of the first episode, shape (height, width, 3), uint8 (see ``episode_picture``)."""
        return episode_picture(episodes)
