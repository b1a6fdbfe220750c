"""Matching Networks: attention by hand, full context against PyTorch's LSTMs, and who sees whom."""

import math

import pytest
import torch
from torch import nn

import metarl
from metarl.adapters import Matching, NearestNeighbour, Prototypes, ReadingAdapter, Support
from metarl.adapters.metric.distances import cosine
from metarl.errors import ConfigError
from metarl.learner import Learner
from tests.test_adapters import assert_finite_differences, classification, network, seen


def support(shots=2, ways=3, features=4, seed=0):
    """One task's embedded support set, its classes in turn."""
    generator = torch.Generator().manual_seed(seed)
    targets = torch.arange(ways).repeat(shots)
    inputs = torch.randn(ways * shots, features, generator=generator, dtype=torch.float64)
    return Support(inputs, torch.eye(ways, dtype=torch.float64)[targets], targets)


def asked(count=5, features=4):
    return torch.randn(count, features, generator=torch.Generator().manual_seed(9), dtype=torch.float64)


def matching(**options):
    torch.manual_seed(0)
    return Matching(4, **options).double()


def permuted(task, order):
    return Support(task.inputs[order], task.columns[order], task.targets[order])


def answers(reader, task, queries):
    return reader.answer(queries, reader.read(task))


CONFIGURATIONS = {
    "cosines": {},
    "scaled": {"scale": 7.0},
    "distances": {"distance": "squared-euclidean"},
    "softmax over classes": {"softmax_over": "classes"},
    "full context": {"full_context": True},
    "full context without steps": {"full_context": True, "processing_steps": 0},
}


def test_attention_by_hand():
    # queries along the first axis: cosines of 1, 0 and 0.6 with examples of the classes 0, 1 and 0
    task = Support(torch.tensor([[2.0, 0.0], [0.0, 3.0], [3.0, 4.0]]), torch.eye(2)[[0, 1, 0]], torch.tensor([0, 1, 0]))
    reader = Matching(2)
    query, kept = torch.tensor([[5.0, 0.0]]), reader.read(task)
    total = math.e + 1 + math.exp(0.6)
    torch.testing.assert_close(reader.attention(query, kept), torch.tensor([[math.e, 1, math.exp(0.6)]]) / total)
    expected = torch.tensor([[(math.e + math.exp(0.6)) / total, 1 / total]])
    torch.testing.assert_close(reader.answer(query, kept).exp(), expected)
    scaled = Matching(2, scale=3.0).answer(query, kept)
    total = math.exp(3) + 1 + math.exp(1.8)
    torch.testing.assert_close(scaled.exp(), torch.tensor([[(math.exp(3) + math.exp(1.8)) / total, 1 / total]]))
    summed = Matching(2, softmax_over="classes").answer(query, kept)
    torch.testing.assert_close(summed, torch.tensor([[1.6, 0.0]]).log_softmax(1))


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_answers_are_logarithms_of_probabilities(name):
    outputs = answers(matching(**CONFIGURATIONS[name]), support(), asked())
    torch.testing.assert_close(outputs.exp().sum(1), torch.ones(5, dtype=torch.float64))
    torch.testing.assert_close(outputs.log_softmax(1), outputs)  # so that the cross-entropy is minus the logarithm


def test_with_one_shot_it_is_a_softmax_over_cosines():
    task = support(shots=1)
    expected = cosine(asked(), task.inputs).log_softmax(1)
    for softmax_over in ("examples", "classes"):
        torch.testing.assert_close(answers(matching(softmax_over=softmax_over), task, asked()), expected)


def test_with_one_shot_prototypes_are_the_nearest_neighbour():
    task = support(shots=1)
    for distance in ("squared-euclidean", "cosine"):
        prototypes, neighbours = (answers(reader(distance), task, asked()) for reader in (Prototypes, NearestNeighbour))
        torch.testing.assert_close(prototypes, neighbours)
        matched = answers(matching(distance=distance), task, asked())
        torch.testing.assert_close(matched, neighbours.log_softmax(1))


def test_no_probability_is_too_small():
    task = support(shots=2, ways=2)
    queries = task.inputs.clone().requires_grad_()
    loss = nn.functional.cross_entropy(answers(matching(scale=1e5), task, queries), 1 - task.targets)
    loss.backward()
    assert loss.item() > 1e3
    assert queries.grad.isfinite().all()


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_the_order_of_the_support_set_is_of_no_account_without_full_context(name):
    reader, task, order = matching(**CONFIGURATIONS[name]), support(), torch.tensor([3, 0, 5, 1, 4, 2])
    one, other = (answers(reader, part, asked()) for part in (task, permuted(task, order)))
    assert torch.allclose(one, other, atol=1e-12) == ("full context" not in name)


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_no_query_sees_another(name):
    reader, task = matching(**CONFIGURATIONS[name]), support()
    derivatives = torch.func.jacrev(lambda queries: answers(reader, task, queries))(asked())
    for query in range(5):
        others = [other for other in range(5) if other != query]
        assert not derivatives[query, :, others].any()
        assert derivatives[query, :, query].any()


