"""Descriptors for logs. Writing to one never waits for a reader, and nobody else's descriptor changes by it."""

from __future__ import annotations

import os
import stat

STANDARD = {"stdout": 1, "stderr": 2}
MODE = 0o640  # of a new file: readable by the group, for log shippers
FLAGS = os.O_APPEND | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


def open_log_file(name: str) -> int:
    """A descriptor of one's own for `stdout`, `stderr` or a path, which is created if missing. OSError says why not."""
    if name in STANDARD:
        return _own(STANDARD[name])
    # A named pipe opened for reading too needs no reader to be there, and survives one that restarts.
    access = os.O_RDWR if _is_fifo(name) else os.O_WRONLY
    return os.open(name, access | os.O_CREAT | FLAGS, MODE)


def _is_fifo(name: str) -> bool:
    try:
        return stat.S_ISFIFO(os.stat(name).st_mode)
    except FileNotFoundError:
        return False


def _own(fd: int) -> int:
    """O_NONBLOCK belongs to the open file, which a shell and its other programs share with us: a pipe or terminal is opened a second time.

    A regular file is not: the second opening would have an offset of its own and the two would write over each other.
    """
    mode = os.fstat(fd).st_mode
    if stat.S_ISFIFO(mode) or stat.S_ISCHR(mode):
        try:
            return os.open(f"/proc/self/fd/{fd}", os.O_WRONLY | FLAGS)
        except OSError:  # /proc is missing, or the pipe belongs to another user
            pass
    own = os.dup(fd)
    if stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode):
        os.set_blocking(own, False)
    return own
