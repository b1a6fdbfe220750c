"""A run killed at any moment and resumed equals an uninterrupted one, bit for bit."""

import os
import signal
import subprocess
import sys
import time

import pytest
import torch

from metarl.checkpoint import read

SMALL = {
    "navigation": ["--policy-kwargs", '{"hidden": [8]}', "--rollouts.trajectories", "4", "--meta-batch", "4"],
    "sine": ["--gradient.no-compile", "--policy-kwargs", '{"hidden": [8]}'],
    "lstm-sine": ["--gradient.no-compile", "--policy-kwargs", '{"hidden": [8]}', "--meta-batch", "2"],
    "turtle-sine-5": ["--gradient.no-compile", "--policy-kwargs", '{"hidden": [8]}'],
    "alpha-maml-sine": ["--policy-kwargs", '{"hidden": [8]}', "--meta-batch", "4"],
    "navigation-varying-start": [
        *["--agent", "alpha-maml", "--policy-kwargs", '{"hidden": [8]}', "--rollouts.trajectories", "4", "--meta-batch", "4"],
    ],
    "bandit": ["--policy-kwargs", '{"hidden": [4]}', "--rollouts.trajectories", "2", "--meta-batch", "4"],
    "omniglot-small": ["--policy", "MLP", "--policy-kwargs", '{"hidden": [8]}', "--meta-batch", "4"],
}
COMMON = [
    "--iterations",
    "60",
    "--save-every",
    "3",
    "--validate-every",
    "4",
    "--validation-tasks",
    "8",
    "--evaluation-tasks",
    "0",
]


def train(preset, folder, *more):
    arguments = [
        sys.executable,
        "-m",
        "metarl",
        "train",
        preset,
        *SMALL[preset],
        *COMMON,
        "--no-progress-bar",
        "--run-dir",
        str(folder),
    ]
    return subprocess.Popen([*arguments, *more], env={**os.environ, "PYTHONPATH": "."}, stdout=subprocess.DEVNULL)


def differing(one, two):
    """Return the names of the checkpoint's entries that are not bit for bit the same."""
    if isinstance(one, torch.Tensor):
        return [] if torch.equal(one, two) else ["tensor"]
    if isinstance(one, dict):
        return [f"{key}.{name}" for key in one for name in differing(one[key], two[key])]
    if isinstance(one, (list, tuple)):
        return [name for pair in zip(one, two, strict=True) for name in differing(*pair)]
    return [] if one == two else [f"{one!r} != {two!r}"]


BASELINE = ("--agent", "finetuning", "--agent-kwargs", '{"inner_steps": 3}')


@pytest.mark.parametrize(("preset", "more"), [*((name, ()) for name in SMALL), ("omniglot-small", BASELINE)])
def test_a_killed_run_resumes_as_if_nothing_had_happened(preset, more, image_sets, tmp_path):
    more = (*more, *(["--root", str(image_sets / "data")] if preset == "omniglot-small" else []))
    assert train(preset, tmp_path / "whole", *more).wait() == 0
    process, path = train(preset, tmp_path / "killed", *more), tmp_path / "killed" / "checkpoint.pt"
    deadline = time.monotonic() + 60
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.002)
    time.sleep(0.05)  # somewhere in an iteration
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "the run was over before it could be killed"
    assert 0 < read(path)["iteration"] < 60
    assert train(preset, tmp_path / "killed", *more, "--resume").wait() == 0
    assert differing(read(tmp_path / "whole" / "checkpoint.pt"), read(path)) == []
