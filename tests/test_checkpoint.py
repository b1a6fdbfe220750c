"""Checkpoints are whole or absent, safe to load, and say what is wrong with them."""

import pickle

import numpy as np
import pytest
import torch
from torch import nn

import metarl
from metarl import checkpoint
from metarl.errors import CheckpointError
from metarl.rules import GradientDescent
from tests.worlds import flat


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
    assert (content["format"], content["version"]) == ("metarl-checkpoint", 1)


def test_tensors_keep_their_numbers_and_types(tmp_path):
    tensor = torch.tensor([0.1, float("inf")], dtype=torch.float64)
    found = checkpoint.read(checkpoint.write(tmp_path / "agent", {"value": [tensor]}))["value"][0]
    assert torch.equal(found, tensor)
    assert found.dtype == torch.float64


def test_numpy_arguments_are_stored_plainly(tmp_path):
    env_kwargs = {"task": {"goal": np.array([0.1, 0.2])}}
    agent = metarl.MAML("MlpPolicy", "metarl/Navigation2D-v0", rate=np.float64(0.05), env_kwargs=env_kwargs, device="cpu")
    again = metarl.MAML.load(agent.save(tmp_path / "agent"))
    assert again.arguments["env_kwargs"] == {"task": {"goal": [0.1, 0.2]}}
    with pytest.raises(CheckpointError, match=r"checkpoint\['value'\]\['x'\]=.*cannot be stored"):
        checkpoint.write(tmp_path / "bad", {"value": {"x": object()}})


def test_a_newer_format_is_named(tmp_path):
    path = checkpoint.write(tmp_path / "new", {"version": 99})
    with pytest.raises(CheckpointError, match="has version 99, newer than 1: upgrade metarl"):
        checkpoint.read(path)


def test_what_cannot_be_stored_is_asked_for_again(tmp_path):
    module = nn.Sequential(nn.Linear(1, 4), nn.Tanh(), nn.Linear(4, 1))

    class Half(GradientDescent):
        pass

    made = metarl.Agent(module, "metarl/Sine-v0", rule=Half, rule_kwargs={"rate": 0.1}, device="cpu").learn(1)
    path = made.save(tmp_path / "own")
    with pytest.raises(CheckpointError, match=r"made with its own policy: hand it in again, load\(path, policy="):
        metarl.Agent.load(path)
    with pytest.raises(CheckpointError, match=r"made with the rule Half: hand it in, load\(path, rule="):
        metarl.Agent.load(path, policy=module)
    other = nn.Linear(1, 1)
    with pytest.raises(CheckpointError, match="hand in the same policy"):
        metarl.Agent.load(path, policy=other, rule=Half)
    assert torch.equal(flat(metarl.Agent.load(path, policy=module, rule=Half).meta), flat(made.meta))
