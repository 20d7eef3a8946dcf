"""Construction: every mistake gives one sentence; certificates tell who they are."""

from __future__ import annotations

import calendar
import hashlib
import re
import ssl
from pathlib import Path
from types import SimpleNamespace

import pytest

from gw._fast.tls import ClientContext, ServerContext
from gw._fast.x509 import read_certificates
from tests.certs import make_ca, make_cert, openssl
from tests.unit.tls.link import connect, trusting


def test_pem_as_bytes(certs: SimpleNamespace) -> None:
    server = ServerContext([(certs.a.cert.read_bytes(), certs.a.key.read_bytes())])
    assert server.names == ["a.example", "alias.example"]


def test_the_chain_is_sent(certs: SimpleNamespace, tmp_path: Path) -> None:
    middle = make_cert(tmp_path, ["middle"], certs.ca)
    (tmp_path / "middle.ext").write_text("basicConstraints=CA:TRUE\n")
    openssl("req", "-new", "-key", middle.key, "-subj", "/CN=middle", "-out", tmp_path / "m.csr")
    openssl("x509", "-req", "-in", tmp_path / "m.csr", "-CA", certs.ca.cert, "-CAkey", certs.ca.key, "-CAcreateserial", "-extfile", tmp_path / "middle.ext", "-out", middle.cert)
    leaf = make_cert(tmp_path, ["leaf.example"], middle)
    leaf.cert.write_bytes(leaf.cert.read_bytes() + middle.cert.read_bytes())
    _, theirs = connect(ServerContext([leaf.pair]), trusting(certs.ca), "leaf.example")
    assert theirs.error is None


