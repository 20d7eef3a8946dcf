"""Refuse requests beyond a number for each hour, day, week or month; what was used survives a restart."""

from __future__ import annotations

from typing import Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from msgspec import Meta, Struct, field

from gw._fast.lease_step import LeaseStep
from gw.config.model import Consumer
from gw.errors import ConfigError, Problem
from gw.policy.base import Kind, Tools
from gw.policy.limit import Away, By, DryRun, Full, Leased, Missing, Name, caller_if_counted, leased, may_be_secret, place, placed, settings
from gw.store import Meter

KIND: Kind = "limit"
NEEDS = caller_if_counted
SECONDS = {"hour": 3600, "day": 86_400, "week": 7 * 86_400, "month": 30 * 86_400}
MOST = 10**12  # units

Units = Annotated[int, Meta(ge=1, le=MOST)]


class Config(Struct, forbid_unknown_fields=True, frozen=True):
    """So many units for each key and period."""

    limit: Annotated[Units, Meta(description="Units in a period, for callers in none of the `groups`.")]
    per: Annotated[Literal["hour", "day", "week", "month"], Meta(description="The period. A week begins on Monday.")]
    window: Annotated[
        Literal["calendar", "rolling"],
        Meta(description="`calendar` begins anew with each hour, day, week or month of `zone`; `rolling` looks back that long from any moment, a month being 30 days."),
    ] = "calendar"
    zone: Annotated[str, Meta(min_length=1, description="IANA name of the time zone whose midnight ends a calendar period, such as `Europe/Berlin`.")] = "UTC"
    groups: Annotated[
        dict[str, Units], Meta(description="Limits of groups of consumers, and of groups that a credential carries; the first in which a caller is holds for it.")
    ] = field(default_factory=dict)
    by: By = "consumer"
    missing: Missing = "count"
    cost: Annotated[int, Meta(ge=1, le=65536, description="Units that a request takes.")] = 1
    headers: Annotated[bool, Meta(description="Tell clients with `RateLimit` and `RateLimit-Policy`; not in `dry_run`.")] = True
    full: Full = "closed"
    shared: Annotated[bool, Meta(description="Count on all nodes together, in the store's Redis; without it each node counts in the store's file.")] = False
    away: Away = "local"
    dry_run: DryRun = False
    name: Name = None


def build(config: Config, tools: Tools) -> LeaseStep:
    """A compiled step; raises ConfigError for what cannot be kept, and where there is no store to count in."""
    problems = _flaws(config, tools)
    if problems:
        raise ConfigError(problems)
    counted = settings("quota", config, tools)
    name = config.name or place(tools)
    named = name if counted["by"] == ["consumer"] else f"{name} by {', '.join(counted['by'])}"
    with placed(tools):
        return LeaseStep(
            "quota",
            **counted,
            cost=config.cost,
            tells=config.headers and not config.dry_run,
            away=config.away,
            tiers=[[_window(config, units, named)] for units in (config.limit, *config.groups.values())],
            groups=list(config.groups),
            tier_of=bytes(_tier(consumer, list(config.groups)) for consumer in tools.consumers.values()),
        )


def _window(config: Config, units: int, name: str) -> Leased:
    seconds = SECONDS[config.per]
    hidden = may_be_secret(config.by)
    if config.window == "rolling":
        return leased(Meter(name, units, us=seconds * 1_000_000, shared=config.shared, hidden=hidden), config.name or "default", seconds)
    return leased(Meter(name, units, calendar=config.per, zone=config.zone, shared=config.shared, hidden=hidden), config.name or "default", 0 if config.per == "month" else seconds)


def _tier(consumer: Consumer, groups: list[str]) -> int:
    return next((index for index, group in enumerate(groups, 1) if group in consumer.groups), 0)


def _flaws(config: Config, tools: Tools) -> list[Problem]:
    problems = []
    if config.shared and not tools.shared:
        problems.append(Problem(message="a quota that nodes share has nowhere to count", pointer=f"{tools.pointer}.shared", hint="add `redis` to the config's `store`"))
    if tools.store is None and not config.shared:
        problems.append(Problem(message="a quota has nowhere to count", pointer=tools.pointer, at_key=True, hint="add `store: {file: gw.db}` to the config"))
    try:
        ZoneInfo(config.zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        problems.append(Problem(message=f"unknown time zone '{config.zone}'", pointer=f"{tools.pointer}.zone", hint="an IANA name such as UTC or Europe/Berlin"))
    if config.window == "rolling" and config.zone != "UTC":
        problems.append(Problem(message="a rolling quota knows no time zone", pointer=f"{tools.pointer}.zone", at_key=True, hint="leave `zone` out, or say `window: calendar`"))
    for name, units in {"": config.limit, **config.groups}.items():
        if config.cost > units:
            pointer = f"{tools.pointer}.groups.{name}" if name else f"{tools.pointer}.limit"
            problems.append(Problem(message=f"no request could pass: it costs {config.cost}, the limit is {units}", pointer=pointer))
    problems += [
        Problem(message=f"'{group}' is not the name of a group", pointer=f"{tools.pointer}.groups", hint="some text without a comma")
        for group in config.groups
        if not group or "," in group
    ]
    return problems
