"""Episodes side by side as one video: each with its label and its return so far."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from metarl.agents.videos.playing import Pixels, Played
from metarl.agents.videos.video import Video

HEIGHT = 240
"""Of a panel, in pixels."""
GAP = 8
HEAD = 66
"""Pixels above the panels: the caption, the labels and the returns."""
INK, FAINT, PAPER = (20, 24, 31), (95, 103, 115), (255, 255, 255)


def side_by_side(episodes: Sequence[Played], labels: Sequence[str], caption: str, fps: float) -> Video:
    """Return episodes as one video; those that are over keep their last frame, paler.

    Args:
        episodes: of the same environment.
        labels: what stands above each.
        caption: what stands above all.
        fps: frames of a second.
    """
    panels = [[_scaled(frame) for frame in episode.frames] for episode in episodes]
    width = panels[0][0].width
    # video formats take even sizes only
    size = (2 * -(-(len(panels) * (width + GAP) + GAP) // 2), HEAD + HEIGHT + GAP)
    sheet = Image.new("RGB", size, PAPER)
    text = ImageDraw.Draw(sheet)
    text.text((GAP, 5), caption, INK, _font(13))
    for column, label in enumerate(labels):
        text.text((GAP + column * (width + GAP), 26), label, INK, _font(14, bold=True))
    frames = []
    for time in range(max(map(len, panels))):
        frame = sheet.copy()
        text = ImageDraw.Draw(frame)
        for column, (own, episode) in enumerate(zip(panels, episodes, strict=True)):
            left, at = GAP + column * (width + GAP), min(time, len(own) - 1)
            over = time > at
            text.text((left, 45), f"return {episode.returns[at]:.1f}{', over' if over else ''}", FAINT, _font(13))
            frame.paste(Image.blend(own[at], Image.new("RGB", own[at].size, PAPER), 0.5) if over else own[at], (left, HEAD))
        frames.append(np.asarray(frame))
    return Video(np.stack(frames), fps, caption, tuple(labels), tuple(episode.returns[-1] for episode in episodes))


def _scaled(frame: Pixels) -> Image.Image:
    """Return a frame at the panels' height."""
    image = Image.fromarray(frame)
    size = (max(1, round(image.width * HEIGHT / image.height)), HEIGHT)
    return image if image.size == size else image.resize(size, Image.Resampling.LANCZOS)


@cache
def _font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """Return the font of the pictures, which comes with Matplotlib."""
    from matplotlib import get_data_path

    return ImageFont.truetype(Path(get_data_path()) / "fonts/ttf" / f"DejaVuSans{'-Bold' * bold}.ttf", size)
