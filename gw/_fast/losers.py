"""Why a route did not win: the rules of gw/_fast/radix once more, route by route and in words. For traces only."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any
from urllib.parse import unquote_to_bytes

from gw._fast.forest import KINDS, Predicate, Route

PATH_WORDS = {"exact": "path is not", "prefix": "path is not below", "regex": "path is not matched by"}
MERITS = ("names no method, route {} does", "has fewer header matches than route {}", "has fewer query matches than route {}", "stands after route {}")


class Question:
    """A target in Python's terms."""

    def __init__(self, method: bytes, host: bytes, path: bytes, query: bytes, headers: Iterable[tuple[bytes, bytes]]) -> None:
        self.method = _shown(method)
        self.host = _shown(host)
        self.path = path
        self.labels = path[1:].split(b"/")
        self.headers: dict[bytes, list[bytes]] = {}
        for name, value in headers:
            self.headers.setdefault(name.lower(), []).append(value)
        self.query: dict[bytes, list[bytes]] = {}
        for item in query.split(b"&") if query else ():
            name, _, value = (unquote_to_bytes(part.replace(b"+", b" ")) for part in item.partition(b"="))
            self.query.setdefault(name, [value])

    def host_rank(self, route: Route) -> tuple[int, int] | None:
        """Lower is better; None when the route is for other hosts."""
        ranks = [_host_rank(self.host, pattern) for pattern in route.hosts or ("",)]
        return min((rank for rank in ranks if rank is not None), default=None)

    def takes_path(self, route: Route) -> bool:
        if route.regex is not None:
            return route.regex.match(self.path)
        taken, there = len(route.segments), len(self.labels)
        if there < taken + route.below or (route.kind == "exact" and there != taken):
            return False
        return all(given != b"" if label is None else unquote_to_bytes(given) == label for label, given in zip(route.segments, self.labels, strict=False))

    def refusal(self, route: Route) -> str | None:
        """The first rule by which the route does not take the target."""
        if self.host_rank(route) is None:
            return f"host {self.host} is not {', '.join(route.hosts)}"
        if not self.takes_path(route):
            return f"{PATH_WORDS[route.kind]} {route.path}"
        unmet = [_unmet("header", item, self.headers) for item in route.headers] + [_unmet("query parameter", item, self.query) for item in route.query]
        for reason in filter(None, unmet):
            return reason
        if route.methods and self.method not in route.methods:
            return f"method {self.method} not in {', '.join(route.methods)}"
        return None


def _shown(text: bytes) -> str:
    return text.decode("ascii", "backslashreplace")


def _host_rank(host: str, pattern: str) -> tuple[int, int] | None:
    if pattern.startswith("*"):
        return (1, -len(pattern)) if host.endswith(pattern[1:]) and len(host) >= len(pattern) else None
    if pattern:
        return (0, 0) if host == pattern else None
    return (2, 0)


def _unmet(what: str, item: Predicate, given: dict[bytes, list[bytes]]) -> str | None:
    values = given.get(item.name.encode())
    if item.op == "absent":
        return f"{what} {item.name} is present" if values else None
    if values is None:
        return f"{what} {item.name} is absent"
    if item.regex is not None:
        return None if any(map(item.regex.match, values)) else f"{what} {item.name} does not match {item.value}"
    return None if item.op == "present" or item.value.encode() in values else f"{what} {item.name} is not {item.value}"


def _path_rank(route: Route, first_of_expression: dict[str, int]) -> tuple[Any, ...]:
    if route.regex is not None:
        return (first_of_expression[route.path],)
    length = -2 * len(route.segments) - route.below if route.kind == "prefix" else 0
    return (length, [label is None for label in route.segments])


def _defeat(rank: tuple[Any, ...], best: tuple[Any, ...], winner: int) -> str:
    """Why a route that takes the target stands behind the winner."""
    if rank[0] != best[0]:
        return f"host is narrower in route {winner}"
    if rank[1] != best[1]:
        return f"path is {'exact' if best[1] == 0 else 'no expression'} in route {winner}"
    if rank[2] == best[2]:
        return next(words.format(winner) for words, mine, its in zip(MERITS, rank[3:], best[3:], strict=True) if mine != its)
    if rank[1] == KINDS.index("regex"):
        return f"the expression of route {winner} stands before"
    return f"path is longer in route {winner}" if rank[2][0] != best[2][0] else f"path of route {winner} names a segment that is a parameter here"


def explain(routes: Sequence[Route], question: Question, winner: int, trace: Callable[[int, str], None]) -> None:
    """Tell trace why each route lost and, last, who won. RuntimeError when the winner is not the best one by these rules."""
    hosts = [question.host_rank(route) for route in routes]
    first_of_expression: dict[str, int] = {}
    ranks: dict[int, tuple[Any, ...]] = {}
    for position, route in enumerate(routes):
        if route.regex is not None and hosts[position] is not None:
            first_of_expression.setdefault(route.path, position)
        reason = question.refusal(route)
        if reason is None:
            ranks[position] = (hosts[position], KINDS.index(route.kind), _path_rank(route, first_of_expression), *route.merit, position)
        else:
            trace(route.index, reason)
    if not ranks:
        if winner >= 0:
            raise RuntimeError(f"route {winner} was found, but no route takes the target")
        return
    best = min(ranks, key=ranks.__getitem__)
    if winner != routes[best].index:
        raise RuntimeError(f"route {winner} was found, but {routes[best]} is the best")
    for position, rank in ranks.items():
        if position != best:
            trace(routes[position].index, _defeat(rank, ranks[best], winner))
    trace(winner, "wins")
