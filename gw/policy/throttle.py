"""Let requests beyond a rate wait for their turn, within bounds."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from gw._fast.rate import Lines, ThrottleStep
from gw.config.units import Bounds, Duration
from gw.errors import ConfigError, Problem
from gw.policy.base import Kind, Tools
from gw.policy.limit import By, DryRun, Full, Missing, Name, Rate, caller_if_counted, period, placed, settings

KIND: Kind = "shaping"
NEEDS = caller_if_counted


class Config(Struct, forbid_unknown_fields=True, frozen=True):
    """A token bucket per key with a queue behind it, in the order of arrival over all workers."""

    rate: Rate
    burst: Annotated[int, Meta(ge=1, le=2**30, description="Requests that pass at once before others wait.")] = 1
    max_wait: Annotated[Duration, Bounds(0.001, 300), Meta(description="Longest wait; a request that would wait longer is refused at once.")] = Duration(5)
    max_queue: Annotated[int, Meta(ge=1, le=2**30, description="Requests of a key that may wait at once.")] = 100
    by: By = "ip"
    missing: Missing = "count"
    full: Full = "closed"
    dry_run: DryRun = False
    name: Name = None


def build(config: Config, tools: Tools) -> ThrottleStep:
    """A compiled step; raises ConfigError for what cannot be kept."""
    rate, us = period(config.rate)
    places = min(config.max_queue, int(config.max_wait * 1_000_000) * rate // us)
    if places == 0:
        hint = f"one request comes due every {Duration(us / rate / 1_000_000)}"
        raise ConfigError([Problem(message=f"nobody could wait: a place in the queue takes longer than {config.max_wait}", pointer=f"{tools.pointer}.max_wait", hint=hint)])
    with placed(tools):
        lines = tools.once("throttle", Lines)
        return ThrottleStep("throttle", **settings("throttle", config, tools), rate=rate, per_us=us, burst=config.burst, places=places, lines=lines)
