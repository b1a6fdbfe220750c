"""Sampling and the policy problem: hand-made trajectories, and small environments whose every step is known."""

import copy
import math
import os

import gymnasium as gym
import numpy as np
import pytest
import torch
from stable_baselines3.common.monitor import Monitor

import metarl
from metarl.errors import ConfigError, NonFiniteError, TaskError
from metarl.problems import PolicyProblem, Rollouts, Samples, SupervisedProblem
from metarl.sampling.distributions import Categorical, DiagonalGaussian
from metarl.sampling.row_stepper import RowStepper
from metarl.sampling.spaces import flat_size
from metarl.sampling.stochastic_policy import StochasticPolicy
from metarl.sampling.trajectories import Trajectories, block_size, sample
from metarl.sampling.vector import SteppedVectorEnv, make_vector_env
from metarl.tasks import Examples
from tests.simulators import Walk, make_walk

GAUSSIAN = DiagonalGaussian(1)
STILL = -30.0
"""A log standard deviation at which actions are their means, to thirteen digits."""
DOUBLE = torch.zeros(0, dtype=torch.float64)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


class Script:
    """A vector environment that says what is written, whatever is done: an observation and a reward for each row and step.

    ``lengths`` are the steps after which rows terminate; those of None are cut off at the horizon. ``cut_row`` is one that
    is cut off instead, and terminates afterwards.
    """

    device, dtype = torch.device("cpu"), torch.float64

    cut_row = None

    def __init__(self, observations, rewards, lengths):
        self.num_envs, self.horizon = rewards.shape
        self.observations, self.rewards = observations, rewards
        self.lengths = torch.tensor([length or 10**6 for length in lengths])
        self.tasks, self.seeds, self.actions, self.closed = [], [], [], False

    def tensor_reset(self, tasks, seeds):
        self.tasks, self.seeds, self.time = tasks, seeds, 0
        return self.observations[:, 0]

    def tensor_step(self, actions):
        self.actions.append(actions)
        self.time += 1
        terminated = self.time >= self.lengths
        cut_off = torch.full_like(terminated, self.time == self.horizon)
        if self.cut_row is not None:
            cut_off[self.cut_row] = terminated[self.cut_row]
            terminated[self.cut_row] = self.time > self.lengths[self.cut_row]
        return self.observations[:, self.time], self.rewards[:, self.time - 1], terminated, cut_off

    def close(self):
        self.closed = True


def script(after=0.0, lengths=(2, None, 1, 3)):
    """Return two tasks with two trajectories of up to four steps, which say ``after`` after their ends."""
    observations = torch.randn(4, 5, 1, generator=generator(), dtype=torch.float64)
    rewards = torch.randn(4, 4, generator=generator(1), dtype=torch.float64)
    for row, length in enumerate(lengths):
        if length is not None:
            observations[row, length + 1 :] = after
            rewards[row, length:] = after
    return Script(observations, rewards, lengths)


def linear(weights):
    """Return the policies whose means are multiples of the observation, with a deviation of one; weights (tasks,)."""

    def apply(observations, state=()):
        mean = observations * weights.view(*weights.shape, *[1] * (observations.dim() - weights.dim()))
        return torch.cat([mean, torch.zeros_like(mean)], -1), state

    return apply


def walks():
    """Return rows of walks, none of which there is yet."""
    return SteppedVectorEnv(RowStepper(make_walk), Walk.action_space, 5, DOUBLE)


WEIGHTS = torch.tensor([0.5, -2.0], dtype=torch.float64)


