"""Few-shot episodes: the curves by formula, the protocol, and nothing leaks."""

import gymnasium as gym
import numpy as np
import pytest
import torch

from metarl.errors import ConfigError
from metarl.networks import CosineHead
from metarl.supervised import EpisodeEnv, Sine
from metarl.supervised.networks import conv4, perceptron, resnet12
from metarl.tasks import Episodes, Examples

SPLITS = ("train", "validation", "test")


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(("sign", "frequency"), [(-1, (1.0, 1.0)), (1, (0.8, 1.2))])
def test_targets_follow_the_formula(sign, frequency):
    env = Sine(frequency=frequency, phase_sign=sign)
    tasks = env.draw_tasks(50, "train", generator())
    episodes = env.draw_episodes(tasks, generator(1))
    a, p, w = (column[:, None, None] for column in tasks.unbind(1))
    for inputs, targets in episodes[:2]:
        torch.testing.assert_close(targets, a * torch.sin(w * inputs + sign * p))
        assert inputs.abs().max() <= 5


def test_a_regressions_ways_are_the_numbers_of_a_target():
    assert {Sine().ways_of(split) for split in SPLITS} == {1}
    with pytest.raises(ConfigError, match="split='tests' is not known"):
        Sine().ways_of("tests")


def test_ranges_are_the_papers():
    tasks = Sine(frequency=(0.8, 1.2)).draw_tasks(20000, "train", generator()).numpy()
    np.testing.assert_allclose(tasks.min(0), [0.1, 0, 0.8], atol=0.002)
    np.testing.assert_allclose(tasks.max(0), [5, np.pi, 1.2], atol=0.002)
    np.testing.assert_allclose(tasks.mean(0), [2.55, np.pi / 2, 1.0], rtol=0.02)


class Labelled(EpisodeEnv):
    """Tasks say which split they are of, and carry a random number; so does every example."""

    input_shape, output_size, networks = (3,), 1, {}
    bounds = {"split": (np.array(0), np.array(2)), "number": (np.array(0.0), np.array(1.0))}

    def draw_tasks(self, n, split, generator):
        return torch.stack([torch.full((n,), float(SPLITS.index(split))), torch.rand(n, generator=generator)], 1).double()

    def draw_episodes(self, tasks, generator):
        inputs = torch.rand(len(tasks), self.shots + self.queries, 3, generator=generator, dtype=tasks.dtype)
        inputs[:, :, :2] = tasks[:, None]
        examples = Examples(inputs, inputs[..., 2:])
        k = self.shots
        return Episodes(*(Examples(*(part[:, rows] for part in examples)) for rows in (slice(k), slice(k, None))))

    def loss(self, outputs, targets):
        return (outputs - targets).square().mean()

    def reward(self, predictions, targets):
        return 0.0


def test_a_task_is_of_the_split_that_was_asked_for():
    for index, split in enumerate(SPLITS):
        for env, options in ((Labelled(2, 3), {"split": split}), (Labelled(2, 3, split), None)):
            observation, info = env.reset(seed=0, options=options)
            assert info["task"]["split"] == index
            assert (observation["support_inputs"][:, 0] == index).all()
        assert [task["split"] for task in env.sample_tasks(3, split)] == [index] * 3
        assert (env.sample_episodes(3, split, generator()).query.inputs[..., 0] == index).all()
    assert [task["split"] for task in env.sample_tasks(2)] == [0, 0]  # whatever the environment's own is


def test_tasks_and_data_of_each_split_come_from_a_stream_of_their_own():
    env = Labelled(2, 3)
    for column in (1, 2):  # the tasks' numbers, the data's
        drawn = [env.sample_episodes(4, split, generator(7)).support.inputs[..., column].flatten().tolist() for split in SPLITS]
        assert not set(drawn[0]) & set(drawn[1])
        assert not set(drawn[0]) & set(drawn[2])
        assert not set(drawn[1]) & set(drawn[2])
        shown = [env.reset(seed=7, options={"split": split})[0]["query_inputs"][:, column].tolist() for split in SPLITS]
        assert len({number for numbers in shown for number in numbers}) == (3 if column == 1 else 9)
    task = {"split": 0, "number": 0.5}  # the same task, as data of each split
    shown = [env.reset(seed=7, options={"split": split, "task": task})[0]["query_inputs"] for split in SPLITS]
    assert len({inputs[0, 2] for inputs in shown}) == 3


def test_training_draws_from_the_generator_itself_and_others_take_one_number_of_it():
    env, straight = Labelled(2, 3), generator(7)
    tasks = env.draw_tasks(4, "train", straight)
    expected = env.draw_episodes(tasks.float(), straight)
    handed = generator(7)
    assert torch.equal(env.sample_episodes(4, "train", handed).query.inputs, expected.query.inputs)
    assert torch.equal(handed.get_state(), straight.get_state())
    handed, straight = generator(7), generator(7)
    first, second = (env.sample_episodes(4, "test", handed).query.inputs for _ in range(2))
    assert not torch.equal(first, second)
    torch.randint(2**31, (2,), generator=straight)
    assert torch.equal(handed.get_state(), straight.get_state())
    with pytest.raises(ConfigError, match="split='tset' is not known: did you mean 'test'"):
        env.sample_episodes(1, "tset", handed)


