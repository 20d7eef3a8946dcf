"""HTTP/1.1 framing written down from the RFCs, slowly: what the compiled kernels are compared with.

Each rule is one expression named after its rule. What gw takes beyond the grammar, or refuses within it, is a parameter or stands beside the rule.
"""

from __future__ import annotations

import ipaddress
import re
from typing import NamedTuple

# RFC 9110 section 5.6
TCHAR = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]"
TOKEN = TCHAR + rb"+"
OWS = rb"[ \t]*"
QUOTED = rb'"(?:[\t !#-\[\]-~\x80-\xff]|\\[\t -~\x80-\xff])*"'
# RFC 9110 section 5.5: field-vchar, SP, HTAB and obs-text, no white space at the ends
VALUE = rb"(?:[!-~\x80-\xff](?:[\t -~\x80-\xff]*[!-~\x80-\xff])?)?"
FIELD_LINE = re.compile(rb"(%b):%b(%b)%b\r\n" % (TOKEN, OWS, VALUE, OWS), re.DOTALL)

# RFC 9112 section 7.1.1, errata included: white space may stand around ";" and "="
EXTENSIONS = rb"(?:%b;%b%b(?:%b=%b(?:%b|%b))?)*" % (OWS, OWS, TOKEN, OWS, OWS, TOKEN, QUOTED)
# Old servers fill the line with white space: nobody can misread it
LOOSE_EXTENSIONS = EXTENSIONS + OWS

HEXDIG = rb"[0-9A-Fa-f]+"


class Decoded(NamedTuple):
    """A chunked body taken apart."""

    payload: bytes
    trailers: bytes  # the trailer section, without the empty line that ends it
    taken: int  # bytes up to the end of the message


def chunked(data: bytes, *, loose: bool) -> Decoded | str | None:
    """Decoded, "chunk" when it is malformed, None when `data` ends inside the body. Numbers of any size; no other limits."""
    size_line = re.compile(rb"(%b)(%b)\r\n" % (HEXDIG, LOOSE_EXTENSIONS if loose else EXTENSIONS), re.DOTALL)
    payload = b""
    at = 0
    while True:
        line = size_line.match(data, at)
        if line is None:
            return _cut_or_bad(data[at:])
        at = line.end()
        size = int(line[1], 16)
        if size == 0:
            return _section(data, at, payload)
        payload += data[at : at + size]
        at += size
        if data[at : at + 2] != b"\r\n":
            return None if b"\r\n".startswith(data[at : at + 2]) else "chunk"
        at += 2


def _cut_or_bad(rest: bytes) -> str | None:
    """Whether bytes can follow `rest` that make it begin with a size line: the end of a quoted string, the end of the line."""
    line = re.compile(rb"%b%b\r\n" % (HEXDIG, LOOSE_EXTENSIONS), re.DOTALL)
    found = not rest or any(line.fullmatch(rest + string + end) for string in (b"", b'"', b'x"') for end in (b"\r\n", b"\n"))
    return None if found else "chunk"


def _section(data: bytes, at: int, payload: bytes) -> Decoded | str | None:
    """Lines end in CRLF; a CR or LF alone is malformed. Which lines are fields is another question."""
    rest = data[at:]
    bare = re.search(rb"\r(?=[^\n])|(?<!\r)\n", rest)
    end = 0 if rest.startswith(b"\r\n") else rest.find(b"\r\n\r\n") + 2
    if rest.startswith(b"\r\n") or end > 1:
        if bare and bare.start() < end:
            return "chunk"
        return Decoded(payload, rest[:end], at + end + 2)
    return "chunk" if bare else None


# RFC 9110 section 6.5.1: framing, routing, authentication, conditions, controls and what describes the content are never trailers.
# gw's known names are among them but for Date and Via; a known name spelled with `_` is dropped as everywhere.
KNOWN = {
    "host", "content-length", "transfer-encoding", "expect", "connection", "keep-alive", "proxy-connection", "te", "upgrade", "http2-settings", "forwarded", "x-forwarded-for",
    "x-forwarded-proto", "x-forwarded-host", "x-real-ip", "via", "trailer", "date", "authorization", "cookie",
}  # fmt: skip
NO_TRAILERS = KNOWN - {"date", "via"} | {
    "content-encoding", "content-type", "content-range",
    "cache-control", "max-forwards", "pragma", "range", "if-match", "if-none-match", "if-modified-since", "if-unmodified-since", "if-range",
    "www-authenticate", "proxy-authenticate", "proxy-authorization", "set-cookie", "age", "expires", "location", "retry-after", "vary", "warning",
}  # fmt: skip


def trailers(section: bytes) -> bytes | None:
    """Field lines that may go on, or None when one of them is no field line."""
    kept = b""
    at = 0
    while at < len(section):
        line = FIELD_LINE.match(section, at)
        if line is None:
            return None
        name = line[1].decode().lower()
        dashed = name.replace("_", "-")
        if not (dashed in NO_TRAILERS or dashed.startswith("x-forwarded-") or (name != dashed and dashed in KNOWN)):
            kept += line[0]
        at = line.end()
    return kept


# RFC 3986 section 3.2.2 and 3.2.3, RFC 9110 section 7.2
REG_NAME = re.compile(r"[A-Za-z0-9\-._~!$&'()*+;=]+")  # less the comma, which would join two hosts; less "%": no host name needs it
PORT = re.compile(r"(?::(\d{0,5}))?")


def host(text: bytes) -> bytes | None:
    """A Host value in lower case, without port and without one trailing dot; None when it is not one host."""
    written = text.decode("latin-1")
    name, bracket, rest = written.partition("]") if written.startswith("[") else (written.partition(":")[0], "", written[len(written.partition(":")[0]) :])
    port = PORT.fullmatch(rest)
    if port is None or int(port[1] or 0) > 65535:
        return None
    if bracket:
        return (name + bracket).lower().encode() if _is_ipv6(name[1:]) else None
    if not REG_NAME.fullmatch(name):
        return None
    bare = name.lower().removesuffix(".")
    return bare.encode() or None


def _is_ipv6(text: str) -> bool:
    try:
        return "%" not in text and bool(ipaddress.IPv6Address(text))
    except ValueError:
        return False


# RFC 9112 sections 2 and 3
REQUEST_LINE = re.compile(rb"(?:\r\n){0,8}(%b) ([!-~]+) HTTP/1\.([0-9])\r\n" % TOKEN)


class Head(NamedTuple):
    """A request's head as the grammar has it."""

    method: bytes
    target: bytes
    minor: int
    fields: list[tuple[bytes, bytes]]
    length: int


def request(data: bytes) -> Head | None:
    """The head at the front of `data`, or None when there is no whole one by the grammar."""
    line = REQUEST_LINE.match(data)
    if line is None:
        return None
    at = line.end()
    fields = []
    while field := FIELD_LINE.match(data, at):
        fields.append((field[1], field[2]))
        at = field.end()
    return Head(line[1], line[2], int(line[3]), fields, at + 2) if data[at : at + 2] == b"\r\n" else None
