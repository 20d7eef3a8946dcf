"""The contract of a policy: a `Config` struct, and `build(config, tools)` that returns Hooks or a compiled Step."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

from msgspec import Struct

from gw._fast.hooks import Refusal, Request, Response
from gw._fast.shm import Segment
from gw.config.model import Consumer
from gw.store import Source

# What a policy is for: a module says so in KIND, "custom" when it does not. Only authentication can be an alternative in any-of.
Kind = Literal["authentication", "authorisation", "limit", "shaping", "protection", "custom"]

# What must be known before a policy runs, for the warnings of `gw check`: a module says so in NEEDS, with a function of its config where that decides.
Need = Literal["identity"]
# A module whose policy answers every request by itself, so that nothing behind it runs, says ENDS = True.

# The fields with which an authentication policy refuses a request without a credential, WWW-Authenticate among them (RFC 9110 section 11.6.1). Its
# module says so in a function `challenge(config)`, for the policies behind it that refuse who has no identity.
Challenge = dict[str, str | list[str]]

BODY_LIMIT = 1 << 20  # bytes
AUTHENTICATE = "www-authenticate"

RequestHook = Callable[[Request], Response | Refusal | None] | Callable[[Request], Awaitable[Response | Refusal | None]]
ResponseHook = Callable[[Request], None] | Callable[[Request], Awaitable[None]]
RequestBodyHook = Callable[[Request, bytes], bytes | Response | Refusal | None] | Callable[[Request, bytes], Awaitable[bytes | Response | Refusal | None]]
OriginRequestHook = Callable[[Request], None]
ResponseBodyHook = Callable[[Request, bytes], bytes | None] | Callable[[Request, bytes], Awaitable[bytes | None]]
DoneHook = Callable[[Request], None]
Report = Callable[[str, dict[str, Any]], None]
Made = TypeVar("Made")


class Hooks(Struct, frozen=True):
    """Functions of a policy at the phases of an exchange, in the order of life. One that is left out costs nothing.

    request: before an endpoint is chosen; may return a Response or a Refusal, which ends the exchange. request_body: the request's body is there, whole,
    b"" when it has none; may return bytes, which replace it, or what `request` may. origin_request: before the head goes to an endpoint, for
    each try; edits of the request's headers hold for that one. response: the head of the answer is known; edits of its headers reach the client.
    response_body: so is its body; may return bytes, which replace it. Not called for answers of gw's own, nor for those that have no body by
    their nature (to HEAD, 204, 304). done: the exchange has ended.

    The hooks of bodies see what is sent, compressed or not, of at most `body_limit` bytes: a larger request is answered with 413, a larger answer becomes 502.
    What another policy has put in place of a body may be larger: there is no other bound for that than the memory that a worker may take. Where that has no
    room, for the bytes of any body, the answer is 503. These hooks and `origin_request` run only where the policy's part in the request has passed: an
    alternative of any-of that was not needed sees nothing. `origin_request` and `done` are plain functions, the others may be `async def`; an answer of gw's
    own leaves at once, without asynchronous response hooks. A hook that raises, or waits longer than `process.hook_timeout`, ends the exchange: nothing passes
    that a policy has not seen to. attached: in each worker before the first request, with a function that writes an event and its fields into the error log.
    """

    request: RequestHook | None = None
    request_body: RequestBodyHook | None = None
    origin_request: OriginRequestHook | None = None
    response: ResponseHook | None = None
    response_body: ResponseBodyHook | None = None
    done: DoneHook | None = None
    attached: Callable[[Report], None] | None = None
    body_limit: int = BODY_LIMIT  # bytes of a body, of a request as of an answer; the least of a route's policies counts, and its own `max_body`


class Tools(Struct, frozen=True):
    """What build() may use of the gateway."""

    route: str  # name of the route the policy is attached to; a policy is built once per route
    pointer: str  # where its config stands, for problems found in build()
    service: str = ""  # that the route forwards to; empty when it forwards nothing
    base: Path = Path()  # what files in the config are relative to
    segment: Segment | None = None  # memory shared by all workers; None in a test of a policy alone
    consumers: Mapping[str, Consumer] = {}  # by name; their order is their index in the snapshot
    sources: list[tuple[Source, Callable[[bytes], None]]] = []  # filled by `follow`
    params: Sequence[str] = ()  # names of the route's path parameters, in order
    store: Path | None = None  # the store's file, if there is one
    shared: bool = False  # the store has a ledger that other nodes count in too
    made: dict[str, Any] = {}  # filled by `once`
    challenges: Sequence[tuple[str, Challenge]] = ()  # of the route's authentication policies, each with its name, in their order

    @property
    def challenge(self) -> dict[str, list[str]]:
        """How to refuse who has no identity: what the authentication policies ask for. Where none says it, Bearer, since a 401 asks for something."""
        asked: dict[str, list[str]] = {}
        for _, fields in self.challenges:
            for name, values in fields.items():
                known = asked.setdefault(name, [])
                known += [value for value in ([values] if isinstance(values, str) else values) if value not in known]
        return asked if AUTHENTICATE in map(str.lower, asked) else {**asked, "WWW-Authenticate": ["Bearer"]}

    @property
    def bearers(self) -> list[str]:
        """Names of the policies that know callers by bearer tokens (RFC 6750) and by nothing else."""
        asked: dict[str, list[str]] = {}
        for policy, fields in self.challenges:
            for name, values in fields.items():
                if name.lower() == AUTHENTICATE:
                    asked.setdefault(policy, []).extend([values] if isinstance(values, str) else values)
        return [policy for policy, values in asked.items() if all(value.partition(" ")[0].lower() == "bearer" for value in values)]

    @property
    def subjects(self) -> dict[str, str]:
        """Name of the consumer by each of its subjects."""
        return {subject: name for name, consumer in self.consumers.items() for subject in consumer.subjects}

    def follow(self, source: Source, take: Callable[[bytes], None]) -> None:
        """Have `take` called with the source's data, now if there is any, and whenever it changes, in each worker, on its loop."""
        self.sources.append((source, take))

    def once(self, name: str, make: Callable[[], Made]) -> Made:
        """What policies of one snapshot share, made by the first that asks: tables of all callers, for one, which each route would hold again."""
        if name not in self.made:
            self.made[name] = make()
        made: Made = self.made[name]
        return made