class TestSample:
    def test_rows_of_a_task_stand_side_by_side(self):
        env = script()
        trajectories = sample(env, linear(WEIGHTS), GAUSSIAN, ["a", "b"], generator(), 2)
        assert env.tasks == ["a", "a", "b", "b"]
        torch.testing.assert_close(trajectories.observations[1, 0, 0], env.observations[2, 0])
        torch.testing.assert_close(trajectories.distribution_parameters[1, 1, 2, 0], -2 * env.observations[3, 2, 0])

    def test_noise_and_seeds_come_from_the_generator_in_turn(self):
        env, source = script(), generator(7)
        noise = torch.randn(2, 4, 2, 1, generator=source, dtype=torch.float64)
        seeds = torch.randint(2**31 - 1, (2, 2), generator=source)
        trajectories = sample(env, linear(0 * WEIGHTS), GAUSSIAN, [0, 1], generator(7), 2)
        assert torch.equal(env.seeds, seeds.flatten())
        happened = trajectories.happened
        assert torch.equal(trajectories.actions[happened], noise.transpose(1, 2)[happened])

    def test_how_trajectories_ended(self):
        trajectories = sample(script(), linear(WEIGHTS), GAUSSIAN, [0, 1], generator(), 2)
        assert trajectories.terminated.tolist() == [[True, False], [True, True]]
        assert trajectories.happened.sum(-1).tolist() == [[2, 4], [1, 3]]
        last = script().observations[range(4), (2, 4, 1, 3)]
        assert torch.equal(trajectories.last_observations.flatten(0, 1), last)
        assert trajectories.rewards.flatten(0, 1)[0].tolist() == [*script().rewards[0, :2].tolist(), 0, 0]

    def test_an_episode_may_be_cut_off_before_the_horizon(self):
        env = script()
        env.cut_row = 2
        trajectories = sample(env, linear(WEIGHTS), GAUSSIAN, [0, 1], generator(), 2)
        assert trajectories.terminated.tolist() == [[True, False], [False, True]]
        assert trajectories.happened.sum(-1).tolist() == [[2, 4], [1, 3]]

    @pytest.mark.parametrize("lengths", [(2, None, 1, 3), (2, 2, 1, 2)])  # the second ends before the horizon
    def test_a_step_that_did_not_happen_repeats_the_first(self, lengths):
        trajectories = sample(script(torch.nan, lengths), linear(WEIGHTS), GAUSSIAN, [0, 1], generator(), 2)
        for column in (trajectories.observations, trajectories.actions, trajectories.distribution_parameters):
            assert column.shape[:3] == (2, 2, 4)
            assert torch.equal(column[1, 0, 1:], column[1, 0, :1].expand(3, -1))

    def test_a_policy_remembers(self):
        """It counts its calls; an environment whose position is the sum of the actions shows what it remembered."""
        seen = []

        def apply(observations, state):
            seen.append(state)
            count = state[0] + 1 if state else torch.zeros(2, 3, 1, dtype=torch.float64)
            return torch.cat([0.1 * count, torch.full_like(count, STILL)], -1), (count,)

        env = make_vector_env(make_walk(), 6, DOUBLE)
        trajectories = sample(env, apply, GAUSSIAN, [{}, {}], generator(), 3)
        assert seen[0] == ()
        torch.testing.assert_close(trajectories.actions[1, 2, :, 0], 0.1 * torch.arange(5, dtype=torch.float64))
        moved = trajectories.last_observations[..., 0] - trajectories.observations[..., 0, 0]
        torch.testing.assert_close(moved, torch.full((2, 3), 1.0, dtype=torch.float64), rtol=0, atol=1e-6)
        env.close()

    def test_a_policy_sees_nothing_but_what_happened(self):
        seen = []

        def apply(observations, state):
            seen.append(observations)
            return linear(WEIGHTS)(observations, state)

        sample(script(torch.nan), apply, GAUSSIAN, [0, 1], generator(), 2)
        assert torch.stack(seen).isfinite().all()

    def test_no_tasks(self):
        with pytest.raises(TaskError, match=r"tasks=\[\] is empty"):
            sample(script(), linear(WEIGHTS), GAUSSIAN, [], generator(), 2)

    @pytest.mark.parametrize("field", ["observation", "reward"])
    def test_what_happened_must_be_finite(self, field):
        env = script()
        (env.observations if field == "observation" else env.rewards)[3, 1] = torch.inf
        with pytest.raises(NonFiniteError, match=f"{field} is not finite in task 'second'"):
            sample(env, linear(WEIGHTS), GAUSSIAN, ["first", "second"], generator(), 2)


