"""Every option of every agent, outer loop and of sampling does what it says: another value gives another number, by hand.

Most cases are of ``tests.toys.Line``, where one weight w in front of a slope a has the support loss (w - a)^2 and the query
loss 4 (w - a)^2. A rate of 1/4 goes half of the way to a in an inner step; without inner steps the meta-gradient is 8 (w - a).
"""

import inspect
import math
from collections.abc import Callable
from dataclasses import FrozenInstanceError, fields, is_dataclass
from hashlib import sha256
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import metarl
from metarl import rules
from metarl.adapters import Support
from metarl.agents.baselines import AdamOptions
from metarl.agents.memory import RecurrentOptions
from metarl.agents.metric import MetricOptions
from metarl.agents.options import GradientOptions, Options, RateOptions, device_of
from metarl.agents.reading import ReadingOptions
from metarl.agents.stable_baselines import StableBaselinesPPO
from metarl.agents.trials import TrialOptions
from metarl.errors import ConfigError
from metarl.normalisation import BatchNorm
from metarl.outer import (
    PPO,
    TRPO,
    GradientDescent,
    HypergradientDescent,
    Pretraining,
    ProMP,
    Reptile,
    TruncatedBackpropagation,
)
from metarl.outer.trpo import _Policies
from metarl.problems import Rollouts
from metarl.registry import AGENTS, OUTER_LOOPS
from tests import ppo_by_hand
from tests.toys import weight
from tests.worlds import gathered

CASES: dict[tuple[str, str], tuple[Callable[[Any], Any], list[tuple[Any, Any]]]] = {}


def case(owner: type, name: str, *values: tuple[Any, Any]) -> Callable[[Callable[[Any], Any]], Callable[[Any], Any]]:
    """Register what a function of an option's value gives: pairs of the value and what is expected."""

    def register(measure: Callable[[Any], Any]) -> Callable[[Any], Any]:
        assert (owner.__qualname__, name) not in CASES
        CASES[owner.__qualname__, name] = measure, list(values)
        return measure

    return register


def owners(kind: type) -> dict[str, str]:
    """Return for each field of a dataclass the class that declares it, the nearest one first."""
    return {
        field.name: next(base for base in kind.__mro__ if field.name in inspect.get_annotations(base)).__qualname__
        for field in fields(kind)
    }


# -- helpers


def line(cls=metarl.MAML, start=0.0, slopes=(1.0,), network=None, shots=1, queries=1, lr=1 / 16, **options):
    """An agent in front of lines, whose outer loop is plain gradient descent unless it is said."""
    options = {"outer": GradientDescent(lr, optimizer="SGD"), "meta_batch": len(slopes), **options}
    options = {"env_kwargs": {"slopes": slopes, "shots": shots, "queries": queries}, "dtype": "float64", **options}
    return cls(weight(start) if network is None else network, "tests/Line-v0", **{"device": "cpu", **options})


def adapted(agent):
    """The first task's weights after adaptation."""
    tasks = agent.source.sample(1, "train", torch.Generator())
    return agent.adapter.adapt(agent.meta, tasks, torch.Generator()).adapted[-1][0][0].tolist()


def learned(agent, steps=1):
    """The weight after outer steps."""
    return agent.learn(steps).meta["theta"].tolist()


def of_images(cls, **options):
    return cls("MLP", "tests/Images-v0", **{"policy_kwargs": {"hidden": (4,)}, "dtype": "float64", "device": "cpu", **options})


# -- what every agent takes


@case(Options, "meta_batch", (1, 1.0), (2, 2.0), (3, 5 / 3), (None, 2.0))  # None: four
def _(value):
    # rates of 1/8 and the slopes 1 and 3 in turn: from nought, the mean slope
    return learned(line(slopes=(1.0, 3.0), meta_batch=value, inner_steps=0, lr=1 / 8))[0]


@case(Options, "policy_kwargs", ({}, 0.0), ({"start": 0.5}, 0.5))
def _(value):
    return metarl.MAML("weight", "tests/Line-v0", policy_kwargs=value, device="cpu").meta["theta"].item()


@case(Options, "env_kwargs", ({}, 4.0), ({"slopes": (2.0,)}, 16.0))
def _(value):
    return line(env_kwargs=value, inner_steps=0, meta_batch=1).evaluate(1, split="train").mean[0]


@case(
    Options,
    "seed",
    *((seed, int.from_bytes(sha256(f"{seed}: tasks".encode()).digest()[:7], "big")) for seed in (0, 5)),
)
def _(value):
    return line(seed=value).streams["tasks"].initial_seed()


@case(Options, "device", ("auto", "cuda"), ("cuda", "cuda"), ("cpu", "cpu"))
def _(value):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.cuda, "is_available", lambda: True)
        patch.setattr(torch.cuda, "current_device", lambda: 0)
        return device_of(value).type


@case(Options, "dtype", ("float32", torch.float32), ("float64", torch.float64))
def _(value):
    return line(dtype=value).learn(1).meta["theta"].dtype


# -- what agents take that step


@case(GradientOptions, "inner_steps", (0, 0.0), (1, 0.5), (2, 0.75))
def _(value):
    return adapted(line(inner_steps=value, rate=0.25))[0]


@case(GradientOptions, "first_order", (False, 1 / 8), (True, 1 / 4))  # -4 / 16, and half of it through the step
def _(value):
    return learned(line(first_order=value, rate=0.25))[0]


@case(GradientOptions, "inner_clip", (None, 0.5), (1.0, 0.25), (1.5, 0.375))
def _(value):
    return adapted(line(inner_clip=value, rate=0.25))[0]


@case(GradientOptions, "adapted", ("all", [1.125, 0.75]), ("head", [0.75]), ("0.*", [1.125]), (["*.weight"], [1.125, 0.75]))
def _(value):
    # weights of 1 and 1/2 in a row: of half a residual, gradients of -1/2 and -1
    network = nn.Sequential(weight(1.0), weight(0.5))
    return adapted(line(network=network, adapted=value, rate=0.25))


TINY = math.sqrt(1e-5)
"""The deviation of what does not vary: the root of what is added to a variance."""


@case(
    GradientOptions,
    "batch_norm",
    ("batch", [-1 / math.sqrt(1 + 1e-5), 1 / math.sqrt(1 + 1e-5)]),
    ("support", [0, 2 / TINY]),  # the mean of the support inputs is 1
    ("running", [-1 / TINY, 1 / TINY]),  # of the query inputs, with which averages begin, it is 2
)
def _(value):
    network = nn.Sequential(BatchNorm(1), weight(1.0))
    agent = line(network=network, shots=2, queries=2, inner_steps=0, batch_norm=value)
    observation, _ = agent.env.reset()
    return agent.adapt(observation).outputs([[1.0], [3.0]])[:, 0].tolist()


def support_batch(agent):
    """How many support examples an inner step sees."""
    tasks = agent.source.sample(2, "train", torch.Generator())
    return agent.adapter.experiences(tasks, torch.Generator())[0].inputs.shape[1]


@case(GradientOptions, "support_batch", (None, 3), (2, 2), (5, 3))
def _(value):
    return support_batch(line(shots=3, support_batch=value))


@case(RateOptions, "rate", (0.25, 0.75), ([0.25, 0.125], 0.625), ([0.125], 0.4375))
def _(value):
    return adapted(line(inner_steps=2, rate=value))[0]


GRANULARITIES = (("global", [1, 1]), ("step", [2, 1]), ("layer", [1, 2]), ("layer-step", [2, 2]))


def table_of_rates(cls, value):
    meta = line(cls, network=nn.Sequential(weight(1.0), weight(0.5)), inner_steps=2, learned=value, outer=None).meta
    return list(meta["rule.table"].shape) if "rule.table" in meta else None


@case(metarl.MAML.Options, "learned", ("fixed", None), *GRANULARITIES)
def _(value):
    return table_of_rates(metarl.MAML, value)


@case(metarl.AlphaMAML.Options, "learned", *GRANULARITIES)
def _(value):
    return table_of_rates(metarl.AlphaMAML, value)


