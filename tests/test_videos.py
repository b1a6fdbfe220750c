"""Videos: what is filmed, how it is laid out and written, and that a missing renderer is said before the work."""

import io

import gymnasium as gym
import numpy as np
import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import metarl
from metarl.agents import videos
from metarl.agents.pictures.unseen import adapt_to_unseen
from metarl.agents.videos import Video, playing, rendering
from metarl.agents.videos.panels import GAP, HEAD, HEIGHT, side_by_side
from metarl.agents.videos.playing import Played
from metarl.envs import ToldTask, Trial
from metarl.errors import ConfigError
from tests.drawn import STEPS, Drawn

OPTIONS = {"policy_kwargs": {"hidden": (3,)}, "rollouts": metarl.Rollouts(trajectories=3), "meta_batch": 2, "device": "cpu"}


def drawn(env="tests/Drawn-v0", **options):
    return metarl.MAML("MlpPolicy", env, **{**OPTIONS, "rate": 0.5, **options})


def test_the_same_tasks_before_and_after_each_step():
    agent = drawn()
    films = agent.videos()
    assert list(films) == ["task_1", "task_2"]
    film, task = films["task_1"], adapt_to_unseen(agent).tasks[0]
    assert film.labels == ("before", "after 1 step", "after 2 steps", "after 3 steps")
    assert film.caption == f"unseen task 1: goal {float(task['goal'][0]):.2g}"
    assert (len(film.frames), film.fps, len(film.returns)) == (STEPS + 1, 10, 4)
    assert len(set(film.returns)) == 4
    again = drawn().videos(1)["task_1"]
    np.testing.assert_array_equal(film.frames, again.frames)
    assert drawn(inner_steps=7).videos(1)["task_1"].labels == ("before", "after 2 steps", "after 5 steps", "after 7 steps")
    assert drawn().videos(1, steps=0)["task_1"].labels == ("before",)


def test_each_panel_has_the_policy_of_its_stage(monkeypatch):
    agent, seen = drawn(), []
    play = playing.play

    def watch(policy, env, task, stride, seed):
        seen.append((policy, task, seed))
        return play(policy, env, task, stride, seed)

    monkeypatch.setattr(videos, "play", watch)
    agent.videos(2)
    unseen, inputs = adapt_to_unseen(agent, 3), torch.tensor([[0.5]])
    for number, (policy, task, seed) in enumerate(seen):
        row, stage = divmod(number, 4)
        expected = agent.adapter.apply(agent.meta, agent.adapter.row(unseen.adaptation.adapted[stage], row), inputs)[0]
        torch.testing.assert_close(policy(inputs), expected)
        assert task == unseen.tasks[row]
        assert seed == seen[4 * row][2]  # the same start and the same noise in all panels of a task


def test_a_policy_that_remembers_shows_the_episodes_of_a_trial(monkeypatch):
    agent = metarl.RL2("MlpPolicy", "tests/Drawn-v0", episodes=3, hidden=3, **{**OPTIONS, "policy_kwargs": {"hidden": (3,)}})
    lived, play = [], playing.play

    def watch(policy, env, *rest, seed):
        lived.append(policy._lived)
        return play(policy, env, *rest, seed=seed)

    monkeypatch.setattr(videos, "play", watch)
    film = agent.videos(1)["task_1"]
    assert film.labels == ("episode 1", "episode 2", "episode 3")
    assert lived[0] == ()
    assert not torch.equal(lived[1]["memory"], lived[2]["memory"])
    assert len(film.frames) == STEPS + 1
    pictures = agent.pictures()
    assert set(pictures) == {"returns"}
    unseen = adapt_to_unseen(agent)
    means = [float(samples.returns[0].mean()) for samples in (*unseen.adaptation.experiences, unseen.query)]
    line = pictures["returns"].axes[0].containers[0].lines[0]
    np.testing.assert_allclose(line.get_xydata()[:, 1], means, rtol=1e-6)
    np.testing.assert_allclose(line.get_xydata()[:, 0].round(), [1, 2, 3])


def test_an_oracle_is_told_the_task_that_it_is_shown_in(monkeypatch):
    agent = metarl.Oracle("MlpPolicy", "tests/Drawn-v0", **{**OPTIONS, "meta_batch": 1})
    policy, env = (
        agent.adapt(gym.make("tests/Drawn-v0", task={"goal": [0.5]})),
        gym.make("tests/Drawn-v0", render_mode="rgb_array"),
    )
    seen, predict = [], policy.predict

    def watch(observation, *rest):
        seen.append(observation)
        return predict(observation, *rest)

    monkeypatch.setattr(policy, "predict", watch)
    playing.play(policy, env, {"goal": np.float32([0.25])}, stride=1, seed=7)
    assert len(seen) == STEPS
    assert [one[1] for one in seen] == [0.25] * STEPS
    told = ToldTask(gym.make("tests/Drawn-v0", task={"goal": [0.25]}))
    assert seen[0].tolist() == told.reset(seed=7)[0].tolist()
    assert agent.videos(1)["task_1"].labels == ("before",)  # it takes no steps


