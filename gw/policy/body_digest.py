"""Whether a body is the one that a request's digests name: Content-Digest (RFC 9530) and the Digest before it (RFC 3230)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterator

from http_sf import StructuredFieldError, parse

from gw._fast.hooks import Request

ALGORITHMS = {"sha-256": "sha256", "sha-512": "sha512"}  # RFC 9530 section 5: the others do not withstand anybody


def digests_hold(request: Request, body: bytes) -> bool:
    """Each field has at least one digest in SHA-256 or SHA-512, and all of those are the body's. True when there is no such field."""
    for name, read in (("content-digest", _content_digests), ("digest", _digests)):
        values = request.headers.get_all(name)
        if not values:
            continue
        try:
            given = [(ALGORITHMS[algorithm], value) for algorithm, value in read(", ".join(values)) if algorithm in ALGORITHMS]
        except ValueError:
            return False
        if not given or not all(hmac.compare_digest(hashlib.new(algorithm, body).digest(), value) for algorithm, value in given):
            return False
    return True


def _content_digests(text: str) -> Iterator[tuple[str, bytes]]:
    """A dictionary of byte sequences (RFC 9530 section 2). Raises ValueError."""
    try:
        found: dict[str, tuple[object, object]] = dict(parse(text.encode("latin-1"), tltype="dictionary"))  # type: ignore[arg-type]  # of any type; that one gives a dict
    except StructuredFieldError as error:
        raise ValueError(str(error)) from None
    for name, (value, _) in found.items():
        if not isinstance(value, bytes):
            raise ValueError(f"{name} is no byte sequence")
        yield name, value


def _digests(text: str) -> Iterator[tuple[str, bytes]]:
    """A list of algorithm=value, the value in base64 (RFC 3230 section 4.3.2). Raises ValueError."""
    for part in text.split(","):
        name, equals, value = part.strip(" \t").partition("=")
        if name.lower() in ALGORITHMS:
            try:
                yield name.lower(), base64.b64decode(value, validate=True)
            except binascii.Error as error:
                raise ValueError(str(error)) from None
        elif not equals:
            raise ValueError("a digest is algorithm=value")
