"""Meta-World by MAML and RL^2: needs ``metarl[metaworld]``.

The full ones are for many cores: ``torchrun --nproc-per-node 5 -m metarl train ml10`` shares the meta-batch among five
processes, each with a pool of its share of the cores; ``rollouts.max_envs`` bounds the memory, some 25 MB for each environment.
"""

from collections.abc import Mapping
from typing import Any

from metarl.commands.settings import Preset, Settings

MAML: Settings = {
    "agent": "maml",
    "policy": "MlpPolicy",
    "policy_kwargs": {"hidden": [512, 512], "activation": "tanh"},
    "rate": 0.1,
    "inner_steps": 1,
    "outer": "trpo",
    "rollouts.trajectories": 10,
    "rollouts.vectorisation": "workers",
}
"""As in the repository rainx0r/metaworld-algorithms, 2026: Glorot's weights, no biases at first, one step of 0.1 with a linear
baseline, and the numbers that TRPO has by itself: a KL limit of 0.01, ten iterations of conjugate gradient, 15 times 0.8."""
RL2: Settings = {
    "agent": "rl2",
    "policy": "MlpPolicy",
    "policy_kwargs": {"hidden": [256, 256], "activation": "tanh"},
    "hidden": 256,
    "log_std_from": "network",
    "episodes": 10,
    "outer": "ppo",
    "ppo.learning_rate": 5e-4,
    "ppo.n_epochs": 10,
    "ppo.max_grad_norm": 1.0,
    "rollouts.trajectories": 1,
    "rollouts.gae_lambda": 0.95,
    "rollouts.vectorisation": "workers",
}
"""As there: one trial of ten episodes for each task, a GRU of 256 units behind two layers of 256. It differentiates through 250
steps at a time; here whole trials are."""
SMALL: Settings = {
    "env_kwargs": {"env_name": "reach-v3", "max_episode_steps": 100},
    "policy_kwargs": {"hidden": [100, 100], "activation": "tanh"},
    "meta_batch": 8,
    "trpo.fisher_fraction": 0.2,
    "iterations": 100,
    "validate_every": 0,
}
"""A fifth of the horizon and less of everything else, for two cores and half an hour."""
SMALL_RL2: Settings = {**SMALL, "hidden": 64, "episodes": 3, "rollouts.trajectories": 5, "ppo.n_epochs": 5}


def _of(env: str, learner: Settings, tasks: int, iterations: int, **env_kwargs: Any) -> Settings:
    """Return the settings of a benchmark at full scale; iterations are of two million steps for each class."""
    counts = {"meta_batch": tasks, "iterations": iterations, "validate_every": 0}
    return {**learner, "env": f"metarl/{env}-v0", "env_kwargs": env_kwargs, **counts}


ML1_MAML = _of("ML1", MAML, 10, 20, env_name="reach-v3")
ML1_RL2 = _of("ML1", RL2, 20, 20, env_name="reach-v3")
PRESETS: Mapping[str, Preset] = {
    "ml1-reach": ("Meta-World's reach by MAML, as in metaworld-algorithms (many cores)", ML1_MAML),
    "ml1-reach-small": ("the same with a short horizon, for two cores", {**ML1_MAML, **SMALL}),
    "ml10": ("Meta-World's ten training classes by MAML (many cores)", _of("ML10", MAML, 20, 100)),
    "ml25": ("Meta-World's 25 training classes by MAML (many cores)", _of("ML25", MAML, 25, 200)),
    "ml45": ("Meta-World's 45 training classes by MAML (many cores)", _of("ML45", MAML, 45, 200)),
    "rl2-ml1-reach": ("Meta-World's reach by RL^2, as in metaworld-algorithms (many cores)", ML1_RL2),
    "rl2-ml1-reach-small": ("the same with a short horizon and short trials, for two cores", {**ML1_RL2, **SMALL_RL2}),
    "rl2-ml10": ("Meta-World's ten training classes by RL^2 (many cores)", _of("ML10", RL2, 20, 200)),
    "rl2-ml25": ("Meta-World's 25 training classes by RL^2 (many cores)", _of("ML25", RL2, 25, 400)),
    "rl2-ml45": ("Meta-World's 45 training classes by RL^2 (many cores)", _of("ML45", RL2, 45, 400)),
}