class TestBlocks:
    def test_their_size(self):
        assert [block_size(10, most) for most in (None, 10, 9, 5, 4, 1)] == [10, 10, 5, 5, 4, 1]

    @pytest.mark.parametrize("most", [1, 3, 4, 5])
    def test_no_more_environments_at_once_and_the_same_trajectories(self, most):
        def remembering(observations, state):
            memory = 0.5 * state[0] + observations if state else observations
            mean = memory.sum(-1, keepdim=True) * torch.tensor([0.1, 0.2, 0.3], dtype=torch.float64)[:, None, None]
            return torch.cat([mean, torch.zeros_like(mean)], -1), (memory,)

        tasks, sampled = [{"goal": 1.0}, {"length": 2}, {"length": 3}], []
        for max_envs in (None, most):
            Walk.open = Walk.most = 0
            env = walks()
            sampled.append(sample(env, remembering, GAUSSIAN, tasks, generator(), 3, max_envs))
            env.close()
        assert Walk.most == block_size(9, most) <= most
        assert Walk.open == 0
        for whole, blocks in zip(*sampled, strict=True):
            assert torch.equal(whole, blocks)


class TestProblem:
    def test_one_vector_environment_at_a_time(self):
        made = []

        def make(rows):
            assert all(env.closed for env in made)
            made.append(Script(torch.zeros(rows, 3, 1).double(), torch.zeros(rows, 2).double(), [1] * rows))
            return made[-1]

        problem = PolicyProblem(GAUSSIAN, make, Rollouts(trajectories=2))
        for tasks in ([1, 2], [3, 4], [5]):
            problem.collect(linear(0 * WEIGHTS[: len(tasks)]), tasks, "support", generator())
        assert [env.num_envs for env in made] == [4, 2]
        problem.close()
        assert all(env.closed for env in made)

    def test_environments_are_closed_when_done_with(self):
        Walk.open, still = 0, lambda observations, state: (torch.zeros_like(observations), state)
        problem = PolicyProblem(GAUSSIAN, lambda rows: walks(), Rollouts(trajectories=2))
        open_then = []
        for tasks in ([{}] * 3, [{}], [{}] * 2):
            problem.collect(still, tasks, "query", generator())
            open_then.append(Walk.open)
        problem.close()
        assert open_then == [6, 2, 4]
        assert Walk.open == 0

    def test_max_envs_limits_what_it_makes(self):
        collected, asked = [], []

        def make(rows):
            asked.append(rows)
            return walks()

        for max_envs in (None, 3):
            Walk.open = Walk.most = 0
            problem = PolicyProblem(GAUSSIAN, make, Rollouts(trajectories=4, max_envs=max_envs))
            forward = lambda observations, state: (observations[..., 1:] * torch.tensor([0.1, STILL]), state)  # noqa: E731
            collected.append(problem.collect(forward, [{}, {"length": 2}], "support", generator()))
            problem.close()
        assert asked == [8, 3]
        assert Walk.most == 3
        for whole, blocks in zip(*collected, strict=True):
            assert torch.equal(whole, blocks)

    def test_counts_and_measures_by_hand(self):
        problem = PolicyProblem(GAUSSIAN, lambda rows: script(torch.nan), Rollouts(trajectories=2))
        samples = problem.collect(linear(WEIGHTS), [0, 1], "support", generator())
        assert problem.count([0, 1]) == 2
        assert problem.timesteps([samples, samples], 2).item() == 2 * (2 + 4 + 1 + 3)
        rewards = script(0.0).rewards
        measured = torch.vmap(lambda one: problem.measure(linear(WEIGHTS[0]), one))(samples)
        assert measured["return"].tolist() == pytest.approx([rewards[:2].sum().item() / 2, rewards[2:].sum().item() / 2])
        assert measured["length"].tolist() == [3, 2]
        assert measured["entropy"].tolist() == pytest.approx([0.5 * math.log(2 * math.pi * math.e)] * 2)
        assert measured["without_signal"].tolist() == [0, 0]

    def test_a_task_without_signal_moves_nothing_and_is_counted(self):
        def env(rows):
            return Script(torch.randn(4, 5, 1, generator=generator(), dtype=torch.float64), rewards, [None] * 4)

        rewards = torch.ones(4, 4, dtype=torch.float64)
        rewards[3, 2] = 2
        problem = PolicyProblem(GAUSSIAN, env, Rollouts(trajectories=2))
        samples = problem.collect(linear(WEIGHTS), [0, 1], "support", generator())
        measured = torch.vmap(lambda one: problem.measure(linear(WEIGHTS[0]), one))(samples)
        assert measured["without_signal"].tolist() == [1, 0]
        gradients = torch.vmap(torch.func.grad(lambda weight, one: problem.loss(linear(weight), one)))(WEIGHTS, samples)
        assert gradients[0] == 0 != gradients[1]

    @pytest.mark.parametrize("inner_loss", ["log-likelihood", "likelihood-ratio"])
    @pytest.mark.parametrize("after", [torch.nan, torch.inf, 1e200])
    def test_what_an_environment_says_after_the_end_is_not_heard(self, after, inner_loss):
        results = []
        for said in (0.0, after):
            problem = PolicyProblem(
                GAUSSIAN, lambda rows, said=said: script(said), Rollouts(trajectories=2, inner_loss=inner_loss)
            )
            samples = problem.collect(linear(WEIGHTS), [0, 1], "support", generator())
            moved = WEIGHTS + 0.1
            results += [[*samples], [*problem.measure(linear(WEIGHTS[0]), copy.copy(samples)).values()]]
            for loss in (problem.loss, problem.surrogate):
                each = torch.func.grad_and_value(lambda weight, one, loss=loss: loss(linear(weight), one))
                results[-1] += torch.vmap(each)(moved, samples)
        for silent, noisy in zip(results[0] + results[1], results[2] + results[3], strict=True):
            assert noisy.isfinite().all()
            assert torch.equal(silent, noisy)

    @pytest.mark.parametrize("field", ["log_probs", "actions", "distribution_parameters", "advantages"])
    @pytest.mark.parametrize("nonsense", [torch.nan, torch.inf, -1e6])
    def test_a_sample_without_weight_is_not_heard(self, field, nonsense):
        """Also where its likelihood ratio overflows, the derivative of nought times infinity being no number."""
        problem = PolicyProblem(GAUSSIAN, lambda rows: script(), Rollouts(trajectories=2))
        samples = problem.collect(linear(WEIGHTS), [0, 1], "support", generator())
        one = type(samples)(*(column[0] for column in samples))
        happened = one.happened
        value = getattr(one, field)
        noisy = one._replace(**{field: torch.where(happened.view(-1, *[1] * (value.dim() - 1)), value, nonsense)})
        for loss in (problem.loss, problem.surrogate):
            first, second = (
                torch.func.grad_and_value(lambda weight, part=part, loss=loss: loss(linear(weight), part))(WEIGHTS[0] + 0.1)
                for part in (one, noisy)
            )
            assert torch.equal(first[0], second[0])
            assert torch.equal(first[1], second[1])
        outputs = problem.outputs(linear(WEIGHTS[0]), one)
        assert torch.equal(outputs[happened], linear(WEIGHTS[0])(one.observations)[0][happened])

    def test_a_subset_weighs_as_the_whole(self):
        problem = PolicyProblem(GAUSSIAN, lambda rows: script(), Rollouts(trajectories=2))
        samples = problem.collect(linear(WEIGHTS), [0, 1], "support", generator())
        part = samples.subset(torch.tensor([4, 0, 2]))  # of the first task's steps the last is beyond an end
        assert part.weights[0].tolist() == [0.5, 0.5, 0]
        assert torch.equal(part.observations, samples.observations[:, [4, 0, 2]])
        assert torch.equal(part.distribution_parameters, samples.distribution_parameters[:, [4, 0, 2]])
        assert torch.equal(part.lengths, samples.lengths)

    def test_an_unfinished_value_must_be_finite(self):
        env = script()
        env.observations[1, 4] = torch.nan  # after the time limit
        problem = PolicyProblem(GAUSSIAN, lambda rows: env, Rollouts(trajectories=2))
        problem.collect(linear(WEIGHTS), [0, 1], "query", generator())  # there nobody looks
        problem = PolicyProblem(GAUSSIAN, lambda rows: env, Rollouts(trajectories=2, time_limit_value=True))
        with pytest.raises(NonFiniteError, match="observation at the time limit is not finite in task 0"):
            problem.collect(linear(WEIGHTS), [0, 1], "query", generator())


