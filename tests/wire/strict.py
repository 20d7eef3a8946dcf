"""A strict reader of HTTP/1.x messages (RFC 9112): what it does not accept, no receiver should ever be sent."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
REQUEST_LINE = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+) ([^\x00-\x20\x7f]+) HTTP/1\.([01])")
STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9]{2}) ([\t \x21-\x7e\x80-\xff]*)")
FIELD_LINE = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*)")
HOST = re.compile(rb"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9\-._~!$&'()*+,;=%]+)(:[0-9]*)?")
DIGITS = re.compile(rb"[0-9]+")
CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,16})((?:[ \t]*;[ \t]*[!#$%&'*+\-.^_`|~0-9A-Za-z]+(?:[ \t]*=[ \t]*(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]+|\"(?:[^\x00-\x08\x0a-\x1f\x7f\"\\]|\\[\t\x20-\x7e\x80-\xff])*\"))?)*)[ \t]*")
FORBIDDEN_TRAILERS = {b"content-length", b"transfer-encoding", b"host", b"connection", b"trailer", b"te", b"upgrade", b"authorization", b"content-encoding", b"content-type", b"content-range"}
NO_BODY = {204, 304}


class Malformed(ValueError):
    """Bytes that are no HTTP message. `framing` tells whether two receivers could disagree on where the message ends."""

    def __init__(self, text: str, framing: bool = True) -> None:
        super().__init__(text)
        self.framing = framing


@dataclass(slots=True)
class Message:
    """What requests and responses share. `raw` is the bytes as received, head and body."""

    version: str
    fields: list[tuple[bytes, bytes]]
    body: bytes = b""
    trailers: list[tuple[bytes, bytes]] = field(default_factory=list)
    chunked: bool = False
    raw: bytes = b""

    def all(self, name: str) -> list[bytes]:
        key = name.lower().encode()
        return [value for known, value in self.fields if known.lower() == key]

    def first(self, name: str) -> bytes | None:
        return next(iter(self.all(name)), None)

    def tokens(self, name: str) -> set[bytes]:
        return {part.strip().lower() for value in self.all(name) for part in value.split(b",")} - {b""}


@dataclass(slots=True)
class Request(Message):
    method: str = ""
    target: str = ""
    connection: int = 0

    @property
    def keep_alive(self) -> bool:
        tokens = self.tokens("connection")
        return b"close" not in tokens and (self.version == "1.1" or b"keep-alive" in tokens)


@dataclass(slots=True)
class Response(Message):
    status: int = 0
    reason: bytes = b""
    framing: str = "none"  # none | length | chunked | close
    complete: bool = True  # False: the connection ended before the framing said so

    @property
    def closes(self) -> bool:
        tokens = self.tokens("connection")
        return b"close" in tokens or self.framing == "close" or (self.version == "1.0" and b"keep-alive" not in tokens)


def split_head(buffer: bytes) -> tuple[list[bytes], int] | None:
    end = buffer.find(b"\r\n\r\n")
    head = buffer if end < 0 else buffer[: end + 2]
    stray = re.search(rb"(?<!\r)\n|\r(?!\n)|\x00", head[:-1] if end < 0 and head.endswith(b"\r") else head)
    if stray:
        raise Malformed(f"bare CR, bare LF or NUL in a head at {stray.start()}: {head[max(0, stray.start() - 20) : stray.end() + 20]!r}")
    return None if end < 0 else (buffer[:end].split(b"\r\n"), end + 4)


def read_fields(lines: list[bytes]) -> list[tuple[bytes, bytes]]:
    found = []
    for line in lines:
        match = FIELD_LINE.fullmatch(line)
        if not match:
            raise Malformed(f"field line {line[:80]!r}", framing=line[:1] in b" \t" or b":" not in line or b" " in line.split(b":")[0])
        found.append((match[1], match[2].rstrip(b" \t")))
    return found


def declared_length(message: Message) -> int | None:
    lengths = message.all("content-length")
    if len(lengths) > 1:
        raise Malformed(f"{len(lengths)} Content-Length fields")
    if lengths and not DIGITS.fullmatch(lengths[0]):
        raise Malformed(f"Content-Length {lengths[0][:40]!r}")
    codings = message.all("transfer-encoding")
    if codings:
        if lengths:
            raise Malformed("Content-Length beside Transfer-Encoding")
        if len(codings) > 1 or codings[0].lower() != b"chunked" or message.version == "1.0":
            raise Malformed(f"Transfer-Encoding {codings!r} on HTTP/{message.version}")
        message.chunked = True
    return int(lengths[0]) if lengths else None


def read_chunks(buffer: bytes, at: int, message: Message) -> int | None:
    """Read a chunked body that starts at `at`; returns where it ends, or None while it is incomplete."""
    parts = []
    while True:
        end = buffer.find(b"\r\n", at)
        line = buffer[at:] if end < 0 else buffer[at:end]
        if re.search(rb"\n|\x00|\r(?!$)", line) or (end < 0 and len(line) > 64 * 1024):
            raise Malformed(f"chunk size line {line[:60]!r}")
        if end < 0:
            return None
        match = CHUNK_LINE.fullmatch(line)
        if not match:
            raise Malformed(f"chunk size line {line[:60]!r}")
        size, at = int(match[1], 16), end + 2
        if size == 0:
            break
        if len(buffer) >= at + size + 1 and buffer[at + size : at + size + 1] != b"\r":
            raise Malformed("chunk data is not followed by CRLF")
        if len(buffer) < at + size + 2:
            return None
        if buffer[at + size : at + size + 2] != b"\r\n":
            raise Malformed("chunk data is not followed by CRLF")
        parts.append(buffer[at : at + size])
        at += size + 2
    end = at if buffer[at : at + 2] == b"\r\n" else buffer.find(b"\r\n\r\n", at)
    if end < 0:
        return None
    if end > at:
        split = split_head(buffer[at : end + 4])
        assert split
        message.trailers = read_fields(split[0])
        bad = [name for name, _ in message.trailers if name.lower() in FORBIDDEN_TRAILERS]
        if bad:
            raise Malformed(f"forbidden trailer {bad[0]!r}", framing=False)
        end += 2
    message.body = b"".join(parts)
    return end + 2


def take_request(buffer: bytes) -> tuple[Request, int] | None:
    """The first request in `buffer` and its length, None while incomplete. Raises Malformed."""
    split = split_head(buffer)
    if split is None:
        return None
    lines, end = split
    match = REQUEST_LINE.fullmatch(lines[0])
    if not match:
        raise Malformed(f"request line {lines[0][:80]!r}")
    request = Request(version=f"1.{match[3].decode()}", fields=read_fields(lines[1:]), method=match[1].decode(), target=match[2].decode("latin-1"))
    if not (request.target.startswith("/") or (request.method == "OPTIONS" and request.target == "*")) or "#" in request.target:
        raise Malformed(f"request target {request.target[:80]!r}", framing=False)
    hosts = request.all("host")
    if (len(hosts) != 1 and request.version == "1.1") or len(hosts) > 1 or (hosts and not HOST.fullmatch(hosts[0])):
        raise Malformed(f"Host {hosts!r}", framing=False)
    length = declared_length(request)
    if request.chunked:
        done = read_chunks(buffer, end, request)
        if done is None:
            return None
        end = done
    elif length:
        if len(buffer) < end + length:
            return None
        request.body = buffer[end : end + length]
        end += length
    request.raw = buffer[:end]
    return request, end


def take_response(buffer: bytes, method: str, eof: bool = False) -> tuple[Response, int] | None:
    """The first response in `buffer` and its length, None while incomplete. At `eof` a cut body gives `complete=False`. Raises Malformed."""
    split = split_head(buffer)
    if split is None:
        return None
    lines, end = split
    match = STATUS_LINE.fullmatch(lines[0])
    if not match:
        raise Malformed(f"status line {lines[0][:80]!r}")
    response = Response(version=f"1.{match[1].decode()}", fields=read_fields(lines[1:]), status=int(match[2]), reason=match[3])
    length = declared_length(response)
    if response.status < 200 or response.status in NO_BODY or method == "HEAD":
        response.raw = buffer[:end]
        return response, end
    if response.chunked:
        response.framing = "chunked"
        done = read_chunks(buffer, end, response)
    elif length is not None:
        response.framing = "length"
        response.body = buffer[end : end + length]
        done = end + length if len(buffer) >= end + length else None
    else:
        response.framing = "close"
        response.body = buffer[end:]
        done = len(buffer) if eof else None
    if done is None:
        if not eof:
            return None
        response.complete, done = False, len(buffer)
    response.raw = buffer[:done]
    return response, done
