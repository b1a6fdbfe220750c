"""Reference players: indices, plans and posteriors by hand, exact values by enumeration, and what a trial is."""

from dataclasses import replace
from functools import cache

import gymnasium as gym
import numpy as np
import pytest

from metarl.agents import players
from metarl.agents.players import (
    UCB1,
    CertaintyEquivalent,
    Gittins,
    Greedy,
    PosteriorSampling,
    Random,
    Thompson,
    Trials,
    ValueIteration,
    bayes_optimal_value,
    evaluation_tasks,
    play,
)
from metarl.agents.players.arms import Counts
from metarl.agents.players.gittins import discounted_indices, finite_horizon_indices
from metarl.agents.players.planning import plan
from metarl.commands.measure import measure
from metarl.commands.run import Run
from metarl.commands.tables import memory_on_bandits, memory_on_mdps
from metarl.errors import ConfigError, TaskError
from tests.worlds import make

BANDIT, MDP = "metarl/BernoulliBandit-v0", "metarl/TabularMDP-v0"


# -- indices


def test_gittins_indices_of_the_last_pulls_by_hand():
    one, two = finite_horizon_indices(2)[0], finite_horizon_indices(2)[1]
    assert two[0, 0] == pytest.approx(5 / 9, abs=1e-4)  # 1/2 - m + 1/2 (2/3 - m) = 0
    assert [one[0, 0], one[1, 0], one[0, 1]] == pytest.approx([1 / 2, 2 / 3, 1 / 3])  # the last pull: the mean


def worth(paid, failed, left, charge):
    """The value of a pull and those after it, for a charge, by plain recursion."""
    if left == 0:
        return 0.0
    mean = (paid + 1) / (paid + failed + 2)
    after = [max(0.0, worth(paid + 1, failed, left - 1, charge)), max(0.0, worth(paid, failed + 1, left - 1, charge))]
    return mean - charge + mean * after[0] + (1 - mean) * after[1]


@pytest.mark.parametrize(("paid", "failed", "left"), [(0, 0, 8), (2, 1, 5), (0, 4, 4), (5, 0, 3)])
def test_at_its_index_an_arm_is_worth_its_charge(paid, failed, left):
    index = finite_horizon_indices(8)[left - 1][paid, failed]
    assert worth(paid, failed, left, index) == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize(("discount", "index"), [(0.5, 0.5590), (0.9, 0.7029), (0.95, 0.7614), (0.99, 0.8699)])
def test_discounted_indices_are_those_of_gittins_tables(discount, index):
    assert discounted_indices(1, discount)[0, 0] == pytest.approx(index, abs=1e-4)


def test_the_player_uses_the_index_of_the_pulls_that_are_left():
    counts = Counts(np.array([[0, 3]]), np.array([[0, 1]]), pulls=10, made=4)
    table = finite_horizon_indices(10)[5]  # six are left
    np.testing.assert_array_equal(Gittins().scores(counts, None), [[table[0, 0], table[3, 1]]])
    table = discounted_indices(10, 0.8)
    np.testing.assert_array_equal(Gittins(0.8).scores(counts, None), [[table[0, 0], table[3, 1]]])


def test_scores_by_hand():
    counts = Counts(np.array([[0, 3]]), np.array([[0, 1]]), pulls=10, made=4)
    np.testing.assert_allclose(Greedy().scores(counts, None), [[1 / 2, 4 / 6]])
    bonus = 0.5 * np.sqrt(2 * np.log(5) / np.array([2, 6]))  # the fifth pull
    np.testing.assert_allclose(UCB1(0.5).scores(counts, None), np.array([[1 / 2, 4 / 6]]) + bonus)
    many = Counts(np.full((4000, 1), 3), np.full((4000, 1), 1), pulls=10, made=4)
    drawn = Thompson().scores(many, np.random.default_rng(0))
    assert drawn.mean() == pytest.approx(4 / 6, abs=0.01)
    assert drawn.var() == pytest.approx(4 * 2 / (6**2 * 7), abs=0.003)


def test_ties_are_drawn_among_the_best_alone():
    counts = Counts(np.tile([1, 0, 0, 0], (3000, 1)), np.tile([1, 0, 1, 0], (3000, 1)), pulls=10, made=3)
    pulled = Greedy().act(counts, None, 0, np.random.default_rng(0))
    np.testing.assert_allclose(np.bincount(pulled, minlength=4) / 3000, [1 / 3, 1 / 3, 0, 1 / 3], atol=0.03)


# -- exact values of bandits


@cache
def brute(seen, left):
    """The value of the best play, by plain recursion over all arms in their places."""
    if left == 0:
        return 0.0
    return max(value_of_pull(seen, arm, lambda after: brute(after, left - 1)) for arm in range(len(seen)))


