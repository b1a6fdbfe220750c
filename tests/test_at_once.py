"""How many tasks are differentiated together: as few parts as have room, and the same gradient to rounding."""

import pytest
import torch
from torch.nn.functional import cross_entropy

from metarl.adapters import GradientAdapter
from metarl.learner import Learner
from metarl.outer import GradientDescent, at_once
from metarl.outer.meta_gradient import Batch
from metarl.problems import SupervisedProblem
from metarl.rules import GradientDescent as Descent
from metarl.supervised.networks import conv4
from metarl.tasks import Examples

TASKS = 10


def images(side=8):
    """Return an adapter, its meta-parameters, and a meta-batch of two-way one-shot tasks of random images."""
    torch.manual_seed(0)
    network = conv4((1, side, side), 2, filters=4, pools=2).double()
    learner = Learner(network)
    rule = Descent(learner.layout, rate=0.1)
    adapter = GradientAdapter(SupervisedProblem(cross_entropy), learner, rule, steps=1)
    labels = torch.arange(2).expand(TASKS, 2)
    examples = [Examples(torch.rand(TASKS, 2, 1, side, side, dtype=torch.float64), labels) for _ in range(2)]
    return adapter, adapter.initial_meta(network, rule), Batch([examples[0]], examples[1], TASKS)


@pytest.fixture
def room(monkeypatch):
    """Return what makes a machine that has room for so many of the tasks above."""
    adapter, meta, batch = images()
    one = at_once._bytes_of_one(adapter, meta, batch.experiences, batch.query).kept(False)

    def make(tasks):
        monkeypatch.setattr(at_once, "SMALL", 0)
        monkeypatch.setattr(at_once, "memory_of", lambda device: int(tasks * one))

    return make


@pytest.mark.parametrize(("fit", "size"), [(10, 10), (9.9, 5), (5, 5), (4, 4), (3, 3), (2.5, 2), (1, 1), (0.5, 1)])
def test_parts_are_as_few_as_have_room_and_no_larger_than_need_be(room, fit, size):
    adapter, meta, batch = images()
    room(fit)
    assert at_once.fitting_tasks(adapter, meta, batch.experiences, batch.query, TASKS) == size


def test_runs_side_by_side_share_the_room(room):
    adapter, meta, batch = images()
    room(10)
    assert at_once.fitting_tasks(adapter, meta, batch.experiences, batch.query, TASKS, runs=2) == 5


def test_a_small_meta_batch_is_not_looked_at(monkeypatch):
    adapter, meta, batch = images()
    monkeypatch.setattr(at_once, "memory_of", lambda device: 1)
    assert at_once.fitting_tasks(adapter, meta, batch.experiences, batch.query, TASKS) == TASKS
    assert adapter not in at_once._SEEN


def test_larger_images_take_more_room():
    sizes = [
        at_once._bytes_of_one(adapter, meta, batch.experiences, batch.query).kept(False)
        for adapter, meta, batch in map(images, (8, 16))
    ]
    assert 2 * sizes[0] < sizes[1] < 4.5 * sizes[0]


def test_shapes_are_looked_at_once(room, monkeypatch):
    adapter, meta, small = images()
    room(10)
    at_once.fitting_tasks(adapter, meta, small.experiences, small.query, TASKS)
    _, _, large = images(side=16)
    _, of_large, _ = images(side=16)
    monkeypatch.setattr(at_once, "_bytes_of_one", lambda *given: pytest.fail("seen before"))
    assert at_once.fitting_tasks(adapter, meta, small.experiences, small.query, TASKS) == TASKS
    with pytest.raises(pytest.fail.Exception):
        at_once.fitting_tasks(adapter, of_large, large.experiences, large.query, TASKS)


@pytest.mark.parametrize("clip_task", [None, 1e-3])
def test_the_outer_loop_takes_the_parts_and_the_gradient_is_the_same(room, monkeypatch, clip_task):
    adapter, meta, batch = images()
    loop = GradientDescent(1.0, optimizer="SGD", clip_task=clip_task)
    state = loop.init(adapter, meta, torch.Generator())
    whole = loop.improve(adapter, meta, state, batch, torch.Generator())[0]
    room(3)
    sizes = []
    losses = adapter.losses
    monkeypatch.setattr(adapter, "losses", lambda *given: sizes.append(len(given[2].targets)) or losses(*given))
    parts = loop.improve(adapter, meta, state, batch, torch.Generator())[0]
    torch.testing.assert_close(parts.meta["theta"], whole.meta["theta"], rtol=1e-12, atol=1e-14)
    assert sizes[1:] == ([3, 3, 3, 1] if clip_task is None else [1, 1, 1, 1])  # the first is looked at


def test_runs_that_learn_together_take_parts_that_fit(room, monkeypatch):
    adapter, meta, batch = images()
    loop = GradientDescent(1.0, optimizer="SGD")
    state = loop.init(adapter, meta, torch.Generator())
    whole = loop.improve(adapter, meta, state, batch, torch.Generator())[0].meta["theta"]
    room(10)
    sizes = []
    losses = adapter.losses
    monkeypatch.setattr(adapter, "losses", lambda *given: sizes.append(len(given[2].targets)) or losses(*given))
    results = loop.improve_together(adapter, [meta] * 2, [state] * 2, [batch] * 2, [torch.Generator()] * 2)
    assert sizes[1:] == [5, 5]
    for outcome, _ in results:
        torch.testing.assert_close(outcome.meta["theta"], whole, rtol=1e-12, atol=1e-14)


def test_a_process_of_one_thread_has_its_share_of_the_memory(monkeypatch):
    monkeypatch.setattr(at_once, "cores", lambda: 8)
    shares = []
    for threads in (16, 8, 4, 1):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        shares.append(at_once.memory_of(torch.device("cpu")))
    assert shares[0] == shares[1]
    assert shares[1] // 2 - shares[2] in (0, 1)
    assert 0 < shares[3] < shares[2]
