"""Image episodes: nothing leaks, labels are right, draws are even; every image says in its pixels which one it is."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env

from metarl.errors import ConfigError, TaskError
from metarl.supervised import ImageEpisodes
from metarl.supervised.images import ImageSet

COUNTS = [4, 6, 5, 9, 4, 7, 8, 4, 5, 4, 6, 4]
SPLITS = {"train": [0, 2, 3, 5, 6, 8, 10, 11], "validation": [1, 4], "test": [7, 9]}
STARTS = torch.tensor([0, *COUNTS]).cumsum(0)
ROTATIONS = ("classes", "drawn", "none")


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def image_set(counts=COUNTS):
    """Images of 6x6: their class in the first channel, their number in the class in the second, noise in the third."""
    images = torch.randint(256, (sum(counts), 3, 6, 6), generator=generator(), dtype=torch.uint8)
    images[:, 0] = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))[:, None, None]
    images[:, 1] = torch.cat([torch.arange(count) for count in counts])[:, None, None]
    return ImageSet(images, torch.tensor(counts), tuple(f"class {i}" for i in range(len(counts))))


IMAGES = image_set()


def make(counts=None, splits=SPLITS, **options):
    images = IMAGES if counts is None else image_set(counts)
    return ImageEpisodes(images, splits, **{"ways": 3, "shots": 1, "queries": 3, **options})


def told(inputs):
    """The classes and the numbers that images tell, each of shape (..., examples)."""
    return (255 * inputs[..., :2, 0, 0]).round().long().unbind(-1)


def draw(env, n, split="train", seed=0, dtype=torch.float32):
    source = generator(seed)
    tasks = env.draw_tasks(n, split, source)
    return tasks.long().split(env.ways, 1), env.draw_episodes(tasks.to(dtype), source)


@pytest.mark.parametrize("rotations", ROTATIONS)
@pytest.mark.parametrize(("shots", "queries"), [(1, 3), (2, 2), (3, 1)])
def test_support_and_query_share_no_image(rotations, shots, queries):
    env = make(rotations=rotations, shots=shots, queries=queries)
    _, episodes = draw(env, 400)
    used = torch.cat([max(COUNTS) * part.targets + told(part.inputs)[1] for part in episodes[:2]], 1).sort(1).values
    assert used.shape == (400, 3 * (shots + queries))
    assert (used.diff(dim=1) > 0).all()  # no image of a class twice


@pytest.mark.parametrize("rotations", ROTATIONS)
@pytest.mark.parametrize("split", list(SPLITS))
def test_images_are_of_their_class_turned_as_the_task_says(rotations, split):
    env = make(ways=2, rotations=rotations)
    (classes, turns), episodes = draw(env, 100, split)
    assert set(classes.unique().tolist()) == set(SPLITS[split])
    assert set(turns.unique().tolist()) == ({0} if rotations == "none" else {0, 1, 2, 3})
    for part, count in zip(episodes[:2], (1, 3), strict=True):
        assert (part.targets.sort(1).values == torch.arange(2).repeat_interleave(count)).all()
        shown, number = told(part.inputs)
        assert (shown == classes.gather(1, part.targets)).all()
        rows, quarters = STARTS[shown] + number, turns.gather(1, part.targets)
        for image, row, k in zip(part.inputs.flatten(0, 1), rows.flatten(), quarters.flatten().tolist(), strict=True):
            np.testing.assert_array_equal((255 * image).round(), np.rot90(IMAGES.images[row], k, axes=(1, 2)))


@pytest.mark.parametrize("rotations", ROTATIONS)
def test_classes_of_an_episode_are_distinct(rotations):
    (classes, turns), _ = draw(make(ways=8, rotations=rotations), 300)
    pairs = classes + (100 * turns if rotations == "classes" else 0)
    assert (pairs.sort(1).values.diff(dim=1) > 0).all()
    alone = (classes.sort(1).values.diff(dim=1) > 0).all(1)
    assert alone.all() == (rotations != "classes")  # a character and its quarter turn may meet


def even(counts, chance, draws):
    """Whether counts of something as likely as that are within five deviations of what is expected."""
    spread = (draws * chance * (1 - chance)) ** 0.5
    return (abs(np.asarray(counts) - draws * chance) < 5 * spread).all()


def test_every_class_and_every_image_is_as_likely():
    n, ways = 20000, 3
    env = make(rotations="classes")
    (classes, turns), episodes = draw(env, n)
    for way in range(ways):  # no class prefers a label
        assert even([(classes[:, way] == k).sum() for k in SPLITS["train"]], 1 / 8, n)
        assert even(torch.bincount(turns[:, way]), 1 / 4, n)
    for part, of_class in zip(episodes[:2], (1, 3), strict=True):
        shown, number = told(part.inputs)
        for k in SPLITS["train"]:
            seen = torch.bincount(number[shown == k], minlength=COUNTS[k])
            assert len(seen) == COUNTS[k]
            # counts of one episode are not independent, but no more spread than this
            assert even(seen, 1 / COUNTS[k], int((shown == k).sum())), k
            assert even([(shown == k).sum() / of_class], 1 / 8, n * ways)


def test_position_tells_nothing():
    n = 20000
    _, episodes = draw(make(shots=2, queries=2), n)
    for part in episodes[:2]:
        assert even([torch.bincount(part.targets[:, i], minlength=3) for i in range(6)], 1 / 3, n)
        first, second = part.targets[:, 0], part.targets[:, 1]
        assert even([(first == second).sum()], 1 / 5, n)  # one other of its class among five


@pytest.mark.parametrize("rotations", ROTATIONS)
def test_examples_without_episodes_are_labelled_evenly(rotations):
    env, n = make(rotations=rotations), 20000
    inputs, labels = env.sample_examples(n, "train", generator())
    turns = 1 if rotations == "none" else 4
    assert env.count_classes("train") == 8 * turns
    assert even(torch.bincount(labels, minlength=8 * turns), 1 / (8 * turns), n)
    shown, number = told(inputs)
    assert (shown == torch.tensor(SPLITS["train"])[labels // turns]).all()
    for k in SPLITS["train"]:
        seen = torch.bincount(number[shown == k], minlength=COUNTS[k])
        assert even(seen, 1 / COUNTS[k], int(seen.sum()))
    rows = STARTS[shown[:200]] + number[:200]
    for image, row, label in zip(inputs, rows, labels.tolist(), strict=False):
        np.testing.assert_array_equal((255 * image).round(), np.rot90(IMAGES.images[row], label % turns, axes=(1, 2)))


@pytest.mark.parametrize("rotations", ROTATIONS)
@pytest.mark.parametrize("train_ways", [2, 6])
def test_training_episodes_may_have_other_ways_than_the_rest(rotations, train_ways):
    env = make(train_ways=train_ways, rotations=rotations, splits={**SPLITS, "test": [1, 4, 7, 9], "validation": []})
    assert [env.ways_of(split) for split in SPLITS] == [train_ways, 3, 3]
    assert env.output_size == 3
    for split, ways in (("train", train_ways), ("test", 3)):
        episodes = env.sample_episodes(30, split, generator())
        for part, count in zip(episodes[:2], (1, 3), strict=True):
            assert part.inputs.shape == (30, ways * count, 3, 6, 6)
            assert (part.targets.sort(1).values == torch.arange(ways).repeat_interleave(count)).all()
        of_way = [told(part.inputs)[0].gather(1, part.targets.argsort(dim=1)) for part in episodes[:2]]
        assert torch.equal(of_way[0].repeat_interleave(3, 1), of_way[1])  # one class a label, in support and query
        assert env.picture(episodes).shape[0] == ways * (6 + 2) + 2  # a row a class
    for split in ("train", "test"):  # what the environment shows has ways
        assert [len(task["classes"]) for task in env.sample_tasks(2, split)] == [3, 3]
        observation, _ = env.reset(seed=0, options={"split": split})
        assert observation in env.observation_space
        assert env.action_space.shape == (9,)
    plain = make(rotations=rotations)
    assert [plain.ways_of(split) for split in SPLITS] == [3, 3, 3]
    same = make(train_ways=3, rotations=rotations).sample_episodes(2, "train", generator()).query.inputs
    assert torch.equal(same, plain.sample_episodes(2, "train", generator()).query.inputs)
    with pytest.raises(ConfigError, match="split='tests' is not known"):
        env.ways_of("tests")


def test_each_split_needs_classes_for_its_own_ways():
    with pytest.raises(ConfigError, match="train_ways=9 is more than the 8 classes of split 'train': ask for at most 8"):
        make(train_ways=9)
    with pytest.raises(ConfigError, match="train_ways=33 is more than the 32 classes of split 'train': ask for at most 32"):
        make(train_ways=33, rotations="classes")
    env = make(ways=2, train_ways=8)
    assert env.sample_episodes(1, "train", generator()).support.inputs.shape[1] == 8
    assert env.sample_episodes(1, "test", generator()).support.inputs.shape[1] == 2
    few = make(ways=3, train_ways=2, splits={"train": [0, 2], "test": [1, 4, 7]})
    assert few.sample_episodes(1, "train", generator()).support.inputs.shape[1] == 2
    with pytest.raises(ConfigError, match=r"^ways=3 is more than the 2 classes of split 'train': ask for at most 2"):
        few.reset()
    few.reset(options={"split": "test"})


def test_a_seed_fixes_an_episode_whatever_the_dtype():
    env = make(rotations="classes")
    first, again = (env.sample_episodes(20, "train", generator(3)) for _ in range(2))
    double = env.sample_episodes(20, "train", generator(3), dtype=torch.float64)
    other = env.sample_episodes(20, "train", generator(4))
    for one, same, wide, else_ in zip(*(drawn[:2] for drawn in (first, again, double, other)), strict=True):
        assert torch.equal(one.inputs, same.inputs)
        assert torch.equal(one.targets, wide.targets)
        assert (one.inputs.dtype, wide.inputs.dtype) == (torch.float32, torch.float64)
        torch.testing.assert_close(one.inputs.double(), wide.inputs, rtol=0, atol=1e-7)
        assert not torch.equal(one.inputs, else_.inputs)


def test_repeats_are_other_images_of_the_same_classes():
    support = make().sample_episodes(50, "train", generator(), repeats=2).support
    shown, number = (part.unflatten(0, (50, 2)) for part in told(support.inputs))
    assert (shown[:, 0].sort(1).values == shown[:, 1].sort(1).values).all()
    assert (number[:, 0] != number[:, 1]).any()


def two_by_two(**options):
    """Three classes of one channel: class k's image i has the corners 60 k + 4 i + (1, 2; 3, 4)."""
    corners = torch.tensor([[1, 2], [3, 4]])
    images = torch.stack([60 * k + 4 * i + corners for k in range(3) for i in range(2)])[:, None].to(torch.uint8)
    names, splits = tuple("abc"), {"train": [0, 2], "validation": [1]}
    return ImageEpisodes(ImageSet(images, torch.full((3,), 2), names), splits, **{"ways": 2, "queries": 1, **options})