def test_a_played_episode_is_the_environments_own():
    agent, env = drawn(), gym.make("tests/Drawn-v0", render_mode="rgb_array")
    policy = agent.adapt(gym.make("tests/Drawn-v0", task={"goal": [0.5]}), steps=0)
    before = torch.get_rng_state()
    played = playing.play(policy, env, {"goal": [0.25]}, stride=3, seed=7)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(7)
    observation, _ = env.reset(seed=7, options={"task": {"goal": [0.25]}})
    frames, returns, total = [env.render()], [0.0], 0.0
    for step in range(1, STEPS + 1):
        observation, reward, *_ = env.step(policy.predict(observation)[0])
        total += reward
        if step in (3, STEPS):  # every third step, and the last
            frames.append(env.render())
            returns.append(total)
    np.testing.assert_array_equal(played.frames, frames)
    assert played.returns == pytest.approx(returns)


def test_videos_leave_the_run_as_it_was():
    agent, untouched = drawn(), drawn()
    agent.videos(1)
    assert torch.equal(agent.learn(1).meta["theta"], untouched.learn(1).meta["theta"])


def test_frames_are_thinned_so_that_time_stays_true():
    env = Drawn()
    assert playing.stride_of(env, drawn().source) == 1
    env.metadata = {"render_fps": 125}  # walkers'
    assert playing.stride_of(env, drawn().source) == 5
    assert playing.stride_of(Drawn(), drawn(env_kwargs={"max_episode_steps": 1000}).source) == 4


def test_tasks_that_differ_come_first():
    first, second = {"direction": np.ones(1)}, {"direction": -np.ones(1)}
    assert videos._different([first, first, second, first]) == [0, 2, 1, 3]
    assert videos._caption(2, second) == "unseen task 3: direction -1"
    assert videos._caption(0, {"masses": np.ones(5)}) == "unseen task 1"


