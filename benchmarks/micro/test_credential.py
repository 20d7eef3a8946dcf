"""Keys of callers, looped in compiled code: each round is TIMES searches or requests, so divide the figures by TIMES."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable
from typing import Any

import pytest

from gw._fast.api_keys import ApiKeys
from gw._fast.credential import ApiKeyStep

TIMES = 1_000_000
COUNTS = [1, 1_000, 100_000]


def texts(count: int) -> list[bytes]:
    """As long as those that gw makes."""
    return [f"gw_{number:012}_{hashlib.sha256(str(number).encode()).hexdigest()[:36]}".encode() for number in range(count)]


def part(keys: list[bytes]) -> tuple[bytes, bytes, list[int | None]]:
    return b"".join(struct.pack("<32sqII", hashlib.sha256(key).digest(), 0, 0, 12) for key in keys), b"".join(key[3:15] for key in keys), [0]


@pytest.mark.parametrize("count", COUNTS)
def test_find_each_key_in_turn(benchmark: Callable[..., Any], count: int) -> None:
    keys = ApiKeys()
    keys.fill([part(texts(count))], whole=True)
    assert benchmark(keys._repeat, texts(count), TIMES) == TIMES


@pytest.mark.parametrize("count", COUNTS)
def test_fill(benchmark: Callable[..., Any], count: int) -> None:
    """Not looped: one table."""
    keys, whole = ApiKeys(), part(texts(count))
    benchmark(keys.fill, [whole], whole=True)
    assert len(keys) == count


@pytest.mark.parametrize("count", COUNTS)
def test_step(benchmark: Callable[..., Any], count: int) -> None:
    """The policy `api-key` on one parsed head, the key taken out of it."""
    keys = ApiKeys()
    keys.fill([part(texts(count))], whole=True)
    step = ApiKeyStep("api-key", [("header", "X-API-Key")], keys, b"", hide=True)
    head = b"GET /x?a=1 HTTP/1.1\r\nHost: h.example\r\nUser-Agent: wrk\r\nAccept: */*\r\nX-API-Key: " + texts(count)[count // 2] + b"\r\n\r\n"
    assert benchmark(step._repeat, head, TIMES) == TIMES
