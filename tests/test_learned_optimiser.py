"""The learned optimiser: its LSTM, starts that are drawn, and training along long runs in segments, each by hand or exactly."""

import pytest
import torch
from torch import nn
from torch.utils._pytree import tree_leaves

import metarl
from metarl import checkpoint, rules, supervised
from metarl.adapters.gradient import Position
from metarl.adapters.starts import DrawnStart
from metarl.errors import CheckpointError, ConfigError, NonFiniteError
from metarl.learner import Layout, Learner
from metarl.outer import TruncatedBackpropagation
from metarl.rules.preprocess import log_sign
from metarl.streams import stream
from tests import worlds  # noqa: F401 - registers its environments

DOUBLE = torch.float64


def layout(size):
    return Layout(("x",), (torch.Size([size]),))


def drawn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=DOUBLE)


def walk(rule, theta, gradients):
    state = rule.initial_state(theta)
    for step, gradient in enumerate(gradients):
        theta, state = rule(theta, gradient, torch.tensor(0.0), state, step)
    return theta


def small(**options):
    """A learned optimiser of nine weights in double precision, whose steps are of a visible size."""
    options = {"hidden": 3, "inner_steps": 5, "outer": TruncatedBackpropagation(0.01, unroll=2), "scale": 0.5, **options}
    options = {"policy_kwargs": {"hidden": (3,), "activation": "tanh"}, "meta_batch": 3, "dtype": "float64", **options}
    return metarl.LearnedOptimiser("MLP", "metarl/Sine-v0", device="cpu", **options)


# -- the rule


@pytest.mark.parametrize("preprocess", [True, False])
def test_it_is_torch_s_lstm_on_each_coordinate(preprocess):
    torch.manual_seed(0)
    rule = rules.LearnedOptimiser(layout(4), hidden=5, preprocess=preprocess, scale=0.3).double()
    inputs = 2 if preprocess else 1
    lstm = nn.LSTM(inputs, 5, num_layers=2).double()
    with torch.no_grad():
        for number, (cell, width) in enumerate(zip(rule.cells, (inputs, 5), strict=True)):
            cell.bias.copy_(drawn(20, seed=number))
            getattr(lstm, f"weight_ih_l{number}").copy_(cell.weight[:, :width])
            getattr(lstm, f"weight_hh_l{number}").copy_(cell.weight[:, width:])
            getattr(lstm, f"bias_ih_l{number}").copy_(cell.bias)
            getattr(lstm, f"bias_hh_l{number}").zero_()
    gradients = drawn(6, 4) ** 5  # some are small
    signals = log_sign(gradients) if preprocess else gradients.unsqueeze(-1)
    outputs, _ = lstm(signals)  # steps, coordinates, units
    expected = 0.3 * rule.output(outputs).squeeze(-1).sum(0)
    torch.testing.assert_close(walk(rule, torch.zeros(4, dtype=DOUBLE), gradients), expected, rtol=1e-10, atol=1e-12)


def test_coordinates_are_alike_and_their_number_is_of_no_account():
    rule = rules.LearnedOptimiser(layout(3), hidden=4).double()
    gradients, order = drawn(5, 3), torch.tensor([2, 0, 1])
    end = walk(rule, torch.zeros(3, dtype=DOUBLE), gradients)
    torch.testing.assert_close(walk(rule, torch.zeros(3, dtype=DOUBLE), gradients[:, order]), end[order])
    other = rules.LearnedOptimiser(layout(1), hidden=4).double()
    other.load_state_dict(rule.state_dict())
    torch.testing.assert_close(walk(other, torch.zeros(1, dtype=DOUBLE), gradients[:, 1:2]), end[1:2])
    assert len(set(end.tolist())) == 3


def test_the_gates_that_remember_begin_open():
    rule = rules.LearnedOptimiser(layout(1), hidden=2)
    assert [cell.bias.tolist() for cell in rule.cells] == [[0, 0, 1, 1, 0, 0, 0, 0]] * 2
    assert rule.numbers_per_coordinate == len(torch.cat([x[0] for x in tree_leaves(rule.initial_state(torch.zeros(1)))])) == 8


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"hidden": 0}, "hidden=0 must be above zero"),
        ({"hidden": 1.5}, "hidden=1.5 must be a whole"),
        ({"scale": -1}, "scale=-1"),
    ],
)
def test_bad_options_of_the_rule_are_named(options, says):
    with pytest.raises(ConfigError, match=says):
        rules.LearnedOptimiser(layout(1), **options)


