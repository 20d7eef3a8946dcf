"""A small OpenID provider, and a browser that keeps cookies."""

from __future__ import annotations

import base64
import hashlib
import json
import time
from typing import Any
from urllib.parse import urlencode, urlsplit

import jwt

from tests.tokens import private_key
from tests.unit.fast.rig import Answer, Client
from tests.unit.policy.asking import Asked, Service, Told


class Provider:
    """Logs everybody in as `user` at once. What it does wrong is said in `claims`, `tokens` and `document`, over what is right; None leaves one out."""

    def __init__(self, service: Service, secret: str | None = "s3:cret") -> None:
        self.service = service
        self.url = service.url
        self.secret = secret
        self.user = "alice-id"
        self.alg = "RS256"
        self.kid = "first"
        self.claims: dict[str, Any] = {}
        self.tokens: dict[str, Any] = {}
        self.document: dict[str, Any] = {}
        self.broken: dict[str, Told] = {}  # by path
        self.codes: dict[str, dict[str, str]] = {}
        self.refreshed = 0
        service.answer = self.answer

    def answer(self, asked: Asked) -> Told:
        if asked.path in self.broken:
            return self.broken[asked.path]
        found = {
            "/.well-known/openid-configuration": self._document,
            "/jwks": self._jwks,
            "/authorize": self._authorize,
            "/token": self._token,
        }[asked.path](asked)
        return found if isinstance(found, Told) else Told(200, json.dumps(found).encode())

    def asked(self, path: str) -> list[Asked]:
        return [each for each in self.service.asked if each.path == path]

    def _document(self, asked: Asked) -> Any:
        known = {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
            "jwks_uri": f"{self.url}/jwks",
            "end_session_endpoint": f"{self.url}/end",
            "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
        }
        return without(known | self.document)

    def _jwks(self, asked: Asked) -> Any:
        key = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(private_key(self.alg).public_key()))
        return {"keys": [{**key, "kid": self.kid, "alg": self.alg, "use": "sig"}]}

    def _authorize(self, asked: Asked) -> Told:
        wanted = asked.query
        assert (wanted["response_type"], wanted["client_id"], wanted["code_challenge_method"]) == ("code", "app", "S256")
        code = f"code-{len(self.codes)}"
        self.codes[code] = wanted
        return Told(302, fields=(("Location", f"{wanted['redirect_uri']}?{urlencode({'code': code, 'state': wanted['state'], 'iss': self.url})}"),))

    def _token(self, asked: Asked) -> Any:
        form = asked.form
        if not self._is_client(asked):
            return Told(401, b'{"error": "invalid_client"}')
        if form["grant_type"] == "refresh_token":
            self.refreshed += 1
            return self._issued("") if form["refresh_token"] == f"refresh-{self.refreshed - 1}" else Told(400, b'{"error": "invalid_grant"}')
        wanted = self.codes.pop(form["code"], None)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(form["code_verifier"].encode()).digest()).rstrip(b"=").decode()
        if wanted is None or wanted["redirect_uri"] != form["redirect_uri"] or wanted["code_challenge"] != challenge:
            return Told(400, b'{"error": "invalid_grant"}')
        return self._issued(wanted["nonce"])

    def _is_client(self, asked: Asked) -> bool:
        if self.secret is None:
            return asked.form.get("client_id") == "app" and "client_secret" not in asked.form and "authorization" not in asked.fields
        if "authorization" in asked.fields:
            return base64.b64decode(asked.fields["authorization"].removeprefix("Basic ")).decode() == "app:" + urlencode({"": self.secret})[1:]
        return (asked.form.get("client_id"), asked.form.get("client_secret")) == ("app", self.secret)

    def _issued(self, nonce: str) -> Any:
        issued = now()
        claims = {"iss": self.url, "aud": "app", "sub": self.user, "exp": issued + 300, "iat": issued, "nonce": nonce, "email": "alice@example.org"}
        token = jwt.encode(without(claims | self.claims), private_key(self.alg), self.alg, {"kid": self.kid})
        known = {"access_token": f"access-{self.refreshed}", "token_type": "Bearer", "id_token": token, "scope": "openid email"}
        return without(known | self.tokens)


def now() -> int:
    """The provider's clock, seconds since 1970."""
    return int(time.time())


def without(members: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not None}


class Browser:
    """Keeps the cookies of one gateway, and goes where it is sent."""

    def __init__(self, port: int, provider: Provider) -> None:
        self.port = port
        self.provider = provider
        self.cookies: dict[str, tuple[str, str]] = {}  # name -> value, path

    def get(self, path: str, *fields: str, method: str = "GET", accept: str = "text/html") -> Answer:
        """One answer of the gateway."""
        kept = "; ".join(f"{name}={value}" for name, (value, below) in self.cookies.items() if path.startswith(below))
        with Client(self.port) as client:
            answer = client.ask(path, f"Accept: {accept}", *([f"Cookie: {kept}"] if kept else []), *fields, method=method)
        for field in answer.all("Set-Cookie"):
            self.keep(field)
        return answer

    def keep(self, field: str) -> None:
        pair, *attributes = field.split("; ")
        name, _, value = pair.partition("=")
        said = dict(each.partition("=")[::2] for each in attributes)
        if said.get("Max-Age") == "0":
            self.cookies.pop(name, None)
        elif "Max-Age" in said:  # those of the origin have none
            self.cookies[name] = value, said["Path"]

    def at_provider(self, answer: Answer) -> str:
        """What the provider does with this redirect: the path and query on which the browser comes back."""
        location = answer.one("Location")
        assert location is not None and location.startswith(f"{self.provider.url}/authorize?"), answer
        told = self.provider.answer(Asked("GET", location.removeprefix(self.provider.url), {}, b""))
        back = urlsplit(dict(told.fields)["Location"])
        return f"{back.path}?{back.query}"

    def log_in(self, path: str = "/") -> Answer:
        """The answer to the callback."""
        return self.get(self.at_provider(self.get(path)))
