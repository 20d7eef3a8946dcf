"""Paths, routes and expressions, looped in compiled code: each round is TIMES calls, so divide the figures by TIMES."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from gw._fast.path import MERGE_SLASHES, _repeat
from gw._fast.radix import Router
from gw._fast.regex import Regex

TIMES = 100_000
PLAIN = b"/api/v1/users/1234567/orders/98765/items"
ENCODED = b"/api/v1/users/%31234567/orders/98765/ite"

Request = tuple[bytes, bytes, bytes]


@pytest.mark.parametrize("path", [PLAIN, ENCODED, b"/user/7"], ids=["plain-40", "encoded-40", "plain-7"])
def test_normalise(benchmark: Callable[..., Any], path: bytes) -> None:
    assert benchmark(_repeat, path, MERGE_SLASHES, TIMES) > 0


def prefixes(number: int) -> dict[str, Any]:
    return {"path": f"/api/svc{number}/v1"}


def parameters(number: int) -> dict[str, Any]:
    return {"path": f"/api/svc{number}/{{id}}"}


def hosts(number: int) -> dict[str, Any]:
    return {"path": "/api", "hosts": [f"svc{number}.example.com"]}


def methods(number: int) -> dict[str, Any]:
    return {"path": f"/api/svc{number // 2}/v1", "methods": ["GET", "HEAD"] if number % 2 else ["POST"]}


def table(route: Callable[[int], dict[str, Any]], count: int) -> Router:
    router = Router()
    for number in range(count):
        router.add(number, **route(number))
    router.freeze()
    return router


def requests(count: int) -> list[Request]:
    picks = [random.Random(seed).randrange(count) for seed in range(5000)]
    return [(b"GET", b"svc%d.example.com" % pick, b"/api/svc%d/v1" % (pick // 2)) for pick in picks]


@pytest.mark.parametrize("count", [10, 1000, 10_000])
@pytest.mark.parametrize("route", [prefixes, parameters, hosts, methods], ids=lambda route: route.__name__)
def test_find(benchmark: Callable[..., Any], route: Callable[[int], dict[str, Any]], count: int) -> None:
    router = table(route, count)
    asked = requests(count)
    assert router.find(*asked[0])[0] >= 0
    benchmark(router._repeat, asked, TIMES)


def test_build_10000(benchmark: Callable[..., Any]) -> None:
    benchmark.pedantic(table, (parameters, 10_000), rounds=3)


@pytest.mark.parametrize("pattern", [r"/api/v\d+/users/(?P<id>\d+)/.*", r"/(.*)/(.*)/(.*)/items"], ids=["anchored", "loose"])
def test_match(benchmark: Callable[..., Any], pattern: str) -> None:
    assert benchmark(Regex(pattern).match, PLAIN)


def test_groups(benchmark: Callable[..., Any]) -> None:
    assert benchmark(Regex(r"/api/v\d+/users/(?P<id>\d+)/.*").groups, PLAIN) == {"id": b"1234567"}
