"""Two processes under torchrun compute what one computes on the same meta-batch."""

import os
import subprocess
import sys

import pytest
import torch

from metarl.checkpoint import read
from tests.test_resume import SMALL

COMMON = [
    "--iterations",
    "3",
    "--validate-every",
    "2",
    "--validation-tasks",
    "8",
    "--evaluation-tasks",
    "0",
    "--dtype",
    "float64",
]


def run(preset, folder, count, *more):
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={count}", "-m"] if count > 1 else ["-m"]
    arguments = [sys.executable, *launcher, "metarl", "train", preset, *SMALL[preset], *COMMON, *more]
    subprocess.run(
        [*arguments, "--no-progress-bar", "--run-dir", str(folder)],
        check=True,
        env={**os.environ, "PYTHONPATH": ".", "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    return read(folder / "checkpoint.pt")


@pytest.mark.parametrize(
    ("preset", "more"),
    [
        ("navigation", ()),
        ("navigation", ("--outer", "policy_gradient")),
        # damped: undamped, conjugate gradient would blow up the rounding of a nearly singular Fisher matrix
        ("bandit", ("--trpo.damping", "0.1")),
        # episodes that all end early, at different steps, thinned: both processes must draw alike
        ("navigation", ("--env-kwargs", '{"action_scale": 0.5}', "--trpo.fisher-fraction", "0.5")),
        ("sine", ()),
        ("turtle-sine-5", ()),
        ("lstm-sine", ()),
        ("alpha-maml-sine", ()),
        # so small a batch has wild hypergradients
        ("navigation", ("--agent", "alpha-maml", "--trpo.damping", "0.1", "--alpha.alpha-hyper", "1e-8")),
    ],
)
def test_two_processes_are_one(preset, more, tmp_path):
    one, two = run(preset, tmp_path / "one", 1, *more), run(preset, tmp_path / "two", 2, *more)
    assert (one["iteration"], one["num_timesteps"]) == (two["iteration"], two["num_timesteps"])
    for name, value in one["meta"].items():
        torch.testing.assert_close(two["meta"][name], value, rtol=1e-7, atol=1e-9)
    assert torch.equal(one["generator"], two["generator"])


@pytest.mark.parametrize(
    "more", [("--batch-norm", "running"), ("--agent", "finetuning", "--agent-kwargs", '{"inner_steps": 3}')]
)
def test_two_processes_are_one_on_images(more, image_sets, tmp_path):
    more = ("--root", str(image_sets / "data"), *more)
    one, two = (run("omniglot-small", tmp_path / str(count), count, *more) for count in (1, 2))
    assert one["running"]
    for part in ("meta", "running"):
        for name, value in one[part].items():
            torch.testing.assert_close(two[part][name], value, rtol=1e-7, atol=1e-9)
    assert torch.equal(one["generator"], two["generator"])


def test_a_meta_batch_that_cannot_be_shared_is_named(tmp_path):
    with pytest.raises(subprocess.CalledProcessError) as failure:
        run("navigation", tmp_path, 2, "--meta-batch", "5")
    assert "meta_batch=5 cannot be divided among 2 processes; use a multiple of 2" in failure.value.stderr.decode()
