"""What policies that limit share: rates as an operator writes them, whom they count, and under which identity."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Annotated, Literal, NamedTuple, Protocol, TypedDict

import msgspec
from msgspec import Meta

from gw._fast.selector import Selector
from gw._fast.shm import Segment
from gw.errors import ConfigError, Problem
from gw.policy.base import Need, Tools
from gw.store import Calendar, Meter, calendar_bounds

PERIODS = {"ms": 1_000, "s": 1_000_000, "m": 60_000_000, "h": 3_600_000_000, "d": 86_400_000_000}
RATE = re.compile(r"([1-9][0-9]{0,9})/([1-9][0-9]{0,5})?(ms|s|m|h|d)")
LABEL = re.compile(r"[A-Za-z0-9._:@ /-]{1,64}")

By = Annotated[
    str | list[str],
    Meta(
        description="Whom to count: `ip`, `ip/PREFIX`, `consumer`, `credential`, `route`, `service`, `host`, `path`, `header:NAME`, `cookie:NAME`, "
        "`query:NAME`, `claim:NAME`, or a list of them, counted together. `ip` takes IPv6 by /64."
    ),
]
Missing = Annotated[
    Literal["count", "refuse", "skip"],
    Meta(description="A request that lacks what is counted by: `count` puts all that lack it under one key, `refuse` answers 403 `denied`, `skip` does not count it."),
]
Full = Annotated[
    Literal["open", "closed"], Meta(description="No cell is free for a key (`process.limit_cells`): `closed` answers 503 `limits-full`, `open` lets the request pass uncounted.")
]
DryRun = Annotated[bool, Meta(description="Count, and refuse nothing: the access log (`dry_run`), a metric and `gw explain` tell what would have been refused.")]
Name = Annotated[str | None, Meta(description="Limits of one name, kind, `by` and rate count together, wherever they stand; without a name each place counts by itself.")]
Rate = Annotated[str, Meta(pattern=rf"^{RATE.pattern}$", description="Requests in a period: `100/s`, `1000/h`, `5/10s`; units ms, s, m, h, d.")]

Away = Annotated[
    Literal["local", "open", "closed"],
    Meta(
        description="What counts the limit cannot be asked: `local` counts on this node alone, and forgets that when the ledger is back; `open` lets all pass; "
        "`closed` answers 503 `limits-away`."
    ),
]
Leased = tuple[Meter, bytes, str, int, int, bool, Callable[[float], float] | None]  # as gw._fast.lease_step takes a window


class Period(NamedTuple):
    """`rate` requests every `us` microseconds."""

    rate: int
    us: int


def period(written: str) -> Period:
    """Of a Rate, which the config has checked."""
    match = RATE.fullmatch(written)
    assert match, written
    return Period(int(match[1]), int(match[2] or 1) * PERIODS[match[3]])


def whom(by: str | list[str], pointer: str) -> list[str]:
    """The parts to count by. Raises ConfigError for those that are none."""
    parts = [by] if isinstance(by, str) else by
    try:
        Selector(parts)
    except ValueError as error:
        raise ConfigError([Problem(message=str(error), pointer=f"{pointer}.by")]) from None
    return parts


def may_be_secret(by: str | list[str]) -> bool:
    """Whether what is counted by is something that a client sends as it likes, such as a token."""
    return any(part.startswith(("header:", "cookie:", "query:")) for part in ([by] if isinstance(by, str) else by))


def fills_in(rate: int, us: int, burst: int) -> int:
    """Seconds, rounded up, in which an empty bucket is full again: the `w` that clients are told."""
    return max(1, -(-(us * burst // rate) // 1_000_000))


def leased(meter: Meter, label: str, seconds: int) -> Leased:
    """A window that a ledger counts; clients are told that it fills in so many seconds, 0: not."""
    end = partial(_end, meter.calendar, meter.zone) if meter.calendar else None
    return meter, msgspec.json.encode(meter), label, meter.burst or meter.units, seconds, meter.burst > 0, end


def _end(calendar: Calendar, zone: str, now: float) -> float:
    return calendar_bounds(calendar, zone, now)[1]


class Counting(Protocol):
    """The config of a policy that counts: what all of them ask for."""

    @property
    def by(self) -> str | list[str]:
        """Whom."""

    @property
    def missing(self) -> str:
        """What becomes of requests that lack it."""

    @property
    def full(self) -> str:
        """What becomes of requests for which there is no cell."""

    @property
    def dry_run(self) -> bool:
        """Whether nothing is refused."""

    @property
    def name(self) -> str | None:
        """Under which limits count together."""


class Settings(TypedDict):
    """The same, as compiled steps of limits take it."""

    segment: Segment
    by: list[str]
    identity: bytes
    missing: str
    closed: bool
    dry: bool


def settings(kind: str, config: Counting, tools: Tools) -> Settings:
    """Where a policy of this kind counts, whom, and how it fails. Raises ConfigError for what cannot be counted by, and when there is no room to count in."""
    parts = whom(config.by, tools.pointer)
    return Settings(
        segment=table(tools),
        by=parts,
        identity=identity(kind, config.name, parts, tools),
        missing=config.missing,
        closed=config.full == "closed",
        dry=config.dry_run,
    )


@contextmanager
def placed(tools: Tools) -> Iterator[None]:
    """A step that cannot keep what it is asked for, as a ConfigError at the policy's place."""
    try:
        yield
    except ValueError as error:
        raise ConfigError([Problem(message=str(error), pointer=tools.pointer)]) from None


def caller_if_counted(config: Counting) -> Need | None:
    """NEEDS of policies that limit: who calls must be known where it is counted by."""
    parts = [config.by] if isinstance(config.by, str) else config.by
    return "identity" if any(part in ("consumer", "credential") or part.startswith("claim:") for part in parts) else None


def table(tools: Tools) -> Segment:
    """Where limits count. Raises ConfigError when there is no room for any."""
    if tools.segment is None or tools.segment.limit_cells == 0:
        raise ConfigError([Problem(message="limits have no cells to count in", pointer=tools.pointer, at_key=True, hint="set process.limit_cells above 0 and restart")])
    return tools.segment


def identity(kind: str, name: str | None, parts: list[str], tools: Tools) -> bytes:
    """Names a limit through all revisions: by its place, which does not change when routes are added or moved."""
    if name is not None and not LABEL.fullmatch(name):
        raise ConfigError([Problem(message=f"'{name}' cannot name a limit", pointer=f"{tools.pointer}.name", hint="letters, digits, blanks and . _ : @ / -, at most 64")])
    return "\0".join([kind, f"name {name}" if name else place(tools), *parts]).encode()


def place(tools: Tools) -> str:
    """Where a policy stands, in words that stay when routes are added or moved."""
    owner = tools.pointer.partition(".policies")[0]
    return f"route {tools.route}" if owner.startswith("$.routes[") else owner
