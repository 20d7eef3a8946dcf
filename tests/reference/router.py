"""Slow oracle of gw._fast.radix: every route is tried, those that take the request are sorted by the documented order."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

NONE, METHOD = -1, -2


@dataclass
class Rule:
    """A route; `headers` and `query` hold (name, op, value)."""

    hosts: tuple[str, ...] = ()
    kind: str = "prefix"
    path: str = "/"
    methods: tuple[str, ...] = ()
    headers: tuple[tuple[str, str, str], ...] = ()
    query: tuple[tuple[str, str, str], ...] = ()


@dataclass
class Request:
    """A normalised target."""

    method: str = "GET"
    host: str = "a.com"
    path: str = "/"
    query: str = ""
    headers: tuple[tuple[str, str], ...] = ()


@dataclass
class Answer:
    """The winner or NONE or METHOD, what it took of the path, its parameters; for METHOD the methods that would do."""

    route: int
    taken: int = 0
    params: tuple[str, ...] = ()
    allow: frozenset[str] = frozenset()


def find(rules: list[Rule], request: Request) -> Answer:
    """The answer for a request."""
    takers = []
    allow: set[str] = set()
    for index, rule in enumerate(rules):
        host = host_rank(rule, request.host)
        path = path_match(rule, request.path)
        if host is None or path is None or not conditions_hold(rule, request):
            continue
        if rule.methods and request.method not in rule.methods:
            allow.update(rule.methods)
            continue
        rank, taken, params = path
        if rule.kind == "regex":
            rank = (2, min(other for other, each in enumerate(rules) if (each.kind, each.path) == ("regex", rule.path) and best_host_shared(each, rule, request.host)))
        takers.append(((host, rank, not rule.methods, -len(rule.headers), -len(rule.query), index), taken, params))
    if takers:
        rank, taken, params = min(takers)
        return Answer(rank[5], taken, params)
    return Answer(METHOD, allow=frozenset(allow)) if allow else Answer(NONE)


def host_rank(rule: Rule, host: str) -> tuple[int, int] | None:
    ranks = []
    for pattern in rule.hosts:
        if pattern == host:
            ranks.append((0, 0))
        if pattern.startswith("*") and re.fullmatch(".+" + re.escape(pattern[1:]), host):
            ranks.append((1, -len(pattern)))
    return min(ranks, default=None) if rule.hosts else (2, 0)


def best_host_shared(one: Rule, other: Rule, host: str) -> bool:
    """Whether `one` stands in the tree in which `other` is found for this host."""
    rank = host_rank(other, host)
    return any(host_rank(Rule(hosts=(pattern,) if pattern else ()), host) == rank for pattern in one.hosts or ("",))


def path_match(rule: Rule, path: str) -> tuple[tuple, int, tuple[str, ...]] | None:
    """(rank, bytes taken, parameters)."""
    if rule.kind == "regex":
        found = re.fullmatch(rule.path.encode(), path.encode(), re.DOTALL)
        return ((2, 0), len(path), tuple((group or b"").decode() for group in found.groupdict().values())) if found else None
    wanted = rule.path.split("/")[1:]
    given = path.split("/")[1:]
    below = rule.kind == "prefix" and wanted[-1] == ""
    if below:
        wanted.pop()
    if len(given) < len(wanted) + below or (rule.kind == "exact" and len(given) > len(wanted)):
        return None
    params = []
    for want, have in zip(wanted, given, strict=False):
        if want.startswith("{") and have != "":
            params.append(have)
        elif want.startswith("{") or unquote_to_bytes(want) != unquote_to_bytes(have):
            return None
    shape = tuple(want.startswith("{") for want in wanted)
    rank = (0, 0, shape) if rule.kind == "exact" else (1, -2 * len(wanted) - below, shape)
    return rank, sum(1 + len(have) for have in given[: len(wanted)]), tuple(params)


def conditions_hold(rule: Rule, request: Request) -> bool:
    fields: dict[str, list[bytes]] = {}
    for name, value in request.headers:
        fields.setdefault(name.lower(), []).append(value.encode())
    parameters: dict[bytes, list[bytes]] = {}
    for item in request.query.split("&") if request.query else ():
        name, _, value = item.partition("=")
        parameters.setdefault(decoded(name), [decoded(value)])
    return all(holds(fields.get(name.lower(), []), op, value) for name, op, value in rule.headers) and all(
        holds(parameters.get(name.encode(), []), op, value) for name, op, value in rule.query
    )


def decoded(text: str) -> bytes:
    return unquote_to_bytes(text.replace("+", " "))


def holds(values: list[bytes], op: str, wanted: str) -> bool:
    if op == "eq":
        return wanted.encode() in values
    if op == "regex":
        return any(re.fullmatch(wanted.encode(), value, re.DOTALL) for value in values)
    return bool(values) == (op == "present")
