"""Pictures of environments as arrays."""

from importlib import import_module
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def before_opengl() -> None:
    """Load PyTorch's compiler, to be done before OpenGL's first context.

    Both bring an LLVM where OpenGL draws in software (Mesa), and PyTorch loads its own at the first gradient of a function: if
    that comes second, the process ends in a segmentation fault.
    """
    import_module("torch._dynamo")


def pixels(figure: "Figure") -> NDArray[np.uint8]:
    """Return a drawing as an array, shape (height, width, 3)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # type: ignore[no-untyped-call]
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()  # type: ignore[no-untyped-call]
