"""Images and their cache: the right pixels, decoded once, whatever is killed, damaged or changed; Omniglot's folders."""

import io
import multiprocessing
import os
import re
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from http.client import IncompleteRead
from pathlib import Path
from urllib.error import URLError
from zipfile import BadZipFile

import numpy as np
import pytest
import torch
from PIL import Image

from metarl.errors import ConfigError, DataError
from metarl.supervised import Omniglot
from metarl.supervised.images import _LOADED, CACHE, Decoding, find_classes, load_images
from metarl.supervised.omniglot import PARTS, split_characters

DECODING = Decoding((28, 28), "L", "lanczos", inverted=True)
ALPHABETS, DRAWINGS = {"Korean": 2, "Early_Aramaic": 1, "Greek": 3}, 4
NUMBERS = list(range(len(PARTS) * sum(ALPHABETS.values()) * DRAWINGS))


def draw(path, number):
    """A PNG like the official ones: a band of ink, and the number's bits as blocks of ink below it."""
    paper = np.ones((105, 105), bool)
    paper[:30] = False
    bits = np.array([number >> bit & 1 for bit in range(28)], bool).reshape(4, 7)
    paper[45:] = ~bits.repeat(15, 0).repeat(15, 1)
    Image.fromarray(paper).save(path)


def numbers(images):
    """The numbers drawn in images of shape (n, 1, 28, 28)."""
    bits = images[:, 0, 12:].reshape(-1, 4, 4, 7, 4).float().mean((2, 4)).flatten(1) > 127
    return (bits.long() * 2 ** torch.arange(28)).sum(1).tolist()


@pytest.fixture
def root(tmp_path):
    _LOADED.clear()
    tree, drawn = tmp_path / "tree", iter(NUMBERS)
    for part in PARTS:
        for alphabet in sorted(ALPHABETS):
            for character in range(1, ALPHABETS[alphabet] + 1):
                folder = tree / part / alphabet / f"character{character:02}"
                folder.mkdir(parents=True)
                for drawing in range(1, DRAWINGS + 1):
                    draw(folder / f"{character:04}_{drawing:02}.png", next(drawn))
    (tree / PARTS[0] / "README.txt").write_text("no class")
    (tree / PARTS[0] / "Korean" / "character01" / ".hidden.png").write_text("no image")
    return tree


def load(root):
    """What a new process has: Omniglot's images, nothing of them in its memory."""
    _LOADED.clear()
    files = {f"{part}/{name}": drawings for part in PARTS for name, drawings in find_classes(root / part, depth=2).items()}
    return load_images(root, "omniglot-28", files, DECODING)


@pytest.fixture
def reads(monkeypatch):
    """The files that were decoded."""
    done, read = [], Decoding.read
    monkeypatch.setattr(Decoding, "read", lambda self, path: (done.append(path), read(self, path))[1])
    return done


def left(root):
    """The files beside the data, but for the lock."""
    return sorted(path.name for path in (root / CACHE).iterdir() if path.suffix != ".lock")


def last(root, part=PARTS[0]):
    return sorted((root / part).rglob("[0-9]*.png"))[-1]


def test_decoding_inverts_and_scales(root):
    pixels = DECODING.read(last(root))
    with Image.open(last(root)) as file:
        expected = 255 - np.asarray(file.convert("L").resize((28, 28), Image.Resampling.LANCZOS))
    np.testing.assert_array_equal(pixels[0], expected)
    assert pixels[0, :4].unique().tolist() == [255]
    assert pixels.min() == 0
    assert Decoding((20, 30)).read(last(root)).shape == (3, 20, 30)


def test_classes_are_in_the_official_order(root):
    loaded = load(root)
    alphabets = ["Early_Aramaic/character01", *(f"Greek/character0{i}" for i in (1, 2, 3)), "Korean/character01"]
    assert loaded.names[:6] == tuple(f"images_background/{name}" for name in [*alphabets, "Korean/character02"])
    assert loaded.names[6:] == tuple(name.replace("background", "evaluation") for name in loaded.names[:6])
    assert loaded.counts.tolist() == [DRAWINGS] * 12
    assert loaded.images.dtype == torch.uint8
    assert numbers(loaded.images) == NUMBERS


def test_the_second_load_decodes_nothing(root, reads):
    first = load(root)
    assert len(reads) == len(NUMBERS)
    second = load(root)
    assert len(reads) == len(NUMBERS)
    assert second is not first
    assert torch.equal(second.images, first.images)
    assert (second.names, second.counts.tolist()) == (first.names, first.counts.tolist())
    assert left(root) == ["omniglot-28.pt"]


