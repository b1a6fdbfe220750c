"""SNAIL: a query is the position after the support set, as the naive forward has it, and no query sees another."""

import numpy as np
import pytest
import torch
from torch.autograd.functional import jacobian

import metarl
from metarl.adapters import Support
from metarl.adapters.memory import SNAIL
from metarl.agents.pictures.unseen import adapt_to_unseen
from metarl.errors import ConfigError
from tests.small import small
from tests.worlds import flat, gathered, outer_loss

SMALL = {"filters": 2, "key_sizes": (4, 5), "value_sizes": (3, 4)}


def episode(examples=4, ways=2, queries=3, features=3):
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(examples + queries, features, generator=generator, dtype=torch.float64)
    targets = torch.arange(examples) % ways
    support = Support(inputs[:examples], torch.nn.functional.one_hot(targets).double(), targets)
    return support, inputs[examples:]


def reader(length=5, **changes):
    torch.manual_seed(0)
    return SNAIL(3, 2, length, **{**SMALL, **changes}).double()


@pytest.mark.parametrize("examples", [4, 3, 2])
def test_an_answer_is_the_last_position_of_the_support_set_and_one_query(examples):
    snail, (support, queries) = reader(), episode(examples)
    answers = snail.answer(queries, snail.read(support))
    for query, answer in zip(queries, answers, strict=True):
        unlabelled = torch.cat([query, torch.zeros(2).double()])
        sequence = torch.cat([torch.cat([support.inputs, support.columns], dim=1), unlabelled[None]])
        torch.testing.assert_close(answer, snail.head(snail.body(sequence))[-1], rtol=0, atol=1e-10)


def test_a_query_sees_the_support_set_and_no_other_query():
    snail, (support, queries) = reader(), episode()

    def answers(inputs, columns, queries):
        return snail.answer(queries, snail.read(support._replace(inputs=inputs, columns=columns)))

    of_inputs, of_columns, of_queries = jacobian(answers, (support.inputs, support.columns, queries))
    for query in range(3):
        others = [other for other in range(3) if other != query]
        assert (of_queries[query][:, others] == 0).all()
        assert (of_queries[query][:, query] != 0).any(0).all()
        assert (of_inputs[query].abs().sum((0, 2)) > 0).all()  # every support example
        assert (of_columns[query].abs().sum((0, 2)) > 0).all()


def test_what_is_kept_of_a_support_example_does_not_depend_on_later_ones():
    snail, (support, _) = reader(), episode()
    keys = jacobian(lambda inputs: snail.read(support._replace(inputs=inputs))[-1][0], support.inputs)
    for position in range(4):
        assert (keys[position, :, position + 1 :] == 0).all()


def test_attention_is_over_the_support_examples_and_the_query():
    snail, (support, queries) = reader(), episode()
    attention = snail.attention(queries, snail.read(support))
    assert attention.shape == (3, 4)
    block = snail.body.in_order[0]
    unlabelled = torch.cat([queries, torch.zeros(3, 2).double()], dim=1)
    examples = torch.cat([support.inputs, support.columns], dim=1)
    asked = block.queries(unlabelled) / 2  # keys have four entries
    logits = torch.cat([asked @ block.keys(examples).t(), (asked * block.keys(unlabelled)).sum(1, keepdim=True)], dim=1)
    torch.testing.assert_close(attention, logits.softmax(1)[:, :4])


def test_from_an_associative_start_a_query_reads_the_labels_of_its_like():
    snail, (support, queries) = reader(start="associative", value_sizes=(3, 4)), episode()
    kept = snail.read(support)
    weights = snail.attention(queries, kept)  # keys have more entries than embeddings: the map keeps scalar products
    logits = torch.cat([queries @ support.inputs.t() / 2 + 20, queries.square().sum(1, keepdim=True) / 2], dim=1)
    torch.testing.assert_close(weights, logits.softmax(1)[:, :4], rtol=0, atol=1e-6)
    found = snail.first.next(snail._unlabelled(queries), kept[0])[:, 5:7]
    torch.testing.assert_close(found, weights @ support.columns)
    told = snail.head.weight[:, 5:7]
    torch.testing.assert_close(told, 10 * torch.eye(2).double())
    with pytest.raises(ConfigError, match=r"start='associative' needs .* 2 of a value .* value_sizes\[0\]=1"):
        reader(start="associative", value_sizes=(1, 4))


