"""The successor: inherits, says ready, or is done away with."""

from __future__ import annotations

import asyncio
import os
import socket
import sys

import msgspec
import pytest

from gw.server import upgrade
from gw.server.upgrade import VARIABLE, Inherited, inherited, start

PRELUDE = f"""
import os, socket, sys, time
sys.path.insert(0, {os.getcwd()!r})
from gw.server.upgrade import inherited
"""


def successor_says(monkeypatch: pytest.MonkeyPatch, script: str, timeout: float = 20.0) -> tuple[str | None, int]:
    """What comes of a successor that runs `script`, and how many connections it accepted."""
    monkeypatch.setattr(sys, "orig_argv", [sys.executable, "-c", PRELUDE + script])

    async def main(sock: socket.socket) -> str | None:
        successor = start({"127.0.0.1:0": [sock.fileno()]}, -1, "")
        assert successor.pid
        said = await successor.ready(timeout)
        successor._process.wait()
        return said

    with socket.create_server(("127.0.0.1", 0)) as sock, socket.create_connection(sock.getsockname()) as client:
        said = asyncio.run(main(sock))
        client.settimeout(0.2)
        try:
            return said, len(client.recv(10))
        except TimeoutError:
            return said, 0


def test_it_answers_on_the_inherited_socket_and_says_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    script = """
given = inherited()
assert "GW_SOCKETS" not in os.environ
((bind, (fd,)),) = given.sockets.items()
connection, _ = socket.socket(fileno=fd).accept()
connection.sendall(b"hello")
given.ready()
"""
    assert successor_says(monkeypatch, script) == (None, 5)


FAILURES = [("sys.exit(3)", "ended with status 3"), ("nonsense(", "ended with status 1"), ("inherited(); time.sleep(60)", "was not ready within")]


@pytest.mark.parametrize(("script", "reason"), FAILURES)
def test_it_fails(monkeypatch: pytest.MonkeyPatch, script: str, reason: str) -> None:
    said, _ = successor_says(monkeypatch, script, 3.0 if "sleep" in script else 20.0)
    assert reason in str(said)


def test_a_variable_that_somebody_else_left_counts_for_nothing() -> None:
    text = msgspec.json.encode(Inherited({}, -1, "", 9, os.getppid() + 1)).decode()
    environ = {VARIABLE: text}
    assert inherited(environ) is None
    assert environ == {}
    assert inherited({}) is None


def test_it_cannot_be_executed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    with pytest.raises(FileNotFoundError):
        upgrade.start({}, -1, "")
