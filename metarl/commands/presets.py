"""What a training run is made of, and the runs that have a name: the papers' rows, and the defaults for each world."""

import json
from dataclasses import asdict, dataclass, field, replace
from typing import Annotated, Any, Literal

import tyro
from tyro.constructors import PrimitiveConstructorSpec

from metarl.agents import (
    MAML,
    TURTLE,
    Agent,
    AlphaMAML,
    BaselineFinetune,
    BaselinePlusPlus,
    Finetuning,
    MetaLSTM,
    MetaLSTM2,
    MetaSGD,
    NearestNeighbour,
    TrainFromScratch,
)
from metarl.agents.base import AgentOptions
from metarl.batch_norm import Statistics
from metarl.errors import ConfigError
from metarl.outer import TRPO, GradientDescent, HypergradientDescent, OuterLoop
from metarl.problems import Rollouts
from metarl.rules.gradient_descent import Granularity

AgentName = Literal[
    "maml",
    "meta-sgd",
    "meta-lstm",
    "meta-lstm-2",
    "turtle",
    "alpha-maml",
    "scratch",
    "finetuning",
    "baseline++",
    "nearest-neighbour",
    "baseline-finetune",
]
BASELINES: dict[str, type[Any]] = {
    "scratch": TrainFromScratch,
    "finetuning": Finetuning,
    "baseline++": BaselinePlusPlus,
    "nearest-neighbour": NearestNeighbour,
    "baseline-finetune": BaselineFinetune,
}
"""Agents with rates, steps and batches of their own; --agent-kwargs changes them."""
Json = Annotated[
    dict[str, Any],
    PrimitiveConstructorSpec(
        nargs=1,
        metavar="JSON",
        instance_from_str=lambda strings: json.loads(strings[0]),
        is_instance=lambda value: isinstance(value, dict),
        str_from_instance=lambda value: [json.dumps(value)],
    ),
]
META_SGD_SINE = {"frequency": [0.8, 1.2], "phase_sign": 1}


