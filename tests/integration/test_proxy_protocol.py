"""The PROXY protocol, read from load balancers and written to origins."""

from __future__ import annotations

import json
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.certs import make_ca, make_cert
from tests.integration.conftest import Gateway, Origins, until
from tests.integration.proxy_header import LOCAL, PROXY, TCP4, TCP6, UNSPEC, tlv, v1, v2, v2_raw

HEAD_TIMEOUT = 1.5  # seconds
GET = b"GET /tell HTTP/1.1\r\nHost: a.example\r\nX-Forwarded-For: 6.6.6.6\r\n\r\n"
HTTP = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
Send = Callable[[socket.socket, bytes], None]
UNIX_FAMILY = 0x31  # AF_UNIX, stream: two paths of 108 bytes


@pytest.fixture(scope="module")
def certs(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    folder = tmp_path_factory.mktemp("certs")
    ca = make_ca(folder)
    return SimpleNamespace(ca=ca, a=make_cert(folder, ["a.example"], ca), origin=make_cert(folder, ["localhost"], ca, label="origin"))


@pytest.fixture(scope="module")
def trusting(certs: SimpleNamespace, gw_command: list[str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    """A gateway that expects headers from 127.0.0.1 and ::1, in front of plain HTTP, TLS and a Unix socket; and origins that expect them from it."""
    folder = tmp_path_factory.mktemp("trusting")
    origins = Origins()
    told, parsed = origins(close=True), origins(proxy=True)
    secret = origins(proxy=True, cert=certs.origin.cert, key=certs.origin.key)
    ports = free_ports(["plain", "admin", "proxy", "tls", "six"])
    gateway = Gateway(gw_command, folder, ports["plain"], ports["admin"])
    listeners = f"""
  - {{bind: "127.0.0.1:{ports["proxy"]}", proxy_protocol: true}}
  - {{bind: "[::1]:{ports["six"]}"}}
  - {{bind: "unix:{folder}/s", proxy_protocol: true}}
  - {{bind: "unix:{folder}/plain"}}
  - bind: 127.0.0.1:{ports["tls"]}
    proxy_protocol: true
    tls: {{certificates: [{{cert: {certs.a.cert}, key: {certs.a.key}}}]}}"""
    gateway.write(
        f"""
services:
  told: {{endpoints: ['127.0.0.1:{told}']}}
  one: {{endpoints: ['127.0.0.1:{parsed}'], proxy_protocol: v1}}
  two: {{endpoints: ['127.0.0.1:{parsed}'], proxy_protocol: v2}}
  three: {{endpoints: ['https://localhost:{secret}'], tls: {{ca: {certs.ca.cert}}}, proxy_protocol: v2}}
routes:
  - {{path: /, service: told}}
  - {{path: /v1, service: one, strip_prefix: true}}
  - {{path: /v2, service: two, strip_prefix: true}}
  - {{path: /secret, service: three, strip_prefix: true}}
""",
        listeners=listeners,
        more=f"trusted_proxies: [127.0.0.1, '::1']\nclient_timeouts: {{head: {HEAD_TIMEOUT}s}}\naccess_log: {{file: {folder}/access.log, flush: 10ms}}",
    )
    gateway.start()
    yield SimpleNamespace(gateway=gateway, log=folder / "access.log", unix=folder / "s", unix_plain=folder / "plain", **ports)
    gateway.stop()
    origins.stop()


def free_ports(kinds: list[str]) -> dict[str, int]:
    held = {kind: socket.create_server(("127.0.0.1", 0)) for kind in kinds}
    ports = {kind: sock.getsockname()[1] for kind, sock in held.items()}
    for sock in held.values():
        sock.close()
    return ports


def connect(port: int | Path, source: str = "127.0.0.1") -> socket.socket:
    if isinstance(port, Path):
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(10)
        sock.connect(str(port))
        return sock
    return socket.create_connection(("127.0.0.1", port), 10, source_address=(source, 0))


@contextmanager
def connected(port: int | Path, header: bytes = b"", tls: ssl.SSLContext | None = None, send: Send = socket.socket.sendall) -> Iterator[socket.socket]:
    with connect(port) as plain:
        send(plain, header)
        with tls.wrap_socket(plain, server_hostname="a.example") if tls else plain as sock:
            yield sock


def bytewise(sock: socket.socket, data: bytes) -> None:
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for byte in data:
        sock.send(bytes([byte]))
        time.sleep(0.001)


def ask(sock: socket.socket, request: bytes = GET) -> dict[str, Any]:
    sock.sendall(request)
    return answer(sock)


def answer(sock: socket.socket) -> dict[str, Any]:
    got = b""
    while b"\r\n\r\n" not in got or len(got.partition(b"\r\n\r\n")[2]) < int(got.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]):
        piece = sock.recv(65536)
        assert piece, got
        got += piece
    assert got.startswith(b"HTTP/1.1 200"), got
    return dict(json.loads(got.partition(b"\r\n\r\n")[2]))


def field(told: dict[str, Any], name: str) -> str:
    return next((value for key, value in told["fields"] if key.lower() == name), "")


HEADERS = {
    "v1 IPv4": (v1("TCP4", "203.0.113.7", "192.0.2.1"), "203.0.113.7"),
    "v1 IPv4, longest": (v1("TCP4", "203.113.113.117", "192.192.192.191", 65535, 65535), "203.113.113.117"),
    "v1 IPv6": (v1("TCP6", "2001:db8::7", "2001:db8::1"), "2001:db8::7"),
    "v1 IPv6 in another spelling": (v1("TCP6", "2001:0DB8:0:0:0:0:0:0007", "2001:db8::1"), "2001:db8::7"),
    "v1 IPv6, longest": (v1("TCP6", ":".join(["fff1"] * 8), ":".join(["fff2"] * 8), 65535, 65535), ":".join(["fff1"] * 8)),
    "v1 UNKNOWN": (b"PROXY UNKNOWN\r\n", "127.0.0.1"),
    "v1 UNKNOWN with addresses": (b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", "127.0.0.1"),
    "v2 IPv4": (v2("203.0.113.7", "192.0.2.1"), "203.0.113.7"),
    "v2 IPv6": (v2("2001:db8::7", "2001:db8::1"), "2001:db8::7"),
    "v2 IPv4 inside IPv6": (v2("::ffff:203.0.113.7", "::ffff:192.0.2.1"), "203.0.113.7"),
    "v2 with a name and an id": (v2("203.0.113.7", "192.0.2.1", tlvs=tlv(0x02, b"a.example") + tlv(0x05, b"x" * 128)), "203.0.113.7"),
    "v2 with 4000 bytes of TLVs": (v2("2001:db8::7", "2001:db8::1", tlvs=tlv(0xE0, b"\r\n" * 1990)), "2001:db8::7"),
    "v2 LOCAL": (v2_raw(LOCAL, UNSPEC, b""), "127.0.0.1"),
    "v2 LOCAL with addresses": (v2("203.0.113.7", "192.0.2.1", command=LOCAL), "127.0.0.1"),
    "v2 UNSPEC": (v2_raw(PROXY, UNSPEC, b""), "127.0.0.1"),
    "v2 UNSPEC with TLVs": (v2_raw(PROXY, UNSPEC, tlv(0x04, b"\0" * 20)), "127.0.0.1"),
    "v2 Unix": (v2_raw(PROXY, UNIX_FAMILY, bytes(216)), "127.0.0.1"),
}


@pytest.mark.parametrize("name", HEADERS)
@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
def test_the_address_comes_from_the_header(trusting: SimpleNamespace, certs: SimpleNamespace, name: str, secure: bool) -> None:
    header, expected = HEADERS[name]
    tls = ssl.create_default_context(cafile=str(certs.ca.cert)) if secure else None
    with connected(trusting.tls if secure else trusting.proxy, header, tls) as sock:
        told = ask(sock)
        behind = expected if expected != "127.0.0.1" else "6.6.6.6, 127.0.0.1"  # a load balancer that asks for itself is believed
        assert field(told, "x-forwarded-for") == behind
        assert field(told, "x-real-ip") == behind.partition(",")[0]
        assert field(told, "x-forwarded-proto") == ("https" if secure else "http")
        assert field(ask(sock), "x-forwarded-for") == behind, "it stands for the whole connection"


@pytest.mark.parametrize("name", ["v1 IPv4", "v1 UNKNOWN", "v2 IPv6", "v2 LOCAL", "v2 with a name and an id"])
@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
def test_a_header_in_single_bytes(trusting: SimpleNamespace, certs: SimpleNamespace, name: str, secure: bool) -> None:
    header, expected = HEADERS[name]
    tls = ssl.create_default_context(cafile=str(certs.ca.cert)) if secure else None
    with connected(trusting.tls if secure else trusting.proxy, header, tls, bytewise) as sock:
        assert field(ask(sock), "x-forwarded-for").endswith(expected)


@pytest.mark.parametrize("name", HEADERS)
def test_nothing_behind_the_header_is_taken(trusting: SimpleNamespace, certs: SimpleNamespace, name: str) -> None:
    """Header and request, header and ClientHello in one segment: what follows belongs to HTTP and TLS."""
    header, expected = HEADERS[name]
    with connect(trusting.proxy) as sock:
        assert field(ask(sock, header + GET), "x-forwarded-for").endswith(expected)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    session = ssl.create_default_context(cafile=str(certs.ca.cert)).wrap_bio(incoming, outgoing, server_hostname="a.example")
    with connect(trusting.tls) as sock:
        with suppress(ssl.SSLWantReadError):
            session.do_handshake()
        sock.sendall(header + outgoing.read())
        while not shaken(session):
            piece = sock.recv(65536)
            assert piece
            incoming.write(piece)


def shaken(session: ssl.SSLObject) -> bool:
    try:
        session.do_handshake()
    except ssl.SSLWantReadError:
        return False
    return True


def test_the_access_log_shows_the_address(trusting: SimpleNamespace) -> None:
    with connected(trusting.proxy, v1("TCP4", "203.0.113.99", "192.0.2.1")) as sock:
        ask(sock)
    until(lambda: any(json.loads(line)["client"] == "203.0.113.99" for line in trusting.log.read_text().splitlines()), 5, "the address in the log")


def test_a_unix_listener_takes_headers_from_whoever_may_open_it(trusting: SimpleNamespace) -> None:
    with connected(trusting.unix, v2("203.0.113.7", "192.0.2.1")) as sock:
        assert field(ask(sock), "x-forwarded-for") == "203.0.113.7"


GARBAGE = {
    "HTTP": HTTP,
    "short": b"hello\r\n",
    "ClientHello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(300),
    "no end": b"PROXY TCP4 203.0.113.7 192.0.2.1 1 2 " + b"x" * 200,
    "LF alone": b"PROXY TCP4 203.0.113.7 192.0.2.1 1 2\n" + HTTP,
    "lower case": b"proxy TCP4 203.0.113.7 192.0.2.1 1 2\r\n" + HTTP,
    "unknown family": b"PROXY TCP5 203.0.113.7 192.0.2.1 1 2\r\n" + HTTP,
    "UDP": b"PROXY UDP4 203.0.113.7 192.0.2.1 1 2\r\n" + HTTP,
    "UNKNOWN with a tail": b"PROXY UNKNOWNED\r\n" + HTTP,
    "family and address differ": b"PROXY TCP4 2001:db8::7 2001:db8::1 1 2\r\n" + HTTP,
    "address is none": b"PROXY TCP4 203.0.113.999 192.0.2.1 1 2\r\n" + HTTP,
    "destination is none": b"PROXY TCP4 203.0.113.7 x 1 2\r\n" + HTTP,
    "NUL in the address": b"PROXY TCP4 203.0.113.7\0, 6.6.6.6 192.0.2.1 1 2\r\n" + HTTP,
    "NUL behind the address": b"PROXY TCP4 203.0.113.7\0evil 192.0.2.1 1 2\r\n" + HTTP,
    "port too large": b"PROXY TCP4 203.0.113.7 192.0.2.1 65536 2\r\n" + HTTP,
    "port is none": b"PROXY TCP4 203.0.113.7 192.0.2.1 1x 2\r\n" + HTTP,
    "port is signed": b"PROXY TCP4 203.0.113.7 192.0.2.1 -1 2\r\n" + HTTP,
    "two spaces": b"PROXY TCP4  203.0.113.7 192.0.2.1 1 2\r\n" + HTTP,
    "field missing": b"PROXY TCP4 203.0.113.7 192.0.2.1 1\r\n" + HTTP,
    "field too many": b"PROXY TCP4 203.0.113.7 192.0.2.1 1 2 3\r\n" + HTTP,
    "v2 of version 1": v2_raw(0x11, TCP4, bytes(12)) + HTTP,
    "v2 unknown command": v2_raw(0x22, TCP4, bytes(12)) + HTTP,
    "v2 too short for IPv4": v2_raw(PROXY, TCP4, bytes(11)) + HTTP,
    "v2 too short for IPv6": v2_raw(PROXY, TCP6, bytes(35)) + HTTP,
    "v2 of 5000 bytes": v2_raw(PROXY, TCP4, bytes(5000)) + HTTP,
    "v2 LOCAL of 60000 bytes": v2_raw(LOCAL, UNSPEC, HTTP * 2000, 60000),
    "v2 signature damaged": b"\r\n\r\n\x00\r\nQUIX\n" + v2("203.0.113.7", "192.0.2.1")[12:] + HTTP,
}


@pytest.mark.parametrize("name", GARBAGE)
@pytest.mark.parametrize("kind", ["proxy", "tls"])
def test_garbage_is_closed_without_an_answer(trusting: SimpleNamespace, name: str, kind: str) -> None:
    began = time.monotonic()
    with connect(getattr(trusting, kind)) as sock:
        sock.sendall(GARBAGE[name])
        assert rest_of(sock) == b""
    assert time.monotonic() - began < HEAD_TIMEOUT - 0.3


def rest_of(sock: socket.socket) -> bytes:
    got = b""
    with suppress(ConnectionResetError):
        while piece := sock.recv(65536):
            got += piece
    return got


@pytest.mark.parametrize("part", [b"", b"PROXY TCP4 203.0.113.7", v2("203.0.113.7", "192.0.2.1")[:20]])
@pytest.mark.parametrize("kind", ["proxy", "tls"])
def test_half_a_header(trusting: SimpleNamespace, part: bytes, kind: str) -> None:
    """Followed by silence it is shed in time, followed by the end at once."""
    for silent in (True, False):
        began = time.monotonic()
        with connect(getattr(trusting, kind)) as sock:
            sock.sendall(part)
            if not silent:
                sock.shutdown(socket.SHUT_WR)
            assert rest_of(sock) == b""
        assert (time.monotonic() - began > HEAD_TIMEOUT - 0.3) == silent


@pytest.mark.parametrize("kind", ["proxy", "tls"])
def test_other_peers_are_closed(trusting: SimpleNamespace, kind: str) -> None:
    with connect(getattr(trusting, kind), "127.0.0.2") as sock:
        with suppress(ConnectionError):
            sock.sendall(v1("TCP4", "203.0.113.7", "192.0.2.1") + HTTP)
        assert rest_of(sock) == b""


# Towards origins


@pytest.mark.parametrize(("path", "version"), [("v1", 1), ("v2", 2), ("secret", 2)])
def test_origins_are_told_the_client(trusting: SimpleNamespace, path: str, version: int) -> None:
    with connect(trusting.plain) as sock:
        first, second = (ask(sock, b"GET /%b/tell HTTP/1.1\r\nHost: a\r\n\r\n" % path.encode()) for _ in range(2))
        port = sock.getsockname()[1]
        assert first["source"] == {"version": version, "family": "TCP4", "client": "127.0.0.1", "port": port, "ours": "127.0.0.1", "our_port": trusting.plain}
        assert second["source"] == first["source"]
        assert second["connection"] != first["connection"], "a connection speaks for one client and is not reused"
        assert bool(first["tls"]) == (path == "secret")


@pytest.mark.parametrize(("path", "version"), [("v1", 1), ("v2", 2)])
def test_origins_are_told_an_ipv6_client(trusting: SimpleNamespace, path: str, version: int) -> None:
    with socket.create_connection(("::1", trusting.six), 10) as sock:
        told = ask(sock, b"GET /%b/tell HTTP/1.1\r\nHost: a\r\n\r\n" % path.encode())
        assert told["source"] == {"version": version, "family": "TCP6", "client": "::1", "port": sock.getsockname()[1], "ours": "::1", "our_port": trusting.six}


@pytest.mark.parametrize(("path", "family"), [("v1", "UNKNOWN"), ("v2", "LOCAL")])
def test_a_client_without_an_address(trusting: SimpleNamespace, path: str, family: str) -> None:
    with connect(trusting.unix_plain) as sock:
        assert ask(sock, b"GET /%b/tell HTTP/1.1\r\nHost: a\r\n\r\n" % path.encode())["source"]["family"] == family


@pytest.mark.parametrize("path", ["v1", "v2"])
@pytest.mark.parametrize(
    ("client", "family", "ours"),
    [("203.0.113.7", "TCP4", "127.0.0.1"), ("2001:db8::7", "TCP6", "::ffff:127.0.0.1")],
)
def test_a_header_is_passed_on(trusting: SimpleNamespace, path: str, client: str, family: str, ours: str) -> None:
    """Both ends of a header are of one family: behind an IPv6 client our own IPv4 address is written inside IPv6."""
    with connected(trusting.proxy, v2(client, "2001:db8::1" if ":" in client else "192.0.2.1", 4711)) as sock:
        source = ask(sock, b"GET /%b/tell HTTP/1.1\r\nHost: a\r\n\r\n" % path.encode())["source"]
    assert (source["family"], source["client"], source["port"], source["ours"], source["our_port"]) == (family, client, 4711, ours, trusting.proxy)
