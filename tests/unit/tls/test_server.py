"""The kernel as a server, against Python's ssl."""

from __future__ import annotations

import contextlib
import gc
import random
import resource
import socket
import ssl
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gw._fast.tls import EOF, ERROR, OK, WANT_READ, WANT_WRITE, ClientContext, ServerContext
from gw._fast.x509 import read_certificates
from tests.unit.tls.link import Ours, Theirs, connect, pair, shake, trusting

VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


def shown(theirs: Theirs) -> str:
    """Serial of the certificate the server showed."""
    certificate = theirs.tls.getpeercert()
    assert certificate is not None
    return str(certificate["serialNumber"])


def serial(cert: object) -> str:
    return read_certificates(cert.cert)[0]["serial"]  # type: ignore[attr-defined]


@pytest.mark.parametrize("version", VERSIONS)
def test_bytes_travel_both_ways_and_close_notify_ends_them(certs: SimpleNamespace, version: ssl.TLSVersion) -> None:
    ours, theirs = connect(ServerContext([certs.a.pair]), trusting(certs.ca, maximum_version=version), "a.example")
    assert ours.state == OK
    assert ours.tls.info().protocol == theirs.tls.version()
    assert ours.tls.info().name == "a.example"
    theirs.tls.send(b"ping")
    assert ours.tls.recv(100) == b"ping"
    assert ours.tls.recv(100) == WANT_READ
    assert ours.tls.send(b"pong") == 4
    assert theirs.recv() == b"pong"
    with pytest.raises(ssl.SSLWantReadError):
        theirs.tls.unwrap()
    assert ours.tls.recv(100) == EOF
    assert ours.tls.recv(100) == EOF
    ours.tls.shutdown()
    ours.tls.shutdown()
    theirs.tls.unwrap()


def test_a_cut_is_an_error_not_an_end(certs: SimpleNamespace) -> None:
    ours, theirs = connect(ServerContext([certs.a.pair]), trusting(certs.ca), "a.example")
    theirs.tls.send(b"half")
    socket.socket(fileno=theirs.tls.detach()).close()
    assert ours.tls.recv(100) == b"half"
    assert ours.tls.recv(100) == ERROR
    assert ours.tls.failure() == "closed"
    assert ours.tls.error() == "closed without close_notify"
    assert ours.tls.recv(100) == ERROR
    assert ours.tls.send(b"x") == ERROR


def test_a_reset_is_a_system_failure(certs: SimpleNamespace) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    client = socket.create_connection(listener.getsockname())
    accepted, _ = listener.accept()
    ours, theirs = Ours(accepted, ServerContext([certs.a.pair])), Theirs(client, trusting(certs.ca), "a.example")
    shake(ours, theirs)
    raw = socket.socket(fileno=theirs.tls.detach())
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    raw.close()
    assert ours.tls.recv(100) == ERROR
    assert (ours.tls.failure(), ours.tls.error()) == ("system", "Connection reset by peer")
    listener.close()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.example", "a"),
        ("A.Example", "a"),
        ("alias.example", "a"),
        ("wild.example", "wild"),
        ("x.wild.example", "wild"),
        ("b.wild.example", "under"),
        ("x.y.wild.example", "a"),
        ("unknown.example", "a"),
        ("wild", "a"),
        (None, "a"),
    ],
)
def test_certificate_by_name(certs: SimpleNamespace, name: str | None, expected: str) -> None:
    server = ServerContext([certs.a.pair, certs.wild.pair, certs.under.pair])
    ours, theirs = connect(server, trusting(certs.ca, check_hostname=False), name)
    assert ours.state == OK
    assert shown(theirs) == serial(getattr(certs, expected))
    assert ours.tls.info().name == (name or "").lower()


def test_names_are_listed_in_order(certs: SimpleNamespace) -> None:
    server = ServerContext([certs.a.pair, certs.wild.pair])
    assert server.names == ["a.example", "alias.example", "*.wild.example", "wild.example"]
    assert repr(server) == "<ServerContext a.example, alias.example, *.wild.example, wild.example>"


