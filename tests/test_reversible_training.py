"""A whole training run differentiated backwards: against finite differences, to the last bit, and in memory that stays small."""

import math

import numpy as np
import pytest
import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from metarl.errors import ConfigError, NonFiniteError
from metarl.outer import train_reversibly
from metarl.outer.exact_arithmetic import DENOMINATOR, InformationBuffer, numerator, to_fixed, to_float
from metarl.outer.reversible_training import _Training

STEPS, SIZE = 1000, 5
GROUPS = torch.tensor([0, 0, 0, 1, 1])
DRAWN = torch.Generator().manual_seed(0)


def drawn(*shape, low=0.0, high=1.0):
    return low + (high - low) * torch.rand(*shape, generator=DRAWN, dtype=torch.float64)


ROWS, TARGETS, TEST_ROWS, TEST_TARGETS = (drawn(*shape, low=-2, high=2) for shape in ((8, SIZE), (8,), (8, SIZE), (8,)))


def training_loss(theta, step, penalties):
    """On half of the examples in turn, with a penalty for each group."""
    rows = slice(0, 4) if step % 2 else slice(4, 8)
    error = ((ROWS[rows] @ theta).tanh() - TARGETS[rows]).square().mean()
    return error + 0.5 * (penalties[GROUPS] * theta.square()).sum()


def validation_loss(theta):
    return ((TEST_ROWS @ theta).tanh() - TEST_TARGETS).square().mean()


def arguments(steps=STEPS):
    """Return where a run begins, its rates, momentum and penalties."""
    momentum = (drawn(steps, low=0.5, high=0.95) * DENOMINATOR).round() / DENOMINATOR
    return drawn(SIZE, low=-1), drawn(steps, 2, low=0.01, high=0.03), momentum, drawn(2, high=0.05)


def by_hand(theta, rates, momentum, penalties):
    """Return the validation loss after the run in floating point, its gradients written down."""
    rows, targets, groups = ROWS.numpy(), TARGETS.numpy(), GROUPS.numpy()
    velocity = np.zeros(SIZE)
    for step in range(len(rates)):
        part = slice(0, 4) if step % 2 else slice(4, 8)
        outputs = np.tanh(rows[part] @ theta)
        slope = rows[part].T @ ((outputs - targets[part]) * (1 - outputs**2)) / 2 + penalties[groups] * theta
        velocity = momentum[step] * velocity - (1 - momentum[step]) * slope
        theta = theta + rates[step][groups] * velocity
    return validation_loss(torch.tensor(theta)).item()


def test_the_gradient_through_a_thousand_steps_is_the_finite_difference():
    point = arguments()
    inputs = [value.clone().requires_grad_() for value in point]
    loss = validation_loss(train_reversibly(training_loss, *inputs, groups=GROUPS))
    assert loss.item() == pytest.approx(by_hand(*(value.numpy() for value in point)), abs=1e-10)
    gradients = torch.autograd.grad(loss, inputs)
    for number, gradient in enumerate(gradients):
        direction = drawn(*gradient.shape, low=-1) * gradient.abs().sqrt()  # towards what has an effect
        ends = []
        for sign in (1, -1):
            moved = [value.numpy() for value in point]
            moved[number] = moved[number] + sign * 1e-5 * direction.numpy()
            ends.append(by_hand(*moved))
        assert (gradient * direction).sum().item() == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-5), number
        assert gradient.abs().max() > 1e-4


def test_two_steps_by_hand():
    # the loss theta^2 / 2 has the slope theta; rates 1/2 and 1/4, momenta 1/2 and 3/4, from 1: v is -1/2, then -9/16
    theta, rates, momentum = (
        torch.tensor(values, dtype=torch.float64, requires_grad=True) for values in ([1.0], [0.5, 0.25], [0.5, 0.75])
    )
    trained = train_reversibly(lambda theta, step: 0.5 * theta.square().sum(), theta, rates, momentum)
    assert trained.item() == 1 - 0.25 - 9 / 64
    by_theta, by_rates, by_momentum = torch.autograd.grad(trained.sum(), (theta, rates, momentum))
    # d theta_2 = d theta_1 + d alpha_2 v_2 + alpha_2 (d gamma_2 (v_1 + theta_1) + gamma_2 d v_1 - d theta_1 / 4)
    assert by_rates.tolist() == [-0.5 * (1 - 1 / 16), -9 / 16]
    assert by_momentum.tolist() == [0.5 * 15 / 16 + 0.25 * 0.75, 0.25 * (-0.5 + 0.75)]
    assert by_theta.item() == pytest.approx(0.75 * 15 / 16 - 0.25 * 0.75 * 0.5)


