"""Keys that tokens are verified with: PEM, JWK, JWKS (RFC 7517) and secrets to what gw._fast.keys.KeySet takes."""

from __future__ import annotations

import json
import re
from base64 import urlsafe_b64decode
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import msgspec
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from msgspec import Struct

from gw._fast.keys import NAMES, KeySet

CURVES = {"P-256": ("ES256", ec.SECP256R1()), "P-384": ("ES384", ec.SECP384R1()), "P-521": ("ES512", ec.SECP521R1())}
EDWARDS: dict[str, type[ed25519.Ed25519PublicKey | ed448.Ed448PublicKey]] = {"Ed25519": ed25519.Ed25519PublicKey, "Ed448": ed448.Ed448PublicKey}
# Algorithms by kind of key; what gw has no use for (ES256K, encryption) is in none.
KINDS = {
    "oct": [name for name in NAMES if name.startswith("HS")],
    "RSA": [name for name in NAMES if name[:2] in ("RS", "PS")],
    "EC": [alg for alg, _ in CURVES.values()],
    "OKP": list(EDWARDS),
}
PEM_BLOCK = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----.*?-----END \1-----", re.DOTALL)
BASE64URL = re.compile(r"[A-Za-z0-9_-]*")


class VerifyKey(NamedTuple):
    """One key and the one algorithm it is good for: a secret for HS*, else a SubjectPublicKeyInfo in DER."""

    alg: str
    kid: str | None
    material: bytes


class TokenKeys(Struct, frozen=True):
    """What was read, and what was left out and why, one sentence each."""

    keys: list[VerifyKey]
    notes: list[str]


class _Jwk(Struct, frozen=True):
    """The members of a JWK that are looked at (RFC 7517 section 4, RFC 7518 section 6, RFC 8037 section 2)."""

    kty: str
    use: str | None = None
    key_ops: list[str] | None = None
    alg: str | None = None
    kid: str | None = None
    crv: str | None = None
    x: str | None = None
    y: str | None = None
    n: str | None = None
    e: str | None = None
    k: str | None = None
    d: str | None = None


class _Unusable(Exception):
    """This key is not for us; the others of its set may be."""


def read_keys(data: bytes, *, what: str, algorithms: Sequence[str] = (), kid: str | None = None) -> TokenKeys:
    """The keys of a JWK, a JWKS, or of PEM public keys, certificates and private keys, of which the public half is taken.

    `algorithms`: the only ones to accept; where a key does not say which is its own (RSA, secrets), it is taken for each of them that fits.
    `kid`: the name of the keys of a PEM text, which has none. `what` is what an error calls `data`.
    Raises ValueError: not one of these forms, a damaged or too weak key, or none that can verify a token.
    """
    wanted = _wanted(algorithms)
    found = _pem(data, what, wanted, kid) if b"-----BEGIN " in data else _json(data, what, wanted)
    if not found.keys:
        raise ValueError("; ".join([f"{what}: no key in it can verify a token", *found.notes]))
    return found


def secret_key(secret: bytes, *, what: str, algorithm: str, kid: str | None = None) -> VerifyKey:
    """The key of HS256, HS384 or HS512. Raises ValueError for a secret shorter than the hash (RFC 7518 section 3.2), and for a PEM text."""
    if algorithm not in KINDS["oct"]:
        raise ValueError(f"{what}: {algorithm!r} has no secret; expected one of {', '.join(KINDS['oct'])}")
    if b"-----BEGIN " in secret:  # else whoever has the public key could sign
        raise ValueError(f"{what}: is a PEM text, not a secret")
    return _proved(VerifyKey(algorithm, kid, secret), what)


def _wanted(algorithms: Sequence[str]) -> list[str]:
    wanted = [each for name in algorithms for each in (EDWARDS if name == "EdDSA" else [name])]
    unknown = [name for name in wanted if name not in NAMES]
    if unknown:
        raise ValueError(f"{unknown[0]!r} is not an algorithm that tokens may have; expected one of {', '.join([*NAMES, 'EdDSA'])}")
    return wanted