@case(metarl.MetaSGD.Options, "rate", (0.25, 0.5), (0.125, 0.25))
def _(value):
    return adapted(line(metarl.MetaSGD, rate=value))[0]


@case(metarl.MetaLSTM.Options, "hidden", (2, [8, 4]), (3, [12, 4]))
def _(value):
    return list(line(metarl.MetaLSTM, hidden=value).meta["rule.input_weights"].shape)


@case(metarl.MetaLSTM.Options, "rate", (0.25, 0.5), (0.125, 0.25))
def _(value):
    return adapted(line(metarl.MetaLSTM, hidden=2, rate=value))[0]


FORGET = 1 / (1 + math.exp(-10))
"""The forget gate of an LSTM that starts as gradient descent."""


def lstm_start(cls, value):
    """Where theta goes from nought: the query gradient is -4, through the step it is times what is kept of theta."""
    options = {} if value is None else {"first_order": value}
    return learned(line(cls, hidden=2, rate=0.25, inner_steps=1, **options))[0]


@case(metarl.MetaLSTM.Options, "first_order", (True, FORGET / 4), (False, (FORGET - 0.5) / 4), (None, FORGET / 4))
def _(value):
    return lstm_start(metarl.MetaLSTM, value)


@case(metarl.MetaLSTM2.Options, "first_order", (True, FORGET / 4), (False, (FORGET - 0.5) / 4), (None, (FORGET - 0.5) / 4))
def _(value):
    return lstm_start(metarl.MetaLSTM2, value)


def lstm_steps(count):
    theta = 0.0
    for _ in range(count):
        theta = FORGET * theta + 0.25 * 2 * (1 - theta)
    return theta


@case(metarl.MetaLSTM2.Options, "inner_steps", ({}, lstm_steps(8)), ({"inner_steps": 2}, lstm_steps(2)))
def _(value):
    return adapted(line(metarl.MetaLSTM2, hidden=2, rate=0.25, **value))[0]


def turtle(weights, **options):
    """TURTLE with these numbers in its network, and rates of one; after adaptation."""
    agent = line(metarl.TURTLE, **{"hidden": (), "alpha": "ones", **options})
    for name, values in weights.items():
        agent.meta[f"rule.network.{name}"] = torch.tensor(values, dtype=torch.float64)
    return adapted(agent)[0]


@case(metarl.TURTLE.Options, "hidden", ((), [[1, 1]]), ((4,), [[4, 1], [1, 4]]), ((4, 3), [[4, 1], [3, 4], [1, 3]]))
def _(value):
    meta = line(metarl.TURTLE, hidden=value).meta
    return [list(meta[name].shape) for name in meta if name.startswith("rule.network") and name.endswith("weight")]


@case(
    metarl.TURTLE.Options,
    "activation",
    ("relu", 0.0),
    ("tanh", math.tanh(2) / 4),
    ("elu", (1 - math.exp(-2)) / 4),
)
def _(value):
    weights = {"0.weight": [[1.0]], "0.bias": [0.0], "2.weight": [[-0.25]], "2.bias": [0.0]}
    return turtle(weights, hidden=(1,), activation=value)


@case(
    metarl.TURTLE.Options,
    "inputs",
    (None, 0.5),
    ("gradient", 0.5),
    ("loss", -0.25),
    (("gradient", "loss"), 0.0),
    (("loss", "gradient"), 0.75),
)
def _(value):
    weights = {None: [-0.25], "gradient": [-0.25], "loss": [-0.25]}.get(value, [-0.25, -0.5])
    return turtle({"0.weight": [weights], "0.bias": [0.0]}, inputs=value)


@case(metarl.TURTLE.Options, "beta", (0.0, 0.75), (0.5, 0.875), (1.0, 1.0))
def _(value):
    # gradients of -2 and -1, and the average of them
    return turtle({"0.weight": [[-0.25]], "0.bias": [0.0]}, inputs="gradient-history", inner_steps=2, beta=value)


@case(metarl.TURTLE.Options, "alpha", ("ones", [1.0]), ("fixed", None), ("uniform", "between"))
def _(value):
    alpha = line(metarl.TURTLE, alpha=value).meta.get("rule.alpha")
    return alpha if alpha is None else "between" if 0 < alpha < 1 else alpha.tolist()


@case(metarl.TURTLE.Options, "rate", (0.25, 0.5), (0.125, 0.25))
def _(value):
    return adapted(line(metarl.TURTLE, rate=value))[0]


@case(metarl.LearnedOptimiser.Options, "inner_steps", ({}, 100), ({"inner_steps": 3}, 3))
def _(value):
    agent = line(metarl.LearnedOptimiser, hidden=1, **value)
    tasks = agent.source.sample(1, "train", torch.Generator())
    return len(agent.adapter.adapt(agent.meta, tasks, torch.Generator()).losses)


case(metarl.LearnedOptimiser.Options, "first_order", ({}, True), ({"first_order": False}, False))(
    lambda v: line(metarl.LearnedOptimiser, **v).adapter.first_order
)
case(metarl.LearnedOptimiser.Options, "hidden", ({}, [80, 22]), ({"hidden": 3}, [12, 5]))(
    lambda v: list(line(metarl.LearnedOptimiser, **v).meta["rule.cells.0.weight"].shape)
)
case(metarl.LearnedOptimiser.Options, "preprocess", (True, [12, 5]), (False, [12, 4]))(
    lambda v: list(line(metarl.LearnedOptimiser, hidden=3, preprocess=v).meta["rule.cells.0.weight"].shape)
)


@case(metarl.LearnedOptimiser.Options, "scale", ({}, 0.2), ({"scale": 0.5}, 1.0))
def _(value):
    # an output of one in each of two steps, whatever the gradient
    agent = line(metarl.LearnedOptimiser, inner_steps=2, **value)
    agent.meta["rule.output.weight"], agent.meta["rule.output.bias"] = torch.zeros(1, 20).double(), torch.ones(1).double()
    return adapted(agent)[0]


@case(metarl.LearnedOptimiser.Options, "start", (None, [1.5, 0.5]), (0.25, [0.0, 0.25]))
def _(value):
    # weights of 1 and 2 in front of two inputs
    options = {"env_kwargs": {"dimensions": 2}, "start": value, "device": "cpu"}
    agent = metarl.LearnedOptimiser(weight(1.0, 2.0), "metarl/Quadratics-v0", **options)
    return [moment[1].item() for moment in agent.adapter.start.moments(agent.meta["theta"])]


@case(metarl.Agent.Options, "rule", (rules.GradientDescent, 0.2), (rules.Adam, 0.001))
def _(value):
    return adapted(line(metarl.Agent, rule=value))[0]


@case(metarl.Agent.Options, "rule_kwargs", ({}, 0.2), ({"rate": 0.25}, 0.5))
def _(value):
    return adapted(line(metarl.Agent, rule=rules.GradientDescent, rule_kwargs=value))[0]


# -- baselines


def inner_steps(agent):
    return len(agent.adapter.experiences(agent.source.sample(1, "train", torch.Generator()), torch.Generator()))


@case(AdamOptions, "inner_steps", ({}, 100), ({"inner_steps": 2}, 2))
def _(value):
    return inner_steps(line(metarl.TrainFromScratch, **value))


@case(AdamOptions, "rate", (0.001, 0.001), (0.5, 0.5))
def _(value):
    return adapted(line(metarl.TrainFromScratch, inner_steps=1, rate=value))[0]


@case(AdamOptions, "support_batch", ({}, 4), ({"support_batch": None}, 6), ({"support_batch": 3}, 3))
def _(value):
    return support_batch(line(metarl.TrainFromScratch, shots=6, inner_steps=1, **value))


def images_a_step(cls, value):
    """How many images or episodes an outer step counts; {} for the default."""
    return of_images(cls, **value).learn(1, log_interval=2).num_timesteps


