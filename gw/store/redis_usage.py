"""What quotas have counted in a Redis, for who wants to see it: nothing is written, and nobody else waits for long."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from redis.asyncio import Redis as Client
from redis.exceptions import RedisError

from gw.config.model import Redis
from gw.config.redis_address import parse_redis
from gw.errors import GatewayError
from gw.store.period import bucket_us
from gw.store.redis_client import hash_of, pool, words
from gw.store.usage import Line, meter_of

BATCH = 200  # keys of one round trip: a Redis takes some hundred microseconds to look through so many, and to read them
HIDDEN = 8  # characters of its hash that stand for a key that may be secret
MICRO = 1_000_000


class _Found(NamedTuple):
    """A key of Redis and what it holds."""

    digest: str
    fields: dict[bytes, bytes]
    life: int  # milliseconds
    now: int  # microseconds, by Redis's clock


class RedisUsage:
    """Reads what RedisLedger counts."""

    def __init__(self, settings: Redis, base: Path) -> None:
        """Opens no connection. `base` is the folder that file names start from."""
        self._settings = settings
        self._address = parse_redis(settings.url)
        self._base = base

    def __repr__(self) -> str:
        return f"<RedisUsage {self._address}>"

    def lines(self, quota: str | None = None, key: str | None = None) -> list[Line]:
        """What is counted now, of this quota and key or of all, by quota and key. A key that may be secret is found by who names it, and is `#` and a hash otherwise.

        Each round trip has the time-out of the settings. Raises GatewayError.
        """
        try:
            return sorted(asyncio.run(self._lines(quota, key)), key=lambda line: (line.quota, line.key, line.window))
        except (RedisError, OSError, TimeoutError) as error:
            raise GatewayError(f"store {self._address}: {words(error, float(self._settings.timeout))}") from None

    async def _lines(self, quota: str | None, key: str | None) -> list[Line]:
        found: dict[bytes | str, Line | None] = {}  # by the name in Redis: a scan may come to one twice
        async with Client.from_pool(pool(self._settings, self._address, self._base)) as client:
            cursor = 0
            while True:
                async with asyncio.timeout(float(self._settings.timeout)):
                    cursor, seen = await client.scan(cursor, match=_pattern(self._settings.prefix), count=BATCH)
                fresh = [name for name in seen if name not in found]
                for begin in range(0, len(fresh), BATCH):
                    batch = fresh[begin : begin + BATCH]
                    found.update(zip(batch, [_line(each, quota, key) for each in await self._read(client, batch)], strict=True))
                if cursor == 0:
                    return [line for line in found.values() if line]

    async def _read(self, client: Client, names: list[bytes | str]) -> list[_Found | None]:
        ours = re.compile(rb"%b:quota:([0-9a-f]{32})(:-?[0-9]+)?" % re.escape(self._settings.prefix.encode()))
        digests = [ours.fullmatch(name) if isinstance(name, bytes) else None for name in names]
        async with asyncio.timeout(float(self._settings.timeout)), client.pipeline(transaction=False) as pipeline:
            pipeline.time()
            for name, digest in zip(names, digests, strict=True):
                if digest:
                    pipeline.hgetall(name)
                    pipeline.pttl(name)
            (seconds, rest), *answers = await pipeline.execute()
        pairs: Iterator[tuple[dict[bytes, bytes], int]] = iter(zip(answers[::2], answers[1::2], strict=True))
        return [_Found(digest[1].decode(), *next(pairs), seconds * MICRO + rest) if digest else None for digest in digests]


def _pattern(prefix: str) -> str:
    return re.sub(r"([\\*?\[\]])", r"\\\1", prefix) + ":quota:*"


def _line(found: _Found | None, quota: str | None, key: str | None) -> Line | None:
    """None of what counts no longer, has no name, or is not asked for."""
    if found is None or b"limit" not in found.fields:
        return None
    name, window, counted = (found.fields[field].decode() for field in (b"quota", b"window", b"key"))
    if quota is not None and name != quota:
        return None
    meter = meter_of(name, window, shared=True)
    if not counted:
        counted = key if key is not None and hash_of(meter, key) == found.digest else f"#{found.digest[:HIDDEN]}"
    if key is not None and counted != key:
        return None
    if meter.calendar:
        used, ends = int(found.fields[b"used"]), found.now + found.life * 1000
    else:
        width = bucket_us(meter)
        slices = {int(place): int(units) for place, units in found.fields.items() if place.isdigit() and int(place) >= (found.now - meter.us) // width and int(units)}
        used, ends = sum(slices.values()), (max(slices, default=0) + 1) * width + meter.us
    return Line(name, counted, window, used, int(found.fields[b"limit"]), round(ends / MICRO), "redis") if used else None
