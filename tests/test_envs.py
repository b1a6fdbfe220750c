"""Every task family keeps Gymnasium's contract and ours; vectorised is single."""

from importlib.util import find_spec

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env
from stable_baselines3.common.env_checker import check_env as sb3_check_env

from metarl.envs import TaskAdapter
from metarl.envs.navigation import Dynamics
from metarl.errors import ConfigError, TaskError

NAVIGATION = ["metarl/Navigation2D-v0", "metarl/Navigation2DVaryingStart-v0"]
FAMILIES = [*NAVIGATION, "metarl/BernoulliBandit-v0", "metarl/TabularMDP-v0"]
DIRECTIONS = ["metarl/HalfCheetahDirection-v0", "metarl/AntDirection-v0"]
OTHERS = ("HalfCheetahVelocity", "AntVelocity", "AntGoal", "HopperParameters", "Walker2DParameters")
LOCOMOTION = [*DIRECTIONS, *(f"metarl/{name}-v0" for name in OTHERS)]
META_WORLD = ["metarl/ML1-v0"]
SLOW_STARTERS = ["metarl/ML10-v0", "metarl/ML25-v0", "metarl/ML45-v0"]
"""ML1 with more classes, each of which takes Meta-World a second to make; see test_metaworld.py."""
IMAGES = ["metarl/Omniglot-v0", "metarl/MiniImageNet-v0", "metarl/CUB-v0", "metarl/ImageFolder-v0"]
SPLITS = ("train", "validation", "test")
IDS = [*FAMILIES, *LOCOMOTION, *META_WORLD, "metarl/Sine-v0", "metarl/Quadratics-v0", "metarl/Recommendation-v0", *IMAGES]
NEEDS_MUJOCO = pytest.mark.skipif(find_spec("mujoco") is None, reason="locomotion families need the extra metarl[mujoco]")
NEEDS_META_WORLD = pytest.mark.skipif(find_spec("metaworld") is None, reason="ML1 needs the extra metarl[metaworld]")
MARKS = {**{name: NEEDS_MUJOCO for name in LOCOMOTION}, **{name: NEEDS_META_WORLD for name in META_WORLD}}


def test_the_table_is_complete():
    assert sorted([*IDS, *SLOW_STARTERS]) == sorted(name for name in gym.registry if name.startswith("metarl/"))