def advantages(**options):
    """Return the advantages of rewards 1, 2, 4 (cut off) and -3, 0 (terminated), at a discount of one half unless said."""
    happened = torch.tensor([[[True, True, True], [True, True, False]]])
    trajectories = Trajectories(
        observations=torch.zeros(1, 2, 3, 1, dtype=torch.float64),
        actions=torch.zeros(1, 2, 3, 1, dtype=torch.float64),
        rewards=torch.tensor([[[1.0, 2.0, 4.0], [-3.0, 0.0, 0.0]]], dtype=torch.float64),
        happened=happened,
        distribution_parameters=torch.zeros(1, 2, 3, 2, dtype=torch.float64),
        last_observations=torch.zeros(1, 2, 1, dtype=torch.float64),
        terminated=torch.tensor([[False, True]]),
        episode_returns=torch.tensor([[[7.0], [-3.0]]], dtype=torch.float64),
        successes=torch.zeros(1, 2, 0, dtype=torch.float64),
    )
    rollouts = Rollouts(**{"trajectories": 2, "discount": 0.5, "baseline": "none", "advantages": "raw", **options})
    samples = PolicyProblem(GAUSSIAN, lambda rows: script(), rollouts).samples(trajectories)
    assert samples.returns.tolist() == [[7, -3]]
    assert samples.advantages[0, 5] == 0
    return samples.advantages[0, :5].tolist()