@pytest.mark.parametrize("first", ["a", "a_rsa"])
def test_rsa_and_ecdsa_of_one_name_serve_both_kinds_of_client(certs: SimpleNamespace, first: str) -> None:
    second = {"a": "a_rsa", "a_rsa": "a"}[first]
    server = ServerContext([certs.under.pair, getattr(certs, first).pair, getattr(certs, second).pair])
    for ciphers, expected in (("ECDHE-ECDSA-AES128-GCM-SHA256", "a"), ("ECDHE-RSA-AES128-GCM-SHA256", "a_rsa")):
        client = trusting(certs.ca, maximum_version=ssl.TLSVersion.TLSv1_2)
        client.set_ciphers(ciphers)
        ours, theirs = connect(server, client, "a.example")
        assert ours.state == OK
        assert shown(theirs) == serial(getattr(certs, expected))


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(("offered", "agreed"), [([], ""), (["http/1.1"], "http/1.1"), (["h2", "http/1.1"], "http/1.1")])
def test_alpn(certs: SimpleNamespace, version: ssl.TLSVersion, offered: list[str], agreed: str) -> None:
    client = trusting(certs.ca, maximum_version=version)
    if offered:
        client.set_alpn_protocols(offered)
    ours, theirs = connect(ServerContext([certs.under.pair, certs.a.pair]), client, "a.example")
    assert ours.tls.info().alpn == agreed
    assert theirs.tls.selected_alpn_protocol() == (agreed or None)


def test_alpn_follows_our_preference_and_refuses_without_common_protocol(certs: SimpleNamespace) -> None:
    server = ServerContext([certs.a.pair], alpn=["h2", "http/1.1"])
    client = trusting(certs.ca)
    client.set_alpn_protocols(["http/1.1", "h2"])
    assert connect(server, client, "a.example")[0].tls.info().alpn == "h2"
    client.set_alpn_protocols(["spdy/3"])
    ours, theirs = connect(server, client, "a.example")
    assert ours.state == ERROR
    assert "no application protocol" in str(theirs.error).replace("_", " ").lower()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_old_versions_are_refused(certs: SimpleNamespace, version: ssl.TLSVersion) -> None:
    client = trusting(certs.ca, minimum_version=version, maximum_version=version)
    client.set_ciphers("ALL:@SECLEVEL=0")
    ours, theirs = connect(ServerContext([certs.a.pair]), client, "a.example")
    assert (ours.state, ours.tls.failure(), ours.tls.error()) == (ERROR, "protocol", "unsupported protocol")
    assert theirs.error is not None


def test_min_version_1_3(certs: SimpleNamespace) -> None:
    server = ServerContext([certs.a.pair], min_version="1.3")
    assert connect(server, trusting(certs.ca, maximum_version=ssl.TLSVersion.TLSv1_2), "a.example")[0].state == ERROR
    assert connect(server, trusting(certs.ca), "a.example")[0].tls.info().protocol == "TLSv1.3"


def session_of(ours: Ours, theirs: Theirs) -> ssl.SSLSession:
    ours.tls.send(b"x")
    assert theirs.recv() == b"x"
    assert theirs.tls.session is not None
    return theirs.tls.session


