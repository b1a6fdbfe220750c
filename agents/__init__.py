"""Agents: what a user touches."""

from metarl.agents.adapted import AdaptedPolicy as AdaptedPolicy
from metarl.agents.adapted import AdaptedPredictor as AdaptedPredictor
from metarl.agents.alpha_maml import AlphaMAML as AlphaMAML
from metarl.agents.base import Agent as Agent
from metarl.agents.baselines import BaselineFinetune as BaselineFinetune
from metarl.agents.baselines import BaselinePlusPlus as BaselinePlusPlus
from metarl.agents.baselines import Finetuning as Finetuning
from metarl.agents.baselines import NearestNeighbour as NearestNeighbour
from metarl.agents.baselines import TrainFromScratch as TrainFromScratch
from metarl.agents.lwa import LWA as LWA
from metarl.agents.maml import MAML as MAML
from metarl.agents.meta_lstm import MetaLSTM as MetaLSTM
from metarl.agents.meta_lstm import MetaLSTM2 as MetaLSTM2
from metarl.agents.meta_sgd import MetaSGD as MetaSGD
from metarl.agents.metric import MetricAgent as MetricAgent
from metarl.agents.nlba import NLBA as NLBA
from metarl.agents.protonet import ProtoNet as ProtoNet
from metarl.agents.side_by_side import learn_side_by_side as learn_side_by_side
from metarl.agents.turtle import TURTLE as TURTLE
from metarl.evaluation import Evaluation as Evaluation
