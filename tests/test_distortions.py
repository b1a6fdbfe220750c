"""Affine distortions: each map by hand, what is drawn, and that only training sees them."""

import math

import numpy as np
import pytest
import torch

from metarl.supervised.distortions import CHANCE, ROTATION, SCALE, SHEAR, SHIFT, affine, draw_components, matrices, transformed
from metarl.supervised.image_transforms import normalised
from tests.test_image_episodes import SPLITS, generator, make


def dot(height, width, x, y):
    """A black image, shape (1, 1, height, width), with one white pixel, x and y pixels from the centre (odd sides)."""
    image = torch.zeros(1, 1, height, width, dtype=torch.float64)
    image[0, 0, height // 2 + y, width // 2 + x] = 1
    return image


def brightest(image):
    """Where the brightest pixel lies, from the centre, as (x, y)."""
    height, width = image.shape[2:]
    row, column = divmod(int(image.argmax()), width)
    return column - width // 2, row - height // 2


def linear(a, b, c, d):
    return torch.tensor([[[a, b, 0], [c, d, 0]]], dtype=torch.float64)


@pytest.mark.parametrize(("height", "width"), [(9, 9), (9, 13), (13, 9)])
@pytest.mark.parametrize(
    ("entries", "goes"),
    [((1, 0, 0, 1), (1, 2)), ((0, -1, 1, 0), (-2, 1)), ((2, 0, 0, 1), (2, 2)), ((1, 1, 0, 1), (3, 2)), ((1, 0, 1, 1), (1, 3))],
)
def test_a_point_goes_where_the_map_takes_it_in_oblong_images_too(height, width, entries, goes):
    assert brightest(transformed(dot(height, width, 1, 2), linear(*entries))) == goes


def test_a_shift_is_of_the_images_own_sides_and_black_comes_in():
    image = torch.rand(1, 2, 4, 10, generator=generator(), dtype=torch.float64) + 1
    maps = torch.tensor([[[1, 0, 2 / 5], [0, 1, -2 / 4]]], dtype=torch.float64)  # two pixels to the right, one up
    expected = torch.zeros_like(image)
    expected[..., :3, 2:] = image[..., 1:, :8]
    torch.testing.assert_close(transformed(image, maps), expected)
    torch.testing.assert_close(transformed(image, linear(0.5, 0, 0, 0.5)).sum() * 4, image.sum())  # half as high and wide


@pytest.mark.parametrize(
    ("component", "expected"),
    [
        (0, [[math.cos(math.radians(10)), -math.sin(math.radians(10)), 0], [math.sin(math.radians(10)), 0.98480775, 0]]),
        (1, [[1, 0.3, 0], [0, 1, 0]]),
        (2, [[1, 0, 0], [0.3, 1, 0]]),
        (3, [[1.2, 0, 0], [0, 1, 0]]),
        (4, [[1, 0, 0], [0, 1.2, 0]]),
        (5, [[1, 0, 4 / 105], [0, 1, 0]]),
        (6, [[1, 0, 0], [0, 1, 4 / 105]]),
    ],
)
def test_each_component_by_hand(component, expected):
    components = torch.zeros(2, 7, dtype=torch.float64)
    components[0, component] = 1
    torch.testing.assert_close(matrices(components), torch.tensor([expected, [[1, 0, 0], [0, 1, 0]]], dtype=torch.float64))


def test_a_point_is_scaled_then_sheared_then_turned_then_shifted():
    components = torch.tensor([[1.0, 1, 0, 1, -1, 1, -1]], dtype=torch.float64)
    x, y = 1.2 * 3, 0.8 * 5
    x += SHEAR * y
    angle = math.radians(ROTATION)
    expected = [math.cos(angle) * x - math.sin(angle) * y + 2 * SHIFT, math.sin(angle) * x + math.cos(angle) * y - 2 * SHIFT]
    point = torch.tensor([3.0, 5, 1], dtype=torch.float64)
    torch.testing.assert_close(matrices(components)[0] @ point, torch.tensor(expected, dtype=torch.float64))
    assert (ROTATION, SHEAR, SCALE, CHANCE) == (10, 0.3, 0.2, 0.5)  # the paper's


def test_components_are_left_out_by_half_and_else_uniform():
    n = 20000
    drawn = draw_components(n, generator())
    assert drawn.shape == (n, 7)
    inside = drawn != 0
    assert (abs(inside.double().mean(0) - 0.5) < 5 * 0.5 / n**0.5).all()
    kept = drawn[inside]
    assert -1 <= kept.min() < -0.999
    assert 0.999 < kept.max() <= 1
    assert abs(kept.mean()) < 5 / (3 * len(kept)) ** 0.5
    assert kept.square().mean().item() == pytest.approx(1 / 3, abs=0.01)
    together = torch.corrcoef(drawn.T) - torch.eye(7)
    assert together.abs().max() < 5 / n**0.5  # each apart


def test_every_image_has_a_map_of_its_own_the_same_in_both_precisions():
    images = torch.rand(1, 1, 7, 7, generator=generator()).expand(40, -1, -1, -1)
    single, double = (affine(images.to(dtype), generator(1)) for dtype in (torch.float32, torch.float64))
    torch.testing.assert_close(single.double(), double, rtol=0, atol=1e-5)
    assert len({image.numpy().tobytes() for image in single}) > 35  # one of 128 is left as it is


@pytest.mark.parametrize("normalisation", ["none", "imagenet"])
def test_training_images_are_the_plain_ones_distorted(normalisation):
    plain, distorted = (make(normalisation=normalisation, distortions=kind) for kind in ("none", "affine"))
    source = generator(5)
    expected = plain.sample_episodes(4, "train", source, dtype=torch.float64)
    episodes = distorted.sample_episodes(4, "train", generator(5), dtype=torch.float64)
    black = torch.zeros(1, 3, 1, 1, dtype=torch.float64)
    black = normalised(black) if normalisation == "imagenet" else black
    for ours, theirs in zip(episodes[:2], expected[:2], strict=True):
        assert torch.equal(ours.targets, theirs.targets)
        moved = affine(theirs.inputs.flatten(0, 1) - black, source) + black
        torch.testing.assert_close(ours.inputs.flatten(0, 1), moved)
        assert not torch.equal(ours.inputs, theirs.inputs)
    source = generator(6)
    examples, theirs = (env.sample_examples(30, "train", of) for env, of in ((distorted, generator(6)), (plain, source)))
    assert torch.equal(examples.targets, theirs.targets)
    torch.testing.assert_close(examples.inputs, affine(theirs.inputs - black.float(), source) + black.float())


def test_nothing_else_is_distorted():
    plain, distorted = (make(ways=2, distortions=kind) for kind in ("none", "affine"))
    for split in SPLITS:
        if split != "train":
            assert torch.equal(*(env.sample_episodes(3, split, generator()).query.inputs for env in (distorted, plain)))
            assert torch.equal(*(env.sample_examples(3, split, generator()).inputs for env in (distorted, plain)))
        shown, expected = (env.reset(seed=1, options={"split": split})[0] for env in (distorted, plain))
        np.testing.assert_equal(shown, expected)
