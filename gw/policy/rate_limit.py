"""Refuse requests beyond a rate, by client address, consumer or any part of the request."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct, field

from gw._fast.lease_step import LeaseStep
from gw._fast.rate import RateStep
from gw.errors import ConfigError, Problem
from gw.policy.base import Kind, Tools
from gw.policy.limit import Away, By, DryRun, Full, Missing, Name, Rate, caller_if_counted, fills_in, leased, period, place, placed, settings
from gw.store import Meter

KIND: Kind = "limit"
NEEDS = caller_if_counted
WINDOWS = 8  # as gw._fast.rate has room for

Burst = Annotated[
    Annotated[int, Meta(ge=1, le=2**31)] | None, Meta(description="Requests that may come at once, from 1 to 2147483648; the number of the rate when it is not given.")
]


class Window(Struct, forbid_unknown_fields=True, frozen=True):
    """One of several rates that must all have room."""

    rate: Rate
    burst: Burst = None


class Config(Struct, forbid_unknown_fields=True, frozen=True):
    """A token bucket per key, or several; `rate` or `limits` must be given."""

    rate: Annotated[Rate | None, Meta(description="Requests in a period: `100/s`, `1000/h`, `5/10s`; units ms, s, m, h, d.")] = None
    burst: Burst = None
    limits: Annotated[list[Window], Meta(description="Several rates at once, at most eight: a request passes when all have room, and is counted in all or in none.")] = field(
        default_factory=list
    )
    by: By = "ip"
    missing: Missing = "count"
    cost: Annotated[int, Meta(ge=1, le=2**31, description="Units that a request takes from each bucket.")] = 1
    headers: Annotated[bool, Meta(description="Tell clients with `RateLimit` and `RateLimit-Policy`; not in `dry_run`.")] = True
    full: Full = "closed"
    dry_run: DryRun = False
    name: Name = None
    shared: Annotated[
        bool,
        Meta(description="Count on all nodes together, in the store's Redis. In any span of time then passes what the rate allows in that span and a `store.redis.lease` more."),
    ] = False
    away: Away = "local"


def build(config: Config, tools: Tools) -> RateStep | LeaseStep:
    """A compiled step; raises ConfigError for what cannot be kept."""
    windows = _windows(config, tools.pointer)
    tells = config.headers and not config.dry_run
    with placed(tools):
        if config.shared:
            return _shared(config, tools, windows, tells)
        return RateStep("rate-limit", **settings("rate-limit", config, tools), windows=windows, cost=config.cost, tells=tells)


def _shared(config: Config, tools: Tools, windows: list[tuple[str, int, int, int]], tells: bool) -> LeaseStep:
    if not tools.shared:
        raise ConfigError([Problem(message="a rate that nodes share has nowhere to count", pointer=f"{tools.pointer}.shared", hint="add `redis` to the config's `store`")])
    counted = settings("rate-limit", config, tools)
    name = f"{config.name or place(tools)} by {', '.join(counted['by'])}"
    return LeaseStep(
        "rate-limit",
        **counted,
        cost=config.cost,
        tells=tells,
        away=config.away,
        tiers=[[leased(Meter(f"{name}, {rate} in {us} us", rate, us=us, burst=burst, shared=True), label, fills_in(rate, us, burst)) for label, rate, us, burst in windows]],
        groups=[],
        tier_of=b"",
    )


def _windows(config: Config, pointer: str) -> list[tuple[str, int, int, int]]:
    if (config.rate is None) == (not config.limits):
        hint = "rate: 100/s, or limits: [{rate: 10/s, burst: 20}, {rate: 1000/h}]"
        raise ConfigError([Problem(message="a rate limit has either `rate` or `limits`", pointer=pointer, hint=hint)])
    if config.limits and config.burst is not None:
        raise ConfigError([Problem(message="`burst` belongs to the rates in `limits`", pointer=f"{pointer}.burst", at_key=True)])
    if len(config.limits) > WINDOWS:
        raise ConfigError([Problem(message=f"expected at most {WINDOWS} rates, got {len(config.limits)}", pointer=f"{pointer}.limits")])
    given = config.limits or [Window(config.rate or "", config.burst)]
    found = []
    for index, window in enumerate(given):
        rate, us = period(window.rate)
        burst = window.burst or rate
        if config.cost > burst:
            where = f"{pointer}.limits[{index}]" if config.limits else pointer
            raise ConfigError([Problem(message=f"no request could pass: it costs {config.cost}, the bucket holds {burst}", pointer=where, hint="raise `burst` or lower `cost`")])
        found.append((_label(config.name, window.rate, len(given)), rate, us, burst))
    return found


def _label(name: str | None, rate: str, count: int) -> str:
    """Of a window in RateLimit; clients must be able to tell several apart."""
    return name or "default" if count == 1 else f"{name} {rate}" if name else rate
