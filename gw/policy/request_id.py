"""Give each request an id of the wanted form, or keep the one it comes with."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from gw._fast.regex import Regex
from gw._fast.request_id import FORMS, RequestIdStep
from gw.config.syntax import FRAMING_FIELDS, is_token
from gw.errors import ConfigError, Problem
from gw.policy.base import Kind, Tools

KIND: Kind = "shaping"
ACCEPT = {"never": 0, "trusted": 1, "any": 2}


class Config(Struct, forbid_unknown_fields=True, frozen=True):
    """Where the id stands, where it comes from, how it looks."""

    name: Annotated[str, Meta(max_length=63, description="Field that carries the id to the origin, and with `echo` back.")] = "X-Request-Id"
    form: Annotated[Literal["uuid4", "uuid7", "hex", "ulid"], Meta(description="Of an id that gw makes; `uuid7` and `ulid` sort by time.")] = "uuid7"
    accept: Annotated[Literal["never", "trusted", "any"], Meta(description="Whose ids are kept: nobody's, those of `trusted_proxies`, anybody's.")] = "trusted"
    pattern: Annotated[str | None, Meta(description="Expression of a whole id that is kept; another one is replaced. Always: 1 to 64 letters, digits, `-`, `_`, `.`.")] = None
    echo: Annotated[bool, Meta(description="The answer carries the id too.")] = True


def build(config: Config, tools: Tools) -> RequestIdStep:
    """A compiled step; raises ConfigError for what is no field name or no expression."""
    if not is_token(config.name) or config.name.lower().replace("_", "-") in FRAMING_FIELDS | {"host", "date"}:
        raise ConfigError([Problem(message=f"'{config.name}' cannot carry an id", pointer=f"{tools.pointer}.name", hint="a header field of its own, such as X-Request-Id")])
    try:
        shape = None if config.pattern is None else Regex(config.pattern)
    except ValueError as error:
        raise ConfigError([Problem(message=f"'{config.pattern}' cannot be used: {error}", pointer=f"{tools.pointer}.pattern")]) from None
    return RequestIdStep(config.name, FORMS[config.form], ACCEPT[config.accept], shape, config.echo)
