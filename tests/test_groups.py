"""Episodes within one group of classes, drawers apart, and shots of training; Omniglot's alphabets, drawers and sizes."""

import re

import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env
from PIL import Image

from metarl.errors import ConfigError, TaskError
from metarl.supervised import ImageEpisodes, Omniglot
from metarl.supervised.images import CACHE
from tests.test_image_episodes import SPLITS, even, generator, image_set, make, told

GROUPS = ["a", "v", "a", "b", "v", "b", "b", "t", "c", "t", "b", "c"]
"""Of training the classes 0, 2 are of a, 3, 5, 6, 10 of b, and 8, 11 of c."""
OF = {"a": {0, 2}, "b": {3, 5, 6, 10}, "c": {8, 11}}


def grouped(ways=2, **options):
    return make([6] * 12, **{"ways": ways, "groups": GROUPS, **options})


def shown_classes(env, n, split="train"):
    episodes = env.sample_episodes(n, split, generator())
    return [told(part.inputs)[0] for part in episodes[:2]]


@pytest.mark.parametrize("rotations", ["classes", "drawn", "none"])
def test_an_episodes_classes_are_of_one_group_and_groups_are_as_likely(rotations):
    n, env = 6000, grouped(rotations=rotations)
    support, query = shown_classes(env, n)
    group = torch.zeros(n, dtype=torch.long)
    for index, members in enumerate(OF.values()):
        inside = torch.isin(support, torch.tensor(sorted(members)))
        assert torch.equal(inside.all(1), inside.any(1))
        assert torch.equal(torch.isin(query, torch.tensor(sorted(members))).all(1), inside.all(1))
        group[inside.all(1)] = index
    assert even(torch.bincount(group), 1 / 3, n)  # however many classes they have
    of_b = support[group == 1]
    assert even([(of_b == k).sum() / 2 for k in OF["b"]], 1 / 4, len(of_b))
    if rotations != "classes":
        assert (support.sort(1).values.diff(dim=1) > 0).all()


def test_groups_with_too_few_classes_are_passed_over():
    env = grouped(ways=3)
    assert {k for k in shown_classes(env, 200)[0].flatten().tolist()} == OF["b"]
    env.reset(seed=0)
    assert set(env.task["classes"].tolist()) <= OF["b"]
    turned = grouped(ways=8, rotations="classes")  # two classes in four rotations each
    assert {k for k in shown_classes(turned, 200)[0].flatten().tolist()} == set(SPLITS["train"])
    mixed = grouped(ways=2, train_ways=3)
    assert set(shown_classes(mixed, 50)[0].flatten().tolist()) == OF["b"]
    assert {number for task in mixed.sample_tasks(50) for number in task["classes"]} == set(SPLITS["train"])


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"ways": 5}, "ways=5 is more than the 4 classes of b, the largest group of split 'train': ask for at most 4"),
        ({"ways": 17, "rotations": "classes"}, "ways=17 is more than the 16 classes of b, the largest group of split 'train'"),
        ({"train_ways": 5}, "train_ways=5 is more than the 4 classes of b"),
        ({"groups": ["a"] * 11}, "groups has 11 entries for 12 classes: give one for each class"),
        ({"drawers": "other"}, "drawers='other' is not known"),
        (
            {"drawers": "different", "groups": None},
            "drawers='different' needs classes .* pass within",
        ),
        ({"distortions": "elastic"}, "distortions='elastic' is not known"),
        ({"train_shots": 0}, "train_shots=0 must be a whole number above zero, or"),
        ({"train_shots": (2, 1)}, r"train_shots=\(2, 1\) must be a whole number above zero, or \(lowest, highest\)"),
        ({"train_shots": (1, 2, 3)}, r"train_shots=\(1, 2, 3\) must be"),
        ({"train_shots": 1.5}, r"train_shots=1\.5 must be"),
        ({"train_shots": "15"}, "train_shots='15' must be"),
        ({"train_shots": (1, 4)}, "train_shots=4 and queries=3 need 7 images of a class, but class 0 of split 'train' has 6"),
    ],
)
def test_bad_arguments_are_named(options, says):
    with pytest.raises(ConfigError, match=says):
        grouped(**options)