def test_environments_of_a_process_share_the_images(root, reads):
    options = {"ways": 2, "shots": 1, "queries": 2}
    first, second = Omniglot(root, **options), Omniglot(root, rotations="none", **options)
    assert first._sampler.images is second._sampler.images
    assert len(reads) == len(NUMBERS)


@pytest.mark.parametrize("change", ["time", "size", "added", "removed"])
def test_a_changed_folder_is_decoded_anew(root, change):
    path, row = last(root), len(NUMBERS) // 2 - 1
    draw(path, 0x5555555)
    before = path.stat()
    assert numbers(load(root).images)[row] == 0x5555555
    if change == "added":
        draw(path.with_name("9999_99.png"), 3)
    elif change == "removed":
        path.unlink()
    else:  # another image, of the same size or the same time
        draw(path, 3)
        if change == "time":  # what follows a PNG's end is passed over
            path.write_bytes(path.read_bytes() + bytes(before.st_size - path.stat().st_size))
        assert (path.stat().st_size == before.st_size) == (change == "time")
        os.utime(path, ns=(0, before.st_mtime_ns + (change == "time")))
    now = {"added": [0x5555555, 3], "removed": []}.get(change, [3])
    expected = [*NUMBERS[:row], *now, *NUMBERS[row + 1 :]]
    loaded = load(root)
    assert numbers(loaded.images) == expected
    assert loaded.counts.sum() == len(expected)
    assert numbers(load(root).images) == expected


def other_pixel(content):
    where = content.index(b"\xff" * 100) + 50  # inside a band of ink
    return content[:where] + b"\xfe" + content[where + 1 :]


def other_count(content):
    where = content.index(np.full(12, DRAWINGS).tobytes())
    return content[:where] + b"\x05" + content[where + 1 :]


def foreign(content):
    stream = io.BytesIO()
    torch.save({"format": "another", "images": torch.zeros(3)}, stream)
    return stream.getvalue()


