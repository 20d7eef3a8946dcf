"""Signed requests, made by a signer of our own and by the examples of RFC 9421, through a real lane."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils

from gw._fast.shm import Segment
from gw.config import load
from gw.errors import ConfigError
from gw.runtime import Engine, compile_snapshot
from tests.unit.fast.rig import Answer, Client, Make, Origin, behind
from tests.unit.policy.asking import compiled

SECRET = "a shared secret of enough bytes"
NOW = 1_618_884_475.0

# RFC 9421 appendix B.1.
PUBLIC = {
    "test-key-rsa-pss": """MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAr4tmm3r20Wd/PbqvP1s2+QEtvpuRaV8Yq40gjUR8y2Rjxa6dpG2GXHbPfvMs8ct+Lh1GH45x28Rw3Ry53mm+
oAXjyQ86OnDkZ5N8lYbggD4O3w6M6pAvLkhk95AndTrifbIFPNU8PPMO7OyrFAHqgDsznjPFmTOtCEcN2Z1FpWgchwuYLPL+Wokqltd11nqqzi+bJ9cvSKADYdUAAN5W
Utzdpiy6LbTgSxP7ociU4Tn0g5I6aDZJ7A8Lzo0KSyZYoA485mqcO0GVAdVw9lq4aOT9v6d+nb4bnNkQVklLQ3fVAvJm+xdDOp9LCNCN48V2pnDOkFV6+U9nV5oyc6XI
2wIDAQAB""",
    "test-key-ecc-p256": "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEqIVYZVLCrPZHGHjP17CTW0/+D9Lfw0EkjqF7xB4FivAxzic30tMM4GF+hR6Dxh71Z50VGGdldkkDXZCnTNnoXQ==",
    "test-key-ed25519": "MCowBQYDK2VwAyEAJrQLj5P/89iXES9+vFgrIy29clF9CC/oPPsw3c5D0bs=",
}
SHARED = "base64:uzvJfB4u3N0Jy4T7NZ75MDVcr8zSTInedJtkgcu46YW4XByzNJjxBdtjUkdJPBtbmHhIDi6pcl8jsasjlTMtDQ=="
REQUEST = """POST /foo?param=Value&Pet=dog HTTP/1.1
Host: example.com
Date: Tue, 20 Apr 2021 02:07:55 GMT
Content-Type: application/json
Content-Digest: sha-512=:WZDPaVn/7XgHaAy8pmojAkGWoRx2UFChF41A2svX+TaPm+AbwAgBWnrIiYllu7BNNyealdVLvRwEmTHWXvJwew==:
Content-Length: 18
"""
# RFC 9421 appendix B.2.2, B.2.3, B.2.5, B.2.6: what is required here, Signature-Input, Signature.
VECTORS = {
    "b22": (
        "['@authority']",
        '("@authority" "content-digest" "@query-param";name="Pet");created=1618884473;keyid="test-key-rsa-pss";tag="header-example"',
        "LjbtqUbfmvjj5C5kr1Ugj4PmLYvx9wVjZvD9GsTT4F7GrcQEdJzgI9qHxICagShLRiLMlAJjtq6N4CDfKtjvuJyE5qH7KT8UCMkSowOB4+ECxCmT8rtAmj/0PIXxi0A0nxKyB09RNrCQibbU"
        "jsLS/2YyFYXEu4TRJQzRw1rLEuEfY17SARYhpTlaqwZVtR8NV7+4UKkjqpcAoFqWFQh62s7Cl+H2fjBSpqfZUJcsIk4N6wiKYd4je2U/lankenQ99PZfB4jY3I5rSV2DSBVkSFsURIjYErOs"
        "0tFTQosMTAoxk//0RoKUqiYY8Bh0aaUEb0rQl3/XaVe4bXTugEjHSw==",
    ),
    "b23": (
        "['@method', '@path', '@query', '@authority', '@request-target', '@target-uri', content-length]",
        '("date" "@method" "@path" "@query" "@authority" "content-type" "content-digest" "content-length");created=1618884473;keyid="test-key-rsa-pss"',
        "bbN8oArOxYoyylQQUU6QYwrTuaxLwjAC9fbY2F6SVWvh0yBiMIRGOnMYwZ/5MR6fb0Kh1rIRASVxFkeGt683+qRpRRU5p2voTp768ZrCUb38K0fUxN0O0iC59DzYx8DFll5GmydPxSmme9v6"
        "ULbMFkl+V5B1TP/yPViV7KsLNmvKiLJH1pFkh/aYA2HXXZzNBXmIkoQoLd7YfW91kE9o/CCoC1xMy7JA1ipwvKvfrs65ldmlu9bpG6A9BmzhuzF8Eim5f8ui9eH8LZH896+QIF61ka39VBro"
        "hr9iyMUJpvRX2Zbhl5ZJzSRxpJyoEZAFL2FUo5fTIztsDZKEgM4cUA==",
    ),
    "b25": ("[date]", '("date" "@authority" "content-type");created=1618884473;keyid="test-shared-secret"', "pxcQw6G3AjtMBQjwo8XzkZf/bws5LelbaMk5rGIGtE8="),
    "b26": (
        "['@method', '@path', '@authority']",
        '("date" "@method" "@path" "@authority" "content-type" "content-length");created=1618884473;keyid="test-key-ed25519"',
        "wqcAqbmYJ2ji2glfAMaRy4gruYYnx2nEFN2HN6jrnDnQCK1u02Gb04v9EDgwUPiu4A0w6vuQv5lIp5WPpBKRCw==",
    ),
}


def pem(text: str) -> str:
    return f"-----BEGIN PUBLIC KEY-----\\n{text.replace(chr(10), '')}\\n-----END PUBLIC KEY-----\\n"


def consumers(**secrets: str) -> str:
    listed = ", ".join(f'{{id: {name.replace("_", "-")}, secret: "{secret}"}}' for name, secret in secrets.items())
    return f"consumers: {{alice: {{secrets: [{listed}]}}}}"


RFC_KEYS = consumers(**{name: pem(text) for name, text in PUBLIC.items()}, test_shared_secret=SHARED)


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The wall clock, and the monotonic one, of policies that are built from now on."""
    now = [NOW, 1000.0]
    monkeypatch.setattr("gw.policy.hmac.Signatures.__init__.__defaults__", (lambda: now[0], lambda: now[1]))
    return now


