"""Tokens for the workloads that check them: the key, what peers verify with, and 200 callers."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

COUNT = 200
LIFE = 4 * 3600  # seconds: longer than any run
AUDIENCE = "bench"


@dataclass(frozen=True)
class Issued:
    """`key` is a secret as text, or a public key as PEM; `forged` is good but for its signature."""

    alg: str
    key: str
    tokens: list[str]
    forged: str

    def write(self, folder: Path) -> tuple[Path, Path]:
        """The key and the tokens, one a line, as files in `folder`."""
        key, tokens = folder / "token.key", folder / "tokens.txt"
        key.write_text(self.key)
        tokens.write_text("\n".join(self.tokens) + "\n")
        return key, tokens


@cache
def issue(alg: str) -> Issued:
    """Made once for all peers. `alg` is HS256 or RS256."""
    secret = hashlib.sha256(b"gw benchmarks").hexdigest()
    private = rsa.generate_private_key(65537, 2048) if alg == "RS256" else None

    def sign(text: str) -> bytes:
        if private:
            return private.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256())
        return hmac.digest(secret.encode(), text.encode(), "sha256")

    spki = (serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    key = private.public_key().public_bytes(*spki).decode() if private else secret
    unsigned = [_unsigned(alg, number) for number in range(COUNT)]
    tokens = [f"{text}.{_base64url(sign(text))}" for text in unsigned]
    return Issued(alg, key, tokens, f"{unsigned[0]}.{tokens[1].rpartition('.')[2]}")


def _unsigned(alg: str, number: int) -> str:
    now = int(time.time())
    claims = {"iss": "https://issuer.example/", "sub": f"user-{number:07d}", "aud": AUDIENCE, "exp": now + LIFE, "iat": now, "scope": "read write", "jti": f"8f1b7c2e{number:04x}"}
    return ".".join(_base64url(json.dumps(each, separators=(",", ":")).encode()) for each in ({"alg": alg, "typ": "JWT"}, claims))


def _base64url(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()
