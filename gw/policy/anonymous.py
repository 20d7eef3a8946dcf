"""Let pass who presents no credential: the last alternative of any-of."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from gw._fast.credential import AnonymousStep
from gw.config.convert import advise
from gw.errors import ConfigError, Problem
from gw.policy.base import Kind, Tools

KIND: Kind = "authentication"


class Config(Struct, forbid_unknown_fields=True, frozen=True):
    """A credential that is presented and that no alternative before accepts is refused all the same."""

    consumer: Annotated[str | None, Meta(description="Consumer that such callers are; unset: none.")] = None


def build(config: Config, tools: Tools) -> AnonymousStep:
    """A compiled step; raises ConfigError for a consumer that is not there."""
    if config.consumer is None:
        return AnonymousStep("anonymous", -1)
    if config.consumer not in tools.consumers:
        hint = advise(config.consumer, tools.consumers, "there are no consumers")
        raise ConfigError([Problem(message=f"unknown consumer '{config.consumer}'", pointer=f"{tools.pointer}.consumer", hint=hint)])
    return AnonymousStep("anonymous", list(tools.consumers).index(config.consumer))
