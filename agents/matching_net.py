"""Matching Networks: Vinyals et al. 2016, "Matching Networks for One Shot Learning"."""

from dataclasses import dataclass

from metarl.adapters import Matching, SupportReader
from metarl.adapters.metric import Distance, SoftmaxOver
from metarl.agents.metric import MetricAgent, MetricOptions
from metarl.agents.pictures import Pictures, Unseen, attention
from metarl.errors import ConfigError


class MatchingNet(MetricAgent):
    """Learns an embedding in which attention over the support set tells a query's class; with full context or without.

    See ``Agent`` for the arguments. The paper's cosines are not scaled; with ``scale=10`` or so it learns far faster:
    ``MatchingNet("Conv4", "metarl/Omniglot-v0", full_context=True, scale=10.0)``.
    """

    @dataclass(frozen=True)
    class Options(MetricOptions):
        """What Matching Networks take."""

        distance: Distance = "cosine"
        """By which embeddings are compared: squared-euclidean or cosine."""
        scale: float = 1.0
        """What similarities are multiplied with before the softmax; 1 as in the paper."""
        softmax_over: SoftmaxOver = "examples"
        """What attention is a softmax over: support examples (the paper), or classes, of their summed similarities."""
        full_context: bool = False
        """Embed support examples in the context of all by a bidirectional LSTM, and queries in theirs by attention."""
        processing_steps: int = 3
        """K, how often a query's embedding reads the support set under full context; 0 leaves queries as they are."""

        def __post_init__(self) -> None:
            super().__post_init__()
            if self.processing_steps != 3 and not self.full_context:
                raise ConfigError(f"processing_steps={self.processing_steps} has no effect without full_context=True")

    def make_reader(self, features: int, outputs: int) -> SupportReader:
        """Return attention by the chosen distance."""
        options = self.options
        context = options.full_context, options.processing_steps
        return Matching(features, options.distance, options.scale, options.softmax_over, *context)

    def adapter_pictures(self, unseen: Unseen) -> Pictures:
        """Return unseen episodes in the embedding, and what their queries attend to."""
        return {**super().adapter_pictures(unseen), **attention.draw(self, unseen)}
