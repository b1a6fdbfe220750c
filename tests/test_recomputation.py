"""Inner steps computed again for the gradient give the same gradient, and keep one step's graph instead of all."""

import weakref

import pytest
import torch
from torch.nn.functional import cross_entropy
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import metarl
from metarl.adapters import GradientAdapter
from metarl.learner import Learner
from metarl.outer import GradientDescent, at_once, gradient_descent
from metarl.outer.meta_gradient import Batch, gather, meta_gradient
from metarl.problems import SupervisedProblem
from metarl.rules import UpdateRule
from metarl.supervised.networks import conv4
from metarl.tasks import Examples
from tests.rules import RULES
from tests.small import small
from tests.worlds import WORLDS, gathered, make

SUPPORT = "images, statistics of the support set"


def assert_the_same(agent, **options):
    """Assert that recomputing changes no digit but by rounding, and that there is something to compare."""
    batch = gather(agent.adapter, agent.meta, agent.source.sample(2, "train", torch.Generator()), torch.Generator())
    given = agent.adapter, agent.meta, batch.experiences, batch.query, batch.count
    loss, gradients = meta_gradient(*given, **options)
    loss_again, again = meta_gradient(*given, **options, recompute_steps=True)
    assert loss_again == loss
    assert again.keys() == gradients.keys()
    assert any(bool(value.any()) for value in gradients.values())
    for name, value in gradients.items():
        torch.testing.assert_close(again[name], value, rtol=1e-10, atol=1e-13 * max(1.0, value.norm().item()))


@pytest.mark.parametrize("first_order", [False, True])
@pytest.mark.parametrize("rule", RULES)
def test_every_rule(rule, first_order):
    assert_the_same(make(SUPPORT, rule, inner_steps=3, first_order=first_order))


@pytest.mark.parametrize("world", [world for world in WORLDS if world != SUPPORT])
def test_every_world(world):
    assert_the_same(make(world, "LSTM", inner_steps=2))


@pytest.mark.parametrize("options", [{"clip_task": 1e-3}, {"tasks_at_once": 1}, {"clip_task": 1e-3, "tasks_at_once": 1}])
def test_tasks_that_are_clipped_or_taken_in_parts(options):
    assert_the_same(make(SUPPORT, "rates by layer and step", inner_steps=3), **options)


@pytest.mark.parametrize("kind", ["MAML on batches of images", "first-order MAML", "learned optimiser", "prototypes", "MANN"])
def test_running_averages_shared_parameters_drawn_starts_and_adapters_that_take_no_steps(kind):
    assert_the_same(small(kind))


def test_no_steps():
    assert_the_same(make(SUPPORT, "gradient descent", inner_steps=0))


class Counting(UpdateRule):
    """Counts its steps in whole numbers, and goes as far as the count says."""

    def initial_state(self, theta):
        return {"count": torch.zeros((), dtype=torch.int64), "sum": torch.zeros_like(theta)}

    def forward(self, theta, gradient, loss, state, step):
        count, total = state["count"] + 1, state["sum"] + gradient
        return theta - 0.1 / count * total, {"count": count, "sum": total}


def test_a_state_may_hold_counts():
    agent = make("sine", inner_steps=3)
    agent.adapter = agent.adapter.with_rule(Counting(agent.adapter.learner.layout))
    agent.meta = {"theta": agent.meta["theta"]}
    assert_the_same(agent)


def test_runs_side_by_side():
    agents = [make(SUPPORT, "Meta-SGD", inner_steps=2, seed=seed) for seed in (0, 1)]
    adapter, metas, batches = agents[0].adapter, [agent.meta for agent in agents], list(map(gathered, agents))
    moved = []
    for recompute_steps in (False, True):
        loop = GradientDescent(1.0, optimizer="SGD", recompute_steps=recompute_steps, clip_task=0.1)
        states = [loop.init(adapter, meta, torch.Generator()) for meta in metas]
        moved.append(loop.improve_together(adapter, metas, states, batches, [torch.Generator()] * 2))
    for (plain, _), (again, _) in zip(*moved, strict=True):
        for name, value in plain.meta.items():
            torch.testing.assert_close(again.meta[name], value, rtol=1e-10, atol=1e-13)


# -- memory


class Peak(TorchDispatchMode):
    """Counts the most bytes of tensors made inside it that there were at once."""

    def __init__(self):
        super().__init__()
        self.now = self.most = 0
        self.alive = {}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(out):
            if isinstance(leaf, torch.Tensor):
                self.count(leaf.untyped_storage())
        return out

    def count(self, storage):
        key, size = storage._cdata, storage.nbytes()
        if key not in self.alive:
            self.alive[key] = weakref.ref(storage, lambda _: self.freed(key, size))
            self.now += size
            self.most = max(self.most, self.now)

    def freed(self, key, size):
        del self.alive[key]
        self.now -= size


