"""Every kind of agent in the worlds that it serves, small and in float64: the contract tests run over this table."""

from typing import Any

import metarl
from metarl.agents import Agent
from metarl.agents.stable_baselines import StableBaselinesPPO
from metarl.outer import PPO, TRPO, GradientDescent, HypergradientDescent, ProMP, Reptile, TruncatedBackpropagation
from tests import toys  # noqa: F401 - registers its environments
from tests.worlds import WORLDS

ADAM = GradientDescent(0.01)
KINDS: dict[str, tuple[type[Agent], str, dict[str, Any]]] = {
    "MAML by TRPO": (metarl.MAML, "navigation", {"outer": TRPO(damping=0.1, fisher_fraction=0.5)}),
    "Meta-SGD by TRPO": (metarl.MetaSGD, "bandit", {"outer": TRPO(damping=0.1)}),
    "MAML by policy gradient": (metarl.MAML, "varying start", {"outer": "policy_gradient"}),
    "MAML by PPO": (
        metarl.MAML,
        "navigation",
        {"outer": PPO(0.01, n_epochs=2, minibatches=2, critic=(4,), kl_coef=0.1, target_kl=0.01, sampling_correction=0.01)},
    ),
    "Meta-SGD by ProMP": (
        metarl.MetaSGD,
        "bandit",
        {"outer": ProMP(n_epochs=2), "rollouts": metarl.Rollouts(trajectories=3, inner_loss="likelihood-ratio")},
    ),
    "Alpha MAML by TRPO": (metarl.AlphaMAML, "navigation", {"outer": HypergradientDescent(trpo=TRPO(damping=0.1))}),
    "normalised observations": (
        metarl.MAML,
        "navigation",
        {"outer": ADAM, "rollouts": metarl.Rollouts(trajectories=3, normalise_observations=True)},
    ),
    "MAML": (metarl.MAML, "sine", {"rate": [0.1, 0.05], "learned": "layer-step", "inner_steps": 2, "outer": ADAM}),
    "first-order MAML": (
        metarl.MAML,
        "sine",
        {"first_order": True, "adapted": "head", "outer": GradientDescent(optimizer="NAdam")},
    ),
    "LSTM": (metarl.MetaLSTM, "sine", {"hidden": 3}),
    "enhanced LSTM": (metarl.MetaLSTM2, "sine", {"hidden": 3, "inner_steps": 2, "outer": GradientDescent(clip_norm=0.25)}),
    "TURTLE": (metarl.TURTLE, "sine", {"hidden": (4,), "inner_clip": 10.0, "outer": GradientDescent(clip_task=10.0)}),
    "Alpha MAML": (metarl.AlphaMAML, "sine", {"rate": 0.03, "outer": HypergradientDescent(optimizer="Adam")}),
    "Reptile": (metarl.Reptile, "sine", {"inner_steps": 2, "support_batch": 3, "outer": Reptile(0.5, anneal_over=8)}),
    "Reptile on policies": (metarl.MAML, "navigation", {"inner_steps": 2, "outer": Reptile()}),
    "learned optimiser": (
        metarl.LearnedOptimiser,
        "sine",
        {"hidden": 3, "inner_steps": 5, "outer": TruncatedBackpropagation(0.01, unroll=3)},
    ),
    "Meta-SGD on images": (metarl.MetaSGD, "images", {"batch_norm": "support", "support_batch": None}),
    "MAML on batches of images": (metarl.MAML, "images", {"batch_norm": "running", "support_batch": 3}),
    "prototypes": (metarl.ProtoNet, "images", {"batch_norm": "running", "outer": GradientDescent(halve_every=2)}),
    "refined prototypes": (
        metarl.SemiProtoNet,
        "images",
        {"refinement": "distractor-cluster", "env_kwargs": {"unlabelled": 1}},
    ),
    "prototypes refined by masks": (
        metarl.SemiProtoNet,
        "images",
        {"refinement": "masked", "refinements": 2, "batch_norm": "running", "env_kwargs": {"unlabelled": 1}},
    ),
    "attention": (metarl.MatchingNet, "images", {"scale": 5.0, "batch_norm": "running"}),
    "attention in full context": (metarl.MatchingNet, "images", {"full_context": True, "batch_norm": "support"}),
    "verification": (metarl.SiameseNet, "images", {"batch_norm": "running"}),
    "relations": (
        metarl.RelationNet,
        "images",
        {"policy": "Conv4", "policy_kwargs": {"filters": 2, "pools": 0}, "filters": 2, "hidden": 2},
    ),
    "MANN": (metarl.MANN, "images", {"hidden": 4, "slots": 6, "width": 3, "reads": 2, "sharpen": True, "meta_batch": 2}),
    "recurrent reader": (metarl.LSTM, "sine", {"hidden": 4, "loss_on": "queries"}),
    "SNAIL": (metarl.SNAIL, "images", {"filters": 2, "key_sizes": (4, 5), "value_sizes": (3, 4)}),
    "SNAIL on sine waves": (
        metarl.SNAIL,
        "sine",
        {"filters": 2, "key_sizes": (3,), "value_sizes": (2,), "length": 7, "outer": ADAM},
    ),
    "neural process": (metarl.NeuralProcess, "sine", {"hidden": (4,), "representation": 3, "attention": "dot"}),
    "RL^2": (metarl.RL2, "bandit", {"hidden": 3, "episodes": 2, "outer": "policy_gradient"}),
    "RL^2 on navigation": (metarl.RL2, "navigation", {"core": "lstm", "hidden": 3, "outer": "policy_gradient"}),
    "SNAIL as a policy": (
        metarl.SNAILPolicy,
        "bandit",
        {"filters": 2, "key_sizes": (3, 2), "value_sizes": (2, 3), "outer": "policy_gradient"},
    ),
    "one policy of all tasks": (metarl.Pretrained, "navigation", {"outer": StableBaselinesPPO(n_envs=2, batch_size=5)}),
    "told the task": (
        metarl.Oracle,
        "navigation",
        {"outer": StableBaselinesPPO(n_envs=2, n_steps=5, batch_size=5, n_epochs=2, normalise_rewards=True)},
    ),
    "a random policy": (metarl.Scratch, "bandit", {}),
    "LWA": (metarl.LWA, "images", {"batch_norm": "running"}),
    "NLBA": (metarl.NLBA, "images", {"hidden": (3,), "batch_norm": "running"}),
    "from scratch": (metarl.TrainFromScratch, "images", {"inner_steps": 3}),
    "fine-tuning": (metarl.Finetuning, "images", {"inner_steps": 3}),
    "Baseline++": (metarl.BaselinePlusPlus, "images", {"inner_steps": 3}),
    "nearest neighbour": (metarl.NearestNeighbour, "images", {}),
    "Baseline-finetune": (metarl.BaselineFinetune, "images", {"inner_steps": 3}),
}
IDLE = ("from scratch", "a random policy")
LEARNING = [kind for kind in KINDS if kind not in IDLE]


def small(kind: str, **changes: Any) -> Agent:
    """Return an agent of a kind."""
    cls, world, options = KINDS[kind]
    options = {"dtype": "float64", "device": "cpu", **WORLDS[world], **options, **changes}
    return cls(options.pop("policy"), options.pop("env"), **options)
