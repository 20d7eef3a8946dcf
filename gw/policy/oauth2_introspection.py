"""Ask the authorisation server whether a token is active, and who it stands for (RFC 7662)."""

from __future__ import annotations

import base64
import hashlib
import re
import time
from collections.abc import Callable
from typing import Annotated, NamedTuple
from urllib.parse import parse_qsl, quote_plus, urlencode

import msgspec
from msgspec import Meta, Struct, field

from gw._fast.hooks import Refusal, Request
from gw.config.syntax import is_field_value, is_token
from gw.config.units import Bounds, Duration
from gw.errors import ConfigError, Problem
from gw.policy import cookies
from gw.policy.base import Challenge, Hooks, Kind, Tools
from gw.policy.remote import Answers, Reach, Remote, Unreachable, check_url

KIND: Kind = "authentication"
NAME = "oauth2-introspection"
TOKEN = re.compile(r"[A-Za-z0-9._~+/-]{1,8192}={0,2}", re.ASCII)  # RFC 6750 section 2.1, and no longer than a head may well be
KEPT = Bounds(0.0, 86400.0)


class Cache(Struct, forbid_unknown_fields=True, frozen=True):
    """Answers kept in each worker, by a hash of the token. An answer is never kept longer than its token is good."""

    entries: Annotated[int, Meta(ge=1, le=1_000_000, description="Answers kept; the one unused for longest goes first.")] = 10_000
    active: Annotated[Duration, KEPT, Meta(description="How long a token stays good without asking again: a revocation is seen this late. 0 = asked each time.")] = Duration(30)
    inactive: Annotated[Duration, KEPT, Meta(description="How long one that was not active stays bad.")] = Duration(10)
    stale: Annotated[Duration, KEPT, Meta(description="How long beyond that a known answer holds while the server cannot be asked. 0 = it answers 503 at once.")] = Duration(0)


class Config(Struct, forbid_unknown_fields=True, frozen=True):
    """Where tokens are found, whom to ask about them, and what the answer must say."""

    endpoint: Annotated[str, Meta(description="URL of the introspection endpoint.")]
    client_id: Annotated[str | None, Meta(description="This gateway's own name there, sent with `client_secret` as HTTP Basic.")] = None
    client_secret: Annotated[str | None, Meta(description="Its secret: `${ENV}` or `file:`.")] = None
    bearer: Annotated[str | None, Meta(description="Instead of these: a token of this gateway's own: `${ENV}` or `file:`.")] = None
    header: Annotated[str | None, Meta(description="Field that carries the token: behind `Bearer` in `Authorization`, alone in any other. null = none.")] = "Authorization"
    cookie: Annotated[str | None, Meta(description="Cookie that carries the token.")] = None
    query: Annotated[str | None, Meta(description="Query parameter that carries the token. It stands in logs: avoid it.")] = None
    hide_credential: Annotated[bool, Meta(description="Keep the token from the origin; not possible with `query`.")] = False
    issuers: Annotated[list[str], Meta(description="`iss` must be one of these; empty = not looked at.")] = field(default_factory=list)
    audiences: Annotated[list[str], Meta(description="`aud` must hold one of these; empty = not looked at.")] = field(default_factory=list)
    scopes: Annotated[list[str], Meta(description="`scope` must hold all of these.")] = field(default_factory=list)
    leeway: Annotated[Duration, Bounds(0, 600), Meta(description="By how much the server's clock and ours may differ, for `exp` and `nbf`.")] = Duration(30)
    reach: Annotated[Reach, Meta(description="How the server is reached.")] = field(default_factory=Reach)
    cache: Annotated[Cache, Meta(description="What is kept of its answers.")] = field(default_factory=Cache)


class Answer(Struct, frozen=True):
    """What of an answer is looked at (RFC 7662 section 2.2); other types than these make it unusable."""

    active: bool
    sub: str = ""
    client_id: str = ""
    username: str = ""
    scope: str = ""
    iss: str = ""
    aud: str | list[str] = []
    exp: int | float | None = None
    nbf: int | float | None = None
    jti: str = ""


class Known(NamedTuple):
    """An answer, and its JSON."""

    answer: Answer
    claims: bytes


_decode = msgspec.json.Decoder(Answer).decode


def build(config: Config, tools: Tools) -> Hooks:
    """Raises ConfigError for an endpoint that cannot be asked and for settings that contradict each other."""
    check_url(config.endpoint, f"{tools.pointer}.endpoint")
    problems = [Problem(message=message, pointer=tools.pointer, hint=hint) for message, hint in _flaws(config)]
    if problems:
        raise ConfigError(problems)
    remote = Remote(NAME, config.reach, tools.base, f"{tools.pointer}.reach.ca")
    return Hooks(request=Introspection(config, remote, tools.subjects).request, attached=remote.attach)


def challenge(_: Config) -> Challenge:
    """What a request without a credential is asked for."""
    return {"WWW-Authenticate": "Bearer"}


def _flaws(config: Config) -> list[tuple[str, str]]:
    own = [config.client_id is not None, config.client_secret is not None, config.bearer is not None]
    flaws = []
    if own not in ([True, True, False], [False, False, True]):
        flaws.append(("this gateway does not say who it is to the endpoint (RFC 7662 section 2.1)", "set client_id and client_secret, or bearer"))
    if config.bearer and not is_field_value(config.bearer):
        flaws.append(("`bearer` holds what cannot stand in a header field", "a token without white space at its ends"))
    if not (config.header or config.cookie or config.query):
        flaws.append(("the token can be found nowhere", "set header, cookie or query"))
    flaws += [(f"'{name}' is not a name", "letters, digits, - and _") for name in (config.header, config.cookie) if name and not is_token(name)]
    if config.query and config.hide_credential:
        flaws.append(("hide_credential cannot take a token out of the query", "leave out one of them"))
    return flaws