@pytest.mark.parametrize("version", VERSIONS)
class TestResumption:
    def client(self, certs: SimpleNamespace, version: ssl.TLSVersion) -> ssl.SSLContext:
        return trusting(certs.ca, maximum_version=version)

    def test_across_contexts_with_the_same_keys(self, certs: SimpleNamespace, version: ssl.TLSVersion, ticket_keys: list[bytes]) -> None:
        client = self.client(certs, version)
        session = session_of(*connect(ServerContext([certs.under.pair, certs.a.pair], ticket_keys=ticket_keys), client, "a.example"))
        ours, theirs = connect(ServerContext([certs.under.pair, certs.a.pair], ticket_keys=ticket_keys), client, "a.example", session)
        assert ours.tls.info().resumed
        assert theirs.tls.session_reused
        assert ours.tls.info().name == "a.example"

    def test_other_keys_mean_a_full_handshake(self, certs: SimpleNamespace, version: ssl.TLSVersion, ticket_keys: list[bytes]) -> None:
        client = self.client(certs, version)
        session = session_of(*connect(ServerContext([certs.a.pair], ticket_keys=ticket_keys), client, "a.example"))
        ours, _ = connect(ServerContext([certs.a.pair], ticket_keys=[bytes(80)]), client, "a.example", session)
        assert ours.state == OK
        assert not ours.tls.info().resumed

    def test_a_rotated_key_still_decrypts_and_the_ticket_is_renewed(self, certs: SimpleNamespace, version: ssl.TLSVersion, ticket_keys: list[bytes]) -> None:
        client, server = self.client(certs, version), ServerContext([certs.a.pair], ticket_keys=ticket_keys)
        session = session_of(*connect(server, client, "a.example"))
        server.set_ticket_keys([b"n" * 80, *ticket_keys])
        ours, theirs = connect(server, client, "a.example", session)
        assert ours.tls.info().resumed
        renewed = session_of(ours, theirs)
        server.set_ticket_keys([b"n" * 80])
        assert connect(server, client, "a.example", renewed)[0].tls.info().resumed
        assert not connect(server, client, "a.example", session)[0].tls.info().resumed

    def test_off(self, certs: SimpleNamespace, version: ssl.TLSVersion) -> None:
        client, server = self.client(certs, version), ServerContext([certs.a.pair])
        ours, theirs = connect(server, client, "a.example")
        ours.tls.send(b"x")
        assert theirs.recv() == b"x"
        assert theirs.tls.session is None or not theirs.tls.session.has_ticket
        with pytest.raises(ValueError, match="without tickets"):
            server.set_ticket_keys([bytes(80)])

    def test_not_where_other_client_certificates_are_asked(self, certs: SimpleNamespace, version: ssl.TLSVersion, ticket_keys: list[bytes]) -> None:
        client = self.client(certs, version)
        session = session_of(*connect(ServerContext([certs.a.pair], ticket_keys=ticket_keys), client, "a.example"))
        asks = ServerContext([certs.a.pair], ticket_keys=ticket_keys, client_ca=certs.ca.cert)
        ours, _ = connect(asks, client, "a.example", session)
        assert (ours.state, ours.tls.failure()) == (ERROR, "certificate")

    def test_keeps_the_verified_identity(self, certs: SimpleNamespace, version: ssl.TLSVersion, ticket_keys: list[bytes]) -> None:
        client, server = self.client(certs, version), ServerContext([certs.a.pair], ticket_keys=ticket_keys, client_ca=certs.ca.cert)
        client.load_cert_chain(*certs.client.pair)
        first, theirs = connect(server, client, "a.example")
        session = session_of(first, theirs)
        second, _ = connect(server, client, "a.example", session)
        assert second.tls.info().resumed
        assert second.tls.info().verified
        assert second.tls.info().subject == first.tls.info().subject != ""


@pytest.mark.parametrize("keys", [[], [b"short"], [bytes(80)] * 9])
def test_ticket_keys_of_the_wrong_shape(certs: SimpleNamespace, keys: list[bytes]) -> None:
    with pytest.raises(ValueError, match="ticket keys: 1 to 8 keys of 80 bytes are expected"):
        ServerContext([certs.a.pair], ticket_keys=keys)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("mode", "shows", "failure"),
    [
        ("require", "client", None),
        ("optional", "client", None),
        ("require", None, "certificate"),
        ("optional", None, None),
        ("require", "stranger", "certificate"),
        ("optional", "stranger", "certificate"),
    ],
)
def test_client_certificates(certs: SimpleNamespace, version: ssl.TLSVersion, mode: str, shows: str | None, failure: str | None) -> None:
    client = trusting(certs.ca, maximum_version=version)
    if shows:
        client.load_cert_chain(*getattr(certs, shows).pair)
    server = ServerContext([certs.under.pair, certs.a.pair], client_ca=certs.ca.cert, client_mode=mode)
    ours, _ = connect(server, client, "a.example")
    if failure:
        assert (ours.state, ours.tls.failure()) == (ERROR, failure)
        assert ours.tls.error().startswith("certificate refused: ")
        return
    info = ours.tls.info()
    assert info.verified == (shows == "client")
    if shows:
        told = read_certificates(certs.client.cert)[0]
        assert info.subject == told["subject"] == r"CN=client-1,O=Acme\, Inc."
        assert info.sans == ["DNS:client-1", "URI:spiffe://acme/client-1", "email:a@b.example", "IP:10.0.0.1"]
        assert (info.fingerprint, info.serial) == (told["fingerprint"], told["serial"])
        assert not info.truncated


