"""The page of a run: that it needs nothing beside itself, holds what the run folder holds, and says what is missing."""

import base64
import io
import json
import re
import shutil
from html.parser import HTMLParser

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

import metarl
from metarl.__main__ import main
from metarl.commands import curves, page, report
from metarl.commands.page import drawing
from metarl.evaluation import Evaluation
from tests.drawn import STEPS

SMALL = ["--policy-kwargs", '{"hidden": [3]}', "--rollouts.trajectories", "3", "--meta-batch", "2", "--iterations", "2"]
SMALL += ["--validate-every", "1", "--validation-tasks", "2", "--evaluation-tasks", "3", "--no-progress-bar", "--device", "cpu"]


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "a <run>"
    assert main(["train", "navigation", "--env", "tests/Drawn-v0", *SMALL, "--run-dir", str(folder)]) == 0
    return folder


@pytest.fixture
def gifs(monkeypatch):
    """Let there be no encoder, whatever is installed."""
    monkeypatch.setattr("metarl.agents.videos.video.ENCODER", "no_such_package")


@pytest.fixture
def no_pictures(monkeypatch):
    """Let there be none, which take the longest."""
    monkeypatch.setattr(metarl.Agent, "pictures", lambda agent: {})


class Page(HTMLParser):
    """A page's text, elements and what they refer to; it complains of elements that are not closed."""

    VOID = ("meta", "link", "img", "br")

    def __init__(self, text):
        super().__init__()
        self.text, self.tags, self.loads, self.rows, self._open = "", [], [], [], []
        self.feed(text)
        assert self._open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.loads += [value for name, value in attrs if name.split(":")[-1] in ("src", "href", "poster", "action", "data")]
        if tag not in self.VOID:
            self._open.append(tag)
        if tag == "tr":
            self.rows.append([])

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self._open.pop()

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        if "style" in self._open:
            return
        self.text += data
        if "tr" in self._open:
            self.rows[-1].append(data)


def made(folder, *arguments):
    out = folder.parent / "page.html"
    assert main(["report", str(folder), "--out", str(out), *arguments]) == 0
    text = out.read_text()
    return Page(text), text


@pytest.mark.usefixtures("gifs")
def test_the_page_holds_the_run_and_loads_nothing(run_dir, capsys):
    shown, text = made(run_dir, "--videos", "1")
    assert "report: " in capsys.readouterr().out
    assert all(load.startswith(("data:", "#")) for load in shown.loads)
    assert "script" not in shown.tags
    assert not re.search(r"url\((?!#)|@import", text)
    assert "meta-sgd on tests/Drawn-v0" in shown.text
    assert "a <run>" in shown.text
    evaluation = json.loads((run_dir / "evaluation.json").read_text())
    for name, mean, half, median in zip(
        ("before adaptation", "after 1 step"), evaluation["mean"], evaluation["ci95"], evaluation["median"], strict=True
    ):
        assert [name, report._said(mean), f"± {report._said(half)}", report._said(median)] in shown.rows
    assert "On 3 tasks that were not seen in training" in shown.text
    config = json.loads((run_dir / "config.json").read_text())
    assert config["command"].startswith("metarl train navigation --env tests/Drawn-v0 --policy-kwargs '{\"hidden\": [3]}'")
    assert config["command"] in shown.text
    assert ["gymnasium", config["versions"]["gymnasium"]] in shown.rows
    assert ["rate", "0.05"] in shown.rows
    assert ["max_kl", "0.02"] in shown.rows
    assert shown.tags.count("svg") == 3  # the evaluation, the learning curve, the speed
    assert "missing" not in re.sub(r"\.missing", "", text)
    logged = curves.read(run_dir).scalars
    assert [[tag in str(shown.rows) for tag in logged]] == [[True] * len(logged)]


@pytest.mark.usefixtures("gifs", "no_pictures")
def test_a_pages_video_has_every_frame(run_dir):
    shown, _ = made(run_dir, "--videos", "2")
    (first, _) = [load for load in shown.loads if load.startswith("data:image/gif;base64,")]
    with Image.open(io.BytesIO(base64.b64decode(first.partition(",")[2]))) as image:
        assert image.n_frames == STEPS + 1
    assert "pip install 'metarl[video]'" in shown.text


@pytest.mark.usefixtures("no_pictures")
def test_a_pages_video_is_mp4_where_there_is_an_encoder(run_dir, tmp_path):
    ffmpeg = pytest.importorskip("imageio_ffmpeg")
    shown, _ = made(run_dir, "--videos", "1")
    (load,) = [load for load in shown.loads if load.startswith("data:video/mp4;base64,")]
    (tmp_path / "film.mp4").write_bytes(base64.b64decode(load.partition(",")[2]))
    assert ffmpeg.count_frames_and_secs(str(tmp_path / "film.mp4"))[0] == STEPS + 1


