"""Listening sockets. The supervisor binds them and keeps them open while workers come and go, so that no queued connection is lost.

TCP: one SO_REUSEPORT socket per worker slot, among which the kernel spreads connections. Unix: one socket for all workers.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path

from gw.config import Bind, parse_bind
from gw.config.model import Listener
from gw.errors import ConfigError, Problem

PRIVILEGED = 1024  # ports below it need CAP_NET_BIND_SERVICE
LISTEN_STATE = "0A"  # TCP_LISTEN in /proc/net/tcp


class Sockets:
    """The sockets of every listener, by the listener's `bind` text."""

    def __init__(self, slots: int) -> None:
        self._slots = slots
        self._groups: dict[str, list[socket.socket]] = {}
        self._files: dict[str, tuple[Path, int]] = {}  # of Unix sockets: the name and its inode, so that we remove only our own

    def __repr__(self) -> str:
        return f"<Sockets {', '.join(f'{bind}: {len(group)}' for bind, group in self._groups.items())}>"

    def __contains__(self, bind: str) -> bool:
        return bind in self._groups

    def open(self, listeners: Sequence[Listener]) -> list[str]:
        """Bind what is not bound yet; returns those binds. Raises ConfigError naming every listener that cannot be, and then binds none."""
        opened: list[str] = []
        problems: list[Problem] = []
        for index, listener in enumerate(listeners):
            try:
                if self._open(listener):
                    opened.append(listener.bind)
            except OSError as error:
                problems.append(explain(listener.bind, error, f"$.listeners[{index}].bind"))
        if problems:
            self.close(opened)
            raise ConfigError(problems)
        return opened

    def _open(self, listener: Listener) -> bool:
        group = self._groups.get(listener.bind, [])
        for sock in group:
            sock.listen(listener.backlog)  # again: the backlog may be another
        if listener.bind in self._files and listener.mode:
            self._files[listener.bind][0].chmod(int(listener.mode, 8))
        if group and (len(group) >= self._slots or listener.bind in self._files):
            return False
        bind = parse_bind(listener.bind)
        if bind.kind == "unix":
            self._groups[listener.bind] = [open_unix(Path(bind.path), listener)]
            self._files[listener.bind] = (Path(bind.path), os.stat(bind.path).st_ino)
            return True
        fresh = open_tcp(bind, listener.backlog, group, self._slots, ours=bind.port in self._ports())
        self._groups[listener.bind] = group + fresh
        return not group

    def _ports(self) -> set[int]:
        return {sock.getsockname()[1] for group in self._groups.values() for sock in group if sock.family != socket.AF_UNIX}

    def close(self, binds: Iterable[str], *, unlink: bool = True) -> None:
        """Close our copies; the kernel stops queueing when the workers have closed theirs. `unlink` removes the file of a Unix socket."""
        for bind in list(binds):
            for sock in self._groups.pop(bind, []):
                sock.close()
            path, inode = self._files.pop(bind, (None, 0))
            if path and unlink:
                _unlink_own(path, inode)

    def close_all(self, *, unlink: bool = True) -> None:
        """`close` for every bind."""
        self.close(list(self._groups), unlink=unlink)

    def of(self, bind: str, slot: int) -> list[int]:
        """Descriptors on which the worker of this slot accepts. An upgrade may have inherited more sockets than there are slots: none is orphaned."""
        group = self._groups[bind]
        if bind in self._files:
            return [group[0].fileno()]
        return [sock.fileno() for sock in group[slot :: self._slots]]

    def of_slot(self, slot: int) -> dict[str, list[int]]:
        """`of` for every bind."""
        return {bind: self.of(bind, slot) for bind in self._groups}

    def descriptors(self) -> dict[str, list[int]]:
        """Every descriptor by bind, for the next binary to inherit."""
        return {bind: [sock.fileno() for sock in group] for bind, group in self._groups.items()}

    def adopt(self, inherited: dict[str, list[int]]) -> None:
        """Take over what another supervisor bound."""
        for bind, fds in inherited.items():
            group = [socket.socket(fileno=fd) for fd in fds]
            for sock in group:
                sock.set_inheritable(False)
                sock.settimeout(0)
            self._groups[bind] = group
            if group[0].family == socket.AF_UNIX:
                path = Path(group[0].getsockname())
                self._files[bind] = (path, os.stat(path).st_ino if path.exists() else 0)

    def address(self, bind: str) -> str:
        """The address really bound, as `host:port` or `unix:/path`; differs from `bind` where that names port 0."""
        return name_of(self._groups[bind][0])


def name_of(sock: socket.socket) -> str:
    """The socket's own address in the notation of `bind`."""
    name = sock.getsockname()
    if sock.family == socket.AF_UNIX:
        return f"unix:{name}"
    return f"[{name[0]}]:{name[1]}" if sock.family == socket.AF_INET6 else f"{name[0]}:{name[1]}"


def open_tcp(bind: Bind, backlog: int, group: Sequence[socket.socket], slots: int, *, ours: bool) -> list[socket.socket]:
    """Listening sockets that fill `group` up to `slots`. `ours`: we hold the port already, on this or another address. Raises OSError; then none stays open."""
    family, address = _resolve(bind)
    if group:
        address = group[0].getsockname()
    elif not ours:
        _probe(family, address, both=not bind.host)
    fresh: list[socket.socket] = []
    try:
        while len(group) + len(fresh) < slots:
            fresh.append(_listening(family, address, backlog, both=not bind.host))
            address = fresh[0].getsockname()  # port 0 has become a real one
    except OSError:
        for sock in fresh:
            sock.close()
        raise
    return fresh


