"""An origin in a process of its own, for tests of connections: plain or TLS, TCP or Unix, with or without a PROXY header in front.

`python -m tests.integration.origin '{"cert": ..., "proxy": true}'` prints where it listens. By path: `/bytes/N` answers N bytes, `/sum`
the SHA-256 of the request's body (`/sum/S` after waiting S seconds with reading it), `/slow/S` waits, `/upgrade` becomes an echo,
`/cut` ends a close-delimited answer without close_notify, anything else tells what arrived.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import socket
import ssl
import sys
import threading
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

from tests.integration.proxy_header import Source, read_header

BLOCK = bytes(range(256)) * 256


@dataclass
class Settings:
    """`bind`: a host or `unix:/path`; `ca`: ask clients for a certificate; `close`: one request a connection."""

    bind: str = "127.0.0.1"
    cert: str | None = None
    key: str | None = None
    ca: str | None = None
    proxy: bool = False
    close: bool = False


class Arrived:
    """What one connection told before its first request."""

    def __init__(self, number: int, source: Source | None, sock: socket.socket, names: dict[int, str | None]) -> None:
        self.number = number
        self.source = source
        self.tls: dict[str, Any] | None = None
        if isinstance(sock, ssl.SSLSocket):
            subject = {key: value for entry in (sock.getpeercert() or {}).get("subject", ()) for key, value in entry}
            self.tls = {"version": sock.version(), "name": names.pop(id(sock), None), "client": subject.get("commonName"), "alpn": sock.selected_alpn_protocol()}


class Origin:
    """See the module's text."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.listener = _listen(settings.bind)
        self.numbers = itertools.count(1)
        self.names: dict[int, str | None] = {}
        self.context = self._context() if settings.cert else None

    def _context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(str(self.settings.cert), self.settings.key)
        context.set_alpn_protocols(["http/1.1"])
        context.sni_callback = lambda sock, name, _: self.names.__setitem__(id(sock), name)
        if self.settings.ca:
            context.load_verify_locations(self.settings.ca)
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    def serve(self) -> None:
        while True:
            sock, _ = self.listener.accept()
            threading.Thread(target=self._connection, args=[sock], daemon=True).start()

    def _connection(self, sock: socket.socket) -> None:
        number = next(self.numbers)
        with suppress(OSError, EOFError), sock:
            source = read_header(sock.recv) if self.settings.proxy else None
            secure = self.context.wrap_socket(sock, server_side=True, suppress_ragged_eofs=False) if self.context else sock
            with secure, secure.makefile("rb") as stream:
                arrived = Arrived(number, source, secure, self.names)
                while _answer(secure, stream, arrived, self.settings.close):
                    pass


def _listen(bind: str) -> socket.socket:
    if bind.startswith("unix:"):
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(bind[5:])
        listener.listen()
        return listener
    return socket.create_server((bind, 0), family=socket.AF_INET6 if ":" in bind else socket.AF_INET)


def _answer(sock: socket.socket, stream: Any, arrived: Arrived, close: bool) -> bool:
    """One request; False when the connection is over."""
    line = stream.readline().split()
    if not line:
        return False
    fields = [tuple(part.strip() for part in each.split(":", 1)) for each in iter(lambda: stream.readline().decode("latin-1").strip(), "")]
    given = {name.lower(): value for name, value in fields}
    _, command, *rest = line[1].decode().split("?")[0].split("/")
    seconds = float(rest[0]) if rest else 0.0
    if command == "upgrade":
        sock.sendall(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        _echo(sock, stream)
        return False
    if command == "cut":
        sock.sendall(b"HTTP/1.1 200 OK\r\n\r\nhalf of it")
        socket.socket.shutdown(sock, socket.SHUT_RDWR)
        return False
    if command in ("sum", "slow"):
        time.sleep(seconds)
    summed, count = _body(stream, given)
    if command == "bytes":
        size = int(rest[0])
        sock.sendall(f"HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n".encode())
        for _ in range(size // len(BLOCK)):
            sock.sendall(BLOCK)
        sock.sendall(BLOCK[: size % len(BLOCK)])
    else:
        told = {
            "line": [part.decode("latin-1") for part in line],
            "fields": fields,
            "sum": summed,
            "count": count,
            "connection": arrived.number,
            "source": arrived.source and asdict(arrived.source),
            "tls": arrived.tls,
        }
        body = json.dumps(told).encode()
        ending = b"Connection: close\r\n" if close else b""
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n%bContent-Length: %d\r\n\r\n%b" % (ending, len(body), body))
    return not close


def _body(stream: Any, given: dict[str, str]) -> tuple[str, int]:
    digest, count = hashlib.sha256(), 0
    left = int(given.get("content-length", 0))
    while left and (data := stream.read1(min(left, 65536))):
        digest.update(data)
        left -= len(data)
        count += len(data)
    return digest.hexdigest(), count


def _echo(sock: socket.socket, stream: Any) -> None:
    """Send back what comes, half-close as the peer does."""
    while data := stream.read1(65536):
        sock.sendall(data)
    if isinstance(sock, ssl.SSLSocket):
        sock.unwrap()


def main() -> None:
    origin = Origin(Settings(**json.loads(sys.argv[1])))
    name = origin.listener.getsockname()
    print(name if isinstance(name, str) else name[1], flush=True)
    origin.serve()


if __name__ == "__main__":
    main()
