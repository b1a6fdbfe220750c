"""Locomotion families, on MuJoCo: the extra ``metarl[mujoco]``."""

from metarl.envs.locomotion.ant import AntDirection as AntDirection
from metarl.envs.locomotion.ant import AntGoal as AntGoal
from metarl.envs.locomotion.ant import AntVelocity as AntVelocity
from metarl.envs.locomotion.family import Locomotion as Locomotion
from metarl.envs.locomotion.half_cheetah import HalfCheetahDirection as HalfCheetahDirection
from metarl.envs.locomotion.half_cheetah import HalfCheetahVelocity as HalfCheetahVelocity
from metarl.envs.locomotion.parameters import HopperParameters as HopperParameters
from metarl.envs.locomotion.parameters import Walker2DParameters as Walker2DParameters
from metarl.envs.locomotion.robots import Robot as Robot
from metarl.envs.locomotion.vector import LocomotionVector as LocomotionVector
