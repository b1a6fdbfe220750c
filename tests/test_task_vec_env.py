"""Families as SB3 vector environments: the single environments' own steps, with a new task for every episode."""

import gymnasium as gym
import numpy as np
import pytest
from stable_baselines3.common.vec_env import DummyVecEnv, VecMonitor

from metarl.agents import TaskVecEnv
from metarl.envs import NewTask, ToldTask
from metarl.errors import ConfigError, TaskError
from tests import worlds  # noqa: F401 - registers its environments

FAMILIES = {
    "tests/Navigation2D-v0": {},
    "metarl/BernoulliBandit-v0": {"max_episode_steps": 3},
    "metarl/TabularMDP-v0": {"max_episode_steps": 4},
    "metarl/HalfCheetahVelocity-v0": {"max_episode_steps": 5},
    "metarl/HopperParameters-v0": {"max_episode_steps": 40},
}
GOALS = [{"goal": np.array(goal, np.float32)} for goal in ((0.3, 0.1), (-0.2, 0.4))]


def require(env):
    """Skip where a family's simulator is not installed."""
    if "Cheetah" in env or "Hopper" in env:
        pytest.importorskip("mujoco")


def made(env, **options):
    require(env)
    return TaskVecEnv(env, 2, env_kwargs=FAMILIES[env], **options)


@pytest.mark.parametrize("told", [False, True])
@pytest.mark.parametrize("env", FAMILIES)
def test_rows_are_single_environments_with_their_tasks_and_seeds(env, told):
    require(env)
    tasks = gym.make(env, **FAMILIES[env]).get_wrapper_attr("sample_tasks")(2)

    def single(task):
        one = gym.make(env, **FAMILIES[env], task=task)
        return ToldTask(one) if told else one

    ours, theirs = made(env, tasks=tasks, told=told), DummyVecEnv([lambda task=task: single(task) for task in tasks])
    assert ours.observation_space == theirs.observation_space
    assert ours.action_space == theirs.action_space
    for each in (ours, theirs):
        each.seed(5)
    np.testing.assert_array_equal(ours.reset(), theirs.reset())
    ours.action_space.seed(1)
    ends = 0
    for _ in range(45 if "Hopper" in env else 12):
        actions = np.stack([ours.action_space.sample() for _ in range(2)])
        (seen, rewards, dones, infos), (seen2, rewards2, dones2, infos2) = ours.step(actions), theirs.step(actions)
        np.testing.assert_array_equal(seen, seen2)
        np.testing.assert_allclose(rewards, rewards2, rtol=1e-6)
        assert rewards.dtype == rewards2.dtype
        np.testing.assert_array_equal(dones, dones2)
        ends += dones.sum()
        for info, info2 in zip(infos, infos2, strict=True):
            assert info.keys() == info2.keys()
            assert info["TimeLimit.truncated"] == info2["TimeLimit.truncated"]
            np.testing.assert_array_equal(info.get("terminal_observation", 0), info2.get("terminal_observation", 0))
    assert ends > 1


@pytest.mark.parametrize("env", FAMILIES)
def test_some_rows_start_anew_with_tasks_of_their_own(env):
    require(env)
    singles = [gym.make(env, **FAMILIES[env]) for _ in range(2)]
    tasks = singles[0].get_wrapper_attr("sample_tasks")(3)
    rows = gym.make_vec(env, 2, **FAMILIES[env])
    rows.reset(seed=5, options={"task": tasks[:2]})
    for place, single in enumerate(singles):
        single.reset(seed=5 + place, options={"task": tasks[place]})
    rows.action_space.seed(1)

    def step_all():
        actions = rows.action_space.sample()
        seen, rewards, *_ = rows.step(actions)
        for place, single in enumerate(singles):
            one, reward, *_ = single.step(actions[place])
            np.testing.assert_array_equal(seen[place], one)
            assert rewards[place] == pytest.approx(reward, rel=1e-6)

    # bandits and MDPs draw a whole episode's numbers at its start, so that only at its end a single one is as far
    whole = "Bandit" in env or "MDP" in env
    for _ in range(FAMILIES[env]["max_episode_steps"] if whole else 1):
        step_all()
    anew = [0, 1] if whole else [1]
    seen = rows.unwrapped.reset_rows(anew, [tasks[place + 1] for place in anew])
    for place in anew:
        np.testing.assert_array_equal(seen[place], singles[place].reset(options={"task": tasks[place + 1]})[0])
    for _ in range(2):
        step_all()
    with pytest.raises(TaskError):
        rows.unwrapped.reset_rows([0], [{"another": 1}])
    rows.close()


def test_every_episode_has_a_new_task_and_the_last_observation_is_told_the_old_one():
    env = made("tests/Navigation2D-v0", told=True)
    env.seed(0)
    seen = env.reset()
    first = env.get_attr("task")
    assert not np.array_equal(first[0]["goal"], first[1]["goal"])
    np.testing.assert_array_equal(seen[:, 2:], [task["goal"] for task in first])
    assert [info["task"] for info in env.reset_infos] == first
    # the first row steps onto its goal, which ends its episode alone
    goal = {"goal": np.array([0.05, 0.0], np.float32)}
    env.set_attr("task", goal, indices=0)
    env.reset()
    second = env.get_attr("task", 1)[0]
    env.set_attr("task", None)
    seen, _, dones, infos = env.step(np.array([[0.5, 0], [0, 0]], np.float32))
    assert dones.tolist() == [True, False]
    np.testing.assert_allclose(infos[0]["terminal_observation"], [0.05, 0, 0.05, 0], atol=1e-7)
    assert infos[0]["TimeLimit.truncated"] is False
    assert not np.array_equal(env.get_attr("task", 0)[0]["goal"], goal["goal"])
    assert env.get_attr("task", 1)[0] is second
    np.testing.assert_array_equal(seen[0], [0, 0, *env.get_attr("task", 0)[0]["goal"]])
    np.testing.assert_array_equal(seen[1, 2:], second["goal"])


