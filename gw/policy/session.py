"""State that a client keeps for us in cookies: sealed, so that it can neither read nor change it."""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
from collections.abc import Iterable, Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

VERSION = b"\x01"
ID_BYTES, NONCE_BYTES, TAG_BYTES = 4, 12, 16
COOKIE_BYTES = 3500  # browsers keep 4096 of name, value and attributes (RFC 6265 section 6.1)
COOKIES_MAX = 4  # what a head of 32 KiB carries beside the rest


class TooLarge(ValueError):
    """The state does not fit into cookies."""


class Seal:
    """AES-256-GCM. The first key seals, every key opens; one purpose cannot open what another sealed."""

    def __init__(self, keys: Sequence[str], purpose: str) -> None:
        self._keys: dict[bytes, tuple[AESGCM, bytes]] = {}
        for text in reversed(keys):
            key = HKDF(SHA256(), 32, None, b"gw session").derive(text.encode())
            head = VERSION + hashlib.sha256(key).digest()[:ID_BYTES]
            self._keys[head] = AESGCM(key), head + purpose.encode()
            self._head = head  # of the first key in the end

    def seal(self, data: bytes) -> str:
        """In base64url; 96 random bits of nonce are good for 2^32 seals of one key."""
        cipher, bound = self._keys[self._head]
        nonce = os.urandom(NONCE_BYTES)
        return _encoded(self._head + nonce + cipher.encrypt(nonce, data, bound))

    def open(self, text: str) -> bytes | None:
        """What was sealed; None for anything else, another spelling of the same bytes included."""
        try:
            raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            return None
        if _encoded(raw) != text:
            return None
        head, nonce, sealed = raw[: 1 + ID_BYTES], raw[1 + ID_BYTES : 1 + ID_BYTES + NONCE_BYTES], raw[1 + ID_BYTES + NONCE_BYTES :]
        if head not in self._keys or len(sealed) < TAG_BYTES:
            return None
        cipher, bound = self._keys[head]
        try:
            return cipher.decrypt(nonce, sealed, bound)
        except InvalidTag:
            return None


def _encoded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def split(name: str, text: str) -> list[tuple[str, str]]:
    """(name, value) of the cookies that carry the text: `name` begins with how many there are. Raises TooLarge."""
    pieces = [text[at : at + COOKIE_BYTES] for at in range(0, len(text), COOKIE_BYTES)]
    if len(pieces) > COOKIES_MAX:
        raise TooLarge(f"a session of {len(text)} bytes does not fit into {COOKIES_MAX} cookies of {COOKIE_BYTES}")
    return [(chunk_name(name, number), f"{len(pieces)}.{piece}" if number == 0 else piece) for number, piece in enumerate(pieces)]


def joined(name: str, cookies: Iterable[tuple[str, str]]) -> str | None:
    """The text that `split` took apart; None when it is not there, or not whole."""
    found = dict(reversed(list(cookies)))  # of a name that is there twice, the first counts
    count, dot, first = found.get(name, "").partition(".")
    if not dot or count not in {str(number) for number in range(1, COOKIES_MAX + 1)}:
        return None
    pieces = [first, *(found.get(chunk_name(name, number), "") for number in range(1, int(count)))]
    return "".join(pieces) if all(pieces) else None


def chunk_name(name: str, number: int) -> str:
    """Of the cookie that carries one piece."""
    return f"{name}-{number}" if number else name


def is_ours(name: str, cookie: str) -> bool:
    """Whether a cookie's name is one of those that carry the session."""
    return cookie in {chunk_name(name, number) for number in range(COOKIES_MAX)}
