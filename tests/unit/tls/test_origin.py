"""The kernel as a client of origins, against Python's ssl and against itself."""

from __future__ import annotations

import ssl
from pathlib import Path
from types import SimpleNamespace

import pytest

from gw._fast.tls import ERROR, OK, ClientContext, ServerContext, TlsSocket
from tests.certs import Cert, make_cert
from tests.unit.tls.link import Ours, Theirs, pair, shake


def serve(cert: Cert, client: ClientContext, name: str, **options: object) -> tuple[Ours, Theirs]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*cert.pair)
    context.set_alpn_protocols(["http/1.1"])
    for key, value in options.items():
        setattr(context, key, value)
    left, right = pair()
    ours, theirs = Ours(left, client, name), Theirs(right, context, server=True)
    shake(ours, theirs)
    return ours, theirs


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_verified_connection(certs: SimpleNamespace, version: ssl.TLSVersion) -> None:
    ours, theirs = serve(certs.a, ClientContext(ca=certs.ca.cert), "a.example", maximum_version=version)
    info = ours.tls.info()
    assert (info.name, info.alpn, info.verified, info.subject) == ("a.example", "http/1.1", True, "CN=a.example")
    assert ours.tls.send(b"ping") == 4
    assert theirs.recv() == b"ping"
    theirs.tls.send(b"pong")
    assert ours.tls.recv(10) == b"pong"


@pytest.mark.parametrize(
    ("cert", "name", "reason"),
    [
        ("a", "a.example", None),
        ("a", "A.EXAMPLE", None),
        ("wild", "x.wild.example", None),
        ("address", "127.0.0.1", None),
        ("address", "::1", None),
        ("a", "b.example", "hostname mismatch"),
        ("wild", "x.y.wild.example", "hostname mismatch"),
        ("address", "127.0.0.2", "IP address mismatch"),
        ("a", "127.0.0.1", "IP address mismatch"),
        ("expired", "expired.example", "certificate has expired"),
        ("own", "own.example", "self-signed certificate"),
        ("stranger", "stranger", "unable to get local issuer certificate"),
    ],
)
def test_verification(certs: SimpleNamespace, cert: str, name: str, reason: str | None) -> None:
    ours, _ = serve(getattr(certs, cert), ClientContext(ca=certs.ca.cert), name)
    if reason is None:
        assert ours.state == OK
        assert ours.tls.info().verified
        return
    assert (ours.state, ours.tls.failure(), ours.tls.error()) == (ERROR, "certificate", f"certificate refused: {reason}")
    lax, _ = serve(getattr(certs, cert), ClientContext(verify=False), name)
    assert lax.state == OK
    assert not lax.tls.info().verified


def test_the_common_name_is_not_believed(certs: SimpleNamespace) -> None:
    bare = make_cert(certs.folder, ["bare.example"], certs.ca, sans="")
    assert serve(bare, ClientContext(ca=certs.ca.cert), "bare.example")[0].tls.failure() == "certificate"


def test_a_pinned_certificate_is_an_authority_for_itself(certs: SimpleNamespace) -> None:
    assert serve(certs.a, ClientContext(ca=certs.a.cert), "a.example")[0].state == OK


def test_the_systems_authorities_do_not_know_ours(certs: SimpleNamespace) -> None:
    assert serve(certs.a, ClientContext(), "a.example")[0].tls.failure() == "certificate"


def test_the_systems_authorities_are_read_again_when_they_change(certs: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = tmp_path / "bundle.pem"
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    for file, expected in ((certs.other.cert, ERROR), (certs.ca.cert, OK), (None, ERROR)):
        bundle.unlink(missing_ok=True)
        if file:
            bundle.write_bytes(file.read_bytes())
        assert serve(certs.a, ClientContext(), "a.example")[0].state == expected


def test_no_name_no_verification_no_connection(certs: SimpleNamespace) -> None:
    left, _ = pair()
    with pytest.raises(ValueError, match="no name to verify the peer by"):
        TlsSocket(left.fileno(), ClientContext(ca=certs.ca.cert))
    assert serve(certs.a, ClientContext(verify=False), "")[0].state == OK


@pytest.mark.parametrize(("shown", "kind"), [("client", None), ("stranger", "alert"), (None, "alert")])
def test_our_certificate_is_shown_to_the_origin(certs: SimpleNamespace, shown: str | None, kind: str | None) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certs.a.pair)
    context.load_verify_locations(str(certs.ca.cert))
    context.verify_mode = ssl.CERT_REQUIRED
    left, right = pair()
    client = ClientContext(ca=certs.ca.cert, certificate=getattr(certs, shown).pair if shown else None)
    ours, theirs = Ours(left, client, "a.example"), Theirs(right, context, server=True)
    shake(ours, theirs)
    if kind is None:
        certificate = theirs.tls.getpeercert()
        assert certificate is not None
        assert ("URI", "spiffe://acme/client-1") in certificate["subjectAltName"]
        return
    assert ours.tls.recv(10) == ERROR
    assert ours.tls.failure() == kind
    assert ours.tls.error().startswith("alert received: ")


def test_old_origins_are_refused(certs: SimpleNamespace) -> None:
    ours, _ = serve(certs.a, ClientContext(ca=certs.ca.cert, min_version="1.3"), "a.example", maximum_version=ssl.TLSVersion.TLSv1_2)
    assert ours.state == ERROR


def test_gw_to_gw(certs: SimpleNamespace, ticket_keys: list[bytes]) -> None:
    left, right = pair()
    server = Ours(left, ServerContext([certs.a.pair], client_ca=certs.ca.cert, ticket_keys=ticket_keys))
    client = Ours(right, ClientContext(ca=certs.ca.cert, certificate=certs.client.pair), "a.example")
    shake(server, client)
    assert server.tls.info().verified
    assert client.tls.info().verified
    assert client.tls.send(b"over") == 4
    assert server.tls.recv(10) == b"over"
