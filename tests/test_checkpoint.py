"""Checkpoints are whole or absent, safe to load, and say what is wrong with them."""

import pickle

import numpy as np
import pytest
import torch

import metarl
from metarl import checkpoint
from metarl.errors import CheckpointError


def agent():
    return metarl.MAML("MLP", "metarl/Sine-v0", device="cpu")


def test_missing_truncated_and_foreign_files_are_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"nothing\.pt does not exist"):
        metarl.MAML.load(tmp_path / "nothing")
    path = agent().save(tmp_path / "agent")
    (tmp_path / "short.pt").write_bytes(path.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match=r"short\.pt cannot be read .*: it is truncated"):
        metarl.MAML.load(tmp_path / "short.pt")
    torch.save({"weights": torch.zeros(3)}, tmp_path / "foreign.pt")
    with pytest.raises(CheckpointError, match=r"foreign\.pt was not written by metarl"):
        metarl.MAML.load(tmp_path / "foreign.pt")
    with pytest.raises(CheckpointError, match=r"holds a MAML, not a MetaSGD: use MAML\.load"):
        metarl.MetaSGD.load(path)
    assert isinstance(metarl.Agent.load(path), metarl.Agent)


class Evil:
    def __reduce__(self):
        return print, ("code ran",)


def test_loading_runs_no_code(tmp_path, capsys):
    torch.save({"format": checkpoint.FORMAT, "version": 1, "agent": Evil()}, tmp_path / "evil.pt", pickle_module=pickle)
    with pytest.raises(CheckpointError, match="cannot be read"):
        checkpoint.read(tmp_path / "evil.pt")
    assert "code ran" not in capsys.readouterr().out


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = checkpoint.write(tmp_path / "kept", {"value": 1})

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(CheckpointError, match="cannot be written: disk full"):
        checkpoint.write(path, {"value": 2})
    assert [file.name for file in tmp_path.iterdir()] == ["kept.pt"]
    monkeypatch.undo()
    assert checkpoint.read(path)["value"] == 1


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("agent", "agent.pt"),
        ("agent.pt", "agent.pt"),
        ("meta-sgd.v2", "meta-sgd.v2"),
        ("new/folder/agent", "new/folder/agent.pt"),
    ],
)
def test_files_are_where_they_are_said_to_be(name, file, tmp_path):
    assert checkpoint.write(tmp_path / name, {"value": 1}) == tmp_path / file
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [tmp_path / file]
    assert checkpoint.read(tmp_path / name)["value"] == checkpoint.read(tmp_path / file)["value"] == 1


def test_a_run_s_folder_stands_for_its_checkpoint(tmp_path):
    checkpoint.write(tmp_path / checkpoint.RUN_CHECKPOINT, {"value": 1})
    assert checkpoint.read(tmp_path)["value"] == 1
    (tmp_path / "empty").mkdir()
    with pytest.raises(CheckpointError, match=r"empty/checkpoint\.pt does not exist"):
        checkpoint.read(tmp_path / "empty")


def test_the_file_appears_when_it_is_whole(tmp_path, monkeypatch):
    save, seen = torch.save, []
    path = checkpoint.write(tmp_path / "kept", {"value": 1})

    def watch(content, file):
        save(content, file)
        file.flush()
        seen.append(checkpoint.read(path)["value"])  # the old one, while the new one is written

    monkeypatch.setattr(torch, "save", watch)
    checkpoint.write(path, {"value": 2})
    assert seen == [1]
    assert checkpoint.read(path)["value"] == 2


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        (np.float32(0.5), 0.5),
        (np.int64(3), 3),
        (np.bool_(True), True),
        (np.array([[1, 2]]), [[1, 2]]),
        ((1, [2.0, "three", None, True]), (1, [2.0, "three", None, True])),
        ({"a": {"b": np.array([1.5])}}, {"a": {"b": [1.5]}}),
    ],
)
def test_what_is_stored_is_plain(value, stored, tmp_path):
    content = checkpoint.read(checkpoint.write(tmp_path / "agent", {"value": value}))
    assert content["value"] == stored
    assert repr(content["value"]) == repr(stored)  # types too
    assert (content["format"], content["version"]) == ("metarl-checkpoint", checkpoint.VERSION)


def test_tensors_keep_their_numbers_and_types(tmp_path):
    tensor = torch.tensor([0.1, float("inf")], dtype=torch.float64)
    stored = checkpoint.read(checkpoint.write(tmp_path / "agent", {"value": [tensor]}))["value"][0]
    assert torch.equal(stored, tensor)
    assert stored.dtype == torch.float64


def test_numpy_arguments_are_stored_plainly(tmp_path):
    env_kwargs = {"task": {"goal": np.array([0.1, 0.2])}}
    agent = metarl.MAML("MlpPolicy", "metarl/Navigation2D-v0", rate=np.float64(0.05), env_kwargs=env_kwargs, device="cpu")
    again = metarl.MAML.load(agent.save(tmp_path / "agent"))
    assert again.options.env_kwargs == {"task": {"goal": [0.1, 0.2]}}
    assert again.options.rate == 0.05
    with pytest.raises(CheckpointError, match=r"checkpoint\['value'\]\['x'\]=.*cannot be stored"):
        checkpoint.write(tmp_path / "bad", {"value": {"x": object()}})


@pytest.mark.parametrize(
    ("version", "says"),
    [
        (99, f"has version 99, newer than {checkpoint.VERSION}: upgrade metarl"),
        (0, "is damaged: version=0 is not a version"),
        (-1, "is damaged: version=-1 is not a version"),
        ("2", "is damaged: version='2' is not a version"),
        (1.5, r"is damaged: version=1\.5 is not a version"),
        (True, "is damaged: version=True is not a version"),
        (None, "is damaged: version=None is not a version"),
    ],
)
def test_another_format_is_named(version, says, tmp_path):
    path = checkpoint.write(tmp_path / "other", {"version": version})
    with pytest.raises(CheckpointError, match=says):
        checkpoint.read(path)
    with pytest.raises(CheckpointError, match=says):
        metarl.Agent.load(path)
