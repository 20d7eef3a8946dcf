"""An OpenID provider as a client sees it: discovery, keys, tokens for codes, and what an id_token says."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar
from urllib.parse import quote_plus, urlencode, urlsplit

import msgspec
from msgspec import Struct, field

from gw._fast.jwt import check
from gw._fast.keys import KeySet
from gw.policy.remote import Answers, Remote, Reply, Unreachable
from gw.tls.jwk import read_keys

T = TypeVar("T")

FRESH = 600.0  # seconds that discovery and keys are good for
STALE = 86400.0  # and further seconds while the provider cannot be asked
AGAIN = 10.0  # seconds between two looks for a key that is not known
TOKEN_MAX = 16 * 1024


class Refused(Exception):
    """The provider, or a check of what it said, refuses the login."""


class Document(Struct, frozen=True):
    """OpenID Connect Discovery 1.0 section 3, and RP-Initiated Logout 1.0 section 2.1."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    end_session_endpoint: str | None = None
    token_endpoint_auth_methods_supported: list[str] = field(default_factory=lambda: ["client_secret_basic"])


class Tokens(Struct, frozen=True):
    """RFC 6749 section 5.1."""

    access_token: str
    token_type: str
    id_token: str | None = None
    refresh_token: str | None = None
    expires_in: int | None = None
    scope: str | None = None


class Known(NamedTuple):
    """What was read, and when, on the monotonic clock."""

    document: Document
    keys: KeySet
    at: float


class Provider:
    """One provider in one worker."""

    def __init__(
        self, remote: Remote, issuer: str, client_id: str, secret: str | None, algorithms: list[str], leeway: int, wall: Callable[[], float] = time.time
    ) -> None:
        self.issuer = issuer
        self.client_id = client_id
        self.wall = wall
        self._remote = remote
        self._secret = secret
        self._algorithms = algorithms
        self._leeway = leeway
        self._known: Answers[Known] = Answers(1)

    async def document(self) -> Document:
        """Raises Unreachable."""
        return (await self._read()).document

    async def tokens(self, **form: str) -> Tokens:
        """Of the token endpoint. Raises Refused when it says no, Unreachable when it says nothing that can be used."""
        document = await self.document()
        fields = [("Accept", "application/json"), ("Content-Type", "application/x-www-form-urlencoded")]
        if self._secret is None:
            form["client_id"] = self.client_id
        elif "client_secret_basic" in document.token_endpoint_auth_methods_supported:
            user = f"{quote_plus(self.client_id)}:{quote_plus(self._secret)}"
            fields.append(("Authorization", "Basic " + base64.b64encode(user.encode()).decode()))
        else:
            form |= {"client_id": self.client_id, "client_secret": self._secret}
        reply = await self._remote.ask("POST", document.token_endpoint, fields, urlencode(form).encode())
        if 400 <= reply.status <= 499 and reply.status not in (408, 429):
            raise Refused(f"the token endpoint answered {reply.status}")
        return _decoded(_good(reply, document.token_endpoint), Tokens, document.token_endpoint)

    async def claims(self, token: str, nonce: str | None) -> dict[str, Any]:
        """Of an id_token (OpenID Connect Core 1.0 section 3.1.3.7). Raises Refused, Unreachable."""
        known = await self._read()
        found = self._checked(known, token)
        if found in ("unknown-kid", "no-kid", "signature") and time.monotonic() - known.at >= AGAIN:
            found = self._checked(await self._read(anew=True), token)
        if isinstance(found, str):
            raise Refused(f"the id_token is refused: {found}")
        several = isinstance(found["aud"], list) and len(found["aud"]) > 1
        if found.get("azp", None if several else self.client_id) != self.client_id:
            raise Refused("the id_token was made for another client")
        if nonce is not None and found.get("nonce") != nonce:
            raise Refused("the id_token answers another login")
        if not isinstance(found["sub"], str) or not found["sub"]:
            raise Refused("the id_token names nobody")
        return found

    def _checked(self, known: Known, token: str) -> dict[str, Any] | str:
        rules = {"issuers": [self.issuer], "audiences": [self.client_id], "required": ["sub", "iat"], "leeway": self._leeway, "max_bytes": TOKEN_MAX}
        return check(known.keys, rules, token.encode("utf-8", "replace"), int(self.wall()))

    async def _read(self, *, anew: bool = False) -> Known:
        return await self._known.ask(b"", self._question, STALE, anew=anew)

    async def _question(self) -> tuple[Known, float]:
        url = self.issuer.rstrip("/") + "/.well-known/openid-configuration"
        document = _decoded(await self._got(url), Document, url)
        if document.issuer != self.issuer:
            raise Unreachable(f"{url} speaks for {document.issuer}")
        for each in (document.authorization_endpoint, document.token_endpoint, document.jwks_uri, document.end_session_endpoint):
            if each is not None and not _as_safe(each, self.issuer):
                raise Unreachable(f"{url}: {each} cannot be asked, or is less safe than the issuer")
        try:
            keys = KeySet(read_keys(await self._got(document.jwks_uri), what=document.jwks_uri, algorithms=self._algorithms).keys)
        except ValueError as error:
            raise Unreachable(str(error)) from error
        return Known(document, keys, time.monotonic()), FRESH

    async def _got(self, url: str) -> bytes:
        return _good(await self._remote.ask("GET", url, [("Accept", "application/json")]), url)


def _good(reply: Reply, url: str) -> bytes:
    if reply.status != 200:
        raise Unreachable(f"{url} answered {reply.status}")
    return reply.body


def _decoded(body: bytes, kind: type[T], url: str) -> T:
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.DecodeError as error:
        raise Unreachable(f"{url}: {error}") from error


def _as_safe(url: str, issuer: str) -> bool:
    """https wherever the issuer is; what a browser is sent to cannot leave its field."""
    try:
        parts = urlsplit(url)
        allowed = ("https",) if issuer.startswith("https:") else ("http", "https")
        return parts.scheme in allowed and bool(parts.hostname) and not parts.fragment and url.isascii() and url.isprintable() and " " not in url
    except ValueError:
        return False
