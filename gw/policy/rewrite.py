"""Change path and query on the way to the origin."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated
from urllib.parse import quote

from msgspec import Meta, Struct, field

from gw._fast.regex import Regex
from gw._fast.target import RewriteStep
from gw.config.syntax import path_flaw
from gw.errors import ConfigError, Problem
from gw.policy.base import Kind, Tools
from gw.router import parse_template

KIND: Kind = "shaping"


class Query(Struct, forbid_unknown_fields=True, frozen=True):
    """Parameters of the query, names and values as people read them; gw encodes them."""

    remove: Annotated[list[str], Meta(description="Names of parameters to take away.")] = field(default_factory=list)
    set: Annotated[dict[str, str], Meta(description="Parameters to have exactly once, behind the others.")] = field(default_factory=dict)
    add: Annotated[dict[str, str], Meta(description="Parameters to add behind the others.")] = field(default_factory=dict)


class Config(Struct, forbid_unknown_fields=True, frozen=True):
    """What of the target changes. A path that `regex` or `prefix` does not fit stays as it is."""

    regex: Annotated[str | None, Meta(description="Expression of the whole path; `to` may hold its groups: `(?P<name>...)` as `{name}`.")] = None
    prefix: Annotated[str | None, Meta(description="Beginning of the path, by whole segments, that `to` replaces.")] = None
    to: Annotated[str | None, Meta(description="The new path, or with `prefix` its new beginning.")] = None
    query: Annotated[Query, Meta(description="What becomes of the query.")] = field(default_factory=Query)


def build(config: Config, tools: Tools) -> RewriteStep:
    """A compiled step; raises ConfigError for expressions and paths that cannot be."""
    _check_combination(config, tools.pointer)
    regex = _regex(config.regex, f"{tools.pointer}.regex")
    query = config.query
    append = "&".join(f"{_encoded(name)}={_encoded(value)}" for each in (query.set, query.add) for name, value in each.items())
    return RewriteStep(regex, config.prefix, _parts(config, regex.names if regex else (), tools.pointer), [*query.remove, *query.set], append)


def _check_combination(config: Config, pointer: str) -> None:
    if config.regex is not None and config.prefix is not None:
        raise ConfigError([Problem(message="regex and prefix exclude each other", pointer=f"{pointer}.prefix", hint="write two rewrite policies, one after the other")])
    if (config.to is None) != (config.regex is None and config.prefix is None):
        raise ConfigError([Problem(message="`to` goes with `regex` or `prefix`", pointer=pointer)])
    if config.to is None and config.query == Query():
        raise ConfigError([Problem(message="rewrite changes nothing", pointer=pointer, hint="set regex or prefix with to, or query")])
    for key, path in (("prefix", config.prefix), ("to", config.to)):
        if path is not None and (flaw := path_flaw(path)):
            raise ConfigError([Problem(message=flaw[0], pointer=f"{pointer}.{key}", hint=flaw[1])])


def _regex(pattern: str | None, pointer: str) -> Regex | None:
    try:
        return None if pattern is None else Regex(pattern)
    except ValueError as error:
        raise ConfigError([Problem(message=f"'{pattern}' cannot be used: {error}", pointer=pointer)]) from None


def _parts(config: Config, names: Iterable[str], pointer: str) -> list[tuple[str, int]]:
    known = list(names)
    try:
        parts = parse_template(config.to or "", known)
        odd = next((part.kind for part in parts if part.kind not in ("text", "param")), None)
        if odd is not None:
            raise ValueError(f"unknown parameter '{{{odd}}}'")
    except ValueError as error:
        hint = f"groups of the expression: {', '.join(known)}" if known else "`(?P<name>...)` in `regex` makes `{name}`"
        raise ConfigError([Problem(message=str(error), pointer=f"{pointer}.to", hint=hint)]) from None
    return [(part.text.decode(), -1) if part.kind == "text" else ("", part.param) for part in parts]


def _encoded(text: str) -> str:
    return quote(text, safe="")
