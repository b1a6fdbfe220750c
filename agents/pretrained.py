"""Reference players of meta-RL's papers: one policy for all tasks, and a new one for each."""

from typing import Any, Self

from metarl.agents import building
from metarl.agents.maml import MAML
from metarl.agents.stable_baselines import StableBaselinesPPO
from metarl.outer import OuterLoop


class Pretrained(MAML):
    """Trains one policy on all tasks by Stable-Baselines3's PPO; on a new task it takes MAML's inner steps.

    Finn, Abbeel and Levine 2017, section 5.3: "pretraining one policy on all tasks". See ``Agent`` for the arguments, and
    ``StableBaselinesPPO`` for those of ``outer``; ``to_sb3`` goes on with PPO on one task.
    """

    default_outer = "sb3_ppo"

    def make_outer(self, outer: str | OuterLoop | None) -> OuterLoop:
        """Return Stable-Baselines3's PPO: the default, or one that is configured."""
        return building.make_outer_of(StableBaselinesPPO, outer, self, "sb3_ppo")


class Scratch(MAML):
    """Takes MAML's inner steps from a random policy; ``learn`` learns nothing, and ``to_sb3`` starts PPO there.

    Finn, Abbeel and Levine 2017, section 5.3: "random". Every task starts from the same weights, which the seed draws. See
    ``Agent`` for the arguments.
    """

    def learn(self, *args: Any, **kwargs: Any) -> Self:
        """Do nothing: there is nothing to learn before a task."""
        return self