# -- where trainings begin


def test_starts_are_like_the_network_s_own():
    network = nn.Sequential(nn.Linear(40, 50), nn.ReLU(), nn.Linear(50, 2))
    nn.init.zeros_(network[2].bias)
    learner = Learner(network)
    start, initial = DrawnStart(learner.layout), learner.initial(network)[0]
    theta = start.of(initial, start.noise(400, torch.Generator().manual_seed(0)))
    mean, deviation = start.moments(initial)
    assert theta.shape == (400, learner.layout.size)
    for name, part in learner.layout.unflatten(deviation).items():
        assert part.unique().numel() == 1
        assert part[(0,) * part.ndim].item() == pytest.approx(dict(network.named_parameters())[name].std(correction=0).item())
    assert theta[:, -2:].abs().max() == 0  # biases of nought
    torch.testing.assert_close(theta.mean(0), mean, rtol=0, atol=0.03)
    torch.testing.assert_close(theta.std(0), deviation, rtol=0.2, atol=1e-6)
    with pytest.raises(ConfigError, match="start=-1 must be above zero"):
        DrawnStart(learner.layout, -1)


def test_every_task_begins_elsewhere_and_an_evaluation_repeats_itself():
    agent = small()
    tasks = agent.source.sample(4, "train", torch.Generator().manual_seed(0))
    began, again = (agent.adapter.adapt(agent.meta, tasks, torch.Generator().manual_seed(1)).adapted[0][0] for _ in range(2))
    assert len({tuple(row) for row in began.tolist()}) == 4
    assert torch.equal(began, again)
    assert not torch.equal(began, agent.adapter.adapt(agent.meta, tasks, torch.Generator().manual_seed(2)).adapted[0][0])
    assert (agent.evaluate(7).values == agent.evaluate(7).values).all()


@pytest.mark.parametrize("batch_norm", [None, "support"])
def test_a_replay_begins_where_the_adaptation_did(batch_norm):
    agent = small() if batch_norm is None else metarl.LearnedOptimiser(
        "MLP", "tests/Images-v0", batch_norm=batch_norm, inner_steps=3, hidden=2, policy_kwargs={"hidden": (4,)}, device="cpu"
    )  # fmt: skip
    tasks = agent.source.sample(3, "train", torch.Generator().manual_seed(0))
    adaptation = agent.adapter.adapt(agent.meta, tasks, torch.Generator().manual_seed(1))
    replayed = agent.adapter.replay(agent.meta, adaptation.experiences, 3)
    for one, other in zip(tree_leaves(replayed), tree_leaves(adaptation.adapted[-1]), strict=True):
        torch.testing.assert_close(one, other)
    kept = agent.adapter.experiences(tasks, torch.Generator().manual_seed(1))
    torch.testing.assert_close(kept[-1], adaptation.experiences[-1])
    assert len(kept) == len(adaptation.experiences) == agent.adapter.steps + 1 + (batch_norm is not None)


def test_gradient_descent_through_a_whole_training_moves_the_rule_alone():
    agent = small(outer="gradient_descent", inner_steps=3)
    before = dict(agent.meta)
    agent.learn(2, log_interval=1)
    assert torch.equal(agent.meta["theta"], before["theta"])
    assert all(not torch.equal(value, before[name]) for name, value in agent.meta.items() if name != "theta")


def test_steps_that_go_on_are_the_steps_in_one():
    agent = small()
    tasks = agent.source.sample(3, "train", torch.Generator().manual_seed(0))
    whole = agent.adapter.adapt(agent.meta, tasks, torch.Generator().manual_seed(1))
    position, path = Position(whole.adapted[2][0], whole.states[1], 2), []
    forward = rules.LearnedOptimiser.forward
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rules.LearnedOptimiser, "forward", lambda self, *a: path.append(a[-1]) or forward(self, *a))
        rest = agent.adapter.adapt(agent.meta, tasks, torch.Generator(), 3, position)
    assert torch.equal(rest.adapted[-1][0], whole.adapted[-1][0])
    assert path == [2, 3, 4]  # the rule is told the number of the step
    assert not torch.equal(rest.adapted[0][0], rest.adapted[-1][0])


