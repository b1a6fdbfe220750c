"""The examples run from top to bottom, at small size."""

import runpy
from pathlib import Path

import numpy as np
import pytest
import torch

import metarl
from metarl.adapters import Support

FOLDER = Path(__file__).parent.parent / "examples"
EXAMPLES = sorted(FOLDER.glob("*.py"))


def load(name):
    return runpy.run_path(str(FOLDER / f"{name}.py"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_short_and_says_how_it_is_run(path):
    text = path.read_text()
    assert len(text.splitlines()) <= (80 if path.stem == "your_own_rule" else 60)  # that one is learned in two worlds
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
@pytest.mark.usefixtures("image_data")
def test_hallucination(capsys):
    evaluations = load("hallucination")["main"](iterations=1, tasks=3)
    out = capsys.readouterr().out
    for evaluation, name in zip(evaluations, ("HallucinatingNet", "ProtoNet"), strict=True):
        assert (evaluation.metric, evaluation.values.shape) == ("accuracy", (3, 1))
        assert f"{name}: accuracy on 3 unseen tasks" in out


def test_imagined_examples_are_of_the_class_of_the_example_that_they_are_made_of():
    example = load("hallucination")
    reader = example["Hallucination"](features=2)
    inputs, columns = torch.tensor([[1.0, 2.0], [3.0, 5.0]]), torch.eye(2)
    with torch.no_grad():
        for parameter in reader.generator.parameters():
            parameter.zero_()
        support = Support(inputs, columns, torch.arange(2))
        assert reader.read(support).tolist() == inputs.tolist()  # a generator of nought repeats the example
        reader.generator[2].bias.copy_(torch.tensor([5.0, 0.0]))  # each further example is the one moved by (5, 0)
        share = example["IMAGINED"] / (example["IMAGINED"] + 1)
        torch.testing.assert_close(reader.read(support), inputs + share * torch.tensor([5.0, 0.0]))
    assert len(reader.noise.unique(dim=0)) == example["IMAGINED"]
    assert {name for name, _ in reader.named_buffers()} == {"noise"}


@pytest.mark.slow
@pytest.mark.usefixtures("image_data")
def test_density_estimation(capsys):
    evaluations = load("density_estimation")["main"](iterations=2, tasks=3)
    assert [evaluation.values.shape for evaluation in evaluations] == [(3, 1), (3, 1)]
    assert all(np.all((evaluation.values > 0) & (evaluation.values < 3)) for evaluation in evaluations)
    assert "with the support set: loss on 3 unseen tasks" in (out := capsys.readouterr().out)
    assert "without it: loss on 3 unseen tasks" in out


@pytest.mark.usefixtures("image_data")
def test_a_pixel_is_shown_what_comes_before_it_and_nothing_else():
    family = load("density_estimation")["Pixels"]("data", ways=1, shots=4, queries=1)
    support, query = family.sample_episodes(2, "test", torch.Generator().manual_seed(0))[:2]
    assert [tuple(part.shape) for part in (*support, *query)] == [(2, 784, 26), (2, 784, 1), (2, 196, 26), (2, 196, 1)]
    ink = query.targets.view(2, 14, 14)
    assert ink.unique().tolist() == [0, 1]
    padded = torch.nn.functional.pad(ink, (3, 3, 3, 3))
    for row, column in ((0, 0), (5, 7), (13, 13)):
        shown = query.inputs.view(2, 14, 14, 26)[:, row, column]
        place = 2 * torch.tensor([row, column]) / 13 - 1
        torch.testing.assert_close(shown[:, :2], place.expand(2, -1))
        window = padded[:, row : row + 7, column : column + 7].flatten(1)
        assert torch.equal(shown[:, 2:], window[:, :24])  # the three rows above, and what is left of it
        assert torch.equal(window[:, 24], ink[:, row, column])


def test_attention_finds_the_ink_of_like_pixels_and_bits_are_of_base_two():
    example = load("density_estimation")
    keys, columns = torch.tensor([[0.0], [10.0], [20.0]]), torch.tensor([[0.0], [1.0], [0.0]])
    reader = example["Attention"](features=1, outputs=1)
    found = []
    reader.head.forward = lambda inputs: found.append(inputs) or inputs[:, :1]
    reader.answer(torch.tensor([[1.0], [11.0], [5.0]]), reader.read(Support(keys, columns, columns)))
    torch.testing.assert_close(found[0], torch.tensor([[1.0, 0.0], [11.0, 1.0], [5.0, 0.5]]))
    loss = example["Pixels"].loss(torch.zeros(4, 1), torch.ones(4, 1))
    assert loss.item() == pytest.approx(1), "a pixel of which nothing is known costs one bit"


@pytest.mark.slow
def test_learned_schedule(capsys):
    losses = load("learned_schedule")["main"](steps=60, updates=20)
    assert len(losses) == 21
    assert losses[-1] < 0.95 * losses[0]
    assert f"after 20 updates: test loss {losses[-1]:.3f}" in capsys.readouterr().out


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
