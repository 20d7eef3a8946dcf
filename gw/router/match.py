"""One route's match: config values to what the route tree takes, with everything wrong in it as problems."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

from gw._fast.path import ENCODED_SLASH_KEEP, MERGE_SLASHES, PARAMETERS_KEEP, REASONS, normalise
from gw._fast.regex import Regex
from gw.config.model import PathRules, Route
from gw.config.node import join
from gw.errors import Problem

Condition = tuple[str, str, str]

KEEP = {"encoded slash": "`path: {encoded_slash: keep}` lets such paths through", "a ';'": "`path: {parameters: keep}` lets such paths through"}


class RouteMatch(Struct, frozen=True):
    """What Router.add takes. `path` is normalised, or the expression; `names` are those of Match.params, in order."""

    hosts: tuple[str, ...]
    kind: str
    path: str
    methods: tuple[str, ...]
    headers: tuple[Condition, ...]
    query: tuple[Condition, ...]
    names: tuple[str, ...]


def path_flags(rules: PathRules) -> int:
    """The flags of path_normalise for these rules."""
    return (ENCODED_SLASH_KEEP if rules.encoded_slash == "keep" else 0) | (PARAMETERS_KEEP if rules.parameters == "keep" else 0) | (MERGE_SLASHES if rules.merge_slashes else 0)


def read_match(route: Route, pointer: str, flags: int) -> tuple[RouteMatch, list[Problem]]:
    """The match of a route whose config stands at `pointer`; it is usable when there are no problems."""
    problems: list[Problem] = []
    kind = "exact" if route.exact is not None else "regex" if route.regex is not None else "prefix"
    written = route.exact or route.regex or route.path or "/"
    place = f"{pointer}.{'path' if kind == 'prefix' else kind}"
    if kind == "regex":
        path, names = written, _groups(written, place, problems)
    else:
        path, names = _path(written, place, flags, problems)
    headers = [_condition(name.lower(), value) for name, value in route.headers.items()]
    query = [_condition(name, value) for name, value in route.query.items()]
    problems += _expressions(headers, f"{pointer}.headers")
    problems += _expressions(query, f"{pointer}.query")
    hosts = tuple(host.lower() for host in route.hosts)
    return RouteMatch(hosts, kind, path, tuple(route.methods), tuple(headers), tuple(query), names), problems


def encode_path(text: str) -> str:
    """The text with everything beyond ASCII as percent-encoded UTF-8, as a client sends it."""
    return "".join(char if char.isascii() else "".join(f"%{octet:02X}" for octet in char.encode()) for char in text)


def _path(written: str, pointer: str, flags: int, problems: list[Problem]) -> tuple[str, tuple[str, ...]]:
    normal = normalise(encode_path(written).encode(), flags)
    if isinstance(normal, int):
        hint = next((hint for words, hint in KEEP.items() if words in REASONS[normal]), None)
        problems.append(Problem(message=f"'{written}' never matches: {REASONS[normal]}", pointer=pointer, hint=hint))
        return "/", ()
    path = normal.decode()
    return path, tuple(segment[1:-1] for segment in path.split("/") if segment.startswith("{") and segment.endswith("}"))


def _groups(expression: str, pointer: str, problems: list[Problem]) -> tuple[str, ...]:
    try:
        return Regex(expression).names
    except ValueError as error:
        problems.append(Problem(message=f"'{expression}' cannot be used: {error}", pointer=pointer))
        return ()


def _condition(name: str, value: str | bool) -> Condition:
    if isinstance(value, bool):
        return name, "present" if value else "absent", ""
    return (name, "regex", value[1:]) if value.startswith("~") else (name, "eq", value)


def _expressions(conditions: list[Condition], pointer: str) -> Iterator[Problem]:
    for name, op, value in conditions:
        found: list[Problem] = []
        if op == "regex":
            _groups(value, join(pointer, name), found)
        yield from found
