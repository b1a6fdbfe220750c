r"""Adam as an inner step: what fine-tuning takes many of.

Kingma and Ba 2015, "Adam: A Method for Stochastic Optimization", Algorithm 1.
"""

import torch
from torch import Tensor

from metarl.errors import require_between, require_positive
from metarl.learner import Layout
from metarl.rules.base import State, UpdateRule


class Adam(UpdateRule):
    r"""Takes the step $\theta' = \theta - \alpha\, \hat m / \sqrt{\hat v + \epsilon^2}$ with the moments' running averages.

    The paper adds $\epsilon$ to the root; under it, the step can be differentiated at a gradient of zero too.

    Args:
        layout: the names and shapes behind theta.
        rate: alpha.
        betas: the decay of the averages of the gradient and its square.
        eps: epsilon.

    Raises:
        ConfigError: a value out of range.

    Example:
        >>> layout = Layout(("weight",), (torch.Size([2]),))
        >>> rule = Adam(layout, rate=0.5)
        >>> theta = torch.tensor([1.0, 1.0])
        >>> theta, _ = rule(theta, torch.tensor([1.0, -2.0]), torch.tensor(0.5), rule.initial_state(theta), 0)
        >>> theta.tolist()
        [0.5, 1.5]
    """

    numbers_per_coordinate = 3

    def __init__(
        self, layout: Layout, rate: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8
    ) -> None:
        super().__init__(layout)
        require_positive(rate=rate, eps=eps)
        require_between(0, 1 - 1e-9, **{f"betas[{i}]": beta for i, beta in enumerate(betas)})
        self.rate = rate
        self.betas = betas
        self.eps = eps

    def initial_state(self, theta: Tensor) -> State:
        """Return averages of zero, each of theta's shape."""
        return torch.zeros_like(theta), torch.zeros_like(theta)

    def forward(self, theta: Tensor, gradient: Tensor, loss: Tensor, state: State, step: int) -> tuple[Tensor, State]:
        """Return theta moved, shape (P,), and the averages."""
        one, two = self.betas
        mean = one * state[0] + (1 - one) * gradient
        square = two * state[1] + (1 - two) * gradient.square()
        scale = (square / (1 - two ** (step + 1)) + self.eps**2).sqrt()
        return theta - self.rate / (1 - one ** (step + 1)) * mean / scale, (mean, square)
