"""Problems: where experience comes from, and its loss."""

from metarl.problems.base import Phase as Phase
from metarl.problems.base import Problem as Problem
from metarl.problems.policy import PolicyProblem as PolicyProblem
from metarl.problems.policy import Samples as Samples
from metarl.problems.rollouts import Rollouts as Rollouts
from metarl.problems.supervised import SupervisedProblem as SupervisedProblem