def open_single(bind: Bind, backlog: int) -> socket.socket:
    """One listening socket that shares its address with nobody: for the admin address. Raises OSError."""
    if bind.kind == "unix":
        return open_unix(Path(bind.path), Listener(bind=f"unix:{bind.path}", backlog=backlog, mode="0600"))
    family, address = _resolve(bind)
    sock = _bound(family, address, both=not bind.host, share=False)
    sock.listen(backlog)
    return sock


def open_unix(path: Path, listener: Listener) -> socket.socket:
    """A listening Unix socket; a file that a dead process left behind is replaced. Raises OSError."""
    _clear_stale(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    mode = int(listener.mode, 8) if listener.mode else None
    before = os.umask(0o777 & ~mode) if mode is not None else None  # so that there is no moment with a wider mode
    try:
        sock.bind(str(path))
        sock.listen(listener.backlog)
    except OSError:
        sock.close()
        raise
    finally:
        if before is not None:
            os.umask(before)
    return sock


def _resolve(bind: Bind) -> tuple[int, tuple[object, ...]]:
    if not bind.host:  # all addresses: one IPv6 socket takes IPv4 too, where the kernel has IPv6
        return (socket.AF_INET6, ("::", bind.port)) if _has_ipv6() else (socket.AF_INET, ("0.0.0.0", bind.port))
    found = socket.getaddrinfo(bind.host, bind.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    return found[0][0], found[0][4]


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as sock:
            sock.bind(("::", 0))
    except OSError:
        return False
    return True


def _bound(family: int, address: tuple[object, ...], *, both: bool, share: bool) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if share:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if both else 1)
        sock.bind(address)
    except OSError:
        sock.close()
        raise
    return sock


def _listening(family: int, address: tuple[object, ...], backlog: int, *, both: bool) -> socket.socket:
    sock = _bound(family, address, both=both, share=True)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # inherited by accepted connections: saves a call on each
    sock.listen(backlog)
    return sock


def _probe(family: int, address: tuple[object, ...], *, both: bool) -> None:
    """With SO_REUSEPORT two gateways of one user could share a port unnoticed, each taking half of the connections: ask without it first."""
    sock = _bound(family, address, both=both, share=False)
    try:
        sock.listen(1)  # on Linux two sockets with SO_REUSEADDR may both bind; only listening tells
    finally:
        sock.close()


def _clear_stale(path: Path) -> None:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise FileExistsError(errno.EEXIST, "the path exists and is not a socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as sock:
        answer = sock.connect_ex(str(path))
    if answer != errno.ECONNREFUSED:
        raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
    path.unlink(missing_ok=True)


def _unlink_own(path: Path, inode: int) -> None:
    try:
        if path.lstat().st_ino == inode:
            path.unlink()
    except FileNotFoundError:
        return


def explain(text: str, error: OSError, pointer: str) -> Problem:
    """One sentence on why the address `text` cannot be bound, and what to do."""
    message, hint = _reason(text, error)
    return Problem(message=f"cannot listen on {text}: {message}", hint=hint, pointer=pointer)


def _reason(text: str, error: OSError) -> tuple[str, str | None]:
    if isinstance(error, socket.gaierror):
        return "the host name has no address", "Write an IP address of this machine, or `:port` for all of them."
    bind = parse_bind(text)
    if error.errno == errno.EADDRINUSE:
        holder = owner(bind.port) if bind.kind == "tcp" else None
        return f"the address is in use{f' by {holder}' if holder else ''}", "Stop the process that listens there, or choose another address."
    if error.errno == errno.EACCES and bind.kind == "tcp" and bind.port < PRIVILEGED:
        return f"ports below {PRIVILEGED} need the capability CAP_NET_BIND_SERVICE", "systemd: AmbientCapabilities=CAP_NET_BIND_SERVICE; or choose a port above 1023."
    if error.errno == errno.EADDRNOTAVAIL:
        return "no interface of this machine has this address", "`ip address` lists the ones it has; `:port` takes all of them."
    if error.errno == errno.EACCES:
        return "permission denied", "The user gw runs as must be able to write to the folder of the socket."
    return error.strerror or str(error), None


def owner(port: int) -> str | None:
    """`name (pid n)` of the process that listens on a TCP port, as far as /proc lets us see."""
    inodes = {f"socket:[{inode}]" for table in ("/proc/net/tcp", "/proc/net/tcp6") for inode in _listening_inodes(Path(table), port)}
    if not inodes:
        return None
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if any(os.readlink(link) in inodes for link in (process / "fd").iterdir()):
                return f"{(process / 'comm').read_text().strip()} (pid {process.name})"
        except OSError:  # gone meanwhile, or not ours to look into
            continue
    return None


def _listening_inodes(table: Path, port: int) -> Iterable[str]:
    try:
        lines = table.read_text().splitlines()[1:]
    except OSError:
        return
    for line in lines:
        columns = line.split()
        if columns[3] == LISTEN_STATE and int(columns[1].rpartition(":")[2], 16) == port:
            yield columns[9]
