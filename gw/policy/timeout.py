"""Wait less long for the origin than the route does."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from gw._fast.allowance import AllowanceStep
from gw.config.units import Bounds, Duration
from gw.errors import ConfigError, Problem
from gw.policy.base import Kind, Tools

KIND: Kind = "protection"
WAIT = Bounds(0.001, 86400.0)


class Config(Struct, forbid_unknown_fields=True, frozen=True):
    """Waits below those of `timeouts` at the route, its service and the gateway; a longer one changes nothing."""

    connect: Annotated[Duration | None, WAIT, Meta(description="TCP connect and TLS handshake with an endpoint; longer answers 504.")] = None
    answer: Annotated[Duration | None, WAIT, Meta(description="From the request's last byte sent to the head of the answer; longer answers 504.")] = None
    idle: Annotated[Duration | None, WAIT, Meta(description="Between two reads or writes of a body, either side; longer ends the exchange.")] = None


def build(config: Config, tools: Tools) -> AllowanceStep:
    """A compiled step; raises ConfigError when it would shorten nothing."""
    if config.connect is None and config.answer is None and config.idle is None:
        raise ConfigError([Problem(message="timeout shortens nothing", pointer=tools.pointer, hint="set connect, answer or idle")])
    return AllowanceStep("timeout", connect_ms=_ms(config.connect), answer_ms=_ms(config.answer), idle_ms=_ms(config.idle))


def _ms(wait: Duration | None) -> int:
    return max(1, round(wait * 1000)) if wait else 0