@dataclass(frozen=True)
class Run:
    """Everything that fixes a training run."""

    agent: AgentName = "meta-sgd"
    """The meta-learner, or a baseline (of image classes), whose own rates, steps and batches only --agent-kwargs changes."""
    env: str = "metarl/Navigation2D-v0"
    """A Gymnasium id with tasks; `metarl list` shows ours."""
    env_kwargs: Json = field(default_factory=dict)
    """The environment's arguments, such as '{"shots": 10}'."""
    root: str = ""
    """The folder of an image data set; "data" unless given."""
    policy: str = "MlpPolicy"
    """The policy or network, by name."""
    policy_kwargs: Json = field(default_factory=dict)
    """Its arguments, such as '{"hidden": [64, 64], "activation": "tanh"}'."""
    agent_kwargs: Json = field(default_factory=dict)
    """The agent's other arguments, such as '{"hidden": [20, 20], "inputs": ["gradient", "loss"]}' of TURTLE."""
    rate: tuple[float, ...] = (0.1,)
    """The inner rate: fixed for MAML (one for each step, the last for all further ones); where it starts for Meta-SGD and
    Alpha MAML; the gradient descent that the LSTM and TURTLE start as (--rate with no number: their papers' random start)."""
    learned: Granularity = "fixed"
    """Which rates MAML learns, and what Alpha MAML's alpha stands for: one rate, or one by step, layer, or both."""
    outer: Literal["trpo", "policy_gradient", "gradient_descent"] = "trpo"
    """The outer loop."""
    trpo: TRPO = field(default_factory=TRPO)
    """TRPO's options."""
    gradient: GradientDescent = field(default_factory=GradientDescent)
    """The options of policy gradient and gradient descent; Alpha MAML has its own, --alpha, with neither clip nor compiler."""
    alpha: tyro.conf.AvoidSubcommands[HypergradientDescent] = field(default_factory=HypergradientDescent)
    """Alpha MAML's options; under TRPO the rest are --trpo's."""
    rollouts: Rollouts = field(default_factory=Rollouts)
    """How trajectories are sampled and turned into a loss."""
    inner_steps: int = 1
    """Inner steps in training (the enhanced LSTM's paper: 8)."""
    first_order: bool = False
    """Treat inner gradients and losses as constants; the LSTM meta-learner always does."""
    inner_clip: float | None = None
    """Clip every entry of the inner gradients to plus or minus this."""
    meta_batch: int = 20
    """Tasks in an outer step."""
    adapted: tuple[str, ...] = ("all",)
    """Which parameters the inner loop changes: all, head, or name patterns."""
    batch_norm: Statistics = "batch"
    """Whose statistics batch-normalisation uses: the set's at hand, the support set's, or running averages."""
    iterations: int = 100
    """Outer steps."""
    validate_every: int = 10
    """Outer steps between validations, which keep the best iterate; 0 for none."""
    validation_tasks: int = 100
    """Tasks in a validation."""
    seed: int = 0
    """Fixes the run."""
    device: str = "auto"
    """auto, cpu or cuda."""
    dtype: Literal["float32", "float64"] = "float32"
    """The parameters' precision."""

    def make(self, verbose: int = 0, tensorboard_log: str | None = None) -> Agent:
        """Return the agent, new."""
        if self.agent in BASELINES:
            return self._baseline(verbose, tensorboard_log)
        cls, own = self._rule()
        clash = own.keys() & self.agent_kwargs.keys()
        if clash:
            raise ConfigError(f"agent_kwargs={self.agent_kwargs!r}: give {', '.join(sorted(clash))} by its own option")
        common: AgentOptions = {
            "outer": self._outer(),
            "inner_steps": self.inner_steps,
            "inner_clip": self.inner_clip,
            "meta_batch": self.meta_batch,
            "adapted": self.adapted[0] if len(self.adapted) == 1 else self.adapted,
            "batch_norm": self.batch_norm,
            "policy_kwargs": self.policy_kwargs,
            "env_kwargs": self._env_kwargs(),
            "seed": self.seed,
            "device": self.device,
            "dtype": self.dtype,
            "verbose": verbose,
            "tensorboard_log": tensorboard_log,
        }
        if self.agent != "meta-lstm":
            common["first_order"] = self.first_order
        if self.policy == "MlpPolicy":
            common["rollouts"] = self.rollouts
        try:
            agent: Agent = cls(self.policy, self.env, **own, **self.agent_kwargs, **common)
        except TypeError as error:
            raise ConfigError(f"agent_kwargs={self.agent_kwargs!r} does not fit {cls.__name__}: {error}") from error
        return agent

    def _env_kwargs(self) -> dict[str, Any]:
        return self.env_kwargs | ({"root": self.root} if self.root else {})

    def _baseline(self, verbose: int, tensorboard_log: str | None) -> Agent:
        """Return a baseline, which takes only what does not describe meta-learning."""
        cls = BASELINES[self.agent]
        common = {name: getattr(self, name) for name in ("policy_kwargs", "seed", "device", "dtype")}
        plain = Run()
        for name in ("batch_norm", "adapted", "inner_clip", "first_order", "learned"):
            if getattr(self, name) != getattr(plain, name):
                raise ConfigError(f"{name}={getattr(self, name)!r} is not for --agent {self.agent}: give it in --agent-kwargs")
        env_kwargs = self._env_kwargs()
        try:
            agent: Agent = cls(
                self.policy,
                self.env,
                **{**common, **self.agent_kwargs},
                env_kwargs=env_kwargs,
                verbose=verbose,
                tensorboard_log=tensorboard_log,
            )
        except TypeError as error:
            raise ConfigError(f"agent_kwargs={self.agent_kwargs!r} does not fit {cls.__name__}: {error}") from error
        return agent

    def _rule(self) -> tuple[type[Any], dict[str, Any]]:
        """Return the agent's class, and the arguments that ``rate`` and ``learned`` mean to it."""
        if self.agent == "maml":
            return MAML, {"rate": self.rate, "learned": self.learned}
        if self.agent == "alpha-maml":
            return AlphaMAML, {"rate": self.rate, "learned": "global" if self.learned == "fixed" else self.learned}
        if self.learned != "fixed":
            raise ConfigError(f"learned={self.learned!r} is for MAML and Alpha MAML, not for {self.agent}: leave it out")
        if len(self.rate) > 1:
            raise ConfigError(f"rate={self.rate} are for MAML and Alpha MAML; {self.agent} takes one rate to start")
        if self.agent == "meta-sgd":
            if not self.rate:
                raise ConfigError("rate=() is empty: Meta-SGD's rates need a start")
            return MetaSGD, {"rate": self.rate[0]}
        learned = {"meta-lstm": MetaLSTM, "meta-lstm-2": MetaLSTM2, "turtle": TURTLE}
        return learned[self.agent], {"rate": self.rate[0] if self.rate else None}

    def _outer(self) -> OuterLoop:
        """Return the outer loop that the options describe."""
        if self.agent == "alpha-maml":
            return replace(self.alpha, trpo=replace(self.trpo) if self.outer == "trpo" else None)
        return replace(self.trpo if self.outer == "trpo" else self.gradient)

    def as_dict(self) -> dict[str, Any]:
        """Return plain containers, for a file."""
        return asdict(self)