def test_handshake_byte_by_byte(certs: SimpleNamespace) -> None:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = trusting(certs.ca).wrap_bio(incoming, outgoing, server_hostname="a.example")
    left, right = pair()
    ours = Ours(left, ServerContext([certs.a.pair]))
    right.setblocking(False)
    finished = False
    for _ in range(10):
        try:
            client.do_handshake()
            finished = True
        except ssl.SSLWantReadError:
            pass
        for byte in outgoing.read():
            right.send(bytes([byte]))
            ours.step()
        if finished and ours.done:
            break
        incoming.write(right.recv(65536))
    assert ours.state == OK
    client.write(b"slow")
    for byte in outgoing.read():
        assert ours.tls.recv(100) == WANT_READ
        right.send(bytes([byte]))
    assert ours.tls.recv(100) == b"slow"


def answer_to(server: ServerContext, data: bytes) -> Ours:
    left, right = pair()
    ours = Ours(left, server)
    right.sendall(data)
    right.shutdown(socket.SHUT_WR)
    for _ in range(20):
        ours.step()
    right.close()
    return ours


@pytest.fixture(scope="module")
def plain_server(certs: SimpleNamespace) -> ServerContext:
    return ServerContext([certs.a.pair], ticket_keys=[bytes(80)], client_ca=certs.ca.cert, client_mode="optional")


@pytest.fixture(scope="module")
def client_hello(certs: SimpleNamespace) -> bytes:
    outgoing = ssl.MemoryBIO()
    client = trusting(certs.ca)
    client.set_alpn_protocols(["http/1.1"])
    with pytest.raises(ssl.SSLWantReadError):
        client.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="a.example").do_handshake()
    return outgoing.read()


@pytest.mark.parametrize("data", [b"", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"\x16\x03\x01\x00", b"\x80\x2e\x01\x00\x02", bytes(5000), b"\x16\x03\x01\xff\xff" + bytes(70000)])
def test_garbage_ends_in_an_error(plain_server: ServerContext, data: bytes) -> None:
    ours = answer_to(plain_server, data)
    assert ours.state == ERROR
    assert ours.tls.failure() in (["http"] if data.startswith(b"GET") else ["protocol", "closed"])
    assert ours.tls.error()


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_a_damaged_hello_never_succeeds(plain_server: ServerContext, client_hello: bytes, data: st.DataObject) -> None:
    hello = bytearray(client_hello)
    for at, value in data.draw(st.lists(st.tuples(st.integers(0, len(hello) - 1), st.integers(0, 255)), min_size=1, max_size=8)):
        hello[at] = value
    cut = data.draw(st.integers(0, len(hello)))
    assert answer_to(plain_server, bytes(hello[:cut])).state == ERROR


def test_many_records_fill_one_call(certs: SimpleNamespace) -> None:
    ours, theirs = connect(ServerContext([certs.a.pair]), trusting(certs.ca), "a.example")
    for i in range(50):
        theirs.tls.send(b"%03d" % i)
    assert ours.tls.recv(1000) == b"".join(b"%03d" % i for i in range(50))
    assert not ours.tls.pending()


def test_pending_tells_of_bytes_epoll_does_not_see(certs: SimpleNamespace) -> None:
    ours, theirs = connect(ServerContext([certs.a.pair]), trusting(certs.ca), "a.example")
    theirs.tls.send(b"abcdef")
    theirs.tls.send(b"ghi")
    assert ours.tls.recv(4) == b"abcd"
    assert ours.tls.pending()
    assert ours.tls.recv(4) == b"efgh"
    assert ours.tls.pending()
    assert ours.tls.recv(4) == b"i"
    while ours.tls.pending():
        assert ours.tls.recv(4) == WANT_READ


