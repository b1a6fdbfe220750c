"""The reference players of meta-RL's papers, by Stable-Baselines3's PPO: an oracle, and one policy for all tasks."""

from collections.abc import Mapping

from metarl.commands.presets.locomotion import LOCOMOTION
from metarl.commands.presets.locomotion import PRESETS as LOCOMOTION_PRESETS
from metarl.commands.presets.navigation import NAVIGATION_BEST
from metarl.commands.settings import Preset, Settings

PPO: Settings = {"outer": "sb3_ppo", "sb3.n_envs": 16, "sb3.learning_rate": 3e-4, "sb3.batch_size": 64, "sb3.n_epochs": 10}
"""SB3's defaults, which are those of PPO's paper on MuJoCo but for the clip; an iteration is one episode in each of 16
environments, where SB3 has 2,048 steps of one."""
OF_NAVIGATION: Settings = {
    **NAVIGATION_BEST,
    **PPO,
    "iterations": 300,
    "validate_every": 50,
    "validation_tasks": 40,
}
"""480,000 steps; Meta-SGD's settings of sampling and its rate, for the inner steps."""
OF_LOCOMOTION: Settings = {
    **LOCOMOTION,
    **PPO,
    "sb3.normalise_rewards": True,
    "iterations": 300,
    "validate_every": 50,
    "validation_tasks": 10,
}
"""960,000 steps, the million of SB3's zoo on MuJoCo, with its rewards normalised; observations are as MAML sees them."""
LOCOMOTION_NAMES = ("cheetah-direction", "cheetah-velocity", "ant-direction", "ant-velocity", "ant-goal")


def _presets(name: str, settings: Settings, where: str) -> dict[str, Preset]:
    """Return a family's reference players."""
    told = {option: value for option, value in settings.items() if option not in ("rate", "inner_steps")}
    return {
        f"{name}-oracle": (f"{where}, the task told, by Stable-Baselines3's PPO", {**told, "agent": "oracle"}),
        f"{name}-pretrained": (
            f"{where}, one policy for all tasks, by Stable-Baselines3's PPO",
            {**settings, "agent": "pretrained-policy"},
        ),
    }


def _locomotion(name: str) -> dict[str, Preset]:
    line, settings = LOCOMOTION_PRESETS[name]
    own = {option: settings[option] for option in ("env", "rate", "rollouts.trajectories")}
    return _presets(name, {**OF_LOCOMOTION, **own}, line.partition(", ")[0])


PRESETS: Mapping[str, Preset] = {
    **_presets("navigation", OF_NAVIGATION, "2D navigation"),
    **{name: preset for family in LOCOMOTION_NAMES for name, preset in _locomotion(family).items()},
}