def test_other_splits_are_asked_when_drawn():
    env = grouped(ways=2)
    assert set(shown_classes(env, 20, "test")[0].flatten().tolist()) == {7, 9}
    splits = {**SPLITS, "validation": [1, 7]}
    with pytest.raises(ConfigError, match="ways=2 is more than the 1 classes of v, the largest group of split 'validation'"):
        make([6] * 12, {**splits, "test": [9]}, ways=2, groups=GROUPS).sample_episodes(1, "validation", generator())
    with pytest.raises(ConfigError, match="ways=2 is more than the 0 classes of split 'test'"):
        make([6] * 12, {"train": [0, 2]}, ways=2, groups=GROUPS).sample_episodes(1, "test", generator())


def test_a_task_of_several_groups_is_refused():
    with pytest.raises(TaskError, match=r"task\['classes'\]=\[0, 3\] are of 2 groups, a, b: choose all of one"):
        grouped().reset(options={"task": {"classes": [0, 3], "rotations": [0, 0]}})
    grouped().reset(options={"task": {"classes": [2, 0], "rotations": [0, 0]}})


# -- drawers


@pytest.mark.parametrize(("shots", "queries"), [(1, 1), (1, 3), (2, 2), (3, 3)])
def test_support_and_query_are_by_different_people_one_for_each_place(shots, queries):
    env = grouped(shots=shots, queries=queries, drawers="different")
    episodes = env.sample_episodes(300, "train", generator())
    drawers = []
    for part, count in zip(episodes[:2], (shots, queries), strict=True):
        by_class = told(part.inputs)[1].gather(1, part.targets.argsort(1)).unflatten(1, (2, count)).sort(2).values
        assert torch.equal(by_class[:, 0], by_class[:, 1])  # the same people for every class
        drawers.append(by_class[:, 0])
    everyone = torch.cat(drawers, 1).sort(1).values
    assert (everyone.diff(dim=1) > 0).all()  # nobody drew twice
    assert even(torch.bincount(everyone.flatten(), minlength=6), 1 / 6, everyone.numel())


def test_drawers_of_a_smaller_group_are_only_its_own():
    counts = [5, 6, 5, 6, 6, 6, 6, 6, 4, 6, 6, 4]
    env = make(counts, ways=2, queries=2, groups=GROUPS, drawers="different")
    shown, number = (part.flatten() for part in told(env.sample_episodes(400, "train", generator()).query.inputs))
    for group, most in (("a", 5), ("b", 6), ("c", 4)):
        assert set(number[torch.isin(shown, torch.tensor(sorted(OF[group])))].tolist()) == set(range(most))
    observation, _ = env.reset(seed=0)
    assert len(set(told(torch.from_numpy(observation["support_inputs"]))[1].tolist())) == 1
    with pytest.raises(ConfigError, match="as many images of every class of a group, but class 2 of a has 6 and another"):
        make([5, *[6] * 11], ways=2, groups=GROUPS, drawers="different")


# -- shots of training


@pytest.mark.parametrize(("train_shots", "seen"), [((1, 3), {1, 2, 3}), ([2, 3], {2, 3}), (2, {2}), ((3, 3), {3}), (None, {1})])
def test_one_number_of_shots_is_drawn_for_a_batch_of_training_episodes(train_shots, seen):
    env, source, drawn = grouped(train_shots=train_shots), generator(), []
    for _ in range(100):
        support, query, *_ = env.sample_episodes(3, "train", source)
        counts = torch.stack([torch.bincount(targets, minlength=2) for targets in support.targets])
        assert len(counts.unique()) == 1
        assert query.inputs.shape[1] == 2 * 3
        drawn.append(int(counts[0, 0]))
    assert set(drawn) == seen
    assert len(seen) == 1 or even([drawn.count(shots) for shots in seen], 1 / len(seen), 100)
    for split in ("validation", "test"):
        assert env.sample_episodes(3, split, source).support.inputs.shape[1] == 2
    assert env.observation_space["support_inputs"].shape[0] == 2
    assert env.reset(seed=0)[0] in env.observation_space
    assert [env.shots_of(split) for split in ("validation", "test")] == [(1, 1)] * 2


def test_a_seed_fixes_the_shots_and_one_value_draws_no_number():
    drawn = [grouped(train_shots=(1, 3)).sample_episodes(2, "train", generator(4)).support.inputs for _ in range(2)]
    assert torch.equal(*drawn)
    one, same = (grouped(train_shots=shots).sample_episodes(2, "train", generator()) for shots in (1, None))
    assert torch.equal(one.support.inputs, same.support.inputs)
    fewer = grouped(shots=4, queries=2, train_shots=1)  # tests keep their shots, and what they need is asked of them
    assert fewer.sample_episodes(1, "train", generator()).support.inputs.shape[1] == 2
    assert fewer.sample_episodes(1, "test", generator()).support.inputs.shape[1] == 8


