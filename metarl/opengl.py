"""PyTorch and OpenGL in one process."""

from importlib import import_module


def before_opengl() -> None:
    """Load PyTorch's compiler, to be done before OpenGL's first context.

    Both bring an LLVM where OpenGL draws in software (Mesa), and PyTorch loads its own at the first gradient of a function: if
    that comes second, the process ends in a segmentation fault.
    """
    import_module("torch._dynamo")