def test_the_test_grid_is_even():
    episodes = Sine(queries=11, query_inputs="grid").sample_episodes(3, "test", generator())
    torch.testing.assert_close(episodes.query.inputs[0, :, 0], torch.linspace(-5, 5, 11))
    assert episodes.support.inputs.shape == (3, 5, 1)


def test_repeats_give_a_task_new_data():
    support = Sine().sample_episodes(2, "test", generator(), repeats=3, dtype=torch.float64).support
    assert support.inputs.shape == (6, 5, 1)
    assert not torch.equal(support.inputs[0], support.inputs[1])
    # amplitude and phase from two points of one repeat predict the points of the next
    x, y = support.inputs[0, :2, 0], support.targets[0, :2, 0]
    parts = torch.linalg.solve(torch.stack([x.sin(), x.cos()], 1), y)
    x = support.inputs[1, :, 0]
    torch.testing.assert_close(parts[0] * x.sin() + parts[1] * x.cos(), support.targets[1, :, 0], rtol=1e-6, atol=1e-6)


def test_fixed_sets_are_passed_through_in_order():
    env = Sine(task_sets={"train": 7, "test": 3})
    first = env.sample_episodes(7, "train", generator())
    again = env.sample_episodes(4, "train", generator(5), first=5)
    torch.testing.assert_close(again.support.inputs, first.support.inputs[[5, 6, 0, 1]])
    other = Sine(task_sets={"train": 7}, task_seed=1).sample_episodes(7, "train", generator())
    assert not torch.equal(other.support.inputs, first.support.inputs)
    assert not torch.equal(env.sample_episodes(3, "test", generator()).support.inputs, first.support.inputs[:3])
    drawn = {tuple(env.draw_tasks(1, "test", generator(seed))[0].tolist()) for seed in range(20)}
    assert len(drawn) == 3
    with pytest.raises(ConfigError, match="repeats=2 is for endless tasks"):
        env.sample_episodes(3, "test", generator(), repeats=2)
    endless = env.sample_episodes(3, "validation", generator())
    assert not torch.equal(endless.support.inputs, env.sample_episodes(3, "validation", generator(1)).support.inputs)


def test_sampled_and_shown_tasks_are_of_the_splits_fixed_set():
    env = Sine(task_sets=dict(zip(SPLITS, (4, 2, 3), strict=True)))
    kept = {}
    for split in SPLITS:
        known = env.sample_episodes(env.task_sets[split], split, generator())
        tasks = [*env.sample_tasks(30, split), *(env.reset(options={"split": split})[1]["task"] for _ in range(5))]
        kept[split] = {tuple(float(value) for value in task.values()) for task in tasks}
        assert len(kept[split]) == env.task_sets[split]
        for amplitude, phase, frequency in kept[split]:  # each is the curve of one episode of the set
            curve = amplitude * torch.sin(frequency * known.query.inputs - phase)
            assert ((curve - known.query.targets).abs().amax((1, 2)) < 1e-5).sum() == 1
    assert len(set.union(*kept.values())) == 9


def test_an_episode_is_one_step_and_does_not_leak_its_targets():
    env = gym.make("metarl/Sine-v0", shots=4, queries=6)
    observation, info = env.reset(seed=0)
    assert set(observation) == {"support_inputs", "support_targets", "query_inputs"}
    assert set(info) == {"task"}
    task = info["task"]
    right = task["amplitude"] * np.sin(task["frequency"] * observation["query_inputs"] - task["phase"])
    _, reward, terminated, truncated, info = env.step(right)
    assert reward == pytest.approx(0, abs=1e-9)
    assert (terminated, truncated) == (True, False)
    np.testing.assert_allclose(info["query_targets"], right, atol=1e-5)


def test_the_reward_is_minus_the_mean_squared_error_and_so_is_the_loss_but_for_the_sign():
    env = Sine(queries=2)
    env.reset(seed=0)
    targets = env.step(np.zeros((2, 1)))[4]["query_targets"]
    env.reset(seed=0)
    assert env.step(targets + np.array([[1], [-3]]))[1] == pytest.approx(-5, rel=1e-6)
    outputs, targets = torch.tensor([[1.0], [-1.0]]), torch.tensor([[0.0], [2.0]])
    assert env.loss(outputs, targets) == env.measures(outputs, targets)["loss"] == 5
    assert env.metric == "loss"
    assert env.decide(outputs) is outputs


def test_predictions_of_another_shape_are_refused():
    env = gym.make("metarl/Sine-v0", disable_env_checker=True)
    env.reset(seed=0)
    with pytest.raises(ConfigError, match=r"action has shape \(10,\); give predictions of shape \(10, 1\)"):
        env.step(np.zeros(10, np.float32))


def test_each_reset_is_a_new_task():
    env = gym.make("metarl/Sine-v0")
    tasks = [env.reset()[1]["task"]["amplitude"].item() for _ in range(3)]
    assert len(set(tasks)) == 3