@pytest.mark.parametrize(
    ("cert", "key", "expected"),
    [
        ("missing", "a.key", r"/missing: cannot read the certificate: No such file or directory$"),
        ("folder", "a.key", r"/folder: cannot read the certificate: Is a directory$"),
        ("a.cert", "missing", r"/missing: cannot read the private key: No such file or directory$"),
        ("text", "a.key", r"/text: no PEM certificate in it$"),
        ("a.key", "a.key", r"key: no PEM certificate in it$"),
        ("damaged", "a.key", r"/damaged: certificate 2 in it is damaged$"),
        ("a.cert", "a.cert", r"pem: no PEM private key in it$"),
        ("a.cert", "locked", r"/locked: the private key is protected by a password; store it without$"),
        ("a.cert", "wild.key", r"_.wild.example-ec.key: the private key does not belong to the first certificate in .*a.example-ec.pem$"),
        ("weak", "weak.key", r"/weak: OpenSSL refuses the certificate: ee key too small$"),
    ],
)
def test_mistakes_name_the_file(certs: SimpleNamespace, tmp_path: Path, cert: str, key: str, expected: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "text").write_text("hello")
    pem = certs.a.cert.read_text()
    (tmp_path / "damaged").write_text(pem + pem.replace("MII", "AAA"))
    openssl("ec", "-in", certs.a.key, "-aes128", "-passout", "pass:x", "-out", tmp_path / "locked")
    openssl("req", "-x509", "-newkey", "rsa:1024", "-nodes", "-subj", "/CN=weak", "-keyout", tmp_path / "weak.key", "-out", tmp_path / "weak")
    files = {"a.cert": certs.a.cert, "a.key": certs.a.key, "wild.key": certs.wild.key}
    with pytest.raises(ValueError, match=expected) as caught:
        ServerContext([certs.under.pair, (files.get(cert, tmp_path / cert), files.get(key, tmp_path / key))])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"min_version": "1.1"}, r"min_version '1.1' is not one of 1.2, 1.3"),
        ({"ciphers": "NOTHING"}, r"ciphers 'NOTHING': OpenSSL knows none of them"),
        ({"client_mode": "maybe"}, r"client_mode 'maybe' is not one of require, optional"),
        ({"client_ca": b"none"}, r"client CA: no PEM certificate in it"),
        ({"alpn": ["x" * 65]}, r"alpn: the list takes 66 bytes, at most 64 fit"),
    ],
)
def test_mistakes_in_options(certs: SimpleNamespace, options: dict[str, object], expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        ServerContext([certs.a.pair], **options)  # type: ignore[arg-type]


def test_no_certificate() -> None:
    with pytest.raises(ValueError, match="at least one certificate"):
        ServerContext([])


@pytest.mark.parametrize(
    ("options", "expected"),
    [({"ca": "/nowhere.pem"}, "/nowhere.pem: cannot read the CA: No such file"), ({"certificate": (b"", b"")}, "client certificate: no PEM certificate in it")],
)
def test_mistakes_towards_origins(options: dict[str, object], expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        ClientContext(**options)  # type: ignore[arg-type]


def test_ciphers_can_be_chosen(certs: SimpleNamespace) -> None:
    server = ServerContext([certs.a.pair], ciphers="ECDHE-ECDSA-CHACHA20-POLY1305")
    ours, _ = connect(server, trusting(certs.ca, maximum_version=ssl.TLSVersion.TLSv1_2), "a.example")
    assert ours.tls.info().cipher == "ECDHE-ECDSA-CHACHA20-POLY1305"


@pytest.mark.parametrize("cipher", ["AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-SHA", "DHE-RSA-AES128-GCM-SHA256"])
def test_weak_ciphers_are_off_by_default(certs: SimpleNamespace, cipher: str) -> None:
    client = trusting(certs.ca, maximum_version=ssl.TLSVersion.TLSv1_2)
    client.set_ciphers(cipher)
    ours, _ = connect(ServerContext([certs.a.pair, certs.a_rsa.pair]), client, "a.example")
    assert ours.tls.error() == "no shared cipher"


def test_a_common_name_serves_when_there_is_no_san(certs: SimpleNamespace) -> None:
    bare = make_cert(certs.folder, ["Bare.Example"], certs.ca, sans="")
    assert ServerContext([bare.pair]).names == ["bare.example"]
    person = make_cert(certs.folder, ["x"], certs.ca, subject="/CN=Jane Roe", sans="", label="person")
    assert ServerContext([person.pair]).names == []


def test_what_a_certificate_says(certs: SimpleNamespace) -> None:
    (told,) = read_certificates(certs.client.cert)
    oracle = ssl._ssl._test_decode_cert(str(certs.client.cert))  # type: ignore[attr-defined]
    assert told["serial"] == oracle["serialNumber"]
    assert told["not_after"] == ssl.cert_time_to_seconds(oracle["notAfter"])
    assert told["not_before"] == ssl.cert_time_to_seconds(oracle["notBefore"])
    assert told["issuer"] == "CN=gw test ca"
    assert told["key"] == "EC 256"
    assert told["names"] == ["client-1"]
    assert re.fullmatch("[0-9a-f]{64}", told["fingerprint"])
    der = ssl.PEM_cert_to_DER_cert(certs.client.cert.read_text())
    assert told["fingerprint"] == hashlib.sha256(der).hexdigest()
    assert calendar.timegm((2026, 1, 1, 0, 0, 0)) < told["not_before"]


def test_names_that_try_to_be_two_are_left_out(certs: SimpleNamespace, tmp_path: Path) -> None:
    """A NUL or a line end inside an entry would let one name be read as another."""
    sly = make_cert(tmp_path, ["sly"], certs.ca, sans="DNS:good.example,DNS:a.example\x0bDNS:evil.example")
    client = trusting(certs.ca)
    client.load_cert_chain(*sly.pair)
    ours, _ = connect(ServerContext([certs.a.pair], client_ca=certs.ca.cert), client, "a.example")
    assert ours.tls.info().sans == ["DNS:good.example"]
    assert ours.tls.info().truncated


def test_identities_that_do_not_fit_are_left_out_whole(certs: SimpleNamespace, tmp_path: Path) -> None:
    many = [f"host-{i:04d}.a-long-domain-name.example" for i in range(100)]
    subject = "/CN=long" + "".join(f"/OU={'x' * 60}{i}" for i in range(10))
    big = make_cert(tmp_path, many, certs.ca, subject=subject, label="big")
    client = trusting(certs.ca)
    client.load_cert_chain(*big.pair)
    info = connect(ServerContext([certs.a.pair], client_ca=certs.ca.cert), client, "a.example")[0].tls.info()
    assert info.verified
    assert info.truncated
    assert info.subject == ""
    assert 20 < len(info.sans) < 100
    assert info.sans == [f"DNS:{name}" for name in many[: len(info.sans)]]


def test_an_authority_in_the_middle_is_enough(certs: SimpleNamespace, tmp_path: Path) -> None:
    leaf = make_cert(tmp_path, ["leaf"], make_ca(tmp_path, "root"))
    client = trusting(certs.ca)
    client.load_cert_chain(*leaf.pair)
    server = ServerContext([certs.a.pair], client_ca=leaf.cert)
    assert connect(server, client, "a.example")[0].tls.info().verified
