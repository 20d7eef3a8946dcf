"""gw.tls.jwk: PEM, JWK and JWKS to keys, and one sentence for what is wrong."""

from __future__ import annotations

import json
from typing import Any

import jwt as pyjwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec

from gw._fast.jwt import verify
from gw._fast.keys import KeySet
from gw.tls.jwk import TokenKeys, read_keys, secret_key
from tests.certs import make_ca, make_cert
from tests.reference.token import encode
from tests.tokens import SECRET, private_key, public_der, rsa_key, sign

RSA, EC, OKP = "RS256", "ES256", "Ed25519"
PYJWT = {"RS": pyjwt.algorithms.RSAAlgorithm, "PS": pyjwt.algorithms.RSAAlgorithm, "ES": pyjwt.algorithms.ECAlgorithm, "Ed": pyjwt.algorithms.OKPAlgorithm}


def jwk(alg: str, /, *, private: bool = False, **members: Any) -> dict[str, Any]:
    """Ours for `alg`, without `alg`; a member that is None is left out."""
    key = private_key(alg)
    if alg.startswith("HS"):
        made = {"kty": "oct", "k": encode(SECRET)}
    else:
        made = {name: value for name, value in PYJWT[alg[:2]].to_jwk(key if private else key.public_key(), as_dict=True).items() if name != "key_ops"}
    return {name: value for name, value in {**made, **members}.items() if value is not None}


def read(document: Any, *algorithms: str) -> TokenKeys:
    return read_keys(json.dumps(document).encode(), what="keys.json", algorithms=algorithms)


def found(document: Any, *algorithms: str) -> list[tuple[str, str | None]]:
    return [key[:2] for key in read(document, *algorithms).keys]


def problem(document: Any, *algorithms: str) -> str:
    with pytest.raises(ValueError) as caught:
        read(document, *algorithms)
    return str(caught.value)


@pytest.mark.parametrize("alg", ["HS512", "RS384", "PS256", "ES256", "ES384", "ES512", "Ed25519", "Ed448"])
def test_a_jwk_verifies(alg: str) -> None:
    keys = read(jwk(alg, alg=alg, kid="a", use="sig", key_ops=["verify"], x5t="ignored"))
    assert keys.notes == []
    assert [key[:2] for key in keys.keys] == [(alg, "a")]
    assert verify(KeySet(keys.keys), sign(json.dumps({"alg": alg, "kid": "a"}), "x", alg)) == b"x"


def test_where_the_algorithm_comes_from() -> None:
    assert found(jwk(EC)) == [("ES256", None)]
    assert found(jwk("ES512")) == [("ES512", None)]
    assert found(jwk(OKP)) == found(jwk(OKP, alg="EdDSA")) == found(jwk(OKP), "EdDSA") == [("Ed25519", None)]
    assert found(jwk(RSA), "PS256") == [("PS256", None)]
    assert found(jwk(RSA), "RS256", "ES256", "RS512") == [("RS256", None), ("RS512", None)]
    assert found(jwk(RSA, alg="RS512"), "RS256", "RS512") == [("RS512", None)]
    assert found(jwk("HS256"), "HS256") == [("HS256", None)]
    assert problem(jwk(RSA)) == "keys.json: does not say its algorithm; name it: one of RS256, RS384, RS512, PS256, PS384, PS512"
    assert problem(jwk("HS256")) == "keys.json: does not say its algorithm; name it: one of HS256, HS384, HS512"
    assert problem(jwk(RSA, alg="RS512"), "RS256") == "keys.json: no key in it can verify a token; keys.json: is not for RS256"
    assert problem(jwk(EC), "none").startswith("'none' is not an algorithm that tokens may have; expected one of HS256, ")


