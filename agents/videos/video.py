"""A video, and how it becomes a file: MP4 where an encoder is installed, else GIF."""

import io
import os
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from metarl.errors import ConfigError
from metarl.files import whole

ENCODER = "imageio_ffmpeg"
"""The package that brings an encoder of MP4: the extra ``metarl[video]``."""
INSTALL = "pip install 'metarl[video]'"


@dataclass(frozen=True)
class Video:
    """Frames in order.

    Attributes:
        frames: shape (frames, height, width, 3); height and width are even.
        fps: frames of a second.
        caption: what it shows.
        labels: of its panels, from left to right.
        returns: what each panel's episode came to.
    """

    frames: NDArray[np.uint8]
    fps: float
    caption: str = ""
    labels: tuple[str, ...] = ()
    returns: tuple[float, ...] = ()

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write a file, whole or not at all, and return its path.

        Args:
            path: ends in ``.gif`` or ``.mp4``; without a suffix it gets the best that can be written here.

        Raises:
            ConfigError: another suffix, or MP4 without its encoder.
        """
        path = Path(path)
        path = path if path.suffix else path.with_suffix(best_suffix())
        if path.suffix not in (".gif", ".mp4"):
            raise ConfigError(f"path={str(path)!r} must end in .mp4 or .gif")
        if path.suffix == ".mp4" and not has_encoder():
            raise ConfigError(f"path={str(path)!r} needs an encoder that is not installed: {INSTALL}, or write a .gif")
        with whole(path) as partial:
            if path.suffix == ".gif":
                partial.write_bytes(self.gif())
            else:
                self._encode(partial)
        return path

    def gif(self) -> bytes:
        """Return it as a GIF that repeats for ever."""
        images = [Image.fromarray(frame) for frame in self.frames]
        # one palette for all, of frames from the first to the last: colours do not flicker
        sample = np.concatenate(self.frames[np.linspace(0, len(self.frames) - 1, 5).round().astype(int)])
        palette = Image.fromarray(sample).quantize(256)
        reduced = [image.quantize(palette=palette, dither=Image.Dither.NONE) for image in images]
        buffer = io.BytesIO()
        reduced[0].save(
            buffer, "GIF", save_all=True, append_images=reduced[1:], duration=round(1000 / self.fps), loop=0, optimize=False
        )
        return buffer.getvalue()

    def _encode(self, path: Path) -> None:
        """Write H.264 with colours that every browser and player knows; its beginning can be shown before its end is there."""
        from imageio_ffmpeg import write_frames

        _, height, width, _ = self.frames.shape
        encoder = write_frames(
            str(path),
            (width, height),
            fps=self.fps,
            codec="libx264",
            pix_fmt_out="yuv420p",
            macro_block_size=2,
            quality=None,
            output_params=["-crf", "24", "-movflags", "+faststart"],
        )
        encoder.send(None)
        try:
            for frame in self.frames:
                encoder.send(np.ascontiguousarray(frame))
        finally:
            encoder.close()


def has_encoder() -> bool:
    """Return whether MP4 can be written here."""
    return find_spec(ENCODER) is not None


def best_suffix() -> str:
    """Return ``".mp4"`` where it can be written, else ``".gif"``."""
    return ".mp4" if has_encoder() else ".gif"
