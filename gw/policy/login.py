"""A browser's way through a login: sent to the provider, back with a code, then known by its session, until it logs out."""

from __future__ import annotations

import base64
import hashlib
import secrets
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import parse_qsl, urlencode

import msgspec
import orjson
from msgspec import Struct

from gw._fast.hooks import Refusal, Request, Response
from gw.policy import cookies
from gw.policy.base import Challenge
from gw.policy.provider import Provider, Refused, Tokens
from gw.policy.remote import Answers, Unreachable
from gw.policy.session import COOKIES_MAX, Seal, chunk_name, is_ours, joined, split
from gw.policy.target import authority, target

if TYPE_CHECKING:
    from gw.policy.oidc import Config  # which builds the Login

T = TypeVar("T")

NAME = "oidc"
LOGIN_TIME = 600  # seconds a user may take at the provider
BACK_MAX = 1500  # bytes of a path and query to come back to; the login of a longer one ends on `/`
RENEWED = 30.0  # seconds that requests with the old cookie get the tokens it was renewed with
RENEWALS = 10_000


class Session(Struct, array_like=True, frozen=True):
    """What the cookie holds. Times are Unix seconds."""

    id_token: str
    scope: str
    ends: int  # when the user has to log in again
    until: int  # when the access token ends; 0: it is not looked at
    access: str = ""  # only where it is forwarded
    refresh: str = ""


class Begun(Struct, array_like=True, frozen=True):
    """A login on its way, in a cookie of its own."""

    nonce: str
    verifier: str
    back: str
    redirect: str
    until: int


