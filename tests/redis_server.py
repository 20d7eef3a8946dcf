"""A real Redis or Valkey on a free port, with nothing on disk."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

from tests.certs import Cert

START = 10.0  # seconds
BINARIES = ["redis-server", "valkey-server"]


class RedisServer:
    """A server that a test starts, kills, pauses; it comes back on the same port, with nothing in it."""

    def __init__(self, binary: str, folder: Path, *options: str, tls: Cert | None = None, ca: Cert | None = None) -> None:
        """`binary` is one of BINARIES."""
        self.binary = shutil.which(binary) or pytest.skip(f"{binary} is not installed")
        self.folder = folder
        self.socket = folder / "redis.sock"
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            self.port: int = sock.getsockname()[1]
        self.options = [*options, "--unixsocket", str(self.socket)]
        if tls and ca:
            self.options += ["--port", "0", "--tls-port", str(self.port), "--tls-cert-file", str(tls.cert), "--tls-key-file", str(tls.key), "--tls-ca-cert-file", str(ca.cert)]
        else:
            self.options += ["--port", str(self.port)]
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Run it until it takes connections."""
        with (self.folder / "redis.log").open("ab") as log:
            command = [self.binary, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", str(self.folder), *self.options]
            mine = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}  # a sanitizer is for gw: a server with an allocator of its own does not bear it
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env=mine)
        deadline = time.monotonic() + START
        while not self._listening():
            assert self.process.poll() is None and time.monotonic() < deadline, (self.folder / "redis.log").read_text()
            time.sleep(0.005)

    def kill(self) -> None:
        """SIGKILL, also while it is paused."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def pause(self) -> None:
        """Stop the process as it is: connections stay, answers do not come."""
        assert self.process
        os.kill(self.process.pid, signal.SIGSTOP)

    def resume(self) -> None:
        assert self.process
        os.kill(self.process.pid, signal.SIGCONT)

    def cli(self, *command: str) -> str:
        """What its own client prints."""
        return subprocess.run([self.binary.removesuffix("server") + "cli", "-s", str(self.socket), *command], check=True, capture_output=True, text=True).stdout.strip()

    def _listening(self) -> bool:
        with socket.socket() as sock:
            return sock.connect_ex(("127.0.0.1", self.port)) == 0
