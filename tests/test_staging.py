"""A map traced in two stages is the map, whatever numbers it is made of; and TRPO compiled is TRPO."""

import shutil
import warnings

import pytest
import torch

import metarl
from metarl.adapters import Adapter
from metarl.learner import Learner
from metarl.outer.trpo import TRPO, curvature, surrogate_and_kl, surrogate_gradient
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
    ],
    ids=["on what a tensor holds", "writes into a tensor"],
)
def test_what_cannot_be_traced_is_as_it_is_with_a_word(graphs, branching):
    made = staged(branching, "a test")(torch.full((2,), 3.0))
    with pytest.warns(UserWarning, match="compile=True had no effect, the run goes on eagerly"):
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
    in_stages, vector = staged(curvature, "a test"), torch.linspace(-1, 1, flat(agent.meta).numel(), dtype=torch.float64)
    for batch in (gathered(agent), gathered(agent)):
        policies = policies_of(agent, batch)
        product = in_stages(policies, agent.meta)
        for times in (1, 2):
            torch.testing.assert_close(product(times * vector), curvature(policies, agent.meta)(times * vector))
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
        policies, plain = agent.adapter.together(meta, adapted), Adapter.together(agent.adapter, meta, adapted)
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


def test_products_of_bfloat16_numbers_are_nearly_those_of_float32_and_nothing_else_is():
    agent = make("navigation", dtype="float32", policy_kwargs={"hidden": (8, 8)})
    batch, size = gathered(agent), flat(agent.meta).numel()
    plain, short = (product_of(outer, agent, batch) for outer in (TRPO(), TRPO(fisher_bfloat16=True)))
    vector = torch.randn(size, generator=torch.Generator().manual_seed(0))
    error = (short(vector) - plain(vector)).norm() / plain(vector).norm()
    assert short(vector).dtype == torch.float32
    assert 1e-6 < error < 1e-2
