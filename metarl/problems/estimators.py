r"""Surrogate losses of the inner step: their gradient is the policy gradient, and each has another curvature.

An inner step follows the gradient, and the meta-gradient goes through its derivative, the curvature. Let $g_t$ and $H_t$ be
the first and second derivatives of $\log\pi(a_t|s_t)$, $S_t = \sum_{t' \le t} g_{t'}$, $Q_t$ the return from step t on, b the
baseline and $\hat A_t = Q_t - b_t$. All surrogates have the gradient $\sum_t \hat A_t g_t$; the second derivative of the
expected return is the expectation of $\sum_t Q_t (H_t + g_t g_t^\top + g_t S_{t-1}^\top + S_{t-1} g_t^\top)$, and theirs are

| ``inner_loss`` | second derivative, summed over t | what its expectation lacks | variance |
|---|---|---|---|
| ``"log-likelihood"`` | $\hat A_t H_t$ | what sampling by the policy contributes | depends |
| ``"likelihood-ratio"`` | $\hat A_t (H_t + g_t g_t^\top)$ | what earlier actions contribute | lowest of these |
| ``"dice"`` | that, and $Q_t (g_t S_{t-1}^\top + S_{t-1} g_t^\top)$ | nothing | highest |
| ``"loaded-dice"`` | that, with $\hat A_t$ for $Q_t$ | nothing, at ``dice_lambda=1`` | between them |
| ``"tmaml"`` | as Loaded DiCE at lambda one | nothing | as that |

- ``"log-likelihood"``: Williams 1992 (REINFORCE), differentiated again as in Finn, Abbeel and Levine's MAML (2017).
- ``"likelihood-ratio"``: the low-variance curvature (LVC) of Rothfuss et al. 2019, "ProMP: Proximal Meta-Policy Search".
- ``"dice"``: Foerster et al. 2018, "DiCE: The Infinitely Differentiable Monte-Carlo Estimator"; its baseline serves
  the first derivative only, as theirs does.
- ``"loaded-dice"``: Farquhar, Whiteson and Foerster 2019, "Loaded DiCE", whose lambda forgets earlier actions; at lambda
  nought it is the likelihood ratio.
- ``"tmaml"``: Liu, Socher and Xiong 2019, "Taming MAML": DiCE and, as we read it, the control variate
  $-\sum_t b_t (1 - \prod_{t' < t} r_{t'}) (1 - r_t)$ of the ratios r. The product is over earlier actions, for with $r_t$ in
  it the expected second derivative would be twice the Fisher information times b, and not nought. With one baseline for both
  terms this is Loaded DiCE at lambda one, as it is Mao et al.'s 2019 baseline for any order.

Variances are ordered as in ProMP's and TMAML's papers; that of the first may lie above the second's or below. "Nothing" is
said of the second derivative, with a baseline that does not depend on the actions, at a discount of one: as everywhere here
$\gamma^t$ is left out of the sum over t. Even so the meta-gradient of a *sampled* inner step keeps a bias of second order in
its rate, as the trajectories that it is taken on are the learner's choice; those of the first two are of first order. What
takes this one away changes the outer objective instead: E-MAML's term, see ``metarl.outer.PPO.sampling_correction``, with
which the log-likelihood is exact.

DiCE's operator is $\exp(\log\pi - \log\pi_{sampler})$: one where a trajectory was sampled, as in the paper, and the importance
weight of the actions so far in a replay under other parameters.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from torch import Tensor

from metarl.problems.returns import discounted_sums


class Decisions(NamedTuple):
    """One task's actions, as a surrogate sees them; each tensor of shape (trajectories, steps).

    Attributes:
        log_ratios: of the actions' probabilities, the policy's over the sampler's; zero where nothing happened.
        advantages: the returns from each step on, less the baselines.
        baselines: in the unit of the advantages.
        decay: what earlier actions' log-ratios are multiplied with at every step, in Loaded DiCE.
    """

    log_ratios: Tensor
    advantages: Tensor
    baselines: Tensor
    decay: float = 1.0


def dice(decisions: Decisions) -> Tensor:
    r"""Return $Q_t \prod_{t' < t} r_{t'}\,(r_t - 1) - b_t (r_t - 1)$, and the advantage, so that it is one's value at r = 1.

    The sum over t of the first term is the paper's $\sum_t \prod_{t' \le t} r_{t'} R_t$ but for a constant, summed by parts.
    """
    log_ratios, advantages, baselines, _ = decisions
    credit = log_ratios.expm1()
    return (advantages + baselines) * earlier(log_ratios).exp() * credit - baselines * credit + advantages


def loaded_dice(decisions: Decisions) -> Tensor:
    r"""Return $\hat A_t \prod_{t' < t} r_{t'}^{\lambda^{t - t'}}\,(r_t - 1)$, and the advantage."""
    log_ratios, advantages, _, decay = decisions
    return advantages * earlier(log_ratios, decay).exp() * log_ratios.expm1() + advantages


def tmaml(decisions: Decisions) -> Tensor:
    """Return DiCE's surrogate with TMAML's control variate, whose expectation is nought with all its derivatives."""
    return dice(decisions) - decisions.baselines * earlier(decisions.log_ratios).expm1() * decisions.log_ratios.expm1()


def earlier(log_ratios: Tensor, decay: float = 1.0) -> Tensor:
    """Return the sums of the log-ratios before each step, decayed with every step since, shape (..., steps)."""
    return discounted_sums(log_ratios.flip(-1), decay).flip(-1) - log_ratios


ANY_ORDER: Mapping[str, Callable[[Decisions], Tensor]] = {"dice": dice, "loaded-dice": loaded_dice, "tmaml": tmaml}
"""The surrogates that follow what earlier actions have done, by the name of ``rollouts.inner_loss``."""