def value_of_pull(seen, arm, value):
    paid, failed = seen[arm]
    mean = (paid + 1) / (paid + failed + 2)
    after = [(*seen[:arm], new, *seen[arm + 1 :]) for new in ((paid + 1, failed), (paid, failed + 1))]
    return mean * (1 + value(after[0])) + (1 - mean) * value(after[1])


def exact(player, arms, pulls):
    """The mean total reward of a player without randomness other than ties, by recursion."""

    @cache
    def value(seen):
        made = sum(map(sum, seen))
        if made == pulls:
            return 0.0
        counts = Counts(np.array([[arm[0] for arm in seen]]), np.array([[arm[1] for arm in seen]]), pulls, made)
        scores = player.scores(counts, None)[0]
        return np.mean([value_of_pull(seen, arm, value) for arm in np.flatnonzero(scores == scores.max())])

    return value(((0, 0),) * arms)


def test_the_best_play_of_two_pulls_by_hand():
    assert bayes_optimal_value(2, 1) == 1 / 2
    assert bayes_optimal_value(2, 2) == pytest.approx(1 / 2 + 1 / 2 * 2 / 3 + 1 / 2 * 1 / 2)  # pull on, or try the other
    assert bayes_optimal_value(1, 7) == pytest.approx(7 / 2)


@pytest.mark.parametrize(("arms", "pulls"), [(2, 7), (3, 5), (4, 3)])
def test_the_best_play_is_that_of_brute_force(arms, pulls):
    assert bayes_optimal_value(arms, pulls) == pytest.approx(brute(((0, 0),) * arms, pulls), abs=1e-12)


def test_gittins_is_within_a_thousandth_of_the_best_and_nobody_above_it():
    best = bayes_optimal_value(2, 8)
    values = {str(player): exact(player, 2, 8) for player in (Gittins(), Gittins(0.8), UCB1(0.2), UCB1(), Greedy())}
    assert all(value <= best + 1e-12 for value in values.values())
    assert 0.999 * best < values[str(Gittins())]
    assert values[str(UCB1())] < values[str(Greedy())] < values[str(Gittins())]


@pytest.mark.parametrize("player", [Gittins(), UCB1(0.2), Greedy()], ids=str)
def test_a_played_mean_is_the_exact_one(player):
    played = play(player, BANDIT, 4000, env_kwargs={"arms": 2, "max_episode_steps": 6})
    assert played.ci95 < 0.06
    assert abs(played.mean - exact(player, 2, 6)) < 1.5 * played.ci95


# -- MDPs


def test_a_plan_by_hand():
    # action 0 stays and pays 1 or 3 in the two states; action 1 goes to the other and pays nothing
    transitions = np.array([[[[1, 0], [0, 1]], [[0, 1], [1, 0]]]], float)
    policy, values = plan(transitions, np.array([[[1.0, 0.0], [3.0, 0.0]]]), 3)
    assert policy.tolist() == [[[1, 0], [1, 0], [0, 0]]]  # with two steps left going pays 0 + 3 against 1 + 1
    assert values.tolist() == [[6.0, 9.0]]


def test_a_plan_averages_over_next_states():
    transitions = np.array([[[[0.5, 0.5], [1, 0]], [[0, 1], [0, 1]]]])
    _, values = plan(transitions, np.array([[[0.0, 1.0], [4.0, 0.0]]]), 2)
    assert values.tolist() == [[0.5 * 1 + 0.5 * 4, 8.0]]


def observed(player, steps):
    """What a player of two states and one action believes after steps (state, reward, next state)."""
    beliefs = player.begin(Trials(rows=1, actions=1, states=2, horizon=3, episodes=2), [])
    for state, reward, following in steps:
        player.learn(beliefs, np.eye(2)[[state]], np.array([0]), np.array([reward]), np.eye(2)[[following]])
    return beliefs


STEPS = [(0, 3.0, 1), (0, 5.0, 1), (1, -1.0, 0)]


def test_the_posterior_by_hand():
    player = CertaintyEquivalent()
    transitions, rewards = player.imagined(observed(player, STEPS), None)
    np.testing.assert_allclose(transitions[0, :, 0], [[1 / 4, 3 / 4], [2 / 3, 1 / 3]])
    np.testing.assert_allclose(rewards[0, :, 0], [(1 + 8) / 3, (1 - 1) / 2])
    doubtful = CertaintyEquivalent(prior_mean=0.0)
    np.testing.assert_allclose(doubtful.imagined(observed(doubtful, STEPS), None)[1][0, :, 0], [8 / 3, -1 / 2])