QUARTER_TURNS = [[1, 2, 3, 4], [2, 4, 1, 3], [4, 3, 2, 1], [3, 1, 4, 2]]
"""The corners of an image after 0 to 3 quarter turns to the left, row by row."""


@pytest.mark.parametrize("rotations", ["classes", "drawn"])
@pytest.mark.parametrize("turns", [(0, 1), (2, 3)])
def test_a_task_turns_its_images_to_the_left_by_hand(rotations, turns):
    env = two_by_two(rotations=rotations)
    observation, _ = env.reset(seed=0, options={"task": {"classes": [2, 0], "rotations": turns}})
    query_targets = env.step(np.zeros(2, int))[4]["query_targets"]
    for inputs, targets in (
        (observation["support_inputs"], observation["support_targets"]),
        (observation["query_inputs"], query_targets),
    ):
        for image, target in zip(inputs, targets, strict=True):
            corners = np.rint(255 * image).astype(int).flatten() - 60 * (2, 0)[target]
            assert (corners - np.array(QUARTER_TURNS[turns[target]])).tolist() in ([0] * 4, [4] * 4)  # image 0 or image 1


@pytest.mark.parametrize(("rotations", "turns"), [("classes", 4), ("drawn", 4), ("none", 1)])
def test_examples_are_numbered_by_class_and_turn_by_hand(rotations, turns):
    env = two_by_two(rotations=rotations, ways=1)
    assert [env.count_classes(split) for split in ("train", "validation", "test")] == [2 * turns, turns, 0]
    for split, classes in (("train", (0, 2)), ("validation", (1,))):
        inputs, labels = env.sample_examples(100, split, generator())
        assert set(labels.tolist()) == set(range(turns * len(classes)))
        for image, label in zip((255 * inputs).round().int().flatten(1).tolist(), labels.tolist(), strict=True):
            base = 60 * classes[label // turns]
            assert image in [[base + 4 * i + corner for corner in QUARTER_TURNS[label % turns]] for i in (0, 1)]
    streams = [env.sample_examples(9, split, generator())[1].tolist() for split in ("train", "validation")]
    assert streams[0] != streams[1]


def test_an_episode_uses_every_image_of_a_class_that_has_just_enough():
    env = make([4] * 6, {"train": range(6)}, shots=1, queries=3)
    episodes = env.sample_episodes(50, "train", generator())
    images = torch.cat([4 * part.targets + told(part.inputs)[1] for part in episodes[:2]], 1)
    assert torch.equal(images.sort(1).values, torch.arange(12).expand(50, -1))  # each once, in support or in query


@pytest.mark.parametrize("split", list(SPLITS))
def test_reset_draws_from_the_environments_split(split):
    env = make(ways=2, split=split)
    drawn = [env.reset(seed=seed)[1]["task"]["classes"].tolist() for seed in range(40)]
    assert {number for classes in drawn for number in classes} == set(SPLITS[split])


def test_losses_accuracies_and_predictions_by_hand():
    outputs = torch.tensor([[0.0, 0.0, np.log(2)], [0.0, np.log(2), 0.0]])  # probabilities 1/4, 1/4, 1/2 and 1/4, 1/2, 1/4
    targets = torch.tensor([2, 0])
    mean = (np.log(2) + np.log(4)) / 2
    assert make().loss(outputs, targets).item() == pytest.approx(mean)
    summed = make(reduction="sum over ways")
    assert summed.loss(outputs, targets).item() == pytest.approx(3 * mean)
    assert make(ways=2, train_ways=3, reduction="sum over ways").loss(outputs, targets).item() == pytest.approx(3 * mean)
    assert summed.loss(torch.zeros(4, 8), torch.arange(4)).item() == pytest.approx(8 * np.log(8))  # an episode of eight ways
    measures = summed.measures(outputs, targets)
    assert {name: value.item() for name, value in measures.items()} == pytest.approx({"loss": 3 * mean, "accuracy": 0.5})
    assert summed.decide(outputs).tolist() == [2, 1]
    assert summed.reward(np.array([2, 1, 0, 0]), np.array([2, 0, 0, 0])) == 0.75
    assert summed.metric == "accuracy"


def test_imagenets_normalisation_by_hand():
    images = torch.tensor([0, 255, 51]).repeat(3, 1)[:, :, None, None].to(torch.uint8)  # three images, all of 0, 1 and 0.2
    images = ImageSet(images.expand(3, 3, 2, 2).contiguous(), torch.tensor([3]), ("a",))
    expected = {"none": [0, 1, 0.2], "imagenet": [-0.485 / 0.229, (1 - 0.456) / 0.224, (0.2 - 0.406) / 0.225]}
    for name, colours in expected.items():
        env = ImageEpisodes(images, {"train": [0]}, ways=1, queries=2, normalisation=name)
        for inputs in (
            env.sample_episodes(1, "train", generator()).query.inputs[0],
            env.sample_examples(1, "train", generator()).inputs,
            torch.from_numpy(env.reset(seed=0)[0]["support_inputs"]),
        ):
            np.testing.assert_allclose(inputs, np.broadcast_to(np.reshape(colours, (3, 1, 1)), inputs.shape), atol=1e-6)
        assert env.reset(seed=0)[0] in env.observation_space
    with pytest.raises(ConfigError, match="normalisation='imagenet' is of three colours; these images have 1 channel"):
        two_by_two(normalisation="imagenet")


@pytest.mark.filterwarnings("ignore:.*Not able to test alternative render modes:UserWarning")
@pytest.mark.parametrize("options", [{}, {"rotations": "classes", "normalisation": "imagenet", "render_mode": "rgb_array"}])
def test_gymnasiums_checker(options):
    check_env(make(**options))


def test_an_episode_is_one_step_and_does_not_leak_its_targets():
    env = make(shots=1, queries=3)
    observation, info = env.reset(seed=0)
    assert set(observation) == {"support_inputs", "support_targets", "query_inputs"}
    assert set(info) == {"task"}
    classes = info["task"]["classes"].tolist()
    shown = told(torch.from_numpy(observation["query_inputs"]))[0].tolist()
    right = np.array([classes.index(k) for k in shown])
    blank, reward, terminated, truncated, info = env.step(right)
    assert (reward, terminated, truncated) == (1, True, False)
    np.testing.assert_array_equal(info["query_targets"], right)
    assert not any(value.any() for value in blank.values())
    assert env.reset()[1]["task"]["classes"].tolist() != classes
    rewards = []
    for seed in range(400):
        env.reset(seed=seed)
        env.action_space.seed(seed)
        rewards.append(env.step(env.action_space.sample())[1])
    assert np.mean(rewards) == pytest.approx(1 / 3, abs=4 * (2 / 9 / (400 * 9)) ** 0.5)
    env.reset(seed=0)
    with pytest.raises(ConfigError, match=r"action has shape \(3,\); give predictions of shape \(9,\)"):
        env.step(np.zeros(3, int))


def test_reset_takes_a_task_or_a_split():
    env = make(rotations="classes")
    observation, info = env.reset(seed=0, options={"task": {"classes": [3, 0, 3], "rotations": [1, 0, 0]}})
    np.testing.assert_equal(info["task"], {"classes": np.array([3, 0, 3]), "rotations": np.array([1, 0, 0])})
    targets = observation["support_targets"]
    assert told(torch.from_numpy(observation["support_inputs"]))[0].tolist() == np.array([3, 0, 3])[targets].tolist()
    env = make(ways=2)
    assert set(env.reset(options={"split": "test"})[1]["task"]["classes"]) == set(SPLITS["test"])


@pytest.mark.parametrize(
    ("options", "task", "says"),
    [
        ({"rotations": "classes"}, {"classes": [3, 0, 3], "rotations": [1, 0, 1]}, "has a class twice"),
        ({}, {"classes": [3, 0, 3], "rotations": [0, 0, 0]}, "has a class twice"),
        ({}, {"classes": [0, 2, 3], "rotations": [0, 1, 0]}, "made with rotations='none'"),
        ({}, {"classes": [0, 2, 12], "rotations": [0, 0, 0]}, r"task\['classes'\]=\[0, 2, 12\] is outside"),
        ({}, {"classes": [0, 2, -1], "rotations": [0, 0, 0]}, r"task\['classes'\]=\[0, 2, -1\] is outside"),
        ({"rotations": "drawn"}, {"classes": [0, 2, 3], "rotations": [0, 4, 0]}, r"task\['rotations'\]=\[0, 4, 0\] is outside"),
        ({}, {"classes": [0, 2, 3.5], "rotations": [0, 0, 0]}, r"task\['classes'\]=.* are not whole numbers"),
        ({"rotations": "drawn"}, {"classes": [3, 0, 3], "rotations": [1, 0, 0]}, "has a class .*twice"),
        ({"queries": 4, "splits": {"train": [1, 2, 3]}}, {"classes": [1, 0, 2], "rotations": [0, 0, 0]}, "class 0 .*has 4"),
        ({}, {"classes": [0, 2], "rotations": [0, 0, 0]}, r"task\['classes'\].* has shape \(2,\)"),
        ({}, {"classes": [0, 2, 3]}, "is not a task of ImageEpisodes"),
    ],
)
def test_bad_tasks_are_named(options, task, says):
    env = make(**options)
    with pytest.raises(TaskError, match=says):
        env.reset(options={"task": task})


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"ways": 9}, "ways=9 is more than the 8 classes of split 'train': ask for at most 8"),
        ({"ways": 33, "rotations": "classes"}, "ways=33 is more than the 32 classes"),
        ({"queries": 4}, "shots=1 and queries=4 need 5 images of a class, but class 0 of split 'train' has 4"),
        ({"ways": 0}, "ways=0 must be above zero"),
        ({"train_ways": 0}, "train_ways=0 must be above zero"),
        ({"train_ways": 2.5}, "train_ways=2.5 must be a whole number"),
        ({"ways": 2.0}, "ways=2.0 must be a whole number"),
        ({"shots": 0}, "shots=0 must be above zero"),
        ({"split": "tests"}, "split='tests' is not known"),
        ({"rotations": "class"}, "rotations='class' is not known: did you mean 'classes'"),
        ({"reduction": "sum"}, "reduction='sum' is not known"),
        ({"normalisation": "image-net"}, "normalisation='image-net' is not known: did you mean 'imagenet'"),
        ({"render_mode": "human"}, "render_mode='human' is not known"),
    ],
)
def test_bad_arguments_are_named(options, says):
    with pytest.raises(ConfigError, match=says):
        make(**options)


