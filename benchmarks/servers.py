"""Start a server pinned to cores, wait until it answers, read its counters, stop it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks import procfs

START_SECONDS = 20
STOP_SECONDS = 8
METRICS = "metrics"  # file of a server's folder: where it shows its metrics, and the name of its count of requests


class Absent(Exception):
    """A peer is not on this machine; the text says how to get it."""


class Unable(Exception):
    """A peer cannot do what the workload says."""


@dataclass
class Server:
    """One running server, with every process below it."""

    name: str
    process: subprocess.Popen[bytes]
    port: int
    output: Path

    @property
    def folder(self) -> Path:
        """Where it was configured, and writes."""
        return self.output.parent

    def pids(self) -> list[int]:
        return procfs.descendants(self.process.pid)

    def stop(self) -> None:
        """Ask, then kill what is left of the process group that `start` made."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()


def start(name: str, argv: list[str], cpus: set[int], port: int, folder: Path, seconds: float = START_SECONDS) -> Server:
    """Run `argv` on `cpus` (its children inherit them) and return once it accepts on `port`. Raises RuntimeError with its output otherwise."""
    output = folder / f"{name}.out"
    with output.open("wb") as sink:
        process = subprocess.Popen(
            ["taskset", "-c", ",".join(map(str, sorted(cpus))), *argv],
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    server = Server(name, process, port, output)
    deadline = time.monotonic() + seconds
    while not _accepts(port):
        if process.poll() is not None or time.monotonic() > deadline:
            server.stop()
            raise RuntimeError(f"{name} does not accept on port {port}; {' '.join(argv)}\n{output.read_text(errors='replace')[-4000:]}")
        time.sleep(0.05)
    return server


def free_port() -> int:
    """A port of 127.0.0.1 that was free a moment ago, below the range the kernel takes for outgoing connections."""
    for port in range(20_000 + os.getpid() % 8000, 32_000):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            if port not in _handed_out:
                _handed_out.add(port)
                return port
    raise RuntimeError("no free port between 20000 and 32000")


_handed_out: set[int] = set()


def _accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
