"""What a command chooses before PyTorch is imported: threads, how they wait, memory that stays; never against the user."""

import os
import subprocess
import sys

import pytest

from metarl.commands import start

CHOSEN = ("OMP_NUM_THREADS", "OMP_WAIT_POLICY", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_")


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """Return what makes a machine whose cores others use, and whose container has a share of them."""
    for name in (*start.WAITING, *start.ALLOCATOR, start.THREADS):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "environ", dict(os.environ))
    monkeypatch.setattr(start, "cores", lambda: 8)

    def make(busy=0, quota="max 100000"):
        looks = iter([[0] * 8, [busy, 0, 0, 90 - busy, 10, 0, 0, 0]])
        monkeypatch.setattr(start, "_ticks", lambda: next(looks))
        monkeypatch.setattr(start, "QUOTA", tmp_path / "cpu.max")
        start.QUOTA.write_text(quota)

    monkeypatch.setattr(start.time, "sleep", lambda seconds: None)
    monkeypatch.setattr(start.ctypes, "CDLL", lambda name: pytest.fail("the tests' own allocator stays as it is"))
    monkeypatch.setattr(start, "keep_memory", lambda: None)
    return make


def test_on_a_quiet_machine_nothing_is_changed(machine):
    machine(busy=24)
    assert start.settle() == "threads on 8 cores"
    assert not any(name in os.environ for name in CHOSEN[:2])


def test_where_others_compute_threads_do_not_spin(machine):
    machine(busy=25)
    assert start.settle() == "OMP_WAIT_POLICY=passive, as other programs use 25% of the cores"
    assert os.environ["OMP_WAIT_POLICY"] == "passive"


def test_a_containers_share_is_the_number_of_threads(machine):
    machine(quota="250000 100000")
    assert start.settle() == "OMP_NUM_THREADS=2, the container's share"
    assert os.environ["OMP_NUM_THREADS"] == "2"


@pytest.mark.parametrize("name", start.WAITING)
def test_what_the_user_has_set_stays(machine, name):
    machine(busy=90, quota="100000 100000")
    os.environ.update({name: "7", "OMP_NUM_THREADS": "3"})
    assert start.settle() == "OMP_NUM_THREADS=3"
    assert os.environ[name] == "7"
    assert os.environ["OMP_NUM_THREADS"] == "3"


def test_a_machine_that_does_not_tell_is_taken_for_quiet(monkeypatch, tmp_path):
    monkeypatch.setattr(start, "STAT", tmp_path / "none")
    assert start.used_by_others(60) == 0.0


PAGES = """
import resource
from metarl.commands.start import keep_memory
keep_memory()
import torch
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        torch.empty(2**24).fill_(1)  # 64 MiB
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults(), faults()
print(faults())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's allocator")
@pytest.mark.parametrize("kept", [True, False])
def test_memory_that_large_tensors_leave_is_used_again(kept):
    """Page faults are counted: of each tensor 16,384, or 32 of large pages, where the last one's memory was given back."""
    env = {name: value for name, value in os.environ.items() if name not in start.ALLOCATOR}
    changed = {} if kept else {"MALLOC_TRIM_THRESHOLD_": "131072"}  # as the user has it
    done = subprocess.run(
        [sys.executable, "-c", PAGES], env={**env, **changed, "PYTHONPATH": "."}, capture_output=True, text=True, check=True
    )
    faults = int(done.stdout)
    assert faults < 100 if kept else faults > 150


def test_a_command_says_it_once_and_help_does_not():
    env = {name: value for name, value in os.environ.items() if name not in start.WAITING}
    run = [sys.executable, "-m", "metarl", "evaluate"]
    for arguments, lines in ((["nowhere"], 1), (["--help"], 0)):
        done = subprocess.run(
            [*run, *arguments], env={**env, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False
        )
        assert done.stderr.count("metarl: OMP_NUM_THREADS=1") == lines
