"""Unlabelled images, distractor classes and label splits of image episodes; every image says in its pixels which one it is."""

import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env

from metarl.errors import ConfigError, TaskError
from metarl.supervised.labels import split_labels
from tests.test_image_episodes import COUNTS, IMAGES, ROTATIONS, generator, make, told

MANY = [10] * 12
LABELLED = {"counts": MANY, "splits": {"train": range(8), "test": range(8, 12)}, "ways": 2, "shots": 1, "queries": 1}


def shown(env, episodes):
    """The classes and the numbers of support, query and unlabelled images of drawn episodes."""
    return [told(inputs) for inputs in (episodes.support.inputs, episodes.query.inputs, episodes.unlabelled[0])]


def before(env, tasks, source):
    """Episodes as they were drawn before there were unlabelled images, written out once more."""
    classes, rotations = tasks.long().chunk(2, dim=1)
    counts = torch.tensor(COUNTS)
    noise = torch.rand(*classes.shape, max(COUNTS), generator=source)
    noise.masked_fill_(torch.arange(max(COUNTS)) >= counts[classes][..., None], -1.0)
    chosen = noise.topk(env.shots + env.queries).indices
    rows = (counts.cumsum(0) - counts)[classes][..., None] + chosen
    parts = []
    for by_class in rows.split([env.shots, env.queries], 2):
        order = torch.rand(len(tasks), by_class[0].numel(), generator=source).argsort(1)
        turns = rotations.repeat_interleave(by_class.shape[2], 1).gather(1, order)
        flat = by_class.flatten(1).gather(1, order)
        images = [IMAGES.images[r].rot90(k, (1, 2)) for r, k in zip(flat.flatten(), turns.flatten().tolist(), strict=True)]
        parts.append((torch.stack(images).view(*flat.shape, 3, 6, 6) / 255, order // by_class.shape[2]))
    return parts


@pytest.mark.parametrize("rotations", ROTATIONS)
def test_without_the_options_nothing_has_changed(rotations):
    env = make(shots=2, queries=2, rotations=rotations)
    ours, theirs = generator(5), generator(5)
    tasks = env.draw_tasks(20, "train", ours)
    env.draw_tasks(20, "train", theirs)
    drawn = env.draw_episodes(tasks.float(), ours)
    for (inputs, targets), examples in zip(before(env, tasks, theirs), drawn[:2], strict=True):
        assert torch.equal(examples.inputs, inputs)
        assert torch.equal(examples.targets, targets)
    assert torch.equal(ours.get_state(), theirs.get_state())  # and nothing else was drawn
    assert drawn[2:] == ((), ())
    assert list(env.observation_space) == ["support_inputs", "support_targets", "query_inputs"]


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("rotations", ROTATIONS)
@pytest.mark.parametrize("distractors", [0, 2])
def test_no_image_is_shown_twice_and_every_one_is_of_its_class(rotations, distractors, split):
    env = make(**{**LABELLED, "shots": 2, "queries": 3}, unlabelled=4, distractors=distractors, rotations=rotations)
    episodes = env.sample_episodes(200, split, generator())
    (classes, numbers), (of_query, _), (of_unlabelled, _) = told_sets = shown(env, episodes)
    images = [10 * episodes.support.targets + numbers, 10 * episodes.query.targets + told_sets[1][1]]
    of_episode = episodes.unlabelled_targets[0]
    assert episodes.unlabelled[0].shape == (200, (2 + distractors) * 4, 3, 6, 6)
    by_way = classes.gather(1, episodes.support.targets.argsort(dim=1))[:, ::2]
    assert torch.equal(by_way.gather(1, episodes.query.targets), of_query)
    is_ours = of_episode < 2
    assert (is_ours.sum(1) == 8).all()
    assert (of_unlabelled == by_way.gather(1, of_episode.clamp(max=1)))[is_ours].all()
    images.append(torch.where(is_ours, 10 * of_episode + told_sets[2][1], -1 - torch.arange(8 + 4 * distractors)))
    assert (torch.cat(images, 1).sort(1).values.diff(dim=1) > 0).all()
    assert set(of_unlabelled.unique().tolist()) <= set(LABELLED["splits"][split])


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("rotations", ROTATIONS)
def test_distractors_are_other_classes_of_the_same_split(rotations, split):
    env = make(**LABELLED, unlabelled=3, distractors=2, rotations=rotations)
    tasks = env.draw_tasks(2000, split, generator())
    source = generator(1)
    classes, turns = env._sampler.draw_distractors(*tasks.long().chunk(2, 1), source)
    assert set(classes.unique().tolist()) == set(LABELLED["splits"][split])  # all of them serve
    assert set(turns.unique().tolist()) == ({0} if rotations == "none" else {0, 1, 2, 3})
    every = torch.cat([tasks.long()[:, :2], classes], 1)
    if rotations == "classes":  # a character's other quarter turn is another class
        every = 4 * every + torch.cat([tasks.long()[:, 2:], turns], 1)
    assert (every.sort(1).values.diff(dim=1) > 0).all()
    if rotations == "classes":
        assert (classes == tasks.long()[:, :1]).any()
    episodes = env.draw_episodes(tasks, generator(2))
    of_unlabelled = shown(env, episodes)[2][0]
    strange = episodes.unlabelled_targets[0] == 2
    assert (strange.sum(1) == 6).all()
    assert set(of_unlabelled[strange].unique().tolist()) == set(LABELLED["splits"][split])


def test_the_order_of_unlabelled_images_tells_nothing():
    n = 5000
    env = make(**LABELLED, unlabelled=2, distractors=1)
    targets = env.sample_episodes(n, "train", generator()).unlabelled_targets[0]
    for place in range(6):
        counts = torch.bincount(targets[:, place], minlength=3)
        assert ((counts - n / 3).abs() < 5 * (n * 2 / 9) ** 0.5).all()


@pytest.mark.parametrize("split", ["train", "test"])
def test_support_and_query_are_the_same_with_and_without_unlabelled_images(split):
    plain, more = make(**LABELLED), make(**LABELLED, unlabelled=3, distractors=1)
    one, other = (env.sample_episodes(20, split, generator(3)) for env in (plain, more))
    for ours, theirs in zip(one[:2], other[:2], strict=True):
        assert torch.equal(ours.inputs, theirs.inputs)
        assert torch.equal(ours.targets, theirs.targets)


def test_training_shows_labels_of_a_fraction_only():
    env = make(**LABELLED, unlabelled=5, distractors=1, labelled=0.3)
    episodes = env.sample_episodes(3000, "train", generator())
    seen = [set(zip(c.flatten().tolist(), i.flatten().tolist(), strict=True)) for c, i in shown(env, episodes)]
    for number in range(8):
        with_label, others = ({i for c, i in part if c == number} for part in (seen[0] | seen[1], seen[2]))
        assert len(with_label) == 3
        assert others == set(range(10)) - with_label
    inputs, labels = env.sample_examples(3000, "train", generator())
    assert set(zip(labels.tolist(), told(inputs)[1].tolist(), strict=True)) == seen[0] == seen[1]
    for part in shown(env, env.sample_episodes(3000, "test", generator())):  # where all have labels
        assert len(set(zip(*(x.flatten().tolist() for x in part), strict=True))) == 40


def test_another_seed_labels_other_images_and_no_other_class_is_touched():
    counts = torch.tensor([5, 4, 6])
    splits = {"train": [0, 2], "validation": [], "test": [1]}
    one, same, other = (split_labels(counts, splits, 0.5, seed) for seed in (0, 0, 1))
    assert torch.equal(one.order, same.order)
    assert not torch.equal(one.order, other.order)
    assert one.labelled.tolist() == [2, 4, 3]
    assert one.unlabelled_from.tolist() == [2, 0, 3]
    assert one.split_of.tolist() == [0, 2, 0]
    assert sorted(one.order[:5].tolist()) == list(range(5))
    assert one.order[5:9].tolist() == [5, 6, 7, 8]
    assert sorted(one.order[9:].tolist()) == list(range(9, 15))
    whole = split_labels(counts, splits, 1.0, 0)
    assert whole.order.tolist() == list(range(15))
    assert whole.labelled.tolist() == [5, 4, 6]


def test_a_drawing_keeps_its_label_in_every_quarter_turn():
    env = make(**{**LABELLED, "rotations": "classes"}, labelled=0.2)
    episodes = env.sample_episodes(3000, "train", generator())
    seen = {pair for part in episodes[:2] for pair in zip(*(x.flatten().tolist() for x in told(part.inputs)), strict=True)}
    assert len(seen) == 8 * 2


def test_training_may_have_other_numbers_than_testing():
    env = make(**{**LABELLED, "queries": 4}, unlabelled=5, train_unlabelled=2, train_queries=1, distractors=1, labelled=0.2)
    for split, queries, unlabelled in (("train", 1, 2), ("test", 4, 5)):
        episodes = env.sample_episodes(3, split, generator())
        assert episodes.query.inputs.shape[1] == 2 * queries
        assert episodes.unlabelled[0].shape[1] == 3 * unlabelled
        assert env.sizes_of(split) == (1, queries, unlabelled)
    assert env.observation_space["unlabelled_inputs"].shape == (15, 3, 6, 6)
    observation, _ = env.reset(seed=0, options={"split": "test"})
    assert observation in env.observation_space
    with pytest.raises(ConfigError, match=r"queries=4 need 5 images with a label \(labelled=0.2\) of a class.* 'train' has 2"):
        env.reset()
    plain = make(**LABELLED, unlabelled=2, train_unlabelled=0)
    assert plain.sample_episodes(2, "train", generator()).unlabelled == ()
    assert plain.sample_episodes(2, "test", generator()).unlabelled[0].shape[1] == 4


def test_an_episode_shows_its_unlabelled_images():
    env = make(**LABELLED, unlabelled=3, distractors=2, render_mode="rgb_array")
    check_env(env, skip_render_check=True)
    observation, info = env.reset(seed=1)
    assert observation["unlabelled_inputs"].shape == (12, 3, 6, 6)
    assert set(info["task"]) == {"classes", "rotations"}
    side = 6 + 2
    # two rows: gaps right of one support and of one query image, and six unlabelled ones a row
    assert env.render().shape == (2 * side + 2, 2 * (side + 2) + (6 * side + 2) + 2 * 8, 3)
    classes = told(torch.as_tensor(observation["unlabelled_inputs"]))[0].tolist()
    assert all(classes.count(number) == 3 for number in info["task"]["classes"])
    assert env.step(np.zeros(2, int))[0].keys() == observation.keys()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"unlabelled": 9}, "unlabelled=9 is more than the 8 other images of class 0 of split 'train': lower it, or queries=1"),
        ({"unlabelled": 8, "labelled": 0.3}, "unlabelled=8 is more than the 7 other images of class 0 of split 'train'"),
        ({"unlabelled": 1, "train_unlabelled": 9}, "train_unlabelled=9 is more than the 8 other images"),
        ({"labelled": 0.1}, r"queries=1 need 2 images with a label \(labelled=0.1\) of a class, but class 0 .* has 1"),
        ({"train_queries": 10}, "shots=1 and train_queries=10 need 11 images"),
        (
            {"unlabelled": 2, "distractors": 3},
            "distractors=3 and ways=2 are more than the 4 classes of split 'test': ask for at mo",
        ),
        ({"unlabelled": 2, "distractors": 7}, "distractors=7 and ways=2 are more than the 8 classes of split 'train'"),
        ({"distractors": 1}, "distractors=1 give unlabelled images only: set unlabelled, or leave them out"),
        ({"unlabelled": -1}, r"unlabelled=-1 must lie in \[0, inf\]"),
        ({"unlabelled": 1.5}, "unlabelled=1.5 must be a whole number"),
        ({"distractors": 0.5, "unlabelled": 1}, "distractors=0.5 must be a whole number"),
        ({"labelled": 1.1}, r"labelled=1.1 must lie in \[0, 1\]"),
        ({"labelled": "all"}, "labelled='all' must be a number"),
        ({"label_seed": -1}, "label_seed=-1 must lie in"),
        ({"train_queries": 0}, "train_queries=0 must be above zero"),
    ],
)
def test_bad_numbers_are_named_when_it_is_made(options, says):
    with pytest.raises(ConfigError, match=says):
        make(**{**LABELLED, **options})