def send(port: int, head: str, body: bytes = b"") -> Answer:
    """A head as it is written."""
    with Client(port) as client:
        client.sock.sendall(head.replace("\n", "\r\n").encode("latin-1") + b"\r\n" + body)
        return client.read()


@pytest.mark.parametrize("name", VECTORS)
def test_the_examples_of_the_standard(rig: Make, origin: Origin, name: str) -> None:
    required, described, signature = VECTORS[name]
    made = rig(behind(origin, f"hmac: {{required: {required}, digest: false}}", more=RFC_KEYS))
    head = f"{REQUEST}Signature-Input: sig-{name}={described}\nSignature: sig-{name}=:{signature}:\n"
    answer = send(made.port, head, b'{"hello": "world"}')
    assert answer.status == 200
    assert (answer.sent("x-consumer"), answer.sent("x-credential")) == (["alice"], [described.partition('keyid="')[2].partition('"')[0]])
    for old, new in (("example.com", "example.org"), ("application/json", "text/plain"), ("Pet=dog", "Pet=cat")):
        changed = send(made.port, head.replace(old, new), b'{"hello": "world"}')
        covered = {"example.com": "@authority", "application/json": "content-type", "Pet=dog": "@query"}[old] in described
        assert changed.status == (401 if covered else 200), (old, new)


class Signer:
    """Signs heads as RFC 9421 section 2.5 says, for a request to http://h.example."""

    def __init__(self, sign: Callable[[bytes], bytes] = lambda base: hmac.digest(SECRET.encode(), base, "sha256"), key: str = "one") -> None:
        self.sign = sign
        self.key = key

    def fields(self, components: dict[str, str], parameters: str = f";created={int(NOW)}", label: str = "sig1") -> list[str]:
        """`components`: as written -> value."""
        described = f"({' '.join(components)}){parameters};keyid=\"{self.key}\""
        base = "\n".join([*(f"{name}: {value}" for name, value in components.items()), f'"@signature-params": {described}'])
        return [f"Signature-Input: {label}={described}", f"Signature: {label}=:{base64.b64encode(self.sign(base.encode('latin-1'))).decode()}:"]


WHOLE = {'"@method"': "GET", '"@authority"': "h.example", '"@path"': "/a"}
SIGNER = Signer()