def largest_change(agent):
    before = agent.meta["theta"] if "shared" not in agent.meta else agent.meta["shared"]
    agent.learn(1, log_interval=2)
    after = agent.meta["theta"] if "shared" not in agent.meta else agent.meta["shared"]
    return (after - before).abs().max().item()


def statistics(cls, value):
    return of_images(cls, **value).adapter.learner.batch_norm


STATISTICS = (({"batch_norm": "batch"}, "batch"), ({"batch_norm": "support"}, "support"))
for baseline, images in ((metarl.Finetuning, 16), (metarl.NearestNeighbour, 16), (metarl.BaselineFinetune, 64)):
    case(baseline.Options, "meta_batch", ({}, images), ({"meta_batch": 3}, 3))(lambda v, c=baseline: images_a_step(c, v))
    case(baseline.Options, "batch_norm", ({}, "running"), *STATISTICS)(lambda v, c=baseline: statistics(c, v))
case(metarl.ProtoNet.Options, "meta_batch", ({}, 1), ({"meta_batch": 3}, 3))(lambda v: images_a_step(metarl.ProtoNet, v))
case(metarl.SemiProtoNet.Options, "meta_batch", ({}, 1), ({"meta_batch": 3}, 3))(
    lambda v: images_a_step(metarl.SemiProtoNet, v)
)


@case(metarl.SemiProtoNet.Options, "refinement", ("soft", 0), ("distractor-cluster", 1), ("masked", 2 * 20 + 2 + 20 * 5 + 20))
def _(value):
    meta = of_images(metarl.SemiProtoNet, refinement=value).meta
    return sum(numbers.numel() for name, numbers in meta.items() if name.startswith("reader."))


@case(metarl.SemiProtoNet.Options, "refinements", ({}, 2), ({"refinements": 3}, 4))
def _(value):
    reader = of_images(metarl.SemiProtoNet, **value).adapter.reader
    support = Support(torch.tensor([[0.0], [4.0]]), torch.eye(2), torch.arange(2), (torch.tensor([[1.0]]),))
    return len(reader.path(support))


case(ReadingOptions, "batch_norm", ({}, "batch"), ({"batch_norm": "running"}, "running"), STATISTICS[1])(
    lambda v: statistics(metarl.ProtoNet, v)
)


@case(metarl.Finetuning.Options, "adapted", ({}, 2), ({"adapted": "all"}, 6), ({"adapted": ["*.bias"]}, 3))
def _(value):
    return len(of_images(metarl.Finetuning, **value).adapter.learner.layout.names)


def similarity(cls, value):
    reader = of_images(cls, **value).adapter.reader
    return reader.similarity(torch.tensor([[2.0, 0.0]]), torch.tensor([[1.0, 0.0]])).item()


case(metarl.NLBA.Options, "hidden", ({}, [64, 64, 1]), ({"hidden": (5, 3)}, [5, 3, 1]))(
    lambda v: [len(layer.weight) for layer in of_images(metarl.NLBA, **v).adapter.reader.layers]
)
case(MetricOptions, "distance", ({}, -1.0), ({"distance": "cosine"}, 1.0))(lambda v: similarity(metarl.ProtoNet, v))
case(metarl.NearestNeighbour.Options, "distance", ({}, 1.0), ({"distance": "squared-euclidean"}, -1.0))(
    lambda v: similarity(metarl.NearestNeighbour, v)
)


case(metarl.MatchingNet.Options, "distance", ({}, 1.0), ({"distance": "squared-euclidean"}, -1.0))(
    lambda v: similarity(metarl.MatchingNet, v)
)


def matched(**options):
    """The first class's probability for a query whose cosines are 1 and 0.6 with its examples, and 0 with the other's."""
    reader = of_images(metarl.MatchingNet, **options).adapter.reader
    examples, classes = torch.tensor([[2.0, 0.0], [3.0, 4.0], [0.0, 1.0]]), torch.tensor([0, 0, 1])
    kept = reader.read(Support(examples, torch.eye(2)[classes], classes))
    return reader.answer(torch.tensor([[1.0, 0.0]]), kept).exp()[0, 0].item()


def sure(*exponents):
    return sum(map(math.exp, exponents)) / (1 + sum(map(math.exp, exponents)))


case(metarl.MatchingNet.Options, "scale", (1.0, sure(1, 0.6)), (5.0, sure(5, 3)))(lambda v: matched(scale=v))
case(metarl.MatchingNet.Options, "softmax_over", ("examples", sure(1, 0.6)), ("classes", sure(1.6)))(
    lambda v: matched(softmax_over=v)
)


@case(metarl.MatchingNet.Options, "full_context", (False, 0), (True, 9))
def _(value):
    return sum(name.startswith("reader.") for name in of_images(metarl.MatchingNet, full_context=value).meta)


@case(metarl.MatchingNet.Options, "processing_steps", ({}, 3), ({"processing_steps": 0}, 0), ({"processing_steps": 5}, 5))
def _(value):
    return of_images(metarl.MatchingNet, full_context=True, **value).adapter.reader.context.steps


def relation_shape(name, **options):
    maps = {"policy_kwargs": {"filters": 2, "pools": 0}, "device": "cpu", **options}
    return list(metarl.RelationNet("Conv4", "tests/Images-v0", **maps).meta[name].shape)


case(metarl.RelationNet.Options, "filters", ({}, [64, 64, 3, 3]), ({"filters": 4}, [4, 4, 3, 3]))(
    lambda v: relation_shape("reader.second.weight", **v)
)
case(metarl.RelationNet.Options, "hidden", ({}, [8, 64]), ({"hidden": 3}, [3, 64]))(
    lambda v: relation_shape("reader.hidden.weight", **v)
)
# -- memories: of meta-parameters of nought all outputs are nought; support targets are 1, those of queries 2


def nought(cls, **options):
    agent = line(cls, **options)
    agent.meta = {name: torch.zeros_like(value) for name, value in agent.meta.items()}
    return agent


def usage(**options):
    """How much of the first of two rows is in use after an example, before which all of it was; it is written to by half."""
    agent = nought(metarl.MANN, **{"slots": 2, "reads": 1, **options})
    tasks = agent.source.sample(1, "train", torch.Generator())
    return agent.adapter.adapt(agent.meta, tasks, torch.Generator()).adapted[-1][0].state.usage[0, 0].item()


case(RecurrentOptions, "meta_batch", ({}, 16), ({"meta_batch": 3}, 3))(lambda v: images_a_step(metarl.LSTM, v))
case(RecurrentOptions, "hidden", ({}, 800), ({"hidden": 3}, 12))(lambda v: len(line(metarl.LSTM, **v).meta["reader.core.bias"]))
case(metarl.MANN.Options, "slots", (2, 0.95 + 0.5 + 1 / 2), (4, 0.95 + 0.5 + 1 / 4))(lambda v: usage(slots=v))
case(metarl.MANN.Options, "reads", (1, 0.95 + 0.5 + 1 / 2), (2, 0.95 + 2 * (0.5 + 1 / 2) + 0.5))(lambda v: usage(reads=v))
case(metarl.MANN.Options, "decay", ({}, 0.95 + 1), ({"decay": 0.5}, 0.5 + 1))(lambda v: usage(**v))


@case(RecurrentOptions, "loss_on", ("sequence", 2.5), ("queries", 4.0))
def _(value):
    agent = nought(metarl.LSTM, loss_on=value)
    batch = gathered(agent)
    return agent.adapter.losses(agent.meta, batch.adaptation.adapted[-1], batch.query).item()


@case(metarl.MANN.Options, "width", ({}, 4 * (2 * 40 + 1)), ({"width": 3}, 4 * (2 * 3 + 1)))
def _(value):
    return len(line(metarl.MANN, **value).meta["reader.core.heads.bias"])


@case(metarl.MANN.Options, "sharpen", ({}, 4 * (2 * 40 + 1)), ({"sharpen": True}, 4 * (2 * 40 + 2)))
def _(value):
    return len(line(metarl.MANN, **value).meta["reader.core.heads.bias"])


