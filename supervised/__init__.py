"""Few-shot supervised episodes, as Gymnasium environments."""

from metarl.supervised.episodes import EpisodeEnv as EpisodeEnv
from metarl.supervised.sine import Sine as Sine
