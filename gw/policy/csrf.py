"""Refuse unsafe requests that a browser was made to send by another site."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from gw._fast.cross_origin import CsrfStep, OriginSet
from gw.config.node import join
from gw.config.syntax import origin_flaw
from gw.errors import ConfigError, Problem
from gw.policy.base import Kind, Tools

KIND: Kind = "protection"


class Config(Struct, forbid_unknown_fields=True, frozen=True):
    """Whose requests are welcome beside those of the own origin, and what becomes of requests that say nothing."""

    origins: Annotated[list[str], Meta(description="Other origins that may: `https://app.example`, `https://*.example.com` for any subdomain.")] = field(default_factory=list)
    missing: Annotated[Literal["pass", "refuse"], Meta(description="Requests without Sec-Fetch-Site, Origin and Referer: no browser of today sends one across sites.")] = "pass"


def build(config: Config, tools: Tools) -> CsrfStep:
    """A compiled step; raises ConfigError for what is no origin."""
    problems = [
        Problem(message=flaw[0], pointer=join(f"{tools.pointer}.origins", index), hint=flaw[1])
        for index, origin in enumerate(config.origins)
        if (flaw := origin_flaw(origin))
    ]
    if problems:
        raise ConfigError(problems)
    return CsrfStep(OriginSet(config.origins), config.missing == "pass")
