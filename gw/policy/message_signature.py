"""Signatures of a request: what they cover, and whether a key made them (RFC 9421, and the older form in Authorization)."""

from __future__ import annotations

import base64
import binascii
import hmac
import re
from collections.abc import Callable, Iterator
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import parse_qsl, quote

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils
from http_sf import StructuredFieldError, parse, ser
from msgspec import Struct

from gw._fast.hooks import Request
from gw.policy.target import authority, target

SIGNATURES_MAX = 4  # looked at in one request
COMPONENTS_MAX = 64
RSA_BITS = range(2048, 8193)
P256_BYTES = 32
SECRET_MIN = 16
_PARAMETER = re.compile(r'[ \t]*([A-Za-z]+)=(?:"([^"\\]*)"|([0-9]+))[ \t]*(?:,|$)', re.ASCII)


class Malformed(ValueError):
    """What is there is no signature that can be read."""


class Signed(Struct, frozen=True):
    """One signature as it was sent. Times are Unix seconds."""

    key: str
    base: bytes  # what was signed
    signature: bytes
    covered: frozenset[str]  # components, those of the older form by their newer names
    algorithm: str | None = None
    created: float | None = None
    expires: float | None = None
    nonce: str = ""
    tag: str = ""
    fields: tuple[str, ...] = ("Signature", "Signature-Input")  # where it stands


class Key(Struct, frozen=True):
    """What verifies the signatures of one key id, with the one algorithm that it is for."""

    algorithm: str
    verify: Callable[[bytes, bytes], bool]  # (signature, base)


def key_of(material: str) -> Key:
    """A public key in PEM; anything else is a shared secret, `base64:` one of bytes that are no text. Raises ValueError for a key that is of no use."""
    if "-----BEGIN" not in material:
        encoded = material.removeprefix("base64:")
        secret = material.encode() if encoded == material else base64.b64decode(encoded, validate=True)
        if len(secret) < SECRET_MIN:
            raise ValueError(f"a secret has at least {SECRET_MIN} bytes")
        return Key("hmac-sha256", lambda signature, base: hmac.compare_digest(hmac.digest(secret, base, "sha256"), signature))
    try:
        public = serialization.load_pem_public_key(material.encode())
    except UnsupportedAlgorithm as error:
        raise ValueError(str(error)) from None
    if isinstance(public, ed25519.Ed25519PublicKey):
        return Key("ed25519", _verifier(public.verify))
    if isinstance(public, ec.EllipticCurvePublicKey) and isinstance(public.curve, ec.SECP256R1):
        return Key("ecdsa-p256-sha256", _verifier(lambda signature, base: public.verify(_der(signature), base, ec.ECDSA(hashes.SHA256()))))
    if isinstance(public, rsa.RSAPublicKey) and public.key_size in RSA_BITS:
        pss = padding.PSS(padding.MGF1(hashes.SHA512()), salt_length=64)  # RFC 9421 section 3.3.1
        return Key("rsa-pss-sha512", _verifier(lambda signature, base: public.verify(signature, base, pss, hashes.SHA512())))
    raise ValueError("a public key is Ed25519, P-256, or RSA with 2048 to 8192 bits")


def _verifier(verify: Callable[[bytes, bytes], None]) -> Callable[[bytes, bytes], bool]:
    def good(signature: bytes, base: bytes) -> bool:
        try:
            verify(signature, base)
        except (InvalidSignature, ValueError):
            return False
        return True

    return good


def _der(signature: bytes) -> bytes:
    """Of two numbers side by side (RFC 9421 section 3.3.4)."""
    if len(signature) != 2 * P256_BYTES:
        raise ValueError("a signature of P-256 has 64 bytes")
    return utils.encode_dss_signature(int.from_bytes(signature[:P256_BYTES]), int.from_bytes(signature[P256_BYTES:]))


def message_signatures(request: Request, label: str | None) -> list[Signed]:
    """Those of Signature and Signature-Input, or the one with this label. Empty when there are none; raises Malformed."""
    inputs, signatures = request.headers.get_all("signature-input"), request.headers.get_all("signature")
    if not inputs or not signatures:
        return []
    described, made = _dictionary(inputs), _dictionary(signatures)
    labels = [each for each in described if each in made and label in (None, each)]
    return [_signed(request, described[each], made[each][0]) for each in labels[:SIGNATURES_MAX]]


def _dictionary(values: list[str]) -> dict[str, Any]:
    try:
        return dict(parse(", ".join(values).encode("latin-1"), tltype="dictionary"))  # type: ignore[arg-type]  # of any type; that one gives a dict
    except StructuredFieldError as error:
        raise Malformed(str(error)) from None


def _signed(request: Request, described: tuple[Any, dict[str, Any]], signature: Any) -> Signed:
    components, parameters = described
    if not isinstance(components, list) or len(components) > COMPONENTS_MAX or type(signature) is not bytes:
        raise Malformed("a list of components and a byte sequence are expected")
    names = [ser(component) if type(component[0]) is str else "" for component in components]
    if len(set(names)) < len(names) or "" in names:
        raise Malformed("components are strings and differ")
    lines = [f"{name}: {_component(request, *component)}" for name, component in zip(names, components, strict=True)]
    lines.append(f'"@signature-params": {ser([described])}')
    return Signed(
        key=_typed(parameters, "keyid", str, ""),
        base="\n".join(lines).encode("latin-1"),
        signature=signature,
        covered=frozenset(component[0] for component in components if not component[1]),
        algorithm=_typed(parameters, "alg", str, None),
        created=_typed(parameters, "created", int, None),
        expires=_typed(parameters, "expires", int, None),
        nonce=_typed(parameters, "nonce", str, ""),
        tag=_typed(parameters, "tag", str, ""),
    )


