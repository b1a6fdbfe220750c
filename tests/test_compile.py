"""Compiled training is eager training, and where there is no compiler it goes on eagerly with a word."""

import shutil

import pytest
import torch

import metarl
from metarl.agents.side_by_side import learn_side_by_side
from metarl.compiler import compiled
from tests.worlds import gathered


def meta_sgd(compile, seed=0, **outer):
    return metarl.MetaSGD(
        "MLP",
        "metarl/Sine-v0",
        rate=0.05,
        seed=seed,
        dtype="float64",
        device="cpu",
        policy_kwargs={"hidden": (5,), "init": "torch"},
        outer=metarl.GradientDescent(compile=compile, **outer),
    )


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler here")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(
    ("outer", "iterations"),
    [({}, 3), ({"steps_per_call": 2, "optimizer": "AdamW", "optimizer_kwargs": {"amsgrad": True, "weight_decay": 0.1}}, 4)],
    ids=["a step a call", "two steps a call"],
)
def test_compiled_is_eager(outer, iterations):
    eager, fast = (meta_sgd(compile, **outer).learn(iterations, log_interval=100).meta for compile in (False, True))
    for name, value in eager.items():
        torch.testing.assert_close(fast[name], value, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("recompute", [False, True])
def test_a_gradient_is_compiled_in_one_piece(recompute):
    agent = meta_sgd(False)
    batch = gathered(agent)
    fast = torch.compile(agent.outer.gradient, backend="eager", fullgraph=True, dynamic=False)
    loss, _, _ = fast(agent.adapter, agent.meta, batch.experiences, batch.query, batch.count, batch.count, recompute)
    torch.testing.assert_close(loss, agent.adapter.losses(agent.meta, batch.adaptation.adapted[-1], batch.query).mean())


def test_side_by_side_one_function_of_all_runs_is_compiled(monkeypatch):
    functions = []
    monkeypatch.setattr(torch, "compile", lambda function, **_: functions.append(function) or function)
    agents = [meta_sgd(True, seed) for seed in (0, 1)]
    learn_side_by_side(agents, 2)
    assert len(functions) == 1
    for agent, seed in zip(agents, (0, 1), strict=True):
        torch.testing.assert_close(agent.meta["theta"], meta_sgd(False, seed).learn(2).meta["theta"], rtol=0, atol=1e-10)


@pytest.mark.parametrize(("most", "threads"), [(2**19, 1), (0, 2)], ids=["small", "large"])
def test_a_small_step_runs_on_one_thread(most, threads, monkeypatch):
    ran, now = [], [2]
    monkeypatch.setattr(torch, "get_num_threads", lambda: now[-1])
    monkeypatch.setattr(torch, "set_num_threads", now.append)
    monkeypatch.setattr(torch, "compile", lambda function, **_: lambda *args: ran.append(now[-1]) or function(*args))
    monkeypatch.setattr("metarl.outer.at_once.SMALL", most)
    meta_sgd(True).learn(2)
    assert ran == [threads, threads]
    assert now[-1] == 2


def test_the_first_call_says_that_it_compiles_and_the_next_ones_do_not(monkeypatch, capsys):
    monkeypatch.setattr(torch, "compile", lambda function, **_: function)
    fast = compiled(lambda x: 2 * x, "a test")
    assert (fast(1), fast(2)) == (2, 4)
    assert capsys.readouterr().err.count("compiling a test: a minute or more the first time") == 1


def test_without_a_compiler_it_goes_on_eagerly(monkeypatch):
    def no_compiler(function, **_):
        def fail(*_):
            raise RuntimeError("no working C++ compiler")

        return fail

    monkeypatch.setattr(torch, "compile", no_compiler)
    fast = compiled(lambda x: 2 * x, "a test")
    with pytest.warns(UserWarning, match="compile=True had no effect, the run goes on eagerly"):
        assert fast(3) == 6
    assert fast(4) == 8


def test_a_compiler_that_fails_at_other_shapes_later_does_not_end_the_run(monkeypatch):
    def half_a_cache(function, **_):
        def once(x):
            if x == 2:
                raise torch._dynamo.exc.TorchDynamoException("file too short")
            if x == 3:
                raise ValueError("mine")
            return function(x)

        return once

    monkeypatch.setattr(torch, "compile", half_a_cache)
    fast = compiled(lambda x: 2 * x, "a test")
    assert fast(1) == 2
    with pytest.raises(ValueError, match="mine"):
        fast(3)
    with pytest.warns(UserWarning, match="no further effect.* TorchDynamoException .* half written in TORCHINDUCTOR"):
        assert fast(2) == 4
    assert fast(2) == 4


def test_a_fault_of_ones_own_is_not_hidden(monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda function, **_: function)

    def faulty(_):
        raise ValueError("mine")

    with pytest.warns(UserWarning, match="failed with ValueError"), pytest.raises(ValueError, match="mine"):
        compiled(faulty, "a test")(1)
