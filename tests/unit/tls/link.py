"""Two peers on a socket pair, driven in turns by one thread: nothing waits, nothing sleeps."""

from __future__ import annotations

import socket
import ssl
from typing import Any

from gw._fast.tls import ERROR, OK, WANT_READ, WANT_WRITE, ClientContext, ServerContext, TlsSocket

TURNS = 200
opened: list[socket.socket] = []  # closed after each test by a fixture


class Ours:
    """gw's end; `state` is the handshake's."""

    def __init__(self, sock: socket.socket, context: ServerContext | ClientContext, name: str = "") -> None:
        sock.setblocking(False)
        opened.append(sock)
        self.sock = sock
        self.tls = TlsSocket(sock.fileno(), context, name)
        self.state = WANT_READ

    def step(self) -> None:
        if self.state in (WANT_READ, WANT_WRITE):
            self.state = self.tls.handshake()

    @property
    def done(self) -> bool:
        return self.state in (OK, ERROR)

    def close(self) -> None:
        del self.tls
        self.sock.close()


class Theirs:
    """Python's end, `error` is what ended its handshake."""

    def __init__(self, sock: socket.socket, context: ssl.SSLContext, name: str | None = None, server: bool = False, session: ssl.SSLSession | None = None) -> None:
        sock.setblocking(False)
        self.tls = context.wrap_socket(sock, server_side=server, server_hostname=name, do_handshake_on_connect=False, session=session)
        opened.append(self.tls)
        self.error: Exception | None = None
        self.done = False

    def step(self) -> None:
        if self.done:
            return
        try:
            self.tls.do_handshake()
            self.done = True
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            pass
        except (ssl.SSLError, OSError) as error:
            self.error = error
            self.done = True

    def recv(self, n: int = 65536) -> bytes | None:
        """Bytes, b"" at the end, None when there is nothing yet."""
        try:
            return self.tls.recv(n)
        except ssl.SSLWantReadError:
            return None

    def close(self) -> None:
        self.tls.close()


def shake(ours: Ours, theirs: Theirs | Ours) -> None:
    for _ in range(TURNS):
        ours.step()
        theirs.step()
        if ours.done and theirs.done:
            return
    raise AssertionError(f"the handshake does not end: {ours.tls!r}")


def pair() -> tuple[socket.socket, socket.socket]:
    both = socket.socketpair()
    opened.extend(both)
    return both


def connect(server: ServerContext, client: ssl.SSLContext, name: str | None = None, session: ssl.SSLSession | None = None) -> tuple[Ours, Theirs]:
    """gw serves, Python connects, both handshakes have ended."""
    left, right = pair()
    ours, theirs = Ours(left, server), Theirs(right, client, name, session=session)
    shake(ours, theirs)
    return ours, theirs


def trusting(ca: Any, **options: Any) -> ssl.SSLContext:
    """A Python client that trusts `ca`; `options` are attributes of the context."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(str(ca.cert))
    for name, value in options.items():
        setattr(context, name, value)
    return context
