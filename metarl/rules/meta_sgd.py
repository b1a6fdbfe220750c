r"""Meta-SGD: a gradient step whose rates are learned, one for every parameter.

Li, Zhou, Chen and Li 2017, "Meta-SGD: Learning to Learn Quickly for Few-Shot Learning", eq. 2.
"""

import torch
from torch import Tensor, nn

from metarl.errors import require_positive
from metarl.learner import Layout
from metarl.rules.base import State, UpdateRule


class MetaSGD(UpdateRule):
    r"""Takes the step $\theta' = \theta - \alpha \circ \nabla L(\theta)$, with $\alpha$ meta-learned.

    $\alpha$ has the shape of $\theta$, so the rule learns a direction as well as a length: a rate may turn negative.
    With all rates equal and fixed it is MAML's step. The same rates serve every step, as in the paper.

    Args:
        layout: the names and shapes behind theta.
        rate: the value from which every rate starts; on sine waves the paper draws it from [0.005, 0.1].

    Raises:
        ConfigError: a starting rate that is not above zero.

    Example:
        >>> layout = Layout(("weight",), (torch.Size([2]),))
        >>> rule = MetaSGD(layout, rate=0.5)
        >>> theta, _ = rule(torch.tensor([1.0, 1.0]), torch.tensor([1.0, -2.0]), torch.tensor(0.5), (), 0)
        >>> theta.tolist()
        [0.5, 2.0]
    """

    rate_parameters = ("alpha",)

    def __init__(self, layout: Layout, rate: float = 0.1) -> None:
        super().__init__(layout)
        require_positive(rate=rate)
        self.alpha = nn.Parameter(torch.full((layout.size,), float(rate)))

    def forward(self, theta: Tensor, gradient: Tensor, loss: Tensor, state: State, step: int) -> tuple[Tensor, State]:
        """Return theta moved by its own rates, shape (P,), and the state, which this rule does not use."""
        return theta - self.alpha * gradient, state

    def rates(self, step: int = 0) -> Tensor:
        """Return alpha, shape (P,)."""
        return self.alpha