def test_a_set_leaves_out_what_is_for_others() -> None:
    others = [
        {"kty": "unheard-of"},
        jwk(RSA, use="enc", alg="RSA-OAEP"),
        jwk(RSA, alg="RSA-OAEP-256"),
        jwk(RSA, key_ops=["sign", "encrypt"]),
        jwk(EC, crv="secp256k1"),
        {"kty": "OKP", "crv": "X25519", "x": "AA"},
        jwk(EC, alg="ECDH-ES"),
    ]
    keys = read({"keys": [*others, jwk(EC, kid="good")], "more": 1})
    assert [key[:2] for key in keys.keys] == [("ES256", "good")]
    assert keys.notes == [
        "keys.json: keys[0]: kty 'unheard-of' is not known here",
        "keys.json: keys[1]: use 'enc' is not for signatures",
        "keys.json: keys[2]: alg 'RSA-OAEP-256' is not for tokens",
        "keys.json: keys[3]: key_ops do not hold 'verify'",
        "keys.json: keys[4]: crv 'secp256k1' is not for tokens",
        "keys.json: keys[5]: crv 'X25519' is not for tokens",
        "keys.json: keys[6]: alg 'ECDH-ES' is not for tokens",
    ]
    assert problem({"keys": others}) == "; ".join(["keys.json: no key in it can verify a token", *keys.notes])
    assert problem({"keys": []}) == "keys.json: no key in it can verify a token"


@pytest.mark.parametrize("alg", [RSA, EC, OKP])
def test_private_keys_become_public_ones(alg: str) -> None:
    keys = read({"keys": [jwk(alg, private=True, alg=alg)]})
    assert keys.keys[0].material == public_der(private_key(alg))
    assert keys.notes == ["keys.json: keys[0]: holds a private key; only its public half is used"]


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (1, "Expected `object`, got `int`"),
        ({}, "Object missing required field `kty`"),
        (jwk(EC, kid=1), "Expected `str | null`, got `int` - at `$.kid`"),
        (jwk(EC, key_ops="verify"), "Expected `array | null`, got `str` - at `$.key_ops`"),
        (jwk(EC, crv=None), "crv is missing"),
        (jwk(EC, x=None), "x is missing"),
        (jwk(EC, x="AA"), "x has 1 octets, P-256 needs 32 (RFC 7518 section 6.2.1)"),
        (jwk(EC, y="AA" + jwk(EC)["y"]), "y is not base64url without padding (RFC 7515 section 2)"),
        (jwk(EC, y=jwk(EC)["y"] + "="), "y is not base64url without padding (RFC 7515 section 2)"),
        (jwk(EC, y=jwk(EC)["x"]), ""),
        (jwk(EC, x=encode(bytes(32)), y=encode(bytes(32))), ""),
        (jwk(EC, alg="RS256"), "alg 'RS256' does not go with kty 'EC' and crv 'P-256'"),
        (jwk(EC, alg="ES384"), "alg 'ES384' does not go with kty 'EC' and crv 'P-256'"),
        (jwk(RSA, alg="HS256"), "alg 'HS256' does not go with kty 'RSA'"),
        (jwk("HS256", alg="RS256"), "alg 'RS256' does not go with kty 'oct'"),
        (jwk("HS256", alg="HS256", k=None), "k is missing"),
        (jwk("HS256", alg="HS512", k=encode(SECRET[:63])), "the secret has 63 bytes, HS512 needs 64 or more (RFC 7518 section 3.2)"),
        (jwk("HS256", alg="HS256", k=""), "the secret has 0 bytes, HS256 needs 32 or more (RFC 7518 section 3.2)"),
        (jwk(RSA, alg="RS256", n=None), "n is missing"),
        (jwk(RSA, alg="RS256", e="AQ"), ""),
        (jwk(RSA, alg="RS256", e="Ag"), ""),
        (jwk(RSA, alg="RS256", n=encode(rsa_key(1024).public_key().public_numbers().n.to_bytes(128))), "the RSA key has 1024 bits, expected 2048 to 8192"),
        (jwk(OKP, x="AAAA"), ""),
    ],
)
def test_a_bad_key_is_named(entry: Any, message: str) -> None:
    said = problem({"keys": [jwk(EC), entry]})
    assert said.startswith("keys.json: keys[1]")
    assert said.removeprefix("keys.json: keys[1]").lstrip(": .").startswith(message)