DEVIATION = (37.2 / 5) ** 0.5


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [1 + 1 + 1, 2 + 2, 4, -3, 0]),
        ({"discount": 1.0}, [7, 6, 4, -3, 0]),
        ({"gae_lambda": 0.0}, [1, 2, 4, -3, 0]),
        ({"gae_lambda": 0.5}, [1 + 0.5 + 0.25, 2 + 1, 4, -3, 0]),
        ({"reward": "squared"}, [1 + 2 + 4, 4 + 8, 16, -9, 0]),
        ({"advantages": "centred"}, [1.4, 2.4, 2.4, -4.6, -1.6]),
        ({"advantages": "normalised"}, [x / DEVIATION for x in (1.4, 2.4, 2.4, -4.6, -1.6)]),
        # so few steps have the mean of their returns, 1.6, for a baseline
        ({"baseline": "linear"}, [1.4, 2.4, 2.4, -4.6, -1.6]),
        ({"baseline": "linear", "time_limit_value": True}, [1.4 + 0.125 * 1.6, 2.4 + 0.25 * 1.6, 2.4 + 0.5 * 1.6, -4.6, -1.6]),
        ({"baseline": "linear", "gae_lambda": 0.0}, [1 - 0.8, 2 - 0.8, 4 - 1.6, -3 - 0.8, -1.6]),
    ],
)
def test_each_option_of_the_advantages_by_hand(options, expected):
    assert advantages(**options) == pytest.approx(expected, abs=1e-7)