def test_the_picture_shows_the_first_block():
    agent = small("SNAIL")
    unseen = adapt_to_unseen(agent)
    axes = [ax for ax in agent.pictures()["attention"].axes if ax.get_xlabel() == "support examples, by class"]
    for task, ax in enumerate(axes):
        kept, _ = agent.adapter.row(unseen.adaptation.adapted[-1], task)
        queries = agent.adapter.embed(agent.meta, {}, unseen.query.inputs[task])
        weights = agent.adapter.call(agent.meta, "attention", queries, kept)
        rows, columns = unseen.query.targets[task].argsort(stable=True), unseen.tasks.support.targets[task].argsort(stable=True)
        np.testing.assert_allclose(ax.images[0].get_array(), weights[rows][:, columns].detach(), rtol=1e-6)
    assert set(small("SNAIL on sine waves").pictures()) == set()


def test_a_support_set_that_is_too_long_is_refused():
    with pytest.raises(ConfigError, match="length=4 holds 3 support examples and a query, but the support set has 4"):
        reader(4).read(episode()[0])
    agent = small("SNAIL")
    with pytest.raises(ConfigError, match=r"length=5 holds 4 support examples .* has 6: give length=7 or more"):
        agent.evaluate(2, env_kwargs={"ways": 2, "shots": 3})
    assert agent.evaluate(2, env_kwargs={"ways": 2, "shots": 1}).values.shape == (2, 1)
    with pytest.raises(ConfigError, match="length=3 holds 2 support examples"):
        small("SNAIL", length=3)  # said when the agent is made


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"length": 1}, "length=1 leaves no room for a support example"),
        ({"start": "asociative"}, "start='asociative' is not known: did you mean 'associative'"),
        ({"length": "7"}, "length='7' must be a number above zero"),
        ({"filters": 0}, "filters=0 must be above zero"),
        ({"filters": 2.5}, r"filters=2\.5 must be a whole number, such as 2"),
        ({"key_sizes": (4, 0)}, r"key_sizes\[1\]=0 must be above zero"),
        ({"value_sizes": (4, -1)}, r"value_sizes\[1\]=-1 must be above zero"),
        ({"key_sizes": (4,)}, r"key_sizes=\(4,\) and value_sizes=\(3, 4\) must be as many"),
        ({"key_sizes": (), "value_sizes": ()}, "must be as many, one of each for each attention block"),
    ],
)
def test_sizes_that_cannot_be_are_named(arguments, says):
    with pytest.raises(ConfigError, match=says):
        reader(**arguments)


def test_other_ways_are_refused():
    with pytest.raises(ConfigError, match="train_ways=4 differs from ways=2, but this agent has an output for each class"):
        small("SNAIL", env_kwargs={"ways": 2, "train_ways": 4, "shots": 1})
    with pytest.raises(ConfigError, match="give it the same image size and ways"):
        small("SNAIL").evaluate(2, env_kwargs={"ways": 1, "shots": 1})
    agent = small("SNAIL")
    observation, _ = agent.env.reset(seed=0)
    with pytest.raises(ConfigError, match="ways=3 differ from the 2 that SNAIL was made for"):
        agent.adapt({**observation, "support_targets": np.array([0, 1, 2, 2])})


@pytest.mark.parametrize("kind", ["SNAIL", "SNAIL on sine waves"])
def test_the_meta_gradient_equals_the_finite_difference(kind):
    agent = small(kind)
    loss = outer_loss(agent, gathered(agent))
    point = flat(agent.meta).requires_grad_()
    assert torch.autograd.gradcheck(loss, point, eps=1e-6, atol=1e-7, rtol=1e-5, fast_mode=True)


def test_the_paper_s_sizes():
    agent = metarl.SNAIL("MLP", "tests/Images-v0", policy_kwargs={"hidden": (64,)}, device="cpu")
    shapes = {name: tuple(value.shape) for name, value in agent.meta.items()}
    assert agent.adapter.reader.length == 5  # two ways, two shots, and a query
    assert shapes["reader.body.blocks.0.keys.weight"] == (64, 64 + 2)
    assert shapes["reader.body.blocks.1.blocks.0.convolutions.weight"] == (256, 2 * 98)
    assert shapes["reader.body.blocks.4.values.weight"] == (256, 98 + 3 * 128 + 128 + 3 * 128)
    assert shapes["reader.head.weight"] == (2, 994 + 256)
