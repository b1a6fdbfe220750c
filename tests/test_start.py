"""What a command chooses before PyTorch is imported: threads, how they wait, memory that stays; never against the user."""

import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

import metarl.cores
from metarl.commands import start

CHOSEN = ("OMP_NUM_THREADS", "OMP_WAIT_POLICY", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_")


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """Return what makes a machine of eight cores that others use, and whose container has a share of them."""
    chosen = {*start.WAITING, *start.ALLOCATOR, start.THREADS, "LOCAL_WORLD_SIZE"}
    monkeypatch.setattr(os, "environ", {name: value for name, value in os.environ.items() if name not in chosen})
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(8)), raising=False)
    monkeypatch.setattr(metarl.cores, "CGROUP", tmp_path)
    monkeypatch.setattr(start.time, "sleep", lambda seconds: None)
    monkeypatch.setattr(start, "keep_memory", lambda: False)

    def make(busy=0, quota="max 100000"):
        looks = iter([[0] * 8, [busy, 0, 0, 90 - busy, 10, 0, 0, 0]])
        monkeypatch.setattr(start, "_ticks", lambda: next(looks))
        (tmp_path / "cpu.max").write_text(quota)

    return make


def test_on_a_quiet_machine_nothing_is_changed(machine):
    machine(busy=24)
    assert start.settle() == "threads on 8 cores"
    assert not any(name in os.environ for name in CHOSEN)


def test_kept_memory_is_said(machine, monkeypatch):
    machine()
    monkeypatch.setattr(start, "keep_memory", lambda: True)
    assert start.settle() == "freed memory is kept; threads on 8 cores"


def test_where_others_compute_threads_do_not_spin(machine):
    machine(busy=25)
    assert start.settle() == "threads on 8 cores; OMP_WAIT_POLICY=passive, as other programs use 25% of the cores"
    assert os.environ["OMP_WAIT_POLICY"] == "passive"


def test_processes_of_torchrun_are_no_other_programs(machine):
    machine(busy=90)
    os.environ["LOCAL_WORLD_SIZE"] = "4"
    assert start.settle() == "threads on 2 cores"
    assert not any(name in os.environ for name in CHOSEN)


def test_a_containers_share_is_the_number_of_threads(machine):
    machine(quota="250000 100000")
    assert start.settle() == "OMP_NUM_THREADS=2, the container's share"
    assert os.environ["OMP_NUM_THREADS"] == "2"


def test_a_container_s_shares_are_read_in_both_versions(machine, tmp_path):
    machine(quota="550000 100000")
    assert metarl.cores.cores() == 5
    (tmp_path / "memory.max").write_text("4096")
    assert metarl.cores.memory() == 4096
    for name in ("cpu.max", "memory.max"):
        (tmp_path / name).unlink()
    for name, value in (("cpu/cpu.cfs_quota_us", 300), ("cpu/cpu.cfs_period_us", 100), ("memory/memory.limit_in_bytes", 8192)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"{value}\n")
    assert (metarl.cores.cores(), metarl.cores.memory()) == (3, 8192)
    os.environ["LOCAL_WORLD_SIZE"] = "2"
    assert (metarl.cores.cores(), metarl.cores.memory()) == (1, 4096)
    (tmp_path / "cpu/cpu.cfs_quota_us").write_text("-1")
    assert metarl.cores.cores() == 4


@pytest.mark.parametrize("name", start.WAITING)
def test_what_the_user_has_set_stays(machine, name):
    machine(busy=90, quota="100000 100000")
    os.environ.update({name: "7", "OMP_NUM_THREADS": "3"})
    assert start.settle() == "OMP_NUM_THREADS=3"
    assert os.environ[name] == "7"
    assert os.environ["OMP_NUM_THREADS"] == "3"


@pytest.mark.parametrize(("taken", "asked", "kept"), [(1, 2, True), (0, 1, False)])
def test_a_library_that_refuses_a_threshold_is_left_as_it_is(monkeypatch, taken, asked, kept):
    """Some versions of glibc refuse the first; the second alone would make things worse."""
    monkeypatch.setattr(os, "environ", {})
    calls = []
    library = SimpleNamespace(mallopt=lambda *given: calls.append(given) or taken)
    monkeypatch.setattr(start.ctypes, "CDLL", lambda name: library)
    assert start.keep_memory() is kept
    assert calls == [(-3, 2**30), (-1, 2**31 - 1)][:asked]
    assert ("MALLOC_TRIM_THRESHOLD_" in os.environ) is kept


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
        assert done.stderr.count("OMP_NUM_THREADS=1") == lines
