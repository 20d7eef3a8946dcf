"""Refuse requests beyond a number in flight, by client address, consumer or any part of the request."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from gw._fast.inflight import ConcurrencyStep
from gw.policy.base import Kind, Tools
from gw.policy.limit import By, DryRun, Full, Missing, Name, caller_if_counted, settings

KIND: Kind = "limit"
NEEDS = caller_if_counted


class Config(Struct, forbid_unknown_fields=True, frozen=True):
    """At most `limit` exchanges of a key at once, over all workers; a tunnel counts until it ends."""

    limit: Annotated[int, Meta(ge=1, le=2**23, description="Requests in flight at once.")]
    by: By = "ip"
    missing: Missing = "count"
    full: Full = "closed"
    dry_run: DryRun = False
    name: Name = None


def build(config: Config, tools: Tools) -> ConcurrencyStep:
    """A compiled step; raises ConfigError for what cannot be counted."""
    return ConcurrencyStep("concurrency", **settings("concurrency", config, tools), most=config.limit)
