"""Compiled training is eager training, and where there is no compiler it goes on eagerly with a word."""

import shutil

import pytest
import torch

import metarl
from metarl.outer.gradient_descent import compiled


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler here")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_compiled_is_eager():
    def run(compile):
        agent = metarl.MetaSGD(
            "MLP",
            "metarl/Sine-v0",
            rate=0.05,
            dtype="float64",
            device="cpu",
            policy_kwargs={"hidden": (5,), "init": "torch"},
            outer=metarl.GradientDescent(compile=compile),
        )
        return agent.learn(10).meta

    eager, fast = run(False), run(True)
    for name, value in eager.items():
        torch.testing.assert_close(fast[name], value, rtol=1e-9, atol=1e-12)


def test_without_a_compiler_it_goes_on_eagerly(monkeypatch):
    def no_compiler(function, **_):
        def fail(*_):
            raise RuntimeError("no working C++ compiler")

        return fail

    monkeypatch.setattr(torch, "compile", no_compiler)
    fast = compiled(lambda x: 2 * x)
    with pytest.warns(UserWarning, match="compile=True had no effect, the run goes on eagerly"):
        assert fast(3) == 6
    assert fast(4) == 8


def test_a_fault_of_ones_own_is_not_hidden(monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda function, **_: function)

    def faulty(_):
        raise ValueError("mine")

    with pytest.warns(UserWarning, match="failed with ValueError"), pytest.raises(ValueError, match="mine"):
        compiled(faulty)(1)