class Introspection:
    """The policy at work in one worker."""

    def __init__(self, config: Config, remote: Remote, subjects: dict[str, str], wall: Callable[[], float] = time.time) -> None:
        self.config = config
        self.wall = wall
        self._remote = remote
        self._subjects = subjects
        self._answers: Answers[Known] = Answers(config.cache.entries)
        self._own = f"Bearer {config.bearer}" if config.bearer else _basic(config.client_id or "", config.client_secret or "")

    async def request(self, request: Request) -> Refusal | None:
        """The hook."""
        found = list(self._presented(request))
        if not found:
            return Refusal("no-credential", challenge(self.config))
        request.presents()
        if len(found) > 1 or not TOKEN.fullmatch(found[0]):
            return _refusal("invalid-credential", "invalid_request", "one well-formed token is expected")
        token = found[0].encode()
        try:
            known = await self._answers.ask(hashlib.sha256(token).digest(), lambda: self._question(token), self.config.cache.stale)
        except Unreachable:
            return Refusal("decision-unavailable")
        refusal = self._judged(known.answer)
        if refusal is None:
            self._identify(request, known)
        return refusal

    def _presented(self, request: Request) -> list[str]:
        found = []
        if self.config.header:
            values = request.headers.get_all(self.config.header)
            found += [value for value in map(_bearer, values) if value is not None] if self.config.header.lower() == "authorization" else values
        if self.config.cookie:
            found += [value for name, value in cookies.read(request.headers) if name == self.config.cookie]
        if self.config.query and request.query:
            found += [value for name, value in parse_qsl(request.query, keep_blank_values=True) if name == self.config.query]
        return found

    async def _question(self, token: bytes) -> tuple[Known, float]:
        with self._remote.watched():
            known = await self._asked(token)
        return known, self._keep(known.answer)

    async def _asked(self, token: bytes) -> Known:
        fields = [("Authorization", self._own), ("Accept", "application/json"), ("Content-Type", "application/x-www-form-urlencoded")]
        reply = await self._remote.ask("POST", self.config.endpoint, fields, urlencode({"token": token, "token_type_hint": "access_token"}).encode())
        if reply.status != 200:
            raise Unreachable(f"{self.config.endpoint} answered {reply.status}")
        try:
            return Known(_decode(reply.body), reply.body)
        except msgspec.DecodeError as error:
            raise Unreachable(f"{self.config.endpoint}: {error}") from error

    def _keep(self, answer: Answer) -> float:
        """Seconds. What a token is not good for any more, or not yet, is told by its own dates."""
        if not answer.active:
            return self.config.cache.inactive
        left = float("inf") if answer.exp is None else answer.exp + self.config.leeway - self.wall()
        return min(self.config.cache.active, left)

    def _judged(self, answer: Answer) -> Refusal | None:
        now, leeway = self.wall(), self.config.leeway
        audiences = [answer.aud] if isinstance(answer.aud, str) else answer.aud
        if not answer.active:
            return _refusal("invalid-credential", "invalid_token", "the token is not active")
        if answer.exp is not None and now >= answer.exp + leeway:
            return _refusal("expired-credential", "invalid_token", "the token has expired")
        if answer.nbf is not None and now < answer.nbf - leeway:
            return _refusal("expired-credential", "invalid_token", "the token is not valid yet")
        if self.config.issuers and answer.iss not in self.config.issuers:
            return _refusal("invalid-credential", "invalid_token", "the token comes from another issuer")
        if self.config.audiences and not set(audiences) & set(self.config.audiences):
            return _refusal("invalid-credential", "invalid_token", "the token is meant for somebody else")
        if missing := set(self.config.scopes) - set(answer.scope.split()):
            return _refusal("scope-missing", "insufficient_scope", f"missing: {' '.join(sorted(missing))}", self.config.scopes)
        return None

    def _identify(self, request: Request, known: Known) -> None:
        answer = known.answer
        consumer = self._subjects.get(answer.sub) or self._subjects.get(answer.client_id)
        subject = answer.sub or answer.username or answer.client_id
        request.identify(NAME, consumer=consumer, subject=subject, credential=answer.jti or answer.client_id, scopes=answer.scope, claims=known.claims)
        if self.config.hide_credential:
            if self.config.header:
                del request.headers[self.config.header]
            if self.config.cookie:
                cookies.take_away(request.headers, lambda name: name == self.config.cookie)


def _bearer(value: str) -> str | None:
    """What stands behind the scheme (RFC 9110 section 11.4); None when it is another one."""
    scheme, _, token = value.partition(" ")
    return token.strip(" ") if scheme.lower() == "bearer" else None


def _basic(user: str, password: str) -> str:
    """RFC 6749 section 2.3.1: both are form-encoded first."""
    return "Basic " + base64.b64encode(f"{quote_plus(user)}:{quote_plus(password)}".encode()).decode()


def _refusal(reason: str, error: str, text: str, scopes: list[str] | None = None) -> Refusal:
    """With the field of RFC 6750 section 3."""
    scope = f', scope="{" ".join(scopes)}"' if scopes else ""
    return Refusal(reason, {"WWW-Authenticate": f'Bearer error="{error}", error_description="{text}"{scope}'})