@pytest.mark.parametrize(("inner_loss", "at_one"), [("log-likelihood", 0.5), ("likelihood-ratio", -math.exp(-0.5))])
def test_the_inner_losses_by_hand(inner_loss, at_one):
    """One action of 0 with an advantage of 1, drawn from N(0, 1) and judged under N(1, 1): log pi = -0.5 - log sqrt(2 pi)."""
    problem = PolicyProblem(GAUSSIAN, lambda rows: script(), Rollouts(inner_loss=inner_loss))
    zero, one = torch.zeros(1, dtype=torch.float64), torch.ones(1, dtype=torch.float64)
    log_prob = -0.5 * math.log(2 * math.pi)
    samples = Samples(
        one[:, None], zero[:, None], one, one, torch.zeros(1, 2).double(), one * log_prob, one, one, zero[0], *[one] * 6
    )
    expected = at_one - (log_prob if inner_loss == "log-likelihood" else 0)
    assert problem.loss(linear(one[0]), samples).item() == pytest.approx(expected)
    assert problem.surrogate(linear(one[0]), samples).item() == pytest.approx(-math.exp(-0.5))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"trajectories": 0}, "trajectories=0 must be above zero"),
        ({"trajectories": 2.5}, "trajectories=2.5 must be a whole number"),
        ({"max_envs": 0}, "max_envs=0 must be above zero"),
        ({"max_envs": 1.5}, "max_envs=1.5 must be a whole number"),
        ({"workers": -1}, "workers=-1 must be above zero"),
        ({"worker_timeout": 0}, "worker_timeout=0 must be above zero"),
        (
            {"workers": 4},
            "workers=4 has no effect with vectorisation='auto': use vectorisation='workers', or leave workers out",
        ),
        ({"worker_timeout": 9.0, "vectorisation": "sync"}, "worker_timeout=9.0 has no effect with vectorisation='sync'"),
        ({"discount": 1.1}, r"discount=1.1 must lie in \[0, 1\]"),
        ({"gae_lambda": "high"}, r"gae_lambda='high' must be a number in \[0, 1\]"),
        ({"advantages": "normalized"}, "advantages='normalized' is not known: did you mean 'normalised'"),
        ({"reward": "cubed"}, "reward='cubed' is not known"),
        ({"baseline": None}, "baseline=None is not known"),
        ({"vectorisation": "async"}, "vectorisation='async' is not known: .*choose one of auto, sync, workers"),
        ({"time_limit_value": 1}, "time_limit_value=1 must be True or False"),
        ({"normalise_observations": "yes"}, "normalise_observations='yes' must be True or False"),
        ({"time_limit_value": True, "baseline": "none"}, "time_limit_value=True needs a baseline"),
    ],
)
def test_bad_options_are_named(options, says):
    with pytest.raises(ConfigError, match=says):
        Rollouts(**options)


def test_a_given_stochastic_policy_normalises_by_itself_or_not_at_all():
    def agent(**options):
        policy = StochasticPolicy(torch.nn.Linear(2, 2), DiagonalGaussian(2), **options)
        rollouts = Rollouts(trajectories=2, normalise_observations=True)
        return metarl.MAML(policy, "metarl/Navigation2D-v0", rollouts=rollouts, device="cpu")

    with pytest.raises(ConfigError, match=r"normalise_observations=True has no effect on a Stoch.* normalised=2\), or give"):
        agent()
    assert "running.norm.running_mean" in agent(normalised=2).meta


def test_tasks_are_counted_where_the_experience_is():
    problem = SupervisedProblem(torch.nn.functional.mse_loss)
    there = torch.zeros(4, 5, 1, device="meta")
    assert problem.timesteps([Examples(there, there)], 4).device.type == "meta"
    assert problem.timesteps([], 4).item() == 4


class Panel(gym.Env):
    """Observations of every kind; actions 3, 4 and 5."""

    observation_space = gym.spaces.Dict(
        {
            "place": gym.spaces.Box(-1, 1, (2, 2), np.float32),
            "lamp": gym.spaces.Discrete(3, start=1),
            "pair": gym.spaces.Tuple((gym.spaces.MultiBinary(2), gym.spaces.MultiDiscrete([2, 2]))),
        }
    )
    action_space = gym.spaces.Discrete(3, start=3)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self._observe(2), {}

    def _observe(self, lamp):
        place = np.array([[0.1, 0.2], [0.3, 0.4]], np.float32)
        return {"place": place, "lamp": lamp, "pair": (np.array([0, 1], np.int8), np.array([1, 0]))}

    def step(self, action):
        return self._observe(3), float(action), False, False, {}


