"""A run's options as data."""

from collections.abc import Mapping
from typing import Any

Settings = Mapping[str, Any]
"""Options by name, as ``metarl train`` takes them: of the run, of agents (``rate``), of outer loops (``trpo.max_kl``,
``gradient.clip_norm``, ``alpha.alpha_hyper``) and of sampling (``rollouts.reward``). They may be of several agents and outer
loops; a run takes those that apply to it."""
Preset = tuple[str, Settings]
"""One line about a run, and its options."""
