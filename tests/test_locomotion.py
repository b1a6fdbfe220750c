"""Locomotion families: rewards by hand, Gymnasium's own environments, and a native batch that is the single environment."""

import copy
import sys

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env
from stable_baselines3 import PPO

import metarl
from metarl.errors import ConfigError, TaskError

mujoco = pytest.importorskip("mujoco", reason="locomotion families need the extra metarl[mujoco]")

V5 = {
    "HalfCheetahDirection": "HalfCheetah-v5",
    "HalfCheetahVelocity": "HalfCheetah-v5",
    "AntDirection": "Ant-v5",
    "AntVelocity": "Ant-v5",
    "AntGoal": "Ant-v5",
    "HopperParameters": "Hopper-v5",
    "Walker2DParameters": "Walker2d-v5",
}
FAMILIES = list(V5)
BODIES = ["HopperParameters", "Walker2DParameters"]
ANTS = ["AntDirection", "AntVelocity", "AntGoal"]


def make(name, **options):
    return gym.make(f"metarl/{name}-v0", **options)


def make_batch(name, rows, **options):
    return gym.make_vec(f"metarl/{name}-v0", num_envs=rows, **options)


def tasks_of(name, n):
    env = make(name).unwrapped
    env.reset(seed=0)
    return env.sample_tasks(n)


def usual(env):
    """Return the task that leaves a body as it is, or any other family's first."""
    if env.bounds.keys() >= {"masses"}:
        return {entry: np.ones_like(low) for entry, (low, _) in env.bounds.items()}
    env.np_random = np.random.default_rng(0)
    return env.sample_tasks(1)[0]


@pytest.fixture
def renderer():
    """Skip where no picture can be drawn."""
    env = make("HalfCheetahDirection", render_mode="rgb_array", width=8, height=8)
    env.reset(seed=0)
    try:
        env.render()
    except ConfigError as error:
        pytest.skip(str(error))
    finally:
        env.close()


@pytest.mark.parametrize("name", FAMILIES)
class TestSingle:
    def test_it_starts_and_moves_as_gymnasiums_own(self, name):
        ours, theirs = make(name).unwrapped, gym.make(V5[name]).unwrapped
        seen, _ = ours.reset(seed=3, options={"task": usual(ours)})
        expected, _ = theirs.reset(seed=3)
        hidden = len(seen) - len(expected)  # an ant that must find a place sees where it is
        assert hidden == (2 if name == "AntGoal" else 0)
        np.testing.assert_array_equal(seen[hidden:], expected)
        rng = np.random.default_rng(0)
        felt = 0.0
        for _ in range(20):
            action = rng.uniform(-1, 1, ours.action_space.shape).astype(np.float32)
            seen, _, terminated, _, info = ours.step(action)
            expected, _, fell, _, theirs_info = theirs.step(action)
            np.testing.assert_allclose(seen[hidden:], expected, atol=1e-9)  # the solver's starts differ
            assert terminated == (fell and name != "AntGoal")
            # an ant's is of where the simulator's last stage has put it
            assert info["x_velocity"] == pytest.approx(theirs_info["x_velocity"], abs=0.05 if name in ANTS else 1e-9)
            felt = max(felt, abs(seen[-78:]).max())
            if terminated or fell:
                break
        if name in ANTS:
            assert felt == 1  # contacts, clipped
        if name == "AntGoal":
            np.testing.assert_array_equal(seen[:2], ours._states[0, 1:3])

    def test_the_horizon_is_200_unless_given(self, name):
        assert make(name).spec.max_episode_steps == 200
        env = make(name, max_episode_steps=2)
        env.reset(seed=0)
        assert [env.step(np.zeros(env.action_space.shape, np.float32))[3] for _ in range(2)] == [False, True]

    def test_a_copy_goes_on_as_the_original(self, name):
        env = make(name)
        env.reset(seed=0)
        env.step(env.action_space.sample())
        twin, action = copy.deepcopy(env), env.action_space.sample()
        for left, right in zip(env.step(action)[:4], twin.step(action)[:4], strict=True):
            np.testing.assert_array_equal(left, right)

    @pytest.mark.parametrize("velocity", [1e12, 4e3])  # MuJoCo's judgement, and ours
    def test_an_unstable_simulation_ends_the_episode_where_it_was(self, name, velocity, capfd, tmp_path, monkeypatch):
        env = make(name).unwrapped
        env.reset(seed=0)
        monkeypatch.chdir(tmp_path)
        env._states[0, 1 + env.simulation.positions] = velocity
        kept = env._states.copy()
        capfd.readouterr()  # what MuJoCo says of the model
        _, reward, terminated, truncated, info = env.step(np.zeros(env.action_space.shape, np.float32))
        assert (terminated, truncated, info["unstable"], env.unstable_episodes) == (True, False, True, 1)
        assert np.isfinite(reward)
        np.testing.assert_array_equal(env._states, kept)
        assert "WARNING" not in "".join(capfd.readouterr())
        assert not list(tmp_path.iterdir())  # MuJoCo's own log
        env.reset()
        assert not env.step(np.zeros(env.action_space.shape, np.float32))[4]["unstable"]

    def test_stable_baselines_learns_in_it(self, name):
        model = PPO("MlpPolicy", make(name), n_steps=8, batch_size=8, n_epochs=1, device="cpu", seed=0)
        before = model.policy.action_net.bias.detach().clone()
        model.learn(8)
        assert (model.policy.action_net.bias != before).any()


