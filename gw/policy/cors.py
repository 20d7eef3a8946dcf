"""Tell browsers which other sites may call (CORS), and answer their preflights."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from msgspec import Meta, Struct, field

from gw._fast.cross_origin import CorsStep, OriginSet
from gw.config.node import join
from gw.config.syntax import is_token, origin_flaw
from gw.config.units import Bounds, Duration
from gw.errors import ConfigError, Problem
from gw.policy.base import Kind, Tools

KIND: Kind = "shaping"


class Config(Struct, forbid_unknown_fields=True, frozen=True):
    """Who may call from a browser, and with what. Names of methods are as requests have them: `PATCH`, not `patch`."""

    origins: Annotated[list[str], Meta(min_length=1, description="`https://app.example`, `https://*.example.com` for any subdomain, or `*` for any site.")]
    methods: Annotated[list[str], Meta(description="Methods allowed. `[\"*\"]`: the one asked for.")] = field(default_factory=lambda: ["GET", "HEAD", "POST"])
    headers: Annotated[list[str], Meta(description="Fields that requests may carry beside those that need no leave. `[\"*\"]`: those asked for.")] = field(
        default_factory=lambda: ["Content-Type"]
    )
    expose: Annotated[list[str], Meta(description="Fields of answers that scripts may read beside those that need no leave.")] = field(default_factory=list)
    max_age: Annotated[Duration | None, Bounds(0, 86400), Meta(description="How long a browser may remember a preflight. null = not told: 5 s in most.")] = Duration(600)
    credentials: Annotated[bool, Meta(description="Cookies and other credentials may be sent along; not with `*`.")] = False
    private_network: Annotated[bool, Meta(description="Public sites may call into this, a private, network.")] = False


def build(config: Config, tools: Tools) -> CorsStep:
    """A compiled step; raises ConfigError for what is no origin or name, and for credentials shared with any site."""
    if problems := list(_flaws(config, tools.pointer)):
        raise ConfigError(problems)
    max_age = -1 if config.max_age is None else int(config.max_age)
    return CorsStep(OriginSet(config.origins), config.methods, config.headers, config.expose, max_age, config.credentials, config.private_network)


def _flaws(config: Config, pointer: str) -> Iterator[Problem]:
    for index, origin in enumerate(config.origins):
        if origin != "*" and (flaw := origin_flaw(origin)):
            yield Problem(message=flaw[0], pointer=join(f"{pointer}.origins", index), hint=flaw[1])
    for key, names in (("methods", config.methods), ("headers", config.headers), ("expose", config.expose)):
        for index, name in enumerate(names):
            if not is_token(name) or (name == "*" and len(names) > 1):
                what = "method" if key == "methods" else "field name"
                yield Problem(message=f"'{name}' is not a {what}", pointer=join(f"{pointer}.{key}", index), hint="`*` stands alone" if name == "*" else None)
    if config.credentials and "*" in config.origins:
        message = "credentials for any site would let every site act as its visitors"
        yield Problem(message=message, pointer=f"{pointer}.credentials", hint="name the origins, or leave credentials out")
    if config.credentials and "*" in config.expose:
        yield Problem(message="`*` exposes nothing to requests with credentials (WHATWG Fetch section 3.3.3)", pointer=f"{pointer}.expose", hint="name the fields")
