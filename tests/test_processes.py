"""N processes share a meta-batch and its noise; two under torchrun compute what one computes."""

import os
import subprocess
import sys
import types

import pytest
import torch

from metarl import processes
from metarl.checkpoint import read
from metarl.errors import ConfigError
from tests import two_processes


@pytest.fixture
def process(monkeypatch):
    """Let this process be one of several, and ``all_reduce`` add ten for the others."""

    def pretend(rank, count):
        monkeypatch.setattr(processes, "distributed", others)
        others.get_rank, others.get_world_size = lambda: rank, lambda: count

    others = types.SimpleNamespace(is_available=lambda: True, is_initialized=lambda: True)
    others.all_reduce = lambda tensor: tensor.add_(10)
    return pretend


def test_alone_everything_is_the_identity():
    value = torch.ones(2)
    assert (processes.count(), processes.rank()) == (1, 0)
    assert processes.rows_of_this(5) == slice(0, 5)
    assert processes.mean(value) is value
    assert processes.draw(torch.arange, 3).tolist() == [0, 1, 2]


@pytest.mark.parametrize(("rank", "rows"), [(0, [0, 1]), (1, [2, 3]), (2, [4, 5])])
def test_each_process_takes_its_rows_of_the_tasks_and_of_the_noise(rank, rows, process):
    process(rank, 3)
    assert list(range(6))[processes.rows_of_this(6)] == rows
    assert processes.draw(torch.arange, 2).tolist() == rows


def test_the_mean_is_over_processes_and_leaves_its_argument(process):
    process(0, 4)
    value = torch.tensor([2.0, 6.0], requires_grad=True)
    mean = processes.mean(value)
    assert mean.tolist() == [3, 4]
    assert value.tolist() == [2, 6]
    assert not mean.requires_grad


def test_evaluations_are_each_process_s_own(process):
    process(1, 2)
    assert (processes.count(), processes.rank()) == (2, 1)
    with processes.alone():
        with processes.alone():
            assert (processes.count(), processes.rank()) == (1, 0)
        assert processes.rows_of_this(3) == slice(0, 3)
    assert processes.count() == 2
    with pytest.raises(ZeroDivisionError), processes.alone():
        _ = 1 / 0
    assert processes.count() == 2


def test_a_meta_batch_that_cannot_be_shared_is_named(process):
    process(0, 2)
    with pytest.raises(ConfigError, match="meta_batch=5 cannot be divided among 2 processes; use a multiple of 2"):
        processes.rows_of_this(5)


def torchrun(*command):
    subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", *command],
        check=True,
        env={**os.environ, "PYTHONPATH": ".", "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def assert_same(one, two):
    assert (one["iteration"], one["num_timesteps"]) == (two["iteration"], two["num_timesteps"])
    assert set(one["meta"]) == set(two["meta"])
    for name, value in one["meta"].items():
        torch.testing.assert_close(two["meta"][name], value, rtol=1e-7, atol=1e-9)
    assert set(one["streams"]) == set(two["streams"])
    for name, state in one["streams"].items():
        assert torch.equal(two["streams"][name], state)


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """The folder of all runs' checkpoints by two processes, which are started once."""
    folder = tmp_path_factory.mktemp("two")
    torchrun("tests/two_processes.py", str(folder))
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("run", two_processes.RUNS)
def test_two_processes_are_one(run, two, tmp_path):
    two_processes.train(run, tmp_path)
    one = read(tmp_path / f"{run}.pt")
    assert_same(one, read(two / f"{run}.pt"))
    averages = any(name.startswith("running.") for name in one["meta"])
    assert averages == (run in ("images", "pretraining", "normalised observations"))