class Login:
    """The policy at work in one worker."""

    def __init__(self, config: Config, provider: Provider, subjects: dict[str, str], asks: Challenge) -> None:
        self.config = config
        self._provider = provider
        self._subjects = subjects
        self._name = config.cookie.name
        self._session = Seal(config.cookie.keys, f"session {config.client_id} {self._name}")
        self._begun = Seal(config.cookie.keys, f"login {config.client_id} {self._name}")
        self._asks = asks
        self._scope = " ".join(dict.fromkeys(["openid", *config.scopes]))
        self._renewals: Answers[Session | None] = Answers(RENEWALS)

    async def request(self, request: Request) -> Response | Refusal | None:
        """The hook."""
        try:
            if request.path == self.config.callback:
                return await self._finish(request)
            if request.path == self.config.logout:
                return await self._logout(request)
            session = await self._current(request)
            if session is None:
                return await self._begin(request)
            self._passes(request, session)
            return None
        except Unreachable:
            return Refusal("decision-unavailable")

    def response(self, request: Request) -> None:
        """The hook: a session that was renewed on the way in reaches the browser, whoever answers."""
        for each in request.state.get(self, ()):
            request.response_headers.add("Set-Cookie", each)

    # A request of somebody who is logged in.

    async def _current(self, request: Request) -> Session | None:
        now = self._provider.wall()
        session = self._opened(request)
        if session is None or now >= session.ends:
            return None
        if session.until == 0 or now < session.until - self.config.renew:
            return session
        try:
            renewed = await self._renewed(session) if session.refresh else None
        except Unreachable:
            if now >= session.until:
                raise
            return session
        if renewed is None:
            return session if now < session.until else None
        request.state[self] = self._kept(request, renewed)
        return renewed

    def _opened(self, request: Request) -> Session | None:
        return _unpacked(self._session, joined(self._name, cookies.read(request.headers)), Session)

    async def _renewed(self, session: Session) -> Session | None:
        """Once for all requests that carry the same refresh token; None when the provider gives no more."""

        async def question() -> tuple[Session | None, float]:
            try:
                tokens = await self._provider.tokens(grant_type="refresh_token", refresh_token=session.refresh)
                return await self._of(tokens, None, session), RENEWED
            except Refused:
                return None, RENEWED

        return await self._renewals.ask(hashlib.sha256(session.refresh.encode()).digest(), question)

    async def _of(self, tokens: Tokens, nonce: str | None, before: Session | None) -> Session:
        """The session that these tokens make. Raises Refused, Unreachable."""
        now = int(self._provider.wall())
        if tokens.id_token is not None:
            claims = await self._provider.claims(tokens.id_token, nonce)
            if before is not None and claims["sub"] != _claims(before.id_token)["sub"]:
                raise Refused("the tokens were renewed for somebody else")
        elif before is None:
            raise Refused("there is no id_token")
        refresh = tokens.refresh_token or (before.refresh if before else "")
        watched = bool(refresh) or self.config.forward == "access-token"
        return Session(
            id_token=tokens.id_token or (before.id_token if before else ""),
            scope=tokens.scope or (before.scope if before else self._scope),
            ends=before.ends if before else now + round(self.config.cookie.lifetime),
            until=now + tokens.expires_in if watched and tokens.expires_in is not None else 0,
            access=tokens.access_token if self.config.forward == "access-token" else "",
            refresh=refresh,
        )

    def _passes(self, request: Request, session: Session) -> None:
        payload = _payload(session.id_token)
        subject = orjson.loads(payload)["sub"]
        request.identify(NAME, consumer=self._subjects.get(subject), subject=subject, scopes=session.scope, claims=payload)
        cookies.take_away(request.headers, lambda name: is_ours(self._name, name))
        if self.config.forward != "nothing":
            request.headers["Authorization"] = f"Bearer {session.access if self.config.forward == 'access-token' else session.id_token}"

    # The login.

    async def _begin(self, request: Request) -> Response | Refusal:
        if any(is_ours(self._name, name) for name, _ in cookies.read(request.headers)):
            request.presents()
        if not _shows_pages(request):
            return Refusal("no-credential", self._asks)
        document = await self._provider.document()
        state, nonce, verifier = secrets.token_urlsafe(24), secrets.token_urlsafe(24), secrets.token_urlsafe(32)
        redirect = self._origin(request) + self.config.callback
        begun = Begun(nonce, verifier, _back(request), redirect, int(self._provider.wall()) + LOGIN_TIME)
        asked = {
            **self.config.parameters,
            "response_type": "code",
            "client_id": self.config.client_id,
            "redirect_uri": redirect,
            "scope": self._scope,
            "state": state,
            "nonce": nonce,
            "code_challenge": base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode(),
            "code_challenge_method": "S256",
        }
        cookie = self._begun_cookie(state, self._begun.seal(msgspec.msgpack.encode(begun)), LOGIN_TIME)
        return _sent_to(_with_query(document.authorization_endpoint, asked), [cookie])

    async def _finish(self, request: Request) -> Response | Refusal:
        """The provider has sent the browser back (RFC 6749 section 4.1.2, RFC 9207)."""
        request.presents()
        given = parse_qsl(request.query, keep_blank_values=True)
        answer = dict(given)
        begun = self._begun_by(request, answer.get("state", "")) if len(answer) == len(given) else None
        if begun is None or answer.get("iss", self._provider.issuer) != self._provider.issuer:
            return Refusal("invalid-credential", {**self._asks, "Cache-Control": "no-store"})
        done = self._begun_cookie(answer["state"], "", 0)
        if "code" not in answer or "error" in answer:
            return Refusal("not-permitted", {"Set-Cookie": done, "Cache-Control": "no-store"})
        try:
            tokens = await self._provider.tokens(grant_type="authorization_code", code=answer["code"], redirect_uri=begun.redirect, code_verifier=begun.verifier)
            session = await self._of(tokens, begun.nonce, None)
        except Refused:
            return Refusal("invalid-credential", {**self._asks, "Set-Cookie": done, "Cache-Control": "no-store"})
        return _sent_to(begun.back, [done, *self._kept(request, session)])

    def _begun_by(self, request: Request, state: str) -> Begun | None:
        begun = _unpacked(self._begun, dict(reversed(cookies.read(request.headers))).get(self._begun_name(state)), Begun)
        return begun if begun is not None and self._provider.wall() < begun.until else None

    def _begun_name(self, state: str) -> str:
        """Of the cookie of one login: several tabs may be on their way. Who does not know the state does not find it."""
        return f"{self._name}-login-{hashlib.sha256(state.encode()).hexdigest()[:32]}"

    def _begun_cookie(self, state: str, value: str, seconds: int) -> str:
        kept = self.config.cookie
        return cookies.set_cookie(
            self._begun_name(state), value, seconds=seconds, path=self.config.callback, domain=None, secure=kept.secure, same_site=kept.same_site
        )

    # The logout.

    async def _logout(self, request: Request) -> Response | Refusal:
        """OpenID Connect RP-Initiated Logout 1.0. The session here ends whether or not the provider can be asked."""
        if request.headers.get("sec-fetch-site") == "cross-site":
            return Refusal("cross-origin")
        session = self._opened(request)
        gone = [self._cookie(name, "", 0) for name in self._names(request)]
        try:
            document = await self._provider.document()
        except Unreachable:
            return _sent_to(self.config.after_logout, gone)
        if document.end_session_endpoint is None or session is None:
            return _sent_to(self.config.after_logout, gone)
        asked = {"id_token_hint": session.id_token, "client_id": self.config.client_id, "post_logout_redirect_uri": self._origin(request) + self.config.after_logout}
        return _sent_to(_with_query(document.end_session_endpoint, asked), gone)

    # Cookies.

    def _kept(self, request: Request, session: Session) -> list[str]:
        """Fields that give the browser this session, and take away what is left of a longer one. Raises TooLarge."""
        made = split(self._name, self._session.seal(msgspec.msgpack.encode(session)))
        seconds = max(0, session.ends - int(self._provider.wall()))
        left = self._names(request) - {name for name, _ in made}
        return [*(self._cookie(name, value, seconds) for name, value in made), *(self._cookie(name, "", 0) for name in sorted(left))]

    def _names(self, request: Request) -> set[str]:
        """Of our cookies that the browser has."""
        return {name for name, _ in cookies.read(request.headers)} & {chunk_name(self._name, number) for number in range(COOKIES_MAX)}

    def _cookie(self, name: str, value: str, seconds: int) -> str:
        kept = self.config.cookie
        return cookies.set_cookie(name, value, seconds=seconds, path="/", domain=kept.domain, secure=kept.secure, same_site=kept.same_site)

    def _origin(self, request: Request) -> str:
        return (self.config.origin or "").rstrip("/") or f"{request.scheme}://{authority(request)}"