def test_panels_stand_side_by_side_and_pale_when_they_are_over():
    def flat(colour):
        return np.full((2 * HEIGHT, HEIGHT, 3), colour, np.uint8)

    episodes = [Played([flat(10), flat(20), flat(30)], [0.0, 1.0, 2.0]), Played([flat(100), flat(110)], [0.0, 5.0])]
    film = side_by_side(episodes, ["a", "b"], "c", 5.0)
    width = HEIGHT // 2
    assert film.frames.shape == (3, HEAD + HEIGHT + GAP, 2 * (width + GAP) + GAP, 3)
    assert all(size % 2 == 0 for size in film.frames.shape[1:3])
    left, right = GAP + width // 2, GAP + width + GAP + width // 2
    middle = HEAD + HEIGHT // 2
    assert film.frames[:, middle, left, 0].tolist() == [10, 20, 30]
    assert film.frames[:, middle, right, 0].tolist() == [100, 110, (110 + 255) // 2]
    assert film.returns == (2.0, 5.0)
    assert (film.frames[0, :HEAD] != film.frames[1, :HEAD]).any()  # the return goes on


def moving(frames=6):
    values = np.zeros((frames, 20, 30, 3), np.uint8)
    for number in range(frames):
        values[number, :, : 4 * number] = (250, 40, 40)
    return Video(values, 12.5)


def test_a_gif_has_every_frame_and_repeats(tmp_path):
    path = moving().save(tmp_path / "film.gif")
    with Image.open(path) as image:
        assert (image.n_frames, image.info["loop"], image.info["duration"]) == (6, 0, 80)
        image.seek(5)
        np.testing.assert_allclose(np.asarray(image.convert("RGB")), moving().frames[5], atol=8)
    assert [one.name for one in tmp_path.iterdir()] == ["film.gif"]


def test_mp4_has_every_frame(tmp_path):
    ffmpeg = pytest.importorskip("imageio_ffmpeg")
    path = moving(40).save(tmp_path / "film")
    assert path.suffix == ".mp4"
    assert ffmpeg.count_frames_and_secs(str(path)) == (40, pytest.approx(3.2, abs=0.05))


def test_without_an_encoder_there_are_gifs_and_a_line(tmp_path, monkeypatch):
    monkeypatch.setattr("metarl.agents.videos.video.ENCODER", "no_such_package")
    assert moving().save(tmp_path / "film").suffix == ".gif"
    with pytest.raises(ConfigError, match=r"film.mp4' needs an encoder that is not installed: pip install 'metarl\[video\]'"):
        moving().save(tmp_path / "film.mp4")
    with pytest.raises(ConfigError, match=r"must end in .mp4 or .gif"):
        moving().save(tmp_path / "film.avi")


def test_videos_come_to_tensorboard_when_they_shall(tmp_path):
    agent = drawn(tensorboard_log=str(tmp_path))
    agent.learn(2, video_every=2, tb_log_name="run")
    events = EventAccumulator(str(tmp_path / "run_1"))
    events.Reload()
    assert events.Tags()["images"] == ["videos/task_1", "videos/task_2"]
    (event,) = events.Images("videos/task_1")
    assert event.step == 2
    with Image.open(io.BytesIO(event.encoded_image_string)) as image:
        assert (image.format, image.n_frames) == ("GIF", STEPS + 1)


def test_without_tensorboard_nothing_is_filmed(monkeypatch):
    agent = drawn()
    monkeypatch.setattr(agent, "videos", lambda: pytest.fail("filmed"))
    agent.learn(1, video_every=1)


@pytest.mark.parametrize(
    ("env", "said"),
    [
        ("tests/Blind-v0", r"'tests/Blind-v0' cannot be drawn: its render modes \[\] lack 'rgb_array'; ask for no video"),
        ("tests/Dark-v0", r"'tests/Dark-v0' cannot be drawn here: RuntimeError: no display; install .* MUJOCO_GL=egl"),
    ],
)
def test_what_cannot_be_drawn_is_said_before_the_work(env, said, tmp_path):
    agent = drawn(env, tensorboard_log=str(tmp_path / "log"))
    with pytest.raises(ConfigError, match="^videos: " + said):
        agent.videos()
    with pytest.raises(ConfigError, match="^video_every=3: " + said):
        agent.learn(5, video_every=3)
    assert agent.iteration == 0
    assert not (tmp_path / "log").exists()


def test_other_wishes_are_refused_in_one_line():
    with pytest.raises(ConfigError, match=r"'metarl/Sine-v0' has few-shot episodes, in which nothing moves"):
        metarl.MAML("MLP", "metarl/Sine-v0").videos()
    handed_in = drawn(gym.make("tests/Drawn-v0"))
    with pytest.raises(ConfigError, match=r"was made without a renderer: make it with render_mode='rgb_array'"):
        handed_in.videos()
    with pytest.raises(ConfigError, match=r"tasks=5 is more than the 4"):
        drawn().videos(5)
    with pytest.raises(ConfigError, match=r"steps=-1 must be a whole number"):
        drawn().videos(1, steps=-1)


def test_an_environment_that_draws_is_used_as_it_is_and_stays_open():
    env = gym.make("tests/Drawn-v0", render_mode="rgb_array")
    env.close = lambda: pytest.fail("closed")
    with rendering.rendered(drawn(env), "videos") as used:
        assert used is env


def test_pictures_are_taken_at_the_panels_size_unless_told():
    with rendering.rendered(drawn(), "videos") as env:
        assert (env.unwrapped.width, env.unwrapped.height) == (HEIGHT, HEIGHT)
    with rendering.rendered(drawn(env_kwargs={"width": 30}), "videos") as env:
        assert (env.unwrapped.width, env.unwrapped.height) == (30, 40)


def test_a_changed_environment_keeps_its_time_limit():
    agent = drawn(env_kwargs={"max_episode_steps": 2})
    assert agent.changed_env({"width": 5}).spec.max_episode_steps == 2
    assert agent.changed_env({"max_episode_steps": 3}).spec.max_episode_steps == 3
    assert len(agent.videos(1)["task_1"].frames) == 3


def test_a_policy_that_remembers_sees_what_a_trial_shows(monkeypatch):
    agent = metarl.RL2("MlpPolicy", "tests/Drawn-v0", episodes=2, hidden=3, **{**OPTIONS, "policy_kwargs": {"hidden": (3,)}})
    policy = agent.adapt(gym.make("tests/Drawn-v0", task={"goal": [0.5]}), steps=0)
    shown, predict = [], policy.predict

    def watch(observation, state):
        shown.append(observation)
        return predict(observation, state)

    monkeypatch.setattr(policy, "predict", watch)
    env = gym.make("tests/Drawn-v0", render_mode="rgb_array")
    playing.play(policy, env, {"goal": [0.5]}, stride=1, seed=3)
    trial, state = Trial(env), None
    torch.manual_seed(3)
    observation, _ = trial.reset(seed=3, options={"task": {"goal": [0.5]}})
    for seen in shown:
        np.testing.assert_allclose(seen[[0, 2, 3]], observation[[0, 2, 3]], rtol=1e-6)  # all but what it knows that it did
        action, state = predict(observation, state)
        observation, *_ = trial.step(action)
