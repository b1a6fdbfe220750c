"""Agents: what a user touches."""

from metarl.agents.adapted import AdaptedPolicy as AdaptedPolicy
from metarl.agents.adapted import AdaptedPredictor as AdaptedPredictor
from metarl.agents.base import Agent as Agent
from metarl.agents.evaluation import Evaluation as Evaluation
from metarl.agents.maml import MAML as MAML
from metarl.agents.meta_sgd import MetaSGD as MetaSGD