def test_other_splits_are_asked_when_drawn():
    env = make()
    for split in ("validation", "test"):
        with pytest.raises(ConfigError, match=f"ways=3 is more than the 2 classes of split '{split}'"):
            env.sample_episodes(2, split, generator())
    env = make([4, 4, 4, 3], {"train": [0, 1], "test": [2, 3]}, ways=2)
    with pytest.raises(ConfigError, match="class 3 of split 'test' has 3"):
        env.sample_tasks(1, "test")
    with pytest.raises(ConfigError, match="ways=2 is more than the 0 classes of split 'validation'"):
        env.sample_tasks(1, "validation")


@pytest.mark.parametrize("normalisation", ["none", "imagenet"])
def test_rendering_shows_the_episode(normalisation):
    env = make(shots=2, queries=2, normalisation=normalisation, render_mode="rgb_array")
    assert env.render() is None
    env.reset(seed=0)
    picture = env.render()
    assert picture.dtype == np.uint8
    side = 6 + 2
    assert picture.shape == (3 * side + 2, 2 * (2 * side + 2) + 8, 3)
    first, second = (picture[5::side, column, 0] for column in (5, 5 + side))
    assert first.tolist() == second.tolist()  # a row a class
    first, second = (picture[5::side, column, 0] for column in (-5 - side, -5))
    assert first.tolist() == second.tolist()
    assert len(set(first)) > 1
    env.reset(seed=1)
    assert (env.render() != picture).any()


def test_it_works_through_gymnasiums_wrappers():
    env = gym.wrappers.TimeLimit(make(), 5)
    assert env.unwrapped.observation is None
    observation, _ = env.reset(seed=0)
    np.testing.assert_equal(env.unwrapped.observation, observation)
    observation["query_inputs"][...] = 0
    assert env.unwrapped.observation["query_inputs"].any()
