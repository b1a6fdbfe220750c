"""Meta-World's benchmarks as task families: its own tasks and simulators, step by step, and its own judge."""

import copy
import warnings
from importlib.util import find_spec

import gymnasium as gym
import numpy as np
import pytest

import metarl
from metarl.agents import MetaWorldAgent
from metarl.envs.metaworld import benchmarks, simulators
from metarl.errors import ConfigError, TaskError
from metarl.sampling.pool import WorkerPool
from metarl.sampling.row_stepper import Copies, RowStepper

NEEDED = pytest.mark.skipif(find_spec("metaworld") is None, reason="Meta-World's families need the extra metarl[metaworld]")
FAMILIES = {"ML10": (10, 5), "ML25": (25, 5), "ML45": (45, 5), "ML1": (1, 1)}


@pytest.fixture(scope="module")
def theirs():
    """Meta-World's own benchmark, which our families make too."""
    with warnings.catch_warnings(action="ignore"):
        import metaworld

        yield metaworld.ML1("reach-v3", seed=0)


def make(name="ML1", **options):
    return gym.make(f"metarl/{name}-v0", **options)


def test_without_meta_world_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setattr(benchmarks, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"not installed: pip install 'metarl\[metaworld\]'$"):
        make("ML10")


@NEEDED
class TestTasks:
    @pytest.mark.parametrize("name", FAMILIES)
    def test_each_split_has_classes_of_its_own_as_often_as_each_other(self, name):
        train, test = FAMILIES[name]
        family = make(name).unwrapped
        assert len(family.class_names) == train + test
        for split, first, count in (("train", 0, train), ("validation", 0, train), ("test", train, test)):
            tasks = family.sample_tasks(2 * count + 1, split)
            classes = np.bincount([int(task["class"]) for task in tasks], minlength=train + test)
            assert set(classes[first : first + count]) == ({2, 3} if count > 1 else {3})
            assert classes.sum() == 2 * count + 1
            assert len({(int(task["class"]), int(task["goal"])) for task in tasks}) == len(tasks)

    def test_the_classes_are_meta_worlds(self):
        from metaworld.env_dict import ML10_V3

        assert make("ML10").unwrapped.class_names == (*ML10_V3["train"], *ML10_V3["test"])
        assert make("ML1", env_name="push-v3").unwrapped.class_names == ("push-v3", "push-v3")

    def test_no_goal_comes_twice_before_all_have_come(self):
        family = make(tasks_per_class=7).unwrapped
        goals = [int(task["goal"]) for task in family.sample_tasks(14)]
        assert sorted(goals[:7]) == sorted(goals[7:]) == list(range(7))

    def test_a_seed_fixes_the_tasks_and_splits_differ(self):
        def goals(split):
            family = make("ML10").unwrapped
            family.reset = lambda **_: None
            family.np_random = np.random.default_rng(4)
            return [tuple(map(int, task.values())) for task in family.sample_tasks(20, split)]

        assert goals("train") == goals("train")
        assert goals("train") != goals("validation")

    @pytest.mark.parametrize(
        ("options", "error", "says"),
        [
            ({"env_name": "reach"}, ConfigError, "env_name='reach' is not known: did you mean 'reach-v3'"),
            ({"tasks_per_class": 0}, ConfigError, "tasks_per_class=0 must be above zero"),
            ({"tasks_per_class": 51}, ConfigError, r"tasks_per_class=51 must lie in \[1, 50\]"),
            ({"goal_seed": -1}, ConfigError, r"goal_seed=-1 must lie in \[0"),
            ({"reward_function_version": "v3"}, ConfigError, "reward_function_version='v3' is not known"),
            ({"camera_name": "above"}, ConfigError, "camera_name='above' is not known"),
            ({"width": 1.5}, ConfigError, "width=1.5 must be a whole number"),
            ({"task": {"class": 2, "goal": 0}}, TaskError, r"task\['class'\]=2 is outside ML1: choose from 0 to 1"),
            ({"task": {"class": 0, "goal": 50}}, TaskError, r"task\['goal'\]=50 is outside ML1: choose from 0 to 49"),
            ({"task": {"class": 0, "goal": 0.5}}, TaskError, r"task\['goal'\]=0.5 are not whole numbers"),
        ],
    )
    def test_bad_input_is_named(self, options, error, says):
        with pytest.raises(error, match=says):
            make(**options)