# 2D navigation in Finn's environment. What the protocol leaves open was tuned on training tasks; docs/results.md says what was
# tried: the learner sees the squared distance, advantages keep their size, and the inner loss is the likelihood ratio's.
NAVIGATION = Run(
    rate=(0.05,),
    trpo=TRPO(fisher_fraction=0.2, damping=0.1, max_kl=0.02),
    alpha=HypergradientDescent(alpha_hyper=2e-5),
    rollouts=Rollouts(reward="squared", advantages="raw", inner_loss="likelihood-ratio"),
)
# Finn's own estimator: the distance itself, normalised advantages, REINFORCE's inner loss
NAVIGATION_PLAIN = replace(NAVIGATION, rate=(0.1,), trpo=TRPO(fisher_fraction=0.2), rollouts=Rollouts())
# Meta-SGD's text has neither clip nor scale: actions are in units of length, so means and deviation start a tenth as large
NAVIGATION_UNSCALED = replace(
    NAVIGATION,
    env_kwargs={"action_scale": 1.0, "action_limit": 10.0},
    policy_kwargs={"log_std": -2.3, "output_gain": 0.1},
    rate=(0.0005,),
)
VARYING = "metarl/Navigation2DVaryingStart-v0"
# generalised advantages with lambda 0.95 instead of whole returns: far less variance, and the largest gain of all
NAVIGATION_BEST = replace(NAVIGATION, rollouts=replace(NAVIGATION.rollouts, gae_lambda=0.95))
META_SGD_SINE_RUN = Run(
    env="metarl/Sine-v0",
    env_kwargs={**META_SGD_SINE, "shots": 5, "queries": 10},
    policy="MLP",
    rate=(0.05,),
    outer="gradient_descent",
    # clipped: without it one MAML run in twelve lost its ReLUs to a few large meta-gradients at the start and never learned
    gradient=GradientDescent(learning_rate=1e-3, clip_norm=1.0, compile=True),
    meta_batch=4,
    iterations=60000,
    validate_every=0,
)
MAML_SINE_RUN = replace(
    META_SGD_SINE_RUN,
    agent="maml",
    env_kwargs={"shots": 10, "queries": 10},
    rate=(0.01,),
    gradient=GradientDescent(learning_rate=1e-3, compile=True),
    meta_batch=25,
    iterations=70000,
)

# TURTLE's protocol: fixed sets of tasks, 50 query points, a network with PyTorch's weights and zero biases
TURTLE_SINE_RUN = Run(
    agent="turtle",
    env="metarl/Sine-v0",
    env_kwargs={"shots": 5, "queries": 50, "task_sets": {"train": 70000, "validation": 1000, "test": 2000}},
    policy="MLP",
    policy_kwargs={"init": "torch"},
    rate=(),
    outer="gradient_descent",
    gradient=GradientDescent(clip_task=10.0, compile=True),
    inner_steps=5,
    inner_clip=10.0,
    meta_batch=2,
    iterations=35000,
    validate_every=1250,
    validation_tasks=1000,
)

LSTM_SINE_RUN = replace(
    TURTLE_SINE_RUN,
    agent="meta-lstm",
    inner_clip=None,
    gradient=GradientDescent(clip_norm=0.25, compile=True),
    meta_batch=1,
    iterations=70000,
    validate_every=2500,
)

# Meta-SGD's protocol on Omniglot: max-pooling, a linear layer of 32 before the head, 15 query images of each class
OMNIGLOT_RUN = Run(
    env="metarl/Omniglot-v0",
    env_kwargs={"ways": 5, "shots": 1, "queries": 15},
    policy="Conv4",
    policy_kwargs={"hidden": 32},
    rate=(0.1,),
    outer="gradient_descent",
    gradient=GradientDescent(learning_rate=1e-3),
    meta_batch=32,
    iterations=60000,
    validate_every=500,
    validation_tasks=200,
)
# what two cores can do: MAML's strided convolutions, which cost a quarter, and fewer query images
OMNIGLOT_SMALL_RUN = replace(
    OMNIGLOT_RUN,
    env_kwargs={"ways": 5, "shots": 1, "queries": 5},
    policy_kwargs={"downsampling": "stride"},
    rate=(0.4,),
    meta_batch=16,
    iterations=6000,
    validate_every=250,
)

