"""Keys and tokens for tests: good ones, and ones that no library would make."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa

from gw._fast.keys import KeySet
from tests.reference.token import encode

NOW = 1_800_000_000
SECRET = bytes(range(64))
CLAIMS: dict[str, Any] = {
    "iss": "https://issuer.example/",
    "sub": "user-1234567",
    "aud": ["api", "web"],
    "exp": NOW + 300,
    "iat": NOW - 10,
    "scope": "read write",
    "jti": "8f1b7c2e90",
}
CURVES = {"ES256": ec.SECP256R1, "ES384": ec.SECP384R1, "ES512": ec.SECP521R1}
ALGORITHMS = ["HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", *CURVES, "Ed25519", "Ed448"]


@cache
def private_key(alg: str) -> Any:
    """One for each kind; a secret is its own."""
    if alg.startswith("HS"):
        return SECRET
    if alg in CURVES:
        return ec.generate_private_key(CURVES[alg]())
    if alg.startswith("Ed"):
        return ed25519.Ed25519PrivateKey.generate() if alg == "Ed25519" else ed448.Ed448PrivateKey.generate()
    return rsa_key(2048)


@cache
def rsa_key(bits: int) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, bits)


def public_der(key: Any) -> bytes:
    der: bytes = key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return der


def material(alg: str) -> bytes:
    key = private_key(alg)
    return key if isinstance(key, bytes) else public_der(key)


def key_set(*named: tuple[str, str | None]) -> KeySet:
    """Of our keys for these algorithms."""
    return KeySet([(alg, kid, material(alg)) for alg, kid in named])


def raw(header: str | bytes, payload: str | bytes, signature: bytes) -> bytes:
    texts = [text.encode() if isinstance(text, str) else text for text in (header, payload)]
    return ".".join([*map(encode, texts), encode(signature)]).encode()


def sign(header: str | bytes, payload: str | bytes, alg: str = "HS256", key: Any = None) -> bytes:
    """A token whose header and payload are these octets, with a good signature by our key for `alg`."""
    unsigned = raw(header, payload, b"").rpartition(b".")[0]
    name = "EdDSA" if alg.startswith("Ed") else alg
    signature = jwt.algorithms.get_default_algorithms()[name].sign(unsigned, private_key(alg) if key is None else key)
    return unsigned + b"." + encode(signature).encode()


def token(alg: str = "HS256", header: dict[str, Any] | None = None, **claims: Any) -> bytes:
    """CLAIMS, with `claims` over them; None leaves one out."""
    body = {name: value for name, value in {**CLAIMS, **claims}.items() if value is not None}
    return sign(json.dumps({"alg": alg, "typ": "JWT", **(header or {})}), json.dumps(body), alg)
