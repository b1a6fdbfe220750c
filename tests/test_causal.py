"""Causal blocks: numbers worked out by hand, blindness to what comes later, and the next position as in the whole sequence."""

import math

import pytest
import torch
from torch.autograd.functional import jacobian

from metarl.adapters.memory import AttentionBlock, DenseBlock, TCBlock
from metarl.adapters.memory.causal import Chain

BLOCKS = {
    "dense, within": lambda: DenseBlock(3, 2, 4),
    "dense, beyond": lambda: DenseBlock(3, 8, 4),
    "TC": lambda: TCBlock(3, 6, 2),
    "attention": lambda: AttentionBlock(3, 5, 2),
    "all": lambda: Chain([AttentionBlock(3, 5, 2), TCBlock(5, 6, 2), AttentionBlock(11, 4, 3)]),
}


def made(name):
    torch.manual_seed(0)
    block = BLOCKS[name]().double()
    sequence = torch.randn(6, 3, dtype=torch.float64)
    return block, sequence


@pytest.mark.parametrize("name", BLOCKS)
def test_an_output_has_its_input_first_and_sees_nothing_later(name):
    block, sequence = made(name)
    outputs = block(sequence)
    assert outputs.shape == (6, block.channels)
    assert torch.equal(outputs[:, :3], sequence)
    derivative = jacobian(block, sequence)  # (position, channel, position, channel)
    for position in range(6):
        assert (derivative[position, :, position + 1 :] == 0).all()
        assert (derivative[position, 3:, position] != 0).any()


@pytest.mark.parametrize("name", BLOCKS)
@pytest.mark.parametrize("length", [1, 2, 5])
def test_the_next_position_is_as_in_the_whole_sequence(name, length):
    block, sequence = made(name)
    outputs, kept = block.read(sequence[:length])
    torch.testing.assert_close(outputs, block(sequence[:length]), rtol=0, atol=0)
    alternatives = torch.randn(4, 3, dtype=torch.float64)
    naive = torch.stack([block(torch.cat([sequence[:length], one[None]]))[-1] for one in alternatives])
    torch.testing.assert_close(block.next(alternatives, kept), naive, rtol=0, atol=1e-10)


def test_a_dense_block_by_hand():
    block = DenseBlock(1, 2, 1).double()
    with torch.no_grad():
        block.convolutions.weight.copy_(torch.tensor([[2.0, 3.0], [5.0, 7.0]]))  # before and now, to f and to g
        block.convolutions.bias.copy_(torch.tensor([0.1, -0.2]))
    outputs = block(torch.tensor([[0.1], [0.2], [-0.3]]).double())[:, 1].tolist()

    def gated(before, now):
        return math.tanh(2 * before + 3 * now + 0.1) / (1 + math.exp(-(5 * before + 7 * now - 0.2)))

    assert outputs == pytest.approx([gated(0, 0.1), gated(0, 0.2), gated(0.1, -0.3)], rel=1e-6)


def test_attention_by_hand():
    block = AttentionBlock(1, 1, 1).double()
    with torch.no_grad():
        for linear, weight in ((block.queries, 2.0), (block.keys, 3.0), (block.values, 5.0)):
            linear.weight.fill_(weight)
            linear.bias.zero_()
    first, second = 0.5, -0.25
    outputs = block(torch.tensor([[first], [second]]).double())[:, 1].tolist()
    weights = [math.exp(2 * second * 3 * one) for one in (first, second)]  # over keys, of one query
    found = sum(weight * 5 * one for weight, one in zip(weights, (first, second), strict=True)) / sum(weights)
    assert outputs == pytest.approx([5 * first, found], rel=1e-12)


def test_attention_divides_by_the_root_of_the_key_size():
    block = AttentionBlock(1, 4, 1).double()
    with torch.no_grad():
        for linear in (block.queries, block.keys):
            linear.weight.fill_(1.0)
            linear.bias.zero_()
    _, kept = block.read(torch.tensor([[1.0], [2.0]]).double())
    weights = block.attention(torch.tensor([[0.5]]).double(), kept)[0]
    expected = torch.tensor([4 * 0.5 * one / math.sqrt(4) for one in (1.0, 2.0, 0.5)]).double().softmax(0)
    torch.testing.assert_close(weights, expected)


@pytest.mark.parametrize(("length", "dilations"), [(2, [2]), (6, [2, 4, 8]), (8, [2, 4, 8]), (9, [2, 4, 8, 16])])
def test_dilations_double_up_to_the_length(length, dilations):
    block = TCBlock(3, length, 2)
    assert [one.dilation for one in block.in_order] == dilations
    assert block.channels == 3 + 2 * len(dilations)
