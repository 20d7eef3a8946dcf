"""Tell systemd how the service is doing (sd_notify(3)): one datagram to $NOTIFY_SOCKET."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping

MICROSECONDS = 1_000_000


def notify(*fields: str, environ: Mapping[str, str] = os.environ) -> bool:
    """Send `KEY=value` fields. False when nobody asked for them or nobody listens; never raises, never blocks."""
    address = environ.get("NOTIFY_SOCKET", "")
    if address[:1] not in ("/", "@"):
        return False
    if address.startswith("@"):  # abstract name: Linux spells it with a NUL
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK) as sock:
            sock.sendto("\n".join(fields).encode(), address)
    except OSError:
        return False
    return True


def reloading(environ: Mapping[str, str] = os.environ) -> bool:
    """Type=notify-reload wants the monotonic time at which the reload began."""
    return notify("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}", environ=environ)


def watchdog_interval(environ: Mapping[str, str] = os.environ) -> float | None:
    """Seconds between WATCHDOG=1 messages (half of what systemd allows), or None when it does not ask this process."""
    if environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    allowed = environ.get("WATCHDOG_USEC", "")
    return int(allowed) / MICROSECONDS / 2 if allowed.isascii() and allowed.isdigit() and int(allowed) else None
