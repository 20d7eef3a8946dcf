"""The engine of live traffic asked about one request, offline: same route search, same steps, same heads, no sockets."""

from asyncio import Task
from collections.abc import Callable
from typing import Any, TypedDict, final, type_check_only

from gw._fast.lane import Lane
from gw._fast.selector import Selector

@type_check_only
class _Route(TypedDict):
    """`reason` and `status` are "" and 0 unless the request is refused; `route` is negative when none took it."""

    reason: str
    status: int
    detail: str
    route: int
    host: str
    path: str
    prefix_len: int
    params: list[str]
    client: str

@type_check_only
class _Verdict(TypedDict):
    """`policy`, `pointer`, `phase` and `us` (time it took) are there when `step` gives it."""

    policy: str
    pointer: str
    phase: str
    us: int
    verdict: str
    told: str
    reason: str

@type_check_only
class _Identity(TypedDict):
    method: str
    consumer: str
    subject: str
    credential: str
    groups: str
    scopes: str

@final
class Inquiry:
    """One request asked of a lane that serves nobody. Call `route`, then `step` until it returns None, then what you want to know, and `close` it before the lane."""

    def __new__(
        cls, lane: Lane, head: bytes, client: str, secure: bool, now_us: int, wall_s: int, body: bytes | None = None, answer: tuple[bytes, bytes] | None = None
    ) -> Inquiry:
        """`now_us` is the monotonic clock that limits are counted by, `wall_s` seconds since 1970 that dates are judged by.

        `body` is without its framing, None when only the head is told; `answer` is head and body of what the endpoint answers, None when that is not known.
        """

    def close(self) -> None:
        """Give back what the request holds. It cannot be asked again."""

    def route(self, trace: Callable[[int, str], None] | None) -> _Route:
        """Which route takes it. `trace(route, text)` is called for every route considered. ValueError when the bytes are not one whole head."""

    def reason(self) -> str:
        """Why gw answers by itself, from the closed list; empty when it does not, or not with a problem."""

    def step(self) -> _Verdict | None:
        """Run the next step, of whatever phase; None when none is left. `verdict` is pass, next (another alternative is tried), answer, or waits: await `task`, then ask
        `woken`. ValueError when a step looks at the body and none was given, or it is not the one that the head announces."""

    @property
    def task(self) -> Task[Any] | None:
        """What the step that waits is waiting for."""

    def woken(self) -> _Verdict:
        """The verdict of the step whose task is done, without policy, pointer and time. RuntimeError when it is not done."""

    def identity(self) -> _Identity:
        """Who calls, as far as the steps found out."""

    def key(self, selector: Selector) -> tuple[bool, bytes]:
        """What a limit counts it by: whether all parts are there, and their hash under a seed of zeros."""

    def endpoint(self) -> int:
        """Index of the endpoint that would be chosen now, -1 when the service has none that may be tried, or nothing is forwarded."""

    def forwarded(self) -> bytes:
        """The head as it would go to the endpoint; empty when nothing is forwarded."""

    def forwarded_body(self) -> bytes | None:
        """The body as it would follow, without its framing; None when it is not known."""

    def answer(self) -> bytes:
        """What the client gets, bodies without their framing: the endpoint's answer if that was given, or the one that gw makes by itself; else empty."""
