"""Becomes `gw run CONFIG`, which gets SIGTERM when its parent dies, however that dies.

Run as `python -m gw.cli.demo_gateway PARENT CONFIG` by gw.cli.demo, whose process id PARENT is. The kernel keeps the signal across exec, and forgets it in
what is forked: workers hear of their supervisor's end by themselves.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # prctl(2)


def become(parent: int, config: str) -> None:
    """Does not return, unless the parent has died already."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() == parent:
        os.execv(sys.executable, [sys.executable, "-m", "gw", "run", config])


if __name__ == "__main__":
    become(int(sys.argv[1]), sys.argv[2])