def _unpacked(seal: Seal, text: str | None, kind: type[T]) -> T | None:
    data = seal.open(text) if text else None
    try:
        return None if data is None else msgspec.msgpack.decode(data, type=kind)
    except msgspec.DecodeError:  # another version of gw has sealed it
        return None


def _payload(token: str) -> bytes:
    """Of a token that was checked when the session was sealed."""
    middle = token.split(".")[1]
    return base64.urlsafe_b64decode(middle + "=" * (-len(middle) % 4))


def _claims(token: str) -> dict[str, Any]:
    found: dict[str, Any] = orjson.loads(_payload(token))
    return found


def _shows_pages(request: Request) -> bool:
    """Whether it is a browser that would show the login, rather than a script or a tool (Fetch Metadata)."""
    accepts = "text/html" in (request.headers.get("accept") or "").lower()
    return request.method in ("GET", "HEAD") and accepts and request.headers.get("sec-fetch-mode", "navigate") == "navigate"


def _back(request: Request) -> str:
    """Where the user wanted to go: a path here, which no browser takes for another host."""
    wanted = target(request)
    return wanted if len(wanted) <= BACK_MAX and not wanted.startswith(("//", "/\\")) else "/"


def _with_query(url: str, parameters: dict[str, str]) -> str:
    return f"{url}{'&' if '?' in url else '?'}{urlencode(parameters)}"


def _sent_to(url: str, set_cookies: list[str]) -> Response:
    return Response(302, headers={"Location": url, "Set-Cookie": set_cookies, "Cache-Control": "no-store"})
