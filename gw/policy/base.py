"""The contract of a policy: a `Config` struct, and `build(config, tools)` that returns Hooks or a compiled Step."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from msgspec import Struct

from gw._fast.hooks import Request, Response

RequestHook = Callable[[Request], Response | None] | Callable[[Request], Awaitable[Response | None]]
ResponseHook = Callable[[Request], None] | Callable[[Request], Awaitable[None]]
DoneHook = Callable[[Request], None]


class Hooks(Struct, frozen=True):
    """Functions of a policy at the phases of an exchange, in the order of life. One that is left out costs nothing.

    request: before an endpoint is chosen; may return a Response, which ends the exchange. response: the head of the answer is known;
    edits of its headers reach the client. done: the exchange has ended. The first two may be `async def`; an answer of gw's own leaves at
    once, without asynchronous response hooks. A hook that raises, or waits longer than `process.hook_timeout`, ends the exchange: nothing passes
    that a policy has not seen to.
    """

    request: RequestHook | None = None
    response: ResponseHook | None = None
    done: DoneHook | None = None


class Tools(Struct, frozen=True):
    """What build() may use of the gateway."""

    route: str  # name of the route the policy is attached to; a policy is built once per route
    pointer: str  # where its config stands, for problems found in build()
