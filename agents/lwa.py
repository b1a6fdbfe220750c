"""Linear weight adaptation: Vartak et al. 2017, "A Meta-Learning Perspective on Cold-Start Recommendations for Items"."""

from metarl.adapters import LinearWeightAdaptation, SupportReader
from metarl.agents.pictures import Pictures, Unseen, engagement
from metarl.agents.reading import ReadingAgent


class LWA(ReadingAgent):
    """Recommends by a linear classifier whose weights a user's engagements set.

    See ``Agent`` for the arguments; of two classes, as those of ``metarl/Recommendation-v0``.
    """

    def make_reader(self, features: int, outputs: int) -> SupportReader:
        """Return the classifier."""
        return LinearWeightAdaptation()

    def adapter_pictures(self, unseen: Unseen) -> Pictures:
        """Return new items for unseen users."""
        return engagement.draw(self, unseen)
