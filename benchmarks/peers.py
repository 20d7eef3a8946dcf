"""Peers by name. A peer is one function: `command(setup, folder, port, origin, cpus) -> argv` writes its configuration into `folder` and serves 127.0.0.1:`port`.

It raises servers.Absent when it is not on this machine, and servers.Unable for a setup that it has no means for.
"""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from benchmarks import envoy, floor, gateway, haproxy, nginx
from benchmarks.workloads import Setup

Command = Callable[[Setup, Path, int, int, set[int]], list[str]]
KNOWN: dict[str, Command] = {"nginx": nginx.command, "gw": gateway.command, "haproxy": haproxy.command, "envoy": envoy.command, "floor": floor.command}

CERTIFICATE = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 -subj /CN=localhost -addext subjectAltName=DNS:localhost,IP:127.0.0.1"


def resolve(text: str) -> dict[str, Command]:
    """`nginx,gw` or `label=peer` or `label=module:function`, comma separated; the first is the reference of every ratio."""
    found: dict[str, Command] = {}
    for part in text.split(","):
        label, _, target = part.rpartition("=")
        found[label or target] = KNOWN.get(target) or _imported(target)
    return found


def _imported(target: str) -> Command:
    module, _, name = target.partition(":")
    if not name:
        raise SystemExit(f"unknown peer {target!r}: one of {', '.join(KNOWN)}, or module:function")
    found: Command = getattr(import_module(module), name)
    return found


def make_certificate(folder: Path) -> None:
    """A self-signed ECDSA P-256 certificate for localhost: cert.pem and key.pem in `folder`."""
    subprocess.run(
        [*shlex.split(CERTIFICATE), "-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")],
        check=True,
        capture_output=True,
    )
