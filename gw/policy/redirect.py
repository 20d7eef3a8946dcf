"""Send clients to the one right form of a URL: HTTPS, host, trailing slash."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from gw._fast.target import RedirectStep
from gw.config.syntax import host_flaw
from gw.errors import ConfigError, Problem
from gw.policy.base import Kind, Tools

KIND: Kind = "shaping"
WAY = {None: 0, "add": 1, "remove": -1}


class Config(Struct, forbid_unknown_fields=True, frozen=True):
    """What the right form is. Path, query and what is not said here stay as they were asked for."""

    https: Annotated[bool, Meta(description="Over TLS.")] = False
    host: Annotated[str | None, Meta(description="At this host.")] = None
    www: Annotated[Literal["add", "remove"] | None, Meta(description="With or without `www.` in front of the host.")] = None
    port: Annotated[int, Meta(ge=0, le=65535, description="Port to name where scheme or host changes; 0 = none, the scheme's own.")] = 0
    trailing_slash: Annotated[Literal["add", "remove"] | None, Meta(description="With or without a slash at the end; none is added to a last segment with a dot.")] = None
    status: Annotated[Literal[301, 302, 303, 307, 308], Meta(description="308 and 307 keep method and body, 308 and 301 are remembered.")] = 308


def build(config: Config, tools: Tools) -> RedirectStep:
    """A compiled step; raises ConfigError for what is no host, and when there is nothing to redirect to."""
    if config.host is not None and (flaw := host_flaw(config.host)):
        raise ConfigError([Problem(message=flaw, pointer=f"{tools.pointer}.host")])
    if config.host is not None and config.www is not None:
        raise ConfigError([Problem(message="host and www exclude each other", pointer=f"{tools.pointer}.www", hint="write the whole host")])
    if not (config.https or config.host or config.www or config.trailing_slash):
        raise ConfigError([Problem(message="redirect asks for no form", pointer=tools.pointer, hint="set https, host, www or trailing_slash")])
    return RedirectStep(config.status, config.https, (config.host or "").lower(), config.port, WAY[config.www], WAY[config.trailing_slash])