def _typed(parameters: dict[str, Any], name: str, kind: type, otherwise: Any) -> Any:
    value = parameters.get(name, otherwise)
    if name in parameters and type(value) is not kind:  # a token is a str of its own, true an int
        raise Malformed(f"parameter {name} has the wrong type")
    return value


def _component(request: Request, name: str, parameters: dict[str, Any]) -> str:
    """Its value (RFC 9421 section 2)."""
    if name == "@query-param":
        return _query_parameter(request.query, parameters)
    if name.startswith("@"):
        if parameters or name not in DERIVED:
            raise Malformed(f"component {name} is not known here")
        return DERIVED[name](request)
    values = request.headers.get_all(name)
    if name != name.lower() or not values:
        raise Malformed(f"there is no field {name}")
    if parameters == {"bs": True}:
        return ", ".join(f":{base64.b64encode(value.encode('latin-1')).decode()}:" for value in values)
    if parameters:
        raise Malformed(f"parameters of component {name} are not known here")
    return ", ".join(values)


def _query_parameter(query: str, parameters: dict[str, Any]) -> str:
    """RFC 9421 section 2.2.8: named and given as form-encoding writes it, and only when the name is there once."""
    values = [value for name, value in parse_qsl(query, keep_blank_values=True) if _form(name) == parameters.get("name")]
    if len(values) != 1 or len(parameters) != 1:
        raise Malformed("@query-param names one parameter that is there once")
    return _form(values[0])


def _form(text: str) -> str:
    return quote(text, safe="*").replace("~", "%7E")


DERIVED: dict[str, Callable[[Request], str]] = {
    "@method": lambda request: request.method,
    "@target-uri": lambda request: f"{request.scheme}://{authority(request)}{target(request)}",
    "@authority": authority,
    "@scheme": lambda request: request.scheme,
    "@request-target": target,
    "@path": lambda request: request.path,
    "@query": lambda request: f"?{request.query}",
}
# What is covered by covering something else; `(request-target)` and `request-line` are the older form's.
IMPLIED = {
    "@target-uri": {"@scheme", "@authority", "@path", "@query", "@request-target"},
    "@request-target": {"@path", "@query"},
    "(request-target)": {"@method", "@path", "@query", "@request-target"},
    "request-line": {"@method", "@path", "@query", "@request-target"},
    "host": {"@authority"},
    "digest": {"content-digest"},
}


def implied(covered: frozenset[str]) -> set[str]:
    """These components and all that they cover; authority, path and query together are the target URI but for its scheme."""
    found = set(covered).union(*(IMPLIED.get(name, ()) for name in covered))
    if {"@path", "@query"} <= found:
        found |= {"@request-target", "@target-uri"} if "@authority" in found else {"@request-target"}
    return found


def authorization_signatures(request: Request) -> list[Signed]:
    """That of `Authorization: Signature keyId="..."` or `hmac username="..."`. Empty when there is none; raises Malformed."""
    fields = [value.partition(" ") for value in request.headers.get_all("authorization")]
    found = [parameters for scheme, _, parameters in fields if scheme.lower() in ("signature", "hmac")]
    if len(found) > 1:
        raise Malformed("there are two of them")
    return [_authorization(request, dict(_parameters(text))) for text in found]


def _parameters(text: str) -> Iterator[tuple[str, str]]:
    at, seen = 0, set()
    while at < len(text):
        match = _PARAMETER.match(text, at)
        if match is None or match[1] in seen:
            raise Malformed("parameters are name='value', each once")
        seen.add(match[1])
        yield match[1], match[2] if match[2] is not None else match[3]
        at = match.end()


def _authorization(request: Request, parameters: dict[str, str]) -> Signed:
    names = parameters.get("headers", "date").lower().split()
    if not names or len(set(names)) < len(names):
        raise Malformed("headers are named once each")
    try:
        signature = base64.b64decode(parameters.get("signature", ""), validate=True)
    except (binascii.Error, ValueError):
        raise Malformed("the signature is not in base64") from None
    dated = next((name for name in ("x-date", "date") if name in names), None)
    return Signed(
        key=parameters.get("keyId", parameters.get("username", "")),
        base="\n".join(_line(request, name) for name in names).encode("latin-1"),
        signature=signature,
        covered=frozenset(names),
        algorithm=parameters.get("algorithm"),
        created=_date(request.headers.get_all(dated)) if dated else None,
        fields=("Authorization",),
    )


def _line(request: Request, name: str) -> str:
    if name == "(request-target)":
        return f"{name}: {request.method.lower()} {target(request)}"
    if name == "request-line":
        return f"{request.method} {target(request)} HTTP/1.1"
    values = request.headers.get_all(name)
    if not values:
        raise Malformed(f"there is no field {name}")
    return f"{name}: {', '.join(values)}"


def _date(values: list[str]) -> float:
    """Of an HTTP date (RFC 9110 section 5.6.7), which is in GMT."""
    try:
        if len(values) == 1 and values[0].endswith(" GMT"):
            return parsedate_to_datetime(values[0]).timestamp()
    except (ValueError, OverflowError):
        pass
    raise Malformed("one date is expected, such as Tue, 20 Apr 2021 02:07:55 GMT")