@pytest.mark.parametrize("name", FAMILIES)
class TestBatch:
    @pytest.mark.parametrize("threads", [1, 3])
    def test_every_row_is_the_single_environment_bit_for_bit(self, name, threads):
        rows, rng = 4, np.random.default_rng(1)
        batch, tasks = make_batch(name, rows, threads=threads, max_episode_steps=12), tasks_of(name, rows)
        singles = [make(name, max_episode_steps=12) for _ in range(rows)]
        seen, info = batch.reset(seed=5, options={"task": tasks})
        np.testing.assert_equal(list(info["task"]), tasks)
        for row, env in enumerate(singles):
            np.testing.assert_array_equal(seen[row], env.reset(seed=5 + row, options={"task": tasks[row]})[0])
        over = np.zeros(rows, bool)
        for step in range(16):  # past the time limit: rows start anew in the step after their end
            actions = rng.uniform(-1.5, 1.5, (rows, *batch.single_action_space.shape)).astype(np.float32)
            if step == 5:
                batch.unwrapped._states[1, -2] = singles[1].unwrapped._states[0, -2] = 1e12  # becomes unstable
            seen, rewards, terminated, truncated, info = batch.step(actions)
            for row, env in enumerate(singles):
                expected = (env.reset()[0], 0.0, False, False, {}) if over[row] else env.step(actions[row])
                np.testing.assert_array_equal(seen[row], expected[0])
                assert (rewards[row], terminated[row], truncated[row]) == expected[1:4]
                for measured in expected[4].keys() & {"x_velocity", "unstable"}:
                    assert info[measured][row] == expected[4][measured]
            over = terminated | truncated
        assert batch.unwrapped.unstable_episodes == 1 == singles[1].unwrapped.unstable_episodes
        batch.close()

    def test_tensors_are_what_the_stepper_of_single_environments_gives(self, name):
        from metarl.sampling.vector import make_vector_env

        like, tasks, seeds = torch.zeros(0, dtype=torch.float64), tasks_of(name, 2), torch.tensor([7, 2**31 - 2, 9, 9])
        ours, sync = (make_vector_env(make(name, max_episode_steps=30), 4, like, how) for how in ("auto", "sync"))
        assert type(ours.unwrapped).__name__ == f"{name}Vector"
        assert ours.unwrapped.horizon == sync.horizon == 30
        four = [tasks[0], tasks[0], tasks[1], tasks[1]]
        torch.testing.assert_close(ours.tensor_reset(four, seeds), sync.tensor_reset(four, seeds), rtol=0, atol=0)
        generator = torch.Generator().manual_seed(0)
        for _ in range(32):
            actions = 2 * torch.randn(4, *make(name).action_space.shape, generator=generator, dtype=torch.float64)
            for left, right in zip(ours.tensor_step(actions), sync.tensor_step(actions), strict=True):
                torch.testing.assert_close(left, right, rtol=0, atol=0)
        ours.close()

    def test_one_task_for_each_row(self, name):
        with pytest.raises(TaskError, match="2 tasks were given for 3 sub-environments"):
            make_batch(name, 3).reset(options={"task": tasks_of(name, 2)})
        with pytest.raises(TaskError, match="is not a task of"):
            make_batch(name, 3).reset(options={"task": {"speed": 1.0}})