def test_samples_are_of_the_posterior():
    player, rng = PosteriorSampling(), np.random.default_rng(0)
    beliefs = observed(player, STEPS)
    drawn = [player.imagined(beliefs, rng) for _ in range(3000)]
    transitions, rewards = (np.stack(part)[:, 0, :, 0] for part in zip(*drawn, strict=True))
    np.testing.assert_allclose(transitions.sum(-1), 1)
    np.testing.assert_allclose(transitions.mean(0), [[1 / 4, 3 / 4], [2 / 3, 1 / 3]], atol=0.02)
    np.testing.assert_allclose(transitions[:, :, 0].var(0), [3 / 80, 2 / 36], atol=0.004)  # of Beta(1, 3) and Beta(2, 1)
    np.testing.assert_allclose(rewards.mean(0), [3, 0], atol=0.04)
    np.testing.assert_allclose(rewards.var(0), [1 / 3, 1 / 2], atol=0.04)


def test_who_is_told_the_mdp_earns_its_value():
    env = gym.make(MDP)
    tasks = evaluation_tasks(env, 500)
    tables = (np.stack([task[name] for task in tasks]).astype(float) for name in ("transitions", "rewards"))
    value = plan(*tables, 10)[1][:, 0]
    returns = play(ValueIteration(), env, tasks, episodes=2).returns
    for episode in (0, 1):
        assert abs((returns[:, episode] - value).mean()) < 0.5
    learner = play(PosteriorSampling(), env, tasks, episodes=12).returns.mean(0)
    assert learner[:3].mean() + 2 < learner[-3:].mean() < value.mean()


# -- trials


def test_a_player_learns_through_the_episodes_of_a_trial_and_forgets_after_it():
    tasks = [{"means": np.eye(3, dtype=np.float32)[best]} for best in (0, 1, 2, 0, 1, 2)]
    played = play(Greedy(), BANDIT, tasks, 10, env_kwargs={"arms": 3, "max_episode_steps": 1})
    assert played.returns.shape == (6, 10)
    assert played.returns[:, 3:].all()  # after a failure another arm is tried: at the latest the third is the best
    assert not played.returns[:, 0].all()
    assert played.totals.tolist() == played.returns.sum(1).tolist()
    assert played.first(4).totals.tolist() == played.returns[:, :4].sum(1).tolist()


def test_players_meet_the_same_luck():
    tasks = [{"means": [0.5, 0.5]}] * 1500  # more than are played at once
    returns = [
        play(player, BANDIT, tasks, 2, seed=4, env_kwargs={"arms": 2}).returns for player in (Random(), Greedy(), Thompson())
    ]
    np.testing.assert_array_equal(returns[0], returns[1])
    np.testing.assert_array_equal(returns[0], returns[2])
    assert returns[0].mean() == pytest.approx(10, abs=0.3)
    assert (play(Random(), BANDIT, tasks, 2, seed=5, env_kwargs={"arms": 2}).returns != returns[0]).any()


def test_the_interval_is_over_trials():
    played = players.Played(np.array([[1.0, 2.0], [4.0, 1.0]]))
    assert played.mean == 4
    assert played.ci95 == pytest.approx(1.96 * np.sqrt(2) / np.sqrt(2))


def test_players_play_the_tasks_that_agents_are_judged_on():
    agent, seen = make("bandit"), []
    batches = agent.source.batches
    agent.source.batches = lambda *arguments: [seen.extend(batch) or batch for batch in batches(*arguments)]
    agent.evaluate(5)
    np.testing.assert_equal(evaluation_tasks(gym.make(BANDIT), 5), seen)


def test_a_row_of_a_vector_and_a_row_of_environments_are_played_alike():
    class Plain(gym.Wrapper):
        """Hides the family's own vector environment."""

    kwargs = {"arms": 3, "max_episode_steps": 4}
    env = gym.make(BANDIT, **kwargs)
    tasks = evaluation_tasks(env, 6)
    one, two = (play(Thompson(), where, tasks, 2).returns for where in (env, Plain(env)))
    np.testing.assert_array_equal(one, two)


class Ending(gym.Wrapper):
    """Ends every episode after a step."""

    def step(self, action):
        observation, reward, _, truncated, info = self.env.step(action)
        return observation, reward, True, truncated, info


def test_what_cannot_be_played_is_named():
    with pytest.raises(ConfigError, match=r"player=Gittins\(\) plays families whose tasks have the entries \['means'\]"):
        play(Gittins(), MDP, 2)
    with pytest.raises(ConfigError, match=r"player=PosteriorSampling\(\) plays .* have \['means'\]"):
        play(PosteriorSampling(), BANDIT, 2)
    with pytest.raises(ConfigError, match="players choose among actions"):
        play(Random(), "metarl/Navigation2D-v0", 2)
    with pytest.raises(TaskError, match="ended an episode by itself"):
        play(Random(), Ending(gym.make(BANDIT)), 2)
    with pytest.raises(ConfigError, match="tasks=0 must be above zero"):
        play(Random(), BANDIT, 0)
    with pytest.raises(ConfigError, match="episodes=0 must be above zero"):
        play(Random(), BANDIT, 2, 0)
    with pytest.raises(ConfigError, match="discount=1 must lie between 0 and 1"):
        Gittins(1)
    with pytest.raises(ConfigError, match="c=-1 must lie in"):
        UCB1(-1)
    with pytest.raises(ConfigError, match="pulls=16 are too many"):
        bayes_optimal_value(2, 16)