@case(metarl.MANN.Options, "start", ({}, [0.0, 0.0]), ({"start": "associative"}, [-3.0, 3.0]))
def _(value):
    """The biases of the gates of two heads, to the whole number."""
    biases = of_images(metarl.MANN, hidden=400, reads=2, **value).meta["reader.core.heads.bias"]
    return [float(round(bias)) for bias in biases[-2:].tolist()]


@case(metarl.BaselinePlusPlus.Options, "scale", ({}, 2.0), ({"scale": 6.0}, 6.0))
def _(value):
    agent = of_images(metarl.BaselinePlusPlus, **value)
    observation, _ = agent.env.reset(seed=0)
    scaled, unit = (
        one.adapt(observation, steps=0).outputs(observation["query_inputs"])
        for one in (agent, of_images(metarl.BaselinePlusPlus, scale=1.0))
    )
    return float(np.abs(scaled).sum() / np.abs(unit).sum())  # not one by one: an image may have features of nought


@case(metarl.BaselineFinetune.Options, "inner_steps", ({}, 15), ({"inner_steps": 2}, 2))
def _(value):
    return inner_steps(of_images(metarl.BaselineFinetune, **value))


def snail(name, **value):
    """The rows of a parameter of SNAIL's reader."""
    sizes = {"filters": 2, "key_sizes": (3, 3), "value_sizes": (4, 5)}
    return len(of_images(metarl.SNAIL, **{**sizes, **value}).meta[f"reader.body.blocks.{name}"])


MORE_SHOTS = {"env_kwargs": {"queries": 1, "train_shots": (1, 3)}}


@case(metarl.SNAIL.Options, "length", ({}, 5), (MORE_SHOTS, 7), ({"length": 9}, 9))  # two ways, two or three shots, a query
def _(value):
    return of_images(metarl.SNAIL, **value).adapter.reader.length


case(metarl.SNAIL.Options, "filters", (2, 4), (3, 6))(lambda v: snail("1.blocks.0.convolutions.weight", filters=v))
case(metarl.SNAIL.Options, "key_sizes", ((3, 3), 3), ((3, 7), 7))(lambda v: snail("2.keys.weight", key_sizes=v))
case(metarl.SNAIL.Options, "value_sizes", ((4, 5), 5), ((4, 6), 6))(lambda v: snail("2.values.weight", value_sizes=v))


@case(metarl.SNAIL.Options, "start", ({}, 0.0), ({"start": "associative"}, 160.0))
def _(value):
    """The first block's query by labels, to the whole number."""
    return float(of_images(metarl.SNAIL, **value).meta["reader.body.blocks.0.queries.bias"][-1].round())


def of_trials(cls, **options):
    """A small agent of trials of bandits."""
    options = {"policy_kwargs": {"hidden": (3,)}, "outer": "policy_gradient", "dtype": "float64", "device": "cpu", **options}
    if cls is metarl.RL2:
        options = {"hidden": 4, **options}
    return cls("MlpPolicy", "metarl/BernoulliBandit-v0", **options)


@case(TrialOptions, "episodes", ({}, 2), ({"episodes": 3}, 3))
def _(value):
    return of_trials(metarl.RL2, rollouts=Rollouts(trajectories=1), **value).evaluate(1).values.shape[1]


@case(TrialOptions, "log_std", ({}, 0.0), ({"log_std": -1.5}, -1.5))
def _(value):
    agent = metarl.RL2("MlpPolicy", "metarl/Navigation2D-v0", outer="policy_gradient", device="cpu", **value)
    return agent.meta["memory.head.log_std"][0].item()


@case(TrialOptions, "log_std_from", ("parameter", [2, 0]), ("network", [4, 1]))
def _(value):
    agent = metarl.RL2("MlpPolicy", "metarl/Navigation2D-v0", outer="policy_gradient", log_std_from=value, device="cpu")
    [weight] = [value for name, value in agent.meta.items() if name.startswith("memory.head") and name.endswith("weight")]
    head = agent.make_memory(3, agent.source.distribution, 1).head
    with torch.no_grad():
        first, second = head(torch.randn(2, agent.options.hidden))[:, 2:]
    return [len(weight), int(not torch.equal(first, second))]


case(metarl.RL2.Options, "core", ("gru", 3), ("lstm", 4))(
    lambda v: len(of_trials(metarl.RL2, core=v, hidden=1).meta["memory.core.input_weights"])
)
case(metarl.RL2.Options, "hidden", (2, 6), (5, 15))(
    lambda v: len(of_trials(metarl.RL2, hidden=v).meta["memory.core.input_weights"])
)


def snail_policy(name, **value):
    """The rows of a parameter of SNAIL's policy."""
    sizes = {"filters": 2, "key_sizes": (3, 3), "value_sizes": (4, 5)}
    return len(of_trials(metarl.SNAILPolicy, **{**sizes, **value}).meta[f"memory.body.blocks.{name}"])


case(metarl.SNAILPolicy.Options, "filters", (2, 4), (3, 6))(lambda v: snail_policy("1.blocks.0.convolutions.weight", filters=v))
case(metarl.SNAILPolicy.Options, "key_sizes", ((3, 3), 3), ((3, 7), 7))(lambda v: snail_policy("2.keys.weight", key_sizes=v))
case(metarl.SNAILPolicy.Options, "value_sizes", ((4, 5), 5), ((4, 6), 6))(
    lambda v: snail_policy("2.values.weight", value_sizes=v)
)


def neural_process(**value):
    """The shapes of a neural process's encoder, and whether it has keys."""
    meta = metarl.NeuralProcess("MLP", "metarl/Sine-v0", policy_kwargs={"hidden": (4,)}, device="cpu", **value).meta
    shapes = [list(meta[name].shape) for name in meta if name.startswith("reader.encoder") and name.endswith("weight")]
    return shapes, "reader.keys.weight" in meta


case(metarl.NeuralProcess.Options, "hidden", ((6,), [[6, 5], [128, 6]]), ((6, 7), [[6, 5], [7, 6], [128, 7]]))(
    lambda v: neural_process(hidden=v)[0]
)
case(metarl.NeuralProcess.Options, "representation", (3, 3), (9, 9))(lambda v: neural_process(representation=v)[0][-1][0])
case(metarl.NeuralProcess.Options, "attention", ("none", False), ("dot", True))(lambda v: neural_process(attention=v)[1])


# -- gradient descent: from nought in front of the slope 1 without inner steps, the gradient is -8, then 8 (w - 1)


def descent(steps=1, slopes=(1.0,), **options):
    outer = GradientDescent(**{"learning_rate": 1 / 16, "optimizer": "SGD", **options})
    return learned(line(slopes=slopes, inner_steps=0, outer=outer), steps)[0]


case(GradientDescent, "learning_rate", (1 / 16, 0.5), (1 / 32, 0.25))(lambda v: descent(learning_rate=v))
case(GradientDescent, "halve_every", (None, 0.875), (1, 0.671875), (2, 0.8125))(lambda v: descent(3, halve_every=v))
case(GradientDescent, "optimizer", ("SGD", 0.5), ("Adam", 1 / 16), ("RMSprop", 10 / 16))(lambda v: descent(optimizer=v))
case(GradientDescent, "optimizer_kwargs", ({}, 0.75), ({"momentum": 0.5}, 1.0))(lambda v: descent(2, optimizer_kwargs=v))
# gradients of -8 and -24 by task, -16 in the mean
case(GradientDescent, "clip_task", (None, 1.0), (10.0, 9 / 16))(lambda v: descent(slopes=(1.0, 3.0), clip_task=v))
case(GradientDescent, "clip_value", (None, 1.0), (4.0, 0.25))(lambda v: descent(slopes=(1.0, 3.0), clip_value=v))