def test_full_context_lets_every_support_example_see_every_other_and_no_query():
    context, task = matching(full_context=True).context, support()
    derivatives = torch.func.jacrev(context.of_support)(task.inputs)
    assert (derivatives.abs().sum((1, 3)) > 0).all()
    alone = matching(full_context=False)
    derivatives = torch.func.jacrev(lambda inputs: alone.read(task._replace(inputs=inputs)).examples)(task.inputs)
    assert (derivatives.abs().sum((1, 3)) > 0).equal(torch.eye(6, dtype=torch.bool))


def in_pytorchs_order(rows):
    """The gates' rows as PyTorch has them: input, forget, candidate, output."""
    take, keep, show, candidate = rows.chunk(4)
    return torch.cat([take, keep, candidate, show])


def test_the_support_sets_context_is_pytorchs_bidirectional_lstm_and_a_skip():
    context = matching(full_context=True).context
    theirs = nn.LSTM(4, 4, bidirectional=True).double()
    values = {}
    for core, suffix in ((context.forwards, ""), (context.backwards, "_reverse")):
        values[f"weight_ih_l0{suffix}"] = in_pytorchs_order(core.input_weights)
        values[f"weight_hh_l0{suffix}"] = in_pytorchs_order(core.hidden_weights)
        values[f"bias_ih_l0{suffix}"] = in_pytorchs_order(core.bias)
        values[f"bias_hh_l0{suffix}"] = torch.zeros(16)
    theirs.load_state_dict(values)
    inputs = support().inputs
    forward, backward = theirs(inputs[:, None])[0][:, 0].chunk(2, dim=1)
    torch.testing.assert_close(context.of_support(inputs), inputs + forward + backward)


@pytest.mark.parametrize("steps", [0, 1, 3])
def test_the_queries_context_is_pytorchs_lstm_cell_on_what_it_reads(steps):
    context = matching(full_context=True, processing_steps=steps).context
    cell, core = nn.LSTMCell(8, 4).double(), context.queries  # the cell's input is the query and what was read
    states, reads = core.hidden_weights.split(4, dim=1)
    weights = (torch.cat([core.input_weights, reads], dim=1), states, core.bias, torch.zeros(16))
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    cell.load_state_dict({name: in_pytorchs_order(rows) for name, rows in zip(names, weights, strict=True)})
    known = context.of_support(support().inputs)
    for query, result in zip(asked(), context.of_queries(asked(), known), strict=True):
        hidden = memory = torch.zeros(1, 4, dtype=torch.float64)
        placed, read = query, known.mean(0)
        for _ in range(steps):
            hidden, memory = cell(torch.cat([query, read])[None], (hidden, memory))
            placed = hidden[0] + query
            read = (known @ placed).softmax(0) @ known
            hidden = placed[None]
        torch.testing.assert_close(result, placed)


def test_without_steps_queries_keep_their_embeddings_and_the_support_set_does_not():
    reader, task = matching(full_context=True, processing_steps=0), support()
    kept = reader.read(task)
    assert torch.equal(reader.place(asked(), kept), asked())
    assert not torch.allclose(kept.examples, task.inputs)


@pytest.mark.parametrize("statistics", ["batch", "support", "running"])
@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_the_meta_gradient_is_the_difference(name, statistics):
    module, reader = network(4), matching(**CONFIGURATIONS[name])
    adapter = ReadingAdapter(classification(), Learner(module, batch_norm=statistics), reader)
    gradients = assert_finite_differences(adapter, seen(adapter, adapter.initial_meta(module, reader)))
    for gradient in (gradients[n] for n in gradients if "without steps" not in name or "context.queries" not in n):
        assert gradient.any()
    assert any(n.startswith("reader.") for n in gradients) == ("full context" in name)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"distance": "cosin"}, "distance='cosin' is not known: did you mean 'cosine'"),
        ({"scale": 0.0}, r"scale=0\.0 must be above zero"),
        ({"softmax_over": "class"}, "softmax_over='class' is not known: did you mean 'classes'"),
        ({"full_context": True, "processing_steps": -1}, "processing_steps=-1 must be a whole number, not negative"),
        ({"full_context": True, "processing_steps": 1.5}, r"processing_steps=1\.5 must be a whole number"),
    ],
)
def test_bad_options_are_named(options, says):
    with pytest.raises(ConfigError, match=says):
        Matching(4, **options)


@pytest.mark.parametrize("full_context", [False, True])
def test_it_takes_other_ways_than_it_was_trained_with(full_context):
    options = {"policy_kwargs": {"hidden": (4,)}, "device": "cpu", "full_context": full_context}
    agent = metarl.MatchingNet("MLP", "tests/Images-v0", env_kwargs={"train_ways": 4}, **options).learn(1)
    assert agent.evaluate(2).values.shape == (2, 1)
    assert agent.evaluate(2, env_kwargs={"ways": 2, "shots": 1}).values.shape == (2, 1)
