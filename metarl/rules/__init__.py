"""Update rules: how a task's parameters move, one file a rule."""

from metarl.rules.adam import Adam as Adam
from metarl.rules.base import State as State
from metarl.rules.base import UpdateRule as UpdateRule
from metarl.rules.gradient_descent import GradientDescent as GradientDescent
from metarl.rules.learned_optimiser import LearnedOptimiser as LearnedOptimiser
from metarl.rules.lstm import MetaLSTM as MetaLSTM
from metarl.rules.meta_sgd import MetaSGD as MetaSGD
from metarl.rules.turtle import TURTLE as TURTLE