def step_of(name, task, states, action, forces=None):
    """Return the reward and the end of a step from one state to another, each given as its entries that are not 0."""
    from metarl.envs.locomotion.family import columns
    from metarl.envs.locomotion.simulation import Motion

    env = make(name, task=task).unwrapped
    before, after = np.zeros((2, 1, env.simulation.state_size))
    for array, entries in zip((before, after), states, strict=True):
        for index, value in entries.items():
            array[0, index] = value
    actions = np.full((1, *env.action_space.shape), action)
    felt = np.zeros((1, env.simulation.force_size))
    felt[0, : len(forces or ())] = forces or ()
    motion = Motion(before, after, felt, actions, np.zeros(1, bool), env.simulation.seconds)
    return env.rewards(motion, columns([env.task]))[0], env.fallen(after)[0]


X, Y, Z, ANGLE = 1, 2, 3, 3
CASES = {  # each a family, its task, entries of the states before and after, the action, forces, and the reward and end
    "runs ahead": ("HalfCheetahDirection", {"direction": [1]}, ({X: 1.0}, {X: 1.1}), 0.5, None, 2 - 0.05 * 6 / 4, False),
    "runs the wrong way": ("HalfCheetahDirection", {"direction": [-1]}, ({}, {X: 0.1}), 0.0, None, -2.0, False),
    "too fast": ("HalfCheetahVelocity", {"velocity": [1.5]}, ({}, {X: 0.1}), 1.0, None, -0.5 - 0.3, False),
    "too slow": ("HalfCheetahVelocity", {"velocity": [1.5]}, ({}, {X: 0.05}), 0.0, None, -0.5, False),
    "walks back": (
        "AntDirection",
        {"direction": [-1]},
        ({}, {X: -0.1, Z: 0.2}),
        0.5,
        [0, 0.5, -1],
        2 - 0.01 - 0.000625 + 0.05,
        False,
    ),
    "has fallen": ("AntDirection", {"direction": [1]}, ({}, {X: 0.1, Z: 0.19}), 0.0, None, 2.0, True),
    "jumps": ("AntVelocity", {"velocity": [3]}, ({}, {X: 0.1, Z: 1.01}), 0.0, None, 1 - 1.0, True),
    "walks": ("AntVelocity", {"velocity": [0.5]}, ({}, {X: 0.1, Z: 1.0}), 1.0, [1], 1 - 1.5 + 0.05 - 0.04 - 0.0005, False),
    "to a goal": ("AntGoal", {"goal": [1, -2]}, ({}, {X: 0.5, Y: 1}), 0.5, [-1], -0.5 - 3 - 0.2 - 0.0005, False),
    "hops": ("HopperParameters", None, ({}, {X: 0.008, 2: 0.71}), 1.0, None, 1 + 1 - 0.003, False),
    "hopper leans": ("HopperParameters", None, ({}, {X: 0.008, 2: 1, ANGLE: 0.2}), 0.0, None, 1.0, True),
    "hopper is low": ("HopperParameters", None, ({}, {2: 0.7}), 0.0, None, 0.0, True),
    "hopper is hurled": ("HopperParameters", None, ({}, {2: 1, 12: -100}), 0.0, None, 0.0, True),
    "strides": ("Walker2DParameters", None, ({}, {X: 0.016, 2: 1.9, ANGLE: -0.9}), 0.5, None, 2 + 1 - 0.0015, False),
    "walker is high": ("Walker2DParameters", None, ({}, {2: 2.0}), 0.0, None, 0.0, True),
    "walker leans": ("Walker2DParameters", None, ({}, {2: 1.0, ANGLE: -1.0}), 0.0, None, 0.0, True),
}