@pytest.mark.parametrize(
    "text",
    [b"", b"{", b"[]", b"1", b"\xff", b'{"kty":"EC","kty":"EC"}', b'{"keys":1}', b'{"keys":[NaN]}', b"[" * 100_000, b'{"a":' * 100_000, b"-----BEGIN PUBLIC KEY-----", b"\x00"],
)
def test_what_is_no_key_at_all(text: bytes) -> None:
    with pytest.raises(ValueError, match=r"^keys\.json: "):
        read_keys(text, what="keys.json")


def public_pem(key: Any) -> bytes:
    return bytes(key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo))


def pem(alg: str, *, private: bool = False, password: bytes | None = None) -> bytes:
    key = private_key(alg)
    if not private:
        return public_pem(key.public_key())
    protection = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    return bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, protection))


def test_pem(tmp_path: Any) -> None:
    two = b"# ours\n" + pem(EC) + b"text between\n" + pem(OKP)
    assert [key[:2] for key in read_keys(two, what="keys.pem", kid="k").keys] == [("ES256", "k"), ("Ed25519", "k")]
    old = private_key(RSA).public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.PKCS1)
    keys = read_keys(old, what="keys.pem", algorithms=["RS256"])
    assert verify(KeySet(keys.keys), sign('{"alg":"RS256"}', "x", "RS256")) == b"x"
    certificate = make_cert(tmp_path, ["a.example"], make_ca(tmp_path), key="ec").cert.read_bytes()
    (key,) = read_keys(certificate, what="cert.pem").keys[:1]
    public = x509.load_pem_x509_certificate(certificate).public_key()
    assert key.material == public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def test_a_private_pem_becomes_public() -> None:
    keys = read_keys(pem(EC, private=True), what="keys.pem")
    assert keys.keys == read_keys(pem(EC), what="keys.pem").keys
    assert keys.notes == ["keys.pem: PEM block 1: is a private key; only its public half is used"]


def test_bad_pem_is_named() -> None:
    other_curve = public_pem(ec.generate_private_key(ec.SECP256K1()).public_key())
    other_kind = public_pem(dsa.generate_private_key(1024).public_key())
    for text, message in (
        (pem(RSA), "does not say its algorithm; name it: one of RS256, "),
        (pem(EC).replace(b"M", b"N", 1), "cannot be read: "),
        (pem(EC, private=True, password=b"secret"), "cannot be read: Password was not given"),
        (other_curve, "curve secp256k1 is not for tokens; expected one of P-256, P-384, P-521"),
        (other_kind, "is a kind of key that cannot verify tokens"),
    ):
        with pytest.raises(ValueError) as caught:
            read_keys(text, what="keys.pem")
        assert str(caught.value).startswith(f"keys.pem: PEM block 1: {message}")


def test_a_kid_cannot_change_the_message() -> None:
    entry = {"kty": "oct", "alg": "HS256", "k": "AA", "kid": "a: b') x"}
    assert problem(entry) == "keys.json: the secret has 1 bytes, HS256 needs 32 or more (RFC 7518 section 3.2)"
    assert problem(jwk(EC, kid="\ud800")).startswith("keys.json: 'utf-8' codec can't encode")


def test_secrets() -> None:
    assert secret_key(SECRET, what="secret", algorithm="HS512", kid="k") == ("HS512", "k", SECRET)
    for algorithm, message in (
        ("RS256", "secret: 'RS256' has no secret; expected one of HS256, HS384, HS512"),
        ("HS512", "secret: the secret has 9 bytes, HS512 needs 64 or more"),
    ):
        with pytest.raises(ValueError) as caught:
            secret_key(b"too short", what="secret", algorithm=algorithm)
        assert str(caught.value).startswith(message)
    with pytest.raises(ValueError, match=r"^secret: is a PEM text, not a secret$"):
        secret_key(pem(RSA), what="secret", algorithm="HS256")
