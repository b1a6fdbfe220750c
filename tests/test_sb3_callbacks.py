"""Stable-Baselines3's own callbacks accompany every agent's learning; they are called after every outer step."""

import gymnasium as gym
import pytest
from stable_baselines3.common import callbacks
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import VecMonitor

from metarl.agents import Agent, TaskVecEnv
from tests.small import small

KINDS = ("MAML by TRPO", "MAML", "RL^2", "one policy of all tasks", "told the task")
"""An agent of each world and each kind of outer loop."""
POLICIES = ("MAML by TRPO", "one policy of all tasks", "told the task")
"""Those that play an episode without memory."""


class Counting(callbacks.BaseCallback):
    """Writes down what it is called for."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[str] = []

    def _on_training_start(self) -> None:
        self.calls.append("training start")

    def _on_rollout_start(self) -> None:
        self.calls.append("rollout start")

    def _on_step(self) -> bool:
        self.calls.append(f"step {self.n_calls} at iteration {self.model.iteration}")
        assert self.logger is self.model.logger
        return self.n_calls < 2

    def _on_rollout_end(self) -> None:
        self.calls.append("rollout end")

    def _on_training_end(self) -> None:
        self.calls.append("training end")


class Bar:
    """What tqdm's bar counts."""

    def __init__(self, total: int) -> None:
        self.total, self.n = total, 0

    def update(self, n: int) -> None:
        self.n += n

    def refresh(self) -> None:
        pass

    close = refresh


@pytest.mark.parametrize("kind", KINDS)
def test_ones_own_callbacks_are_called_and_can_stop(kind):
    agent, counting = small(kind), Counting()
    agent.learn(3, callback=callbacks.CallbackList([counting]), log_interval=4)
    steps = [("rollout start", "rollout end", f"step {i} at iteration {i}") for i in (1, 2)]
    assert counting.calls == ["training start", *steps[0], *steps[1], "training end"]
    assert counting.num_timesteps == agent.num_timesteps > 0


@pytest.mark.parametrize("kind", KINDS)
def test_checkpoints_are_written_and_loaded(kind, tmp_path):
    agent = small(kind)
    agent.learn(2, callback=callbacks.CheckpointCallback(save_freq=1, save_path=str(tmp_path)), log_interval=4)
    written = sorted(tmp_path.iterdir(), key=lambda path: path.stat().st_mtime_ns)
    assert len(written) == 2
    assert [Agent.load(path, device="cpu").iteration for path in written] == [1, 2]


@pytest.mark.parametrize("kind", KINDS)
def test_the_progress_bar_ends_full(kind, monkeypatch):
    monkeypatch.setattr(callbacks, "tqdm", Bar)  # a package that SB3 has among its extras
    bar = callbacks.ProgressBarCallback()
    agent = small(kind).learn(1, log_interval=4)
    agent.learn(2, callback=bar, log_interval=4)
    assert (bar.pbar.n, bar.pbar.total) == (2, 2)


@pytest.mark.parametrize("kind", POLICIES)
def test_evaluations_are_made_and_a_threshold_stops(kind, tmp_path):
    task = {"goal": [0.3, 0.1]}
    env = Monitor(gym.make("tests/Navigation2D-v0", task=task))
    if kind == "told the task":
        env = VecMonitor(TaskVecEnv("tests/Navigation2D-v0", 2, tasks=task, told=True))
    for threshold, iterations in ((-1e9, 1), (0.0, 2)):
        agent = small(kind)
        stop = callbacks.StopTrainingOnRewardThreshold(threshold)
        judge = callbacks.EvalCallback(
            env,
            eval_freq=1,
            n_eval_episodes=2,
            callback_on_new_best=stop,
            best_model_save_path=str(tmp_path),
            log_path=str(tmp_path),
            verbose=0,
            warn=False,
        )
        agent.learn(2, callback=judge, log_interval=4)
        assert agent.iteration == iterations
        assert judge.best_mean_reward < 0
        best = Agent.load(next(tmp_path.glob("best_model*")), device="cpu")
        assert best.iteration <= iterations
        again, _ = evaluate_policy(best, env, n_eval_episodes=2, warn=False)  # deterministic, as its best
        assert again == pytest.approx(judge.best_mean_reward)


def test_every_so_many_timesteps():
    agent, events = small("MAML by TRPO"), Counting()
    events._on_step = lambda: events.calls.append("event") is None
    agent.learn(3, callback=callbacks.EveryNTimesteps(1, events), log_interval=4)
    assert events.calls.count("event") == 3
    agent.learn(1, callback=[callbacks.EveryNTimesteps(10**9, events)], log_interval=4)
    assert events.calls.count("event") == 3


def test_the_log_is_written_every_so_many_timesteps():
    agent = small("MAML by TRPO")
    written = []
    agent.logger.dump = written.append
    agent.learn(2, callback=callbacks.LogEveryNTimesteps(1), log_interval=4)
    assert written == [1, 2]
