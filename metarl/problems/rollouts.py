"""The options of sampling: how trajectories come about, and how a loss is made of them."""

from dataclasses import dataclass
from typing import Literal, get_args, get_type_hints

from metarl.errors import ConfigError, require_between, require_flag, require_positive, require_whole, unknown_name
from metarl.problems.estimators import ANY_ORDER
from metarl.problems.returns import Normalisation
from metarl.sampling.vector import Vectorisation


@dataclass(frozen=True)
class Rollouts:
    """How trajectories are sampled and turned into a loss; the defaults are Finn's for 2D navigation.

    Raises:
        ConfigError: a count, discount or name out of range, or an option that has no effect beside the others.
    """

    trajectories: int = 20
    """Trajectories sampled from each task, before and after each inner step."""
    recall: bool = False
    """Whether a policy sees, beside an observation, the action and the reward of the step before, and whether that ended an
    episode. Agents with memory set it by themselves."""
    discount: float = 0.99
    """Gamma."""
    gae_lambda: float = 1.0
    """Lambda of generalised advantage estimation; 1 is the return minus the baseline."""
    advantages: Normalisation = "normalised"
    """Each task's advantages centred and divided by their deviation, only centred, or raw. A task whose rewards say nothing
    (measure ``without_signal``) has advantages of zero, unless raw."""
    reward: Literal["plain", "squared"] = "plain"
    """What the learner sees of a reward r: r itself, or sign(r) r^2 (returns are reported in r all the same)."""
    baseline: Literal["linear", "none"] = "linear"
    """The linear feature baseline, fitted to each task's own batch (its mean return if that is short), or none."""
    inner_loss: Literal["log-likelihood", "likelihood-ratio", "dice", "loaded-dice", "tmaml"] = "log-likelihood"
    """The surrogate that the inner step descends, all of the same gradient and each of another curvature: REINFORCE's, the
    ratio's (LVC), DiCE's, Loaded DiCE's, or DiCE's with TMAML's control variate."""
    dice_lambda: float = 1.0
    """How much earlier actions count in Loaded DiCE, less by this factor each step: 1 is without bias, 0 is the ratio's."""
    time_limit_value: bool = False
    """Whether what a time limit cuts off counts with the baseline's value; otherwise as nothing, as in Finn's code."""
    normalise_observations: bool = False
    """Whether the policy network sees observations less their mean and divided by their deviation, both learned with the
    meta-parameters and the same for every task of a meta-batch."""
    vectorisation: Vectorisation = "auto"
    """The family's own vector environment if it steps on tensors, else rows one after another; always one after another; or
    rows in a pool of worker processes, for slow simulators. All give the same trajectories."""
    workers: int | None = None
    """Worker processes, with vectorisation="workers" only; None for one to a core."""
    worker_timeout: float = 300.0
    """Seconds that a worker may take to reset or step its share of the rows, with vectorisation="workers" only."""
    max_envs: int | None = None
    """The most environments that exist at once: more rows are sampled in blocks, and n blocks cost n times the policy
    network's work, as each applies it to all rows. None for as many as there are rows."""

    def __post_init__(self) -> None:
        for name, kind in get_type_hints(type(self)).items():
            value, options = getattr(self, name), get_args(kind)
            if kind is bool:
                require_flag(**{name: value})
            if options and type(None) not in options and value not in options:
                raise unknown_name(name, value, options)
        for name in ("trajectories", "workers", "max_envs"):
            value = getattr(self, name)
            if value is not None or name == "trajectories":
                require_whole(**{name: value})
        require_between(0, 1, discount=self.discount, gae_lambda=self.gae_lambda, dice_lambda=self.dice_lambda)
        require_positive(worker_timeout=self.worker_timeout)
        if self.vectorisation != "workers":
            for name in ("workers", "worker_timeout"):
                if getattr(self, name) != getattr(type(self), name):
                    raise ConfigError(
                        f"{name}={getattr(self, name)!r} has no effect with vectorisation={self.vectorisation!r}: "
                        f"use vectorisation='workers', or leave {name} out"
                    )
        if self.dice_lambda != 1 and self.inner_loss != "loaded-dice":
            raise ConfigError(
                f"dice_lambda={self.dice_lambda!r} has no effect with inner_loss={self.inner_loss!r}: use "
                "inner_loss='loaded-dice', or leave dice_lambda out"
            )
        if self.time_limit_value and self.baseline == "none":
            raise ConfigError("time_limit_value=True needs a baseline to value what a time limit cuts off: baseline='linear'")

    @property
    def needs_whole_trajectories(self) -> bool:
        """Whether a part of the steps has no loss of its own: the loss, or what a policy remembers, is of all before them."""
        return self.recall or self.inner_loss in ANY_ORDER
