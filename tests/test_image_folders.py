"""Folders of images: every official layout in small, and what is said when one is not right."""

import pytest
import torch
from PIL import Image

from metarl.errors import ConfigError, DataError
from metarl.supervised.cub import CUB
from metarl.supervised.image_folder import ImageFolder, split_classes
from metarl.supervised.images import _LOADED, Decoding
from metarl.supervised.miniimagenet import MiniImageNet

SMALL = {"size": 4, "ways": 2, "shots": 1, "queries": 1}
IDS = {"train": ["n01532829", "n01558993"], "val": ["n01855672", "n02091244"], "test": ["n01930112", "n01981276"]}
LABELS = [label for ids in IDS.values() for label in ids]
SPLITS = {"train": (0, 1), "validation": (2, 3), "test": (4, 5)}
ILSVRC = ("{}_9.JPEG", "{}_88.JPEG", "{}_700.JPEG")  # by name, 700 comes before 88


def paint(path, value, mode="RGB"):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, (6, 5), (value,) * len(mode)).save(path)


def paint_classes(folder, names, files=("0.png", "1.png")):
    """Paint class k's file i with the brightness 10 k + i."""
    for k, name in enumerate(names):
        for i, file in enumerate(files):
            paint(folder / name / file.format(name), 10 * k + i)


def write_csv(folder, numbers):
    for name, ids in IDS.items():
        rows = [f"{label}{number:08d}.jpg,{label}" for label in ids for number in numbers]
        (folder / f"{name}.csv").write_text("\n".join(["filename,label", *rows]) + "\n")


def shades(env):
    """Return the brightness of every class's images."""
    whole = env._sampler.images.images
    assert (whole == whole[:, :1, :1, :1]).all()
    parts = torch.split(whole[:, 0, 0, 0], env._sampler.images.counts.tolist())
    return {name: brightness.tolist() for name, brightness in zip(env.class_names, parts, strict=True)}


@pytest.mark.parametrize(("family", "validation"), [(MiniImageNet, "val"), (ImageFolder, "validation")])
def test_split_folders(tmp_path, family, validation):
    for name, ids in IDS.items():
        paint_classes(tmp_path / (validation if name == "val" else name), ids)
    env = family(tmp_path, **SMALL)
    assert env.splits == SPLITS
    assert shades(env) == {label: [10 * k, 10 * k + 1] for ids in IDS.values() for k, label in enumerate(ids)}
    paint(tmp_path / "test" / "n01532829" / "0.png", 0)
    with pytest.raises(DataError, match="class 'n01532829' is in split 'train' and in split 'test'"):
        family(tmp_path, **SMALL)


def test_mini_imagenet_in_one_folder(tmp_path):
    folder = tmp_path / "mini-imagenet"
    for k, label in enumerate(LABELS):
        for number in (1, 2, 3):
            paint(folder / "images" / f"{label}{number:08d}.jpg", 10 * k + number)
    write_csv(folder, (3, 1, 3))
    env = MiniImageNet(tmp_path, **SMALL)
    assert env.splits == SPLITS
    assert shades(env) == {label: [10 * k + 3, 10 * k + 1] for k, label in enumerate(LABELS)}
    assert (folder / ".metarl" / "miniimagenet-4.pt").is_file()
    (folder / "images" / "n0185567200000003.jpg").unlink()
    with pytest.raises(DataError, match=r"n0185567200000003\.jpg of val\.csv is not in .*images"):
        MiniImageNet(tmp_path, **SMALL)
    (folder / "val.csv").write_text("name,label\na.jpg,a\n")
    with pytest.raises(DataError, match=r"val\.csv, line 2: expected the columns filename,label"):
        MiniImageNet(tmp_path, **SMALL)


@pytest.mark.parametrize("place", [".", "ILSVRC2012_img_train", "train"])
def test_mini_imagenet_from_ilsvrc(tmp_path, place):
    paint_classes(tmp_path / place, LABELS, ILSVRC)
    paint(tmp_path / place / "n09999999" / "n09999999_1.JPEG", 0)  # one of the 900 other classes
    paint(tmp_path / "val" / "n01532829" / "ILSVRC2012_val_1.JPEG", 0)  # not among ILSVRC's training photographs
    write_csv(tmp_path, (3, 2))
    env = MiniImageNet(tmp_path, **SMALL)
    assert env.splits == SPLITS
    assert shades(env) == {label: [10 * k + 2, 10 * k + 1] for k, label in enumerate(LABELS)}
    write_csv(tmp_path, (3, 4))
    with pytest.raises(DataError, match=r"n0153282900000004\.jpg .* none of the 3 photographs of class n01532829"):
        MiniImageNet(tmp_path, **SMALL)