@pytest.mark.usefixtures("gifs")
def test_what_is_missing_is_said_with_its_remedy(run_dir, tmp_path):
    bare = tmp_path / "bare"
    bare.mkdir()
    shutil.copy(run_dir / "config.json", bare)
    (bare / "evaluation.json").write_text("{half a fil")
    shown, _ = made(bare)
    assert shown.text.count("No checkpoint.pt is there: the run ended before its first one") == 2
    assert "metarl evaluate" not in shown.text
    assert "No TensorBoard logs are there" in shown.text
    (bare / "config.json").unlink()
    shutil.copy(run_dir / "checkpoint.pt", bare)
    shown, _ = made(bare, "--videos", "0")
    assert f"No evaluation is there. `metarl evaluate {bare} --json {bare}/evaluation.json` adds it." in shown.text
    assert "No config.json is there that can be read" in shown.text
    assert "img" in shown.tags
    assert not [load for load in shown.loads if load.startswith("data:image/gif")]


@pytest.mark.usefixtures("no_pictures")
def test_without_a_renderer_the_page_comes_and_says_so(run_dir, monkeypatch):
    def dark(self):
        raise RuntimeError("no display")

    monkeypatch.setattr("tests.drawn.Drawn.render", dark)
    shown, _ = made(run_dir)
    assert "No videos: videos=2: 'tests/Drawn-v0' cannot be drawn here: RuntimeError: no display; install" in shown.text
    assert shown.tags.count("svg") == 3


def test_what_is_no_run_is_refused(run_dir, tmp_path, capsys):
    assert main(["report", str(tmp_path)]) == 1
    assert "holds no run: give a run folder that `metarl train` left" in capsys.readouterr().err
    assert main(["report", str(run_dir), "--out", str(tmp_path / "nowhere" / "x.html")]) == 1
    assert "is in no folder that exists" in capsys.readouterr().err
    assert main(["report", str(run_dir), "--videos", "-1"]) == 1
    assert "videos=-1 must not be negative" in capsys.readouterr().err


@pytest.mark.usefixtures("no_pictures")
def test_a_page_is_written_whole_or_not_at_all(run_dir, tmp_path, monkeypatch):
    out = tmp_path / "page.html"
    out.write_text("as it was")
    monkeypatch.setattr(page, "page", lambda *_: "\ud800")  # cannot be written
    with pytest.raises(UnicodeEncodeError):
        main(["report", str(run_dir), "--out", str(out), "--videos", "0"])
    assert out.read_text() == "as it was"
    assert [one.name for one in tmp_path.iterdir()] == ["page.html"]


@pytest.mark.usefixtures("gifs", "no_pictures")
def test_plot_writes_videos_when_asked(run_dir, tmp_path, capsys):
    assert main(["plot", str(run_dir), "--out", str(tmp_path), "--video"]) == 0
    names = {path.name for path in tmp_path.iterdir()}
    assert {"task_1.gif", "task_2.gif", "curve.png", "speed.png", "evaluation.png"} <= names
    assert "pip install 'metarl[video]' makes them MP4" in capsys.readouterr().out


def test_a_drawing_takes_the_pages_colours_and_names_of_its_own():
    def draw():
        figure = Figure()
        figure.subplots().plot([0, 1], label="line")
        return figure

    one, other = (drawing(draw, 'a "caption" & more', name) for name in ("one", "other"))
    assert "currentColor" in one
    assert page.INK not in one
    assert 'aria-label="a &quot;caption&quot; &amp; more"' in one
    ids = [set(re.findall(r'id="([^"]*)"', svg)) for svg in (one, other)]
    assert ids[0]
    assert not ids[0] & ids[1]
    assert {name for name in re.findall(r'(?:url\(#|href="#)([^")]*)', one)} <= ids[0]
    assert drawing(lambda: None, "", "empty") == ""


def test_text_is_escaped():
    shown = page.section("<b>", page.missing("<i>"), page.table(["&", "<"], [["<u>", "&"]]), page.settings("<", {"<": "<"}))
    assert not re.search(r"<(b|i|u)>", shown)
    assert "&amp;" in shown


def test_evaluations_of_trials_are_told_by_episode():
    values = np.array([[1.0, 2.0, 4.0], [3.0, 4.0, 8.0]])
    evaluation = Evaluation("return", values, (0, 1, 2), stage="episode").as_dict()
    assert report._stages(evaluation) == ["episode 1", "episode 2", "episode 3"]
    line = curves.adaptation(evaluation).axes[0].containers[0].lines[0]
    assert line.get_xdata().tolist() == [1, 2, 3]
    assert line.get_ydata().tolist() == [2.0, 3.0, 6.0]
    assert list(report._facts(curves.Log(), evaluation)) == ["return, episode 1", "return, episode 3"]


def test_logs_of_several_sittings_are_one(run_dir):
    log = curves.read(run_dir)
    assert list(log.scalars["return/after_1_steps"]) == [1, 2]
    assert log.last("time/iterations") == 2
    assert log.last("nothing") is None
    axes = curves.learning(log, "return").axes[0]
    assert [line.get_label() for line in axes.lines] == ["after 0 steps", "after 1 step", "validation"]
    assert curves.speed(log).axes[0].get_ylabel() == "environment steps a second"


@pytest.mark.parametrize(
    ("value", "said"),
    [(None, "–"), (float("nan"), "–"), (0.12345, "0.1235"), (-12.345, "-12.35"), (158.545, "158.5"), (48_000, "48,000")],  # noqa: RUF001
)
def test_numbers_are_said_in_four_digits(value, said):
    assert report._said(value) == said


def test_seconds_are_said_as_a_clock_has_them():
    assert [report._duration(seconds) for seconds in (7.4, 61, 3720)] == ["7 s", "1 min 01 s", "1 h 02 min"]
