"""A run killed at any moment and resumed equals an uninterrupted one, bit for bit.

That a checkpoint goes on as if nothing had happened is shown for every kind of agent in test_agents; here a process is killed.
"""

import os
import signal
import subprocess
import sys
import time

import pytest
import torch

from metarl.__main__ import main
from metarl.checkpoint import read

SMALL = {  # so long that they are not over before they are killed
    "bandit": ["--iterations", "15", "--policy-kwargs", '{"hidden": [4]}', "--rollouts.trajectories", "2", "--meta-batch", "2"],
    "sine": ["--iterations", "60", "--gradient.no-compile", "--policy-kwargs", '{"hidden": [8]}', "--meta-batch", "2"],
}
COMMON = ["--save-every", "3", "--validate-every", "4", "--validation-tasks", "2"]
COMMON += ["--picture-every", "99", "--evaluation-tasks", "0", "--no-progress-bar", "--run-dir"]


def differing(one, two):
    """Return the names of the checkpoint's entries that are not bit for bit the same."""
    if isinstance(one, torch.Tensor):
        return [] if torch.equal(one, two) else ["tensor"]
    if isinstance(one, dict):
        return [f"{key}.{name}" for key in one for name in differing(one[key], two[key])]
    if isinstance(one, (list, tuple)):
        return [name for pair in zip(one, two, strict=True) for name in differing(*pair)]
    return [] if one == two else [f"{one!r} != {two!r}"]


@pytest.mark.slow
@pytest.mark.parametrize("preset", SMALL)
def test_a_killed_run_resumes_as_if_nothing_had_happened(preset, tmp_path):
    command = ["train", preset, *SMALL[preset], *COMMON]
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert main([*command, str(whole)]) == 0
    process = subprocess.Popen(
        [sys.executable, "-m", "metarl", *command, str(killed)],
        env={**os.environ, "PYTHONPATH": "."},
        stdout=subprocess.DEVNULL,
    )
    path, deadline = killed / "checkpoint.pt", time.monotonic() + 120
    while not path.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    time.sleep(0.05)  # somewhere in an iteration
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "the run was over before it could be killed"
    assert 0 < read(path)["iteration"] < read(whole)["iteration"]
    assert main([*command, str(killed), "--resume"]) == 0
    assert differing(read(whole), read(killed)) == []