@NEEDED
@pytest.mark.filterwarnings("ignore:.*Overriding environment:UserWarning")
class TestSteps:
    def test_it_is_meta_worlds_own_task_step_by_step(self, theirs):
        env = make()
        for number, (tasks, goal) in enumerate([(theirs.train_tasks, 7), (theirs.test_tasks, 2)]):
            single = theirs.train_classes["reach-v3"]()
            single.set_task(tasks[goal])
            for _ in range(2):  # the simulator has been used in the second
                seen, info = env.reset(options={"task": {"class": number, "goal": goal}})
                np.testing.assert_array_equal(seen, single.reset()[0])
                assert {name: int(value) for name, value in info["task"].items()} == {"class": number, "goal": goal}
                for action in np.random.default_rng(0).uniform(-1.5, 1.5, (12, 4)).astype(np.float32):
                    ours, expected = env.step(action), single.step(action)
                    np.testing.assert_array_equal(ours[0], expected[0])
                    assert ours[1] == expected[1]
                    assert ours[4]["success"] == expected[4]["success"]
                    assert ours[4]["obj_to_target"] == expected[4]["obj_to_target"]

    def test_success_is_said_and_may_end_the_episode(self):
        for ends in (False, True):
            env = make(terminate_on_success=ends).unwrapped
            seen, _ = env.reset(options={"task": {"class": 0, "goal": 0}})
            for _ in range(150):
                towards = env._simulator._target_pos - seen[:3]
                seen, _, terminated, truncated, info = env.step(np.append(np.clip(10 * towards, -1, 1), 0).astype(np.float32))
                assert info["success"] is info["is_success"]
                assert (terminated, truncated) == (ends and info["success"], False)
                if info["success"]:
                    break
            assert info["success"]

    def test_an_episode_may_be_longer_than_meta_worlds(self):
        env = make().unwrapped
        env.reset(seed=0)
        env._simulator.curr_path_length = 500
        assert env.step(np.zeros(4, np.float32))[2:4] == (False, False)
        assert make().spec.max_episode_steps == 500
        short = make(max_episode_steps=2)
        short.reset(seed=0)
        assert [short.step(np.zeros(4, np.float32))[3] for _ in range(2)] == [False, True]

    def test_an_unstable_simulation_ends_the_episode_where_it_was(self, capfd, tmp_path, monkeypatch):
        env = make().unwrapped
        seen, _ = env.reset(seed=0)
        monkeypatch.chdir(tmp_path)
        env._simulator.data.qvel[:] = 1e12
        capfd.readouterr()
        after, reward, terminated, truncated, info = env.step(np.zeros(4, np.float32))
        assert (reward, terminated, truncated, info["unstable"], info["success"]) == (0, True, False, True, False)
        np.testing.assert_array_equal(after, seen)
        assert env.unstable_episodes == 1
        assert "WARNING" not in "".join(capfd.readouterr())
        assert not list(tmp_path.iterdir())
        np.testing.assert_array_equal(env.reset()[0], seen)

    def test_rows_that_change_their_class_lend_each_other_simulators(self, monkeypatch):
        monkeypatch.setattr(benchmarks.Benchmark, "goal", lambda self, test, name, number: name)
        made = []

        class Simulator:
            def __init__(self, kind):
                made.append(kind.env_name)

            def set_task(self, name):
                self.name = name

            def reset(self):
                return np.zeros(39), {}

        monkeypatch.setattr(simulators, "_free", simulators.defaultdict(list))
        monkeypatch.setattr(simulators, "_make", Simulator)
        rows = [make("ML10").unwrapped for _ in range(2)]
        for classes in ((0, 1), (1, 0), (0, 0), (2, 0), (0, 2)):
            for row, number in zip(rows, classes, strict=True):
                row.reset(options={"task": {"class": number, "goal": 0}})
                assert row._simulator.name == row.class_names[number]
        names = rows[0].class_names
        assert sorted(made) == sorted([names[0], names[0], names[1], names[1], names[2]])
        kept = rows[0]._simulator
        rows[0].close()
        assert simulators.borrow(rows[1]._kind._replace(env_name=names[0])) is kept

    def test_a_copy_begins_with_a_reset(self):
        env = make()
        env.reset(seed=0)
        twin = copy.deepcopy(env)
        with pytest.raises(AssertionError, match=r"call reset\(\) before step"):
            twin.unwrapped.step(np.zeros(4, np.float32))
        np.testing.assert_array_equal(twin.reset()[0], env.reset()[0])
        assert twin.unwrapped._simulator is not env.unwrapped._simulator

    def test_pictures(self):
        env = make(render_mode="rgb_array", width=16, height=8)
        env.reset(seed=0)
        try:
            picture = env.render()
        except ConfigError as error:
            pytest.skip(str(error))
        assert picture.shape == (8, 16, 3)
        assert picture.std() > 0