def ask(port: int, *fields: str, path: str = "/a", method: str = "GET", body: bytes = b"") -> Answer:
    with Client(port) as client:
        return client.ask(path, *fields, method=method, body=body)


def guarded(origin: Origin, more: str = "", keys: str = consumers(one=SECRET)) -> str:
    return behind(origin, f"hmac: {{{more}}}", more=keys)


def p256(secret: ec.EllipticCurvePrivateKey) -> Callable[[bytes], bytes]:
    def sign(base: bytes) -> bytes:
        r, s = utils.decode_dss_signature(secret.sign(base, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(32) + s.to_bytes(32)

    return sign


def test_each_key_has_one_algorithm(rig: Make, origin: Origin) -> None:
    secrets: dict[str, Any] = {
        "ed25519": ed25519.Ed25519PrivateKey.generate(),
        "ecdsa-p256-sha256": ec.generate_private_key(ec.SECP256R1()),
        "rsa-pss-sha512": rsa.generate_private_key(public_exponent=65537, key_size=2048),
    }
    public = {
        name: each.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode().replace("\n", "\\n")
        for name, each in secrets.items()
    }
    pss = padding.PSS(padding.MGF1(hashes.SHA512()), salt_length=64)
    signs = {
        "ed25519": secrets["ed25519"].sign,
        "ecdsa-p256-sha256": p256(secrets["ecdsa-p256-sha256"]),
        "rsa-pss-sha512": lambda base: secrets["rsa-pss-sha512"].sign(base, pss, hashes.SHA512()),
        "hmac-sha256": SIGNER.sign,
    }
    made = rig(guarded(origin, keys=consumers(**public, **{"hmac-sha256": SECRET})))
    for key in signs:
        for algorithm in (None, *signs):
            told = f';alg="{algorithm}"' if algorithm else ""
            answer = ask(made.port, *Signer(signs[key], key).fields(WHOLE, f";created={int(NOW)}{told}"))
            assert answer.status == (200 if algorithm in (None, key) else 401), (key, algorithm)
        for other in signs:
            if other != key:
                assert ask(made.port, *Signer(signs[other], key).fields(WHOLE)).status == 401, (key, other)


def test_a_public_key_is_no_shared_secret(rig: Make, origin: Origin) -> None:
    public = pem(PUBLIC["test-key-ed25519"])
    made = rig(guarded(origin, keys=consumers(one=public)))
    forged = Signer(lambda base: hmac.digest(public.replace("\\n", "\n").encode(), base, "sha256"))
    assert ask(made.port, *forged.fields(WHOLE)).status == 401


def test_what_a_signature_must_cover(rig: Make, origin: Origin) -> None:
    made = rig(guarded(origin))
    assert ask(made.port, *SIGNER.fields(WHOLE)).status == 200
    for name in WHOLE:
        rest = {key: value for key, value in WHOLE.items() if key != name}
        assert ask(made.port, *SIGNER.fields(rest)).told["reason"] == "invalid-credential"
    assert ask(made.port, *SIGNER.fields(WHOLE), path="/a?b=c").status == 401
    assert ask(made.port, *SIGNER.fields({**WHOLE, '"@query"': "?b=c"}), path="/a?b=c").status == 200
    assert ask(made.port, *SIGNER.fields({**WHOLE, '"@query"': "?"})).status == 200
    assert ask(made.port, *SIGNER.fields({'"@method"': "GET", '"@target-uri"': "http://h.example/a?b"}), path="/a?b").status == 200
    assert ask(made.port, *SIGNER.fields({'"@method"': "GET", '"@request-target"': "/a?b", '"@authority"': "h.example"}), path="/a?b").status == 200
    assert ask(made.port, *SIGNER.fields({**WHOLE, '"@scheme"': "http"})).status == 200
    assert ask(made.port, *SIGNER.fields({**WHOLE, '"@scheme"': "https"})).status == 401
    assert ask(made.port, *SIGNER.fields({**WHOLE, '"x-a"': "1, 2"}), "X-A: 1", "X-A: 2").status == 200
    assert ask(made.port, *SIGNER.fields({**WHOLE, '"x-a"': "1, 2"}), "X-A: 2", "X-A: 1").status == 401
    assert ask(made.port, *SIGNER.fields({**WHOLE, '"x-a";bs': ":MQ==:, :Mg==:"}), "X-A: 1", "X-A: 2").status == 200


@pytest.mark.parametrize(
    ("query", "name", "value", "status"),
    [
        ("a=b", "a", "b", 200),
        ("a=b+c%20d", "a", "b%20c%20d", 200),
        ("a=~", "a", "%7E", 200),
        ("a%62=*-._", "ab", "*-._", 200),
        ("a=", "a", "", 200),
        ("a=1&a=1", "a", "1", 401),
        ("b=1", "a", "1", 401),
    ],
)
def test_single_parameters_of_the_query(rig: Make, origin: Origin, query: str, name: str, value: str, status: int) -> None:
    made = rig(guarded(origin, "required: ['@path']"))
    fields = SIGNER.fields({'"@path"': "/a", f'"@query-param";name="{name}"': value})
    assert ask(made.port, *fields, path=f"/a?{query}").status == status


def test_a_body_needs_its_digest_covered(rig: Make, origin: Origin) -> None:
    made = rig(guarded(origin))
    digest = "sha-256=:" + base64.b64encode(hashlib.sha256(b"body").digest()).decode() + ":"
    post = {**WHOLE, '"@method"': "POST"}
    assert ask(made.port, *SIGNER.fields(post), method="POST", body=b"body").status == 401
    assert ask(made.port, *SIGNER.fields({**post, '"content-digest"': digest}), method="POST", body=b"body").status == 401
    answer = ask(made.port, *SIGNER.fields({**post, '"content-digest"': digest}), f"Content-Digest: {digest}", method="POST", body=b"body")
    assert (answer.status, answer.sent("content-digest")) == (200, [digest])
    assert ask(made.port, *SIGNER.fields(post), "Content-Length: 0", method="POST").status == 200
    assert chunked(made.port, SIGNER.fields(post), "Transfer-Encoding: chunked") == 401


def hashed(body: bytes, algorithm: str = "sha256") -> str:
    return base64.b64encode(hashlib.new(algorithm, body).digest()).decode()


GOOD_DIGEST, WRONG_DIGEST = hashed(b"body"), hashed(b"other")


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"content-digest": f"sha-256=:{GOOD_DIGEST}:"}, 200),
        ({"content-digest": f"sha-512=:{hashed(b'body', 'sha512')}:, sha-256=:{GOOD_DIGEST}:, md5=:AAAA:"}, 200),
        ({"content-digest": f"sha-256=:{WRONG_DIGEST}:"}, 401),
        ({"content-digest": f"sha-512=:{hashed(b'body', 'sha512')}:, sha-256=:{WRONG_DIGEST}:"}, 401),
        ({"content-digest": f"md5=:{hashed(b'body', 'md5')}:"}, 401),
        ({"content-digest": f"sha-256={GOOD_DIGEST}"}, 401),
        ({"content-digest": "sha-256=:AAAA:"}, 401),
        ({"content-digest": f"sha-256=:{GOOD_DIGEST}:", "digest": f"SHA-256={GOOD_DIGEST}"}, 200),
        ({"content-digest": f"sha-256=:{GOOD_DIGEST}:", "digest": f"SHA-256={WRONG_DIGEST}"}, 401),
        ({"content-digest": f"sha-256=:{GOOD_DIGEST}:", "digest": "SHA-256=?"}, 401),
        ({"digest": f"sha-256={GOOD_DIGEST}"}, 200),
        ({"digest": f"sha-256={WRONG_DIGEST}"}, 401),
    ],
)
def test_a_body_must_be_that_of_its_digests(rig: Make, origin: Origin, fields: dict[str, str], status: int) -> None:
    made = rig(guarded(origin))
    signed = SIGNER.fields({**WHOLE, '"@method"': "POST", **{f'"{name}"': value for name, value in fields.items()}})
    given = [f"{name}: {value}" for name, value in fields.items()]
    answer = ask(made.port, *signed, *given, method="POST", body=b"body")
    assert answer.status == status
    if status != 200:
        assert (answer.told["reason"], answer.one("WWW-Authenticate")) == ("invalid-credential", "Signature")


