"""Let a service of your own decide about each request, before it is forwarded."""

from __future__ import annotations

import hashlib
from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from gw._fast.hooks import Refusal, Request, Response
from gw.config.syntax import is_token
from gw.config.units import Bounds, Duration
from gw.errors import ConfigError, Problem
from gw.policy.base import Hooks, Kind, Tools
from gw.policy.remote import Answers, Reach, Remote, Reply, Unreachable, check_url
from gw.policy.target import target

KIND: Kind = "authentication"
NAME = "forward-auth"
# What frames or routes a message is gw's to write, in either direction.
OURS = {"connection", "content-length", "date", "host", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"}


class Cache(Struct, forbid_unknown_fields=True, frozen=True):
    """Answers that let a request pass, kept in each worker; no other answer is kept."""

    by: Annotated[list[str], Meta(min_length=1, description="Request fields that the decision hangs on. One that is not named here does not tell two requests apart.")]
    request: Annotated[bool, Meta(description="It hangs on method, scheme, host, path and query as well.")] = True
    seconds: Annotated[Duration, Bounds(0.001, 3600), Meta(description="How long an answer holds.")] = Duration(5)
    entries: Annotated[int, Meta(ge=1, le=1_000_000, description="Answers kept; the one unused for longest goes first.")] = 10_000


class Config(Struct, forbid_unknown_fields=True, frozen=True):
    """Whom to ask, what to tell, and what to take from the answer."""

    url: Annotated[str, Meta(description="URL that is asked. A 2xx answer lets the request pass, any other goes to the client.")]
    method: Annotated[Literal["GET", "HEAD", "POST"], Meta(description="Method it is asked with; there is no body.")] = "GET"
    send: Annotated[list[str], Meta(description="Request fields that it is sent, beside X-Forwarded-Method, -Proto, -Host, -Uri and -For.")] = field(
        default_factory=lambda: ["Authorization", "Cookie"]
    )
    copy: Annotated[list[str], Meta(description="Fields of its answer that the origin gets. The client's own fields of these names never pass.")] = field(default_factory=list)
    answer: Annotated[list[str], Meta(description="Fields of a refusing answer that the client gets.")] = field(
        default_factory=lambda: ["Cache-Control", "Content-Type", "Location", "Retry-After", "Set-Cookie", "WWW-Authenticate"]
    )
    subject: Annotated[str | None, Meta(description="Field of its answer that names the caller: the identity's subject, and a consumer through `subjects`.")] = None
    on_error: Annotated[Literal["refuse", "pass"], Meta(description="When it cannot be asked: answer 503, or forward the request as if nobody had to decide.")] = "refuse"
    reach: Annotated[Reach, Meta(description="How it is reached.")] = field(default_factory=Reach)
    cache: Annotated[Cache | None, Meta(description="Keep answers that let pass; unset = every request asks.")] = None


def build(config: Config, tools: Tools) -> Hooks:
    """Raises ConfigError for a URL that cannot be asked and for names that cannot be sent or copied."""
    check_url(config.url, f"{tools.pointer}.url")
    lists = {"send": config.send, "copy": config.copy, "answer": config.answer, "subject": [config.subject or "X"], "cache.by": config.cache.by if config.cache else []}
    problems = [
        Problem(message=f"'{name}' cannot be read or written here", pointer=f"{tools.pointer}.{key}", hint="a field name that neither frames nor routes the message")
        for key, names in lists.items()
        for name in names
        if not is_token(name) or name.lower().replace("_", "-") in OURS
    ]
    if problems:
        raise ConfigError(problems)
    return Hooks(request=ForwardAuth(config, Remote(config.reach, tools.base, f"{tools.pointer}.reach.ca"), tools.subjects).request)


class ForwardAuth:
    """The policy at work in one worker."""

    def __init__(self, config: Config, remote: Remote, subjects: dict[str, str]) -> None:
        self.config = config
        self._remote = remote
        self._subjects = subjects
        self._answers: Answers[Reply] | None = Answers(config.cache.entries) if config.cache else None

    async def request(self, request: Request) -> Response | Refusal | None:
        """The hook."""
        told = self._told(request)
        key = self._key(request)
        for name in self.config.copy:  # also when nobody can be asked and the request passes
            del request.headers[name]
        try:
            reply = await (self._answers.ask(key, lambda: self._question(told)) if self._answers is not None else self._asked(told))
        except Unreachable:
            return None if self.config.on_error == "pass" else Refusal("decision-unavailable")
        if 200 <= reply.status <= 299:
            self._passes(request, reply)
            return None
        request.presents()
        return Response(reply.status, reply.body, self._answer(reply))

    def _told(self, request: Request) -> list[tuple[str, str]]:
        own = [
            ("X-Forwarded-Method", request.method),
            ("X-Forwarded-Proto", request.scheme),
            ("X-Forwarded-Host", request.headers.get("host") or request.host),
            ("X-Forwarded-Uri", target(request)),
            ("X-Forwarded-For", request.client),
        ]
        taken = {name.lower() for name, _ in own}
        return own + [(name, value) for name in self.config.send if name.lower().replace("_", "-") not in taken for value in request.headers.get_all(name)]

    def _key(self, request: Request) -> bytes:
        cache = self.config.cache
        if cache is None:
            return b""
        parts = [request.method, request.scheme, request.headers.get("host") or request.host, target(request)] if cache.request else []
        parts += [repr(request.headers.get_all(name)) for name in cache.by]
        return hashlib.sha256("\n".join(parts).encode()).digest()

    async def _asked(self, told: list[tuple[str, str]]) -> Reply:
        reply = await self._remote.ask(self.config.method, self.config.url, told)
        if reply.status < 200 or reply.status > 599:
            raise Unreachable(f"{self.config.url} answered {reply.status}")
        return reply

    async def _question(self, told: list[tuple[str, str]]) -> tuple[Reply, float]:
        reply = await self._asked(told)
        return reply, self.config.cache.seconds if self.config.cache and 200 <= reply.status <= 299 else 0.0

    def _passes(self, request: Request, reply: Reply) -> None:
        for name in self.config.copy:
            for value in reply.all(name.lower()):
                request.headers.add(name, value)
        subject = next(iter(reply.all(self.config.subject.lower())), "") if self.config.subject else ""
        if subject or not request.auth:
            subject = subject.encode("latin-1").decode("utf-8", "replace")
            request.identify(NAME, consumer=self._subjects.get(subject), subject=subject)

    def _answer(self, reply: Reply) -> dict[str, list[str]]:
        found = {name: reply.all(name.lower()) for name in self.config.answer}
        return {name: values for name, values in found.items() if values}
