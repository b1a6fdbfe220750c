"""Outer loops: how the meta-parameters improve, one file each."""

from metarl.outer.base import Outcome as Outcome
from metarl.outer.base import OuterLoop as OuterLoop
from metarl.outer.gradient_descent import GradientDescent as GradientDescent
from metarl.outer.hypergradient_descent import HypergradientDescent as HypergradientDescent
from metarl.outer.ppo import PPO as PPO
from metarl.outer.pretraining import Pretraining as Pretraining
from metarl.outer.promp import ProMP as ProMP
from metarl.outer.reptile import Reptile as Reptile
from metarl.outer.reversible_training import train_reversibly as train_reversibly
from metarl.outer.trpo import TRPO as TRPO
from metarl.outer.truncated_backpropagation import TruncatedBackpropagation as TruncatedBackpropagation
