"""TRPO: exact products on small problems, and what it never does."""

import pytest
import torch

import metarl
from metarl.errors import ConfigError
from metarl.outer.trpo import TRPO, conjugate_gradient
from tests.worlds import experience, flat, make, unflat

POLICY_WORLDS = ["navigation", "varying start", "bandit"]


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


def kept(agent):
    tasks = agent.world.sample(agent.meta_batch, "train", agent.generator)
    with torch.no_grad():
        adaptation = agent.inner.adapt(agent.meta, tasks, agent.generator)
        query = agent.world.problem.collect(adaptation.adapted, tasks, "query", agent.generator)
    return adaptation, query


def mean_kl(agent, adaptation, query, vector):
    """The mean KL over all time-steps of all tasks, written anew."""
    problem = agent.world.problem
    adapted = agent.inner.replay(unflat(vector, agent.meta), adaptation.experiences)
    total, steps = 0.0, 0.0
    for task in range(len(adapted)):
        own = type(query)(*(field[task] for field in query))
        kl = problem.distribution.kl(own.parameters, problem.outputs(adapted[task], own))
        happened = (own.weights > 0).double()
        total, steps = total + (kl * happened).sum(), steps + happened.sum()
    return total / steps


@pytest.mark.parametrize("rule", ["gradient descent", "Meta-SGD", "rates by layer and step"])
@pytest.mark.parametrize("world", POLICY_WORLDS)
def test_fisher_products_are_the_kl_hessian_through_the_adaptation(world, rule):
    agent = make(world, rule, inner_steps=2)
    adaptation, query = kept(agent)
    outer = TRPO(damping=0.0)
    product = outer._fisher_product(agent.inner, agent.meta, list(agent.meta.values()), adaptation, query, agent.generator)
    point = flat(agent.meta)
    vector = torch.randn(point.numel(), dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    hessian = torch.autograd.functional.hessian(lambda v: mean_kl(agent, adaptation, query, v), point)
    torch.testing.assert_close(product(vector), hessian @ vector, rtol=1e-6, atol=1e-9)


def test_a_fraction_of_the_time_steps_estimates_the_same_product():
    agent = make("navigation", "gradient descent", rollouts=metarl.Rollouts(trajectories=40))
    adaptation, query = kept(agent)
    vector = torch.randn(flat(agent.meta).numel(), dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    exact = TRPO()._fisher_product(agent.inner, agent.meta, list(agent.meta.values()), adaptation, query, agent.generator)(
        vector
    )
    thinned = [
        TRPO(fisher_fraction=0.5)._fisher_product(
            agent.inner, agent.meta, list(agent.meta.values()), adaptation, query, agent.generator
        )(vector)
        for _ in range(20)
    ]
    error = (torch.stack(thinned).mean(0) - exact).norm() / exact.norm()
    assert error < 0.1
    assert not torch.allclose(thinned[0], exact)


@pytest.mark.parametrize("world", POLICY_WORLDS)
def test_at_the_old_policy_the_ratio_is_one_and_the_kl_zero(world):
    agent = make(world, inner_steps=2)
    problem = agent.world.problem
    adaptation, query = kept(agent)
    adapted = agent.inner.replay(agent.meta, adaptation.experiences)
    outputs = torch.vmap(problem.outputs)(adapted, query)
    torch.testing.assert_close(problem.distribution.log_prob(outputs, query.actions), query.log_probs, rtol=1e-9, atol=1e-9)
    assert problem.distribution.kl(query.parameters, outputs).abs().max() < 1e-12
    surrogate = torch.vmap(problem.surrogate)(adapted, query)
    torch.testing.assert_close(surrogate, -(query.weights * query.advantages).sum(1))


@pytest.mark.parametrize("world", POLICY_WORLDS)
def test_the_ratios_gradient_is_the_policy_gradient_but_not_its_curvature(world):
    agent = make(world)
    problem = agent.world.problem
    experiences, _ = experience(agent)
    own = type(experiences[0])(*(field[0] for field in experiences[0]))
    other = type(problem)(problem.learner, problem.distribution, lambda rows: None, metarl.Rollouts())
    theta = agent.parameters
    torch.testing.assert_close(torch.func.grad(other.loss)(theta, own), torch.func.grad(problem.surrogate)(theta, own))
    curvature = [torch.autograd.functional.hessian(lambda t, f=f: f(t, own), theta) for f in (other.loss, problem.surrogate)]
    assert not torch.allclose(*curvature)


@pytest.mark.parametrize("world", POLICY_WORLDS)
@pytest.mark.parametrize("max_kl", [1e-4, 0.01, 0.5])
def test_a_step_keeps_the_kl_limit_and_improves_the_surrogate(world, max_kl):
    agent, accepted = make(world, outer=TRPO(max_kl=max_kl)), 0
    for _ in range(4):
        before, state = flat(agent.meta), agent.generator.get_state()
        tasks = agent.world.sample(agent.meta_batch, "train", agent.generator)
        outcome = agent.outer.step(agent.inner, agent.meta, tasks, agent.generator)
        kl = mean_kl(agent, outcome.adaptation, outcome.query, flat(agent.meta))
        if outcome.metrics["step_accepted"]:
            assert kl <= max_kl
            assert outcome.metrics["surrogate_improvement"] > 0
            assert not torch.equal(before, flat(agent.meta))
            accepted += 1
        else:
            assert torch.equal(before, flat(agent.meta))
        torch.testing.assert_close(torch.as_tensor(outcome.metrics["kl"]), kl.detach(), rtol=1e-6, atol=1e-10)
        assert not torch.equal(state, agent.generator.get_state())
    assert accepted


def test_a_step_that_only_gets_worse_is_refused():
    old, step = torch.zeros(2), torch.ones(2)
    outer = TRPO(line_search_steps=3)
    accepted, tried, _, kl = outer._line_search(old, step, torch.tensor(1.0), lambda _: (torch.tensor(2.0), torch.tensor(0.0)))
    assert accepted is old
    assert (tried, kl.item()) == (3, 0.0)
    accepted, *_ = outer._line_search(old, step, torch.tensor(1.0), lambda _: (torch.tensor(0.0), torch.tensor(0.02)))
    assert accepted is old
    accepted, *_ = outer._line_search(old, step, torch.tensor(1.0), lambda _: (torch.tensor(float("nan")), torch.tensor(0.0)))
    assert accepted is old
    accepted, tried, *_ = outer._line_search(
        old, step, torch.tensor(1.0), lambda c: (torch.tensor(0.5), 0.01 * c.square().sum() / 2)
    )
    assert tried == 1
    assert torch.equal(accepted, -step)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"max_kl": 0}, "max_kl=0 must be above zero"),
        ({"fisher_fraction": 1.5}, r"fisher_fraction=1.5 must lie in \[0, 1\]"),
        ({"fisher_fraction": 0}, "fisher_fraction=0 must be above zero"),
        ({"backtrack": 2}, "backtrack=2"),
        ({"cg_iterations": -1}, "cg_iterations=-1"),
    ],
)
def test_bad_options_are_named(options, says):
    with pytest.raises(ConfigError, match=says):
        TRPO(**options)
