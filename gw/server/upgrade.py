"""Change the binary under load (SIGUSR2): start the same command anew with the listening sockets inherited, then drain the old process.

The successor finds in GW_SOCKETS what it inherits; when all its workers accept connections it writes one byte into the pipe. End of
file without that byte means that it failed: the old one goes on.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import socket
import subprocess
import sys
from collections.abc import MutableMapping

import msgspec
from msgspec import Struct

VARIABLE = "GW_SOCKETS"
TIMEOUT = 60.0  # seconds for the successor to be ready
READY = b"+"


class Inherited(Struct):
    """What a successor gets: descriptors by `bind`, that of the admin address (-1: none) and its `bind`, the pipe to say ready in, who gives."""

    sockets: dict[str, list[int]]
    admin: int
    admin_bind: str
    pipe: int
    giver: int

    def admin_socket(self) -> socket.socket | None:
        """The admin address's socket, ours alone from now on."""
        if self.admin < 0:
            return None
        sock = socket.socket(fileno=self.admin)
        sock.set_inheritable(False)
        sock.settimeout(0)
        return sock

    def ready(self) -> None:
        """Tell the giver that it may go; it may have gone already."""
        with contextlib.suppress(BrokenPipeError):
            os.write(self.pipe, READY)
        os.close(self.pipe)


def inherited(environ: MutableMapping[str, str] = os.environ) -> Inherited | None:
    """What our parent hands over; a variable left over from somebody else's environment counts for nothing."""
    text = environ.pop(VARIABLE, "")
    if not text:
        return None
    found = msgspec.json.decode(text, type=Inherited)
    if found.giver != os.getppid():
        return None
    fcntl.fcntl(found.pipe, fcntl.F_SETFD, fcntl.FD_CLOEXEC)
    return found


class Successor:
    """The process that is to take over."""

    def __init__(self, process: subprocess.Popen[bytes], pipe: socket.socket) -> None:
        self._process = process
        self._pipe = pipe

    @property
    def pid(self) -> int:
        return self._process.pid

    def kill(self) -> None:
        """It is not wanted any more; `ready` will say so."""
        self._process.kill()

    async def ready(self, timeout: float = TIMEOUT) -> str | None:
        """None when it serves; otherwise why not, and then it is gone."""
        try:
            said = await asyncio.wait_for(asyncio.get_running_loop().sock_recv(self._pipe, 1), timeout)
        except TimeoutError:
            self._process.kill()
            self._process.wait()
            return f"the new process was not ready within {timeout:g} s"
        finally:
            self._pipe.close()
        if said == READY:
            return None
        self._process.kill()  # it closed the pipe without a word: on its way out, or confused
        return f"the new process ended with status {self._process.wait()} before it was ready; its reason is in its own log"


def start(sockets: dict[str, list[int]], admin: int, admin_bind: str) -> Successor:
    """Start the same command. Raises OSError when it cannot be executed."""
    ours, theirs = socket.socketpair()
    ours.settimeout(0)
    given = Inherited(sockets, admin, admin_bind, theirs.fileno(), os.getpid())
    fds = [fd for group in sockets.values() for fd in group] + [theirs.fileno()] + ([admin] if admin >= 0 else [])
    command = [sys.executable, *sys.orig_argv[1:]]
    with theirs:
        try:
            process = subprocess.Popen(command, env={**os.environ, VARIABLE: msgspec.json.encode(given).decode()}, pass_fds=fds)
        except OSError:
            ours.close()
            raise
    return Successor(process, ours)
