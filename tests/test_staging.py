"""A map traced in two stages is the map, whatever numbers it is made of; and TRPO compiled is TRPO."""

import gc
import shutil
import warnings
import weakref
from dataclasses import replace

import pytest
import torch

import metarl
from metarl.errors import ConfigError
from metarl.learner import Learner
from metarl.outer import HypergradientDescent
from metarl.outer.trpo import TRPO, fisher_vector_product, surrogate_and_kl, surrogate_gradient
from metarl.staging import staged
from tests.test_trpo import level, policies_of, product_of
from tests.worlds import flat, gathered, make

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script:FutureWarning")


@pytest.fixture
def graphs(monkeypatch):
    """Compile nothing; return what would be."""
    graphs = []
    monkeypatch.setattr(torch, "compile", lambda function, **_: graphs.append(function) or function)
    return graphs


def operations(graph):
    return [str(node.target).split(".")[1] for node in graph.graph.nodes if str(node.target).startswith("aten.")]


def rotated(numbers, scale):
    return lambda vector: scale * (numbers["a"].sin() * vector).cos()


def test_what_the_arguments_settle_is_computed_once_and_not_for_each_vector(graphs):
    make_map, a, b = staged(rotated, "a test"), {"a": torch.tensor([0.5, 2.0])}, {"a": torch.tensor([1.0, -1.0])}
    for given, scale in ((a, 3), (b, 3), (a, 2)):
        made = make_map(given, scale)
        for vector in (torch.ones(2), torch.tensor([3.0, 4.0])):
            assert torch.equal(made(vector), rotated(given, scale)(vector))
    assert [operations(graph) for graph in graphs[:2]] == [["sin"], ["mul", "cos", "mul"]]
    assert len(graphs) == 4  # the second arguments are of the first ones' kind, another scale is another program
    double = {"a": torch.ones(2, dtype=torch.float64)}
    assert make_map(double, 3)(torch.ones(2, dtype=torch.float64)).dtype == torch.float64
    assert len(graphs) == 6


@pytest.mark.parametrize(
    "branching",
    [
        lambda a: lambda vector: a * vector if vector.sum() > 0 else vector,
        lambda a: lambda vector: a.clone().mul_(vector),
        lambda a: lambda vector: a * vector + 0 * torch.rand(2),
    ],
    ids=["on what a tensor holds", "writes into a tensor", "draws random numbers"],
)
def test_what_cannot_be_traced_is_as_it_is_with_a_word(graphs, branching):
    made = staged(branching, "a test")(torch.full((2,), 3.0))
    with pytest.warns(UserWarning, match="a test cannot be compiled and run eagerly: "):
        assert torch.equal(made(torch.ones(2)), torch.full((2,), 3.0))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert torch.equal(made(torch.ones(2)), torch.full((2,), 3.0))
    assert not graphs


@pytest.mark.parametrize(
    ("world", "rule"), [("navigation", "TURTLE"), ("varying start", "LSTM2"), ("bandit", "rates by layer and step")]
)
def test_products_in_two_stages_are_the_products_on_later_experience_too(graphs, world, rule):
    agent = make(world, rule, inner_steps=2, policy_kwargs={"hidden": (2,), "activation": "tanh"})
    in_stages, vector = (
        staged(fisher_vector_product, "a test"),
        torch.linspace(-1, 1, flat(agent.meta).numel(), dtype=torch.float64),
    )
    for batch in (gathered(agent), gathered(agent)):
        policies = policies_of(agent, batch)
        product = in_stages(policies, agent.meta)
        for times in (1, 2):
            torch.testing.assert_close(product(times * vector), fisher_vector_product(policies, agent.meta)(times * vector))
    assert len(graphs) == 2
    assert "tanh" in operations(graphs[0])
    assert "tanh" not in operations(graphs[1])


def test_policies_are_traced_once_and_act_with_the_parameters_of_each_time(monkeypatch):
    agent, calls = make("navigation", "Meta-SGD", policy_kwargs={"hidden": (3,)}), []
    call = Learner.__call__
    monkeypatch.setattr(Learner, "__call__", lambda *given: calls.append(1) or call(*given))
    for times in (1, 2, 3):
        meta = {name: times * value for name, value in agent.meta.items()}
        adapted = (torch.stack([meta["theta"], -meta["theta"]]), {})
        policies, plain = agent.adapter.policies(meta, adapted), agent.adapter.together(meta, adapted)
        for observations in torch.randn(2, 2, 5, 2, dtype=torch.float64):
            traced = len(calls)
            outputs, state = policies(observations, ("kept",))
            assert (len(calls) > traced) == (traced == 0)
            assert state == ("kept",)
            torch.testing.assert_close(outputs, plain(observations)[0], rtol=0, atol=0)


