"""TRPO: exact products on policies of two parameters, and what it never does."""

from functools import partial

import pytest
import torch

import metarl
from metarl.errors import ConfigError
from metarl.outer.trpo import TRPO, _Policies, conjugate_gradient, fisher_vector_product, surrogate, surrogate_and_kl
from metarl.problems import PolicyProblem
from tests.toys import weight
from tests.worlds import flat, gathered, make, unflat

RATE = 0.25


def level(inner_steps=1, lengths=(1, 3), outer="trpo", cls=metarl.MAML, **rollouts):
    """A policy of two numbers, the weight of the observation and the log deviation, on episodes of different lengths."""
    return cls(
        weight(0.5),
        "tests/Level-v0",
        env_kwargs={"lengths": lengths, "slope": 1.0},
        policy_kwargs={"log_std": -0.3},
        meta_batch=len(lengths),
        rate=RATE,
        inner_steps=inner_steps,
        dtype="float64",
        device="cpu",
        outer=outer,
        rollouts=metarl.Rollouts(**{"trajectories": 3, "baseline": "none", "advantages": "raw", **rollouts}),
    )


def policies_of(agent, batch=None):
    return _Policies.of(agent.adapter, agent.meta, gathered(agent) if batch is None else batch)


def product_of(outer, agent, batch):
    return outer._fisher_product(policies_of(agent, batch), agent.meta, torch.Generator())


def dense(product, size):
    return torch.stack([product(row) for row in torch.eye(size, dtype=torch.float64)])


def mean_kl(agent, batch, vector, by="steps"):
    """The mean KL over all time-steps of all tasks, or the tasks' means' mean, written anew."""
    problem, meta = agent.adapter.problem, unflat(vector, agent.meta)
    adapted = agent.adapter.replay(meta, batch.experiences, batch.count)
    kls, steps = [], []
    for task in range(batch.count):
        query = type(batch.query)(*(field[task] for field in batch.query))
        new, _ = agent.adapter.apply(meta, agent.adapter.row(adapted, task), query.observations)
        happened = query.weights > 0
        kls.append(problem.distribution.kl(query.distribution_parameters, new)[happened].sum())
        steps.append(happened.sum())
    if by == "tasks":
        return torch.stack([kl / count for kl, count in zip(kls, steps, strict=True)]).mean()
    return torch.stack(kls).sum() / torch.stack(steps).sum()


# -- conjugate gradient


def test_conjugate_gradient_solves_a_two_by_two_problem():
    matrix = torch.tensor([[4.0, 1.0], [1.0, 3.0]], dtype=torch.float64)
    target = torch.tensor([1.0, 2.0], dtype=torch.float64)
    x, image = conjugate_gradient(lambda v: matrix @ v, target, 10)
    torch.testing.assert_close(x, torch.tensor([1 / 11, 7 / 11], dtype=torch.float64))
    torch.testing.assert_close(image, target)


def test_conjugate_gradient_needs_as_many_steps_as_dimensions():
    generator = torch.Generator().manual_seed(0)
    root = torch.randn(5, 5, generator=generator, dtype=torch.float64)
    matrix, target = root @ root.T + torch.eye(5, dtype=torch.float64), torch.randn(5, generator=generator, dtype=torch.float64)
    assert torch.allclose(conjugate_gradient(lambda v: matrix @ v, target, 5)[0], torch.linalg.solve(matrix, target))
    short, image = conjugate_gradient(lambda v: matrix @ v, target, 2)
    assert not torch.allclose(short, torch.linalg.solve(matrix, target))
    torch.testing.assert_close(image, matrix @ short)


# -- Fisher products


