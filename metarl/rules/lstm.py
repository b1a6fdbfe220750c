r"""The LSTM meta-learner: a cell whose state is theta, with a forget gate and a learned rate for every coordinate and step.

Ravi and Larochelle 2017, "Optimization as a Model for Few-Shot Learning", section 3: two layers as in the authors' code.
The enhanced LSTM2 is Huisman, Plaat and van Rijn 2022 (TURTLE), section 5.3.
"""

import math
from functools import partial

import torch
from torch import Tensor, nn

from metarl.errors import ConfigError, require_positive
from metarl.learner import Layout
from metarl.rules.base import State, UpdateRule
from metarl.rules.preprocess import log_sign

WEIGHTS = 0.01
"""The meta-learner's weights start in U[-0.01, 0.01]."""
FORGET_BIAS = (4.0, 6.0)
"""The forget gate's bias starts large: theta is kept."""
INPUT_BIAS = (-5.0, -4.0)
"""The input gate's bias starts small: so does the rate."""
OPEN = 10.0
"""The bias of a forget gate that starts as gradient descent: it keeps all but 5e-5 of theta."""


class MetaLSTM(UpdateRule):
    r"""Takes the step $\theta' = f \circ \theta - i \circ \nabla L(\theta)$, with both gates computed from what it remembers.

    Layer 1 is a standard LSTM over the (preprocessed) gradient and loss; layer 2 has theta for its cell state,
    $f = \sigma(W_F [h, \theta, \tilde f] + b_F)$ and $i = \sigma(W_I [h, \theta, \tilde\imath] + b_I)$, where $h$ is layer 1's
    output and $\tilde f, \tilde\imath$ are the gates of the step before, ahead of their sigmoid (as in the authors' code; zero
    at first).
    Every coordinate has its own state; all share the weights. With $f = 1$ and constant $i$ it is MAML's step.

    The assumption that gradients and losses do not depend on the meta-learner is the inner loop's ``first_order``.

    Args:
        layout: the names and shapes behind theta.
        hidden: the units of layer 1.
        preprocess: see gradient and loss as logarithm and sign; else the raw gradient alone, as LSTM2 does.
        rate: start all but as gradient descent with this rate (forget gates within 5e-5 of one, constant input gates) rather
            than with the paper's random biases; in (0, 1).

    Raises:
        ConfigError: ``hidden`` is not positive, or a rate outside (0, 1).

    Example:
        >>> layout = Layout(("weight",), (torch.Size([2]),))
        >>> rule = MetaLSTM(layout, rate=0.5)
        >>> theta = torch.tensor([1.0, 1.0])
        >>> theta, _ = rule(theta, torch.tensor([1.0, -2.0]), torch.tensor(0.5), rule.initial_state(theta), 0)
        >>> [round(value, 2) for value in theta.tolist()]
        [0.5, 2.0]
    """

    def __init__(self, layout: Layout, hidden: int = 20, preprocess: bool = True, rate: float | None = None) -> None:
        super().__init__(layout)
        require_positive(hidden=hidden)
        if rate is not None and not 0 < rate < 1:
            raise ConfigError(f"rate={rate!r} must lie in (0, 1): it is the value of a gate")
        self.hidden = hidden
        self.numbers_per_coordinate = 4 * hidden
        self.preprocess = preprocess
        inputs = 4 if preprocess else 1
        self.input_weights = _uniform(4 * hidden, inputs)
        self.hidden_weights = _uniform(4 * hidden, hidden)
        self.bias = _uniform(4 * hidden)
        self.gate_hidden_weights = _uniform(2, hidden)  # rows: forget gate, input gate
        self.gate_theta_weights = _uniform(2)
        self.gate_previous_weights = _uniform(2)
        low, high = zip(FORGET_BIAS, INPUT_BIAS, strict=True)
        self.gate_bias = nn.Parameter(torch.tensor(low) + torch.rand(2) * (torch.tensor(high) - torch.tensor(low)))
        if rate is not None:
            with torch.no_grad():
                self.gate_bias.copy_(torch.tensor([OPEN, math.log(rate / (1 - rate))]))
                for weights in (self.gate_hidden_weights, self.gate_theta_weights, self.gate_previous_weights):
                    weights.zero_()

    def initial_state(self, theta: Tensor) -> State:
        """Return layer 1's output and cell, (P, hidden) each, and the gates ahead of their sigmoid, (P, 2); all zero."""
        memory = theta.new_zeros(*theta.shape, self.hidden)
        return memory, memory, theta.new_zeros(*theta.shape, 2)

    def forward(self, theta: Tensor, gradient: Tensor, loss: Tensor, state: State, step: int) -> tuple[Tensor, State]:
        """Return theta gated and moved, shape (P,), and what to remember."""
        hidden, cell, gates = state
        inputs = self._inputs(gradient, loss)
        # nn.LSTMCell has no batching rule under vmap; one product a gate, for one of all four is slower to differentiate
        weights = (self.input_weights.chunk(4), self.hidden_weights.chunk(4), self.bias.chunk(4))
        take, keep, candidate, show = (
            partial(_affine, inputs, own, hidden, recurrent, bias) for own, recurrent, bias in zip(*weights, strict=True)
        )
        new = take().sigmoid() * candidate().tanh()
        cell = new if step == 0 else keep().sigmoid() * cell + new  # the first cell is zero: nothing to keep
        hidden = show().sigmoid() * cell.tanh()
        gates = (
            hidden @ self.gate_hidden_weights.T
            + theta.unsqueeze(-1) * self.gate_theta_weights
            + gates * self.gate_previous_weights
            + self.gate_bias
        )
        forget, take = gates.sigmoid().unbind(-1)
        return forget * theta - take * gradient, (hidden, cell, gates)

    def _inputs(self, gradient: Tensor, loss: Tensor) -> Tensor:
        """Return layer 1's inputs, shape (P, 4), or (P, 1) of the raw gradient; the loss is the same for every coordinate."""
        if not self.preprocess:
            return gradient.unsqueeze(-1)
        return torch.cat([log_sign(gradient), log_sign(loss).expand(*gradient.shape, 2)], dim=-1)

    def gates(self, state: State) -> dict[str, Tensor]:
        """Return the forget and input gates that led to this state, each of shape (P,)."""
        forget, take = state[-1].sigmoid().unbind(-1)
        return {"forget gate": forget, "input gate": take}


def _affine(inputs: Tensor, own: Tensor, hidden: Tensor, recurrent: Tensor, bias: Tensor) -> Tensor:
    return inputs @ own.T + (hidden @ recurrent.T + bias)


def _uniform(*shape: int) -> nn.Parameter:
    return nn.Parameter(torch.empty(*shape).uniform_(-WEIGHTS, WEIGHTS))
