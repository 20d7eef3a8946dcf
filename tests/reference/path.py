"""Slow oracle of gw._fast.path: the rules of docs/paths.md on whole lists, with every reason that applies instead of the first one met."""

from __future__ import annotations

import re

UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
RAW = {ord(" "): "space", ord("#"): "delimiter", ord("?"): "delimiter", ord("\\"): "backslash", ord("%"): "escape"}
ENCODED = {ord("/"): "encoded-slash", ord("\\"): "encoded-slash", ord(";"): "parameter"}
OVERLONG = re.compile(rb"%C[01]%[89AB]|%E0%[89]|%F0%8")
TWICE = re.compile(rb"%25(?:2e|2f|5c|25|3b|00)", re.IGNORECASE)

# Codes of gw._fast.path in the oracle's words.
CODES = {
    -1: "start",
    -2: "escape",
    -3: "control",
    -4: "byte",
    -5: "space",
    -6: "delimiter",
    -7: "backslash",
    -8: "encoded-slash",
    -9: "parameter",
    -10: "hidden-dots",
    -11: "above-root",
    -12: "double",
    -13: "overlong",
}


def normalise(raw: bytes, *, keep_slash: bool, keep_parameters: bool, merge: bool) -> bytes | set[str]:
    """The normal form, or all reasons to refuse."""
    if not raw.startswith(b"/"):
        return {"start"}
    tokens = re.findall(rb"%[0-9A-Fa-f]{2}|.", raw, re.DOTALL)
    reasons = {reason for token in tokens for reason in octet_reasons(token)}
    reasons -= {"encoded-slash"} if keep_slash else set()
    reasons -= {"parameter"} if keep_parameters else set()
    text = b"".join(map(written, tokens))
    segments = text[1:].split(b"/")
    reasons |= {"hidden-dots" for segment in segments if hides_dots(segment)}
    reasons |= {"double"} if TWICE.search(text) else set()
    reasons |= {"overlong"} if OVERLONG.search(text) else set()
    path = resolve(segments, merge)
    return reasons | ({"above-root"} if path is None else set()) if reasons or path is None else path


def octet_reasons(token: bytes) -> set[str]:
    octet = int(token[1:], 16) if len(token) == 3 else token[0]
    if octet < 0x20 or octet == 0x7F:
        return {"control"}
    if len(token) == 3:
        return {ENCODED[octet]} if octet in ENCODED else set()
    if octet >= 0x80:
        return {"byte"}
    return {"parameter"} if token == b";" else {RAW[octet]} if octet in RAW else set()


def written(token: bytes) -> bytes:
    if len(token) == 1:
        return token
    octet = int(token[1:], 16)
    return bytes([octet]) if octet in UNRESERVED else token.upper()


def hides_dots(segment: bytes) -> bool:
    names = [re.split(rb";|%3B", piece)[0] for piece in re.split(rb"%2F|%5C", segment)]
    return segment not in (b".", b"..") and any(name in (b".", b"..") for name in names)


def resolve(segments: list[bytes], merge: bool) -> bytes | None:
    """RFC 3986 section 5.2.4 on a list; None above the root."""
    *inner, last = segments
    kept: list[bytes] = []
    for segment in [one for one in inner if one or not merge]:
        if segment == b"..":
            if not kept:
                return None
            kept.pop()
        elif segment != b".":
            kept.append(segment)
    if last == b"..":
        if not kept:
            return None
        kept.pop()
    return b"/" + b"/".join([*kept, b"" if last in (b".", b"..") else last])