@case(GradientDescent, "clip_norm", (None, [1.0, 0.5]), (4.0, [4 / 80**0.5, 2 / 80**0.5]), (100.0, [1.0, 0.5]))
def _(value):
    # two weights of 1/2 and 1 in a row, in front of the slope 1.5: gradients of 8 (1/2 - 3/2) times the other weight
    network = nn.Sequential(weight(0.5), weight(1.0))
    outer = GradientDescent(1 / 8, optimizer="SGD", clip_norm=value)
    agent = line(network=network, slopes=(1.5,), inner_steps=0, outer=outer)
    before = agent.meta["theta"]
    return [round(x, 6) for x in (agent.learn(1).meta["theta"] - before).tolist()]


@case(GradientDescent, "tasks_at_once", (None, [1.0, 1]), (2, [1.0, 1]), (1, [1.0, 2]))
def _(value):
    agent = line(slopes=(1.0, 3.0), inner_steps=0, outer=GradientDescent(1 / 16, optimizer="SGD", tasks_at_once=value))
    parts, losses = [], agent.adapter.losses
    agent.adapter.losses = lambda *arguments: parts.append(1) or losses(*arguments)
    return [*learned_without_report(agent), len(parts)]


# from nought an inner step goes a fifth of the way to the slope 1, and the gradient is -8 (4/5)^2; beside it, how many losses
@case(GradientDescent, "recompute_steps", (None, [0.32, 2]), (False, [0.32, 2]), (True, [0.32, 3]))
def _(value):
    agent = line(outer=GradientDescent(1 / 16, optimizer="SGD", recompute_steps=value))
    seen, loss = [], agent.adapter.problem.loss
    agent.adapter.problem.loss = lambda *arguments: seen.append(1) or loss(*arguments)
    return [round(learned_without_report(agent)[0], 12), len(seen)]


@case(GradientDescent, "steps_per_call", (1, [1, 1]), (2, [2]))
def _(value):
    agent = line(outer=GradientDescent(1 / 16, steps_per_call=value))
    drawn, sample = [], agent.source.sample
    agent.source.sample = lambda n, *arguments: drawn.append(n // agent.meta_batch) or sample(n, *arguments)
    agent.learn(2, log_interval=3)
    return drawn


def learned_without_report(agent):
    return agent.learn(1, log_interval=2).meta["theta"].tolist()


@case(GradientDescent, "compile", (False, [0.5, 0]), (True, [0.5, 1]))
def _(value):
    compiled = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "compile", lambda function, **_: compiled.append(function) or function)
        return [descent(compile=value), len(compiled)]


# -- hypergradients: with the rate 1/4 the gradient by w is -2 at nought, that by the rate -8


def hyper(steps=1, slopes=(1.0,), rate=0.25, **options):
    options = {"learning_rate": 1 / 8, "alpha_hyper": 0.0, "beta_hyper": 0.0, **options}
    return line(metarl.AlphaMAML, slopes=slopes, rate=rate, outer=HypergradientDescent(**options)).learn(steps)


def hyper_theta(steps=1, slopes=(1.0,), **options):
    return hyper(steps, slopes, **options).meta["theta"].item()


case(HypergradientDescent, "learning_rate", (1 / 8, 0.25), (1 / 4, 0.5), (None, 0.002))(lambda v: hyper_theta(learning_rate=v))
case(HypergradientDescent, "alpha_hyper", (0.0, 0.25), (0.01, 0.33))(lambda v: hyper(alpha_hyper=v).meta["rule.table"].item())
# the second gradient is 8 (5/8 - 1) / 2 = -3/2, and agrees with the first direction by 3
case(HypergradientDescent, "beta_hyper", (0.0, 0.125), (0.01, 0.155), (None, 0.125 + 3e-7))(
    lambda v: hyper(2, beta_hyper=v).outer_state["beta"].item()
)
case(HypergradientDescent, "reduction", ("sum", 1.0), ("mean", 0.5))(lambda v: hyper_theta(slopes=(1.0, 3.0), reduction=v))
# at the rate 3/4 the step goes too far, and the gradient by the rate is 8
case(HypergradientDescent, "clamp", (False, -0.25), (True, 0.0))(
    lambda v: hyper(rate=0.75, alpha_hyper=0.125, clamp=v).meta["rule.table"].item()
)
case(HypergradientDescent, "optimizer", ("SGD", 0.25), ("Adam", 0.125))(lambda v: hyper_theta(optimizer=v))
case(HypergradientDescent, "optimizer_kwargs", ({}, 0.4375), ({"momentum": 0.5}, 0.5625))(
    lambda v: hyper_theta(2, optimizer_kwargs=v)
)


# -- Reptile: with the rate 1/4 an inner step goes half of the way from nought to the slope 1


def reptile(steps=1, **options):
    return learned(line(rate=0.25, outer=Reptile(**options)), steps)[0]


case(Reptile, "fraction", (1.0, 0.5), (0.5, 0.25))(lambda v: reptile(fraction=v))
case(Reptile, "anneal_over", (None, 0.75), (2, 0.625), (1, 0.5))(lambda v: reptile(2, anneal_over=v))


@case(Reptile, "compile", (False, [0.5, 0]), (True, [0.5, 1]))
def _(value):
    compiled = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "compile", lambda function, **_: compiled.append(function) or function)
        agent = line(rate=0.25, outer=Reptile(compile=value)).learn(1, log_interval=2)
    return [agent.meta["theta"].item(), len(compiled)]


# Adam's first step is its rate, whatever the gradient
case(metarl.Reptile.Options, "rate", (0.001, 0.001), (0.25, 0.25))(
    lambda v: adapted(line(metarl.Reptile, inner_steps=1, rate=v))[0]
)


@case(metarl.Reptile.Options, "inner_steps", ({}, 5), ({"inner_steps": 2}, 2))
def _(value):
    return inner_steps(line(metarl.Reptile, **value))


# -- truncated backpropagation: at the rate 1/4 half of the way is left after a step, and the query loss is 4 (1 - 2 rate)^2


def truncated(steps=1, **options):
    options = {"learning_rate": 1 / 64, "optimizer": "SGD", "unroll": 1, **options}
    agent = line(rate=0.25, learned="global", inner_steps=4, outer=TruncatedBackpropagation(**options))
    return agent.learn(steps).meta["rule.table"].item()


case(TruncatedBackpropagation, "learning_rate", (1 / 64, 0.375), (1 / 128, 0.3125))(lambda v: truncated(learning_rate=v))
# from one half at the rate 3/8 the gradient is -1, in a step of half the size
case(TruncatedBackpropagation, "halve_every", (None, 0.390625), (2, 0.390625), (1, 0.3828125))(
    lambda v: truncated(2, halve_every=v)
)
# gradients of -8 after the first step and -4 after the second
case(TruncatedBackpropagation, "unroll", (1, 0.375), (2, 0.34375))(lambda v: truncated(unroll=v))
case(TruncatedBackpropagation, "objective", ("query", 0.375), ("support", 0.28125))(lambda v: truncated(objective=v))
case(TruncatedBackpropagation, "optimizer", ("SGD", 0.375), ("Adam", 0.265625))(lambda v: truncated(optimizer=v))
# the second gradient, of a step from one half at the rate 3/8, is -1
case(TruncatedBackpropagation, "optimizer_kwargs", ({}, 0.390625), ({"momentum": 0.5}, 0.453125))(
    lambda v: truncated(2, optimizer_kwargs=v)
)
case(TruncatedBackpropagation, "clip_norm", (None, 0.375), (4.0, 0.3125), (100.0, 0.375))(lambda v: truncated(clip_norm=v))


# -- TRPO: the step against the dense matrix of a policy of two numbers


def level(cls=metarl.MAML, lengths=(1, 3), level_kwargs=None, policy_kwargs=None, **options):
    """A policy of two numbers: the weight of the observation and the log deviation."""
    return cls(
        weight(0.5),
        "tests/Level-v0",
        env_kwargs={"lengths": lengths, **(level_kwargs or {})},
        policy_kwargs={"log_std": -0.3, **(policy_kwargs or {})},
        **{"meta_batch": len(lengths), "dtype": "float64", "device": "cpu", **options},
    )


