"""What a case is: bytes, and what may come of them. Verdicts: ok | lax (tolerable, an RFC permits it) | wrong | desync (two peers disagree on message borders)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tests.wire.strict import Request

ORDER = ["ok", "lax", "wrong", "desync"]
ERRORS = frozenset(range(400, 600))
OK = frozenset({200})


@dataclass(frozen=True, slots=True)
class Verdict:
    grade: str
    detail: str = ""

    def __lt__(self, other: Verdict) -> bool:
        return ORDER.index(self.grade) < ORDER.index(other.grade)


@dataclass(frozen=True, slots=True)
class Seen:
    """One request as the origin must have received it; None is "anything that is well formed"."""

    method: str | None = None
    target: str | tuple[str, ...] | None = None
    body: bytes | None = None
    has: tuple[tuple[str, str | None], ...] = ()  # fields that must be there, with this value (None: any)
    lacks: tuple[str, ...] = ()  # fields that must not be there
    never: bytes | None = None  # must occur nowhere in the head

    def mismatch(self, request: Request) -> str:
        targets = (self.target,) if isinstance(self.target, str) else self.target
        if self.method and request.method != self.method:
            return f"origin saw method {request.method}"
        if targets and request.target not in targets:
            return f"origin saw target {request.target[:80]!r}"
        if self.body is not None and request.body != self.body:
            return f"origin saw body {request.body[:60]!r}"
        for name, value in self.has:
            if value is None and not request.all(name):
                return f"origin misses {name}"
            if value is not None and value.encode("latin-1") not in request.all(name):
                return f"origin saw {name}: {request.all(name)!r}"
        for name in self.lacks:
            if request.all(name):
                return f"origin saw {name}: {request.all(name)!r}"
        if self.never and self.never in request.raw[: request.raw.index(b"\r\n\r\n") + 4]:
            return f"origin saw {self.never!r}"
        return ""


@dataclass(frozen=True, slots=True)
class Want:
    """One admissible outcome: final answers in order, requests at the origin in order, and whether the connection ends."""

    statuses: tuple[frozenset[int], ...]
    seen: tuple[Seen, ...] = ()
    close: bool | None = None  # None: either


@dataclass(frozen=True, slots=True)
class Case:
    """A request case. `wait_at` holds an offset: the client waits there for an interim answer, as with Expect."""

    name: str
    group: str
    section: str
    send: bytes
    ok: tuple[Want, ...]
    lax: tuple[Want, ...] = ()
    valid: bool = False  # a well-formed request that must be served
    heads: tuple[int, ...] = ()  # indices of answers that answer HEAD
    wait_at: int = 0
    half_close: bool = False  # the client ends its side after the last byte
    interim: bool | None = None  # an interim answer must (True), must not (False) be seen

    @property
    def answers(self) -> int:
        return max(len(want.statuses) for want in (*self.ok, *self.lax))


@dataclass(frozen=True, slots=True)
class Got:
    """One admissible answer as the client sees it; None is "either". `cut` wants an end that cannot be taken for a whole answer."""

    statuses: frozenset[int]
    body: bytes | None = None
    cut: bool = False
    has: tuple[tuple[str, str | None], ...] = ()
    lacks: tuple[str, ...] = ()
    close: bool | None = None
    interims: tuple[int, ...] | None = None
    never: bytes | None = None


@dataclass(frozen=True, slots=True)
class ResponseCase:
    """The origin answers `request` with the bytes of `answer` and then keeps the connection, closes or resets it."""

    name: str
    group: str
    section: str
    answer: bytes
    ok: tuple[Got, ...]
    lax: tuple[Got, ...] = ()
    then: str = "keep"  # keep | close | reset
    request: bytes = b""
    valid: bool = False
    early: bool = False  # the origin answers as soon as it has the head
    late: bytes = b""  # sent by the origin on the same connection when it is idle
    greeting: bytes = b""  # sent by the origin before it read anything


def head(*lines: str, host: str | None = "a.test") -> bytes:
    """A request head: lines joined by CRLF, `Host` after the first one unless `host` is None."""
    named = [lines[0], f"Host: {host}", *lines[1:]] if host is not None else list(lines)
    return ("\r\n".join(named) + "\r\n\r\n").encode("latin-1")


def statuses(value: int | Iterable[int]) -> frozenset[int]:
    return frozenset({value}) if isinstance(value, int) else frozenset(value)


class Table:
    """Collects the cases of one group."""

    def __init__(self, group: str) -> None:
        self.group = group
        self.cases: list[Case] = []

    def valid(self, name: str, section: str, send: bytes, *seen: Seen, close: bool | None = False, lax: Iterable[int] = (), also: Iterable[int] = (), **more) -> None:
        """Must be served: one 200 for each of `seen` (default: one request, any form). `also`: other statuses that are as good; `lax`: tolerable ones."""
        expected = seen or (Seen(),)
        ok = [Want((OK,) * len(expected), expected, close)]
        if also:
            ok.append(Want((statuses(also),)))
        tolerable = (Want((statuses(lax),)),) if lax else ()
        self.cases.append(Case(name, self.group, section, send, tuple(ok), tolerable, valid=not also, **more))

    def refuse(
        self, name: str, section: str, send: bytes, status: int | Iterable[int] = 400, *, after: tuple[Seen, ...] = (), may: Seen | tuple[Seen, ...] | None = None,
        lax: Seen | tuple[Seen, ...] | None = None, close: bool | None = True, **more,
    ) -> None:
        """Must be refused with `status` once the requests `after` were served. `may`: forwarding it in this form is as good; `lax`: tolerable."""
        before = (OK,) * len(after)
        ok = [Want((*before, statuses(status)), after, close)]
        tolerable = [Want((*before, ERRORS), after), Want(before, after, True)]
        for forwarded, place in ((may, ok), (lax, tolerable)):
            if forwarded is not None:
                forms = forwarded if isinstance(forwarded, tuple) else (forwarded,)
                place.append(Want(before + (OK,) * len(forms), after + forms))
        self.cases.append(Case(name, self.group, section, send, tuple(ok), tuple(tolerable), **more))

    def custom(self, name: str, section: str, send: bytes, ok: Iterable[Want], lax: Iterable[Want] = (), **more) -> None:
        self.cases.append(Case(name, self.group, section, send, tuple(ok), tuple(lax), **more))