def test_a_body_in_chunks_is_compared_too_and_one_that_is_too_long_is_not_read(rig: Make, origin: Origin) -> None:
    made = rig(guarded(origin, "max_body: 4"))
    for text, status in ((GOOD_DIGEST, 200), (WRONG_DIGEST, 401)):
        fields = SIGNER.fields({**WHOLE, '"@method"': "POST", '"content-digest"': f"sha-256=:{text}:"})
        assert chunked(made.port, [*fields, f"Content-Digest: sha-256=:{text}:"], "Transfer-Encoding: chunked") == status
    fields = SIGNER.fields({**WHOLE, '"@method"': "POST", '"content-digest"': f"sha-256=:{hashed(b'bodies')}:"})
    assert ask(made.port, *fields, f"Content-Digest: sha-256=:{hashed(b'bodies')}:", method="POST", body=b"bodies").status == 413


def test_explain_compares_the_body_too(rig: Make, origin: Origin, tmp_path: Path) -> None:
    rig(guarded(origin))
    segment = Segment(1, 64, 64, 1024)
    engine = Engine(compile_snapshot(load(tmp_path / "gw.yaml").config, 1, segment, tmp_path), segment)
    try:
        for text, reason, verdicts in ((GOOD_DIGEST, "", ["pass", "pass"]), (WRONG_DIGEST, "invalid-credential", ["pass", "answer"])):
            signed = SIGNER.fields({**WHOLE, '"@method"': "POST", '"content-digest"': f"sha-256=:{text}:"})
            fields = [each.split(": ", 1) for each in (*signed, f"Content-Digest: sha-256=:{text}:", "Host: h.example")]
            found = asyncio.run(engine.ask("POST", "/a", [(name, value) for name, value in fields], wall=NOW, body=b"body"))
            assert (found.reason, [each.verdict for each in found.verdicts if each.policy == "hmac"]) == (reason, verdicts)
    finally:
        engine.close()


