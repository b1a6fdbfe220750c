r"""Full context embeddings: an embedding that depends on the whole support set.

Vinyals et al. 2016, "Matching Networks for One Shot Learning", section 2.1.2 and appendix A.
"""

import torch
from torch import Tensor, nn

from metarl.adapters.memory import LSTMCore
from metarl.errors import ConfigError


class FullContext(nn.Module):
    r"""Embeds support examples in the context of each other, and queries in that of the support set.

    Support, appendix A.2: a bidirectional LSTM passes over the embeddings $g'$ of the support set in its order,
    $g(x_i, S) = \overrightarrow{h}_i + \overleftarrow{h}_i + g'(x_i)$. Queries, eqs. 3 to 6: an LSTM takes K steps on
    $f'(x)$ with what it reads of the support set by content attention:

    $\hat h_k, c_k = \mathrm{LSTM}(f'(x), [h_{k-1}, r_{k-1}], c_{k-1})$, $h_k = \hat h_k + f'(x)$,
    $r_k = \sum_i \mathrm{softmax}_i(h_k^\top g(x_i)) g(x_i)$, and $f(x, S) = h_K$.

    The paper says nothing of the start: $h_0 = c_0 = 0$, so that $r_0$ is the mean of the support set. With K = 0 queries keep
    their own embeddings. Each query has its LSTM to itself: none sees another.

    Args:
        features: the entries of an embedding, and of the LSTMs' states.
        steps: K.

    Raises:
        ConfigError: a number of steps that is negative or not whole.
    """

    def __init__(self, features: int, steps: int = 3) -> None:
        super().__init__()
        if isinstance(steps, bool) or not isinstance(steps, int) or steps < 0:
            raise ConfigError(f"processing_steps={steps!r} must be a whole number, not negative")
        self.steps = steps
        self.forwards, self.backwards = LSTMCore(features, features), LSTMCore(features, features)
        self.queries = LSTMCore(features, features, feedback=features)

    def of_support(self, examples: Tensor) -> Tensor:
        """Return support embeddings of shape (examples, features) in the context of each other."""
        return examples + passed(self.forwards, examples) + passed(self.backwards, examples.flip(0)).flip(0)

    def of_queries(self, queries: Tensor, support: Tensor) -> Tensor:
        """Return query embeddings of shape (queries, features) in the context of a support set's, (examples, features)."""
        projected = self.queries.project(queries)
        placed, hidden, cell = queries, torch.zeros_like(queries), torch.zeros_like(queries)
        for _ in range(self.steps):
            read = (hidden @ support.t()).softmax(1) @ support
            shown, cell = self.queries.turn(projected, torch.cat([hidden, read], 1), cell)
            placed = hidden = shown + queries
        return placed


def passed(core: LSTMCore, sequence: Tensor) -> Tensor:
    """Return an LSTM's outputs along a sequence, shape (steps, features) both."""
    outputs, state = [], core.initial_state()
    for projected in core.project(sequence).unbind():
        output, state = core.advance(projected, state)
        outputs.append(output)
    return torch.stack(outputs)
