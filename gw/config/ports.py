"""Whether the addresses of a config can be bound, asked of the kernel."""

from __future__ import annotations

import errno
import socket
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gw.config.address import Bind, parse_bind
from gw.config.model import Config
from gw.errors import Problem


def ports_in_use(config: Config) -> list[Problem]:
    """Problems with a pointer for every listener, and the admin address, that could not be bound now.

    Binds for a moment without SO_REUSEPORT, so a gw that already runs on this config counts as a user of its ports.
    """
    binds = [(f"$.listeners[{index}].bind", listener.bind) for index, listener in enumerate(config.listeners)]
    if config.admin is not None:
        binds.append(("$.admin.bind", config.admin.bind))
    return [problem for pointer, text in binds for problem in _flaws(text, pointer)]


def _flaws(text: str, pointer: str) -> Iterator[Problem]:
    bind = parse_bind(text)
    try:
        if bind.kind == "unix":
            _try_unix(bind.path)
        else:
            _try_tcp(bind)
    except socket.gaierror as error:
        yield Problem(message=f"'{bind.host}' has no address: {error.strerror}", pointer=pointer)
    except OSError as error:
        yield Problem(message=f"cannot listen on {text}: {error.strerror}", pointer=pointer, hint=_advice(bind, error.errno))


def _advice(bind: Bind, number: int | None) -> str | None:
    if number == errno.EADDRINUSE and bind.kind == "tcp":
        return f"`ss -ltnp sport = :{bind.port}` names the process that has it"
    if number == errno.EACCES and bind.kind == "tcp":
        return "ports below net.ipv4.ip_unprivileged_port_start need CAP_NET_BIND_SERVICE"
    return "`ip address` lists the addresses of this machine" if number == errno.EADDRNOTAVAIL else None


def _try_tcp(bind: Bind) -> None:
    if not bind.host:
        _try_all_addresses(bind.port)
        return
    family, _, _, _, address = socket.getaddrinfo(bind.host, bind.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    with socket.socket(family) as probe:
        if family == socket.AF_INET6:
            probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        _listen(probe, address)


def _try_all_addresses(port: int) -> None:
    """Both families on one socket, or IPv4 alone on a machine without IPv6."""
    with socket.socket(socket.AF_INET6 if socket.has_dualstack_ipv6() else socket.AF_INET) as probe:
        if probe.family == socket.AF_INET6:
            probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        _listen(probe, ("", port))


def _listen(probe: socket.socket, address: Any) -> None:
    # SO_REUSEADDR: connections of the past in TIME_WAIT do not count. Two such sockets may both bind; only one may listen.
    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    probe.bind(address)
    probe.listen(1)


def _try_unix(path: str) -> None:
    """A socket that nobody listens on is left over, and gw replaces it."""
    try:
        mode = Path(path).stat().st_mode
    except FileNotFoundError:
        if not Path(path).parent.is_dir():
            raise FileNotFoundError(errno.ENOENT, f"no such folder: {Path(path).parent}") from None
        return
    if not stat.S_ISSOCK(mode):
        raise FileExistsError(errno.EEXIST, "a file that is not a socket is in its place")
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            return
    raise OSError(errno.EADDRINUSE, "another process listens on it")