def test_without_digest_bodies_pass_as_they_come(rig: Make, origin: Origin) -> None:
    made = rig(guarded(origin, "digest: false"))
    assert ask(made.port, *SIGNER.fields({**WHOLE, '"@method"': "POST"}), f"Content-Digest: sha-256=:{WRONG_DIGEST}:", method="POST", body=b"body").status == 200


def chunked(port: int, fields: list[str], framing: str) -> int:
    return send(port, "POST /a HTTP/1.1\nHost: h.example\n" + "\n".join([*fields, framing]) + "\n", b"4\r\nbody\r\n0\r\n\r\n").status


T = int(NOW)


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        (f";created={T - 330}", ""),
        (f";created={T - 331}", "expired-credential"),
        (f";created={T + 30}", ""),
        (f";created={T + 31}", "expired-credential"),
        ("", "expired-credential"),
        (f";created={T};expires={T - 29}", ""),
        (f";created={T};expires={T - 30}", "expired-credential"),
        (f";created={T}.5", "invalid-credential"),
        (f';created="{T}"', "invalid-credential"),
        (f";created=@{T}", "invalid-credential"),
        (";created", "invalid-credential"),
        (f";created={T};alg=hmac-sha256", "invalid-credential"),
        (f";created={T};nonce=5", "invalid-credential"),
    ],
)
def test_when_a_signature_holds(rig: Make, origin: Origin, parameters: str, reason: str) -> None:
    made = rig(guarded(origin))
    answer = ask(made.port, *SIGNER.fields(WHOLE, parameters))
    assert (answer.status, answer.told.get("reason", "")) == (401 if reason else 200, reason)