@pytest.mark.usefixtures("image_data")
@pytest.mark.parametrize("name", [pytest.param(name, marks=MARKS.get(name, ())) for name in IDS])
class TestContract:
    @pytest.mark.filterwarnings("ignore:.*Overriding environment:UserWarning")
    def test_gymnasiums_checker(self, name):
        render = "rgb_array" if name in FAMILIES + IMAGES else None
        env = gym.make(name, render_mode=render).unwrapped if render else gym.make(name).unwrapped
        check_env(env, skip_render_check=name in MARKS)  # a renderer is not everywhere: see test_locomotion.py

    @pytest.mark.filterwarnings("ignore:Your observation .* has an unconventional shape:UserWarning")
    @pytest.mark.filterwarnings("ignore:We recommend you to use a symmetric and normalized Box:UserWarning")
    def test_sb3s_checker(self, name):
        sb3_check_env(gym.make(name).unwrapped)

    def test_its_docstring_opens_with_a_line_for_a_listing(self, name):
        line, blank, *_ = type(gym.make(name).unwrapped).__doc__.splitlines()
        assert 10 < len(line) < 80
        assert line.endswith(".")
        assert "`" not in line
        assert not blank

    def test_make_needs_no_import(self, name):
        assert gym.make(f"metarl:{name}").spec.id == name

    def test_a_seed_fixes_everything(self, name):
        def run():
            env = gym.make(name)
            observation, info = env.reset(seed=7)
            env.action_space.seed(7)
            seen = [observation, info["task"]]
            for _ in range(10):
                observation, reward, terminated, truncated, _ = env.step(env.action_space.sample())
                seen += [observation, reward]
                if terminated or truncated:
                    break
            return seen, env.unwrapped.sample_tasks(3)

        np.testing.assert_equal(run(), run())

    def test_one_seed_gives_every_split_other_tasks_and_data(self, name):
        env = gym.make(name).unwrapped
        tasks, shown, episodes = [], [], []
        for split in SPLITS:
            env.reset(seed=3)
            tasks += [np.concatenate([np.ravel(value) for value in task.values()]) for task in env.sample_tasks(2, split)]
            if hasattr(env, "sample_episodes"):
                shown.append(env.reset(seed=3, options={"split": split})[0]["support_inputs"])
                drawn = env.sample_episodes(2, split, torch.Generator().manual_seed(3))
                episodes += [*drawn.support.inputs.numpy()]
                if name != "metarl/Quadratics-v0":  # where they are the same
                    episodes += [*drawn.query.inputs.numpy()]
        if name in DIRECTIONS:  # there are but two: their orders differ
            tasks = [np.concatenate([task["direction"] for task in env.sample_tasks(30, split)]) for split in SPLITS]
        for rows in (tasks, shown, episodes):
            assert len({row.tobytes() for row in rows}) == len(rows)

    def test_reset_takes_a_task_and_info_names_it(self, name):
        env = gym.make(name)
        env.reset(seed=1)
        task = env.unwrapped.sample_tasks(1)[0]
        _, info = env.reset(options={"task": task})
        np.testing.assert_equal(info["task"], task)
        info["task"][next(iter(task))][...] = 0
        np.testing.assert_equal(env.unwrapped.task, task)

    def test_bad_tasks_and_counts_are_named(self, name):
        env = gym.make(name).unwrapped
        env.reset(seed=1)
        task = env.sample_tasks(1)[0]
        entry = next(iter(task))
        with pytest.raises(TaskError, match=rf"task\['{entry}'\].*is outside .*: choose from"):
            env.reset(options={"task": {**task, entry: np.full_like(task[entry], 99)}})
        with pytest.raises(TaskError, match="is not a task of"):
            env.reset(options={"task": {"speed": 1.0}})
        with pytest.raises(TaskError, match="is not numeric"):
            env.reset(options={"task": {**task, entry: "left"}})
        with pytest.raises(TaskError, match="has shape"):
            env.reset(options={"task": {**task, entry: np.zeros((7, 7))}})
        with pytest.raises(ConfigError, match="n=0 tasks"):
            env.sample_tasks(0)
        with pytest.raises(ConfigError, match="split='tests' is not known: did you mean 'test'"):
            env.sample_tasks(1, "tests")


@pytest.mark.parametrize("name", FAMILIES)
def test_a_bare_reset_keeps_the_task(name):
    env = gym.make(name)
    _, first = env.reset(seed=1)
    _, again = env.reset()
    np.testing.assert_equal(first["task"], again["task"])


@pytest.mark.parametrize("name", NAVIGATION)
class TestNavigation:
    def test_vectorised_equals_single(self, name):
        vector = gym.make_vec(name, num_envs=5)
        tasks = vector.unwrapped.sample_tasks(5)
        singles = [gym.make(name) for _ in range(5)]
        observations, info = vector.reset(seed=0, options={"task": tasks})
        np.testing.assert_equal(list(info["task"]), tasks)
        for row, (env, task) in enumerate(zip(singles, tasks, strict=True)):
            np.testing.assert_array_equal(env.reset(options={"task": task})[0], observations[row])
        rng = np.random.default_rng(0)
        over, reached = np.zeros(5, bool), 0
        for _ in range(120):  # past the time limit: rows start anew in the step after their end
            actions = rng.normal(size=(5, 2)).astype(np.float32)
            actions[0] = 10 * (tasks[0]["goal"] - observations[0])  # one goes straight to its goal, again and again
            observations, rewards, terminated, truncated, _ = vector.step(actions)
            for row, env in enumerate(singles):
                expected = (env.reset()[0], 0.0, False, False) if over[row] else env.step(actions[row])[:4]
                np.testing.assert_array_equal(observations[row], expected[0])
                assert rewards[row] == pytest.approx(expected[1], rel=2e-7)  # float32's rounding
                assert (terminated[row], truncated[row]) == expected[2:]
                over[row] = expected[2] or expected[3]
            reached += terminated[0]
        assert reached > 5

    def test_tensor_steps_on_any_dtype(self, name):
        vector = gym.make_vec(name, num_envs=2, dtype="float64").unwrapped
        tasks = vector.sample_tasks(2)
        observation = vector.tensor_reset(tasks)
        moved, reward, terminated, truncated = vector.tensor_step(torch.ones(2, 2, dtype=torch.float64))
        assert moved.dtype == reward.dtype == torch.float64
        torch.testing.assert_close(moved, observation + 0.1)
        assert not (terminated | truncated).any()

    def test_one_task_per_row(self, name):
        vector = gym.make_vec(name, num_envs=3)
        with pytest.raises(TaskError, match="2 tasks were given for 3 sub-environments"):
            vector.reset(options={"task": vector.unwrapped.sample_tasks(2)})

    def test_rendering_shows_the_goal(self, name):
        env = gym.make(name, render_mode="rgb_array")
        env.reset(seed=0)
        first = env.render()
        assert first.shape == (400, 400, 3)
        for _ in range(5):
            env.step(np.ones(2, np.float32))
        assert (env.render() != first).any()
        env.close()