def _proved(key: VerifyKey, where: str) -> VerifyKey:
    try:
        KeySet([key])
    except ValueError as error:
        reason = str(error).removeprefix("key 1").removeprefix(f" ({key.kid!r})").removeprefix(": ")
        raise ValueError(f"{where}: {reason}") from None
    return key


def _choose(named: str | None, fitting: list[str], wanted: list[str], where: str) -> list[str]:
    """The algorithms of a key that names one, or none, and whose kind allows `fitting`."""
    if named is not None:
        candidates = [named]
    elif len(fitting) == 1:
        candidates = fitting
    elif wanted:
        candidates = [name for name in wanted if name in fitting]
    else:
        raise ValueError(f"{where}: does not say its algorithm; name it: one of {', '.join(fitting)}")
    chosen = [name for name in candidates if not wanted or name in wanted]
    if not chosen:
        raise _Unusable(f"is not for {' or '.join(wanted)}")
    return chosen


def _spki(key: Any) -> bytes:
    der: bytes = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return der


# PEM.


def _pem(data: bytes, what: str, wanted: list[str], kid: str | None) -> TokenKeys:
    keys, notes = [], []
    for number, block in enumerate(PEM_BLOCK.finditer(data), 1):
        where = f"{what}: PEM block {number}"
        key = _load(block.group(), block.group(1).decode(), where)
        if "PRIVATE" in block.group(1).decode():
            notes.append(f"{where}: is a private key; only its public half is used")
        try:
            keys += [_proved(VerifyKey(alg, kid, _spki(key)), where) for alg in _choose(None, _fitting(key, where), wanted, where)]
        except _Unusable as error:
            notes.append(f"{where}: {error}")
    return TokenKeys(keys, notes)


def _load(block: bytes, label: str, where: str) -> Any:
    try:
        if label == "CERTIFICATE":
            return x509.load_pem_x509_certificate(block).public_key()
        if "PRIVATE" in label:
            return serialization.load_pem_private_key(block, password=None).public_key()
        return serialization.load_pem_public_key(block)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:  # TypeError: protected by a password
        raise ValueError(f"{where}: cannot be read: {str(error).splitlines()[0]}") from None


def _fitting(key: Any, where: str) -> list[str]:
    match key:
        case rsa.RSAPublicKey():
            return KINDS["RSA"]
        case ec.EllipticCurvePublicKey():
            fitting = [alg for alg, curve in CURVES.values() if curve.name == key.curve.name]
            if not fitting:
                raise ValueError(f"{where}: curve {key.curve.name} is not for tokens; expected one of {', '.join(CURVES)}")
            return fitting
        case ed25519.Ed25519PublicKey():
            return ["Ed25519"]
        case ed448.Ed448PublicKey():
            return ["Ed448"]
    raise ValueError(f"{where}: is a kind of key that cannot verify tokens")


# JWK and JWKS.


def _json(data: bytes, what: str, wanted: list[str]) -> TokenKeys:
    document = _document(data, what)
    listed = document.get("keys", [document])
    if not isinstance(listed, list):
        raise ValueError(f"{what}: keys: expected a list of keys")
    keys: list[VerifyKey] = []
    notes: list[str] = []
    for number, entry in enumerate(listed):
        where = f"{what}: keys[{number}]" if "keys" in document else what
        try:
            keys += _jwk(entry, where, wanted, notes)
        except _Unusable as error:
            notes.append(f"{where}: {error}")
    return TokenKeys(keys, notes)


