"""Tokens, slow and plain: every reason to refuse one, by the standard library's JSON and PyJWT's signatures."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable, Iterator
from decimal import ROUND_CEILING, Decimal, localcontext
from typing import Any

import jwt

DEPTH_MAX = 16
HEADER_MEMBERS, PAYLOAD_MEMBERS = 64, 512
# What is wrong with a JSON text first depends on where one looks first.
JSON_REASONS = {"utf-8", "depth", "duplicate-member", "members"}
LIMIT = Decimal("1e308")

Key = tuple[str, str | None, Any]  # algorithm, kid, what PyJWT verifies with


class Number(str):
    """As written."""


def encode(octets: bytes) -> str:
    return urlsafe_b64encode(octets).rstrip(b"=").decode()


def decode(part: bytes) -> bytes | None:
    """None unless it is exactly what an encoder makes."""
    try:
        octets = urlsafe_b64decode(part + b"=" * (-len(part) % 4))
    except ValueError:
        return None
    return octets if encode(octets).encode() == part else None


def read(octets: bytes, members_max: int) -> dict[str, Any] | None:
    """None unless it is a JSON object, strictly."""
    try:
        value = json.loads(octets.decode(), object_pairs_hook=unique, parse_constant=refuse, parse_int=Number, parse_float=Number)
        "".join(texts(value)).encode()
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) and depth(value) <= DEPTH_MAX and open_members(value) <= members_max else None


def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) < len(pairs):
        raise ValueError("duplicate")
    return dict(pairs)


def refuse(name: str) -> None:
    raise ValueError(name)


def inside(value: Any) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()


def texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    if isinstance(value, dict):
        yield from value
    for each in inside(value):
        yield from texts(each)


def depth(value: Any) -> int:
    return isinstance(value, dict | list) + max(map(depth, inside(value)), default=0)


def open_members(value: Any) -> int:
    """The most members that are open at one time while the text is read from left to right."""
    if isinstance(value, dict):
        return max([len(value), *(number + open_members(each) for number, each in enumerate(value.values(), 1))])
    return max(map(open_members, inside(value)), default=0)


def date(value: Any) -> int | None:
    """A NumericDate rounded up; None when it is none."""
    if not isinstance(value, Number) or value.startswith("-"):
        return None
    with localcontext(prec=20_000, Emax=10**17, Emin=-(10**17)):
        number = Decimal(value)
        return None if number >= LIMIT else int(number.to_integral_value(ROUND_CEILING))


def plain_text(value: Any) -> bool:
    return isinstance(value, str) and not isinstance(value, Number)


def strings(value: Any) -> list[str] | None:
    listed = value if isinstance(value, list) else [value]
    return listed if all(map(plain_text, listed)) else None


def find(claims: Any, path: str) -> Any:
    while isinstance(claims, dict):
        if path in claims:
            return claims[path]
        parts = path.split(".")
        names = [".".join(parts[:count]) for count in range(len(parts) - 1, 0, -1)]
        name = next((each for each in names if each in claims), None)
        if name is None:
            return None
        claims, path = claims[name], path[len(name) + 1 :]
    return None


def reasons(keys: list[Key], rules: dict[str, Any], token: bytes, wall: int) -> set[str]:
    """Every reason to refuse, or nothing."""
    found = {"too-large"} if len(token) > rules.get("max_bytes", 8192) else set()
    parts = token.split(b".")
    if len(parts) != 3:
        return found | {"malformed"}
    header, payload, signature = map(decode, parts)
    if header is None or payload is None or signature is None:
        found.add("base64")
    if header is None:
        return found
    stated = read(header, HEADER_MEMBERS)
    if stated is None:
        return found | {"header"} | JSON_REASONS
    found |= of_header(stated, rules) | of_signature(keys, stated, parts[0] + b"." + parts[1], signature or b"")
    if payload is None:
        return found
    claims = read(payload, PAYLOAD_MEMBERS)
    return found | ({"payload"} | JSON_REASONS if claims is None else of_claims(claims, rules, wall))


def of_header(header: dict[str, Any], rules: dict[str, Any]) -> set[str]:
    found = {name for name in ("crit", "zip") if name in header}
    if "b64" in header and header["b64"] is not True:
        found.add("b64")
    if any(name in header and not plain_text(header[name]) for name in ("alg", "kid", "typ")):
        found.add("header")
    types = [each.lower().removeprefix("application/") for each in rules.get("types", ())]
    typ = header.get("typ", "")
    lower = "".join(chr(ord(each) + 32) if "A" <= each <= "Z" else each for each in typ) if plain_text(typ) else ""
    if types and lower.removeprefix("application/") not in types:
        found.add("type")
    return found


def of_signature(keys: list[Key], header: dict[str, Any], signed: bytes, signature: bytes) -> set[str]:
    alg, kid = header.get("alg"), header.get("kid")
    algorithms = jwt.algorithms.get_default_algorithms()
    named = [key for key in keys if kid is None or key[1] is None or key[1] == kid]
    fitting = [key for key in named if alg == key[0] or (alg == "EdDSA" and key[0] in ("Ed25519", "Ed448"))]
    if not fitting or alg == "none":
        return {"algorithm", "unknown-kid"}
    if any(algorithms["EdDSA" if key[0].startswith("Ed") else key[0]].verify(signed, key[2], signature) for key in fitting[:8]):
        return set()
    return {"signature", "no-kid"} if len(fitting) > 8 else {"signature"}


def of_claims(claims: dict[str, Any], rules: dict[str, Any], wall: int) -> set[str]:
    found: set[str] = set()
    leeway = rules.get("leeway", 0)
    dates = {name: date(claims[name]) for name in ("exp", "nbf", "iat") if name in claims}
    scope = claims.get("scope", claims.get("scp", ""))
    texts_wrong = any(name in claims and not plain_text(claims[name]) for name in ("iss", "sub"))
    if None in dates.values() or texts_wrong or strings(claims.get("aud", "")) is None or strings(scope) is None:
        found.add("claim-type")
    if "exp" not in claims and rules.get("require_exp", True):
        found.add("claim-missing")
    at = {name: value for name, value in dates.items() if value is not None}
    if "exp" in at and wall - leeway >= at["exp"]:
        found.add("expired")
    if "nbf" in at and wall + leeway < at["nbf"]:
        found.add("not-yet-valid")
    if "iat" in at and wall + leeway < at["iat"]:
        found.add("issued-later")
    return found | of_identity(claims, scope, rules)


def of_identity(claims: dict[str, Any], scope: Any, rules: dict[str, Any]) -> set[str]:
    found: set[str] = set()
    for rule, claim, reason in (("issuers", "iss", "issuer"), ("audiences", "aud", "audience")):
        if rules.get(rule):
            if claim not in claims:
                found.add("claim-missing")
            elif not set(strings(claims[claim]) or ()) & set(rules[rule]):
                found.add(reason)
    if any(find(claims, path) is None for path in rules.get("required", ())):
        found.add("claim-missing")
    granted = scope if isinstance(scope, list) else str(scope).split(" ")
    if not set(rules.get("scopes", ())) <= {each for each in granted if plain_text(each)}:
        found.add("scope")
    return found
