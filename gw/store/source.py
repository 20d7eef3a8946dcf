"""A source: data that the supervisor keeps fresh, once for all workers and policies that use it."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from typing import ClassVar, Protocol

import msgspec
from msgspec import Struct

Publish = Callable[[bytes], None]


class Log(Protocol):
    """How a source says what went wrong, for the error log."""

    def __call__(self, level: str, event: str, /, **fields: object) -> None: ...


class Source(Struct, frozen=True):
    """What to follow. Equal sources are followed once; subclasses hold plain values only."""

    local: ClassVar[bool] = False  # read from this machine: `gw explain` does so unasked

    async def once(self) -> bytes:
        """The data now, for `gw explain` and `gw test`. Raises GatewayError when it cannot be had."""
        raise NotImplementedError

    async def run(self, publish: Publish, wanted: asyncio.Event, log: Log) -> None:
        """Publish whenever the data changes, until cancelled. `wanted` is set when a worker misses something that fresher data may hold."""
        raise NotImplementedError


def source_key(source: Source) -> str:
    """Identity of a source across processes and revisions."""
    return f"{type(source).__name__}:{hashlib.sha256(msgspec.json.encode(source, order='deterministic')).hexdigest()[:32]}"
