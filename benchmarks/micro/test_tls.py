"""The TLS kernel on a socket pair, both ends ours: a request and its answer, bulk, handshakes. Half of each figure is the client's."""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from gw._fast.tls import OK, ClientContext, ServerContext, TlsSocket
from tests.certs import Cert, make_ca, make_cert

Ends = tuple[TlsSocket, TlsSocket, socket.socket, socket.socket]
REQUEST, ANSWER, BULK = b"r" * 100, b"a" * 250, b"b" * 16384


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> Cert:
    return make_ca(tmp_path_factory.mktemp("certs"))


@pytest.fixture(scope="module", params=["ec", "rsa"])
def leaf(ca: Cert, request: pytest.FixtureRequest) -> Cert:
    return make_cert(ca.cert.parent, ["bench.example"], ca, key=request.param)


def connect(server: ServerContext, client: ClientContext) -> Ends:
    left, right = socket.socketpair()
    left.settimeout(0)
    right.settimeout(0)
    ours, theirs = TlsSocket(left.fileno(), server), TlsSocket(right.fileno(), client, "bench.example")
    while theirs.handshake() != OK or ours.handshake() != OK:
        ours.handshake()
    return ours, theirs, left, right


@pytest.fixture
def ends(ca: Cert) -> Iterator[Ends]:
    cert = make_cert(ca.cert.parent, ["bench.example"], ca)
    made = connect(ServerContext([cert.pair], ticket_keys=[os.urandom(80)]), ClientContext(ca=ca.cert))
    yield made
    made[2].close()
    made[3].close()


def test_request_and_answer(benchmark: Callable[..., Any], ends: Ends) -> None:
    ours, theirs, *_ = ends

    def exchange() -> bytes | int:
        theirs.send(REQUEST)
        ours.recv(16384)
        ours.send(ANSWER)
        return theirs.recv(16384)

    assert benchmark(exchange) == ANSWER


def test_bulk(benchmark: Callable[..., Any], ends: Ends) -> None:
    """Four full records, read into one buffer as the lane's."""
    ours, theirs, _, right = ends
    right.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)

    def upload() -> int:
        for _ in range(4):
            theirs.send(BULK)
        got = 0
        while got < 4 * len(BULK):
            data = ours.recv(65536)
            assert isinstance(data, bytes)
            got += len(data)
        return got

    assert benchmark(upload) == 4 * len(BULK)


def test_full_handshake(benchmark: Callable[..., Any], ca: Cert, leaf: Cert) -> None:
    server, client = ServerContext([leaf.pair], ticket_keys=[os.urandom(80)]), ClientContext(ca=ca.cert)

    def handshake() -> None:
        *_, left, right = connect(server, client)
        left.close()
        right.close()

    benchmark(handshake)


def test_resumed_handshake(benchmark: Callable[..., Any], ca: Cert, leaf: Cert) -> None:
    """The client is Python's: ours does not resume."""
    server = ServerContext([leaf.pair], ticket_keys=[os.urandom(80)])
    client = ssl.create_default_context(cafile=str(ca.cert))

    def connect_again(session: ssl.SSLSession | None) -> ssl.SSLSession | None:
        left, right = socket.socketpair()
        left.settimeout(0)
        with left, client.wrap_socket(right, server_hostname="bench.example", do_handshake_on_connect=False, session=session) as theirs:
            theirs.settimeout(0)
            ours, done = TlsSocket(left.fileno(), server), False
            while ours.handshake() != OK or not done:
                try:
                    theirs.do_handshake()
                    done = True
                except ssl.SSLWantReadError:
                    continue
            ours.send(b"x")
            theirs.recv(1)
            assert session is None or theirs.session_reused
            return theirs.session

    session = connect_again(None)
    benchmark(connect_again, session)


def test_contexts(benchmark: Callable[..., Any], leaf: Cert) -> None:
    """A reload pays this for every listener."""
    benchmark(ServerContext, [leaf.pair])
