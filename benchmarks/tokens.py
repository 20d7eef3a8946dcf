"""Tokens for the workloads that check them: the key, what peers verify with, 200 callers, and tokens that must be refused."""

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
SUBJECT = "X-Subject"  # the field that tells the origin who calls


@dataclass(frozen=True)
class Issued:
    """`key` is a secret as text, or a public key as PEM, `jwks` the same as a JWKS; `refused` names what is wrong with each token that must not pass."""

    alg: str
    key: str
    jwks: str
    tokens: list[str]
    refused: dict[str, str]

    def write(self, folder: Path) -> Path:
        """The key as a file in `folder`."""
        path = folder / "token.key"
        path.write_text(self.key)
        return path


@cache
def issue(alg: str) -> Issued:
    """Made once for all peers. `alg` is HS256 or RS256."""
    secret = hashlib.sha256(b"gw benchmarks").hexdigest()
    private = rsa.generate_private_key(65537, 2048) if alg == "RS256" else None

    def signed(claims: dict[str, object]) -> str:
        text = ".".join(base64url(json.dumps(each, separators=(",", ":")).encode()) for each in ({"alg": alg, "typ": "JWT"}, claims))
        if private:
            return f"{text}.{base64url(private.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256()))}"
        return f"{text}.{base64url(hmac.digest(secret.encode(), text.encode(), 'sha256'))}"

    spki = (serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    key = private.public_key().public_bytes(*spki).decode() if private else secret
    tokens = [signed(_claims(number)) for number in range(COUNT)]
    refused = {
        "forged": f"{tokens[0].rpartition('.')[0]}.{tokens[1].rpartition('.')[2]}",
        "expired": signed(_claims(0) | {"exp": int(time.time()) - LIFE}),
        "another audience's": signed(_claims(0) | {"aud": "others"}),
    }
    return Issued(alg, key, json.dumps({"keys": [_jwk(alg, secret, private)]}), tokens, refused)


def base64url(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def subject(number: int) -> str:
    """Who the caller of token `number` is."""
    return f"user-{number:07d}"


def _claims(number: int) -> dict[str, object]:
    now = int(time.time())
    return {"iss": "https://issuer.example/", "sub": subject(number), "aud": AUDIENCE, "exp": now + LIFE, "iat": now, "scope": "read write", "jti": f"8f1b7c2e{number:04x}"}


def _jwk(alg: str, secret: str, private: rsa.RSAPrivateKey | None) -> dict[str, str]:
    if private is None:
        return {"kty": "oct", "alg": alg, "k": base64url(secret.encode())}
    public = private.public_key().public_numbers()
    return {"kty": "RSA", "alg": alg, "n": base64url(public.n.to_bytes(256, "big")), "e": base64url(public.e.to_bytes(3, "big"))}
