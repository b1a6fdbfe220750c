"""Few-shot supervised episodes, as Gymnasium environments."""

from metarl.supervised.cub import CUB as CUB
from metarl.supervised.episodes import EpisodeEnv as EpisodeEnv
from metarl.supervised.image_episodes import ImageEpisodes as ImageEpisodes
from metarl.supervised.image_folder import ImageFolder as ImageFolder
from metarl.supervised.miniimagenet import MiniImageNet as MiniImageNet
from metarl.supervised.omniglot import Omniglot as Omniglot
from metarl.supervised.quadratics import Quadratics as Quadratics
from metarl.supervised.recommendation import Recommendation as Recommendation
from metarl.supervised.sine import Sine as Sine
