"""TLS of a running gw, towards clients and towards origins. See docs/operate/tls.md."""

from __future__ import annotations

import hashlib
import json
import re
import select
import signal
import socket
import ssl
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.certs import Cert, make_ca, make_cert
from tests.integration.conftest import Gateway, Origins, until
from tests.integration.origin import BLOCK

HEAD_TIMEOUT = 1.5  # seconds
LARGE = 50 * 1024 * 1024  # bytes
SPARE = 12 * 1024  # KiB a worker may grow while a slow peer holds up a large body: socket buffers are the kernel's
GET = b"GET /tell HTTP/1.1\r\nHost: a.example\r\n\r\n"
POLICY = """
from __future__ import annotations

import msgspec

from gw.policy import Hooks


class Config(msgspec.Struct):
    pass


def build(config, tools):
    def request(request):
        tls = request.tls
        parts = (tls.protocol, tls.cipher, tls.name, tls.subject, ",".join(tls.sans), tls.fingerprint, tls.serial, tls.verified, tls.resumed) if tls else ("none",)
        request.headers["X-Tls"] = "|".join(map(str, parts))

    return Hooks(request=request)
"""


@pytest.fixture(scope="module")
def certs(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    folder = tmp_path_factory.mktemp("certs")
    ca, other = make_ca(folder), make_ca(folder, "other")
    return SimpleNamespace(
        folder=folder,
        ca=ca,
        other=other,
        default=make_cert(folder, ["default.example", "127.0.0.1"], ca),
        a=make_cert(folder, ["a.example"], ca),
        rsa=make_cert(folder, ["a.example"], ca, key="rsa"),
        wild=make_cert(folder, ["*.wild.example"], ca),
        client=make_cert(folder, ["client"], ca, subject="/O=Test/CN=Alice", sans="DNS:alice.example,URI:spiffe://test/alice"),
        stranger=make_cert(folder, ["stranger"], other),
        origin=make_cert(folder, ["origin.example", "127.0.0.1", "localhost"], ca, label="origin"),
        selfsigned=make_cert(folder, ["localhost", "127.0.0.1"], None, label="selfsigned"),
        expired=make_cert(folder, ["localhost", "127.0.0.1"], ca, label="expired", days=-1),
        misnamed=make_cert(folder, ["elsewhere.example"], ca, label="misnamed"),
    )


def pair(cert: Cert) -> str:
    return f"{{cert: {cert.cert}, key: {cert.key}}}"


class Serving:
    """A gateway with one listener of each kind; `port` by its kind."""

    def __init__(self, gateway: Gateway, ports: dict[str, int]) -> None:
        self.gateway = gateway
        self.ports = ports

    def lines(self) -> list[dict[str, Any]]:
        """Of the access log."""
        return [json.loads(line) for line in (self.gateway.folder / "access.log").read_text().splitlines()]


@pytest.fixture(scope="module")
def serving(certs: SimpleNamespace, gw_command: list[str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    folder = tmp_path_factory.mktemp("serving")
    (folder / "policies").mkdir()
    (folder / "policies" / "identity.py").write_text(POLICY)
    origins = Origins()
    origin = origins(close=True)
    kinds = ["plain", "admin", "tls", "newest", "require", "optional"]
    gateway, ports = gateway_on_free_ports(gw_command, folder, kinds)
    several = f"certificates: [{pair(certs.default)}, {pair(certs.a)}, {pair(certs.rsa)}, {pair(certs.wild)}]"
    listeners = "\n".join(
        f"  - bind: 127.0.0.1:{ports[kind]}\n    tls: {{{several}{more}}}"
        for kind, more in {
            "tls": "",
            "newest": ", min_version: '1.3'",
            "require": f", client_certificates: {{ca: {certs.ca.cert}}}",
            "optional": f", client_certificates: {{ca: {certs.ca.cert}, mode: optional}}",
        }.items()
    )
    gateway.write(
        f"""
services: {{one: {{endpoints: ['127.0.0.1:{origin}'], timeouts: {{idle: 20s}}}}}}
routes:
  - {{path: /, service: one, max_body: 0}}
  - {{path: /identity, service: one, policies: [identity]}}
""",
        listeners=listeners,
        more=f"client_timeouts: {{head: {HEAD_TIMEOUT}s}}\nmodules: [policies]\naccess_log: {{file: {folder}/access.log, flush: 10ms}}",
    )
    gateway.start()
    yield Serving(gateway, ports)
    gateway.stop()
    origins.stop()


def gateway_on_free_ports(command: list[str], folder: Path, kinds: list[str]) -> tuple[Gateway, dict[str, int]]:
    held = {kind: socket.create_server(("127.0.0.1", 0)) for kind in kinds}
    ports = {kind: sock.getsockname()[1] for kind, sock in held.items()}
    for sock in held.values():
        sock.close()
    return Gateway(command, folder, ports["plain"], ports["admin"]), ports


def context(certs: SimpleNamespace, *, show: Cert | None = None, ca: Cert | None = None) -> ssl.SSLContext:
    made = ssl.create_default_context(cafile=str((ca or certs.ca).cert))
    if show:
        made.load_cert_chain(*show.pair)
    return made


@contextmanager
def connected(port: int, tls: ssl.SSLContext, name: str = "a.example", **more: Any) -> Iterator[ssl.SSLSocket]:
    with socket.create_connection(("127.0.0.1", port), 10) as plain, tls.wrap_socket(plain, server_hostname=name, suppress_ragged_eofs=False, **more) as secure:
        yield secure


def read_answer(sock: socket.socket, rest: bytes = b"") -> tuple[bytes, bytes, bytes]:
    """Head, body of its Content-Length, what came behind it."""
    while b"\r\n\r\n" not in rest:
        piece = sock.recv(65536)
        assert piece, rest
        rest += piece
    head, _, rest = rest.partition(b"\r\n\r\n")
    found = re.search(rb"(?i)content-length: (\d+)", head)
    size = int(found[1]) if found else 0
    while len(rest) < size:
        piece = sock.recv(65536)
        assert piece, rest
        rest += piece
    return head, rest[:size], rest[size:]


def ask(sock: socket.socket, request: bytes = GET) -> dict[str, Any]:
    sock.sendall(request)
    head, body, rest = read_answer(sock)
    assert head.startswith(b"HTTP/1.1 200"), head + body
    assert rest == b""
    return dict(json.loads(body))


def field(told: dict[str, Any], name: str) -> str:
    return next((value for key, value in told["fields"] if key.lower() == name.lower()), "")


def names(sock: ssl.SSLSocket) -> list[str]:
    return [name for _, name in (sock.getpeercert() or {})["subjectAltName"]]


# Handshakes


@pytest.mark.parametrize(("version", "shown"), [(ssl.TLSVersion.TLSv1_2, "TLSv1.2"), (ssl.TLSVersion.TLSv1_3, "TLSv1.3")])
def test_versions(serving: Serving, certs: SimpleNamespace, version: ssl.TLSVersion, shown: str) -> None:
    tls = context(certs)
    tls.minimum_version = tls.maximum_version = version
    with connected(serving.ports["tls"], tls) as sock:
        assert sock.version() == shown
        assert field(ask(sock), "x-forwarded-proto") == "https"


@pytest.mark.parametrize(("kind", "flag"), [("tls", "-tls1_1"), ("tls", "-tls1"), ("newest", "-tls1_2")])
def test_old_versions_are_refused(serving: Serving, kind: str, flag: str) -> None:
    said = s_client(serving.ports[kind], flag, "-cipher", "DEFAULT@SECLEVEL=0")
    assert "alert protocol version" in said
    assert "New, (NONE)" in said


def s_client(port: int, *args: str, feed: bytes = b"") -> str:
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", *args]
    return subprocess.run(command, input=feed, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=20, check=False).stdout.decode(errors="replace")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.example", ["a.example"]),
        ("A.EXAMPLE", ["a.example"]),
        ("x.wild.example", ["*.wild.example"]),
        ("y.x.wild.example", ["default.example", "127.0.0.1"]),
        ("unknown.example", ["default.example", "127.0.0.1"]),
        (None, ["default.example", "127.0.0.1"]),
    ],
)
def test_the_certificate_goes_by_name(serving: Serving, certs: SimpleNamespace, name: str | None, expected: list[str]) -> None:
    tls = context(certs)
    tls.check_hostname = False
    with connected(serving.ports["tls"], tls, name) as sock:
        assert names(sock) == expected


def test_clients_without_ecdsa_get_the_rsa_certificate(serving: Serving, certs: SimpleNamespace) -> None:
    tls = context(certs)
    tls.maximum_version = ssl.TLSVersion.TLSv1_2
    tls.set_ciphers("ECDHE-RSA-AES128-GCM-SHA256")
    with connected(serving.ports["tls"], tls) as sock:
        assert names(sock) == ["a.example"]


@pytest.mark.parametrize("offered", [["http/1.1"], ["h2", "http/1.1"], []])
def test_alpn(serving: Serving, certs: SimpleNamespace, offered: list[str]) -> None:
    tls = context(certs)
    if offered:
        tls.set_alpn_protocols(offered)
    with connected(serving.ports["tls"], tls) as sock:
        assert sock.selected_alpn_protocol() == ("http/1.1" if offered else None)
        ask(sock)


def test_alpn_without_a_common_protocol_ends_the_handshake(serving: Serving, certs: SimpleNamespace) -> None:
    tls = context(certs)
    tls.set_alpn_protocols(["h2"])
    with pytest.raises(ssl.SSLError, match=r"(?i)no.application.protocol"), connected(serving.ports["tls"], tls):
        pass


def test_a_silent_client_is_shed(serving: Serving) -> None:
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", serving.ports["tls"]), 10) as sock:
        assert sock.recv(100) == b""
    assert HEAD_TIMEOUT - 0.2 < time.monotonic() - began < HEAD_TIMEOUT + 2


def test_a_client_that_stops_in_its_hello_is_shed(serving: Serving, certs: SimpleNamespace) -> None:
    hello = client_hello(context(certs))
    with socket.create_connection(("127.0.0.1", serving.ports["tls"]), 10) as sock:
        sock.sendall(hello[: len(hello) // 2])
        assert sock.recv(100) == b""


def client_hello(tls: ssl.SSLContext) -> bytes:
    out = ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        tls.wrap_bio(ssl.MemoryBIO(), out, server_hostname="a.example").do_handshake()
    return out.read()


def test_a_hello_in_single_bytes(serving: Serving, certs: SimpleNamespace) -> None:
    """The whole conversation trickles: every record arrives in pieces."""
    tls = context(certs)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    session = tls.wrap_bio(incoming, outgoing, server_hostname="a.example")
    with socket.create_connection(("127.0.0.1", serving.ports["tls"]), 10) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

        def run(step: Callable[[], Any]) -> Any:
            while True:
                try:
                    return step()
                except ssl.SSLWantReadError:
                    trickle(sock, outgoing.read())
                    incoming.write(sock.recv(65536))

        run(session.do_handshake)
        session.write(GET)
        trickle(sock, outgoing.read())
        assert run(lambda: session.read(65536)).startswith(b"HTTP/1.1 200")


def trickle(sock: socket.socket, data: bytes) -> None:
    for byte in data:
        sock.send(bytes([byte]))
        time.sleep(0.0005)


@pytest.mark.parametrize("garbage", [b"\x00" * 300, b"\x16\x03\x01\xff\xff" + b"x" * 200, b"\x15\x03\x03\x00\x02\x02\x28", b"SSH-2.0-OpenSSH_9.2\r\n" * 10])
def test_garbage_ends_the_connection_at_once(serving: Serving, garbage: bytes) -> None:
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", serving.ports["tls"]), 10) as sock:
        sock.sendall(garbage)
        end_of(sock)
    assert time.monotonic() - began < HEAD_TIMEOUT - 0.2


def end_of(sock: socket.socket) -> bytes:
    """Everything up to the end, a reset included."""
    got = b""
    try:
        while piece := sock.recv(65536):
            got += piece
    except ConnectionResetError:
        pass
    return got


@pytest.mark.parametrize("request_", [b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n", b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n" + b"x" * 100000])
def test_plain_http_on_a_tls_port_is_told_so(serving: Serving, request_: bytes) -> None:
    with socket.create_connection(("127.0.0.1", serving.ports["tls"]), 10) as sock:
        sock.sendall(request_)
        answer = sock.makefile("rb").read()
    assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert b"Connection: close\r\n" in answer
    assert b"https" in answer


# Requests


def test_keep_alive_and_pipelining(serving: Serving, certs: SimpleNamespace) -> None:
    with connected(serving.ports["tls"], context(certs)) as sock:
        for number in range(20):
            assert ask(sock, GET.replace(b"/tell", b"/tell%d" % number))["line"][1] == f"/tell{number}"
        sock.sendall(b"".join(GET.replace(b"/tell", b"/pipe%d" % number) for number in range(30)))
        rest = b""
        for number in range(30):
            _, body, rest = read_answer(sock, rest)
            assert json.loads(body)["line"][1] == f"/pipe{number}"


def test_requests_cut_into_records_anywhere(serving: Serving, certs: SimpleNamespace) -> None:
    request = b"POST /tell HTTP/1.1\r\nHost: a.example\r\nContent-Length: 5\r\n\r\nhello"
    with connected(serving.ports["tls"], context(certs)) as sock:
        for cut in range(1, len(request), 3):
            sock.sendall(request[:cut])
            assert ask(sock, request[cut:])["count"] == 5


def test_curl(serving: Serving, certs: SimpleNamespace) -> None:
    name = f"a.example:{serving.ports['tls']}"
    urls = [f"https://{name}/one", f"https://{name}/two"]
    done = subprocess.run(["curl", "-sS", "-v", "--cacert", certs.ca.cert, "--resolve", f"{name}:127.0.0.1", "-d", "x" * 3000, *urls], capture_output=True, timeout=20, check=True)
    assert done.stdout.count(b'"count": 3000') == 2
    assert b"Re-using existing connection" in done.stderr


def test_s_client(serving: Serving, certs: SimpleNamespace) -> None:
    said = s_client(
        serving.ports["tls"],
        "-servername",
        "a.example",
        "-CAfile",
        str(certs.ca.cert),
        "-verify_hostname",
        "a.example",
        "-verify_return_error",
        "-ign_eof",
        feed=GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"),
    )
    assert '"line": ["GET"' in said
    assert "Verify return code: 0 (ok)" in said


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_large_answer_to_a_slow_reader(serving: Serving, certs: SimpleNamespace, version: ssl.TLSVersion) -> None:
    tls = context(certs)
    tls.maximum_version = version
    digest, count = hashlib.sha256(), 0
    before = memory(serving.gateway)
    with connected(serving.ports["tls"], tls) as sock:
        sock.sendall(GET.replace(b"/tell", b"/bytes/%d" % LARGE))
        head, _, first = sock.recv(65536).partition(b"\r\n\r\n")
        assert b"200 OK" in head
        time.sleep(0.7)
        assert memory(serving.gateway) < before + SPARE
        digest.update(first)
        count = len(first)
        while count < LARGE:
            piece = sock.recv(65536)
            assert piece
            digest.update(piece)
            count += len(piece)
            if count % 5 == 0:
                time.sleep(0.0005)
        assert memory(serving.gateway) < before + SPARE
        assert digest.hexdigest() == hashlib.sha256(BLOCK * (LARGE // len(BLOCK))).hexdigest()
        ask(sock)


def memory(gateway: Gateway) -> int:
    """KiB resident in the workers, the largest."""
    found = [re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text()) for pid in gateway.workers()]
    return max(int(each[1]) for each in found if each)


def test_a_large_upload_to_a_slow_reader(serving: Serving, certs: SimpleNamespace) -> None:
    before = memory(serving.gateway)
    with connected(serving.ports["tls"], context(certs)) as sock:
        sock.settimeout(30)
        sock.sendall(b"POST /sum/1 HTTP/1.1\r\nHost: a.example\r\nContent-Length: %d\r\n\r\n" % LARGE)
        sender = threading.Thread(target=lambda: [sock.sendall(BLOCK) for _ in range(LARGE // len(BLOCK))])
        sender.start()
        time.sleep(0.7)
        assert memory(serving.gateway) < before + SPARE
        sender.join()
        told = ask(sock, b"")
        assert told["count"] == LARGE
        assert told["sum"] == hashlib.sha256(BLOCK * (LARGE // len(BLOCK))).hexdigest()
        ask(sock)


def test_a_websocket_tunnel(serving: Serving, certs: SimpleNamespace) -> None:
    with connected(serving.ports["tls"], context(certs)) as sock:
        first = frame(b"with the head")
        sock.sendall(b"GET /upgrade HTTP/1.1\r\nHost: a.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n" + first)
        got = b""
        while not got.endswith(first):
            got += sock.recv(65536)
        assert got.startswith(b"HTTP/1.1 101")
        for payload in (b"", b"hello", b"x" * 200, b"y" * 70_000, bytes(range(256)) * 4000):
            sent = frame(payload)
            assert echoed(sock, sent) == sent
        assert sock.unwrap().recv(1) == b"", "close_notify is answered and the connection ends"


def echoed(sock: ssl.SSLSocket, data: bytes) -> bytes:
    """Send and read at once: neither side can hold it all."""
    sock.setblocking(False)
    got, left = bytearray(), memoryview(data)
    while len(got) < len(data):
        select.select([sock], [sock] if left else [], [], 10)
        with suppress(ssl.SSLWantReadError, ssl.SSLWantWriteError):
            left = left[sock.send(left[:16384]) :] if left else left
        with suppress(ssl.SSLWantReadError, ssl.SSLWantWriteError):
            piece = sock.recv(65536)
            assert piece, "the connection ended"
            got += piece
    sock.settimeout(10)
    return bytes(got)


def frame(payload: bytes) -> bytes:
    """A masked binary frame (RFC 6455 section 5.2)."""
    size = len(payload)
    length = struct.pack("!B", 128 | size) if size < 126 else struct.pack("!BH", 254, size) if size < 65536 else struct.pack("!BQ", 255, size)
    return b"\x82" + length + b"\0\0\0\0" + payload


# How connections end


def test_an_answer_after_the_clients_close_notify(serving: Serving, certs: SimpleNamespace) -> None:
    """A client may say that it sends no more and still wait for what it asked."""
    tls = context(certs)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    session = tls.wrap_bio(incoming, outgoing, server_hostname="a.example")
    with socket.create_connection(("127.0.0.1", serving.ports["tls"]), 10) as sock:
        shake(session, incoming, outgoing, sock)
        session.write(GET.replace(b"/tell", b"/slow/0.5"))
        with pytest.raises(ssl.SSLWantReadError):
            session.unwrap()  # puts close_notify behind the request
        sock.sendall(outgoing.read())
        incoming.write(end_of(sock))
    records = incoming.read()
    assert records[0] == 0x17, "application data came back"
    assert len(records) > 200


def shake(session: ssl.SSLObject, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO, sock: socket.socket) -> None:
    while True:
        try:
            session.do_handshake()
            sock.sendall(outgoing.read())
            return
        except ssl.SSLWantReadError:
            sock.sendall(outgoing.read())
            incoming.write(sock.recv(65536))


def test_the_last_answer_ends_with_close_notify(serving: Serving, certs: SimpleNamespace) -> None:
    with connected(serving.ports["tls"], context(certs)) as sock:
        sock.sendall(GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        got = b""
        while piece := sock.recv(65536):  # a cut would raise: ragged ends are not suppressed
            got += piece
    assert got.startswith(b"HTTP/1.1 200")


def test_an_idle_connection_ends_with_close_notify(gateway: Gateway, certs: SimpleNamespace, free_port: Callable[[], int]) -> None:
    port = free_port()
    gateway.write("routes: [{path: /, respond: {body: hello}}]", listeners=listener(port, certs.a), more="client_timeouts: {keep_alive: 300ms}")
    gateway.start()
    with connected(port, context(certs)) as sock:
        sock.sendall(GET)
        read_answer(sock)
        assert sock.recv(100) == b""


def listener(port: int, *shown: Cert, more: str = "") -> str:
    return f"  - bind: 127.0.0.1:{port}\n    tls: {{certificates: [{', '.join(map(pair, shown))}]{more}}}"


# Client certificates


def test_no_client_certificate_where_one_is_required(serving: Serving, certs: SimpleNamespace) -> None:
    with pytest.raises(OSError), connected(serving.ports["require"], context(certs)) as sock:
        ask(sock)


@pytest.mark.parametrize("kind", ["require", "optional"])
def test_a_client_certificate_of_another_authority(serving: Serving, certs: SimpleNamespace, kind: str) -> None:
    with pytest.raises(OSError), connected(serving.ports[kind], context(certs, show=certs.stranger)) as sock:
        ask(sock)


def identity(serving: Serving, certs: SimpleNamespace, kind: str, show: Cert | None, **more: Any) -> list[str]:
    with connected(serving.ports[kind], context(certs, show=show), **more) as sock:
        return field(ask(sock, GET.replace(b"/tell", b"/identity")), "X-Tls").split("|")


@pytest.mark.parametrize("kind", ["require", "optional"])
def test_policies_know_the_client(serving: Serving, certs: SimpleNamespace, kind: str) -> None:
    protocol, cipher, name, subject, sans, fingerprint, serial, verified, resumed = identity(serving, certs, kind, certs.client)
    der = ssl.PEM_cert_to_DER_cert(certs.client.cert.read_text())
    assert (protocol, name, subject, sans) == ("TLSv1.3", "a.example", "CN=Alice,O=Test", "DNS:alice.example,URI:spiffe://test/alice")
    assert cipher.startswith("TLS_")
    assert fingerprint == hashlib.sha256(der).hexdigest()
    assert int(serial, 16) > 0
    assert (verified, resumed) == ("True", "False")


def test_policies_know_the_connection_of_an_anonymous_client(serving: Serving, certs: SimpleNamespace) -> None:
    for kind in ("optional", "tls"):
        protocol, _, name, *nobody = identity(serving, certs, kind, None)
        assert (protocol, name) == ("TLSv1.3", "a.example")
        assert nobody == ["", "", "", "", "False", "False"]
    with socket.create_connection(("127.0.0.1", serving.gateway.port), 10) as sock:
        assert field(ask(sock, GET.replace(b"/tell", b"/identity")), "X-Tls") == "none"


def test_the_access_log_knows_the_client(serving: Serving, certs: SimpleNamespace) -> None:
    def logged(path: bytes) -> dict[str, Any]:
        return next(iter(until(lambda: [line for line in serving.lines() if line["path"].encode() == path], 5, "a line in the log")))

    for path, kind, show in ((b"/alice", "require", certs.client), (b"/nobody", "optional", None)):
        with connected(serving.ports[kind], context(certs, show=show)) as sock:
            ask(sock, GET.replace(b"/tell", path))
    with socket.create_connection(("127.0.0.1", serving.gateway.port), 10) as sock:
        ask(sock, GET.replace(b"/tell", b"/plain"))
    alice, nobody, plain = logged(b"/alice"), logged(b"/nobody"), logged(b"/plain")
    assert (alice["tls"], alice["tls_client"]) == ("TLSv1.3", "CN=Alice,O=Test")
    assert nobody["tls"] == "TLSv1.3"
    assert "tls_client" not in nobody
    assert "tls" not in plain


# Resumption


def resumed(port: int, tls: ssl.SSLContext, tries: int, session: ssl.SSLSession) -> list[bool]:
    found = []
    for _ in range(tries):
        with connected(port, tls, session=session) as sock:
            ask_anything(sock)
            found.append(bool(sock.session_reused))
    return found


def ask_anything(sock: ssl.SSLSocket) -> None:
    sock.sendall(GET)
    read_answer(sock)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_any_worker_resumes_across_reloads(gateway: Gateway, certs: SimpleNamespace, free_port: Callable[[], int], version: ssl.TLSVersion) -> None:
    port = free_port()
    gateway.write("routes: [{path: /, respond: {body: hello}}]", listeners=listener(port, certs.a))
    gateway.start()
    tls = context(certs)
    tls.maximum_version = version
    with connected(port, tls) as sock:
        ask_anything(sock)
        session = sock.session
    assert session
    assert all(resumed(port, tls, 12, session))
    assert gateway.call("reload")["ok"]
    assert all(resumed(port, tls, 12, session))


def test_a_resumed_session_keeps_its_identity(serving: Serving, certs: SimpleNamespace) -> None:
    tls = context(certs, show=certs.client)
    with connected(serving.ports["require"], tls) as sock:
        ask(sock)
        session = sock.session
    with connected(serving.ports["require"], tls, session=session) as sock:
        told = field(ask(sock, GET.replace(b"/tell", b"/identity")), "X-Tls").split("|")
    assert told[3] == "CN=Alice,O=Test"
    assert told[7:] == ["True", "True"]


def test_a_session_is_not_resumed_where_clients_must_show_a_certificate(serving: Serving, certs: SimpleNamespace) -> None:
    """A ticket of the open listener must not open the closed one."""
    tls = context(certs)
    with connected(serving.ports["tls"], tls) as sock:
        ask(sock)
        session = sock.session
    with pytest.raises(OSError), connected(serving.ports["require"], tls, session=session) as sock:
        ask(sock)


# Certificates that change


def renew(folder: Path, ca: Cert, names: list[str]) -> None:
    """Put another certificate in the place of `live`, key first, each by a rename."""
    fresh = make_cert(folder, names, ca, label="fresh")
    fresh.key.rename(folder / "live.key")
    fresh.cert.rename(folder / "live.pem")


@pytest.mark.parametrize("watch", ["true", "false"])
def test_certificates_are_changed_under_living_connections(gateway: Gateway, certs: SimpleNamespace, free_port: Callable[[], int], watch: str) -> None:
    port = free_port()
    live = make_cert(gateway.folder, ["a.example"], certs.ca, label="live")
    gateway.write("routes: [{path: /, respond: {body: hello}}]", listeners=listener(port, live))
    gateway.config.write_text(gateway.config.read_text().replace("watch: false", f"watch: {watch}"))
    gateway.start()
    with connected(port, context(certs)) as sock:
        old = sock.getpeercert(binary_form=True)
        ask_anything(sock)
        renew(gateway.folder, certs.ca, ["a.example"])
        if watch == "false":
            gateway.hears(signal.SIGHUP)
        until(lambda: gateway.said("reloaded"), 10, "reloaded")
        for _ in range(4):
            with connected(port, context(certs)) as other:
                assert other.getpeercert(binary_form=True) != old
        ask_anything(sock)
        (gateway.folder / "live.pem").write_text("no certificate")
        gateway.hears(signal.SIGHUP)
        until(lambda: gateway.said("reload-refused"), 10, "the broken certificate is refused")
        ask_anything(sock)
        with connected(port, context(certs)) as other:
            ask_anything(other)


def test_warnings_of_certificates_are_shown(gateway: Gateway, certs: SimpleNamespace, free_port: Callable[[], int]) -> None:
    soon = make_cert(gateway.folder, ["soon.example"], certs.ca, days=5)
    gateway.write("routes: [{path: /, respond: {body: hello}}]", listeners=listener(free_port(), soon, certs.a, certs.expired))
    done = subprocess.run([*gateway.command, "check", gateway.config], capture_output=True, text=True, timeout=30, check=False)
    shown = re.sub(r"\s+", " ", done.stdout + done.stderr)
    assert done.returncode == 0, shown
    assert shown.count("expires in") == 1
    assert shown.count("expired") >= 1
    assert len(re.findall(r"certificate[^:]* expired", shown)) == 1, shown
    gateway.start()
    problems = [event["problem"] for event in gateway.said("config-problem")]
    assert len([each for each in problems if "expires in" in each]) == 1
    assert len([each for each in problems if "expired" in each and "gw.yaml:" in each]) == 1


# TLS towards origins


def forward(endpoint: str, tls: str = "", more: str = "") -> str:
    return f"services: {{one: {{endpoints: ['{endpoint}'], {f'tls: {{{tls}}}, ' if tls else ''}{more}}}}}\nroutes: [{{path: /, service: one}}]"


def told(gateway: Gateway, path: str = "/tell") -> dict[str, Any]:
    status, body = gateway.get(path)
    assert status == 200, body
    return dict(json.loads(body))


def test_an_https_endpoint_is_verified_and_kept_open(gateway: Gateway, certs: SimpleNamespace, origins: Origins) -> None:
    port = origins(cert=certs.origin.cert, key=certs.origin.key)
    gateway.environ["SSL_CERT_FILE"] = str(certs.ca.cert)
    gateway.write(forward(f"https://localhost:{port}", more="host: endpoint"))
    gateway.start()
    first = told(gateway)
    assert first["tls"] == {"version": "TLSv1.3", "name": "localhost", "client": None, "alpn": "http/1.1"}
    assert field(first, "host") == f"localhost:{port}"
    assert {told(gateway)["connection"] for _ in range(20)} <= {1, 2}, "one connection a worker"


@pytest.mark.parametrize(
    ("cert", "tls"),
    [("misnamed", "ca: {ca}"), ("selfsigned", "ca: {ca}"), ("expired", "ca: {ca}"), ("origin", ""), ("origin", "ca: {ca}, name: wrong.example")],
)
def test_an_origin_that_cannot_prove_itself(gateway: Gateway, certs: SimpleNamespace, origins: Origins, cert: str, tls: str) -> None:
    shown: Cert = getattr(certs, cert)
    port = origins(cert=shown.cert, key=shown.key)
    gateway.write(forward(f"https://localhost:{port}", tls.format(ca=certs.ca.cert)))
    gateway.start()
    status, body = gateway.get()
    assert status == 502, body
    assert json.loads(body)["type"].endswith("tls-certificate"), body


@pytest.mark.parametrize(("cert", "tls"), [("selfsigned", "verify: false"), ("misnamed", "ca: {ca}, name: elsewhere.example"), ("selfsigned", "ca: {selfsigned}")])
def test_ways_to_trust_an_origin(gateway: Gateway, certs: SimpleNamespace, origins: Origins, cert: str, tls: str) -> None:
    shown: Cert = getattr(certs, cert)
    port = origins(cert=shown.cert, key=shown.key)
    gateway.write(forward(f"127.0.0.1:{port}", tls.format(ca=certs.ca.cert, selfsigned=certs.selfsigned.cert)))
    gateway.start()
    expected = "elsewhere.example" if "name" in tls else None
    assert told(gateway)["tls"]["name"] == expected, "an address is never sent as SNI"


def test_a_client_certificate_for_the_origin(gateway: Gateway, certs: SimpleNamespace, origins: Origins) -> None:
    port = origins(cert=certs.origin.cert, key=certs.origin.key, ca=certs.ca.cert)
    gateway.write(forward(f"localhost:{port}", f"ca: {certs.ca.cert}, certificate: {pair(certs.client)}"))
    gateway.start()
    assert told(gateway)["tls"]["client"] == "Alice"


def test_an_origin_that_wants_a_certificate_we_have_not(gateway: Gateway, certs: SimpleNamespace, origins: Origins) -> None:
    port = origins(cert=certs.origin.cert, key=certs.origin.key, ca=certs.ca.cert)
    gateway.write(forward(f"localhost:{port}", f"ca: {certs.ca.cert}"))
    gateway.start()
    status, body = gateway.get()
    assert status == 502, body


def test_a_plain_origin_where_tls_is_expected(gateway: Gateway, certs: SimpleNamespace, origins: Origins) -> None:
    gateway.write(forward(f"https://localhost:{origins()}", f"ca: {certs.ca.cert}", more="timeouts: {connect: 1s}, retries: 0"))
    gateway.start()
    status, body = gateway.get()
    assert status in (502, 504), body
    assert re.search("tls-failed|connect-timeout", json.loads(body)["type"]), body


def test_a_truncated_answer_is_not_passed_off_as_whole(gateway: Gateway, certs: SimpleNamespace, origins: Origins) -> None:
    """Without close_notify nobody knows whether an answer that ends with its connection is whole (RFC 9112 section 9.8)."""
    port = origins(cert=certs.origin.cert, key=certs.origin.key)
    gateway.write(forward(f"localhost:{port}", f"ca: {certs.ca.cert}"))
    gateway.start()
    with socket.create_connection(("127.0.0.1", gateway.port), 10) as sock:
        sock.sendall(GET.replace(b"/tell", b"/cut"))
        got = end_of(sock)
    assert not got.endswith(b"0\r\n\r\n")


def test_large_bodies_through_tls_on_both_sides(gateway: Gateway, certs: SimpleNamespace, origins: Origins, free_port: Callable[[], int]) -> None:
    port, origin = free_port(), origins(cert=certs.origin.cert, key=certs.origin.key)
    gateway.write(forward(f"localhost:{origin}", f"ca: {certs.ca.cert}").replace("service: one}]", "service: one, max_body: 0}]"), listeners=listener(port, certs.a))
    gateway.start()
    size = 8 * 1024 * 1024
    expected = hashlib.sha256(BLOCK * (size // len(BLOCK))).hexdigest()
    with connected(port, context(certs)) as sock:
        sock.sendall(GET.replace(b"/tell", b"/bytes/%d" % size))
        assert hashlib.sha256(read_answer(sock)[1]).hexdigest() == expected
        head = b"POST /sum HTTP/1.1\r\nHost: a.example\r\nContent-Length: %d\r\n\r\n" % size
        assert ask(sock, head + BLOCK * (size // len(BLOCK)))["sum"] == expected
        assert ask(sock)["connection"] == 1, "one handshake with the origin for all"


def test_a_websocket_tunnel_through_tls_on_both_sides(gateway: Gateway, certs: SimpleNamespace, origins: Origins, free_port: Callable[[], int]) -> None:
    port, origin = free_port(), origins(cert=certs.origin.cert, key=certs.origin.key)
    gateway.write(forward(f"localhost:{origin}", f"ca: {certs.ca.cert}"), listeners=listener(port, certs.a))
    gateway.start()
    with connected(port, context(certs)) as sock:
        sock.sendall(b"GET /upgrade HTTP/1.1\r\nHost: a.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        assert sock.recv(65536).startswith(b"HTTP/1.1 101")
        sent = frame(bytes(range(256)) * 4000)
        assert echoed(sock, sent) == sent