# -- to the last bit


def test_what_a_momentum_takes_comes_back_to_the_last_bit():
    values, buffer = to_fixed(drawn(50, low=-100, high=100)), InformationBuffer(torch.zeros(50))
    numerators = [numerator(float(fraction)) for fraction in drawn(600, low=0.05)] + [DENOMINATOR, 1]
    path = [values]
    for n in numerators:
        values = buffer.shrink(values, n) + 12345678901234567  # what is added must not matter
        path.append(values)
    assert buffer.nbytes > 50 * 8
    half = buffer.copy()
    for held in (buffer, half):  # a copy goes the same way
        values = path[-1]
        for n, before in zip(reversed(numerators), reversed(path[:-1]), strict=True):
            values = held.grow(values - 12345678901234567, n)
            assert torch.equal(values, before)
        assert held.nbytes == 50 * 8
        assert not held._word.any()


def test_a_product_is_right_to_a_few_units():
    values, buffer = to_fixed(drawn(50, low=-100, high=100)), InformationBuffer(torch.zeros(50))
    difference = to_float(buffer.shrink(values, numerator(0.7))) - numerator(0.7) / DENOMINATOR * to_float(values)
    assert difference.abs().max() <= 2 * DENOMINATOR * 2.0**-48


def test_the_run_comes_back_to_its_beginning(monkeypatch):
    ends = []
    monkeypatch.setattr("metarl.outer.reversible_training._require_return", lambda *end: ends.append(end))
    theta, rates, momentum, penalties = arguments(300)
    validation_loss(
        train_reversibly(training_loss, theta.requires_grad_(), rates, momentum, penalties, groups=GROUPS)
    ).backward()
    ((position, velocity, began),) = ends
    assert torch.equal(position, to_fixed(began))
    assert torch.equal(position, to_fixed(theta))
    assert velocity.tolist() == [0] * SIZE


def test_a_loss_that_does_not_repeat_itself_is_named():
    theta, rates, momentum, _ = arguments(20)
    trained = train_reversibly(
        lambda theta, step: (theta * torch.rand(SIZE)).square().sum(), theta.requires_grad_(), rates, momentum, groups=GROUPS
    )
    with pytest.raises(ConfigError, match="loss gave other numbers when the training ran backwards"):
        trained.sum().backward()