def test_policies_do_not_begin_anew():
    with pytest.raises(ConfigError, match="tasks that begin anew each are for predictors"):
        metarl.LearnedOptimiser("MlpPolicy", "metarl/Navigation2D-v0", outer="trpo", device="cpu")


# -- training in segments


def segments(agent, count):
    """Take outer steps, and return the states after each."""
    states = []
    for _ in range(count):
        agent.learn(1, log_interval=9)
        states.append(agent.outer_state["in_flight"])
    return states


def still(**options):
    """The same agent, whose rule does not learn."""
    return small(outer=TruncatedBackpropagation(1e-300, unroll=2, optimizer="SGD"), **options)


def test_segments_are_one_training_and_the_last_one_is_shorter():
    agent = still()
    first, second, third, fourth = segments(agent, 4)
    assert (first["step"], second["step"], third, fourth["step"]) == (2, 4, {}, 2)
    assert all(torch.equal(one, other) for one, other in zip(*(s["tasks"].values() for s in (first, second)), strict=True))
    assert not torch.equal(first["tasks"]["0"], fourth["tasks"]["0"])
    tasks = agent.source.sample(3, "train", torch.Generator())
    inputs = iter(first["tasks"].values())
    support, query = (type(part)(*(next(inputs) for _ in part)) for part in tasks[:2])
    noise = stream(agent.options.seed, "noise")
    whole = agent.adapter.adapt(agent.meta, tasks._replace(support=support, query=query), noise)
    assert torch.equal(first["theta"], whole.adapted[2][0])
    assert torch.equal(second["theta"], whole.adapted[4][0])
    assert torch.equal(second["rule"]["3"], whole.states[3][1][1])


@pytest.mark.parametrize("objective", ["query", "support"])
@pytest.mark.parametrize("segment", [0, 1])
def test_the_meta_gradient_is_that_of_the_segment_alone(objective, segment):
    # with second-order terms, so that it is the finite difference; from the second segment on the beginning is a constant
    step = TruncatedBackpropagation(1.0, unroll=2, optimizer="SGD", objective=objective)
    agent = small(first_order=False, outer=step)
    states = [{}, *segments(still(first_order=False), 1)]
    batch = agent.outer.gather(agent.adapter, agent.meta, agent.source.sample(3, "train", torch.Generator()), None)
    state = {"optimizer": {}, "steps": 0, "in_flight": states[segment]}

    def after(meta):
        return step.improve(agent.adapter, meta, state, batch, torch.Generator().manual_seed(5))[0]

    outcome = after(agent.meta)
    rule = {name: value for name, value in agent.meta.items() if name != "theta"}
    direction = {name: drawn(*value.shape, seed=3) for name, value in rule.items()}
    ends = [
        after({**agent.meta, **{name: value + sign * 1e-6 * direction[name] for name, value in rule.items()}}).loss.item()
        for sign in (1, -1)
    ]
    gradient = sum(((agent.meta[name] - outcome.meta[name]) * direction[name]).sum().item() for name in rule)
    assert gradient == pytest.approx((ends[0] - ends[1]) / 2e-6, rel=1e-5)
    assert abs(gradient) > 1e-3
    assert torch.equal(outcome.meta["theta"], agent.meta["theta"])


