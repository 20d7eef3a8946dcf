"""Let an expression over the request and its caller decide."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Annotated, Any
from urllib.parse import parse_qsl

from cel_expr_python import cel
from msgspec import Meta, Struct

from gw._fast.hooks import Refusal, Request
from gw.config.convert import advise
from gw.errors import ConfigError, Problem
from gw.policy.base import Hooks, Kind, Tools

KIND: Kind = "authorisation"
EXPRESSION_MAX = 4096  # characters
PLACE = re.compile(r"<input>:(-?\d+):(-?\d+): (.*)")
FRAME = re.compile(r"^[A-Z_]+: (?:ERROR: )?(?:<input>:-1:-1: )?|Syntax error: | expecting \{.*\}| \(in container ''\)| \[[A-Z_]+\]$")  # what says nothing to an operator


class Config(Struct, forbid_unknown_fields=True, frozen=True):
    """Exactly one of the two expressions, in the Common Expression Language. Where it cannot be evaluated, nobody passes."""

    allow: Annotated[str | None, Meta(description="CEL expression; the request passes when it is true.")] = None
    deny: Annotated[str | None, Meta(description="CEL expression; the request passes when it is false.")] = None


def _headers(request: Request) -> dict[str, str]:
    """By name in lower case; several values of one name as one, with commas between them (RFC 9110 section 5.3)."""
    found: dict[str, str] = {}
    for name, value in request.headers.items():
        key = name.lower()
        found[key] = f"{found[key]}, {value}" if key in found else value
    return found


def _query(request: Request) -> dict[str, str]:
    """Raises ValueError for a parameter that is sent twice: which of them the origin believes is not known."""
    pairs = parse_qsl(request.query, keep_blank_values=True)
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a parameter occurs twice")
    return found


STRINGS = cel.Type.Map(cel.Type.STRING, cel.Type.STRING)
VARIABLES: dict[str, tuple[Any, Callable[[Request], Any]]] = {  # name -> its type, and where its value comes from
    "request.method": (cel.Type.STRING, lambda request: request.method),
    "request.host": (cel.Type.STRING, lambda request: request.host),
    "request.path": (cel.Type.STRING, lambda request: request.path),
    "request.query": (STRINGS, _query),
    "request.headers": (STRINGS, _headers),
    "client.ip": (cel.Type.STRING, lambda request: request.client),
    "consumer": (cel.Type.STRING, lambda request: request.consumer or ""),
    "groups": (cel.Type.List(cel.Type.STRING), lambda request: request.groups),
    "scopes": (cel.Type.List(cel.Type.STRING), lambda request: request.scopes),
    "claims": (cel.Type.Map(cel.Type.STRING, cel.Type.DYN), lambda request: request.claims or {}),
    "now": (cel.Type.TIMESTAMP, lambda request: datetime.fromtimestamp(request.now, UTC)),
}


class Condition(Struct, frozen=True):
    """A compiled expression, and the variables that it needs."""

    expression: Any
    reads: dict[str, Callable[[Request], Any]]

    def holds(self, request: Request) -> bool | None:
        """None when it cannot be evaluated: a missing key, a type that does not fit, a loop that takes too long."""
        try:
            found = self.expression.eval(data={name: read(request) for name, read in self.reads.items()}).value()
        except (RuntimeError, ValueError):
            return None
        return found if isinstance(found, bool) else None


@lru_cache(maxsize=1024)
def compiled(text: str) -> Condition:
    """Raises ValueError with the column where the expression is wrong. One that stands ahead of many routes is compiled once."""
    expression = _compile(text, frozenset())
    if expression.return_type() not in (cel.Type.BOOL, cel.Type.DYN):
        raise ValueError(f"the expression gives {expression.return_type().name().lower()}, not true or false")
    return Condition(expression, {name: read for name, (_, read) in VARIABLES.items() if _needs(text, name)})


def _compile(text: str, without: frozenset[str]) -> Any:
    if len(text) > EXPRESSION_MAX:
        raise ValueError(f"the expression has {len(text)} characters; at most {EXPRESSION_MAX} are taken")
    environment = cel.NewEnv(variables={name: kind for name, (kind, _) in VARIABLES.items() if name not in without})
    try:
        return environment.compile(text)
    except TypeError:
        raise ValueError("the expression is not valid Unicode") from None
    except RuntimeError as error:
        raise ValueError(_told(str(error))) from None


def _needs(text: str, name: str) -> bool:
    """Whether the expression is wrong without the variable: the parser knows, and no text of ours has to guess."""
    try:
        _compile(text, frozenset((name,)))
    except ValueError:
        return True
    return False


def _told(error: str) -> str:
    """The library's words for the first mistake, and where it is."""
    found = PLACE.search(error)
    if found is None or found[1] == "-1":
        return FRAME.sub("", error.partition("\n")[0])
    line = "" if found[1] == "1" else f"line {found[1]}, "
    return f"{line}column {found[2]}: {FRAME.sub('', found[3])}"


def build(config: Config, tools: Tools) -> Hooks:
    """A request hook; raises ConfigError for an expression that is wrong."""
    if (config.allow is None) == (config.deny is None):
        raise ConfigError([Problem(message="expected either `allow` or `deny`", pointer=tools.pointer, hint="""`condition: {allow: 'request.method == "GET"'}`""")])
    side, text, wanted = ("allow", config.allow, True) if config.allow is not None else ("deny", config.deny, False)
    try:
        condition = compiled(text or "")
    except ValueError as error:
        raise ConfigError([Problem(message=str(error), pointer=f"{tools.pointer}.{side}", hint=_hint(str(error)))]) from None

    def judge(request: Request) -> Refusal | None:
        return None if condition.holds(request) is wanted else Refusal("not-permitted")

    return Hooks(request=judge)


def _hint(error: str) -> str | None:
    unknown = re.search(r"undeclared reference to '([^']*)'", error)
    return advise(unknown[1], VARIABLES) if unknown else None
