"""A worker process: steps its share of a pool's environments until it is killed, or its parent is gone.

The first request brings the function that makes an environment; every other is a pickled pair of a method of
``RowStepper`` and its arguments. The answer is ("done", result), or ("failed", (the exception, its traceback)). The row whose
environment is running stands in a small shared file, so that the parent can name it if this process dies or hangs.
"""

import mmap
import os
import pickle
import signal
import struct
import threading
import traceback
from multiprocessing.connection import Connection

from metarl.sampling.row_stepper import RowStepper

NUMBER = struct.Struct("q")
"""How the row's number stands in the shared file."""


def main(channel: int, shared: int) -> None:
    """Serve requests.

    Args:
        channel: the file descriptor of the connection to the parent.
        shared: the file descriptor of the shared file.
    """
    for descriptor in (channel, shared):
        os.set_inheritable(descriptor, False)  # what a simulator starts must not keep them open
    _end_with_parent()
    connection = Connection(channel)
    row = mmap.mmap(shared, NUMBER.size)
    stepper: RowStepper | None = None
    while True:
        try:
            method, arguments = pickle.loads(connection.recv_bytes())
            if stepper is None:
                stepper, result = RowStepper(arguments[0], lambda number: NUMBER.pack_into(row, 0, number)), None
            else:
                result = getattr(stepper, method)(*arguments)
            connection.send(("done", result))
        except (EOFError, BrokenPipeError, ConnectionResetError):
            return
        except Exception as error:
            connection.send(("failed", (f"{type(error).__name__}: {error}", traceback.format_exc())))


def _end_with_parent() -> None:
    """End this process, whatever it is doing, when the parent's end of standard input closes, as it does at its death."""
    lifeline = os.dup(0)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)

    def wait() -> None:
        os.read(lifeline, 1)
        os.killpg(0, signal.SIGKILL)  # with what a simulator may have started

    threading.Thread(target=wait, daemon=True).start()