def test_a_seed_fixes_the_tasks():
    one, other = (made("tests/Navigation2D-v0") for _ in range(2))
    drawn = []
    for env, seed in ((one, 3), (other, 3), (one, 4)):
        env.seed(seed)
        env.reset()
        for _ in range(10):
            env.step(np.zeros((2, 2), np.float32))
        drawn.append([task["goal"].tolist() for task in env.get_attr("task")])
    assert drawn[0] == drawn[1] != drawn[2]
    one.seed(3)
    one.reset()  # whatever was before
    for _ in range(10):
        one.step(np.zeros((2, 2), np.float32))
    assert [task["goal"].tolist() for task in one.get_attr("task")] == drawn[0]
    one.reset()
    assert [task["goal"].tolist() for task in one.get_attr("task")] != drawn[0]  # goes on


def test_what_is_set_holds_from_the_next_episode_on():
    env = VecMonitor(made("tests/Navigation2D-v0"))
    env.reset()
    env.set_attr("task", GOALS[0])
    assert [task["goal"].tolist() for task in env.get_attr("task")] == [GOALS[0]["goal"].tolist()] * 2
    episodes = []
    for _ in range(20):
        _, _, _, infos = env.step(np.zeros((2, 2), np.float32))
        episodes += [info["episode"]["r"] for info in infos if "episode" in info]
    assert episodes[2:] == pytest.approx([-10 * np.hypot(0.3, 0.1)] * 2, rel=1e-5)
    assert env.env_method("sample_tasks", 3, "test", indices=[1])[0][0].keys() == {"goal"}
    assert env.get_attr("render_mode") == [None, None]
    with pytest.raises(TaskError, match="outside Navigation2D"):
        env.set_attr("task", {"goal": [2.0, 0.0]})
    with pytest.raises(ConfigError, match=r"varying_start=True: rows of .* are one batch, and only their tasks can be set"):
        env.set_attr("varying_start", True)


def test_without_a_batch_of_its_own_copies_are_stepped():
    doubled = gym.wrappers.TransformReward(gym.make("tests/Navigation2D-v0"), lambda reward: 2 * reward)
    ours, native = TaskVecEnv(doubled, 2, tasks=GOALS, told=True), made("tests/Navigation2D-v0", tasks=GOALS, told=True)
    for env in (ours, native):
        env.seed(0)
    np.testing.assert_array_equal(ours.reset(), native.reset())
    action = np.array([[0.2, 0.1], [-0.3, 1.0]], np.float32)
    for _ in range(12):
        (seen, rewards, dones, infos), (seen2, rewards2, dones2, _) = ours.step(action), native.step(action)
        np.testing.assert_array_equal(seen, seen2)
        np.testing.assert_allclose(rewards, 2 * rewards2, rtol=1e-6)
        np.testing.assert_array_equal(dones, dones2)
        np.testing.assert_array_equal(infos[1]["task"]["goal"], GOALS[1]["goal"])
    free = TaskVecEnv(doubled, 2)
    free.seed(1)
    free.reset()
    assert not np.array_equal(*(task["goal"] for task in free.get_attr("task")))
    assert free.get_attr("varying_start") == [False, False]
    ours.close()


def test_bad_input_is_named():
    with pytest.raises(TaskError, match="tasks: 1 tasks were given for 2 rows"):
        TaskVecEnv("tests/Navigation2D-v0", 2, tasks=GOALS[:1])
    with pytest.raises(TaskError, match=r"task\['goal'\]"):
        TaskVecEnv("tests/Navigation2D-v0", 2, tasks=[GOALS[0], {"goal": [9.0, 9.0]}])
    with pytest.raises(TaskError, match="has no tasks"):
        TaskVecEnv("CartPole-v1")
    with pytest.raises(ConfigError, match="num_envs=0 must be above zero"):
        TaskVecEnv("tests/Navigation2D-v0", 0)
    with pytest.raises(ConfigError, match="split='tset' is not known: did you mean 'test'"):
        TaskVecEnv("tests/Navigation2D-v0", split="tset")
    for wrapper in (NewTask, ToldTask):
        with pytest.raises(TaskError, match="has no tasks"):
            wrapper(gym.make("CartPole-v1"))
    with pytest.raises(ConfigError, match="split='tset'"):
        NewTask(gym.make("tests/Navigation2D-v0"), split="tset")


def test_wrappers_draw_a_task_at_every_reset_and_tell_it():
    env = ToldTask(NewTask(gym.make("tests/Navigation2D-v0")))
    first, info = env.reset(seed=2)
    np.testing.assert_array_equal(first, [0, 0, *info["task"]["goal"]])
    assert env.observation_space.contains(first)
    second, _ = env.reset()
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(env.reset(seed=2)[0], first)
    given, _ = env.reset(options={"task": GOALS[0]})
    np.testing.assert_array_equal(given, np.array([0, 0, 0.3, 0.1], np.float32))
    stepped, *_ = env.step(np.array([1, 0], np.float32))
    np.testing.assert_allclose(stepped, [0.1, 0, 0.3, 0.1], atol=1e-7)
    assert gym.make(env.spec).reset(seed=2)[0].tolist() == first.tolist()
    other = NewTask(gym.make("tests/Navigation2D-v0"), split="test")
    assert not np.array_equal(other.reset(seed=2)[1]["task"]["goal"], info["task"]["goal"])
