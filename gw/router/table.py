"""All routes of a config, compiled, and the order in which they are tried.

The order is total. Earlier rules decide first:

1. host: an exact name, then the longest wildcard (`*.a.example.com` before `*.example.com`), then any;
2. path: exact, then prefix, then expression.
   Exact: from the left, a literal segment before a parameter.
   Prefix: more segments first, `/user/` before `/user`; among equals, from the left, a literal segment before a parameter.
   Expression: in the order of the file; the same expression in several routes counts as one path, at the place of its first route;
3. method: a route that names methods before one that takes any;
4. more header matches; 5. more query matches; 6. the order of the file.

When no route of the best path takes the request, the next path is tried, and after the last path the next host. A request for which
only the method was wrong everywhere is answered 405. Literal segments are compared percent-decoded; expressions see the normalised path.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

from msgspec import Struct

from gw._fast.forest import KINDS, Predicate
from gw._fast.forest import Route as Drafted
from gw._fast.radix import Router
from gw.config.model import PathRules, Route
from gw.errors import ConfigError, Problem
from gw.router.match import RouteMatch, path_flags, read_match

# The literal text that every path an expression takes begins with; none is claimed for expressions with alternatives.
LITERAL_HEAD = re.compile(r"\^?([A-Za-z0-9/_-]*)(?![*?{])")


class Table(Struct, frozen=True):
    """The route tree and, by index of the route in the config, the matches in it."""

    router: Router
    matches: list[RouteMatch]


class Row(Struct, frozen=True):
    """One line of the compiled order: a route with several hosts has one for each."""

    host: str
    route: int


def compile_routes(routes: Sequence[Route], rules: PathRules) -> Table:
    """The table of these routes; ConfigError with every problem found, pointers from `$.routes`."""
    flags = path_flags(rules)
    router = Router()
    matches: list[RouteMatch] = []
    problems: list[Problem] = []
    for index, route in enumerate(routes):
        pointer = f"$.routes[{index}]"
        match, flaws = read_match(route, pointer, flags)
        matches.append(match)
        problems += flaws or _add(router, index, match, pointer)
    if problems:
        raise ConfigError(problems)
    try:
        router.freeze()
    except ValueError as error:
        raise ConfigError([Problem(message=str(error), pointer="$.routes")]) from error
    return Table(router, matches)


def _add(router: Router, index: int, match: RouteMatch, pointer: str) -> list[Problem]:
    try:
        router.add(index, hosts=match.hosts, kind=match.kind, path=match.path, methods=match.methods, headers=match.headers, query=match.query)
    except ValueError as error:
        return [Problem(message=str(error), pointer=pointer)]
    return []


def order(table: Table) -> list[Row]:
    """Every route, once per host, in the order in which they are tried."""
    ranked = [(rank, Row(host, route.index)) for host, rank, route in _ranked(table.router.routes)]
    return [row for _, row in sorted(ranked, key=lambda entry: entry[0])]


def _ranked(routes: Sequence[Drafted]) -> Iterator[tuple[str, tuple[Any, ...], Drafted]]:
    first_of_expression: dict[tuple[str, str], int] = {}
    for position, route in enumerate(routes):
        for host in route.hosts or ("",):
            first = first_of_expression.setdefault((host, route.path), position) if route.kind == "regex" else 0
            yield host, (_host_rank(host), KINDS.index(route.kind), _path_rank(route, first), route.merit, position), route


def _host_rank(host: str) -> tuple[int, int, str]:
    return (1, -len(host), host) if host.startswith("*") else (0 if host else 2, 0, host)


def _path_rank(route: Drafted, first: int) -> tuple[Any, ...]:
    length = 2 * len(route.segments) + route.below if route.kind == "prefix" else 0
    return (first, -length, [(label is None, label or b"") for label in route.segments])


def shadowed(table: Table) -> list[tuple[int, int]]:
    """(loser, winner) for each route that can never win, because others always take its requests first; the winner is one of them.

    Nothing is claimed that does not hold: what takes a proof over the languages of two expressions is left out.
    """
    rivals: dict[tuple[str, str, str], list[Drafted]] = defaultdict(list)
    for route in table.router.routes:
        for host in route.hosts or ("",):
            rivals[host, *_place(route)].append(route)
    pairs = []
    for route in table.router.routes:
        winners = [_winner(route, host, method, rivals) for host in route.hosts or ("",) for method in route.methods or (None,)]
        found = [winner for winner in winners if winner is not None]
        if len(found) == len(winners):
            pairs.append((route.index, found[0].index))
    return pairs


def _place(route: Drafted) -> tuple[str, str]:
    """Routes at one place take the same paths."""
    if route.regex is not None:
        return "regex", route.path
    return "below" if route.below else route.kind, "/".join("{}" if label is None else label.hex() for label in route.segments)


def _winner(route: Drafted, host: str, method: str | None, rivals: dict[tuple[str, str, str], list[Drafted]]) -> Drafted | None:
    """A route that takes every request of this host and method (None: all methods) that `route` would take."""
    ahead = [rival for rival in rivals[host, *_place(route)] if (rival.merit, rival.index) < (route.merit, route.index)]
    for place in _prefixes_ahead(route):
        ahead += rivals.get((host, *place), [])
    return next((rival for rival in ahead if _covers(rival, route, method)), None)


def _prefixes_ahead(route: Drafted) -> Iterator[tuple[str, str]]:
    """Places of prefix routes that take every path of an expression."""
    if route.regex is None:
        return
    yield "below", ""
    head = LITERAL_HEAD.match(route.path)
    if head is None or "|" in route.path:
        return
    labels = [label.encode().hex() for label in head[1].split("/")[1:-1]]
    for taken in range(1, len(labels) + 1):
        yield "prefix", "/".join(labels[:taken])
        yield "below", "/".join(labels[:taken])


def _covers(rival: Drafted, route: Drafted, method: str | None) -> bool:
    takes_method = not rival.methods or method in rival.methods
    return takes_method and _implied(rival.headers, route.headers) and _implied(rival.query, route.query)


def _implied(wanted: list[Predicate], given: list[Predicate]) -> bool:
    """Whether everything wanted holds whenever everything given holds."""
    return all(any(_implies(one, each) for one in given) for each in wanted)


def _implies(given: Predicate, wanted: Predicate) -> bool:
    if given.name != wanted.name or given.op == "absent" or wanted.op == "absent":
        return given[:3] == wanted[:3]
    if wanted.regex is not None and given.op == "eq":
        return wanted.regex.match(given.value.encode())
    return wanted.op == "present" or given[:3] == wanted[:3]
