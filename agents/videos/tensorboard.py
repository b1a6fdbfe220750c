"""Videos in TensorBoard, whose page of images plays GIFs."""

from typing import Any

from stable_baselines3.common.logger import Logger, TensorBoardOutputFormat
from tensorboard.compat.proto.summary_pb2 import Summary

from metarl.agents.videos.video import Video


def record(logger: Logger, name: str, video: Video, step: int) -> None:
    """Write a video to the TensorBoard logs among a logger's outputs.

    Stable-Baselines3's own ``logger.Video`` goes through PyTorch's ``add_video``, which looks for a part of moviepy that
    its versions since 2.0 do not have; what TensorBoard is given is the same, a GIF among its images.
    """
    _, height, width, channels = video.frames.shape
    for output in logger.output_formats:
        if isinstance(output, TensorBoardOutputFormat):
            image = Summary.Image(height=height, width=width, colorspace=channels, encoded_image_string=video.gif())
            writer: Any = output.writer.file_writer
            writer.add_summary(Summary(value=[Summary.Value(tag=name, image=image)]), step)


def takes_videos(logger: Logger) -> bool:
    """Return whether TensorBoard is among a logger's outputs."""
    return any(isinstance(output, TensorBoardOutputFormat) for output in logger.output_formats)
