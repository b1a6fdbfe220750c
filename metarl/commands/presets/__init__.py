"""The runs that have a name: the papers' rows, and defaults for each world. Data only, a file a world or kind of learner."""

from collections.abc import Mapping

from metarl.commands.presets import (
    bandit,
    images,
    learned_optimiser,
    locomotion,
    memory,
    metaworld,
    metric,
    navigation,
    players,
    recommendation,
    semi_supervised,
    sine,
)
from metarl.commands.settings import Preset
from metarl.registry import Entry

PRESETS: Mapping[str, Preset] = {
    **navigation.PRESETS,
    **bandit.PRESETS,
    **locomotion.PRESETS,
    **players.PRESETS,
    **metaworld.PRESETS,
    **sine.PRESETS,
    **learned_optimiser.PRESETS,
    **recommendation.PRESETS,
    **images.PRESETS,
    **metric.PRESETS,
    **semi_supervised.PRESETS,
    **memory.PRESETS,
}


def entries() -> list[Entry]:
    """Return the registry's entries."""
    return [Entry(name, line, settings) for name, (line, settings) in PRESETS.items()]