@pytest.mark.parametrize(
    ("kwargs", "says"),
    [
        ({"shots": 0}, "shots=0 must be above zero"),
        ({"queries": -1}, "queries=-1 must be above zero"),
        ({"frequency": (2, 1)}, r"frequency=\(2, 1\) must be a range"),
        ({"phase_sign": 0}, "phase_sign=0 must be -1 or 1"),
        ({"query_inputs": "even"}, "query_inputs='even' must be"),
        ({"task_sets": {"trian": 3}}, "split='trian' is not known: did you mean 'train'"),
        ({"task_sets": {"train": 0}}, r"task_sets\['train'\]=0"),
    ],
)
def test_bad_arguments_are_named(kwargs, says):
    with pytest.raises(ConfigError, match=says):
        Sine(**kwargs)


def test_conv4_says_when_images_are_too_small():
    assert conv4((3, 84, 84), 5)[-1].in_features == 1600
    assert conv4((3, 84, 84), 5, padding=0)[-1].in_features == 576
    assert conv4((1, 28, 28), 5)[-1].in_features == 64
    assert conv4((1, 28, 28), 5, downsampling="stride")[-1].in_features == 64
    assert conv4((1, 28, 28), 5, hidden=32)[-1].in_features == 32
    with pytest.raises(ConfigError, match="too small for Conv4 with padding=0"):
        conv4((1, 28, 28), 5, padding=0)


def test_the_networks_sizes():
    network = perceptron((1, 28, 28), 5)
    assert [layer.out_features for layer in network if isinstance(layer, torch.nn.Linear)] == [256, 128, 64, 64, 5]
    residual = resnet12((3, 84, 84), 5)
    convolutions = [layer for layer in residual.modules() if isinstance(layer, torch.nn.Conv2d) and layer.kernel_size == (3, 3)]
    assert len(convolutions) == 12
    assert residual[-1].in_features == 640
    assert residual(torch.rand(2, 3, 84, 84)).shape == (2, 5)
    with pytest.raises(ConfigError, match="too small for 4 residual blocks"):
        resnet12((1, 8, 8), 5)
    with pytest.raises(ConfigError, match="downsampling='pol' is not known: did you mean 'pool'"):
        conv4((1, 28, 28), 5, downsampling="pol")


BODIES = {
    "Conv4": (conv4, (1, 16, 16), {"filters": 3}, 3),
    "Conv4 of 32x16": (conv4, (2, 32, 16), {"filters": 3}, 6),
    "strided Conv4": (conv4, (1, 16, 16), {"filters": 3, "downsampling": "stride"}, 3),
    "Conv4 with a hidden layer": (conv4, (1, 16, 16), {"filters": 3, "hidden": 7}, 7),
    "perceptron": (perceptron, (1, 3, 3), {"hidden": (6, 4)}, 4),
    "perceptron without layers": (perceptron, (1, 3, 3), {"hidden": ()}, 9),
    "ResNet-12": (resnet12, (1, 4, 4), {"filters": (2, 3)}, 3),
}


@pytest.mark.parametrize("body", BODIES)
def test_without_a_head_a_network_gives_the_features_that_a_head_would_get(body):
    network, shape, options, size = BODIES[body]
    images = torch.rand(5, *shape, generator=generator())
    torch.manual_seed(0)
    embedding = network(shape, -1, head="none", **options)  # the number of outputs is of no account
    features = embedding(images)
    assert features.shape == (5, size)
    for head, type_ in (("linear", torch.nn.Linear), ("cosine", CosineHead)):
        torch.manual_seed(0)
        whole = network(shape, 2, head=head, **options)
        assert type(whole[-1]) is type_
        assert torch.equal(whole[:-1](images), features)  # the same random numbers made the body
        assert whole(images).shape == (5, 2)
        names = [name for name, _ in whole.named_parameters() if not name.startswith("head.")]
        assert names == [name for name, _ in embedding.named_parameters()]
        with pytest.raises(ConfigError, match="outputs=0 must be above zero"):
            network(shape, 0, head=head, **options)
    with pytest.raises(ConfigError, match="head='non' is not known: did you mean 'none'"):
        network(shape, 2, head="non", **options)


def test_a_cosine_head_sees_directions_only():
    layer = CosineHead(3, 2, scale=5.0)
    features = torch.randn(4, 3)
    torch.testing.assert_close(layer(features), layer(7 * features), rtol=1e-4, atol=1e-4)
    expected = 5 * torch.nn.functional.cosine_similarity(features[:, None], layer.weight[None], dim=-1)
    torch.testing.assert_close(layer(features), expected, rtol=1e-3, atol=1e-3)


def test_a_fixed_sets_tasks_are_those_of_its_seed():
    one, again, other = (Sine(task_sets={"train": 5}, task_seed=seed).draw_tasks(5, "train", generator()) for seed in (1, 1, 2))
    assert torch.equal(one, again)
    assert not (one[:, 0] == other[:, 0]).any()