def sloped(**options):
    return level(
        level_kwargs={"slope": 1.0}, rollouts=Rollouts(trajectories=3, advantages="raw", baseline="none"), rate=0.1, **options
    )


def first_candidate(outer, cls=metarl.MAML):
    """The step that the line search tries first, from the old parameters."""
    agent = sloped(cls=cls, outer=outer)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TRPO, "_line_search", lambda self, old, step, loss, evaluate: (old - step, 1, loss, 0 * loss))
        outcome, _ = outer.improve(agent.adapter, agent.meta, agent.outer_state, gathered(agent), torch.Generator())
    return (agent.meta["theta"] - outcome.meta["theta"]).tolist()


def dense_step(max_kl=0.01, damping=1e-5, iterations=10):
    """The natural step by the dense Fisher matrix; after one iteration of conjugate gradient it lies along the gradient."""
    agent = sloped(outer=TRPO())
    batch, problem, adapter = gathered(agent), agent.adapter.problem, agent.adapter
    steps = batch.query.lengths.sum(1)

    def replayed(theta):
        meta = {**agent.meta, "theta": theta}
        return meta, adapter.replay(meta, batch.experiences, 2)

    def surrogate(theta):
        return adapter.of_tasks(problem.surrogate, *replayed(theta), batch.query).mean()

    def kl(theta):
        new = adapter.of_tasks(problem.outputs, *replayed(theta), batch.query)
        kls = (problem.distribution.kl(batch.query.distribution_parameters, new) * batch.query.weights).sum(1)
        return (kls * steps / steps.sum()).sum()

    gradient = torch.func.grad(surrogate)(agent.meta["theta"])
    matrix = torch.autograd.functional.hessian(kl, agent.meta["theta"]) + damping * torch.eye(2, dtype=torch.float64)
    direction = gradient if iterations == 1 else torch.linalg.solve(matrix, gradient)
    return (direction * (2 * max_kl / (direction @ matrix @ direction)).sqrt()).tolist()


case(TRPO, "max_kl", (0.01, lambda v: dense_step(max_kl=v)), (0.04, lambda v: dense_step(max_kl=v)))(
    lambda v: first_candidate(TRPO(max_kl=v))
)
case(TRPO, "cg_iterations", (10, lambda v: dense_step()), (1, lambda v: dense_step(iterations=1)))(
    lambda v: first_candidate(TRPO(cg_iterations=v))
)
case(TRPO, "damping", (0.0, lambda v: dense_step(damping=v)), (0.5, lambda v: dense_step(damping=v)))(
    lambda v: first_candidate(TRPO(damping=v))
)


def searched(outer):
    """What the line search tries of a step of one, when none of it serves."""
    tried = []
    outer._line_search(torch.zeros(1), -torch.ones(1), torch.zeros(()), lambda c: (tried.append(c.item()) or c.sum(), c.sum()))
    return tried


case(TRPO, "line_search_steps", (1, [1.0]), (3, [1.0, 0.5, 0.25]))(lambda v: searched(TRPO(line_search_steps=v, backtrack=0.5)))
case(TRPO, "backtrack", (0.5, [1.0, 0.5]), (0.75, [1.0, 0.75]))(lambda v: searched(TRPO(line_search_steps=2, backtrack=v)))


@case(TRPO, "compile", (False, 0), (True, 4))
def _(value):
    compiled = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "compile", lambda function, **_: compiled.append(function) or function)
        sloped(outer=TRPO(compile=value)).learn(1, log_interval=2)
    return len(compiled)


@case(TRPO, "fisher_bfloat16", (False, False), (True, True))
def _(value):
    agent, short = level(outer=TRPO(fisher_bfloat16=value), dtype="float32"), []
    outputs, policies = agent.adapter.problem.outputs, _Policies.of(agent.adapter, agent.meta, gathered(agent))
    agent.adapter.problem.outputs = lambda *given: short.append(torch.is_autocast_enabled("cpu")) or outputs(*given)
    agent.outer._fisher_product(policies, agent.meta, torch.Generator())
    return short[-1]


@case(TRPO, "fisher_fraction", (1.0, [5, 5]), (0.5, [2, 2]), (0.01, [1, 1]))
def _(value):
    agent, kept = level(outer=TRPO(fisher_fraction=value), lengths=(5,), rollouts=Rollouts(trajectories=1)), []
    outer, outputs = agent.outer, agent.adapter.problem.outputs
    agent.adapter.problem.outputs = lambda apply, experience: kept.append(len(experience.weights)) or outputs(apply, experience)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(outer), "_line_search", lambda self, old, step, loss, evaluate: (old, 1, loss, 0 * loss))
        batch = gathered(agent)
        kept.clear()
        outer.improve(agent.adapter, agent.meta, {}, batch, torch.Generator())
    return kept[-2:]


case(
    HypergradientDescent,
    "trpo",
    (TRPO(max_kl=0.01), lambda v: dense_step(max_kl=0.01)),
    (TRPO(max_kl=0.04), lambda v: dense_step(max_kl=0.04)),
)(lambda v: first_candidate(HypergradientDescent(trpo=v, beta_hyper=0.0), metarl.AlphaMAML))


# -- PPO and ProMP: the epochs of the same policy by hand


def clipped(outer, by_hand, steps, rollouts):
    """Where an outer step leads theta, beside where it does by hand, as ``ByHand``'s arguments and ``descend``'s say."""
    agent = ppo_by_hand.level(outer, rollouts=rollouts or {})
    batch = gathered(agent)
    theta = agent.outer.improve(agent.adapter, agent.meta, agent.outer_state, batch, torch.Generator())[0].meta["theta"]
    rates = {"learning_rate": by_hand.pop("learning_rate", 0.3), "norm": by_hand.pop("norm", None)}
    expected = ppo_by_hand.ByHand(agent, batch, **by_hand).descend(parts=[None] * steps, **rates)
    return theta.tolist(), expected.tolist()


def ppo_case(owner, name, values, by_hand=lambda v: {}, steps=lambda v: 2, rollouts=None):
    """Register a case in which each value gives what the same epochs by hand give."""
    given = {"learning_rate": 0.3, "n_epochs": 2, "optimizer": "SGD", "max_grad_norm": None}
    if owner is ProMP:
        given = {"inner_kl_coef": 0.0, "clip_range": 0.2, **given}

    def expected(value):
        return clipped(owner(**{**given, name: value}), by_hand(value), steps(value), rollouts)[1]

    case(owner, name, *((value, expected) for value in values))(
        lambda value: clipped(owner(**{**given, name: value}), by_hand(value), steps(value), rollouts)[0]
    )


LVC = {"inner_loss": "likelihood-ratio"}
for kind, ratio in ((PPO, {}), (ProMP, {"ratio": True})):
    how = {"rollouts": LVC} if ratio else {}
    ppo_case(kind, "learning_rate", (0.3, 0.1), by_hand=lambda v, r=ratio: {"learning_rate": v, **r}, **how)
    ppo_case(kind, "n_epochs", (1, 3), by_hand=lambda v, r=ratio: dict(r), steps=lambda v: v, **how)
    ppo_case(kind, "clip_range", (0.01, 0.2), by_hand=lambda v, r=ratio: {"clip": v, **r}, **how)
    ppo_case(kind, "max_grad_norm", (None, 0.01, 100.0), by_hand=lambda v, r=ratio: {"norm": v, **r}, **how)
ppo_case(PPO, "ent_coef", (0.0, 0.5), by_hand=lambda v: {"ent_coef": v})
ppo_case(PPO, "kl_coef", (0.0, 0.5), by_hand=lambda v: {"kl_coef": v})
# the first step is at no distance from what was; the second is not taken where it is too far
ppo_case(PPO, "target_kl", (None, 1e-9, 1e9), steps=lambda v: 1 if v == 1e-9 else 2)
ppo_case(ProMP, "inner_kl_coef", (0.0, 0.5), by_hand=lambda v: {"inner_kl_coef": v, "ratio": True}, rollouts=LVC)


