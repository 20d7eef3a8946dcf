"""The policy `mtls`: callers by the certificates they prove in the handshake."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gw.config import load
from gw.config.model import Consumer
from gw.errors import ConfigError
from gw.policy import Tools
from gw.policy.mtls import Config, build, names
from gw.runtime import compile_snapshot
from tests.certs import Cert, make_ca, make_cert
from tests.unit.fast.rig import Client, Origin, Rig, behind


@pytest.fixture(scope="module")
def certs(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    folder = tmp_path_factory.mktemp("certs")
    ca, other = make_ca(folder), make_ca(folder, "other")
    return SimpleNamespace(
        ca=ca,
        server=make_cert(folder, ["localhost"], ca),
        alice=make_cert(folder, ["alice"], ca, subject="/O=Test/CN=Alice", sans="DNS:alice.example,URI:spiffe://test/alice"),
        bob=make_cert(folder, ["bob"], ca, subject="/CN=Bob, the builder", sans="email:bob@example.org"),
        carol=make_cert(folder, ["carol"], ca, subject="/CN=carol", sans=""),
        stranger=make_cert(folder, ["stranger"], other, subject="/CN=Alice", sans="DNS:alice.example"),
    )


class TlsRig(Rig):
    """Behind a listener that asks for certificates."""

    certs: Any

    def snapshot(self, config: str, revision: int) -> Any:
        path = self.folder / "gw.yaml"
        tls = f"{{certificates: [{{cert: {self.certs.server.cert}, key: {self.certs.server.key}}}], client_certificates: {{ca: {self.certs.ca.cert}, mode: optional}}}}"
        path.write_text(f"listeners: [{{bind: '127.0.0.1:1', tls: {tls}}}]\nadmin: null\n{config}")
        return compile_snapshot(load(path).config, revision, self.segment, self.folder)


class TlsClient(Client):
    """Shows a certificate, or none."""

    def __init__(self, port: int, cert: Cert | None) -> None:
        super().__init__(port)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        if cert:
            context.load_cert_chain(cert.cert, cert.key)
        self.file.close()
        self.sock = context.wrap_socket(self.sock)
        self.file = self.sock.makefile("rb")


@pytest.fixture
def client(tmp_path: Path, certs: SimpleNamespace) -> Iterator[Callable[..., Client]]:
    """Of a gateway whose only route has the policy with these settings: who shows this certificate."""
    origin = Origin()
    open_now: list[Any] = []
    TlsRig.certs = certs

    def make(settings: str, cert: Cert | None, consumers: str, policy: str = "mtls") -> Client:
        rig = TlsRig(tmp_path, behind(origin, f"{policy}: {settings}", more=f"consumers: {consumers}"))
        asking = TlsClient(rig.port, cert)
        open_now.extend((asking, rig))
        return asking

    yield make
    for each in [*open_now, origin]:
        each.close()


@pytest.mark.parametrize(
    ("who", "certificate"),
    [
        ("alice", "CN=Alice"),
        ("alice", "DNS:alice.example"),
        ("alice", "URI:spiffe://test/alice"),
        ("bob", "CN=Bob, the builder"),
        ("bob", "email:bob@example.org"),
        ("carol", "CN=carol"),
    ],
)
def test_each_kind_of_name_says_who_calls(client: Callable[..., Client], certs: SimpleNamespace, who: str, certificate: str) -> None:
    asking = client("{}", getattr(certs, who), f"{{nobody: {{certificates: ['CN=nobody']}}, {who}: {{groups: [staff], certificates: ['{certificate}']}}}}")
    for _ in range(2):
        answer = asking.ask("/")
        assert answer.status == 200
        assert answer.sent("X-Consumer") == [who]
        assert answer.sent("X-Consumer-Groups") == ["staff"]
        assert len(answer.sent("X-Credential")[0]) == 64


def test_a_fingerprint_says_who_calls_and_wins_over_names(client: Callable[..., Client], certs: SimpleNamespace) -> None:
    fingerprint = client("{accept: verified}", certs.alice, "{}").ask("/").sent("X-Credential")[0]
    consumers = f"{{names: {{certificates: ['CN=Alice', 'DNS:alice.example']}}, exact: {{certificates: ['sha256:{fingerprint}']}}}}"
    assert client("{}", certs.alice, consumers).ask("/").sent("X-Consumer") == ["exact"]


def test_a_certificate_that_names_nobody_is_enough_only_where_any_is(client: Callable[..., Client], certs: SimpleNamespace) -> None:
    consumers = "{alice: {certificates: ['CN=alice', 'DNS:lice.example', 'DNS:Alice', 'URI:spiffe://test']}}"
    answer = client("{}", certs.alice, consumers).ask("/")
    assert answer.status == 401
    assert b"invalid-credential" in answer.body
    taken = client("{accept: verified}", certs.alice, consumers).ask("/")
    assert taken.sent("X-Consumer") == []
    assert taken.sent("X-Subject") == ["CN=Alice,O=Test"]


def test_without_a_certificate_nothing_counts_that_a_client_writes(client: Callable[..., Client], certs: SimpleNamespace) -> None:
    forged = ["X-Client-Cert: alice", "X-SSL-Client-S-DN: CN=Alice", "X-Forwarded-Client-Cert: Subject=\"CN=Alice\"", "Client-Cert: :MIIB:"]
    answer = client("{}", None, "{alice: {certificates: ['CN=Alice']}}").ask("/", *forged)
    assert answer.status == 401
    assert b"no-credential" in answer.body
    assert answer.one("WWW-Authenticate") == "Certificate"


def test_a_certificate_of_another_authority_does_not_get_through_the_handshake(client: Callable[..., Client], certs: SimpleNamespace) -> None:
    with pytest.raises((ssl.SSLError, ConnectionError, AssertionError)):
        client("{accept: verified}", certs.stranger, "{}").ask("/")


def test_who_shows_nothing_may_be_anonymous_and_who_shows_a_stranger_s_may_not(client: Callable[..., Client], certs: SimpleNamespace) -> None:
    consumers = "{alice: {certificates: ['CN=Alice']}}"
    assert client("[mtls, anonymous]", None, consumers, "any-of").ask("/").status == 200
    assert client("[mtls, anonymous]", certs.bob, consumers, "any-of").ask("/").status == 401


def test_plain_connections_have_no_certificate(tmp_path: Path) -> None:
    origin = Origin()
    rig = Rig(tmp_path, behind(origin, "mtls: {accept: verified}"))
    with Client(rig.port) as asking:
        assert b"no-credential" in asking.ask("/").body
    rig.close()
    origin.close()


def shown(subject: str, *sans: str) -> Any:
    return SimpleNamespace(subject=subject, sans=list(sans), fingerprint="f")


@pytest.mark.parametrize(
    ("subject", "common"),
    [
        ("CN=alice,O=x", ["CN=alice"]),
        ("O=x,CN=alice", ["CN=alice"]),
        ("O=CN\\=x\\,CN=alice,CN=bob", ["CN=bob"]),
        ("O=a\\,CN=alice", []),
        ("OU=b+CN=alice,O=x", ["CN=alice"]),
        ("CN=alice,CN=bob", []),
        ("CN=alice+CN=bob", []),
        ("CN=J\\C3\\BCrgen \\\"x\\\"", ["CN=Jürgen \"x\""]),
        ("CN=back\\\\slash", ["CN=back\\slash"]),
        ("UCN=alice", []),
        ("", []),
    ],
)
def test_a_common_name_is_read_only_where_it_is_one(subject: str, common: list[str]) -> None:
    assert list(names(shown(subject, "IP:10.0.0.1", "DNS:a"))) == ["sha256:f", "DNS:a", *common]


def test_a_gateway_without_certificates_says_so() -> None:
    tools = Tools("a", "$.policies[0]", consumers={"bob": Consumer()})
    with pytest.raises(ConfigError, match="no consumer has a certificate"):
        build(Config(), tools)
    assert build(Config(accept="verified"), tools).request