@pytest.mark.parametrize("case", CASES)
def test_rewards_and_ends_by_hand(case):
    name, task, states, action, forces, reward, end = CASES[case]
    if task is None:
        task = usual(make(name).unwrapped)
    got, ended = step_of(name, task, states, action, forces)
    assert got == pytest.approx(reward, abs=1e-9)
    assert ended == end


class TestTasks:
    def test_directions_are_two(self):
        drawn = [float(task["direction"][0]) for task in tasks_of("AntDirection", 400)]
        assert set(drawn) == {-1.0, 1.0}
        assert abs(sum(drawn)) < 60
        with pytest.raises(TaskError, match=r"\[0.5\] is outside HalfCheetahDirection: choose from \[-1.0\] and \[1.0\]"):
            make("HalfCheetahDirection", task={"direction": [0.5]})

    @pytest.mark.parametrize(("name", "fastest"), [("HalfCheetahVelocity", 2), ("AntVelocity", 3)])
    def test_velocities_reach_the_fastest(self, name, fastest):
        drawn = np.array([task["velocity"] for task in tasks_of(name, 1000)])
        assert 0 <= drawn.min() < 0.05
        assert 0.98 * fastest < drawn.max() <= fastest
        assert make(name, fastest=7, task={"velocity": [6.5]}).unwrapped.task["velocity"] == 6.5
        with pytest.raises(ConfigError, match="fastest=0 must be above zero"):
            make(name, fastest=0)

    def test_goals_fill_the_disc(self):
        drawn = np.array([task["goal"] for task in tasks_of("AntGoal", 2000)])
        distance = np.linalg.norm(drawn, axis=1)
        assert distance.max() <= 3
        np.testing.assert_allclose(drawn.mean(0), 0, atol=0.15)
        assert np.mean(distance < 3 / np.sqrt(2)) == pytest.approx(0.5, abs=0.04)  # half the area
        with pytest.raises(TaskError, match="is outside the disc of radius 3: choose within it"):
            make("AntGoal", task={"goal": [2.9, 2.9]})

    @pytest.mark.parametrize("name", BODIES)
    def test_factors_are_uniform_powers(self, name):
        drawn = tasks_of(name, 300)
        for entry, base in {"masses": 1.5, "damping": 1.3, "friction": 1.5}.items():
            powers = np.log(np.concatenate([task[entry] for task in drawn])) / np.log(base)
            assert abs(powers).max() <= 3 + 1e-5
            assert abs(powers.mean()) < 0.2
            assert powers.std() == pytest.approx(np.sqrt(3), abs=0.1)

    @pytest.mark.parametrize("name", BODIES)
    def test_a_body_is_what_its_task_says(self, name):
        env, original = make(name).unwrapped, make(name).unwrapped.simulation.model
        env.reset(seed=0)
        for task in env.sample_tasks(2):  # the second is made of the model of the first
            (model,) = env.simulation.models([task])
            np.testing.assert_allclose(model.body_mass[1:], original.body_mass[1:] * task["masses"])
            np.testing.assert_allclose(model.body_inertia[1:], original.body_inertia[1:] * task["masses"][:, None])
            np.testing.assert_allclose(model.dof_damping[3:], original.dof_damping[3:] * task["damping"])
            assert (model.dof_damping[:3] == 0).all()
            np.testing.assert_allclose(model.geom_friction, original.geom_friction * task["friction"][:, None])
            assert model.body_subtreemass[0] == pytest.approx(model.body_mass.sum())  # what follows from them is recomputed
        (model,) = env.simulation.models([usual(env)])
        np.testing.assert_allclose(model.body_invweight0, original.body_invweight0)

    @pytest.mark.parametrize("name", BODIES)
    def test_a_task_that_is_set_is_felt_at_once(self, name):
        envs = [make(name).unwrapped for _ in range(2)]
        tasks = tasks_of(name, 2)
        for env in envs:
            env.reset(seed=0, options={"task": tasks[0]})
            env.step(np.ones(env.action_space.shape, np.float32))
        envs[1].task = tasks[1]
        after = [env.step(np.ones(env.action_space.shape, np.float32))[0] for env in envs]
        assert abs(after[0] - after[1]).max() > 1e-3


