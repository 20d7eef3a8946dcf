"""Turn requests away before a service drowns in them, the least important first."""

from __future__ import annotations

from typing import Annotated, Literal
from weakref import WeakValueDictionary

from msgspec import Meta, Struct, field

from gw._fast.shed import Shedder, ShedStep
from gw.errors import ConfigError, Problem
from gw.policy.base import Kind, Tools
from gw.policy.limit import DryRun, whom

KIND: Kind = "limit"
Priority = Literal["low", "normal", "high", "critical"]

# What this process has learnt of services, by name and settings: shared by routes, and kept from one revision to the next.
LEARNT: WeakValueDictionary[tuple[str, int, int, float], Shedder] = WeakValueDictionary()


class Config(Struct, forbid_unknown_fields=True, frozen=True):
    """How many requests a service takes at once is learnt from its latencies, in each worker for itself."""

    least: Annotated[int, Meta(ge=1, le=100_000, description="Requests in flight in a worker that are always let through.")] = 4
    most: Annotated[int, Meta(ge=1, le=100_000, description="Requests in flight in a worker beyond which all are shed.")] = 1000
    tolerance: Annotated[float, Meta(ge=1.1, le=10, description="Times its latency without load that a service may need before less is sent to it.")] = 1.5
    priority: Annotated[Priority, Meta(description="Of requests that `priorities` does not name. From the lowest up they may fill 60, 80, 95 and 100 % of the number.")] = "normal"
    by: Annotated[str | None, Meta(description="Part of the request that says its priority, as in `rate-limit`: `header:NAME`, `claim:NAME`, `consumer` ...")] = None
    priorities: Annotated[dict[str, Priority], Meta(description="Value of that part -> priority, at most 64.")] = field(default_factory=dict)
    dry_run: DryRun = False


def build(config: Config, tools: Tools) -> ShedStep:
    """A compiled step; raises ConfigError for what cannot work."""
    _check(config, tools)
    settings = (tools.service, config.least, config.most, config.tolerance)
    shedder = LEARNT.get(settings) or Shedder(*settings[1:])
    LEARNT[settings] = shedder
    try:
        slot = tools.segment.load_slot(load_key(tools.service, config)) if tools.segment else -1
    except OverflowError as error:
        raise ConfigError([Problem(message=str(error), pointer=tools.pointer, hint="settings of earlier revisions count: restart gw")]) from None
    try:
        return ShedStep("load-shed", shedder, priority=config.priority, by=config.by, priorities=config.priorities, dry=config.dry_run, slot=slot)
    except ValueError as error:
        raise ConfigError([Problem(message=str(error), pointer=f"{tools.pointer}.priorities")]) from None


def load_key(service: str, config: Config) -> bytes:
    """Under which the segment shows what is known of a service: for each of the settings that are learnt with."""
    return f"load:{service} {config.least} {config.most} {config.tolerance:g}".encode()


def _check(config: Config, tools: Tools) -> None:
    if not tools.service:
        hint = "attach it to the service: services.NAME.policies"
        raise ConfigError([Problem(message="there is no service to protect here", pointer=tools.pointer, at_key=True, hint=hint)])
    if config.least > config.most:
        raise ConfigError([Problem(message=f"`least` is above `most`, {config.most}", pointer=f"{tools.pointer}.least")])
    if bool(config.by) != bool(config.priorities):
        raise ConfigError([Problem(message="`by` and `priorities` go together", pointer=tools.pointer, hint="by: header:X-Plan, priorities: {free: low, gold: high}")])
    if config.by:
        if config.by.startswith("ip"):
            raise ConfigError([Problem(message="an address says no priority", pointer=f"{tools.pointer}.by")])
        whom(config.by, tools.pointer)
