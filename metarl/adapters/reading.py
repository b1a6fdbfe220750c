"""The reading adapter: a task is what a reader makes of its embedded support set, in one pass; nothing is stepped.

The network is an embedding, meta-learned and the same for every task. A reader stands on it: it reads the embedded support
set and answers embedded queries. Prototypes, attention and memories are readers, one file each.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from metarl.adapters.base import Adaptation, Adapter, Meta, averages, initial_values, shared, unneeded, with_averages
from metarl.adapters.methods import Methods
from metarl.errors import ConfigError
from metarl.learner import Averages, Learner
from metarl.problems.base import Problem, State, Tasks
from metarl.problems.supervised import Loss, SupervisedProblem

READER = "reader."
Targets = Literal["classes", "values", "both"]


class Support(NamedTuple):
    """A support set: of all tasks with their axis first and inputs as they are, or of one task for a reader, embedded.

    Attributes:
        inputs: shape (tasks, examples, ...); for a reader embedded, shape (examples, features).
        columns: the targets as numbers, shape (tasks, examples, outputs): of classes 1 where an example is of a class, else 0.
        targets: as the problem has them: numbers of classes, shape (tasks, examples), or values (tasks, examples, outputs).
        unlabelled: nothing, or inputs without targets, shape (tasks, unlabelled examples, ...), or embedded.
    """

    inputs: Tensor
    columns: Tensor
    targets: Tensor
    unlabelled: tuple[Tensor, ...] = ()


class SupportReader(nn.Module, ABC):
    """Reads one task's embedded support set, and answers embedded queries; its own parameters are meta-learned.

    Pure and without a task axis: ``torch.vmap`` adds it, so that only layers with a batching rule serve: write recurrent cells
    in plain operations. No query may change another's answer.

    Attributes:
        serves: whether support targets are classes, values, or may be both.
        follows_ways: whether it takes tasks of other ways than it was made for.
        reads_unlabelled: whether it is shown an episode's unlabelled inputs; they are embedded for those alone who are.
    """

    serves: ClassVar[Targets] = "classes"
    follows_ways: ClassVar[bool] = True
    reads_unlabelled: ClassVar[bool] = False

    @abstractmethod
    def read(self, support: Support) -> Any:
        """Return what is kept of one task's embedded support set: any pytree of tensors.

        Raises:
            ConfigError: a support set that it cannot hold.
        """

    @abstractmethod
    def answer(self, queries: Tensor, kept: Any) -> Tensor:
        """Return logits or values, shape (queries, outputs), for embedded queries, shape (queries, features)."""

    def loss(self, queries: Tensor, kept: Any, targets: Tensor, criterion: Loss) -> Tensor:
        """Return what training minimises on one task, shape (): the criterion of the answers, unless a paper has another."""
        return criterion(self.answer(queries, kept), targets)


class ReadingAdapter(Adapter):
    """Embeds the support set once and lets a reader read it.

    Args:
        problem: few-shot classification or regression.
        learner: the embedding, shape (examples, features); all its parameters are meta-learned and none is adapted.
        reader: what reads; its parameters are where meta-learning starts, and are not kept here.
        features: the entries of an embedding, for a classifier in pretraining to fit; not needed otherwise.

    Raises:
        ConfigError: a problem whose targets the reader does not serve.
    """

    stage: ClassVar[str] = "support set"

    def __init__(self, problem: Problem[Any], learner: Learner, reader: SupportReader, features: int = 0) -> None:
        name, has_classes = type(reader).__name__, problem.metric == "accuracy"
        if not isinstance(problem, SupervisedProblem) or (reader.serves == "classes" and not has_classes):
            raise ConfigError(
                f"{name} compares classes by their support examples, and there are none here: choose a family of few-shot "
                "classification, such as metarl/Omniglot-v0"
            )
        if reader.serves == "values" and has_classes:
            raise ConfigError(f"{name} predicts values, and these are classes: choose a family of regression: metarl/Sine-v0")
        super().__init__(problem, learner)
        self._methods = Methods.of(reader)
        self.reader = cast(SupportReader, self._methods.target)
        self._constants = {f"{READER}{name}": value.detach().clone() for name, value in reader.named_buffers()}
        self.features = features

    @property
    def name(self) -> str:
        """The reader's name, for errors."""
        return type(self.reader).__name__

    def initial_meta(self, *modules: nn.Module) -> Meta:
        """Return the numbers of the network and the reader."""
        network, reader = modules
        meta = initial_values(self.learner, network)
        return meta | {f"{READER}{name}": value.detach().clone().to(meta["theta"]) for name, value in reader.named_parameters()}

    def call(self, meta: Meta, method: str, *arguments: Any) -> Any:
        """Return what a method of the reader gives with the meta-learned parameters, for one task."""
        return functional_call(self._methods, Methods.values(READER, meta, self._constants), (method, *arguments))

    def adapt(self, meta: Meta, tasks: Tasks, generator: torch.Generator, steps: int | None = None) -> Adaptation:
        """Read every task's support set.

        Raises:
            ConfigError: ``steps``, as nothing is stepped, or a support set that the reader cannot hold.
        """
        if steps:
            raise ConfigError(f"steps={steps}: {self.name} takes no inner steps; leave it out, or give 0")
        with self.clock("sampling"):
            experiences = self.experiences(tasks, generator)
        with self.clock("adaptation"):
            adapted = self.replay(meta, experiences, self.problem.count(tasks))
        return Adaptation([adapted], experiences)

    def experiences(self, tasks: Tasks, generator: torch.Generator) -> list[Support]:
        """Return the support sets with their targets as columns."""
        inputs, targets = self.problem.collect(unneeded, tasks, "support", generator)
        is_class = self.problem.metric == "accuracy"
        columns = functional.one_hot(targets.long()).to(inputs) if is_class else targets.flatten(2)
        return [Support(inputs, columns, targets, self.problem.unlabelled(tasks) if self.reader.reads_unlabelled else ())]

    def replay(self, meta: Meta, experiences: list[Support], count: int, path: list[Any] | None = None) -> Any:
        """Return what is kept of each task's support set, and its moments if they normalise its queries."""

        def one(support: Support) -> tuple[Any, Averages]:
            moments = {}
            if self.learner.batch_norm == "support":
                moments = self.learner.moments(meta["theta"], shared(meta), support.inputs)
            return self.call(meta, "read", self.embed_support(meta, moments, support)), moments

        return torch.vmap(one)(experiences[0])

    def apply(self, meta: Meta, adapted: Any, inputs: Tensor, state: State = ()) -> tuple[Tensor, State]:
        """Return one task's answers, shape (queries, outputs), and the state as it was."""
        kept, moments = adapted
        return self.call(meta, "answer", self.embed(meta, moments, inputs), kept), state

    def losses(self, meta: Meta, adapted: Any, experience: Any) -> Tensor:
        """Return every task's loss as the reader has it, shape (tasks,)."""
        criterion = self.problem.criterion  # type: ignore[attr-defined]

        def one(adapted: Any, experience: Any) -> Any:
            kept, moments = adapted
            embedded = self.embed(meta, moments, experience.inputs)
            return self.call(meta, "loss", embedded, kept, experience.targets, criterion)

        losses: Tensor = torch.vmap(one)(adapted, experience)
        return losses

    def embed(self, meta: Meta, moments: Averages, inputs: Tensor) -> Tensor:
        """Return the embeddings, shape (examples, features), of one task's inputs, with its moments if it has some."""
        return self.learner(meta["theta"], shared(meta), inputs, moments or averages(meta)).flatten(1)

    def embed_support(self, meta: Meta, moments: Averages, support: Support) -> Support:
        """Return one task's support set with its inputs embedded, and those without labels in one batch with them."""
        sets = [support.inputs, *support.unlabelled]
        embedded, *unlabelled = torch.split(self.embed(meta, moments, torch.cat(sets)), [len(inputs) for inputs in sets])
        return support._replace(inputs=embedded, unlabelled=tuple(unlabelled))

    def classifier_shapes(self, classes: int) -> dict[str, tuple[int, ...]]:
        """Return the shapes of a linear classifier of embeddings."""
        return {"weight": (classes, self.features), "bias": (classes,)}

    def classify(self, meta: Meta, classifier: Mapping[str, Tensor], inputs: Tensor) -> tuple[Tensor, Meta]:
        """Return a linear classifier's logits of the embedding; see ``Adapter``."""
        embedded, tracked = self.learner.track(meta["theta"], shared(meta), inputs, averages(meta))
        return functional.linear(embedded.flatten(1), classifier["weight"], classifier["bias"]), with_averages(meta, tracked)