def test_the_reward_and_the_end_by_hand():
    env = gym.make("metarl/Navigation2D-v0", task={"goal": [0.3, 0.0]})
    env.reset()
    observation, reward, terminated, _, _ = env.step(np.array([1.0, 0.0], np.float32))
    assert observation.tolist() == pytest.approx([0.1, 0.0])
    assert reward == pytest.approx(-0.2)
    observation, reward, terminated, _, _ = env.step(np.array([7.0, 0.0], np.float32))  # clipped
    assert observation.tolist() == pytest.approx([0.2, 0.0])
    assert not terminated
    _, reward, terminated, _, _ = env.step(np.array([0.95, 0.09], np.float32))  # inside the box, by 0.005 and 0.009
    assert terminated
    assert reward == pytest.approx(-np.hypot(0.005, 0.009), abs=1e-6)


EDGES = {
    "at the edge of the goal's box": ([0, 0], [0, 0], [0.01, 0]),
    "just within it": ([0, 0], [0, 0], [np.nextafter(np.float32(0.01), np.float32(0)), -0.009]),
    "one coordinate within it": ([0.3, 0.3], [0, 0], [0.3, 0.5]),
    "on the goal": ([0.25, -0.5], [0, 0], [0.25, -0.5]),
    "clipped on both sides": ([0.1, 0.2], [-7, 7], [-0.3, 0.4]),
    "no number": ([0.1, 0.2], [np.nan, 1], [0, 0]),
}


@pytest.mark.parametrize("edge", EDGES)
def test_one_point_moves_as_many_do(edge):
    dynamics = Dynamics(0.1, 1.0)
    arrays = [np.array(value, np.float32) for value in EDGES[edge]]
    many = [part.numpy() for part in dynamics.step(*(torch.from_numpy(array)[None] for array in arrays))]
    position, reward, reached = dynamics.step_one(*arrays)
    assert (position.dtype, type(reward), type(reached)) == (np.float32, float, bool)
    np.testing.assert_array_equal(position, many[0][0])
    np.testing.assert_allclose(reward, many[1][0], rtol=2e-7)
    assert reached == many[2][0] == (edge in ("just within it", "on the goal"))


@pytest.mark.parametrize("name", FAMILIES)
def test_nothing_that_a_step_gives_is_the_environments_own(name):
    env = gym.make(name)
    observation, info = env.reset(seed=0)
    kept = env.unwrapped.task
    env.action_space.seed(0)
    for _ in range(3):
        observation[...] = 99
        for value in info["task"].values():
            value[...] = 99
        observation, _, _, _, info = env.step(env.action_space.sample())
        assert (observation < 2).all()
        np.testing.assert_equal(info["task"], kept)


def test_metasgds_own_reading_neither_scales_nor_clips():
    env = gym.make("metarl/Navigation2D-v0", task={"goal": [0.3, 0.0]}, action_scale=1.0, action_limit=10.0)
    env.reset()
    assert env.step(np.array([2.5, -1.0], np.float32))[0].tolist() == [2.5, -1.0]


def test_goals_fill_the_square():
    env = gym.make("metarl/Navigation2DVaryingStart-v0").unwrapped
    env.reset(seed=0)
    tasks = env.sample_tasks(4000)
    for entry in ("goal", "start"):
        drawn = np.stack([task[entry] for task in tasks])
        assert abs(drawn).max() <= 0.5
        np.testing.assert_allclose(drawn.mean(0), 0, atol=0.02)
        np.testing.assert_allclose(drawn.std(0), 1 / np.sqrt(12), atol=0.01)


