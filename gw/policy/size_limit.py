"""Refuse requests larger than this: head, number of fields, body."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from gw._fast.allowance import AllowanceStep
from gw.config.units import Bounds, Size
from gw.errors import ConfigError, Problem
from gw.policy.base import Kind, Tools

KIND: Kind = "protection"


class Config(Struct, forbid_unknown_fields=True, frozen=True):
    """Limits below those of the listener (`limits`) and the route (`max_body`); a higher one changes nothing."""

    head: Annotated[Size | None, Bounds(64, 2**20), Meta(description="Request line and fields together; more answers 431.")] = None
    fields: Annotated[int, Meta(ge=0, le=256, description="Header fields; more answer 431. 0 = as the listener says.")] = 0
    body: Annotated[Size | None, Meta(description="Body, declared or as it arrives; more answers 413.")] = None


def build(config: Config, tools: Tools) -> AllowanceStep:
    """A compiled step; raises ConfigError when it would limit nothing."""
    if config.head is None and not config.fields and config.body is None:
        raise ConfigError([Problem(message="size-limit limits nothing", pointer=tools.pointer, hint="set head, fields or body")])
    return AllowanceStep("size-limit", head=int(config.head or 0), fields=config.fields, body=int(config.body or 0))
