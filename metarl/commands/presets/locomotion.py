"""Locomotion by gradient learners: needs ``metarl[mujoco]``."""

from collections.abc import Mapping

from metarl.commands.settings import Preset, Settings

LOCOMOTION: Settings = {
    "agent": "maml",
    "policy": "MlpPolicy",
    "policy_kwargs": {"hidden": [100, 100]},
    "rate": (0.1, 0.05),
    "inner_steps": 1,
    "meta_batch": 40,
    "outer": "trpo",
    "rollouts.trajectories": 20,
    "iterations": 500,
    "validate_every": 10,
    "validation_tasks": 40,
}
"""Finn, Abbeel and Levine 2017, appendix A.2, by Finn's code: 40 tasks, 20 trajectories of 200 steps before and after a step of
0.1; halved for the steps after the first. Two layers of 100 rectified units."""
SMALL: Settings = {
    "meta_batch": 10,
    "rollouts.gae_lambda": 0.95,
    "trpo.max_kl": 0.02,
    "trpo.fisher_fraction": 0.2,
    "iterations": 350,
    "validation_tasks": 20,
}
"""A quarter of the tasks, and steps twice as far on advantages of less variance, for one core and an hour (half-cheetahs) or a
few (ants)."""

SHORT: Settings = {
    **LOCOMOTION,
    "env": "metarl/HalfCheetahDirection-v0",
    "env_kwargs": {"max_episode_steps": 100},
    "policy_kwargs": {"hidden": [64, 64]},
    "rate": 0.1,
    "meta_batch": 20,
    "rollouts.inner_loss": "likelihood-ratio",
    "rollouts.gae_lambda": 0.95,
    "trpo.fisher_fraction": 0.2,
    "ppo.learning_rate": 1e-3,
    "ppo.n_epochs": 5,
    "ppo.target_kl": 0.02,
    "promp.learning_rate": 1e-3,
    "iterations": 120,
    "validation_tasks": 10,
}
"""Half the horizon and half the tasks: what every rule and outer loop can learn by in minutes. An iteration is 80,000 steps,
before and after one inner step. PPO's and ProMP's settings, lambda and the inner loss are those of navigation."""


def _presets(name: str, env: str, line: str, own: Settings | None = None) -> dict[str, Preset]:
    """Return a family's preset at the paper's scale, with settings of its own, and the small one."""
    full: Settings = {**LOCOMOTION, "env": f"metarl/{env}-v0", **(own or {})}
    return {
        name: (f"{line} (many cores)", full),
        f"{name}-small": ("the same with fewer tasks and iterations, for two cores", {**full, **SMALL}),
    }


PRESETS: Mapping[str, Preset] = {
    **_presets("cheetah-direction", "HalfCheetahDirection", "half-cheetahs run forwards or backwards, as in MAML"),
    "cheetah-direction-short": ("half-cheetahs run forwards or backwards for 100 steps (for one core)", SHORT),
    **_presets("cheetah-velocity", "HalfCheetahVelocity", "half-cheetahs run at a speed, as in MAML"),
    **_presets(
        "ant-direction",
        "AntDirection",
        "ants walk forwards or backwards, as in MAML",
        {"rate": (0.1, 0.001), "rollouts.trajectories": 40},  # the rates of Finn's script, for this family alone
    ),
    **_presets("ant-velocity", "AntVelocity", "ants walk at a speed, as in MAML"),
    **_presets("ant-goal", "AntGoal", "ants walk to a goal, as in ProMP"),
    **_presets("hopper-parameters", "HopperParameters", "hoppers of unknown bodies, as in ProMP"),
    **_presets("walker-parameters", "Walker2DParameters", "walkers of unknown bodies, as in ProMP"),
}