@case(ProMP, "inner_target_kl", (None, 0.5), (1e-9, 1.0), (1e9, 0.25))
def _(value):
    agent = ppo_by_hand.level(ProMP(inner_kl_coef=0.5, inner_target_kl=value), rollouts=LVC)
    return agent.learn(1).outer_state["inner_kl_coefs"].item()


@case(PPO, "minibatches", (1, 2.0), (2, 4.0))
def _(value):
    agent = ppo_by_hand.level(PPO(n_epochs=2, minibatches=value))
    return agent.outer.improve(agent.adapter, agent.meta, agent.outer_state, gathered(agent), torch.Generator())[0].metrics[
        "gradient_steps"
    ]


def critics(**options):
    """What a step makes of a critic of a weight and a bias that start at nought, in units of the mean reward."""
    agent = ppo_by_hand.level(
        PPO(**{"n_epochs": 1, "critic": (), "optimizer": "SGD", "max_grad_norm": None, "learning_rate": 0.125, **options}),
        lengths=(5,),
        rollouts={"discount": 0.0},
    )
    agent.outer_state["critic"] = {"0.weight": torch.zeros(1, 2).double(), "0.bias": torch.zeros(1).double()}
    batch = gathered(agent)
    rewards = batch.query.rewards.mean().item()
    state = agent.outer.improve(agent.adapter, agent.meta, agent.outer_state, batch, torch.Generator())[1]
    return state["critic"]["0.bias"].item() / rewards


# the squared error of a value of nought has the gradient of minus twice the mean reward, at a discount of nought
case(PPO, "vf_coef", (0.5, 0.125), (1.0, 0.25))(lambda v: critics(vf_coef=v))


@case(PPO, "clip_range_vf", (None, True), (1e-9, False))
def _(value):
    # in the second epoch a value that has moved beyond its clip learns nothing more
    return critics(n_epochs=2, clip_range_vf=value) > 1.01 * critics()


@case(PPO, "critic", (None, "[]"), ((3,), "[[3, 2], [3], [1, 3], [1]]"), ((), "[[1, 2], [1]]"))
def _(value):
    state = ppo_by_hand.level(PPO(n_epochs=1, critic=value)).learn(1).outer_state
    return str([list(number.shape) for number in state["critic"].values()])


@case(PPO, "sampling_correction", *((weight, lambda v: paid(v)[1]) for weight in (0.0, 0.5)))
def _(value):
    return paid(value)[0]


def paid(value):
    agent = ppo_by_hand.level(PPO(0.01, n_epochs=1, sampling_correction=value, optimizer="SGD", max_grad_norm=None))
    batch = gathered(agent)
    theta = agent.outer.improve(agent.adapter, agent.meta, agent.outer_state, batch, torch.Generator())[0].meta["theta"]
    means = [
        (rewards * 0.99 ** torch.arange(5)).sum(1).mean().item() for rewards in batch.query.by_trajectory(batch.query.rewards)
    ]
    credit = (means[0] - means[1]) / 1, (means[1] - means[0]) / 3  # their lengths
    by_hand = ppo_by_hand.ByHand(agent, batch, correction=value, paid=credit)
    return theta.tolist(), by_hand.descend(0.01, [None]).tolist()


def first_step(**options):
    """The lengths of the first step that an optimiser takes, of each number."""
    agent = ppo_by_hand.level(PPO(0.01, n_epochs=1, max_grad_norm=None, **options))
    return [round(abs(step), 6) for step in (agent.meta["theta"] - agent.learn(1).meta["theta"]).tolist()]


case(PPO, "optimizer", ("Adam", [0.01, 0.01]), ("RMSprop", [0.1, 0.1]))(lambda v: first_step(optimizer=v))
case(PPO, "optimizer_kwargs", ({"alpha": 0.99}, [0.1, 0.1]), ({"alpha": 0.75}, [0.02, 0.02]))(
    lambda v: first_step(optimizer="RMSprop", optimizer_kwargs=v)
)


# -- pretraining: the first step of Adam is its rate, of RMSprop ten times that


def pretrained(**options):
    return round(largest_change(of_images(metarl.Finetuning, outer=Pretraining(**options))), 6)


case(Pretraining, "learning_rate", (0.01, 0.01), (0.02, 0.02))(lambda v: pretrained(learning_rate=v))
case(Pretraining, "optimizer", ("Adam", 0.01), ("RMSprop", 0.1))(lambda v: pretrained(learning_rate=0.01, optimizer=v))
case(Pretraining, "optimizer_kwargs", ({"alpha": 0.99}, 0.1), ({"alpha": 0.75}, 0.02))(
    lambda v: pretrained(learning_rate=0.01, optimizer="RMSprop", optimizer_kwargs=v)
)


# -- sampling: episodes of three steps that pay the split's level each


def sampled(split="train", lengths=(3,), **options):
    """One trajectory of each task, with raw advantages and no baseline unless it is said."""
    options = {"trajectories": 1, "advantages": "raw", "baseline": "none", "discount": 1.0, **options}
    agent = level(lengths=lengths, rollouts=Rollouts(**options), outer="policy_gradient")
    tasks = agent.source.sample(1, split, torch.Generator())
    return agent, agent.adapter.adapt(agent.meta, tasks, torch.Generator().manual_seed(0)).experiences[0]


def advantages(split="train", lengths=(3,), **options):
    _, samples = sampled(split, lengths, **options)
    return samples.advantages[0][samples.happened[0]].tolist()


case(Rollouts, "trajectories", (1, [1, 1]), (4, [1, 4]))(lambda v: list(sampled(trajectories=v)[1].returns.shape))
case(Rollouts, "discount", (1.0, [3, 2, 1]), (0.5, [1.75, 1.5, 1]))(lambda v: advantages(discount=v))
case(Rollouts, "gae_lambda", (1.0, [3, 2, 1]), (0.5, [1.75, 1.5, 1]), (0.0, [1, 1, 1]))(lambda v: advantages(gae_lambda=v))
case(Rollouts, "advantages", ("raw", [3, 2, 1]), ("centred", [1, 0, -1]), ("normalised", [math.sqrt(1.5), 0, -math.sqrt(1.5)]))(
    lambda v: advantages(advantages=v)
)
case(Rollouts, "reward", ("plain", [6, 4, 2]), ("squared", [12, 8, 4]))(lambda v: advantages("validation", reward=v))
# a single trajectory's baseline is the mean of its returns
case(Rollouts, "baseline", ("none", [3, 2, 1]), ("linear", [1, 0, -1]))(lambda v: advantages(baseline=v))
# the time limit of five steps cuts off what is worth the mean return, 3
case(Rollouts, "time_limit_value", (False, [2, 1, 0, -1, -2]), (True, [5, 4, 3, 2, 1]))(
    lambda v: advantages(lengths=(9,), baseline="linear", time_limit_value=v)
)


def elsewhere(**options):
    """The inner loss where the policy's actions are each e times as probable as they were; the first loss's, where they are."""
    agent, samples = sampled(**options)
    if options["inner_loss"] != "log-likelihood":
        samples = samples._replace(log_probs=samples.log_probs - samples.happened.to(samples.log_probs))
    return agent.adapter.losses(agent.meta, (agent.meta["theta"][None], {}), samples).item()


def credited(*weights):
    """The loss of advantages of 3, 2 and 1, each with its weight of e - 1 and once as it is."""
    return -2 - (math.e - 1) * sum(a * w for a, w in zip((3, 2, 1), weights, strict=True)) / 3


@case(
    Rollouts,
    "inner_loss",
    ("log-likelihood", lambda v: minus_log_likelihood()),
    ("likelihood-ratio", credited(1, 1, 1)),
    ("dice", credited(1, math.e, math.e**2)),
    ("loaded-dice", credited(1, math.e, math.e**2)),
    ("tmaml", credited(1, math.e, math.e**2)),
)
def _(value):
    return elsewhere(inner_loss=value)


case(
    Rollouts,
    "dice_lambda",
    (1.0, credited(1, math.e, math.e**2)),
    (0.5, credited(1, math.e**0.5, math.e**0.75)),
    (0.0, credited(1, 1, 1)),
)(lambda v: elsewhere(inner_loss="loaded-dice", dice_lambda=v))