PRESETS: dict[str, tuple[str, Run]] = {
    "navigation": ("2D navigation from the origin (Meta-SGD Table 4, fixed start)", NAVIGATION),
    "navigation-varying-start": ("2D navigation, a start for each task (Meta-SGD Table 4)", replace(NAVIGATION, env=VARYING)),
    "navigation-plain": ("2D navigation, distance reward and normalised advantages (Finn's estimator)", NAVIGATION_PLAIN),
    "navigation-unscaled": ("2D navigation without clip and scale, as Meta-SGD's text has it", NAVIGATION_UNSCALED),
    "navigation-best": ("2D navigation, the best one step can do that we found", NAVIGATION_BEST),
    "navigation-demo": ("a shorter run of navigation-best, for a first look", replace(NAVIGATION_BEST, iterations=60)),
    "maml-navigation": (
        "2D navigation as in MAML, Table 4: rate 0.5, then 0.25",
        replace(NAVIGATION_PLAIN, agent="maml", rate=(0.5, 0.25)),
    ),
    "sine": ("sine waves with frequencies (Meta-SGD Table 1, 5-shot)", META_SGD_SINE_RUN),
    "maml-sine": ("sine waves as in MAML, Table 2", MAML_SINE_RUN),
    "turtle-sine-1": (
        "sine waves as in TURTLE, 1 inner step",
        replace(
            TURTLE_SINE_RUN,
            inner_steps=1,
            inner_clip=None,
            gradient=GradientDescent(compile=True),
            meta_batch=1,
            iterations=70000,
            validate_every=2500,
        ),
    ),
    "turtle-sine-5": ("sine waves as in TURTLE, 5 inner steps (its best)", TURTLE_SINE_RUN),
    "turtle-sine-10": (
        "sine waves as in TURTLE, 10 inner steps",
        replace(
            TURTLE_SINE_RUN, agent_kwargs={"beta": 0.3}, inner_steps=10, meta_batch=4, iterations=17500, validate_every=625
        ),
    ),
    "lstm-sine": ("sine waves with the LSTM meta-learner's settings", LSTM_SINE_RUN),
    "lstm2-sine": (
        "sine waves with the enhanced LSTM meta-learner and its 8 inner steps",
        replace(LSTM_SINE_RUN, agent="meta-lstm-2", inner_steps=8),
    ),
    "alpha-maml-sine": (
        "sine waves with Alpha MAML: plain steps, rates that move",
        replace(
            MAML_SINE_RUN,
            agent="alpha-maml",
            rate=(1e-3,),
            alpha=HypergradientDescent(learning_rate=1e-5),
            policy_kwargs={"init": "torch"},
            iterations=5000,
        ),
    ),
    "omniglot": ("Omniglot, 5-way 1-shot, as in Meta-SGD, Table 2 (for a GPU)", OMNIGLOT_RUN),
    "omniglot-small": ("Omniglot, 5-way 1-shot, in half an hour on two cores", OMNIGLOT_SMALL_RUN),
    "maml-omniglot": (
        "Omniglot, 5-way 1-shot, near to MAML's code: summed loss, one query image of a class, no inner step on batch-norm",
        replace(
            OMNIGLOT_RUN,
            agent="maml",
            env_kwargs={"ways": 5, "shots": 1, "queries": 1, "rotations": "drawn", "reduction": "sum over ways"},
            policy_kwargs={"downsampling": "stride"},
            adapted=("conv*", "head*"),
            rate=(0.4,),
        ),
    ),
    "miniimagenet": (
        "miniImageNet, 5-way 1-shot, as in Meta-SGD, Table 3",
        replace(
            OMNIGLOT_RUN,
            env="metarl/MiniImageNet-v0",
            policy_kwargs={"filters": 32},
            rate=(0.01,),
            gradient=GradientDescent(clip_value=10.0),
            meta_batch=4,
        ),
    ),
    "cub": (
        "CUB birds, 5-way 1-shot, with miniImageNet's settings",
        replace(
            OMNIGLOT_RUN,
            env="metarl/CUB-v0",
            policy_kwargs={"filters": 64},
            rate=(0.01,),
            gradient=GradientDescent(clip_value=10.0),
            meta_batch=4,
        ),
    ),
    "images": (
        "your own images, a folder a class (--root FOLDER)",
        replace(
            OMNIGLOT_RUN,
            env="metarl/ImageFolder-v0",
            env_kwargs={"ways": 5, "shots": 1, "queries": 5},
            policy_kwargs={"filters": 32},
            rate=(0.01,),
            gradient=GradientDescent(clip_value=10.0),
            meta_batch=4,
            iterations=6000,
        ),
    ),
    "bandit": (
        "Bernoulli bandits, through Gymnasium's own vector environment",
        replace(NAVIGATION_PLAIN, env="metarl/BernoulliBandit-v0", rate=(1.0,), iterations=50),
    ),
}
