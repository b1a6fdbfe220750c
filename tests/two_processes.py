"""The runs of ``test_processes.py``; each process of ``torchrun tests/two_processes.py FOLDER`` makes them all."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import distributed

import metarl
import tests.worlds  # noqa: F401 (registers tests/Images-v0)
from metarl import PPO, TRPO, HypergradientDescent, ProMP, Rollouts, processes
from metarl.agents import Agent

ANY: dict[str, Any] = {"policy_kwargs": {"hidden": (8,)}, "meta_batch": 4, "dtype": "float64", "device": "cpu"}
# raw advantages: where episodes end early the baseline of so few trajectories is nearly singular, and normalising would bring
# its rounding to the size of the signal
RAW = Rollouts(trajectories=4, reward="squared", advantages="raw", inner_loss="likelihood-ratio")
POLICY: dict[str, Any] = {**ANY, "rollouts": RAW}
NAVIGATION, BANDIT = ("MlpPolicy", "tests/Navigation2D-v0"), ("MlpPolicy", "metarl/BernoulliBandit-v0")
SINE, IMAGES = ("MLP", "metarl/Sine-v0"), ("MLP", "tests/Images-v0")
ALPHA_TRPO = HypergradientDescent(alpha_hyper=1e-8, trpo=TRPO(damping=0.1))

RUNS: dict[str, Callable[[], Agent]] = {
    # damped: undamped, conjugate gradient would blow up the rounding of a nearly singular Fisher matrix
    "navigation": lambda: metarl.MetaSGD(*NAVIGATION, rate=0.05, outer=TRPO(damping=0.1), **POLICY),
    "policy gradient": lambda: metarl.MetaSGD(
        *NAVIGATION, rate=0.05, outer="policy_gradient", **{**POLICY, "rollouts": Rollouts(trajectories=4)}
    ),
    "normalised observations": lambda: metarl.MAML(
        *NAVIGATION,
        rate=0.05,
        outer="policy_gradient",
        **{**POLICY, "rollouts": Rollouts(trajectories=4, advantages="raw", normalise_observations=True)},
    ),
    # mini-batches that are divided unequally, some of them all of one process's tasks
    "PPO": lambda: metarl.MetaSGD(
        *NAVIGATION,
        rate=0.05,
        outer=PPO(0.01, n_epochs=3, minibatches=3, critic=(8,), kl_coef=0.1, target_kl=0.01, sampling_correction=0.1),
        **POLICY,
    ),
    "ProMP": lambda: metarl.MAML(*BANDIT, rate=1.0, inner_steps=2, outer=ProMP(), **POLICY),
    "bandit": lambda: metarl.MAML(*BANDIT, rate=1.0, outer=TRPO(damping=0.1), **POLICY),
    # episodes that all end early, at different steps, thinned: both processes must draw alike
    "thinned": lambda: metarl.MetaSGD(
        *NAVIGATION, rate=0.05, env_kwargs={"action_scale": 0.5}, outer=TRPO(damping=1.0, fisher_fraction=0.5), **POLICY
    ),
    "sine": lambda: metarl.MetaSGD(*SINE, **ANY),
    "TURTLE": lambda: metarl.TURTLE(*SINE, inner_steps=3, inner_clip=10.0, **ANY),
    "LSTM": lambda: metarl.MetaLSTM(*SINE, inner_steps=2, **ANY),
    "learned optimiser": lambda: metarl.LearnedOptimiser(
        *SINE, inner_steps=5, outer=metarl.TruncatedBackpropagation(unroll=2), **ANY
    ),
    "Alpha MAML": lambda: metarl.AlphaMAML(*SINE, rate=1e-3, **ANY),
    # so small a batch has wild hypergradients
    "Alpha MAML on policies": lambda: metarl.AlphaMAML(*NAVIGATION, rate=0.1, outer=ALPHA_TRPO, **POLICY),
    "Reptile": lambda: metarl.Reptile(*SINE, support_batch=3, **ANY),
    "prototypes": lambda: metarl.ProtoNet(*IMAGES, **ANY),
    "images": lambda: metarl.MAML(*IMAGES, rate=0.1, batch_norm="running", **ANY),
    "pretraining": lambda: metarl.Finetuning(*IMAGES, inner_steps=3, **ANY),
}


def train(run: str, folder: Path) -> None:
    """Train for three iterations, with a validation between them, and leave a checkpoint under the run's name."""
    agent = RUNS[run]().learn(3, validate_every=2, validation_tasks=8)
    if processes.rank() == 0:
        agent.save(folder / f"{run}.pt")


def main(folder: Path) -> None:
    """Train every run, one after another, in one group of processes."""
    distributed.init_process_group("gloo")
    try:
        for run in RUNS:
            train(run, folder)
    finally:
        distributed.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