class TestVectorEnvironments:
    def test_every_kind_of_observation_becomes_a_vector(self):
        env = make_vector_env(gym.wrappers.TimeLimit(Panel(), 2), 1, DOUBLE)
        observation = env.tensor_reset([None], torch.tensor([0]))
        one_hot, pair, place = [0, 1, 0], [0, 1, 0, 1, 1, 0], [0.1, 0.2, 0.3, 0.4]
        assert observation[0].tolist() == pytest.approx([*one_hot, *pair, *place])
        assert observation.shape[1] == flat_size(Panel.observation_space) == 13
        moved, reward, terminated, truncated = env.tensor_step(torch.tensor([1]))
        assert moved[0, :3].tolist() == [0, 0, 1]
        assert (reward.tolist(), terminated.tolist(), truncated.tolist()) == ([4], [False], [False])  # counted from 3
        assert env.tensor_step(torch.tensor([0]))[3].tolist() == [True]
        assert env.tensor_step(torch.tensor([2]))[1].tolist() == [0]  # over

    @pytest.mark.parametrize(
        "space",
        [gym.spaces.Text(5), gym.spaces.Sequence(gym.spaces.Discrete(2)), gym.spaces.Graph(gym.spaces.Discrete(2), None)],
    )
    def test_observations_that_are_no_vector_are_refused(self, space):
        env = make_walk()
        env.observation_space = gym.spaces.Dict({"seen": gym.spaces.Tuple((gym.spaces.Discrete(2), space))})
        with pytest.raises(ConfigError, match=r"observation_space\['seen'\]\[1\]=.* cannot be made a vector of fixed size"):
            make_vector_env(env, 1, DOUBLE)

    def test_continuous_actions_are_clipped(self):
        env = make_vector_env(make_walk(), 1, DOUBLE)
        start = env.tensor_reset([{}], torch.tensor([3]))
        moved = env.tensor_step(torch.tensor([[7.0]], dtype=torch.float64))[0]
        torch.testing.assert_close(moved - start, torch.ones(1, 2, dtype=torch.float64), rtol=0, atol=1e-6)

    def test_the_mode_decides_who_steps(self):
        env = gym.make("metarl/Navigation2D-v0")
        kinds = {}
        for mode in ("auto", "sync", "workers"):
            vector = make_vector_env(env, 2, DOUBLE, mode, workers=3, worker_timeout=7.0)
            kinds[mode] = type(getattr(vector, "_stepper", vector.unwrapped if mode == "auto" else None)).__name__
        assert kinds == {"auto": "Navigation2DVector", "sync": "RowStepper", "workers": "WorkerPool"}
        assert (vector._stepper._count, vector._stepper._timeout) == (3, 7.0)

    @pytest.mark.parametrize(("processes", "workers"), [(None, 6), ("1", 6), ("4", 1), ("8", 1)])
    def test_workers_share_the_cores_with_the_processes_of_their_host(self, monkeypatch, processes, workers):
        monkeypatch.setattr(os, "sched_getaffinity", lambda pid: range(6), raising=False)
        monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
        if processes is not None:
            monkeypatch.setenv("LOCAL_WORLD_SIZE", processes)
        assert make_vector_env(make_walk(), 2, DOUBLE, "workers")._stepper._count == workers

    def test_a_monitor_does_not_hide_the_family(self):
        env = Monitor(gym.make("metarl/Navigation2D-v0"))
        assert type(make_vector_env(env, 2, DOUBLE).unwrapped).__name__ == "Navigation2DVector"

    def test_native_and_stepped_rows_are_the_same(self):
        env = gym.make("metarl/Navigation2D-v0")
        env.reset(seed=0)
        tasks, sampled = env.unwrapped.sample_tasks(2), []
        for mode in ("auto", "sync"):
            vector = make_vector_env(env, 4, torch.zeros(0), mode)
            sampled.append(sample(vector, linear(torch.tensor([1.0, -1.0])), DiagonalGaussian(2), tasks, generator(), 2))
            vector.close()
        for native, stepped in zip(*sampled, strict=True):
            torch.testing.assert_close(native, stepped)

    def test_an_environment_that_might_never_end_is_refused(self):
        with pytest.raises(ConfigError, match="has no time limit"):
            make_vector_env(Walk(), 1, DOUBLE)

    def test_discrete_actions_are_sampled(self):
        def apply(observations, state):
            logits = torch.tensor([0.0, 50.0, 0.0], dtype=torch.float64)
            return logits.expand(*observations.shape[:2], 3), state

        env = make_vector_env(gym.wrappers.TimeLimit(Panel(), 2), 2, DOUBLE)
        trajectories = sample(env, apply, Categorical(3), [None, None], generator(), 1)
        assert trajectories.actions.flatten().tolist() == [1] * 4
        assert trajectories.rewards.flatten().tolist() == [4] * 4
