"""Task families: Gymnasium environments that have tasks."""

from metarl.envs.bandit import BernoulliBandit as BernoulliBandit
from metarl.envs.navigation import Navigation2D as Navigation2D
from metarl.envs.navigation import Navigation2DVector as Navigation2DVector
from metarl.envs.task_family import TaskAdapter as TaskAdapter
from metarl.envs.task_family import TaskFamily as TaskFamily
from metarl.envs.trial import Trial as Trial
