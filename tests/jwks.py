"""An issuer for tests: a JWKS server on 127.0.0.1 that rotates, fails and is slow when told to, and signs tokens."""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from gw._fast.keys import KeySet
from tests.reference.token import encode
from tests.tokens import SECRET, sign


def secret_of(kid: str) -> bytes:
    return (kid.encode() * 32)[:32]


def token_of(kid: str | None, secret: bytes | None = None, **claims: Any) -> str:
    """Signed with HS256 by the secret of this kid, good for five minutes."""
    header = {"alg": "HS256", **({"kid": kid} if kid is not None else {})}
    body = {"iss": "i", "sub": "user-1", "aud": "api", "exp": int(time.time()) + 7200, **claims}
    return sign(json.dumps(header), json.dumps({name: value for name, value in body.items() if value is not None}), "HS256", secret or secret_of(kid or "")).decode()


def jwks(*kids: str) -> bytes:
    return json.dumps({"keys": [{"kty": "oct", "alg": "HS256", "kid": kid, "k": encode(secret_of(kid))} for kid in kids]}).encode()


def static_keys() -> KeySet:
    return KeySet([("HS256", None, SECRET)])


class _Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        issuer: Issuer = self.server.issuer
        issuer.asked.append((self.path, dict(self.headers)))
        issuer.gate.wait(10)
        status, fields, body = issuer.answer(self.path, self.headers.get("If-None-Match"))
        self.send_response(status)
        for name, value in {**fields, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Says nothing."""


class _Server(ThreadingHTTPServer):
    issuer: Issuer

    def handle_error(self, *args: object) -> None:
        """A connection that was cut is what some tests want."""


class Issuer:
    """`document` is what /jwks answers with `status` and `fields`; while `gate` is not set, answers wait. `asked` are paths and fields, in order."""

    def __init__(self, *kids: str) -> None:
        self.document = jwks(*kids)
        self.status = 200
        self.fields: dict[str, str] = {}
        self.discovery: dict[str, Any] | None = None
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.gate = threading.Event()
        self.gate.set()
        self.server = _Server(("127.0.0.1", 0), _Answer)
        self.server.issuer = self
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        self._thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def rotate(self, *kids: str) -> None:
        self.document = jwks(*kids)

    def answer(self, path: str, etag: str | None) -> tuple[int, dict[str, str], bytes]:
        if path.startswith("/.well-known/"):
            found = {"issuer": self.url, "jwks_uri": f"{self.url}/jwks"} if self.discovery is None else self.discovery
            return 200, {}, json.dumps(found).encode()
        if etag and etag == self.fields.get("ETag"):
            return 304, self.fields, b""
        return self.status, self.fields, self.document

    def close(self) -> None:
        self.gate.set()
        self.server.shutdown()
        self._thread.join()
        self.server.server_close()