# -- what has not changed


@pytest.mark.parametrize("rotations", ["classes", "drawn", "none"])
def test_defaults_draw_the_same_numbers_as_ever(rotations):
    env, source = make(rotations=rotations), generator(3)
    episodes = env.sample_episodes(20, "train", source)
    again = generator(3)
    turns = 4 if rotations == "classes" else 1
    drawn = torch.rand(20, 8 * turns, generator=again).topk(3).indices
    if rotations == "drawn":
        torch.randint(4, (20, 3), generator=again)
    classes = torch.tensor(SPLITS["train"])[drawn // turns]
    counts = env._sampler.images.counts[classes]
    noise = torch.rand(20, 3, 9, generator=again)
    numbers = noise.masked_fill(torch.arange(9) >= counts[..., None], -1).topk(4).indices
    for part, chosen in zip(episodes[:2], numbers.split([1, 3], dim=2), strict=True):
        order = torch.rand(20, chosen[0].numel(), generator=again).argsort(1)
        assert torch.equal(part.targets, order // chosen.shape[2])
        assert torch.equal(told(part.inputs)[0], classes.gather(1, part.targets))
        assert torch.equal(told(part.inputs)[1], chosen.flatten(1).gather(1, order))
    assert torch.equal(source.get_state(), again.get_state())


@pytest.mark.filterwarnings("ignore:.*Not able to test alternative render modes:UserWarning")
@pytest.mark.parametrize("options", [{"drawers": "different"}, {"distortions": "affine", "train_shots": (1, 3)}])
def test_gymnasiums_checker(options):
    check_env(grouped(**options))


# -- Omniglot


def test_omniglots_alphabets_and_drawers(image_data):
    options = {"characters": "lake", "ways": 3, "queries": 2, "rotations": "none"}
    known = {"train": {"Greek", "Latin", "Tagalog"}, "test": {"Angelic", "Keble", "Tibetan"}}

    def alphabets(env, split):
        return [{env.class_names[k].split("/")[1] for k in task["classes"]} for task in env.sample_tasks(60, split)]

    env = Omniglot(image_data, within="alphabet", drawers="different", **options)
    for split, names in known.items():
        drawn = alphabets(env, split)
        assert {len(own) for own in drawn} == {1}
        assert set.union(*drawn) == names
    assert max(map(len, alphabets(Omniglot(image_data, **options), "train"))) > 1
    with pytest.raises(ConfigError, match=r"drawers='different' needs classes that .*: pass within='alphabet'"):
        Omniglot(image_data, drawers="different", **options)
    with pytest.raises(ConfigError, match="within='alphabets' is not known: did you mean 'alphabet'"):
        Omniglot(image_data, within="alphabets", **options)
    with pytest.raises(ConfigError, match=r"ways=5 is more than the 4 classes of images_background/\w+, the largest group"):
        Omniglot(image_data, within="alphabet", **{**options, "ways": 5})


@pytest.mark.parametrize("size", [20, 28, 105])
def test_omniglots_drawings_have_the_size_and_each_size_a_cache(image_data, size):
    env = Omniglot(image_data, size=size, ways=2, queries=2)
    assert env.input_shape == (1, size, size)
    assert (image_data / CACHE / f"omniglot-{size}.pt").is_file()
    path = sorted((image_data / env.class_names[0]).glob("*.png"))[0]
    with Image.open(path) as file:
        expected = 255 - np.asarray(file.convert("L").resize((size, size), Image.Resampling.LANCZOS))
    np.testing.assert_array_equal(env._sampler.images.images[0, 0], expected)


def test_omniglots_size_is_a_whole_number(image_data):
    with pytest.raises(ConfigError, match=re.escape("size=0 must be a whole number above zero")):
        Omniglot(image_data, size=0)


def test_every_family_takes_the_options_of_image_episodes():
    options = {"groups": GROUPS, "drawers": "different", "distortions": "affine"}
    env = ImageEpisodes(image_set([4] * 12), SPLITS, ways=2, queries=1, **options)
    assert env.sample_episodes(2, "train", generator()).support.inputs.shape == (2, 2, 3, 6, 6)
