"""Memory readers: LRUA by hand, what no output may know, meta-gradients, and accuracy by instance."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import metarl
from metarl.adapters import LSTMReader, MANNReader, ReadingAdapter, Support
from metarl.adapters.memory.lrua import EMPTY, MANNCore, MemoryState, cosines
from metarl.errors import ConfigError
from metarl.evaluation import Evaluation, by_instance
from metarl.learner import Learner
from metarl.problems import SupervisedProblem
from tests.test_adapters import assert_finite_differences, classification, network
from tests.worlds import images

READERS = {
    "LSTM": lambda **o: LSTMReader(4, 3, hidden=5, **o),
    "MANN": lambda **o: MANNReader(4, 3, hidden=5, slots=8, width=3, reads=2, **o),
    "MANN that sharpens": lambda **o: MANNReader(4, 3, hidden=5, slots=8, width=3, reads=2, sharpen=True, **o),
}
"""Of embeddings of four entries and of three classes."""
every_reader = pytest.mark.parametrize("kind", READERS)


def made(kind, **options):
    torch.manual_seed(0)
    reader = READERS[kind](**options).double()
    with torch.no_grad():
        for value in reader.parameters():
            value.mul_(2)  # farther from where all is linear
    return reader


def sequence(examples=6, seed=0):
    """Embedded examples with soft labels, of which derivatives can be taken, and four embedded queries."""
    generator = torch.Generator().manual_seed(seed)
    inputs, queries = (torch.randn(n, 4, generator=generator, dtype=torch.float64) for n in (examples, 4))
    columns = torch.rand(examples, 3, generator=generator, dtype=torch.float64)
    return inputs, columns, queries


def support(inputs, columns):
    return Support(inputs, columns, columns.argmax(1))


# -- what an output knows


@every_reader
def test_no_output_knows_its_own_label_or_what_comes_later(kind):
    reader = made(kind)
    inputs, columns, _ = sequence()
    by_input, by_label = torch.autograd.functional.jacobian(
        lambda inputs, columns: reader.on_the_way(reader.read(support(inputs, columns))), (inputs, columns)
    )
    for t in range(6):
        assert not by_label[t, :, t:].any()
        assert not by_input[t, :, t + 1 :].any()
        assert by_input[t, :, t].abs().min() > 0
        if t:
            assert by_label[t, :, t - 1].abs().min() > 0
            assert (by_label[t, :, :t].abs().amax((0, 2)) > 0).all()  # nor is anything before forgotten altogether


@every_reader
def test_a_query_sees_the_whole_support_set_and_no_other_query(kind):
    reader = made(kind)
    by_query, by_input, by_label = torch.autograd.functional.jacobian(
        lambda queries, inputs, columns: reader.answer(queries, reader.read(support(inputs, columns))),
        (sequence()[2], *sequence()[:2]),
    )
    for query in range(4):
        assert by_query[query, :, query].abs().min() > 0
        assert not by_query[query, :, torch.arange(4) != query].any()
    assert (by_input.abs().amax((0, 1, 3)) > 0).all()
    assert (by_label.abs().amax((0, 1, 3)) > 0).all()


@every_reader
def test_a_query_is_answered_as_a_further_example_is_predicted(kind):
    reader = made(kind)
    inputs, columns, queries = sequence()
    answers = reader.answer(queries, reader.read(support(inputs, columns)))
    for query, answer in zip(queries, answers, strict=True):
        longer = reader.read(support(torch.cat([inputs, query[None]]), torch.cat([columns, columns[:1]])))
        torch.testing.assert_close(longer.outputs[-1], answer)


@every_reader
def test_the_order_of_the_support_set_matters(kind):
    reader = made(kind)
    inputs, columns, queries = sequence()
    forwards, backwards = (
        reader.answer(queries, reader.read(support(inputs[order], columns[order])))
        for order in (torch.arange(6), torch.arange(6).flip(0))
    )
    assert (forwards - backwards).abs().min() > 1e-6


# -- meta-gradients and losses


@every_reader
@pytest.mark.parametrize("statistics", ["batch", "support"])
def test_a_memory_reader_s_meta_gradient_is_the_difference(kind, statistics):
    reader, module = made(kind), network(4)
    adapter = ReadingAdapter(classification(), Learner(module, batch_norm=statistics), reader)
    gradients = assert_finite_differences(adapter, adapter.initial_meta(module, reader))
    assert all(gradient.any() for gradient in gradients.values())


@every_reader
def test_the_loss_is_of_the_whole_sequence_or_of_the_queries(kind):
    inputs, columns, queries = sequence()
    targets = torch.tensor([0, 2, 1, 1])
    kept = made(kind).read(support(inputs, columns))
    answers = made(kind).answer(queries, kept)
    alone = made(kind, loss_on="queries").loss(queries, kept, targets, functional.cross_entropy)
    torch.testing.assert_close(alone, functional.cross_entropy(answers, targets))
    on_the_way = functional.cross_entropy(kept.outputs, columns.argmax(1))
    whole = made(kind).loss(queries, kept, targets, functional.cross_entropy)
    torch.testing.assert_close(whole, (6 * on_the_way + 4 * alone) / 10)


def test_values_are_read_too():
    torch.manual_seed(0)
    module, reader = nn.Linear(1, 4).double(), MANNReader(4, 1, hidden=5, slots=8, width=3, reads=1).double()
    adapter = ReadingAdapter(SupervisedProblem(functional.mse_loss), Learner(module), reader)
    meta = adapter.initial_meta(module, reader)
    inputs, targets = torch.randn(2, 2, 5, 1, dtype=torch.float64)
    episodes = metarl.tasks.Episodes(*[metarl.tasks.Examples(inputs, targets)] * 2)
    adapted = adapter.adapt(meta, episodes, torch.Generator()).adapted[-1]
    embedded = module(inputs[1])
    kept = reader.read(Support(embedded, targets[1], targets[1]))
    torch.testing.assert_close(adapter.apply(meta, adapter.row(adapted, 1), inputs[1])[0], reader.answer(embedded, kept))
    whole = torch.cat([kept.outputs, reader.answer(embedded, kept)])
    loss = functional.mse_loss(whole, targets[1].repeat(2, 1))
    torch.testing.assert_close(adapter.losses(meta, adapted, episodes.query)[1], loss)


# -- the cores


def test_the_cell_is_pytorch_s():
    core, theirs = LSTMReader(4, 3, hidden=5).double().core, nn.LSTMCell(7, 5).double()
    order = torch.cat([torch.arange(0, 10), torch.arange(15, 20), torch.arange(10, 15)])  # theirs: i, f, g, o
    with torch.no_grad():
        core.input_weights.copy_(theirs.weight_ih[order])
        core.hidden_weights.copy_(theirs.weight_hh[order])
        core.bias.copy_((theirs.bias_ih + theirs.bias_hh)[order])
    state = other = core.initial_state()
    for inputs in torch.randn(4, 7, dtype=torch.float64):
        output, state = core(inputs, state)
        other = theirs(inputs, other)
        torch.testing.assert_close(state, other)
        assert output is state[0]


@pytest.mark.parametrize("kind", ["LSTM", "MANN"])
def test_a_core_steps_any_leading_axes(kind):
    core = made(kind).core
    inputs = torch.randn(2, 3, 7, dtype=torch.float64)
    state = core.initial_state()
    expanded = torch.utils._pytree.tree_map(lambda one: one.expand(2, 3, *one.shape), state)
    once, after = core(inputs, expanded)
    twice, _ = core(inputs, after)
    for row in np.ndindex(2, 3):
        alone, kept = core(inputs[row], state)
        torch.testing.assert_close(once[row], alone)
        torch.testing.assert_close(twice[row], core(inputs[row], kept)[0])


def test_without_reads_a_mann_is_the_lstm():
    mann, lstm = made("MANN"), made("LSTM")
    with torch.no_grad():
        controller = mann.core.controller
        controller.hidden_weights[:, 5:] = 0
        mann.head.weight[:, 5:] = 0
        for name in ("input_weights", "bias"):
            getattr(lstm.core, name).copy_(getattr(controller, name))
        lstm.core.hidden_weights.copy_(controller.hidden_weights[:, :5])
        lstm.head.weight.copy_(mann.head.weight[:, :5])
        lstm.head.bias.copy_(mann.head.bias)
    inputs, columns, queries = sequence()
    (with_memory, theirs), (without, ours) = (
        (kept := reader.read(support(inputs, columns)), reader.answer(queries, kept)) for reader in (mann, lstm)
    )
    torch.testing.assert_close(with_memory.outputs, without.outputs)
    torch.testing.assert_close(theirs, ours)


# -- least recently used access


def tiny(keys, additions, gates, strengths=None, slots=3, decay=0.5):
    """A memory of rows of two whose heads say the same at every step."""
    reads = len(gates)
    core = MANNCore(1, 1, slots, 2, reads, decay, sharpen=strengths is not None).double()
    with torch.no_grad():
        core.heads.weight.zero_()
        said = [*np.arctanh(keys).flatten(), *np.arctanh(additions).flatten(), *gates, *(strengths or ())]
        core.heads.bias.copy_(torch.tensor(said))
    return core


def stepped(core, memory, read_weights, usage):
    first = core.initial_state()
    values = [torch.tensor(value, dtype=torch.float64) for value in (memory, read_weights, usage)]
    state = first._replace(memory=values[0], read_weights=values[1], usage=values[2])
    with torch.no_grad():
        output, after = core(torch.ones(1, dtype=torch.float64), state)
    torch.testing.assert_close(output, torch.cat([after.hidden, after.read]))
    return after


def softmax(*values):
    return [math.exp(value) / sum(math.exp(other) for other in values) for value in values]


def test_a_step_of_least_recently_used_access_by_hand():
    core = tiny(keys=[[0.5, 0.0]], additions=[[0.0, 0.5]], gates=[math.log(3)])  # a gate of 3/4
    after = stepped(core, [[0.6, 0.8], [9.0, 9.0], [0.0, -0.5]], [[0.0, 0.0, 1.0]], [0.7, 0.1, 0.2])
    # the second row was used least: erased, then written with a quarter; the third, read last, with three
    torch.testing.assert_close(after.memory.tolist(), [[0.6, 0.8], [0.0, 0.125], [0.0, -0.125]])
    weights = softmax(0.6, 0.0, 0.0)
    np.testing.assert_allclose(after.read_weights[0], weights, rtol=1e-9)
    np.testing.assert_allclose(after.read, [0.6 * weights[0], 0.8 * weights[0]], rtol=1e-9)
    expected = [0.35 + weights[0], 0.05 + weights[1] + 0.25, 0.1 + weights[2] + 0.75]
    np.testing.assert_allclose(after.usage, expected, rtol=1e-9)


def test_every_head_has_a_least_used_row_and_only_the_first_is_erased():
    core = tiny(keys=[[0.5, 0.0], [0.0, 0.5]], additions=[[0.5, 0.0], [0.0, 0.25]], gates=[-100.0, -100.0], slots=4)
    memory = [[0.1, 0.1], [0.2, 0.2], [0.3, 0.3], [0.4, 0.4]]
    after = stepped(core, memory, [[1.0, 0, 0, 0], [1.0, 0, 0, 0]], [0.9, 0.3, 0.8, 0.2])
    np.testing.assert_allclose(after.memory, [[0.1, 0.1], [0.2, 0.45], [0.3, 0.3], [0.5, 0.0]], rtol=1e-9)
    np.testing.assert_allclose(after.read.view(2, 2), after.read_weights @ after.memory)


def test_a_strength_sharpens_reads():
    core = tiny(keys=[[0.5, 0.0]], additions=[[0.0, 0.5]], gates=[-100.0], strengths=[math.log(math.e**2 - 1)])  # softplus: 2
    after = stepped(core, [[0.6, 0.8], [9.0, 9.0], [0.0, -0.5]], [[0.0, 0.0, 1.0]], [0.7, 0.1, 0.2])
    np.testing.assert_allclose(after.read_weights[0], softmax(3 * 0.6, 0.0, 0.0), rtol=1e-9)


def test_a_memory_begins_empty_with_its_first_row_in_use():
    state: MemoryState = made("MANN").core.initial_state()
    assert (state.memory == EMPTY).all()
    assert state.memory.shape == (8, 3)
    assert state.read_weights.tolist() == [[1, *[0] * 7]] * 2
    assert state.usage.tolist() == [1, *[0] * 7]
    assert not state.read.any()


def test_rows_are_filled_before_any_is_written_again():
    core = tiny(keys=[[0.5, 0.0]], additions=[[0.0, 0.5]], gates=[-100.0], slots=5, decay=0.99)
    state, written = core.initial_state(), []
    for _ in range(5):
        _, after = core(torch.ones(1, dtype=torch.float64), state)
        written.append((after.memory - state.memory).abs().sum(1).argmax().item())
        state = after
    assert written == [1, 2, 3, 4, 0]


def test_usage_is_no_way_for_gradients():
    core = made("MANN").core
    usage = core.initial_state().usage.requires_grad_()
    (derivative,) = torch.autograd.grad(
        core(torch.ones(7, dtype=torch.float64), core.initial_state()._replace(usage=usage))[0].sum(), usage, allow_unused=True
    )
    assert derivative is None or not derivative.any()
    assert not core(torch.ones(7, dtype=torch.float64), core.initial_state())[1].usage.requires_grad


def test_cosines_of_rows_of_zeros_have_derivatives():
    memory = torch.tensor([[3.0, 4.0], [0.0, 0.0]], dtype=torch.float64, requires_grad=True)
    similarity = cosines(torch.tensor([[1.0, 0.0]], dtype=torch.float64), memory)
    np.testing.assert_allclose(similarity.detach(), [[0.6, 0]], atol=1e-9)
    similarity.sum().backward()
    assert memory.grad.isfinite().all()


def test_from_an_associative_start_a_query_reads_the_label_of_its_like():
    torch.manual_seed(0)
    reader = MANNReader(8, 3, hidden=40, slots=32, reads=2, sharpen=True, start="associative").double()
    columns = torch.eye(3, dtype=torch.float64)[torch.tensor([0, 2, 1, 2, 0, 1, 0, 2])]
    inputs = 3 * torch.eye(8, dtype=torch.float64)

    def reads(columns):
        """What every input reads as a query, but for what it reads before any label is told."""
        kept = reader.read(support(inputs, columns))
        state = torch.utils._pytree.tree_map(lambda one: one.expand(8, *one.shape), kept.state)
        return reader.core(torch.cat([inputs, columns[-1:].expand(8, -1)], 1), state)[0][:, 40:]

    with torch.no_grad():
        told = reads(columns) - reads(torch.zeros_like(columns))
        one_label = [reads(columns[i : i + 1].expand(8, -1)) - reads(torch.zeros_like(columns)) for i in (0, 2, 1)]
        alike = torch.stack([functional.cosine_similarity(told, other) for other in one_label], 1)
    assert torch.equal(alike.argmax(1), columns.argmax(1))


# -- agents


def agent(cls=metarl.MANN, **options):
    options = {"policy_kwargs": {"hidden": (4,)}, "dtype": "float64", "device": "cpu", "hidden": 5, **options}
    if issubclass(cls, metarl.MANN):
        options = {"slots": 32, "width": 3, "reads": 2, **options}
    return cls("MLP", options.pop("env", "tests/Images-v0"), **options)


def test_values_by_instance():
    values = torch.tensor([[1.0, 0, 1, 0, 1, 1], [0, 1, 1, 1, 0, 0]])
    targets = torch.tensor([[0, 1, 0, 1, 1, 0], [1, 1, 0, 0, 0, 1]])
    assert by_instance(values, targets).tolist() == [[0.5, 0.5, 1], [0.5, 1, 0]]


@pytest.mark.parametrize("cls", [metarl.MANN, metarl.LSTM])
def test_accuracy_by_instance_of_one_that_says_the_label_before(cls):
    it = agent(cls, outer=metarl.GradientDescent(1e-3))
    for value in it.meta.values():
        value.zero_()
    core, width = it.adapter.reader.core, it.meta["reader.head.weight"].shape[1]
    controller = "reader.core.controller" if cls is metarl.MANN else "reader.core"
    # the first two units take the two labels as they are, and the head shows them
    for label in range(2):
        it.meta[f"{controller}.input_weights"][15 + label, -2 + label] = 9
        it.meta["reader.head.weight"][label, label] = 1
    it.meta[f"{controller}.bias"][:5] = it.meta[f"{controller}.bias"][10:15] = 9
    it.meta[f"{controller}.bias"][5:10] = -99  # and nothing is remembered
    assert width == core.outputs
    evaluation = it.accuracy_by_instance(40, 3, seed=5)
    assert (evaluation.metric, evaluation.steps, evaluation.stage) == ("accuracy", (1, 2, 3), "instance")
    assert evaluation.values.shape == (40, 3)
    assert "at instance 2: " in str(evaluation)
    assert "at instance 3: " in str(evaluation)
    source = it.source.elsewhere(images(shots=3, queries=1), False)
    drawn = torch.cat(
        [
            batch.support.targets
            for batch in source.batches(40, "test", metarl.streams.stream(5, "evaluation tasks", it.device), 1, 40)
        ]
    )
    said = torch.cat([torch.zeros_like(drawn[:, :1]), drawn[:, :-1]], 1)  # at first nothing: class 0 is as good as any
    np.testing.assert_allclose(evaluation.values, by_instance((said == drawn).double(), drawn))
    again = it.accuracy_by_instance(40, 3, seed=5)
    np.testing.assert_array_equal(evaluation.values, again.values)


def test_pictures_show_reads_and_accuracy_by_instance():
    from metarl.agents.pictures import memory
    from metarl.agents.pictures.unseen import PICTURE_SEED, adapt_to_unseen

    it = agent()
    pictures = it.pictures()
    assert {"memory", "instances"} <= set(pictures)
    for figure in pictures.values():
        figure.canvas.draw()
    unseen = adapt_to_unseen(it)
    for task, ax in enumerate(pictures["memory"].axes[: memory.EPISODES]):
        shown = np.asarray(ax.images[0].get_array())
        np.testing.assert_allclose(shown.sum(0), 1)  # over the slots
        kept, _ = it.adapter.row(unseen.adaptation.adapted[-1], task)
        np.testing.assert_allclose(shown[:, -1], kept.state.read_weights.mean(0))
        marks = ax.collections[0]
        assert len(marks.get_offsets()) == 4
        classes = unseen.tasks.support.targets[task]
        assert len({tuple(colour) for colour in marks.get_facecolors()}) == len(classes.unique())
    line = pictures["instances"].axes[0].containers[0].lines[0]
    evaluation = it.accuracy_by_instance(memory.TASKS, 2, seed=PICTURE_SEED)
    np.testing.assert_allclose(line.get_ydata(), evaluation.mean)
    assert list(line.get_xdata()) == [1, 2]
    assert set(agent(metarl.LSTM).pictures()) == {"episode", "instances"}
    assert "memory" in agent(env="metarl/Sine-v0").pictures()


@pytest.mark.parametrize("cls", [metarl.MANN, metarl.LSTM])
def test_values_are_learned_from_their_predecessors(cls):
    it = agent(cls, env="metarl/Sine-v0")
    assert it.learn(1).evaluate(3).values.shape == (3, 1)
    with pytest.raises(
        ConfigError, match=r"accuracy_by_instance\(\) is of classes, and env=metarl/Sine-v0 has none: evaluate\(\)"
    ):
        it.accuracy_by_instance(3)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"slots": 4, "reads": 1}, "slots=4 hold no 4 support examples and a query: give at least 5, or fewer shots"),
        ({"slots": 2, "reads": 3}, "slots=2 are fewer than the reads=3"),
        ({"decay": 1.5}, r"decay=1\.5 must lie in \[0, 1\]"),
        ({"start": "asociative"}, "start='asociative' is not known: did you mean 'associative'"),
        ({"start": "associative", "reads": 1}, "start='associative' needs two heads and two units, not reads=1 and hidden=5"),
        ({"width": 0}, "width=0 must be above zero"),
        ({"slots": 8.0}, r"slots=8\.0 must be a whole number, such as 8"),
        ({"hidden": 0}, "hidden=0 must be above zero"),
        ({"loss_on": "query"}, "loss_on='query' is not known: did you mean 'queries'"),
        ({"env_kwargs": {"train_ways": 3}}, "train_ways=3 differs from ways=2"),
    ],
)
def test_bad_options_are_named(options, says):
    with pytest.raises(ConfigError, match=says):
        agent(**options)


@pytest.mark.parametrize("env_kwargs", [{"shots": 1, "train_shots": (1, 3)}, {"shots": 3, "train_shots": 1}])
def test_the_longest_support_set_of_training_and_testing_is_tried_when_an_agent_is_made(env_kwargs):
    assert agent(slots=7, env_kwargs=env_kwargs).evaluate(2, env_kwargs={"shots": 3}).values.shape == (2, 1)
    with pytest.raises(ConfigError, match="slots=6 hold no 6 support examples and a query: give at least 7, or fewer shots"):
        agent(slots=6, env_kwargs=env_kwargs)
    with pytest.raises(ConfigError, match="length=6 holds 5 support examples and a query, but the support set has 6"):
        metarl.SNAIL("MLP", "tests/Images-v0", length=6, env_kwargs=env_kwargs, device="cpu")
    source = agent(slots=7, env_kwargs=env_kwargs).source
    support = source.longest_example(torch.Generator()).support
    assert support.inputs.shape[:2] == support.targets.shape == (1, 6)


def test_more_than_a_memory_holds_is_said_in_evaluations():
    it = agent(slots=5)
    for measure in (lambda: it.evaluate(2, env_kwargs={"shots": 3}), lambda: it.accuracy_by_instance(2, 3)):
        with pytest.raises(ConfigError, match="slots=5 hold no 6 support examples and a query: give at least 7"):
            measure()
    with pytest.raises(ConfigError, match="this agent was made for"):
        it.evaluate(2, env_kwargs={"ways": 1})
    with pytest.raises(ConfigError, match="steps=1: MANNReader takes no inner steps"):
        it.evaluate(2, 1)
    observation, _ = it.env.reset(seed=0)
    with pytest.raises(ConfigError, match="ways=3 differ from the 2 that MANNReader was made for"):
        it.adapt({**observation, "support_targets": np.array([0, 1, 2, 2])})
    with pytest.raises(ConfigError, match="instances=0 must be above zero"):
        it.accuracy_by_instance(2, 0)


def test_an_evaluation_by_instance_says_so():
    lines = str(Evaluation("accuracy", np.array([[0.25, 0.75]] * 2), (1, 2), None, "instance")).splitlines()
    assert lines[1:] == [
        "  at instance 1:     0.250 +- 0.000, median 0.250",
        "  at instance 2:     0.750 +- 0.000, median 0.750",
    ]