GOOD = SIGNER.fields(WHOLE)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ([], "no-credential"),
        (GOOD[:1], "no-credential"),
        (GOOD[1:], "no-credential"),
        (["Signature-Input: sig1=(", GOOD[1]], "invalid-credential"),
        (["Signature-Input: sig1=5", GOOD[1]], "invalid-credential"),
        (["Signature-Input: sig1=(1)", GOOD[1]], "invalid-credential"),
        (["Signature-Input: sig1=(token)", GOOD[1]], "invalid-credential"),
        ([GOOD[0], 'Signature: sig1="text"'], "invalid-credential"),
        ([GOOD[0], "Signature: sig1=:AAAA:"], "invalid-credential"),
        ([GOOD[0], "Signature: sig1=::"], "invalid-credential"),
        ([GOOD[0], "Signature: other=:AAAA:"], "no-credential"),
        (SIGNER.fields({**WHOLE, '"@status"': "200"}), "invalid-credential"),
        (SIGNER.fields({**WHOLE, '"@method";req': "GET"}), "invalid-credential"),
        ([*SIGNER.fields({**WHOLE, '"X-A"': "1"}), "X-A: 1"], "invalid-credential"),
        ([*SIGNER.fields({**WHOLE, '"x-a";sf': "1"}), "X-A: 1"], "invalid-credential"),
        (SIGNER.fields({**WHOLE, '"x-absent"': ""}), "invalid-credential"),
        (Signer(key="two").fields(WHOLE), "invalid-credential"),
        (SIGNER.fields(WHOLE, f';created={T};tag="{"x" * 4100}"'), "invalid-credential"),
        (SIGNER.fields({**WHOLE, **{f'"x-{number}"': "1" for number in range(62)}}) + [f"X-{number}: 1" for number in range(62)], "invalid-credential"),
        (Signer(lambda base: hmac.digest(b"another secret than that", base, "sha256")).fields(WHOLE), "invalid-credential"),
        ([f'Signature-Input: sig1=("@path" "@path");created={T};keyid="one"', GOOD[1]], "invalid-credential"),
    ],
)
def test_what_is_no_good_signature(rig: Make, origin: Origin, fields: list[str], reason: str) -> None:
    made = rig(guarded(origin))
    answer = ask(made.port, *fields)
    assert (answer.status, answer.told["reason"]) == (401, reason)
    assert answer.one("WWW-Authenticate") == "Signature"
    assert answer.one("Accept-Signature") == 'sig1=("@method" "@authority" "@path" "@query");created;keyid'
    assert origin.paths == []


def test_one_of_several_is_enough_unless_a_label_is_asked_for(rig: Make, origin: Origin) -> None:
    bad = ["Signature-Input: proxy=();keyid=\"?\"", "Signature: proxy=:AAAA:"]
    assert ask(rig(guarded(origin)).port, *bad, *GOOD).status == 200
    assert ask(rig(guarded(origin, "label: sig1")).port, *bad, *GOOD).status == 200
    assert ask(rig(guarded(origin, "label: proxy")).port, *bad, *GOOD).status == 401
    many = [field for number in range(4) for field in (f"Signature-Input: p{number}=();keyid=\"?\"", f"Signature: p{number}=:AAAA:")]
    assert ask(rig(guarded(origin)).port, *many, *GOOD).status == 401
    assert ask(rig(guarded(origin, "tag: app")).port, *GOOD).status == 401
    assert ask(rig(guarded(origin, "tag: app")).port, *SIGNER.fields(WHOLE, f';created={T};tag="app"')).status == 200


LIMITS = "once: {}, max_age: 60s, leeway: 0s"


def test_a_nonce_is_used_once(rig: Make, origin: Origin, clock: list[float]) -> None:
    made = rig(guarded(origin, LIMITS.format("nonce")))
    first = SIGNER.fields(WHOLE, f';created={T};nonce="a"')
    assert [ask(made.port, *first).status for _ in range(3)] == [200, 401, 401]
    assert ask(made.port, *SIGNER.fields(WHOLE, f';created={T};nonce="b"')).status == 200
    assert [ask(made.port, *GOOD).status for _ in range(2)] == [200, 200]
    clock[1] += 61
    clock[0] += 61
    assert ask(made.port, *first).told["reason"] == "expired-credential"
    assert ask(made.port, *SIGNER.fields(WHOLE, f';created={T + 61};nonce="a"')).status == 200


def test_every_signature_is_used_once(rig: Make, origin: Origin) -> None:
    made = rig(guarded(origin, LIMITS.format("signature")))
    assert [ask(made.port, *GOOD).status for _ in range(2)] == [200, 401]
    assert ask(made.port, *SIGNER.fields(WHOLE, f";created={T - 1}")).status == 200


def test_a_nonce_can_be_asked_for(rig: Make, origin: Origin) -> None:
    made = rig(guarded(origin, "nonce: required"))
    answer = ask(made.port, *GOOD)
    assert (answer.status, answer.one("Accept-Signature")[-6:]) == (401, ";nonce")
    assert ask(made.port, *SIGNER.fields(WHOLE, f';created={T};nonce="a"')).status == 200


def authorization(scheme: str, names: list[str], lines: list[str], **changed: str) -> str:
    made = base64.b64encode(hmac.digest(SECRET.encode(), "\n".join(lines).encode(), "sha256")).decode()
    parameters = {"keyId" if scheme == "Signature" else "username": "one", "algorithm": "hmac-sha256", "headers": " ".join(names), "signature": made, **changed}
    return f"Authorization: {scheme} " + ",".join(f'{name}="{value}"' for name, value in parameters.items())


