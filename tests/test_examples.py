"""The examples run from top to bottom, at small size."""

import runpy
from pathlib import Path

import numpy as np
import pytest
import torch

import metarl

FOLDER = Path(__file__).parent.parent / "examples"
EXAMPLES = sorted(FOLDER.glob("*.py"))


def load(name):
    return runpy.run_path(str(FOLDER / f"{name}.py"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_short_and_says_how_it_is_run(path):
    text = path.read_text()
    assert len(text.splitlines()) < 80
    assert f"\n    python examples/{path.name}\n" in text.split('"""')[1]
    assert text.endswith('\n\nif __name__ == "__main__":\n    main()\n')


def test_every_example_has_a_test_here():
    tests = Path(__file__).read_text()
    assert EXAMPLES
    assert [path.stem for path in EXAMPLES if f'load("{path.stem}")' not in tests] == []


@pytest.mark.slow
def test_maml_navigation(tmp_path, capsys):
    picture = tmp_path / "navigation.png"
    example = load("maml_navigation")
    evaluation, mean_return = example["main"](iterations=1, meta_batch=2, trajectories=2, tasks=3, picture=str(picture))
    assert evaluation.steps == (0, 1)
    assert evaluation.values.shape == (3, 2)
    # at most 100 steps, and never further away than the walls of the observation space
    furthest = 100 * np.linalg.norm(np.array([10.5, 10.5]) + np.abs(example["GOAL"]))
    assert -furthest < mean_return < 0
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert f"return at {example['GOAL']} after adaptation, without exploration: {mean_return:.2f}" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.usefixtures("image_data")
def test_prototypes_on_omniglot(capsys):
    example = load("prototypes_on_omniglot")
    evaluation, accuracy = example["main"](iterations=1, train_ways=20, tasks=4)
    assert evaluation.values.shape[0] == 4
    assert np.all((evaluation.values >= 0) & (evaluation.values <= 1))
    queries = example["WAYS"] * 15
    assert round(accuracy * queries) == pytest.approx(accuracy * queries, abs=1e-4), "a share of the episode's query images"
    assert f"one episode: {queries} query images" in capsys.readouterr().out


@pytest.mark.slow
def test_your_own_rule_is_learned_in_both_worlds():
    example = load("your_own_rule")
    predictor = example["on_a_predictor"](iterations=2, tasks=2)
    policy = example["on_a_policy"](iterations=2, meta_batch=2, trajectories=2, tasks=2)
    for agent, layers in ((predictor, 3), (policy, 4)):  # a policy's deviation is a layer of its own
        lengths = agent.meta["rule.length"]
        assert lengths.shape == (layers,)
        assert (lengths != 0.1).all()


def test_your_own_rule_once_registered_loads_by_name():
    example = load("your_own_rule")
    small = {"iterations": 1, "policy_iterations": 1, "meta_batch": 2, "trajectories": 2, "tasks": 2}
    predictor, policy, loaded = example["main"](**small)
    assert not torch.equal(predictor.meta["rule.length"][:1], policy.meta["rule.length"][:1])
    assert torch.equal(loaded.meta["rule.length"], predictor.meta["rule.length"])
    assert loaded.evaluate(2).mean.tolist() == predictor.evaluate(2).mean.tolist()


def test_your_own_rule_moves_by_its_length_whatever_the_gradient():
    rule = load("your_own_rule")["NormalisedStep"](metarl.Layout(("weight",), (torch.Size([2]),)), length=0.5)
    for scale in (1.0, 100.0):
        theta, _ = rule(torch.tensor([1.0, 1.0]), scale * torch.tensor([3.0, -4.0]), torch.tensor(0.0), (), 0)
        torch.testing.assert_close(theta, torch.tensor([0.7, 1.4]))
