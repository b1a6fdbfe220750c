r"""A learned optimiser: an LSTM, the same for every coordinate, that turns gradients into updates over a whole training.

Andrychowicz et al. 2016, "Learning to learn by gradient descent by gradient descent", section 2.1 and appendix A.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from metarl.errors import require_positive, require_whole
from metarl.learner import Layout
from metarl.rules.base import State, UpdateRule
from metarl.rules.preprocess import log_sign

LAYERS = 2


class LearnedOptimiser(UpdateRule):
    r"""Takes the step $\theta' = \theta + c\, g$, where $g$ is what a two-layer LSTM makes of the gradients so far.

    Every coordinate has its own state in both layers; all share the weights, so that the order of the coordinates is of no
    account and the rule fits a network of any size. It sees the gradient alone, and can keep averages of each coordinate's, as
    momentum, RMSprop and Adam do. The paper does not say where the weights begin; see ``Cell``.

    The assumption that gradients do not depend on the optimiser is the inner loop's ``first_order``, as in the paper.

    Args:
        layout: the names and shapes behind theta.
        hidden: the units of each layer.
        preprocess: see the gradient as logarithm and sign (appendix A); the paper shows it raw on quadratics.
        scale: c, what the output is multiplied with: 0.1 for the paper's networks (section 3.2), 1 on its quadratics (3.1).

    Raises:
        ConfigError: ``hidden`` is no whole number above zero, or ``scale`` not above zero.

    Example:
        >>> layout = Layout(("weight",), (torch.Size([2]),))
        >>> rule = LearnedOptimiser(layout, hidden=4)
        >>> theta = torch.zeros(2)
        >>> theta, _ = rule(theta, torch.tensor([1.0, 1.0]), torch.tensor(0.5), rule.initial_state(theta), 0)
        >>> bool(theta[0] == theta[1])
        True
    """

    def __init__(self, layout: Layout, hidden: int = 20, preprocess: bool = True, scale: float = 0.1) -> None:
        super().__init__(layout)
        require_whole(hidden=hidden)
        require_positive(scale=scale)
        self.hidden = hidden
        self.preprocess = preprocess
        self.scale = scale
        self.numbers_per_coordinate = 2 * LAYERS * self.hidden
        self.cells = nn.ModuleList(Cell(inputs, self.hidden) for inputs in (2 if preprocess else 1, self.hidden))
        self.output = nn.Linear(self.hidden, 1)

    def initial_state(self, theta: Tensor) -> State:
        """Return each layer's output and cell, (P, hidden) each, all zero."""
        zero = theta.new_zeros(*theta.shape, self.hidden)
        return ((zero, zero),) * LAYERS

    def forward(self, theta: Tensor, gradient: Tensor, loss: Tensor, state: State, step: int) -> tuple[Tensor, State]:
        """Return theta moved by the LSTM's output, shape (P,), and both layers' outputs and cells."""
        signal = log_sign(gradient) if self.preprocess else gradient.unsqueeze(-1)
        after = []
        for cell, memory in zip(self.cells, state, strict=True):
            memory = cell(signal, memory)
            signal = memory[0]
            after.append(memory)
        return theta + self.scale * self.output(signal).squeeze(-1), tuple(after)


class Cell(nn.Module):
    """A standard LSTM cell in plain operations, which ``vmap`` can batch, unlike nn.LSTMCell.

    The forget gate's bias starts at one, so that it remembers, the other biases at zero.

    Args:
        inputs: the size of an input.
        hidden: the units.
    """

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        bound = hidden**-0.5
        self.weight = nn.Parameter(torch.empty(4 * hidden, inputs + hidden).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.cat([torch.zeros(hidden), torch.ones(hidden), torch.zeros(2 * hidden)]))

    def forward(self, inputs: Tensor, memory: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """Return output and cell, shape (..., hidden) each, from inputs (..., inputs) and those of the step before."""
        hidden, cell = memory
        gates = functional.linear(torch.cat([inputs, hidden], dim=-1), self.weight, self.bias)
        take, keep, candidate, show = gates.chunk(4, dim=-1)
        cell = keep.sigmoid() * cell + take.sigmoid() * candidate.tanh()
        return show.sigmoid() * cell.tanh(), cell