# -- tables


def test_bandits_are_measured_by_their_own_player(monkeypatch):
    monkeypatch.setattr(memory_on_bandits, "TASKS", 100)
    monkeypatch.setattr(memory_on_bandits, "TRIALS", 5)
    monkeypatch.setattr(memory_on_bandits, "TUNING_TRIALS", 100)
    table = memory_on_bandits.TABLE
    found = {}
    for player in ("Bayes-optimal", "UCB1", "Gittins", "random"):
        row = table.row(f"{player}, 10 pulls of 5 arms")
        (found[player],) = memory_on_bandits.reading(row, Run.of(row.settings), 0.05).values()
    assert found["Bayes-optimal"].mean == pytest.approx(bayes_optimal_value(5, 10))
    env = gym.make(BANDIT, arms=5, max_episode_steps=10)
    tasks = [task for task in evaluation_tasks(env, 100) for _ in range(5)]
    of_trials = play(Gittins(), env, tasks).totals
    assert found["Gittins"].values == tuple(of_trials.reshape(100, 5).mean(1))
    assert found["random"].mean == pytest.approx(5, abs=0.3)
    for learner in ("UCB1", "Gittins"):
        assert found[learner].mean == pytest.approx(6.66, abs=0.3)


def test_ucb1_is_tuned_on_training_tasks(monkeypatch):
    monkeypatch.setattr(memory_on_bandits, "FACTORS", (0.0, 0.2, 3.0))
    env, drawn = gym.make(BANDIT, max_episode_steps=50), []
    draw = env.unwrapped.sample_tasks
    env.unwrapped.sample_tasks = lambda n, split="train": drawn.append((n, split)) or draw(n, split)
    assert memory_on_bandits.tuned(env, 200) == UCB1(0.2)
    assert drawn[-1] == (200, "train")


def test_mdps_are_read_after_each_number_of_episodes(monkeypatch):
    for name, value in {"EPISODES": (2, 3), "TASKS": 10, "TRIALS": 2}.items():
        monkeypatch.setattr(memory_on_mdps, name, value)
    row = memory_on_mdps.row("told the MDP")
    numbers = memory_on_mdps.reading(row, Run.of(row.settings), 0.01)
    tasks = [task for task in evaluation_tasks(gym.make(MDP), 10) for _ in range(2)]
    played = play(ValueIteration(), MDP, tasks, 3)
    assert {name: one.mean for name, one in numbers.items()} == pytest.approx(
        {"told the MDP, 2 episodes": played.first(2).mean, "told the MDP, 3 episodes": played.mean}
    )
    assert len(numbers["told the MDP, 3 episodes"].values) == 10


def test_learners_and_players_of_the_tables_are_paired_on_the_same_tasks(monkeypatch):
    """A learner that plays at random earns, task by task, what the player at random does."""
    monkeypatch.setattr(memory_on_bandits, "TASKS", 20)
    monkeypatch.setattr(memory_on_bandits, "TRIALS", 20)
    table = memory_on_bandits.TABLE
    player = table.row("random, 10 pulls of 5 arms")
    (at_random,) = memory_on_bandits.reading(player, Run.of(player.settings), 1.0).values()
    changed = {
        "MAML": {"rate": 1e-9, "policy_kwargs": {"hidden": [4], "output_gain": 1e-6}, "meta_batch": 100},
        "RL^2": {"hidden": 4, "rollouts.trajectories": 20, "meta_batch": 10, "ppo.n_epochs": 1},
    }
    for name, changes in changed.items():
        row = table.row(f"{name}, 10 pulls of 5 arms")
        (cell,) = row.cells
        exam = replace(cell.exam, tasks=20, repeats=20 if name == "MAML" else 1)
        settings = {**row.settings, **changes, "iterations": 1}
        small = replace(row, settings=settings, cells=(replace(cell, exam=exam),))
        untrained = replace(table, minutes=1e-9)
        (numbers,) = measure(untrained, small, [0], 1.0, "")
        difference = numbers[cell.name].minus(at_random)
        assert abs(difference.mean) < 0.4
        assert difference.ci95 < 0.8 * at_random.ci95  # tasks differ by far more than luck does in 20 trials
