"""Semi-supervised Prototypical Networks.

Ren, Triantafillou, Ravi, Snell, Swersky, Tenenbaum, Larochelle and Zemel 2018, "Meta-Learning for Semi-Supervised Few-Shot
Classification".
"""

from dataclasses import dataclass
from typing import Literal

from metarl.adapters import DistractorCluster, MaskedSoftKMeans, SoftKMeans, SupportReader
from metarl.agents.pictures import Pictures, Unseen, refinement
from metarl.agents.reading import ReadingAgent, ReadingOptions

Refinement = Literal["soft", "distractor-cluster", "masked"]
READERS: dict[Refinement, type[SoftKMeans]] = {
    "soft": SoftKMeans,
    "distractor-cluster": DistractorCluster,
    "masked": MaskedSoftKMeans,
}


class SemiProtoNet(ReadingAgent):
    """Learns an embedding in which unlabelled images refine the prototypes of their classes.

    See ``Agent`` for the arguments. The family's ``unlabelled``, ``distractors`` and ``labelled`` say what there is without
    labels: ``SemiProtoNet("Conv4", "metarl/Omniglot-v0", env_kwargs={"unlabelled": 5, "labelled": 0.1, "train_queries": 1})``.
    Without unlabelled images it is a ``ProtoNet``; with ``train_unlabelled=0`` it is trained as one, and refines in tests only,
    which the paper calls semi-supervised inference.
    """

    @dataclass(frozen=True)
    class Options(ReadingOptions):
        """What semi-supervised Prototypical Networks take."""

        meta_batch: int | None = 1
        """Episodes in an outer step; the paper's code takes one."""
        refinement: Refinement = "soft"
        """How unlabelled images count: soft (k-means), distractor-cluster (one cluster more) or masked (by learned masks)."""
        refinements: int = 1
        """How many times prototypes are refined; the paper found one to do. 0 is what the others are compared with."""

    def make_reader(self, features: int, outputs: int) -> SupportReader:
        """Return prototypes that are refined as chosen."""
        return READERS[self.options.refinement](self.options.refinements)

    def adapter_pictures(self, unseen: Unseen) -> Pictures:
        """Return unseen episodes in the embedding, with prototypes before and after refinement."""
        return refinement.draw(self, unseen)
