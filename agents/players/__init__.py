"""Reference players: what is known to play well on bandits and small MDPs, without a network or training."""

from metarl.agents.players.base import Player as Player
from metarl.agents.players.base import Trials as Trials
from metarl.agents.players.bayes_optimal import bayes_optimal_value as bayes_optimal_value
from metarl.agents.players.certainty_equivalent import CertaintyEquivalent as CertaintyEquivalent
from metarl.agents.players.gittins import Gittins as Gittins
from metarl.agents.players.greedy import Greedy as Greedy
from metarl.agents.players.play import Played as Played
from metarl.agents.players.play import evaluation_tasks as evaluation_tasks
from metarl.agents.players.play import play as play
from metarl.agents.players.posterior_sampling import PosteriorSampling as PosteriorSampling
from metarl.agents.players.thompson import Thompson as Thompson
from metarl.agents.players.ucb1 import UCB1 as UCB1
from metarl.agents.players.uniform import Random as Random
from metarl.agents.players.value_iteration import ValueIteration as ValueIteration
