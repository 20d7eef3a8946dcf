"""A ledger in a Redis or Valkey, for limits that several nodes share. The scripts that count are in redis_scripts.py; docs/redis.md has the bounds."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from msgspec import Struct
from redis.asyncio import Redis as Client
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, RedisError

from gw.config.model import Redis
from gw.config.redis_address import parse_redis
from gw.errors import GatewayError
from gw.store.ledger import Ask, Grant, Rest
from gw.store.period import bucket_us, calendar_bounds
from gw.store.redis_client import hash_of, pool, words
from gw.store.redis_scripts import BACK_QUOTA, BACK_RATE, TAKE_CALENDAR, TAKE_RATE, TAKE_ROLLING, Script
from gw.store.usage import window_of

LIVES = 20  # a grant of a rolling quota lives at most a 20th of its window, which it counts longer too
PAUSE_MIN = 0.1  # seconds after a failure in which nothing is asked; doubles
PAUSE_MAX = 2.0  # seconds
SPREAD = (0.5, 1.0)  # part of a pause, so that nodes do not return all at once
ROUNDS = 3  # of asking again because the period is another than we thought; a second one that is late has met midnight twice
MICRO = 1_000_000
Answer = TypeVar("Answer")
AHEAD = 10**16  # microseconds; a grant of a rate is known by its instant, and how far ahead of that it was paid for


class _Call(Struct, frozen=True):
    """One script for one key."""

    script: Script
    key: str
    arguments: tuple[int | str, ...]


class RedisLedger:
    """Counts in a Redis; implements gw.store.ledger.Ledger. For the loop that it is first used in.

    After a failure nothing is asked for a while, from 0.1 to 2 s: meanwhile every call raises at once.
    """

    def __init__(self, settings: Redis, base: Path, clock: Callable[[], float] = time.time) -> None:
        """Opens no connection. `base` is the folder that file names start from; `clock` gives Unix seconds, and may be wrong."""
        address = parse_redis(settings.url)
        self._where = str(address)
        self._prefix = settings.prefix
        self._timeout = float(settings.timeout)
        self._client = Client.from_pool(pool(settings, address, base))
        self._clock = clock
        self._ahead = 0.0  # seconds that Redis's clock is ahead of ours, as far as known
        self._failures = 0
        self._resumes = 0.0  # monotonic seconds; nothing is asked before
        self._reason = ""

    def __repr__(self) -> str:
        return f"<RedisLedger {self._where}{f', failed: {self._reason}' if self._failures else ''}>"

    async def take(self, asks: list[Ask], lease: float) -> list[Grant]:
        """One grant per ask, in order; without asks it opens the connection. Raises GatewayError; what was granted then is lost."""
        if not asks:
            await self._tried(self._client.ping)
        grants: dict[int, Grant] = {}
        for _ in range(ROUNDS):
            places = [place for place in range(len(asks)) if place not in grants]
            if not places:
                break
            calls = [self._taking(asks[place], round(lease * MICRO)) for place in places]
            for place, call, answer in zip(places, calls, await self._ask(calls), strict=True):
                self._ahead = answer[3] / MICRO - self._clock()
                if answer[0] >= 0:
                    grants[place] = _grant(call, answer)
        return [grants.get(place) or Grant(0, 0, PAUSE_MIN) for place in range(len(asks))]

    async def give_back(self, rests: list[Rest]) -> None:
        """Count these units as not granted, as far as their period is still counted. Raises GatewayError; they stay counted then."""
        await self._ask([self._giving(rest) for rest in rests])

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    # What is asked

    def _taking(self, ask: Ask, lease: int) -> _Call:
        meter = ask.meter
        if meter.burst:
            return _Call(TAKE_RATE, self._key(ask), (ask.units, meter.units, meter.us, meter.burst, lease))
        if meter.calendar is None:
            return _Call(TAKE_ROLLING, self._key(ask), (ask.units, meter.units, meter.us, bucket_us(meter), max(1, min(lease, meter.us // LIVES)), _names(ask)))
        begin, end = calendar_bounds(meter.calendar, meter.zone, self._clock() + self._ahead)
        return _Call(TAKE_CALENDAR, f"{self._key(ask)}:{begin}", (ask.units, meter.units, begin * MICRO, end * MICRO, lease, _names(ask)))

    def _giving(self, rest: Rest) -> _Call:
        meter = rest.meter
        if meter.burst:
            return _Call(BACK_RATE, self._key(rest), (rest.units, meter.units, meter.us, meter.burst, *divmod(rest.period, AHEAD)))
        if meter.calendar is None:
            return _Call(BACK_QUOTA, self._key(rest), (rest.units, rest.period))
        return _Call(BACK_QUOTA, f"{self._key(rest)}:{rest.period}", (rest.units, "used"))

    def _key(self, counted: Ask | Rest) -> str:
        meter = counted.meter
        return f"{self._prefix}:{'rate' if meter.burst else 'quota'}:{hash_of(meter, counted.key)}"

    # How it is asked

    async def _ask(self, calls: list[_Call]) -> list[Any]:
        """The answers, in one round trip. Raises GatewayError."""
        if not calls:
            return []
        return await self._tried(lambda: self._twice(calls))

    async def _tried(self, ask: Callable[[], Awaitable[Answer]]) -> Answer:
        if time.monotonic() < self._resumes:
            raise GatewayError(f"store {self._where}: {self._reason}")
        try:
            async with asyncio.timeout(self._timeout):
                answer = await ask()
        except (RedisError, OSError, TimeoutError) as error:
            raise self._failed(error) from None
        self._failures = 0
        return answer

    async def _twice(self, calls: list[_Call]) -> list[Any]:
        """Redis may have closed a connection that was idle; what is granted by the first try is lost then."""
        with suppress(RedisConnectionError):
            return await self._answers(calls)
        return await self._answers(calls)

    async def _answers(self, calls: list[_Call]) -> list[Any]:
        answers = await self._sent(calls, whole=False)
        unknown = [place for place, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
        if unknown:
            for place, answer in zip(unknown, await self._sent([calls[place] for place in unknown], whole=True), strict=True):
                answers[place] = answer
        for answer in answers:
            if isinstance(answer, Exception):
                raise answer
        return answers

    async def _sent(self, calls: list[_Call], *, whole: bool) -> list[Any]:
        """Answers and errors; `whole`: with the text of the scripts, which Redis forgets when it restarts."""
        async with self._client.pipeline(transaction=False) as pipeline:
            for call in calls:
                if whole:
                    pipeline.eval(call.script.text, 1, call.key, *call.arguments)
                else:
                    pipeline.evalsha(call.script.sha, 1, call.key, *call.arguments)
            return list(await pipeline.execute(raise_on_error=False))

    def _failed(self, error: Exception) -> GatewayError:
        self._failures += 1
        self._reason = words(error, self._timeout)
        self._resumes = time.monotonic() + min(PAUSE_MAX, PAUSE_MIN * 2.0 ** min(self._failures - 1, 10)) * random.uniform(*SPREAD)
        return GatewayError(f"store {self._where}: {self._reason}")


def _names(ask: Ask) -> str:
    """What `gw usage` calls it by. Others may read what a Redis keeps: it is not told what may be secret."""
    return f"{ask.meter.name}\n{window_of(ask.meter)}\n{'' if ask.meter.hidden else ask.key}"


def _grant(call: _Call, answer: Sequence[int]) -> Grant:
    units, left, life, now, period = answer
    return Grant(units, left, life / MICRO, now * AHEAD + period if call.script is TAKE_RATE else period)
