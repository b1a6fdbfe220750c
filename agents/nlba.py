"""Non-linear bias adaptation: Vartak et al. 2017, "A Meta-Learning Perspective on Cold-Start Recommendations for Items"."""

from collections.abc import Sequence
from dataclasses import dataclass

from metarl.adapters import NonlinearBiasAdaptation, SupportReader
from metarl.agents.pictures import Pictures, Unseen, engagement
from metarl.agents.reading import ReadingAgent, ReadingOptions


class NLBA(ReadingAgent):
    """Recommends by a network whose biases a user's engagements set.

    See ``Agent`` for the arguments; of two classes, as those of ``metarl/Recommendation-v0``.
    """

    @dataclass(frozen=True)
    class Options(ReadingOptions):
        """What non-linear bias adaptation takes."""

        hidden: Sequence[int] = (64, 64)
        """The units of each hidden layer of the network that stands on the embedding."""

    def make_reader(self, features: int, outputs: int) -> SupportReader:
        """Return the network."""
        return NonlinearBiasAdaptation(features, self.options.hidden)

    def adapter_pictures(self, unseen: Unseen) -> Pictures:
        """Return new items for unseen users."""
        return engagement.draw(self, unseen)