@pytest.mark.parametrize("prefix", ["", "miniimagenet_"])
def test_mini_imagenet_by_lists_of_ids(tmp_path, prefix, monkeypatch):
    monkeypatch.setattr("metarl.supervised.miniimagenet.PER_CLASS", 2)
    lists, photographs = tmp_path / "lists", tmp_path / "photographs"
    lists.mkdir()
    paint_classes(photographs, LABELS, ILSVRC)
    for name, ids in IDS.items():
        (lists / f"{prefix}{name}.txt").write_text("\n".join(ids) + "\n")
    env = MiniImageNet(photographs, class_lists=lists, **SMALL)
    assert env.splits == SPLITS
    assert shades(env) == {label: [10 * k, 10 * k + 1] for k, label in enumerate(LABELS)}
    (lists / f"{prefix}test.txt").write_text("n07777777\n")
    with pytest.raises(DataError, match=r"class n07777777 of the lists has no photographs .* unpack n07777777\.tar"):
        MiniImageNet(photographs, class_lists=lists, **SMALL)
    paint(photographs / "n01532829" / "thumbnail.JPEG", 0)
    with pytest.raises(DataError, match=r"thumbnail\.JPEG does not end with a number"):
        MiniImageNet(photographs, class_lists=lists, **SMALL)


def test_each_choice_of_photographs_has_a_cache_of_its_own(tmp_path, monkeypatch):
    reads, read = [], Decoding.read
    monkeypatch.setattr(Decoding, "read", lambda self, path: (reads.append(path), read(self, path))[1])
    paint_classes(tmp_path, LABELS, ILSVRC)
    for choice, numbers in (("first", (1, 2)), ("second", (3, 2))):
        (tmp_path / "lists" / choice).mkdir(parents=True)
        write_csv(tmp_path / "lists" / choice, numbers)
    for _ in range(2):
        for choice, shade in (("first", 0), ("second", 2)):
            _LOADED.clear()
            env = MiniImageNet(tmp_path, class_lists=tmp_path / "lists" / choice, **SMALL)
            assert shades(env)["n01532829"] == [shade, 1]
    assert len(reads) == 2 * 2 * len(LABELS)
    assert len(list((tmp_path / ".metarl").glob("miniimagenet-4-????????.pt"))) == 2


@pytest.mark.parametrize(("family", "name"), [(MiniImageNet, "miniimagenet-{}"), (CUB, "cub-{}")])
def test_a_size_has_one_cache_however_it_is_written(tmp_path, family, name):
    for part in ("train", "val", "test"):
        paint_classes(tmp_path / part, [f"{part}{k}" for k in range(2)])
    paint_classes(tmp_path / "CUB_200_2011" / "images", [f"{k:03}.Bird" for k in range(1, 9)])
    for size in (4, (4, 4), [4, 4], (4, 7), [4, 7]):  # a checkpoint gives back a list
        assert family(tmp_path, **SMALL | {"size": size}).input_shape == (
            (3, 4, 4) if size in (4, (4, 4), [4, 4]) else (3, 4, 7)
        )
    caches = {path.name for path in tmp_path.glob("**/.metarl/*.pt")}
    assert caches == {f"{name.format(size)}.pt" for size in ("4", "4x7")}


@pytest.mark.parametrize("above", ["CUB_200_2011/images", "images", "."])
def test_cub_splits(tmp_path, above):
    names = [f"{k:03d}.Bird_{k}" for k in range(1, 201)]
    for k, name in enumerate(names):
        for i in range(2):
            paint(tmp_path / above / name / f"{i}.jpg", k)
    env, turtle = CUB(tmp_path, **SMALL), CUB(tmp_path, classes="turtle", **SMALL).splits
    assert shades(env) == {name: [k, k] for k, name in enumerate(names)}
    assert [(len(classes), classes[:3]) for classes in env.splits.values()] == [
        (100, (0, 2, 4)),
        (50, (1, 5, 9)),
        (50, (3, 7, 11)),
    ]
    assert [len(classes) for classes in turtle.values()] == [140, 30, 30]
    for splits in (env.splits, turtle):
        assert sorted(i for classes in splits.values() for i in classes) == list(range(200))


