"""A worker process: steps its share of a pool's environments until it is killed, or its parent is gone.

The first request brings the function that makes an environment; every other is a pickled pair of a method of
``RowStepper`` and its arguments. The answer is ("done", result), or ("failed", (the exception, its traceback)). The row whose
environment is running stands in a small shared file, so that the parent can name it if this process dies or hangs.
"""

import fcntl
import mmap
import os
import pickle
import signal
import struct
import sys
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
            request = connection.recv_bytes()
        except (EOFError, ConnectionResetError):
            return
        try:
            method, arguments = pickle.loads(request)
            if stepper is None:
                stepper, result = RowStepper(arguments[0], lambda number: NUMBER.pack_into(row, 0, number)), None
            else:
                result = getattr(stepper, method)(*arguments)
            answer = pickle.dumps(("done", result))
        except Exception as error:  # the simulator's, EOFError and its like too: only the connection's own end the worker
            answer = pickle.dumps(("failed", (f"{type(error).__name__}: {error}", traceback.format_exc())))
        try:
            connection.send_bytes(answer)
        except (BrokenPipeError, ConnectionResetError):
            return


def _end_with_parent() -> None:
    """End this process and what it started, whatever they do, when the parent's end of standard input closes, as at its death.

    Linux itself kills the group then, also while a simulator's compiled code holds the interpreter's lock; elsewhere a thread
    does, which needs that lock.
    """
    lifeline = os.dup(0)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    if sys.platform == "linux":
        fcntl.fcntl(lifeline, fcntl.F_SETOWN, -os.getpgrp())
        fcntl.fcntl(lifeline, fcntl.F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)

    def wait() -> None:
        os.read(lifeline, 1)
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=wait, daemon=True).start()  # here too: the parent may have died before Linux was asked