def test_a_split_that_lacks_images_is_named_when_it_is_made():
    counts = [10, 10, 10, 4]
    with pytest.raises(ConfigError, match="unlabelled=3 is more than the 2 other images of class 3 of split 'validation'"):
        make(counts, {"train": [0, 1], "validation": [2, 3]}, ways=2, queries=1, unlabelled=3)
    make(counts, {"train": [0, 1], "validation": [2, 3]}, ways=2, queries=1, unlabelled=2)


def test_tasks_of_two_splits_have_no_distractors():
    env = make(**LABELLED, unlabelled=2, distractors=1)
    env.reset(options={"task": {"classes": [9, 11], "rotations": [0, 0]}})
    with pytest.raises(TaskError, match="are not of one split, from which the 1 distractors would come"):
        env.reset(options={"task": {"classes": [0, 9], "rotations": [0, 0]}})
    nowhere = make(MANY, {"train": range(8), "test": range(8, 11)}, ways=2, queries=1, unlabelled=2, distractors=1)
    with pytest.raises(TaskError, match="are not of one split"):
        nowhere.reset(options={"task": {"classes": [8, 11], "rotations": [0, 0]}})
    make(**LABELLED, unlabelled=2).reset(options={"task": {"classes": [0, 9], "rotations": [0, 0]}})