def test_an_episode_of_a_batch_ends_and_the_run_goes_on():
    agent = metarl.MAML(
        "MlpPolicy",
        "metarl/HalfCheetahDirection-v0",
        env_kwargs={"max_episode_steps": 4, "threads": 1},
        policy_kwargs={"hidden": (3,)},
        rollouts=metarl.Rollouts(trajectories=2),
        outer="policy_gradient",
        meta_batch=2,
        device="cpu",
    )
    batch = agent.adapter.problem._vector_env(4).unwrapped
    step, steps = batch._simulation.step, []

    def poisoned(models, states, forces, actions):
        steps.append(len(states))
        if len(states) == 4:
            states[0, -1] = 1e12
        return step(models, states, forces, actions)

    batch._simulation.step = poisoned
    agent.learn(1)
    assert steps == [4, 3, 3, 3] * 2  # what has ended is not stepped on
    assert batch.unstable_episodes == 2  # one before and one after adaptation
    assert agent.iteration == 1


@pytest.mark.parametrize("name", ["HalfCheetahVelocity", "AntGoal"])
def test_bad_arguments_are_named(name):
    family = type(make(name).unwrapped)
    for arguments, message in (
        ({"threads": 0}, "threads=0 must be above zero"),
        ({"threads": 1.5}, "threads=1.5 must be a whole number"),
        ({"render_mode": "ansi"}, "render_mode='ansi' must be None or 'rgb_array'"),
        ({"width": -1}, "width=-1 must be above zero"),
    ):
        with pytest.raises(ConfigError, match=message):
            family(**arguments)
    with pytest.raises(ConfigError, match="max_episode_steps=0 must be above zero"):
        make_batch(name, 2, max_episode_steps=0)
    with pytest.raises(ConfigError, match=r"max_episode_steps=2\.5 must be a whole number"):
        make_batch(name, 2, max_episode_steps=2.5)
    with pytest.raises(ConfigError, match="max_episode_steps=0 must be above zero"):
        metarl.MAML("MlpPolicy", f"metarl/{name}-v0", env_kwargs={"max_episode_steps": 0})


def test_without_the_extra_one_line_says_which(monkeypatch):
    monkeypatch.setitem(sys.modules, "mujoco", None)
    for attempt in (
        lambda: make("AntGoal"),
        lambda: make_batch("AntGoal", 2),
        lambda: metarl.MAML("MlpPolicy", "metarl/AntGoal-v0"),
    ):
        with pytest.raises(ConfigError, match=r"pip install 'metarl\[mujoco\]'$"):
            attempt()


def test_without_a_renderer_one_line_says_so(monkeypatch):
    def fail(*arguments):
        raise RuntimeError("no screen")

    monkeypatch.setattr("mujoco.gl_context.GLContext", fail)
    env = make("HopperParameters", render_mode="rgb_array")
    env.reset(seed=0)
    with pytest.raises(ConfigError, match=r"found no renderer .*RuntimeError.*: install EGL and set MUJOCO_GL=egl"):
        env.render()


@pytest.mark.usefixtures("renderer")
@pytest.mark.filterwarnings("ignore:.*Overriding environment:UserWarning")
def test_gymnasiums_checker_draws_pictures_too():
    check_env(make("AntGoal", render_mode="rgb_array", width=8, height=8).unwrapped)


@pytest.mark.usefixtures("renderer")
def test_pictures_follow_the_robot():
    env = gym.wrappers.RenderCollection(make("HopperParameters", render_mode="rgb_array", width=64, height=48))
    env.reset(seed=0)
    for _ in range(3):
        env.step(np.ones(3, np.float32))
    pictures = env.render()
    assert [picture.shape for picture in pictures] == [(48, 64, 3)] * 4
    assert (pictures[0] != pictures[-1]).any()
    assert env.metadata["render_fps"] == 125
    env.unwrapped._states[0, 1] += 7  # far along the floor, which looks alike: the camera went with it
    assert abs(env.unwrapped.render().astype(float) - pictures[-1]).mean() < 40
    env.close()