def test_bytes_that_come_with_the_end_come_first(certs: SimpleNamespace) -> None:
    ours, theirs = connect(ServerContext([certs.a.pair]), trusting(certs.ca), "a.example")
    theirs.tls.send(b"last")
    with pytest.raises(ssl.SSLWantReadError):
        theirs.tls.unwrap()
    assert ours.tls.recv(100) == b"last"
    assert ours.tls.pending()
    assert ours.tls.recv(100) == EOF


def test_early_bytes_wait_behind_the_handshake(certs: SimpleNamespace) -> None:
    """The last flight and the first request arrive in one read: nothing of it may be lost to a sleeping epoll."""
    left, right = pair()
    ours, theirs = Ours(left, ServerContext([certs.a.pair])), Theirs(right, trusting(certs.ca), "a.example")
    while not theirs.done:
        theirs.step()
        if not theirs.done:
            ours.step()
    theirs.tls.send(b"request")
    ours.step()
    assert ours.state == OK
    assert ours.tls.pending()
    assert ours.tls.recv(100) == b"request"


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("seed", range(5))
def test_partial_writes_with_other_buffers_and_sizes(certs: SimpleNamespace, version: ssl.TLSVersion, seed: int) -> None:
    """A full socket takes part of a record; each retry brings a new buffer of any size, down to one byte."""
    ours, theirs = connect(ServerContext([certs.a.pair]), trusting(certs.ca, maximum_version=version), "a.example")
    ours.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    rng = random.Random(seed)
    wanted = rng.randbytes(600_000)
    sent, got, blocked = 0, bytearray(), 0
    while len(got) < len(wanted):
        if sent < len(wanted):
            taken = ours.tls.send(wanted[sent : sent + rng.choice([1, 100, 5000, 16384, 40000, 100_000])])
            assert taken > 0 or taken == WANT_WRITE
            blocked += taken == WANT_WRITE
            sent += max(taken, 0)
        if rng.random() < 0.3 or sent == len(wanted):
            got += theirs.recv(rng.choice([10, 3000, 30000])) or b""
    assert bytes(got) == wanted
    assert blocked


def test_large_transfers_in(certs: SimpleNamespace) -> None:
    ours, theirs = connect(ServerContext([certs.a.pair]), trusting(certs.ca), "a.example")
    wanted = random.Random(1).randbytes(1_000_000)
    sent, got = 0, bytearray()
    while len(got) < len(wanted):
        with contextlib.suppress(ssl.SSLWantWriteError):
            sent += theirs.tls.send(wanted[sent : sent + 50_000]) if sent < len(wanted) else 0
        while isinstance(data := ours.tls.recv(65536), bytes):
            got += data
        assert data == WANT_READ
    assert bytes(got) == wanted


def test_a_reload_leaves_connections_on_their_context(certs: SimpleNamespace, ticket_keys: list[bytes]) -> None:
    server = ServerContext([certs.under.pair, certs.a.pair], ticket_keys=ticket_keys)
    left, right = pair()
    ours, theirs = Ours(left, server), Theirs(right, trusting(certs.ca), "a.example")
    theirs.step()
    del server
    gc.collect()
    shake(ours, theirs)
    assert ours.tls.info().name == "a.example"
    assert session_of(ours, theirs).has_ticket


def test_nothing_leaks(certs: SimpleNamespace) -> None:
    client = trusting(certs.ca)

    def cycle() -> None:
        server = ServerContext([certs.a.pair, certs.wild.pair], ticket_keys=[bytes(80)], client_ca=certs.ca.cert, client_mode="optional")
        for name in ("a.example", "wild.example"):
            ours, theirs = connect(server, client, name)
            theirs.tls.send(b"x" * 20000)
            ours.tls.recv(30000)
            ours.close()
            theirs.close()
        failed = answer_to(server, b"garbage")
        failed.close()
        ClientContext(ca=certs.ca.cert, certificate=certs.client.pair)
        with pytest.raises(ValueError, match="belong"):
            ServerContext([(certs.a.pair[0], certs.wild.pair[1])])

    for _ in range(50):
        cycle()
    gc.collect()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(150):
        cycle()
    gc.collect()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1500  # KiB; one leaked SSL_CTX a cycle would be ten times that