@pytest.mark.parametrize("inner_steps", [1, 2])
def test_fisher_products_are_the_dense_kl_hessian_with_every_time_step_alike(inner_steps):
    agent = level(inner_steps)
    batch = gathered(agent)
    assert batch.query.lengths.sum(1).tolist() == [3, 9]
    matrix = dense(product_of(TRPO(damping=0.0), agent, batch), 2)
    hessian = torch.autograd.functional.hessian(lambda v: mean_kl(agent, batch, v), flat(agent.meta))
    torch.testing.assert_close(matrix, hessian, rtol=1e-8, atol=1e-10)
    wrong = torch.autograd.functional.hessian(lambda v: mean_kl(agent, batch, v, by="tasks"), flat(agent.meta))
    assert not torch.allclose(matrix, wrong, rtol=1e-2)
    damped = dense(product_of(TRPO(damping=0.5), agent, batch), 2)
    torch.testing.assert_close(damped, matrix + 0.5 * torch.eye(2))


@pytest.mark.parametrize(("world", "rule"), [("navigation", "Meta-SGD"), ("bandit", "rates by layer and step")])
def test_fisher_products_go_through_every_rule_and_distribution(world, rule):
    agent = make(world, rule, inner_steps=2, policy_kwargs={"hidden": (2,), "activation": "tanh"})
    batch = gathered(agent)
    product = product_of(TRPO(damping=0.0), agent, batch)
    point = flat(agent.meta)
    vector = torch.randn(point.numel(), dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    # H v as the derivative of the gradient's product with v
    gradient = torch.func.grad(partial(mean_kl, agent, batch))
    expected = torch.func.grad(lambda v: gradient(v) @ vector)(point)
    torch.testing.assert_close(product(vector), expected, rtol=1e-6, atol=1e-9)


@pytest.fixture
def drawn(monkeypatch):
    """Let these samples be drawn; return their fraction."""

    def let(batch, rows):
        samples = range(batch.query.weights.shape[1])
        order = torch.tensor([*rows, *(sample for sample in samples if sample not in rows)])
        monkeypatch.setattr(torch, "randperm", lambda count, **kwargs: order)
        return len(rows) / len(samples)

    return let


def test_a_fraction_of_the_time_steps_takes_every_step_where_it_truly_was(drawn):
    agent = level(2, lengths=(4, 3), inner_loss="likelihood-ratio")
    batch = gathered(agent)
    rows = [0, 1, 6, 11]
    part = policies_of(agent, batch).thinned(drawn(batch, rows), torch.Generator())
    for full, kept in zip(batch.experiences, part.experiences, strict=True):
        assert torch.equal(kept.actions, full.actions[:, rows])
        torch.testing.assert_close(kept.weights.sum(1), torch.ones(2, dtype=torch.float64))
    path = batch.adaptation.adapted
    after_one = agent.adapter.replay(agent.meta, part.experiences[:1], 2, path)
    assert torch.equal(after_one[0], path[1][0])
    outputs = agent.adapter.of_tasks(part.problem.outputs, agent.meta, after_one, part.experiences[1])
    second = part.experiences[1]
    assert torch.equal(part.problem.distribution.log_prob(outputs, second.actions), second.log_probs)  # the ratio is one
    assert torch.equal(part.replay(agent.meta, on_path=True)[0], path[2][0])
    off = agent.adapter.replay(agent.meta, part.experiences, 2)[0]
    assert (off - path[2][0]).abs().min() > 1e-3  # without the path it goes elsewhere


def test_a_true_path_changes_nothing_for_all_time_steps():
    agent = level(2, cls=metarl.MetaSGD)
    batch = gathered(agent)

    def end(meta, path):
        return agent.adapter.replay(meta, batch.experiences, batch.count, path)[0].square().sum()

    free, held = (torch.func.grad_and_value(partial(end, path=path))(agent.meta) for path in (None, batch.adaptation.adapted))
    assert torch.equal(free[1], held[1])
    for name, gradient in free[0].items():
        torch.testing.assert_close(held[0][name], gradient, rtol=1e-12, atol=1e-14)
    whole = policies_of(agent, batch).thinned(1.0, torch.Generator())
    assert torch.equal(whole.query.actions, batch.query.actions)
    products = (fisher_vector_product(policies, agent.meta) for policies in (whole._replace(path=None), whole))
    exact, same = (dense(product, 4) for product in products)
    torch.testing.assert_close(same, exact, rtol=1e-10, atol=1e-12)


def test_the_product_on_a_fraction_is_of_the_dense_matrices_of_that_part(drawn):
    agent = level(1, lengths=(4, 3))
    batch = gathered(agent)
    fraction = drawn(batch, [0, 5, 6, 11])
    part = policies_of(agent, batch).thinned(fraction, torch.Generator())
    problem, learner, expected = part.problem, agent.adapter.learner, torch.zeros(2, 2, dtype=torch.float64)
    none = agent.meta["theta"].new_zeros(0)
    steps = batch.query.lengths.sum(1)
    for task in range(2):
        support, query = (type(part.query)(*(field[task] for field in one)) for one in (part.experiences[0], part.query))

        def outputs(theta, observations):
            return learner(theta, none, observations)

        def inner(theta, support=support):
            return problem.loss(lambda x: (outputs(theta, x), ()), support)

        through = torch.eye(2) - RATE * torch.autograd.functional.hessian(inner, agent.meta["theta"])
        adapted = batch.adaptation.adapted[1][0][task]
        jacobian = torch.autograd.functional.jacobian(partial(outputs, observations=query.observations), adapted) @ through
        now = outputs(adapted, query.observations)
        information = torch.stack([problem.distribution.fisher(now, column) for column in jacobian.unbind(-1)], -1)  # F J
        weights = (steps[task] / steps.sum() * query.weights)[:, None, None]
        expected = expected + (weights * jacobian.mT @ information).sum(0)
    product = product_of(TRPO(damping=0.0, fisher_fraction=fraction), agent, batch)
    torch.testing.assert_close(dense(product, 2), expected, rtol=1e-9, atol=1e-12)


# -- the surrogate


@pytest.mark.parametrize("world", ["varying start", "bandit"])
def test_at_the_old_policy_the_ratio_is_one_and_the_kl_zero(world):
    agent = make(world, inner_steps=2)
    problem, batch = agent.adapter.problem, gathered(agent)
    query, policies = batch.query, policies_of(agent, batch)
    outputs = policies.of_tasks(problem.outputs, agent.meta, policies.replay(agent.meta))
    torch.testing.assert_close(problem.distribution.log_prob(outputs, query.actions), query.log_probs, rtol=1e-9, atol=1e-9)
    assert problem.distribution.kl(query.distribution_parameters, outputs).abs().max() < 1e-12
    loss, kl = surrogate_and_kl(policies, agent.meta)
    assert kl.abs() < 1e-12
    torch.testing.assert_close(loss, surrogate(policies, agent.meta))
    torch.testing.assert_close(surrogate(policies, agent.meta), -(query.weights * query.advantages).sum(1).mean())


@pytest.mark.parametrize("world", ["navigation", "bandit"])
def test_the_ratios_gradient_is_the_policy_gradient_but_not_its_fisher_vector_product(world):
    agent = make(world, policy_kwargs={"hidden": (2,)})
    experience, meta = gathered(agent).experiences[0], agent.meta
    row = type(experience)(*(field[0] for field in experience))
    plain = PolicyProblem(agent.adapter.problem.distribution, lambda rows: None, metarl.Rollouts())

    def of(loss):
        return lambda theta: loss(lambda inputs: agent.adapter.apply(meta, (theta, {}), inputs), row)

    losses = [of(plain.loss), of(agent.adapter.problem.surrogate)]
    torch.testing.assert_close(*(torch.func.grad(loss)(meta["theta"]) for loss in losses))
    assert not torch.allclose(*(torch.autograd.functional.hessian(loss, meta["theta"]) for loss in losses))


# -- the step


@pytest.mark.parametrize("outer", [TRPO(max_kl=1e-4), TRPO(max_kl=0.5), TRPO(fisher_fraction=0.3)])
def test_a_step_keeps_the_kl_limit_and_improves_the_surrogate(outer):
    agent, accepted = make("navigation", outer=outer), 0
    for _ in range(3):
        before, batch = agent.meta, gathered(agent)
        state = agent.streams["noise"].get_state()
        outcome, _ = outer.improve(agent.adapter, before, {}, batch, agent.streams["noise"])
        kl = mean_kl(agent, batch, flat(outcome.meta))
        torch.testing.assert_close(torch.as_tensor(outcome.metrics["kl"]), kl.detach(), rtol=1e-6, atol=1e-10)
        drawn = not torch.equal(state, agent.streams["noise"].get_state())
        assert drawn == (outer.fisher_fraction < 1)
        if outcome.metrics["step_accepted"]:
            assert kl <= outer.max_kl
            assert outcome.metrics["surrogate_improvement"] > 0
            accepted += 1
        assert torch.equal(flat(before), flat(outcome.meta)) != bool(outcome.metrics["step_accepted"])
        agent.meta = outcome.meta
    assert accepted


def test_all_that_is_learned_takes_the_step_and_averages_do_not():
    agent = level(cls=metarl.MetaSGD, normalise_observations=True)
    before = {name: value.clone() for name, value in agent.meta.items()}
    outcome, _ = agent.outer.improve(agent.adapter, agent.meta, {}, gathered(agent), torch.Generator())
    moved = {name for name, value in outcome.meta.items() if not torch.equal(value, before[name])}
    assert moved == {"theta", "rule.alpha"}
    assert all(torch.equal(value, before[name]) for name, value in agent.meta.items())


def test_a_step_that_only_gets_worse_is_refused():
    old, step = torch.zeros(2), torch.ones(2)
    outer = TRPO(line_search_steps=3)
    accepted, tried, _, kl = outer._line_search(old, step, torch.tensor(1.0), lambda _: (torch.tensor(2.0), torch.tensor(0.0)))
    assert accepted is old
    assert (tried, kl.item()) == (3, 0.0)
    for loss, divergence in ((0.0, 0.02), (float("nan"), 0.0), (1.0, 0.0)):
        result = torch.tensor(loss), torch.tensor(divergence)
        assert outer._line_search(old, step, torch.tensor(1.0), lambda _, result=result: result)[0] is old
    accepted, tried, *_ = outer._line_search(
        old, step, torch.tensor(1.0), lambda c: (torch.tensor(0.5), 0.01 * c.square().sum() / 2)
    )
    assert tried == 1
    assert torch.equal(accepted, -step)


def test_where_it_cannot_serve_it_says_so():
    with pytest.raises(ConfigError, match="outer='trpo' needs a policy; predictors have no KL limit, use 'gradient_descent'"):
        metarl.MAML("weight", "tests/Line-v0", outer=TRPO())
    with pytest.raises(ConfigError, match="outer='trpo' needs a policy"):
        metarl.ProtoNet("MLP", "tests/Images-v0", outer=TRPO())
    with pytest.raises(ConfigError, match="inner_steps=0 leaves TRPO no adaptation to improve"):
        level(inner_steps=0)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"max_kl": 0}, "max_kl=0 must be above zero"),
        ({"fisher_fraction": 1.5}, r"fisher_fraction=1.5 must lie in \[0, 1\]"),
        ({"fisher_fraction": 0}, "fisher_fraction=0 must be above zero"),
        ({"backtrack": 2}, "backtrack=2"),
        ({"cg_iterations": -1}, "cg_iterations=-1"),
        ({"damping": -1}, "damping=-1"),
        ({"line_search_steps": 0}, "line_search_steps=0"),
    ],
)
def test_bad_options_are_named(options, says):
    with pytest.raises(ConfigError, match=says):
        TRPO(**options)