# -- memory


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of tensors that were made inside it and are still there, those in graphs of autograd included."""

    def __init__(self):
        super().__init__()
        self.peak, self._there = 0, {}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, torch.Tensor):
                storage = leaf.untyped_storage()
                self._there[storage._cdata] = StorageWeakRef(storage), storage.nbytes()
        if self._sum() > self.peak:  # what is gone is looked for only where it matters
            self._there = {key: kept for key, kept in self._there.items() if not kept[0].expired()}
            self.peak = max(self.peak, self._sum())
        return result

    def _sum(self):
        return sum(size for _, size in self._there.values())


def peak(steps, train, size=200):
    """Return the most bytes that were there at once in a run and its derivative by where it begins."""
    theta, rates, momentum = torch.ones(size, requires_grad=True), torch.full((steps,), 0.1), torch.full((steps,), 0.9)
    with LiveBytes() as live:
        train(lambda theta, step: theta.cos().sum(), theta, rates, momentum).sum().backward()
    return live.peak


def remembered(loss, theta, rates, momentum):
    velocity = torch.zeros_like(theta)
    for step in range(len(rates)):
        (slope,) = torch.autograd.grad(loss(theta, step), theta, create_graph=True)
        velocity = momentum[step] * velocity - (1 - momentum[step]) * slope
        theta = theta + rates[step] * velocity
    return theta


def test_memory_grows_by_the_bits_that_momentum_loses_alone():
    words = math.ceil(450 * math.log2(1 / 0.9) / 45)  # of 64 bits, 45 of them used
    schedules = 450 * 4 * 3 + 450 * 8 * 2  # rates, momentum, and the gradients by them
    assert words == 2
    assert 0 < peak(500, train_reversibly) - peak(50, train_reversibly) <= words * 200 * 8 + schedules
    # the counter would have seen it: a run that is remembered keeps a vector a step at least
    assert peak(60, remembered) - peak(30, remembered) > 30 * 200 * 4


@pytest.mark.parametrize("momentum", [0.5, 0.9, 0.99])
def test_the_buffer_takes_the_bits_that_are_lost_and_a_half_more(momentum):
    buffer, values = InformationBuffer(torch.zeros(10)), to_fixed(drawn(10))
    for _ in range(2000):
        values = buffer.shrink(values, numerator(momentum))
    lost, bits = 2000 * math.log2(1 / momentum), 8 * buffer.nbytes / 10
    assert lost <= bits <= 1.5 * lost + 64


# -- what it can be asked for


def test_a_run_may_be_differentiated_twice_in_turn_and_not_through_its_gradient():
    theta, rates, momentum, penalties = (value.requires_grad_() for value in arguments(30))
    trained = train_reversibly(training_loss, theta, rates, momentum, penalties, groups=GROUPS)
    first, again = (torch.autograd.grad(trained.sum(), rates, retain_graph=True)[0] for _ in range(2))
    assert torch.equal(first, again)
    (gradient,) = torch.autograd.grad(trained.sum(), theta, create_graph=True)
    with pytest.raises(RuntimeError, match="does not require grad"):
        gradient.sum().backward()


def test_one_rate_for_all_single_precision_and_losses_that_do_not_see_everything():
    theta, rates = torch.zeros(2, requires_grad=True), torch.full((40,), 0.5, requires_grad=True)
    idle = torch.ones(1, requires_grad=True)
    trained = train_reversibly(lambda theta, step, idle: theta[0] + 0 * idle.sum(), theta, rates, torch.full((40,), 0.5), idle)
    assert trained.dtype == torch.float32
    assert trained[1].item() == 0
    trained.sum().backward()
    assert theta.grad.tolist() == [1, 1]  # a constant slope: where it began is where it ends, moved
    assert idle.grad.tolist() == [0]
    assert (rates.grad < 0).all()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (
            {"momentum": torch.full((9,), 0.5)},
            r"shapes do not fit: theta \(5,\), rates \(10, 2\), momentum \(9,\), groups \(5,\)",
        ),
        ({"theta": torch.zeros(5, 1)}, "shapes do not fit"),
        ({"groups": None}, r"groups None; give theta \(P,\)"),
        ({"groups": GROUPS[:3]}, "shapes do not fit"),
        ({"momentum": torch.zeros(10)}, r"momentum=0\.0 must lie in \[1\.5e-05, 1\]: with none a step cannot be taken back"),
        ({"momentum": torch.full((10,), 1.5)}, r"momentum=1\.5 must lie in"),
        ({"momentum": torch.full((10,), torch.nan)}, "momentum=nan must lie in"),
    ],
)
def test_what_does_not_fit_is_named(changes, says):
    given = dict(zip(("theta", "rates", "momentum", "penalties"), arguments(10), strict=True)) | {"groups": GROUPS} | changes
    values = [given[name] for name in ("theta", "rates", "momentum", "penalties")]
    with pytest.raises(ConfigError, match=says):
        train_reversibly(training_loss, *values, groups=given["groups"])


@pytest.mark.parametrize("rate", [1e9, torch.inf])
def test_a_run_that_goes_too_far_is_refused(rate):
    with pytest.raises(NonFiniteError, match="step 0: a gradient or parameter is not finite or above 8192: use smaller rates"):
        train_reversibly(lambda theta, step: theta.square().sum(), torch.ones(2), torch.full((3,), rate), torch.full((3,), 0.5))


def test_it_is_one_operation():
    assert train_reversibly(training_loss, *(v.requires_grad_() for v in arguments(2)), groups=GROUPS).grad_fn.name() == (
        _Training.__name__ + "Backward"
    )