@pytest.mark.parametrize("function", [surrogate_gradient, surrogate_and_kl])
def test_gradient_and_line_search_are_compiled_in_one_piece(function):
    agent = make("navigation", "LSTM2", inner_steps=2, policy_kwargs={"hidden": (2,)})
    policies = policies_of(agent)
    fast = torch.compile(function, backend="eager", fullgraph=True, dynamic=False)(policies, agent.meta)
    torch.testing.assert_close(fast, function(policies, agent.meta))


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler here")
def test_compiled_trpo_is_eager_trpo():
    outers = (TRPO(compile=compile, max_kl=1e-3) for compile in (False, True))
    eager, fast = (level(cls=metarl.MetaSGD, outer=outer).learn(2).meta for outer in outers)
    for name, value in eager.items():
        torch.testing.assert_close(fast[name], value, rtol=1e-9, atol=1e-12)


def test_a_map_that_its_input_has_no_part_in_is_that_map_too(graphs):
    made = staged(lambda a: lambda vector: 2 * a)(torch.full((2,), 3.0))
    assert torch.equal(made(torch.ones(2)), torch.full((2,), 6.0))
    both = staged(lambda a: lambda vector: vector)(torch.ones(2))
    assert torch.equal(both(torch.full((2,), 5.0)), torch.full((2,), 5.0))


def test_what_a_trace_may_depend_on_is_another_kind():
    """Names, strides, the mode that gradients are in and autocast: a program of one serves no other."""
    traced = []
    make_map = staged(lambda given: lambda x: traced.append(1) or (given["a"] - 2 * given["b"] + x.reshape(-1).sum()))
    one, two, x = torch.tensor(1.0), torch.tensor(10.0), torch.arange(4.0).view(2, 2)
    assert make_map({"a": one, "b": two})(x).item() == -13
    assert make_map({"b": one, "a": two})(x).item() == 14
    assert make_map({"a": one, "b": two})(x.T).item() == -13
    with torch.no_grad():
        assert make_map({"a": one, "b": two})(x).item() == -13
    with torch.autocast("cpu", torch.bfloat16):
        assert make_map({"a": one, "b": two})(x).item() == -13
    assert len(traced) == 5
    assert make_map({"a": two, "b": one})(x).item() == 14
    assert len(traced) == 5


def test_programs_keep_no_adapter_alive():
    agent = make("navigation", "Meta-SGD", policy_kwargs={"hidden": (2,)})
    in_stages, policies = staged(fisher_vector_product), policies_of(agent)
    in_stages(policies, agent.meta)(torch.ones(flat(agent.meta).numel(), dtype=torch.float64))
    gone = weakref.ref(agent.adapter)
    del agent, policies
    gc.collect()
    assert gone() is None


def test_a_policy_that_does_not_look_acts_too():
    class Blind(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.mean = torch.nn.Parameter(torch.tensor([0.5, -0.5]))

        def forward(self, observations):
            return self.mean.expand(*observations.shape[:-1], 2)

    agent = metarl.MAML(Blind(), "metarl/Navigation2D-v0", meta_batch=2, rollouts=metarl.Rollouts(trajectories=2), device="cpu")
    assert agent.learn(1).iteration == 1


def test_fisher_products_in_bfloat16_are_a_little_off_and_nothing_else_is(monkeypatch):
    agent = make("navigation", dtype="float32", policy_kwargs={"hidden": (8, 8)})
    batch, outers = gathered(agent), (TRPO(damping=0.1), TRPO(damping=0.1, fisher_bfloat16=True))
    vector = torch.randn(flat(agent.meta).numel(), generator=torch.Generator().manual_seed(0))
    plain, short = (product_of(outer, agent, batch)(vector) for outer in outers)
    assert plain.dtype == short.dtype == torch.float32
    assert 1e-6 < (short - plain).norm() / plain.norm() < 1e-2
    steps, judged = [], []
    away = 0.01 * vector

    def search(self, old, step, loss, evaluate):
        steps.append(step)
        judged.append(torch.stack([loss, *evaluate(old + away)]))
        return old, 1, loss, 0 * loss

    monkeypatch.setattr(TRPO, "_line_search", search)
    norms = [
        outer.improve(agent.adapter, agent.meta, {}, batch, torch.Generator())[0].metrics["gradient_norm"] for outer in outers
    ]
    assert torch.equal(*norms)
    assert torch.equal(*judged)
    assert not torch.equal(*steps)
    assert torch.cosine_similarity(*steps, dim=0) > 0.99


def test_bfloat16_of_a_policy_of_other_numbers_is_refused():
    with pytest.raises(ConfigError, match="fisher_bfloat16=True is for policies of float32, and this one is of float64"):
        level(outer=TRPO(fisher_bfloat16=True))


@pytest.mark.parametrize(
    ("cls", "outer"),
    [
        (metarl.MetaSGD, TRPO(compile=True, fisher_fraction=0.5)),
        (metarl.AlphaMAML, HypergradientDescent(trpo=TRPO(compile=True))),
    ],
)
def test_compiled_in_other_company_is_eager(graphs, cls, outer):
    agents = [level(cls=cls, outer=loop) for loop in (outer, eager(outer))]
    first, second = (agent.learn(2).meta for agent in agents)
    assert len(graphs) == 4
    for name, value in first.items():
        torch.testing.assert_close(second[name], value, rtol=1e-9, atol=1e-12)


def eager(outer):
    return replace(outer, trpo=TRPO()) if isinstance(outer, HypergradientDescent) else replace(outer, compile=False)
