"""One seed feeds another stream of random numbers to every purpose."""

import torch

import metarl
import tests.toys  # noqa: F401 - registers its environments
from metarl.streams import stream

PURPOSES = ("weights", "tasks", "noise", "adaptation", "outer loop", "evaluation tasks", "evaluation noise")


def numbers(generator):
    return torch.rand(4, generator=generator).tolist()


def test_a_seed_and_a_purpose_fix_the_numbers_and_nothing_else_has_them():
    drawn = {(seed, purpose): numbers(stream(seed, purpose)) for seed in (0, 1, -1, 2**40) for purpose in PURPOSES}
    assert drawn[0, "tasks"] == numbers(stream(0, "tasks"))
    values = [value for row in drawn.values() for value in row]
    assert len(set(values)) == len(values)
    assert not set(values) & set(numbers(torch.Generator().manual_seed(0)))  # nor torch's own stream of the seed


def sine(seed):
    return metarl.MAML("MLP", "metarl/Sine-v0", seed=seed, device="cpu", policy_kwargs={"hidden": (4,), "init": "torch"})


def evaluated(agent, **options):
    """The tasks that an evaluation is of."""
    drawn, collect = [], agent.adapter.problem.collect

    def watch(apply, tasks, phase, generator):
        drawn.append((tasks, generator.get_state()))
        return collect(apply, tasks, phase, generator)

    agent.adapter.problem.collect = watch
    agent.evaluate(4, **options)
    return drawn[0]


def test_evaluations_with_a_run_s_own_seed_share_nothing_with_its_training():
    agent = sine(7)
    trained = agent.source.sample(4, "train", stream(7, "tasks"))
    for split in ("train", "validation", "test"):
        tasks, noise = evaluated(sine(7), seed=7, split=split)
        for ours, theirs in zip(trained[:2], tasks[:2], strict=True):
            assert not set(ours.targets.flatten().tolist()) & set(theirs.targets.flatten().tolist())
        assert not torch.equal(noise, stream(7, "noise").get_state())
    assert torch.equal(agent.streams["tasks"].get_state(), stream(7, "tasks").get_state())


def test_splits_of_one_seed_are_other_tasks():
    tasks = [evaluated(sine(0), seed=7, split=split)[0] for split in ("train", "validation", "test")]
    values = [value for one in tasks for value in one.query.targets.flatten().tolist()]
    assert len(set(values)) == len(values)


def test_weights_share_no_numbers_with_tasks_and_leave_the_global_stream_alone():
    before = torch.get_rng_state()
    agent = sine(3)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(stream(3, "weights").initial_seed())
    expected = torch.nn.Linear(1, 4).weight.flatten()
    assert torch.equal(agent.meta["theta"][:4], expected)
    torch.manual_seed(3)
    assert not torch.equal(torch.nn.Linear(1, 4).weight.flatten(), expected)
    assert not torch.equal(sine(4).meta["theta"][:4], expected)


def test_a_run_s_streams_are_apart_and_adapting_draws_from_its_own():
    agent = sine(0)
    states = {name: generator.get_state() for name, generator in agent.streams.items()}
    assert set(states) == {"tasks", "noise", "adaptation"}
    assert all(torch.equal(state, stream(0, name).get_state()) for name, state in states.items())
    policy = metarl.MAML(
        "MlpPolicy", "tests/Level-v0", device="cpu", policy_kwargs={"hidden": ()}, rollouts=metarl.Rollouts(trajectories=1)
    )
    before = {name: generator.get_state() for name, generator in policy.streams.items()}
    policy.adapt(policy.env)
    changed = {name for name, generator in policy.streams.items() if not torch.equal(generator.get_state(), before[name])}
    assert changed == {"adaptation"}