DATE = "Tue, 20 Apr 2021 02:07:55 GMT"
CLASSIC = (["(request-target)", "host", "date"], ["(request-target): get /a?b", "host: h.example", f"date: {DATE}"])
KONG = (["date", "request-line", "host"], [f"date: {DATE}", "GET /a?b HTTP/1.1", "host: h.example"])


@pytest.mark.parametrize("line", [authorization("Signature", *CLASSIC), authorization("hmac", *KONG), authorization("HMAC", *CLASSIC)])
def test_the_older_form(rig: Make, origin: Origin, line: str) -> None:
    made = rig(guarded(origin, "accept: [message-signature, authorization], hide_credential: true"))
    answer = ask(made.port, line, f"Date: {DATE}", path="/a?b")
    assert (answer.status, answer.sent("x-consumer"), answer.sent("authorization")) == (200, ["alice"], [])
    assert ask(made.port, line, f"Date: {DATE}", path="/a?c").status == 401
    assert ask(made.port, line, "Date: Tue, 20 Apr 2021 02:07:54 GMT", path="/a?b").status == 401
    assert ask(rig(guarded(origin)).port, line, f"Date: {DATE}", path="/a?b").told["reason"] == "no-credential"


OLD = "Tue, 20 Apr 2021 02:00:00 GMT"


@pytest.mark.parametrize(
    ("line", "date", "reason"),
    [
        ("Authorization: Bearer x", DATE, "no-credential"),
        ("Authorization: Signature", DATE, "invalid-credential"),
        ("Authorization: Signature x", DATE, "invalid-credential"),
        ('Authorization: Signature keyId="one",keyId="one"', DATE, "invalid-credential"),
        (authorization("Signature", *CLASSIC, algorithm="rsa-sha256"), DATE, "invalid-credential"),
        (authorization("Signature", *CLASSIC, keyId="two"), DATE, "invalid-credential"),
        (authorization("Signature", *CLASSIC, signature="!"), DATE, "invalid-credential"),
        (authorization("Signature", *CLASSIC, headers="date date"), DATE, "invalid-credential"),
        (authorization("Signature", *CLASSIC, headers="date x-absent"), DATE, "invalid-credential"),
        (authorization("Signature", *CLASSIC, headers=""), DATE, "invalid-credential"),
        (authorization("Signature", CLASSIC[0][:2], CLASSIC[1][:2]), DATE, "expired-credential"),
        (authorization("Signature", CLASSIC[0][1:], CLASSIC[1][1:]), DATE, "invalid-credential"),
        (authorization("Signature", CLASSIC[0], [*CLASSIC[1][:2], f"date: {OLD}"]), OLD, "expired-credential"),
        (authorization("Signature", CLASSIC[0], [*CLASSIC[1][:2], "date: yesterday"]), "yesterday", "invalid-credential"),
        (authorization("Signature", CLASSIC[0], [*CLASSIC[1][:2], "date: Tue, 20 Apr 2021 02:07:55 -0000"]), "Tue, 20 Apr 2021 02:07:55 -0000", "invalid-credential"),
    ],
)
def test_what_is_no_good_signature_of_the_older_form(rig: Make, origin: Origin, line: str, date: str, reason: str) -> None:
    made = rig(guarded(origin, "accept: [authorization]"))
    answer = ask(made.port, line, f"Date: {date}", path="/a?b")
    assert (answer.status, answer.told["reason"]) == (401, reason)
    assert answer.all("Accept-Signature") == []


@pytest.mark.parametrize(
    ("more", "keys", "said"),
    [
        ("required: ['@nothing']", "", "'@nothing' cannot be a required component"),
        ("required: [Date]", "", "'Date' cannot be a required component"),
        ("", consumers(one="-----BEGIN PUBLIC KEY-----\\nAAAA\\n-----END PUBLIC KEY-----"), "the secret 'one' cannot verify"),
        ("", consumers(one="base64:AAAAAAAAAAAAAAA="), "the secret 'one' cannot verify"),
        ("", consumers(one="base64:not base64 at all"), "the secret 'one' cannot verify"),
        ("", consumers(one=SECRET), "no room to remember"),
    ],
)
def test_what_cannot_work_is_said_before_it_runs(tmp_path: Path, more: str, keys: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        compiled(tmp_path, f"hmac: {{{more}}}", keys)