def test_an_image_folder_is_divided_by_its_seed(tmp_path):
    paint_classes(tmp_path, [f"class{k:02d}" for k in range(25)])
    first, again, other = (ImageFolder(tmp_path, seed=seed, **SMALL).splits for seed in (0, 0, 1))
    assert [len(classes) for classes in first.values()] == [16, 4, 5]
    assert sorted(i for classes in first.values() for i in classes) == list(range(25))
    assert first == again != other
    assert [len(classes) for classes in split_classes(3, (0, 0.5, 0.5), 0).values()] == [0, 2, 1]


def test_images_are_converted_and_scaled_and_other_files_passed_over(tmp_path):
    for name, mode in (("a", "L"), ("b", "RGBA"), ("c", "RGB")):
        for i in range(2):
            paint(tmp_path / "train" / name / f"{i}.png", 50 + i, mode)
    folder = tmp_path / "train" / "c"
    Image.new("RGB", (6, 5), (51,) * 3).convert("P").save(folder / "1.png")
    paint(folder / ".hidden.png", 0)
    paint(tmp_path / "train" / ".thumbnails" / "0.png", 0)
    (folder / "notes.txt").write_text("no image")
    env, grey = ImageFolder(tmp_path, **SMALL | {"size": (3, 7)}), ImageFolder(tmp_path, channels=1, **SMALL)
    assert (env.input_shape, grey.input_shape) == ((3, 3, 7), (1, 4, 4))
    assert shades(env) == shades(grey) == {name: [50, 51] for name in "abc"}
    with pytest.raises(ConfigError, match="ways=2 is more than the 0 classes of split 'test'"):
        env.sample_tasks(1, "test")
    with pytest.raises(ConfigError, match=r"need 3 images of a class, but a of split 'train' has 2"):
        ImageFolder(tmp_path, **SMALL | {"queries": 2})
    (folder / "0.png").write_bytes(b"\x89PNG broken")
    with pytest.raises(DataError, match=r"image .*0\.png cannot be read"):
        ImageFolder(tmp_path, **SMALL)
    for name in ("val", "validation"):
        paint_classes(tmp_path / name, ["d"])
    with pytest.raises(DataError, match=r"val and .*validation are one split by two names"):
        ImageFolder(tmp_path, **SMALL)


@pytest.mark.parametrize(
    ("family", "kwargs", "error", "says"),
    [
        (MiniImageNet, {}, DataError, r"root='.*' holds no miniImageNet: put .*meta-learning-lstm.*image-net\.org.*class_"),
        (MiniImageNet, {"class_lists": "nowhere"}, DataError, "class_lists='nowhere' holds no lists of classes: put"),
        (CUB, {}, DataError, r"root='.*' holds no CUB_200_2011/images: fetch CUB_200_2011\.tgz from data\.caltech\.edu"),
        (CUB, {"classes": "chan"}, ConfigError, "classes='chan' is not known: did you mean 'chen'"),
        (CUB, {"size": 0}, ConfigError, "size=0 must be a whole number above zero"),
        (ImageFolder, {}, DataError, r"root='.*' holds no images in class folders: put them in CLASS/IMAGE\.png"),
        (ImageFolder, {"size": (84, 84.5)}, ConfigError, r"size=\(84, 84\.5\) must be"),
        (ImageFolder, {"channels": 4}, ConfigError, "channels=4 must be 1"),
        (ImageFolder, {"fractions": (0.5, 0.6, -0.1)}, ConfigError, r"fractions=\(0\.5, 0\.6, -0\.1\) must be three numbers"),
        (ImageFolder, {"fractions": 1}, ConfigError, "fractions=1 must be three numbers"),
    ],
)
def test_bad_arguments_and_roots_are_named(tmp_path, family, kwargs, error, says):
    for root in (tmp_path, tmp_path / "missing"):
        with pytest.raises(error, match=says):
            family(root, **kwargs)
