"""A pool of worker processes: the same trajectories, one clear error for whatever goes wrong, no process left behind."""

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress

import numpy as np
import pytest
import torch

from metarl.errors import ConfigError, WorkerError
from metarl.sampling.pool import WorkerPool
from metarl.sampling.row_stepper import RowStepper
from metarl.sampling.vector import make_vector_env
from tests.simulators import make_walk

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a thread ends a worker, which needs the lock")
WALKS = [{"goal": 1.0, "length": 3}, {"goal": -1.0}, {"goal": 0.5, "length": 1}]


@pytest.fixture(scope="module")
def pool():
    pool = WorkerPool(make_walk, workers=2, timeout=30)
    yield pool
    pool.close()


def gone(pid):
    """Return whether a process has ended, within two seconds."""
    for _ in range(200):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        with open(f"/proc/{pid}/stat") as stat, suppress(OSError):
            if stat.read().rpartition(")")[2].split()[0] == "Z":  # ended, and not yet waited for
                return True
        time.sleep(0.01)
    return False


def test_workers_step_as_one_process_does(pool):
    alone, rng = RowStepper(make_walk), np.random.default_rng(0)
    before = [worker.process.pid for worker in pool._workers]
    for tasks in (WALKS, WALKS[:1], WALKS * 2):  # fewer rows than workers, and sizes that follow one another
        seeds = list(range(len(tasks)))
        np.testing.assert_array_equal(pool.reset(tasks, seeds), alone.reset(tasks, seeds))
        for _ in range(5):
            actions = rng.normal(size=(len(tasks), 1)).clip(-1, 1)
            for theirs, ours in zip(pool.step(actions), alone.step(actions), strict=True):
                np.testing.assert_array_equal(theirs, ours)
                assert theirs.dtype == ours.dtype
        before = before or [worker.process.pid for worker in pool._workers]
    assert [worker.process.pid for worker in pool._workers] == before  # the same two served all sizes
    alone.close()


def test_a_worker_starts_without_torch(pool):
    assert pool.reset([{"started_with_torch": True}] * 2, [0, 0])[:, 0].tolist() == [0, 0]


def test_workers_that_rest_have_no_environments(pool, tmp_path):
    note = tmp_path / "note"
    pool.reset([{"note": str(note)}] * 4, range(4))
    pool.reset([{}], [0])
    assert note.read_text().split() == ["closed"] * 3


def failing(mischief):
    """Return a pool whose second worker is about to meet mischief in its second row."""
    pool = WorkerPool(make_walk, workers=2, timeout=30)
    pool.reset([{}, {}, {}, {"mischief": mischief}], [0, 1, 2, 3])
    return pool, [worker.process.pid for worker in pool._workers]


@pytest.mark.parametrize(
    ("mischief", "timeout", "says"),
    [
        (
            "raise",
            30,
            r"worker 1 raised ValueError: the simulator exploded in task {'mischief': 'raise'}; see(.|\n)*Traceback",
        ),
        ("lose", 30, r"worker 1 raised EOFError: the simulator lost its server in task {'mischief': 'lose'}"),
        ("exit", 30, r"worker 1 stopped \(exit status 3\) in task {'mischief': 'exit'}; see what"),
        ("hang", 0.5, r"worker 1 gave no answer within 0.5 seconds in task {'mischief': 'hang'}; raise worker_timeout if"),
    ],
)
def test_mischief_ends_the_pool_with_one_error(mischief, timeout, says):
    pool, processes = failing(mischief)
    pool._timeout = timeout  # once it has started, which takes longer on a busy machine
    started = time.monotonic()
    with pytest.raises(WorkerError, match=says):
        pool.step(np.zeros((4, 1)))
    assert time.monotonic() - started < 10
    assert all(gone(pid) for pid in processes)
    pool.close()  # there is nothing left to close


def test_a_worker_killed_from_outside():
    pool, processes = failing(None)
    os.kill(processes[0], signal.SIGKILL)
    with pytest.raises(WorkerError, match=r"worker 0 stopped \(signal 9\).*Rollouts\(vectorisation='sync'\)"):
        pool.step(np.zeros((4, 1)))
    assert all(gone(pid) for pid in processes)


def test_an_interrupt_from_the_keyboard_ends_all():
    pool, processes = failing("hang")
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's jobs in the background ignore it
    timer = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            pool.step(np.zeros((4, 1)))
    finally:
        signal.signal(signal.SIGINT, before)
    timer.join()
    assert all(gone(pid) for pid in processes)


@pytest.mark.parametrize("closed", [True, False])
def test_nobody_is_left_when_all_went_well(closed):
    pool, processes = failing(None)
    pool.step(np.zeros((4, 1)))
    if closed:
        pool.close()
    del pool  # also at the interpreter's end
    assert all(gone(pid) for pid in processes)


@pytest.mark.slow
@pytest.mark.parametrize("holds_the_lock", [False, pytest.param(True, marks=LINUX)])
def test_workers_end_with_their_parent_whatever_they_do(tmp_path, holds_the_lock):
    """The parent is killed while its worker hangs in a simulator, of the main program, that has started a process itself."""
    note = tmp_path / "processes"
    task = {"mischief": "child", "file": str(note), "holds_the_lock": holds_the_lock}
    code = (
        "from metarl.sampling.pool import WorkerPool; from tests.simulators import Walk; import numpy as np\n"
        "class Here(Walk): pass\n"
        f"pool = WorkerPool(Here, 1, 30); pool.reset([{task!r}], [0])\n"
        "pool.step(np.zeros((1, 1)))"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})
    for _ in range(2000):
        if note.exists() and len(note.read_text().split()) == 2:
            break
        time.sleep(0.01)
    parent.kill()
    parent.wait()
    assert all(gone(int(pid)) for pid in note.read_text().split())


def test_what_cannot_be_pickled_is_refused():
    env = make_walk()
    env.unwrapped.handle = (number for number in range(3))
    like = torch.zeros(0)
    with pytest.raises(ConfigError, match=r"vectorisation='workers' .* cannot be pickled .*register it .* or use"):
        make_vector_env(env, 4, like, "workers", workers=1)


@pytest.mark.slow
def test_a_tables_worker_ends_with_its_command():
    code = (
        "import os, time; from concurrent.futures import ProcessPoolExecutor; from multiprocessing import get_context\n"
        "from metarl.commands.reproduce import begin_worker\n"
        "pool = ProcessPoolExecutor(1, mp_context=get_context('spawn'), initializer=begin_worker)\n"
        "print(pool.submit(os.getpid).result(), flush=True); pool.submit(time.sleep, 60).result()"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE)
    assert command.stdout is not None
    worker = int(command.stdout.readline())
    command.kill()
    command.wait()
    command.stdout.close()
    assert gone(worker)