DAMAGES = {
    "truncated": lambda content: content[: len(content) // 2],
    "a pixel": other_pixel,
    "a count": other_count,
    "a name": lambda content: content.replace(b"background/Korean", b"background/Korxan"),
    "another program's": foreign,
    "text": lambda content: b"text",
    "empty": lambda content: b"",
    "zeros": lambda content: bytes(len(content)),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_cache_is_decoded_anew(root, reads, damage):
    first = load(root)
    cache = root / CACHE / "omniglot-28.pt"
    cache.write_bytes(DAMAGES[damage](cache.read_bytes()))
    for _ in range(2):
        loaded = load(root)
        assert numbers(loaded.images) == NUMBERS
        assert (loaded.names, loaded.counts.tolist()) == (first.names, first.counts.tolist())
        assert len(reads) == 2 * len(NUMBERS)


def hang_decoding(root, log):
    read = Decoding.read

    def slow(self, path):
        with log.open("a") as file:
            file.write("read\n")
        time.sleep(600 if len(log.read_text().splitlines()) > 5 else 0)
        return read(self, path)

    Decoding.read = slow
    load(root)


def hang_writing(root, log):
    save = torch.save

    def half(content, path):
        stream = io.BytesIO()
        save(content, stream)
        path.write_bytes(stream.getvalue()[: stream.tell() // 2])
        log.write_text("half\n" * 6)
        time.sleep(600)

    torch.save = half
    load(root)


def load_together(root, log, barrier, results):
    read = Decoding.read

    def logged(self, path):
        time.sleep(0.005)
        with log.open("a") as file:
            file.write(f"{os.getpid()}\n")
        return read(self, path)

    Decoding.read = logged
    barrier.wait(60)
    results.put(numbers(load(root).images))


@pytest.fixture(scope="module")
def processes():
    """Processes that do not import torch anew each."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.test_images"])
    return context


@pytest.mark.parametrize("job", [hang_decoding, hang_writing])
def test_a_process_killed_midway_leaves_no_trace(root, tmp_path, processes, job):
    log = tmp_path / "log"
    process = processes.Process(target=job, args=(root, log), daemon=True)  # it ends with the tests, whatever fails here
    process.start()
    deadline = time.monotonic() + 240  # it may have to import torch first, on a busy machine
    try:
        while not log.exists() or len(log.read_text().splitlines()) < 6:
            assert process.is_alive(), "it failed before it could be killed"
            assert time.monotonic() < deadline
            time.sleep(0.01)
    finally:
        process.kill()
        process.join()
    assert [name.count("omniglot-28.pt") for name in left(root)] == [1] * (job is hang_writing)  # half of one
    assert not (root / CACHE / "omniglot-28.pt").exists()
    assert numbers(load(root).images) == NUMBERS
    assert left(root) == ["omniglot-28.pt"]


def test_processes_that_start_together_decode_once(root, tmp_path, processes, reads):
    log, barrier, results = tmp_path / "log", processes.Barrier(2), processes.SimpleQueue()
    started = [processes.Process(target=load_together, args=(root, log, barrier, results), daemon=True) for _ in range(2)]
    for process in started:
        process.start()
    for process in started:
        process.join(60)
        assert process.exitcode == 0
    assert results.get() == results.get() == NUMBERS
    decoders = log.read_text().split()
    assert len(decoders) == len(NUMBERS)
    assert len(set(decoders)) == 1
    assert numbers(load(root).images) == NUMBERS
    assert not reads


@pytest.mark.parametrize("why", ["a file is in its place", "no right to write"])
def test_a_folder_that_cannot_be_written_is_cached_at_home(root, tmp_path, monkeypatch, reads, why):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    if why == "no right to write":  # which root always has
        monkeypatch.setattr(os, "access", lambda path, mode: False)
    else:
        (root / CACHE).write_text("")
    assert numbers(load(root).images) == NUMBERS
    assert len(list((tmp_path / "home" / "metarl").glob("*/omniglot-28.pt"))) == 1
    assert numbers(load(root).images) == NUMBERS
    assert len(reads) == len(NUMBERS)
    assert not (root / CACHE).is_dir() or not left(root)


@pytest.mark.parametrize("broken", ["truncated", "text"])
def test_a_broken_image_is_named_and_nothing_is_cached(root, broken):
    path = last(root, PARTS[1])
    path.write_bytes(path.read_bytes()[:60] if broken == "truncated" else b"hello")
    with pytest.raises(DataError, match=rf"image {path} cannot be read .*fetch it again, or remove it"):
        load(root)
    assert left(root) == []
    path.unlink()
    assert numbers(load(root).images) == NUMBERS[:-1]


@pytest.mark.parametrize("folder", ["omniglot-py", "omniglot", "python"])
def test_omniglot_is_found_under_its_known_names(root, tmp_path, folder):
    root.rename(tmp_path / folder)
    assert Omniglot(tmp_path, ways=2, queries=2).class_names[0] == "images_background/Early_Aramaic/character01"


def test_a_folder_without_omniglot_is_named(tmp_path):
    remedy = r"unpack images_background.zip and images_evaluation.zip of .*, or pass download=True"
    with pytest.raises(DataError, match=f"root='{tmp_path}' holds no Omniglot: {remedy}"):
        Omniglot(tmp_path)
    for part in PARTS:
        (tmp_path / part / "Korean" / "character01").mkdir(parents=True)
    with pytest.raises(DataError, match=f"{tmp_path / PARTS[0]} holds no folder with images .*expected FOLDER/FOLDER/IMAGE"):
        Omniglot(tmp_path)
    with pytest.raises(DataError, match=f"root: {tmp_path / 'none'} is not a folder"):
        find_classes(tmp_path / "none")
    with pytest.raises(ConfigError, match="characters='mmal' is not known: did you mean 'maml'"):
        Omniglot(tmp_path, characters="mmal")


@pytest.fixture
def torchvision(tmp_path, monkeypatch):
    """torchvision's class for Omniglot, but the archives come from ``root``'s tree and it can be told to fail."""

    class Fake:
        calls, inside, fails = [], 0, {}

        def __init__(self, root, background, download):
            part = PARTS[not background]
            assert download
            assert Fake.inside == 0, "another is at it"
            Fake.inside += 1
            time.sleep(0.01)
            archive = Path(root) / "omniglot-py" / f"{part}.zip"
            Fake.calls.append((part, archive.exists()))
            if not archive.exists():
                archive.parent.mkdir(parents=True, exist_ok=True)
                archive.touch()
                if part in Fake.fails:
                    Fake.inside -= 1
                    raise Fake.fails.pop(part)
                shutil.copytree(tmp_path / "tree" / part, archive.with_suffix(""), dirs_exist_ok=True)
            Fake.inside -= 1

    monkeypatch.setattr("metarl.supervised.omniglot.datasets.Omniglot", Fake)
    return Fake


SMALL = {"ways": 2, "queries": 2, "download": True}


def test_a_download_fetches_both_parts_once(root, tmp_path, torchvision):
    fetched = tmp_path / "new" / "data"
    assert len(Omniglot(fetched, **SMALL).class_names) == 12
    Omniglot(fetched, **SMALL)
    assert torchvision.calls == [(PARTS[0], False), (PARTS[1], False), (PARTS[0], True), (PARTS[1], True)]
    assert [path.name for path in (fetched / CACHE).iterdir()] == ["omniglot-download.lock"]


@pytest.mark.usefixtures("root")
def test_downloads_that_start_together_follow_one_another(tmp_path, torchvision):
    with ThreadPoolExecutor(3) as pool:
        environments = list(pool.map(lambda _: Omniglot(tmp_path / "data", **SMALL), range(3)))
    assert [len(env.class_names) for env in environments] == [12] * 3
    assert sorted(torchvision.calls) == [(part, there) for part in PARTS for there in (False, True, True)]


@pytest.mark.usefixtures("root")
@pytest.mark.parametrize("error", [URLError("no route"), RuntimeError("corrupted"), BadZipFile("no zip"), IncompleteRead(b"")])
def test_a_download_that_fails_is_named_and_can_be_tried_again(tmp_path, torchvision, error):
    torchvision.fails[PARTS[1]] = error
    says = (
        rf"root='{tmp_path}/data' \({re.escape(str(error))}\): try again, or unpack images_background.zip .* leave download out"
    )
    with pytest.raises(DataError, match=f"download=True: Omniglot cannot be fetched into {says}"):
        Omniglot(tmp_path / "data", **SMALL)
    assert len(Omniglot(tmp_path / "data", **SMALL).class_names) == 12


@pytest.mark.usefixtures("root")
def test_a_download_that_was_stopped_is_begun_anew(tmp_path, torchvision):
    torchvision.fails[PARTS[1]] = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        Omniglot(tmp_path / "data", **SMALL)
    torchvision.calls.clear()
    assert len(Omniglot(tmp_path / "data", **SMALL).class_names) == 12
    assert torchvision.calls == [(PARTS[0], False), (PARTS[1], False)]  # neither archive was taken for unpacked


SIZES = {"Armenian": 41, "Bengali": 46, "Early_Aramaic": 22, "Futurama": 792, "Hebrew": 22, "Mkhedruli_(Georgian)": 41}


@pytest.mark.parametrize(
    ("characters", "sizes"), [("maml", (1100, 100, 423)), ("vinyals", (1028, 172, 423)), ("lake", (792, 172, 659))]
)
def test_splits_have_the_papers_sizes(characters, sizes):
    alphabets = [*((PARTS[0], *item) for item in SIZES.items()), (PARTS[1], "Manipuri", 659)]
    names = tuple(f"{part}/{alphabet}/{i:03}" for part, alphabet, size in alphabets for i in range(size))
    splits = split_characters(names, characters)
    assert tuple(map(len, splits.values())) == sizes
    assert sorted(i for classes in splits.values() for i in classes) == list(range(1623))
    assert splits == split_characters(names, characters)
    assert (splits == split_characters(names, characters, seed=2)) == (characters != "maml")
    hand = [[109, 110], [0, 1]]  # behind the first alphabets that validate
    starts = {"maml": [[0, 1], [6, 18], [2, 8]], "vinyals": [*hand, [1200, 1201]], "lake": [*hand, [964, 965]]}
    assert [classes[:2] for classes in splits.values()] == starts[characters]  # MAML's by NumPy's shuffle of seed 1


@pytest.mark.skipif("METARL_OMNIGLOT" not in os.environ, reason="METARL_OMNIGLOT does not name the folder of the real Omniglot")
def test_the_real_omniglot_is_whole():
    env = Omniglot(os.environ["METARL_OMNIGLOT"], ways=5, train_ways=20)
    assert [len(classes) for classes in env.splits.values()] == [1100, 100, 423]
    assert env.class_names[0] == "images_background/Alphabet_of_the_Magi/character01"
    assert env.class_names[-1] == "images_evaluation/ULOG/character26"
    assert env._sampler.images.counts.tolist() == [20] * 1623
    assert env._sampler.images.images.float().mean().item() / 255 == pytest.approx(0.084, abs=5e-4)  # ink on paper
    assert env.sample_episodes(2, "train", torch.Generator()).support.inputs.shape == (2, 20, 1, 28, 28)
    assert env.sample_episodes(2, "test", torch.Generator()).query.inputs.shape == (2, 75, 1, 28, 28)
    assert env.count_classes("train") == 4400