def minus_log_likelihood():
    _, samples = sampled()
    return -(samples.log_probs[0][:3] @ torch.tensor([3.0, 2.0, 1.0], dtype=torch.float64)).item() / 3


@case(Rollouts, "normalise_observations", (False, None), (True, 1.0))
def _(value):
    meta = level(rollouts=Rollouts(normalise_observations=value, trajectories=2), outer="policy_gradient").learn(1).meta
    return meta["running.norm.num_batches_tracked"].item() if len(meta) > 1 else None


def vector_env(rows=2, env="metarl/Navigation2D-v0", **options):
    problem = metarl.MAML("MlpPolicy", env, rollouts=Rollouts(**options), device="cpu").adapter.problem
    try:
        return problem._vector_env(rows)
    finally:
        problem.close()


@case(Rollouts, "recall", (False, 2), (True, 2 + 2 + 2))
def _(value):
    """The entries that a policy sees."""
    agent = metarl.MAML("MlpPolicy", "metarl/Navigation2D-v0", rollouts=Rollouts(recall=value), device="cpu")
    return agent.source.example_inputs().shape[1]


case(Rollouts, "vectorisation", ("auto", "TimeLimited"), ("sync", "RowStepper"), ("workers", "WorkerPool"))(
    lambda v: type(getattr(vector_env(vectorisation=v), "_stepper", None)).__name__.replace("NoneType", "TimeLimited")
)
case(Rollouts, "workers", (1, 1), (3, 3))(lambda v: vector_env(vectorisation="workers", workers=v)._stepper._count)
case(Rollouts, "worker_timeout", (300.0, 300.0), (1.5, 1.5))(
    lambda v: vector_env(vectorisation="workers", worker_timeout=v)._stepper._timeout
)


# -- Stable-Baselines3's PPO, whose own tests say that its options do what they say


@case(metarl.Oracle.Options, "inner_steps", (0, 0), (2, 2))
def _(value):
    return metarl.Oracle("MlpPolicy", "tests/Navigation2D-v0", inner_steps=value, device="cpu").adapter.steps


def sb3_option(name, *values):
    """Register a case of what SB3's model has of an option."""

    @case(StableBaselinesPPO, name, *values)
    def _(value):
        loop = StableBaselinesPPO(**{"n_envs": 2, "batch_size": 4, name: value})
        agent = metarl.Pretrained("MlpPolicy", "tests/Navigation2D-v0", outer=loop, device="cpu")
        model = loop.model(agent.adapter, agent.meta, agent.outer_state, agent.source.vec_env(loop.n_envs))
        found = {"normalise_rewards": model.get_vec_normalize_env() is not None, "clip_range": model.clip_range}
        found = found.get(name, getattr(model, name, None))
        return found(1.0) if name == "clip_range" else found


for one, options in {
    "learning_rate": (1e-3, 1e-2),
    "n_envs": (2, 4),
    "batch_size": (2, 5),
    "n_epochs": (1, 3),
    "gamma": (0.9, 1.0),
    "gae_lambda": (0.5, 1.0),
    "clip_range": (0.1, 0.3),
    "ent_coef": (0.0, 0.1),
    "vf_coef": (0.5, 1.0),
    "max_grad_norm": (0.5, 2.0),
    "normalise_rewards": (False, True),
}.items():
    sb3_option(one, *((value, value) for value in options))
sb3_option("n_steps", (None, 10), (4, 4))


@case(Rollouts, "max_envs", (None, [6]), (4, [3, 3]), (6, [6]), (1, [1] * 6))
def _(value):
    agent, rows = level(rollouts=Rollouts(trajectories=3, max_envs=value), outer="policy_gradient"), []
    make = agent.adapter.problem._make_env

    def watched(count):
        env = make(count)
        reset = env.tensor_reset
        env.tensor_reset = lambda tasks, seeds: rows.append(len(tasks)) or reset(tasks, seeds)
        return env

    agent.adapter.problem._make_env = watched
    agent.adapter.adapt(agent.meta, agent.source.sample(2, "train", torch.Generator()), torch.Generator())
    return rows


# -- the tests


@pytest.mark.parametrize(("owner", "name"), CASES)
def test_another_value_gives_another_number(owner, name):
    measure, values = CASES[owner, name]
    results = []
    for value, expected in values:
        result = measure(value)
        wanted = expected(value) if callable(expected) else expected
        if isinstance(wanted, (int, float, list)) and not (isinstance(wanted, list) and isinstance(wanted[0], list)):
            assert result == pytest.approx(wanted, rel=1e-5, abs=1e-7), f"{name}={value!r}"
        else:
            assert result == wanted, f"{name}={value!r}"
        results.append(repr(wanted))
    assert len(set(results)) > 1


def test_every_option_has_a_case():
    kinds = [cls.Options for cls in (metarl.Agent, *(entry.load() for entry in AGENTS.entries()))]
    kinds += [entry.load() for entry in OUTER_LOOPS.entries()] + [Rollouts]
    declared = {(owner, name) for kind in kinds for name, owner in owners(kind).items()}
    assert declared == set(CASES)


@pytest.mark.parametrize(
    "kind",
    [metarl.MAML.Options, Rollouts, GradientDescent, PPO, ProMP, TRPO, HypergradientDescent, Pretraining, Reptile],
)
def test_options_are_frozen_and_equal_by_their_values(kind):
    one, other = kind(), kind()
    assert is_dataclass(kind)
    assert one == other
    name = fields(kind)[0].name
    with pytest.raises(FrozenInstanceError):
        setattr(one, name, 1)
    changed = {"meta_batch": 3, "trajectories": 3, "learning_rate": 0.5, "max_kl": 0.5, "fraction": 0.5}[name]
    assert kind(**{name: changed}) != one
    assert kind(**{name: changed}) == kind(**{name: changed})
    assert getattr(one, name) == getattr(other, name)


@pytest.mark.parametrize(
    ("cls", "options", "says"),
    [
        (metarl.MAML, {"rat": 0.1}, "MAML's option='rat' is not known: did you mean 'rate'"),
        (metarl.ProtoNet, {"inner_steps": 1}, "ProtoNet's option='inner_steps' is not known"),
        (metarl.MAML, {"learned": "globl"}, "learned='globl' is not known: did you mean 'global'"),
        (metarl.MAML, {"dtype": "float16"}, "dtype='float16' is not known"),
        (metarl.MAML, {"seed": 1.5}, r"seed=1\.5 must be a whole number"),
        (metarl.MAML, {"meta_batch": 1.5}, r"meta_batch=1\.5 must be a whole number"),
        (metarl.MAML, {"meta_batch": 0}, "meta_batch=0 must be above zero"),
        (metarl.MAML, {"env_kwargs": 3}, "env_kwargs=3 must be a dictionary of arguments"),
        (metarl.MAML, {"policy_kwargs": "x"}, "policy_kwargs='x' must be a dictionary"),
        (metarl.MAML, {"support_batch": 0}, "support_batch=0 must be above zero"),
        (metarl.MAML, {"rate": -1.0}, "must be above zero"),
        (metarl.MetaSGD, {"rate": 0}, "rate=0 must be above zero"),
    ],
)
def test_bad_options_are_named(cls, options, says):
    with pytest.raises(ConfigError, match=says):
        cls("weight" if cls is not metarl.ProtoNet else "MLP", "tests/Line-v0", **options)


def test_a_constructor_shows_its_options():
    shown = inspect.signature(metarl.TURTLE).parameters
    assert {"policy", "env", "outer", "rollouts"} <= set(shown)
    assert shown["beta"].default == 0.9
    assert "rate" not in inspect.signature(metarl.ProtoNet).parameters
    assert inspect.signature(metarl.MetaLSTM2).parameters["inner_steps"].default == 8
    assert inspect.signature(metarl.Finetuning).parameters["meta_batch"].default == 16