def test_bandit_arms_pay_with_their_probabilities():
    env = gym.make("metarl/BernoulliBandit-v0", task={"means": [0, 1, 0.5, 0, 0]})
    paid = np.zeros(3)
    for seed in range(20):
        env.reset(seed=seed)
        for pull in range(18):
            paid[pull % 3] += env.step(pull % 3)[1]
    assert paid[0] == 0
    assert paid[1] == 120
    assert 40 < paid[2] < 80


class OldStyle(gym.Env):
    """Tasks by sample_tasks and reset_task, as in older meta-RL libraries."""

    observation_space = gym.spaces.Box(-1, 1, (1,), np.float32)
    action_space = gym.spaces.Discrete(2)

    def sample_tasks(self, n):
        return [int(self.np_random.integers(2)) for _ in range(n)]

    def reset_task(self, task):
        self._good = task

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros(1, np.float32), {}

    def step(self, action):
        return np.zeros(1, np.float32), float(action == self._good), False, False, {}


def test_the_adapter_draws_sets_and_names_old_style_tasks():
    env = TaskAdapter(OldStyle())
    env.reset(seed=0)
    assert env.task is None
    assert set(env.sample_tasks(20)) == {0, 1}
    for good in (0, 1):
        _, info = env.reset(options={"task": good})
        assert info["task"] == env.task == good
        assert [env.step(action)[1] for action in (0, 1)] == [good == 0, good == 1]
    env.task = 0
    assert env.reset()[1]["task"] == 0


def test_the_adapters_two_functions_get_the_bare_environment_and_the_split():
    bare = OldStyle()
    env = TaskAdapter(
        gym.wrappers.TimeLimit(bare, 3),
        sample=lambda inner, n, split: [(inner is bare, split)] * n,
        set_task=lambda inner, task: inner.reset_task(task[0]),
    )
    assert env.sample_tasks(2, "test") == [(True, "test")] * 2
    env.task = (1, "train")
    assert bare._good == 1
    assert env.task == (1, "train")


def test_the_adapter_gives_an_environment_without_splits_a_stream_for_each():
    env = TaskAdapter(OldStyle())
    drawn, after = {}, {}
    for split in SPLITS:
        env.reset(seed=5)
        drawn[split] = tuple(env.sample_tasks(40, split))
        after[split] = env.unwrapped.np_random.integers(2**31)
    assert len(set(drawn.values())) == 3
    direct = np.random.default_rng(5)
    assert drawn["train"] == tuple(int(direct.integers(2)) for _ in range(40))  # training's tasks are the environment's own
    assert after["validation"] == after["test"] == np.random.default_rng(5).integers(2**31, size=2)[1]  # one number was drawn
    with pytest.raises(ConfigError, match="split='tset' is not known"):
        env.sample_tasks(1, "tset")


def test_the_adapter_says_what_is_missing():
    with pytest.raises(TaskError, match="has no tasks: it needs sample_tasks"):
        TaskAdapter(gym.make("CartPole-v1"))


def test_bandits_have_as_many_arms_as_they_are_given():
    env = gym.make("metarl/BernoulliBandit-v0", arms=2)
    assert env.action_space.n == 2
    (task,) = env.unwrapped.sample_tasks(1)
    assert task["means"].shape == (2,)
    env.reset(options={"task": task})


def test_the_vector_s_time_limit_is_what_it_is_given():
    envs = gym.make_vec("metarl/Navigation2D-v0", num_envs=2, max_episode_steps=3)
    assert envs.unwrapped.horizon == 3
    envs.reset(seed=0)
    assert [bool(envs.step(np.zeros((2, 2), np.float32))[3].all()) for _ in range(3)] == [False, False, True]


@pytest.mark.parametrize("name", ["Navigation2D", "BernoulliBandit", "TabularMDP", "Sine"])
def test_reset_knows_its_options(name):
    with pytest.raises(ConfigError, match="an option of reset='tasks' is not known: did you mean 'task'"):
        gym.make(f"metarl/{name}-v0").reset(options={"tasks": {}})
    if name != "Sine":
        with pytest.raises(ConfigError, match="'tasks' is not known"):
            gym.make_vec(f"metarl/{name}-v0", num_envs=2).reset(options={"tasks": {}})
