"""Metric adapters: a task is what its support set is in the network's embedding; nothing is stepped.

The network is an embedding, meta-learned and the same for every task, so a task's adaptation is one pass over its support set.
"""

from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from metarl.adapters.base import Adaptation, Adapter, Meta, averages, initial_values, shared, unneeded, with_averages
from metarl.errors import ConfigError, unknown_name
from metarl.learner import Averages, Learner
from metarl.problems.base import Problem, State, Tasks

Distance = Literal["squared-euclidean", "cosine"]


def squared_euclidean(queries: Tensor, others: Tensor) -> Tensor:
    r"""Return $-\|q - o\|^2$ for each of (n, features) and (m, features), shape (n, m)."""
    return -(queries[:, None] - others[None]).square().sum(-1)


def cosine(queries: Tensor, others: Tensor) -> Tensor:
    """Return the cosines between each of (n, features) and (m, features), shape (n, m)."""
    return functional.normalize(queries, dim=1) @ functional.normalize(others, dim=1).t()


SIMILARITIES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"squared-euclidean": squared_euclidean, "cosine": cosine}
"""By the distance's name: higher is nearer."""


class Labelled(NamedTuple):
    """A support set with its classes as columns.

    Attributes:
        inputs: shape (tasks, examples, ...).
        members: 1 where an example is of a class, else 0, shape (tasks, examples, ways).
    """

    inputs: Tensor
    members: Tensor


class MetricAdapter(Adapter):
    """Embeds the support set once; a kind of it says what is kept of the embedding, and how queries are compared with that.

    Args:
        problem: few-shot classification.
        learner: the embedding, shape (examples, features); all its parameters are meta-learned and none is adapted.
        distance: by which embeddings are compared.
        features: the entries of an embedding, for a classifier in pretraining to fit; not needed otherwise.

    Raises:
        ConfigError: a problem without classes, or an unknown distance.
    """

    stage: ClassVar[str] = "support set"
    landmark: ClassVar[str]
    """What queries are compared with, in words."""

    def __init__(self, problem: Problem[Any], learner: Learner, distance: Distance, features: int = 0) -> None:
        if problem.metric != "accuracy":
            raise ConfigError(
                f"{type(self).__name__} compares classes by their support examples, and there are none here: choose a family "
                "of few-shot classification, such as metarl/Omniglot-v0"
            )
        if distance not in get_args(Distance):
            raise unknown_name("distance", distance, get_args(Distance))
        super().__init__(problem, learner)
        self.similarity = SIMILARITIES[distance]
        self.features = features

    @abstractmethod
    def summarise(self, embedded: Tensor, members: Tensor) -> Any:
        """Return what is kept of one support set, embedded to shape (examples, features); members as in ``Labelled``."""

    @abstractmethod
    def landmarks(self, kept: Any) -> tuple[Tensor, Tensor]:
        """Return what queries are compared with, shape (landmarks, features), and the classes of that, shape (landmarks,)."""

    @abstractmethod
    def logits(self, embedded: Tensor, kept: Any) -> Tensor:
        """Return the logits, shape (queries, ways), of query examples embedded to shape (queries, features)."""

    def initial_meta(self, *modules: nn.Module) -> Meta:
        """Return the numbers of the network."""
        return initial_values(self.learner, modules[0])

    def adapt(self, meta: Meta, tasks: Tasks, generator: torch.Generator, steps: int | None = None) -> Adaptation:
        """Embed every task's support set.

        Raises:
            ConfigError: ``steps`` of a metric adapter, which takes none.
        """
        if steps:
            raise ConfigError(f"steps={steps}: {type(self).__name__} takes no inner steps; leave it out, or give 0")
        with self.clock("sampling"):
            experiences = self.experiences(tasks, generator)
        with self.clock("adaptation"):
            adapted = self.replay(meta, experiences, self.problem.count(tasks))
        return Adaptation([adapted], experiences)

    def experiences(self, tasks: Tasks, generator: torch.Generator) -> list[Labelled]:
        """Return the support sets with their classes as columns."""
        support = self.problem.collect(unneeded, tasks, "support", generator)
        return [Labelled(support.inputs, functional.one_hot(support.targets.long()).to(support.inputs))]

    def replay(self, meta: Meta, experiences: list[Labelled], count: int, path: list[Any] | None = None) -> Any:
        """Return what is kept of each task's support set, and its moments if they normalise its queries."""

        def one(support: Labelled) -> tuple[Any, Averages]:
            moments = {}
            if self.learner.batch_norm == "support":
                moments = self.learner.moments(meta["theta"], shared(meta), support.inputs)
            return self.summarise(self.embed(meta, moments, support.inputs), support.members), moments

        return torch.vmap(one)(experiences[0])

    def apply(self, meta: Meta, adapted: Any, inputs: Tensor, state: State = ()) -> tuple[Tensor, State]:
        """Return the logits of one task's queries, shape (queries, ways), and the state as it was."""
        kept, moments = adapted
        return self.logits(self.embed(meta, moments, inputs), kept), state

    def embed(self, meta: Meta, moments: Averages, inputs: Tensor) -> Tensor:
        """Return the embeddings, shape (examples, features), of one task's inputs, with its moments if it has some."""
        return self.learner(meta["theta"], shared(meta), inputs, moments or averages(meta)).flatten(1)

    def classifier_shapes(self, classes: int) -> dict[str, tuple[int, ...]]:
        """Return the shapes of a linear classifier of embeddings."""
        return {"weight": (classes, self.features), "bias": (classes,)}

    def classify(self, meta: Meta, classifier: Mapping[str, Tensor], inputs: Tensor) -> tuple[Tensor, Meta]:
        """Return a linear classifier's logits of the embedding; see ``Adapter``."""
        embedded, tracked = self.learner.track(meta["theta"], shared(meta), inputs, averages(meta))
        return functional.linear(embedded.flatten(1), classifier["weight"], classifier["bias"]), with_averages(meta, tracked)


class Prototypes(MetricAdapter):
    """Prototypical Networks: a class is the mean of its support examples' embeddings.

    Snell, Swersky and Zemel 2017, "Prototypical Networks for Few-shot Learning", eqs. 1 and 2.
    """

    landmark = "prototype"

    def summarise(self, embedded: Tensor, members: Tensor) -> Tensor:
        """Return the prototypes, shape (ways, features)."""
        return members.t() @ embedded / members.sum(0)[:, None]

    def landmarks(self, kept: Tensor) -> tuple[Tensor, Tensor]:
        """Return the prototypes."""
        return kept, torch.arange(len(kept), device=kept.device)

    def logits(self, embedded: Tensor, kept: Tensor) -> Tensor:
        """Return minus the distances to the prototypes."""
        return self.similarity(embedded, kept)


class NearestNeighbour(MetricAdapter):
    """The nearest neighbour: a class is as near as the nearest of its support examples."""

    landmark = "support example"

    def summarise(self, embedded: Tensor, members: Tensor) -> tuple[Tensor, Tensor]:
        """Return the embedded examples, shape (examples, features), and their classes as columns."""
        return embedded, members

    def landmarks(self, kept: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """Return the embedded support examples."""
        examples, members = kept
        return examples, members.argmax(1)

    def logits(self, embedded: Tensor, kept: tuple[Tensor, Tensor]) -> Tensor:
        """Return for each class the similarity to the nearest support example of it."""
        examples, members = kept
        similarities = self.similarity(embedded, examples)
        of_class = members.t() > 0  # (ways, support examples)
        return torch.where(of_class, similarities[:, None], -torch.inf).amax(2)