def _document(data: bytes, what: str) -> dict[str, Any]:
    try:
        document = json.loads(data.decode(), object_pairs_hook=_members, parse_constant=_no_constant)
    except RecursionError:
        raise ValueError(f"{what}: nested too deeply") from None
    except ValueError as error:
        raise ValueError(f"{what}: neither PEM nor JSON: {error}") from None
    if not isinstance(document, dict):
        raise ValueError(f"{what}: expected a JWK or a JWKS, which are objects")
    return document


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise ValueError("two members of an object have the same name")
    return members


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _jwk(entry: Any, where: str, wanted: list[str], notes: list[str]) -> Iterator[VerifyKey]:
    try:
        jwk = msgspec.convert(entry, _Jwk)
    except msgspec.ValidationError as error:
        raise ValueError(f"{where}: {error}") from None
    fitting = _usable(jwk, where)
    material = _material(jwk, where)
    if jwk.d is not None:
        notes.append(f"{where}: holds a private key; only its public half is used")
    named = jwk.crv if jwk.alg == "EdDSA" else jwk.alg
    for alg in _choose(named, fitting, wanted, where):
        yield _proved(VerifyKey(alg, jwk.kid, material), where)


def _usable(jwk: _Jwk, where: str) -> list[str]:
    """The algorithms its type and curve allow. Raises _Unusable for a key that others may have a use for, ValueError for one that contradicts itself."""
    if jwk.kty not in KINDS:
        raise _Unusable(f"kty {jwk.kty!r} is not known here")
    if jwk.use is not None and jwk.use != "sig":
        raise _Unusable(f"use {jwk.use!r} is not for signatures")
    if jwk.key_ops is not None and "verify" not in jwk.key_ops:
        raise _Unusable("key_ops do not hold 'verify'")
    fitting = KINDS[jwk.kty]
    if jwk.kty in ("EC", "OKP"):
        if jwk.crv is None:
            raise ValueError(f"{where}: crv is missing")
        fitting = [CURVES[jwk.crv][0]] if jwk.crv in CURVES and jwk.kty == "EC" else [jwk.crv] if jwk.crv in EDWARDS and jwk.kty == "OKP" else []
        if not fitting:
            raise _Unusable(f"crv {jwk.crv!r} is not for tokens")
    if jwk.alg is None or jwk.alg in fitting or (jwk.alg == "EdDSA" and jwk.kty == "OKP"):
        return fitting
    if jwk.alg in NAMES:
        raise ValueError(f"{where}: alg {jwk.alg!r} does not go with kty {jwk.kty!r}{f' and crv {jwk.crv!r}' if jwk.crv else ''}")
    raise _Unusable(f"alg {jwk.alg!r} is not for tokens")


def _material(jwk: _Jwk, where: str) -> bytes:
    try:
        match jwk.kty:
            case "oct":
                return _octets(jwk.k, f"{where}: k")
            case "RSA":
                return _spki(rsa.RSAPublicNumbers(_integer(jwk.e, f"{where}: e"), _integer(jwk.n, f"{where}: n")).public_key())
            case "EC":
                return _spki(_point(jwk, where))
            case _:
                return _spki(EDWARDS[str(jwk.crv)].from_public_bytes(_octets(jwk.x, f"{where}: x")))
    except ValueError as error:
        raise ValueError(str(error) if str(error).startswith(where) else f"{where}: {error}") from None


def _point(jwk: _Jwk, where: str) -> ec.EllipticCurvePublicKey:
    curve = CURVES[str(jwk.crv)][1]
    size = (curve.key_size + 7) // 8
    x, y = _octets(jwk.x, f"{where}: x"), _octets(jwk.y, f"{where}: y")
    for name, octets in (("x", x), ("y", y)):
        if len(octets) != size:
            raise ValueError(f"{where}: {name} has {len(octets)} octets, {jwk.crv} needs {size} (RFC 7518 section 6.2.1)")
    return ec.EllipticCurvePublicNumbers(int.from_bytes(x), int.from_bytes(y), curve).public_key()


def _integer(text: str | None, where: str) -> int:
    return int.from_bytes(_octets(text, where))


def _octets(text: str | None, where: str) -> bytes:
    if text is None:
        raise ValueError(f"{where} is missing")
    if not BASE64URL.fullmatch(text) or len(text) % 4 == 1:
        raise ValueError(f"{where} is not base64url without padding (RFC 7515 section 2)")
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))