def test_without_second_order_terms_gradients_are_constants():
    # the loss at the end of two steps, by a walk over gradients that were written down before
    agent = small(inner_steps=2, outer=TruncatedBackpropagation(1.0, unroll=2, optimizer="SGD"), meta_batch=1)
    tasks = agent.source.sample(1, "train", torch.Generator())
    batch = agent.outer.gather(agent.adapter, agent.meta, tasks, None)
    outcome, _ = agent.outer.improve(agent.adapter, agent.meta, agent.outer_state, batch, torch.Generator().manual_seed(5))
    with torch.no_grad():
        walked = agent.adapter.adapt(agent.meta, tasks, torch.Generator().manual_seed(5))
    rule = agent.make_rule(agent.adapter.learner.layout).double()
    rule.load_state_dict({name[len("rule.") :]: value for name, value in agent.meta.items() if name.startswith("rule.")})
    theta, state = walked.adapted[0][0][0], rule.initial_state(walked.adapted[0][0][0])
    losses = []
    for step in range(2):
        at = walked.adapted[step][0].clone().requires_grad_()
        (gradient,) = torch.autograd.grad(agent.adapter.losses(agent.meta, (at, {}), tasks.support).sum(), at)
        theta, state = rule(theta, gradient[0], torch.tensor(0.0), state, step)
        losses.append(agent.adapter.losses(agent.meta, (theta[None], {}), tasks.query).mean())
    torch.stack(losses).mean().backward()
    assert outcome.loss.item() == pytest.approx(torch.stack(losses).mean().item())
    for name, parameter in rule.named_parameters():
        expected = agent.meta[f"rule.{name}"] - parameter.grad
        torch.testing.assert_close(outcome.meta[f"rule.{name}"], expected, rtol=1e-9, atol=1e-12)


def test_the_support_loss_is_that_of_the_next_step_s_examples():
    agent = small(support_batch=2, outer=TruncatedBackpropagation(0.01, unroll=3, objective="support"))
    tasks = agent.source.sample(3, "train", torch.Generator())
    outcome, _ = agent.outer.step(agent.adapter, agent.meta, agent.outer_state, tasks, torch.Generator().manual_seed(5))
    with torch.no_grad():
        walked = agent.adapter.adapt(agent.meta, tasks, torch.Generator().manual_seed(5), 4)  # a step more has its examples
    losses = [agent.adapter.losses(agent.meta, walked.adapted[t], walked.experiences[t]).mean() for t in (1, 2, 3)]
    assert outcome.loss.item() == pytest.approx(torch.stack(losses).mean().item(), rel=1e-12)
    assert outcome.metrics["last_loss"].item() == pytest.approx(losses[-1].item(), rel=1e-12)


def test_a_report_says_where_the_training_is():
    agent = small(outer=TruncatedBackpropagation(0.01, unroll=4))
    tasks, noise = agent.source.sample(3, "train", torch.Generator()), torch.Generator().manual_seed(5)
    outcome, state = agent.outer.step(agent.adapter, agent.meta, agent.outer_state, tasks, noise)
    assert outcome.metrics["steps_taken"] == 4
    last = agent.adapter.losses(agent.meta, (state["in_flight"]["theta"], {}), tasks.query).mean()
    assert outcome.metrics["last_loss"].item() == pytest.approx(last.item())
    agent.learn(2, log_interval=1)


def test_a_segment_that_diverges_is_refused_and_what_is_under_way_stays():
    agent = small().learn(1, log_interval=9)
    meta, state = {**agent.meta, "rule.output.bias": torch.full((1,), torch.inf, dtype=DOUBLE)}, agent.outer_state
    agent.meta = meta
    with pytest.raises(NonFiniteError, match="iteration 2: the loss along the way or its meta-gradient"):
        agent.learn(1)
    assert agent.meta is meta
    assert agent.outer_state is state


@pytest.mark.parametrize("moment", [1, 2, 3])
def test_a_checkpoint_in_the_middle_of_a_training_goes_on(moment, tmp_path):
    whole = small().learn(5, log_interval=9)
    half = small().learn(moment, log_interval=9)
    again = metarl.LearnedOptimiser.load(half.save(tmp_path / "half"), device="cpu").learn(5 - moment, log_interval=9)
    for name, value in whole.meta.items():
        assert torch.equal(again.meta[name], value), name
    ours, theirs = (tree_leaves(agent.outer_state) for agent in (again, whole))
    assert all(torch.equal(torch.as_tensor(one), torch.as_tensor(other)) for one, other in zip(ours, theirs, strict=True))


@pytest.mark.parametrize(
    "change",
    [
        {"theta": torch.zeros(3, 2, dtype=DOUBLE)},
        {"theta": torch.zeros(2, 10, dtype=DOUBLE)},
        {"step": 2.0},
        {"step": 0},
        {"rule": {"0": 3}},
        {"more": 1},
    ],
)
def test_damaged_trainings_are_named(change, tmp_path):
    content = checkpoint.read(small().learn(1, log_interval=9).save(tmp_path / "sound"))
    content["outer_state"]["in_flight"] |= change
    with pytest.raises(CheckpointError, match="its trainings under way are not of this agent's theta"):
        metarl.Agent.load(checkpoint.write(tmp_path / "damaged", content), device="cpu")


