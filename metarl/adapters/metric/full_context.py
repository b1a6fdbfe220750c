r"""Full context embeddings: an embedding that depends on the whole support set.

Vinyals et al. 2016, "Matching Networks for One Shot Learning", section 2.1.2 and appendix A.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

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
        bound = features**-0.5  # as PyTorch's LSTM

        def uniform(*shape: int) -> nn.Parameter:
            return nn.Parameter(torch.empty(*shape).uniform_(-bound, bound))

        self.support_inputs, self.support_states = (uniform(2, 4 * features, features) for _ in range(2))  # forward, backward
        self.support_bias = uniform(2, 4 * features)
        self.query_inputs = uniform(4 * features, features)
        self.query_states = uniform(4 * features, 2 * features)
        self.query_bias = uniform(4 * features)

    def of_support(self, examples: Tensor) -> Tensor:
        """Return support embeddings of shape (examples, features) in the context of each other."""
        both = torch.stack([examples, examples.flip(0)])  # (directions, examples, features)
        inputs = both @ self.support_inputs.mT + self.support_bias[:, None]
        hidden = cell = torch.zeros_like(both[:, :1])
        passed = []
        for step in range(len(examples)):
            hidden, cell = lstm(inputs[:, step : step + 1] + hidden @ self.support_states.mT, cell)
            passed.append(hidden)
        forward, backward = torch.cat(passed, dim=1)
        in_context: Tensor = examples + forward + backward.flip(0)
        return in_context

    def of_queries(self, queries: Tensor, support: Tensor) -> Tensor:
        """Return query embeddings of shape (queries, features) in the context of a support set's, (examples, features)."""
        inputs = functional.linear(queries, self.query_inputs, self.query_bias)
        hidden = cell = torch.zeros_like(queries)
        for _ in range(self.steps):
            known = (hidden @ support.t()).softmax(1) @ support
            hidden, cell = lstm(inputs + functional.linear(torch.cat([hidden, known], dim=1), self.query_states), cell)
            hidden = hidden + queries
        return hidden if self.steps else queries


def lstm(gates: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
    """Return an LSTM's hidden state and its cell, shape (..., features) each, from the gates' inputs, (..., 4 * features)."""
    take, keep, new, show = gates.chunk(4, dim=-1)
    cell = keep.sigmoid() * cell + take.sigmoid() * new.tanh()
    return show.sigmoid() * cell.tanh(), cell
