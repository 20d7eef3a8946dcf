"""What quotas have counted in a real Redis, as who looks at it sees it."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gw.config.model import Redis
from gw.config.units import Duration
from gw.errors import GatewayError
from gw.store import Ask, Grant, Meter, Rest, calendar_bounds
from gw.store.ledger import Calendar
from gw.store.redis_client import hash_of
from gw.store.redis_ledger import RedisLedger
from gw.store.redis_usage import BATCH, RedisUsage
from gw.store.usage import meter_of, window_of
from tests.redis_server import RedisServer

DAY = Meter("api", 50, calendar="day", zone="Europe/Berlin", shared=True)
HOUR = Meter("busy", 50, us=3_600_000_000, shared=True)


def settings(server: RedisServer, prefix: str = "gw") -> Redis:
    return Redis(server.url, timeout=Duration(2), prefix=prefix)


def counted(redis: Redis, *asks: Ask, back: int = 0) -> list[Grant]:
    """What is granted; so many units of each go back."""

    async def count() -> list[Grant]:
        ledger = RedisLedger(redis, Path())
        grants = await ledger.take(list(asks), 0.5)
        await ledger.give_back([Rest(ask.meter, ask.key, back, grant.period) for ask, grant in zip(asks, grants, strict=True)] if back else [])
        await ledger.close()
        return grants

    return asyncio.run(count())


def usage(redis: Redis, quota: str | None = None, key: str | None = None) -> list[tuple[str, str, str, int, int]]:
    return [(line.quota, line.key, line.window, line.used, line.limit) for line in RedisUsage(redis, Path()).lines(quota, key)]


def test_each_key_has_a_line_and_what_came_back_is_not_in_it(redis_server: RedisServer) -> None:
    redis = settings(redis_server)
    asks = [Ask(meter, key, units) for meter in (HOUR, DAY) for key, units in (("bob", 30), ("alice", 7))]
    counted(redis, *asks, Ask(Meter("r", 10, 1_000_000, burst=10, shared=True), "alice", 1), back=4)
    assert usage(redis) == [
        ("api", "alice", "day Europe/Berlin", 3, 50),
        ("api", "bob", "day Europe/Berlin", 26, 50),
        ("busy", "alice", "rolling 3600s", 3, 50),
        ("busy", "bob", "rolling 3600s", 26, 50),
    ]
    assert usage(redis, "api", "bob") == [("api", "bob", "day Europe/Berlin", 26, 50)]
    assert usage(redis, "api", "eve") == usage(redis, "ap") == []
    counted(redis, *asks, back=100)
    assert usage(redis) == [], "nothing is used of it any more"


def test_lines_tell_when_all_has_come_back(redis_server: RedisServer) -> None:
    redis = settings(redis_server)
    counted(redis, Ask(DAY, "alice", 5), Ask(HOUR, "alice", 5))
    day, hour = RedisUsage(redis, Path()).lines()
    assert day.resets == calendar_bounds("day", "Europe/Berlin", time.time())[1]
    assert 3600 <= hour.resets - time.time() <= 3600 + 62
    assert (day.store, hour.store) == ("redis", "redis")


@pytest.mark.parametrize("meter", [DAY, HOUR])
def test_a_limit_that_changed_is_told_from_the_next_grant_on(redis_server: RedisServer, meter: Meter) -> None:
    redis = settings(redis_server)
    counted(redis, Ask(meter, "alice", 50))
    raised = Meter(meter.name, 60, meter.us, calendar=meter.calendar, zone=meter.zone, shared=True)
    assert [grant.units for grant in counted(redis, Ask(raised, "alice", 50))] == [10]
    assert [line[3:] for line in usage(redis)] == [(60, 60)]


@pytest.mark.parametrize("meter", [DAY, HOUR])
def test_keys_that_may_be_secret_are_not_told_to_redis(redis_server: RedisServer, meter: Meter) -> None:
    redis = settings(redis_server)
    hidden = Meter(meter.name, 50, meter.us, calendar=meter.calendar, zone=meter.zone, shared=True, hidden=True)
    counted(redis, Ask(hidden, "hunter2", 5), Ask(hidden, "other", 6))
    kept = [redis_server.cli("hgetall", name) for name in redis_server.cli("--scan").split()]
    assert len(kept) == 2 and not any("hunter2" in each for each in kept)
    names = {key: units for _, key, _, units, _ in usage(redis)}
    assert names == {f"#{hash_of(hidden, key)[:8]}": units for key, units in (("hunter2", 5), ("other", 6))}
    assert [line[1] for line in usage(redis, key="hunter2")] == ["hunter2"]
    assert [grant.units for grant in counted(redis, Ask(meter, "hunter2", 50))] == [45], "hidden or not, it is the same quota"


def test_other_prefixes_and_what_else_is_there_are_not_shown(redis_server: RedisServer) -> None:
    redis = settings(redis_server, "a*[b]\\?")
    for prefix in ("a*[b]\\?", "axb\\?", "a*[b]\\?:quota"):
        counted(settings(redis_server, prefix), Ask(Meter(prefix, 50, calendar="day", shared=True), "alice", 5))
    redis_server.cli("hset", "a*[b]\\?:quota:else", "limit", "1")
    redis_server.cli("set", f"a*[b]\\?:quota:{'0' * 31}g", "text")
    redis_server.cli("hset", f"a*[b]\\?:quota:{'0' * 32}:5", "used", "3")  # of a gw that told no names
    assert [line[0] for line in usage(redis)] == ["a*[b]\\?"]


def test_many_keys_are_read_in_bounded_batches_and_none_twice(redis_server: RedisServer) -> None:
    redis, keys = settings(redis_server), 3 * BATCH + 7
    counted(redis, *(Ask(DAY, f"key {number}", 1) for number in range(keys)))
    redis_server.cli("config", "resetstat")
    assert len(usage(redis)) == keys
    stats = {line.split(":")[0].removeprefix("cmdstat_"): int(line.split("calls=")[1].split(",")[0]) for line in redis_server.cli("info", "commandstats").splitlines()[1:]}
    assert "keys" not in stats
    assert stats["scan"] >= keys // BATCH
    assert stats["hgetall"] == stats["pttl"] == keys


def test_a_redis_that_fails_is_one_sentence(redis_server: RedisServer) -> None:
    counted(settings(redis_server), Ask(DAY, "alice", 1))
    for url, said in ((f"redis://:wr0ng@127.0.0.1:{redis_server.port}", "user and password are not accepted"), ("redis://127.0.0.1:1", "connection refused")):
        with pytest.raises(GatewayError) as raised:
            RedisUsage(Redis(url, timeout=Duration(2)), Path()).lines()
        assert str(raised.value).endswith(f": {said}")
        assert "wr0ng" not in str(raised.value)


@given(st.sampled_from(["hour", "day", "week", "month", None]), st.sampled_from(["UTC", "Europe/Berlin"]), st.integers(1, 10**13))
def test_a_window_says_which_quota_it_is(calendar: Calendar | None, zone: str, us: int) -> None:
    meter = Meter("q", 0, calendar=calendar, zone=zone, shared=True) if calendar else Meter("q", 0, us=us, shared=True)
    assert meter_of("q", window_of(meter), shared=True) == meter


HASHES = {
    Meter("rate", 1000, 1_000_000, burst=100, shared=True): "ac00b9bd0c80270b9a83791417709706",
    Meter("day", 50, calendar="day", zone="Europe/Berlin", shared=True): "32498cbd49cbd173ba3f97281a8d4902",
    Meter("hour", 50, us=3_600_000_000, shared=True): "dbbd7ccfb3de61defd4063a0df08b686",
}


@pytest.mark.parametrize("meter", HASHES)
def test_hashes_stay_what_they_were(meter: Meter) -> None:
    """Or another version of gw, on this node or another, would count anew."""
    assert hash_of(meter, "alice") == HASHES[meter]