def test_any_rule_and_shared_parameters_can_be_trained_along_the_way():
    agent = metarl.TURTLE(
        "MLP",
        "metarl/Sine-v0",
        inner_steps=4,
        hidden=(2,),
        adapted="head",
        outer=TruncatedBackpropagation(0.01, unroll=2),
        device="cpu",
    )
    before = dict(agent.meta)
    agent.learn(3, log_interval=9)
    assert torch.equal(agent.meta["theta"], before["theta"])
    assert not torch.equal(agent.meta["shared"], before["shared"])
    assert not torch.equal(agent.meta["rule.alpha"], before["rule.alpha"])
    assert agent.outer_state["in_flight"]["step"] == 2


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda loop: metarl.MAML("MLP", "metarl/Sine-v0", outer=loop), "and rule=GradientDescent learns nothing: use Learned"),
        (lambda loop: metarl.MetaSGD("MLP", "metarl/Sine-v0", inner_steps=0, outer=loop), "inner_steps=0: .* at least one"),
        (lambda loop: metarl.MetaSGD("MlpPolicy", "metarl/Navigation2D-v0", outer=loop), "an agent that steps, on predictors"),
        (lambda loop: metarl.ProtoNet("MLP", "tests/Images-v0", outer=loop), "an agent that steps, on predictors"),
        (
            lambda loop: metarl.MetaSGD("MLP", "tests/Images-v0", batch_norm="running", outer=loop),
            "so averages say nothing: use batch_norm='batch'",
        ),
    ],
)
def test_what_cannot_be_trained_along_the_way_is_named(make, says):
    with pytest.raises(ConfigError, match=says):
        make(TruncatedBackpropagation())


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"unroll": 0}, "unroll=0 must be above zero"),
        ({"unroll": 1.5}, r"unroll=1\.5 must be a whole number"),
        ({"halve_every": 0.5}, r"halve_every=0\.5 must be a whole number"),
        ({"clip_norm": 0}, "clip_norm=0 must be above zero"),
        ({"objective": "train"}, "objective='train' is not known"),
        ({"optimizer": "Adm"}, "optimizer='Adm' is not known"),
    ],
)
def test_bad_options_of_the_loop_are_named(options, says):
    with pytest.raises(ConfigError, match=says):
        TruncatedBackpropagation(**options)


# -- quadratics


def test_a_quadratic_is_the_paper_s():
    env = supervised.Quadratics(dimensions=4)
    tasks = env.draw_tasks(2, "train", torch.Generator().manual_seed(0))
    episodes = env.draw_episodes(tasks, torch.Generator())
    theta, matrix, vector = drawn(4), tasks[1, :16].view(4, 4), tasks[1, 16:]
    outputs = torch.nn.functional.linear(episodes.support.inputs[1], theta[None])
    assert env.loss(outputs, episodes.support.targets[1]).item() == pytest.approx((matrix @ theta - vector).norm().item() ** 2)
    assert episodes.query is episodes.support
    many = env.draw_tasks(4000, "test", torch.Generator().manual_seed(0))
    assert many.mean().item() == pytest.approx(0, abs=0.02)
    assert many.std().item() == pytest.approx(1, abs=0.02)
    with pytest.raises(ConfigError, match=r"dimensions=1\.5 must be a whole number"):
        supervised.Quadratics(1.5)


def test_a_rule_learns_to_go_down_quadratics():
    options = {"env_kwargs": {"dimensions": 2}, "start": 0.1, "inner_steps": 10, "meta_batch": 16, "hidden": 8, "device": "cpu"}
    agent = metarl.LearnedOptimiser("Linear", "metarl/Quadratics-v0", outer=TruncatedBackpropagation(0.01, unroll=5), **options)
    before = agent.evaluate(50).mean
    after = agent.learn(60, log_interval=99).evaluate(50).mean
    assert after[0] == before[0]
    assert after[-1] < 0.5 * min(before[0], before[-1])