@NEEDED
@pytest.mark.filterwarnings("ignore")
class TestJudge:
    """Meta-World's ``metalearning_evaluation``."""

    @pytest.mark.parametrize(
        ("cls", "options"), [(metarl.MAML, {}), (metarl.MetaSGD, {}), (metarl.RL2, {"episodes": 3, "hidden": 3})]
    )
    def test_it_judges_every_kind_alike(self, theirs, cls, options, monkeypatch):
        import metaworld
        from metaworld.evaluation import metalearning_evaluation

        agent = cls("MlpPolicy", make(max_episode_steps=3), policy_kwargs={"hidden": (3,)}, device="cpu", **options)
        envs = metaworld._make_ml_envs_inner(
            theirs,
            meta_batch_size=2,
            seed=0,
            total_tasks_per_cls=4,
            split="test",
            task_select="pseudorandom",
            max_episode_steps=3,
            recurrent_info_in_obs=True,
        )
        judged = MetaWorldAgent(agent)
        adapted = []
        adapt = judged.adapt
        monkeypatch.setattr(judged, "adapt", lambda: adapt() or adapted.append(judged._learner))
        rate, mean, by_task = metalearning_evaluation(
            judged, envs, num_evals=2, adaptation_steps=2, adaptation_episodes=2, evaluation_episodes=1
        )
        assert rate == by_task["reach-v3"] == 0
        assert 0 < mean < 30
        assert adapted[0] is adapted[1] is not adapted[2]  # two adaptations of the first tasks, then others
        if cls is not metarl.RL2:
            assert not np.array_equal(adapted[0].adapted[0][0], agent.meta["theta"])
            assert len(adapted[0]._experiences) == 2
            assert adapted[0]._experiences[0].lengths.tolist() == [[3, 3], [3, 3]]
        envs.close()


@NEEDED
@pytest.mark.slow
def test_a_pool_steps_it_as_one_process_does():
    copies = Copies(gym.spec("metarl/ML1-v0"))
    tasks, actions = [{"class": 0, "goal": 4}, {"class": 1, "goal": 5}], np.random.default_rng(0).uniform(-1, 1, (3, 2, 4))
    alone, pool = RowStepper(copies), WorkerPool(copies, workers=1, timeout=60)
    np.testing.assert_array_equal(pool.reset(tasks, [0, 1]), alone.reset(tasks, [0, 1]))
    for action in actions:
        for theirs, ours in zip(pool.step(action), alone.step(action), strict=True):
            np.testing.assert_array_equal(theirs, ours)
    assert theirs.tolist() == [0, 0]  # stable, and said to be
    pool.close()
