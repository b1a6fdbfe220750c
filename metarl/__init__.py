"""metarl: one adaptation layer that teaches policies and predictors to learn a new task from a handful of data.

Importing it registers the Gymnasium ids, by name; environments and agents are imported when they are first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from metarl.registry import FAMILIES
from metarl.registry import register_adapter as register_adapter
from metarl.registry import register_agent as register_agent
from metarl.registry import register_family as register_family
from metarl.registry import register_network as register_network
from metarl.registry import register_outer_loop as register_outer_loop
from metarl.registry import register_preset as register_preset
from metarl.registry import register_rule as register_rule
from metarl.registry import register_table as register_table

if TYPE_CHECKING:
    from metarl.adapters import Adapter as Adapter
    from metarl.agents import LSTM as LSTM
    from metarl.agents import LWA as LWA
    from metarl.agents import MAML as MAML
    from metarl.agents import MANN as MANN
    from metarl.agents import NLBA as NLBA
    from metarl.agents import RL2 as RL2
    from metarl.agents import SNAIL as SNAIL
    from metarl.agents import TURTLE as TURTLE
    from metarl.agents import Agent as Agent
    from metarl.agents import AlphaMAML as AlphaMAML
    from metarl.agents import BaselineFinetune as BaselineFinetune
    from metarl.agents import BaselinePlusPlus as BaselinePlusPlus
    from metarl.agents import Evaluation as Evaluation
    from metarl.agents import Finetuning as Finetuning
    from metarl.agents import LearnedOptimiser as LearnedOptimiser
    from metarl.agents import MatchingNet as MatchingNet
    from metarl.agents import MetaLSTM as MetaLSTM
    from metarl.agents import MetaLSTM2 as MetaLSTM2
    from metarl.agents import MetaSGD as MetaSGD
    from metarl.agents import NearestNeighbour as NearestNeighbour
    from metarl.agents import NeuralProcess as NeuralProcess
    from metarl.agents import Oracle as Oracle
    from metarl.agents import Pretrained as Pretrained
    from metarl.agents import ProtoNet as ProtoNet
    from metarl.agents import RelationNet as RelationNet
    from metarl.agents import Reptile as Reptile
    from metarl.agents import Scratch as Scratch
    from metarl.agents import SemiProtoNet as SemiProtoNet
    from metarl.agents import SiameseNet as SiameseNet
    from metarl.agents import SNAILPolicy as SNAILPolicy
    from metarl.agents import TaskVecEnv as TaskVecEnv
    from metarl.agents import TrainFromScratch as TrainFromScratch
    from metarl.agents import learn_side_by_side as learn_side_by_side
    from metarl.envs import TaskAdapter as TaskAdapter
    from metarl.envs import TaskFamily as TaskFamily
    from metarl.learner import Layout as Layout
    from metarl.learner import Learner as Learner
    from metarl.outer import PPO as PPO
    from metarl.outer import TRPO as TRPO
    from metarl.outer import GradientDescent as GradientDescent
    from metarl.outer import HypergradientDescent as HypergradientDescent
    from metarl.outer import OuterLoop as OuterLoop
    from metarl.outer import Pretraining as Pretraining
    from metarl.outer import ProMP as ProMP
    from metarl.outer import TruncatedBackpropagation as TruncatedBackpropagation
    from metarl.problems import Rollouts as Rollouts
    from metarl.rules import UpdateRule as UpdateRule
    from metarl.supervised import EpisodeEnv as EpisodeEnv

__version__ = "0.1.0"

_HOMES = {
    "metarl.agents": "Agent AlphaMAML BaselineFinetune BaselinePlusPlus Evaluation Finetuning LSTM LWA LearnedOptimiser MAML "
    "MANN MatchingNet MetaLSTM MetaLSTM2 MetaSGD NLBA NearestNeighbour NeuralProcess Oracle Pretrained ProtoNet RelationNet "
    "RL2 Reptile SNAIL SNAILPolicy Scratch SemiProtoNet SiameseNet TURTLE TaskVecEnv TrainFromScratch learn_side_by_side",
    "metarl.adapters": "Adapter",
    "metarl.envs": "TaskAdapter TaskFamily",
    "metarl.learner": "Layout Learner",
    "metarl.outer": "GradientDescent HypergradientDescent OuterLoop PPO Pretraining ProMP TRPO TruncatedBackpropagation",
    "metarl.problems": "Rollouts",
    "metarl.rules": "UpdateRule",
    "metarl.supervised": "EpisodeEnv",
}
"""Where the names above come from when they are first used."""
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    if name in _HOME_OF:
        return getattr(import_module(_HOME_OF[name]), name)
    raise AttributeError(f"module 'metarl' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME_OF])


FAMILIES.fill()
