"""HTTP/1.1 framing, names of fields, timers, buffers: each figure is TIMES calls of the kernel, so that the way from Python into it does not count."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from benchmarks.instructions import ANSWER, REQUEST
from benchmarks.workloads import BROWSER
from gw._fast import probe

Benchmark = Callable[..., Any]
PAGE = b"GET /catalogue/page/3?sort=price HTTP/1.1\r\nHost: shop.example\r\n" + b"".join(f"{name}: {value}\r\n".encode() for name, value in BROWSER.items()) + b"\r\n"
CHUNKS = b"".join(b"1000\r\n" + b"c" * 4096 + b"\r\n" for _ in range(16)) + b"0\r\n\r\n"
TIMES = 1000


@pytest.mark.parametrize("head", [REQUEST, PAGE], ids=["plain", "browser"])
def test_request_head(benchmark: Benchmark, head: bytes) -> None:
    assert benchmark(probe._repeat_request, head, TIMES) == TIMES


def test_response_head(benchmark: Benchmark) -> None:
    assert benchmark(probe._repeat_response, ANSWER, TIMES) == TIMES


@pytest.mark.parametrize(("head", "fields"), [(REQUEST, 1), (PAGE, len(BROWSER) + 1)], ids=["plain", "browser"])
def test_names_of_fields(benchmark: Benchmark, head: bytes, fields: int) -> None:
    assert benchmark(probe._repeat_classify, head, TIMES) == fields


def test_chunked_body_of_64_kib(benchmark: Benchmark) -> None:
    assert benchmark(probe._repeat_chunked, CHUNKS, TIMES) == TIMES


def test_timer_is_moved(benchmark: Benchmark) -> None:
    assert benchmark(probe._repeat_timer, TIMES) >= TIMES - 1


def test_buffer_is_taken_and_given(benchmark: Benchmark) -> None:
    assert benchmark(probe._repeat_buffer, TIMES) == 1
