"""Outer loops: pure steps, states by name, and each by numbers worked out by hand; what their options do is in test_options."""

import copy
from dataclasses import FrozenInstanceError
from functools import partial

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils._pytree import tree_leaves

import metarl
from metarl import rules
from metarl.adapters.base import learned
from metarl.errors import CheckpointError, ConfigError, NonFiniteError
from metarl.outer import TRPO, GradientDescent, HypergradientDescent, Pretraining, Reptile
from metarl.outer.meta_gradient import Batch, meta_gradient
from metarl.outer.optimisers import ELEMENTWISE, Optimiser
from tests.small import LEARNING, small
from tests.toys import weight
from tests.worlds import gathered


def same(one, other):
    """Whether two nests of dictionaries and tensors hold the same."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[name], other[name]) for name in one)
    return torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other


# -- the contract


@pytest.mark.parametrize("kind", LEARNING)
def test_a_step_is_a_pure_function(kind):
    agent = small(kind)
    agent.learn(1)  # so that there is a state
    tasks, generator = agent.outer.draw(agent.source, agent.meta_batch, agent.streams["tasks"], 0)[1], agent.streams["noise"]
    held = copy.deepcopy((agent.meta, agent.outer_state, agent.outer))
    start = generator.get_state()
    outcome, state = agent.outer.step(agent.adapter, agent.meta, agent.outer_state, tasks, generator)
    assert same(agent.meta, held[0])
    assert same(agent.outer_state, held[1])
    assert agent.outer == held[2]
    generator.set_state(start)
    again, same_state = agent.outer.step(agent.adapter, agent.meta, agent.outer_state, tasks, generator)
    assert same(outcome.meta, again.meta)
    assert same(state, same_state)
    assert outcome.meta.keys() == agent.meta.keys()
    assert not same(learned(outcome.meta), learned(agent.meta))
    assert not any(value.requires_grad for value in tree_leaves((outcome.meta, state)) if isinstance(value, torch.Tensor))
    assert outcome.loss.shape == ()


@pytest.mark.parametrize("kind", LEARNING)
def test_one_loop_serves_two_agents_that_do_not_disturb_each_other(kind):
    first = small(kind)
    together = [small(kind, outer=first.outer, seed=seed) for seed in (0, 1)]
    for _ in range(2):
        for agent in together:
            agent.learn(1, log_interval=3)
    assert together[0].outer is together[1].outer
    assert same(together[0].meta, first.learn(2, log_interval=3).meta)
    assert same(together[0].outer_state, first.outer_state)


@pytest.mark.parametrize("loop", [GradientDescent(), TRPO(), HypergradientDescent(), Pretraining(), Reptile()])
def test_options_cannot_be_set(loop):
    with pytest.raises(FrozenInstanceError):
        loop.learning_rate = 1.0
    assert loop == type(loop)()


def test_what_is_not_finite_is_refused():
    for kind in ("MAML", "Alpha MAML", "fine-tuning", "TURTLE", "Reptile"):
        agent = small(kind).learn(1)
        name = "shared" if "shared" in agent.meta else "theta"
        agent.meta = {**agent.meta, name: torch.full_like(agent.meta[name], torch.inf)}
        before, state = dict(agent.meta), copy.deepcopy(agent.outer_state)
        states = {stream: generator.get_state() for stream, generator in agent.streams.items()}
        with pytest.raises(NonFiniteError, match=r"iteration 2: the .* is not finite: the outer step was refused"):
            agent.learn(1)
        assert all(agent.meta[key] is value for key, value in before.items())
        assert same(agent.outer_state, state)
        assert all(torch.equal(generator.get_state(), states[stream]) for stream, generator in agent.streams.items())
        assert agent.iteration == 1


# -- optimisers


VALUES = {"theta": torch.tensor([1.0, -2.0], dtype=torch.float64), "rule.alpha": torch.tensor([0.5], dtype=torch.float64)}
GRADIENTS = [
    {"theta": torch.tensor([0.5, -1.0], dtype=torch.float64), "rule.alpha": torch.tensor([2.0], dtype=torch.float64)},
    {"theta": torch.tensor([-1.5, 0.5], dtype=torch.float64), "rule.alpha": torch.tensor([1.0], dtype=torch.float64)},
]


@pytest.mark.parametrize("name", [*ELEMENTWISE, "NAdam", "ASGD"])
def test_an_optimiser_is_torch_s_as_a_pure_function(name):
    parameters = {key: nn.Parameter(value.clone()) for key, value in VALUES.items()}
    theirs = getattr(torch.optim, name)(list(parameters.values()), lr=0.1)
    ours, values, state = Optimiser(name, 0.1, {}), VALUES, {}
    for gradients in GRADIENTS:
        for key, parameter in parameters.items():
            parameter.grad = gradients[key].clone()
        theirs.step()
        held = copy.deepcopy((values, gradients, state))
        values, after = ours.step(values, gradients, state)
        assert same(held[1], gradients)
        assert same(held[2], state)
        state = after
    for key, parameter in parameters.items():
        torch.testing.assert_close(values[key], parameter.detach(), rtol=1e-12, atol=1e-14)
    assert set(state) <= set(VALUES)
    assert VALUES["theta"].tolist() == [1, -2]


def test_an_optimiser_serves_several_runs_at_once():
    ours = Optimiser("SGD", 0.1, {"momentum": 0.5})
    states = [{}, {}]
    first = ours.step(VALUES, GRADIENTS[0], states[0])
    other = ours.step(VALUES, GRADIENTS[1], states[1])
    assert first[0]["theta"].tolist() == [0.95, -1.9]
    assert other[0]["theta"].tolist() == [1.15, -2.05]
    again, _ = ours.step(first[0], GRADIENTS[1], first[1])
    # momentum: half of (0.5, -1) and (-1.5, 0.5)
    torch.testing.assert_close(again["theta"], torch.tensor([1.075, -1.9], dtype=torch.float64))
    assert ours.step(VALUES, GRADIENTS[0], {}, scale=0.5)[0]["rule.alpha"].item() == pytest.approx(0.4)


def test_states_are_kept_under_names():
    assert set(small("MAML").learn(1).outer_state["optimizer"]) == {"theta", "rule.table"}
    state = small("fine-tuning").learn(1).outer_state
    assert set(state["classifier"]) == {"head.weight", "head.bias"}
    assert set(state["optimizer"]) == {"theta", "shared", "classifier.head.weight", "classifier.head.bias"}
    state = small("Alpha MAML").learn(1).outer_state
    assert set(state) == {"beta", "last", "optimizer"}
    assert set(state["last"]) == {"theta"}


@pytest.mark.parametrize("kind", [GradientDescent, Pretraining])
@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"learning_rate": 0}, "learning_rate=0 must be above zero"),
        ({"learning_rate": float("inf")}, "learning_rate=inf must be above zero"),
        ({"optimizer": "Adm"}, "optimizer='Adm' is not known: did you mean 'Adam'"),
        ({"optimizer": "LBFGS"}, "optimizer='LBFGS' is not known"),
        ({"optimizer_kwargs": {"beta": 1}}, "optimizer_kwargs={'beta': 1} does not fit Adam"),
    ],
)
def test_bad_optimisers_are_named_at_once(kind, options, says):
    with pytest.raises(ConfigError, match=says):
        kind(**options)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"clip_norm": -1}, "clip_norm=-1"),
        ({"clip_task": 0}, "clip_task=0"),
        ({"clip_value": "x"}, "clip_value='x' must be a number"),
        ({"tasks_at_once": 1.5}, r"tasks_at_once=1\.5 must be a whole number"),
        ({"recompute_steps": "yes"}, "recompute_steps='yes' must be True, False or None"),
        ({"halve_every": 0}, "halve_every=0"),
    ],
)
def test_bad_gradient_descent_is_named(options, says):
    with pytest.raises(ConfigError, match=says):
        GradientDescent(**options)


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (GradientDescent, "compile"),
        (Reptile, "compile"),
        (TRPO, "compile"),
        (TRPO, "fisher_bfloat16"),
        (HypergradientDescent, "clamp"),
        (partial(metarl.MAML, "MLP", "metarl/Sine-v0"), "first_order"),
    ],
)
def test_what_is_neither_true_nor_false_is_named(make, field):
    with pytest.raises(ConfigError, match=f"{field}='no' must be True or False"):
        make(**{field: "no"})


# -- gradient descent


def test_a_task_s_own_gradient_is_clipped_before_the_mean_and_an_infinite_one_is_seen():
    agent = small("MAML on batches of images", batch_norm="batch", support_batch=None, meta_batch=4)
    batch = gathered(agent)
    rows = [
        meta_gradient(agent.adapter, agent.meta, *part, 1)[1]["theta"]
        for part in (
            (
                [type(e)(*(x[i : i + 1] for x in e)) for e in batch.experiences],
                type(batch.query)(*(x[i : i + 1] for x in batch.query)),
            )
            for i in range(4)
        )
    ]
    expected = torch.stack(rows).clamp(-0.01, 0.01).mean(0)
    clipped = meta_gradient(agent.adapter, agent.meta, batch.experiences, batch.query, 4, clip_task=0.01)[1]["theta"]
    torch.testing.assert_close(clipped, expected, rtol=1e-9, atol=1e-14)
    assert not torch.allclose(clipped, torch.stack(rows).mean(0), rtol=1e-3)
    parts = meta_gradient(agent.adapter, agent.meta, batch.experiences, batch.query, 4, clip_task=0.01, tasks_at_once=3)
    torch.testing.assert_close(parts[1]["theta"], expected, rtol=1e-9, atol=1e-14)
    infinite = batch.query._replace(inputs=batch.query.inputs * torch.tensor([1, 1, 1, torch.inf]).view(4, 1, 1, 1, 1))
    seen = meta_gradient(agent.adapter, agent.meta, batch.experiences, infinite, 4, clip_task=0.01)
    assert not seen[1]["theta"].isfinite().all()


def test_the_policy_gradient_by_hand():
    agent = metarl.MAML(
        weight(0.5),
        "tests/Level-v0",
        env_kwargs={"lengths": (1, 3), "slope": 1.0},
        inner_steps=0,
        meta_batch=2,
        outer=GradientDescent(1.0, optimizer="SGD"),
        rollouts=metarl.Rollouts(trajectories=3, advantages="raw", baseline="none"),
        dtype="float64",
        device="cpu",
    )
    query = gathered(agent).query
    outcome, _ = agent.outer.improve(agent.adapter, agent.meta, agent.outer_state, Batch([], query, 2), torch.Generator())
    mean, observation = 0.5 * query.observations[..., 0], query.observations[..., 0]
    difference = query.actions[..., 0] - mean  # at a deviation of one
    by_weight = (query.weights * query.advantages * difference * observation).sum(1).mean()
    by_deviation = (query.weights * query.advantages * (difference.square() - 1)).sum(1).mean()
    names = agent.adapter.learner.layout.names
    moved = dict(zip(names, outcome.meta["theta"] - agent.meta["theta"], strict=True))
    assert moved["network.weight"].item() == pytest.approx(by_weight.item())
    assert moved["log_std"].item() == pytest.approx(by_deviation.item())


# -- hypergradients


def test_a_refused_step_leaves_the_direction_so_that_beta_can_come_back():
    trpo = TRPO(damping=0.1, line_search_steps=1)
    agent = small(
        "Alpha MAML by TRPO", outer=HypergradientDescent(learning_rate=1.0, beta_hyper=1.0, alpha_hyper=0.0, trpo=trpo)
    )
    agent.learn(1)
    direction, theta = copy.deepcopy(agent.outer_state["last"]), agent.meta["theta"]
    assert direction["theta"].abs().sum() > 0
    agent.outer_state = {**agent.outer_state, "beta": torch.tensor(1e6, dtype=torch.float64)}  # far beyond the KL limit
    agent.learn(1)
    assert torch.equal(agent.meta["theta"], theta)
    assert same(agent.outer_state["last"], direction)
    assert agent.outer_state["beta"] != 1e6


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"rule": rules.MetaLSTM}, "moves rates as alpha, and rule=MetaLSTM has none, or learns more than rates"),
        ({"rule": rules.TURTLE}, "rule=TURTLE has none, or learns more than rates"),
        ({"rule": rules.GradientDescent}, "rule=GradientDescent has none"),
    ],
)
def test_hypergradients_need_rates(changes, says):
    with pytest.raises(ConfigError, match=says):
        metarl.Agent("MLP", "metarl/Sine-v0", outer=HypergradientDescent(), **changes)


def test_hypergradients_move_every_rate_there_is():
    agent = small("Alpha MAML", learned="layer-step", inner_steps=2)
    before = agent.meta["rule.table"]
    assert before.shape == (2, 2)
    assert (agent.learn(1).meta["rule.table"] != before).all()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"alpha_hyper": -1.0}, "alpha_hyper=-1.0 must lie in"),
        ({"alpha_hyper": "x"}, "alpha_hyper='x' must be a number"),
        ({"learning_rate": float("inf")}, "learning_rate=inf must be above zero"),
        ({"reduction": "max"}, "reduction='max' must be 'sum' or 'mean'"),
        ({"optimizer": "Sgd"}, "optimizer='Sgd' is not known: choose one of"),
        ({"optimizer": "AdamW"}, "not on parameters as weight decay does"),
        ({"optimizer_kwargs": {"weight_decay": 0.1}}, "not on parameters as weight decay does"),
        ({"optimizer": "Adam", "trpo": TRPO()}, "optimizer='Adam'.* have no part under TRPO"),
        ({"trpo": True}, "trpo=True must be a metarl.TRPO"),
    ],
)
def test_hypergradient_options_are_checked(options, says):
    with pytest.raises(ConfigError, match=says):
        HypergradientDescent(**options)


def test_alpha_maml_says_what_it_cannot_do():
    with pytest.raises(ConfigError, match="outer='trpo' needs a policy"):
        metarl.AlphaMAML("MLP", "metarl/Sine-v0", outer="trpo")
    with pytest.raises(ConfigError, match="moves no rates: give AlphaMAML a metarl"):
        metarl.AlphaMAML("MLP", "metarl/Sine-v0", outer=GradientDescent())
    with pytest.raises(ConfigError, match="outer='trop' is not known: did you mean 'trpo'"):
        metarl.AlphaMAML("MLP", "metarl/Sine-v0", outer="trop")


def test_hypergradient_descent_along_trpo_starts_at_the_step_that_spends_the_limit():
    agent = small("Alpha MAML by TRPO")
    assert agent.outer_state["beta"] == 1
    assert small("Alpha MAML").outer_state["beta"] == pytest.approx(0.001)
    assert small("Alpha MAML").outer_state["last"]["theta"].abs().sum() == 0


# -- pretraining


def test_a_step_of_pretraining_is_the_cross_entropy_s_of_the_classifier():
    agent = small("fine-tuning", outer=Pretraining(0.5, optimizer="SGD"), batch_norm="batch")
    examples = agent.source.examples(16, torch.Generator().manual_seed(0))
    state, learner = agent.outer_state, agent.adapter.learner
    assert state["classifier"]["head.weight"].shape == (4, 4)  # four training classes on four features
    assert state["classifier"]["head.bias"].abs().max() <= 0.5
    outcome, after = agent.outer.improve(
        agent.adapter, agent.meta, state, agent.outer.gather(agent.adapter, agent.meta, examples, torch.Generator()), None
    )

    def loss(shared, classifier):
        return functional.cross_entropy(
            learner(agent.meta["theta"], shared, examples.inputs, replaced=classifier), examples.targets
        )

    by_shared, by_classifier = torch.func.grad(loss, argnums=(0, 1))(agent.meta["shared"], state["classifier"])
    torch.testing.assert_close(outcome.meta["shared"], agent.meta["shared"] - 0.5 * by_shared)
    for name, gradient in by_classifier.items():
        torch.testing.assert_close(after["classifier"][name], state["classifier"][name] - 0.5 * gradient)
    assert torch.equal(outcome.meta["theta"], agent.meta["theta"])  # the few-shot head, which the classifier stands in for
    logits = learner(agent.meta["theta"], agent.meta["shared"], examples.inputs, replaced=state["classifier"])
    assert outcome.loss.item() == pytest.approx(functional.cross_entropy(logits, examples.targets).item())
    expected = (logits.argmax(1) == examples.targets).double().mean().item()
    assert float(outcome.metrics["pretraining_accuracy"]) == pytest.approx(expected)


def test_pretraining_s_batches_go_into_the_running_averages():
    agent = small("fine-tuning")
    before = agent.meta["running.norm1.num_batches_tracked"].item()
    assert agent.learn(3, log_interval=9).meta["running.norm1.num_batches_tracked"].item() == before + 3


def test_what_cannot_be_pretrained_is_named():
    with pytest.raises(ConfigError, match="needs image classes to tell apart; here there are none"):
        metarl.Finetuning("MLP", "metarl/Sine-v0", batch_norm="batch")
    with pytest.raises(ConfigError, match="needs image classes to tell apart; here there are none"):
        metarl.MAML("MlpPolicy", "metarl/Navigation2D-v0", outer=Pretraining())
    with pytest.raises(ConfigError, match="outer='pretraining' is for predictors, not policies: choose one of trpo"):
        metarl.MAML("MlpPolicy", "metarl/Navigation2D-v0", outer="pretraining")
    with pytest.raises(ConfigError, match="pretraining puts another classifier in place of the last layer"):
        metarl.MAML(nn.Sequential(nn.Flatten(), nn.Linear(16, 2), nn.GroupNorm(1, 2)), "tests/Images-v0", outer=Pretraining())


def test_a_classifier_of_other_classes_does_not_follow():
    loop, meta = Pretraining(), {"theta": torch.zeros(2)}
    ours, theirs = ({"classifier": {"head.weight": torch.zeros(count, 2)}, "optimizer": {}} for count in (3, 4))
    loop.require_state(meta, ours, ours)
    with pytest.raises(CheckpointError, match="told 4 classes apart, but the training split has 3"):
        loop.require_state(meta, ours, theirs)


@pytest.mark.parametrize(
    ("kind", "name"), [("MAML", "rule.table"), ("Alpha MAML", "theta"), ("fine-tuning", "classifier.head.bias")]
)
def test_moments_of_other_parameters_do_not_follow(kind, name):
    # a fused optimiser would read beyond them
    agent = small(kind).learn(1)
    agent.outer.require_state(agent.meta, {**agent.outer_state, "optimizer": {}}, agent.outer_state)
    moments = agent.outer_state["optimizer"][name]
    for wrong in ({name: {**moments, "exp_avg": moments["exp_avg"].flatten()[:0]}}, {"other": moments}):
        with pytest.raises(CheckpointError, match=r"its optimiser's .* is not of this agent's"):
            agent.outer.require_state(agent.meta, agent.outer_state, {**agent.outer_state, "optimizer": wrong})
