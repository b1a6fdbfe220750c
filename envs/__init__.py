"""Task families: Gymnasium environments that have tasks."""

from metarl.envs.bandit import BernoulliBandit as BernoulliBandit
from metarl.envs.bandit import BernoulliBanditVector as BernoulliBanditVector
from metarl.envs.navigation import Navigation2D as Navigation2D
from metarl.envs.navigation import Navigation2DVector as Navigation2DVector
from metarl.envs.new_task import NewTask as NewTask
from metarl.envs.tabular_mdp import TabularMDP as TabularMDP
from metarl.envs.tabular_mdp import TabularMDPVector as TabularMDPVector
from metarl.envs.task_family import TaskAdapter as TaskAdapter
from metarl.envs.task_family import TaskFamily as TaskFamily
from metarl.envs.told_task import ToldTask as ToldTask
from metarl.envs.trial import Trial as Trial
from metarl.envs.vector import FamilyVectorEnv as FamilyVectorEnv
