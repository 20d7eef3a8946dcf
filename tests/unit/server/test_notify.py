"""What systemd hears."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from gw.server.notify import notify, reloading, watchdog_interval


@pytest.mark.parametrize("abstract", [False, True])
def test_a_datagram_to_the_socket(tmp_path: Path, abstract: bool) -> None:
    name = f"@gw-test-{os.getpid()}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(name.replace("@", "\0", 1))
        assert notify("READY=1", "MAINPID=7", environ={"NOTIFY_SOCKET": name})
        assert listener.recv(100) == b"READY=1\nMAINPID=7"
        assert reloading({"NOTIFY_SOCKET": name})
        first, second = listener.recv(100).decode().split("\n")
        assert first == "RELOADING=1"
        assert second.removeprefix("MONOTONIC_USEC=").isdigit()


@pytest.mark.parametrize("environ", [{}, {"NOTIFY_SOCKET": "vsock:2:1"}, {"NOTIFY_SOCKET": "/no/such/socket"}])
def test_nobody_listens(environ: dict[str, str]) -> None:
    assert not notify("READY=1", environ=environ)


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_watchdog(environ: dict[str, str], expected: float | None) -> None:
    assert watchdog_interval(environ) == expected