def images(steps, first_order=False):
    """Return an adapter, its meta-parameters, and a meta-batch of two tasks of random images."""
    torch.manual_seed(0)
    network = conv4((1, 16, 16), 2, filters=4)
    learner = Learner(network)
    rule = metarl.rules.GradientDescent(learner.layout, rate=0.1)
    adapter = GradientAdapter(SupervisedProblem(cross_entropy), learner, rule, steps, first_order)
    labels = torch.arange(2).repeat(8).expand(2, -1)
    support, query = (Examples(torch.rand(2, 16, 1, 16, 16), labels) for _ in range(2))
    return adapter, adapter.initial_meta(network, rule), Batch([support] * steps, query, 2)


def peak(steps, first_order=False, **options):
    adapter, meta, batch = images(steps, first_order)
    with Peak() as found:
        meta_gradient(adapter, meta, batch.experiences, batch.query, batch.count, **options)
    return found.most


def test_the_graph_of_one_step_is_there_at_a_time():
    assert peak(9) > 3 * peak(2)  # what all the steps keep
    assert peak(9, recompute_steps=True) < 1.1 * peak(2, recompute_steps=True)
    assert peak(2, recompute_steps=True) < 1.1 * peak(1)
    assert peak(9, recompute_steps=True, tasks_at_once=1) < 0.7 * peak(9, recompute_steps=True)


def test_first_order_steps_keep_no_graph_and_are_not_computed_again(monkeypatch):
    assert peak(9, first_order=True) < 1.1 * peak(2, first_order=True)
    adapter, meta, batch = images(9, first_order=True)
    small = images(1)
    given = small[1], small[2].experiences, small[2].query, 2
    one_step = at_once._seen(small[0], *given[:3]).kept(False)
    monkeypatch.setattr(at_once, "memory_of", lambda device: one_step)
    monkeypatch.setattr(at_once, "SMALL", 0)
    assert at_once.one_task_fits(small[0], *given)
    assert at_once.one_task_fits(adapter, meta, batch.experiences, batch.query, 2)
    second = images(9)
    assert not at_once.one_task_fits(second[0], second[1], second[2].experiences, second[2].query, 2)


def test_what_passes_between_the_steps_counts():
    pieces = at_once.Bytes([3, 5, 2], passed=7)
    assert (pieces.kept(False), pieces.kept(True)) == (10, 12)
    adapter, meta, batch = images(3)
    found = at_once._seen(adapter, meta, batch.experiences, batch.query)
    theta = meta["theta"].nbytes
    assert len(found.pieces) == 1 + 3 + 1 + 1  # the beginning, the steps, the end, the loss
    assert 5 * theta <= found.passed < 5 * theta + 100


# -- which is chosen


@pytest.fixture
def chosen(monkeypatch):
    """Return what tells, of a share of the memory that one task takes, how many tasks go together and what is recomputed."""
    adapter, meta, batch = images(4)
    whole = at_once._bytes_of_one(adapter, meta, batch.experiences, batch.query).kept(False)
    monkeypatch.setattr(at_once, "SMALL", 0)
    seen = []

    def note(*given, **options):
        seen.append((given[6], given[7]))
        return meta_gradient(*given, **options)

    monkeypatch.setattr(gradient_descent, "meta_gradient", note)

    def choose(share, runs=1, **options):
        monkeypatch.setattr(at_once, "memory_of", lambda device: int(share * whole))
        loop = GradientDescent(optimizer="SGD", **options)
        state = loop.init(adapter, meta, torch.Generator())
        if runs == 1:
            loop.improve(adapter, meta, state, batch, torch.Generator())
        else:
            loop.improve_together(adapter, [meta] * runs, [state] * runs, [batch] * runs, [torch.Generator()] * runs)
        return seen[-1]

    return choose


@pytest.mark.parametrize(
    ("share", "options", "expected"),
    [
        (2, {}, (2, False)),
        (1, {}, (1, False)),
        (0.9, {}, (2, True)),  # of pieces of it there is room for two tasks
        (0.3, {}, (1, True)),
        (0.9, {"recompute_steps": False}, (1, False)),
        (2, {"recompute_steps": True}, (2, True)),
        (0.9, {"tasks_at_once": 1}, (1, True)),
        (1, {"runs": 2}, (2, True)),
        (2, {"runs": 2}, (1, False)),
    ],
)
def test_steps_are_recomputed_where_one_task_has_no_room(chosen, share, options, expected):
    assert chosen(share, **options) == expected


def test_one_task_alone_is_looked_at_too(monkeypatch):
    adapter, meta, batch = images(4)
    monkeypatch.setattr(at_once, "SMALL", 0)
    monkeypatch.setattr(at_once, "memory_of", lambda device: 1)
    assert not at_once.one_task_fits(adapter, meta, batch.experiences, batch.query, 1)
    monkeypatch.setattr(at_once, "SMALL", 2**40)
    assert at_once.one_task_fits(adapter, meta, batch.experiences, batch.query, 1)
