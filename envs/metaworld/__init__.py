"""Meta-World's benchmarks as task families: the extra ``metarl[metaworld]``."""

from metarl.envs.metaworld.family import ML1 as ML1
from metarl.envs.metaworld.family import ML10 as ML10
from metarl.envs.metaworld.family import ML25 as ML25
from metarl.envs.metaworld.family import ML45 as ML45
from metarl.envs.metaworld.family import MetaWorld as MetaWorld
