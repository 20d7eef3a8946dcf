"""Kernels of counting, logging and balancing. Each loop runs in C; the figure is TIMES calls."""

from __future__ import annotations

import pytest

from gw._fast import hist, logbuf, pick, shm

TIMES = 1_000_000
PATH = b"/api/v1/users/4711/orders"
AGENT = b"Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"
NAME = "/übersicht/größe/straße/日本語".encode()


def balancer(mode: str, weights: list[int]) -> pick.Balancer:
    return pick.Balancer(shm.Segment(1, 1, len(weights)), [(b"10.0.0.%d:80" % i, weight) for i, weight in enumerate(weights)], mode)


def test_hist_add(benchmark) -> None:
    benchmark(hist._repeat, hist.Histogram(), 800, TIMES)


def test_endpoint_begin_ok_end(benchmark) -> None:
    benchmark(shm._repeat, shm.Segment(1, 1, 1), 0, TIMES)


@pytest.mark.parametrize("text", [PATH, AGENT, NAME], ids=["path", "user-agent", "utf-8"])
def test_escape(benchmark, text: bytes) -> None:
    benchmark(logbuf._repeat_escape, text, TIMES)


def test_line_parts(benchmark) -> None:
    benchmark(logbuf._repeat, PATH, TIMES)


@pytest.mark.parametrize("endpoints", [1, 2, 8, 64])
def test_round_robin(benchmark, endpoints: int) -> None:
    benchmark(pick._repeat, balancer("round-robin", [1] * endpoints), TIMES)


@pytest.mark.parametrize("endpoints", [2, 8, 64])
def test_least_request(benchmark, endpoints: int) -> None:
    benchmark(pick._repeat, balancer("least-request", [1] * endpoints), TIMES)


def test_least_request_by_weight(benchmark) -> None:
    benchmark(pick._repeat, balancer("least-request", [1, 2, 3, 4, 5, 6, 7, 8]), TIMES)
