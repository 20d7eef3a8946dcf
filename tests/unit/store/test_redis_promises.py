"""A ledger in a real Redis against slow oracles. The scripts run as they are, but for TIME: the test sets the clock, and each node's own is wrong."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterator
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis as Client

from gw.config.model import Redis
from gw.config.units import Duration
from gw.store import redis_ledger, redis_scripts
from gw.store.ledger import Ask, Grant, Meter, Rest
from gw.store.period import calendar_bounds
from gw.store.redis_ledger import RedisLedger
from tests.redis_server import RedisServer
from tests.reference.leases import between, most_in_window, most_over_rate

US = 1_000_000
SLOWLY = 1000  # times longer than it says Redis keeps a key here: it is the test's clock by which keys die, however long the test takes
BEGIN = 1_793_512_800 * US  # 2026-11-01T06:00Z: in the week that follows a month ends in some zone, and New York's clocks are put back
KEY = "alice"
MOST = 10**12  # units; more than there are
COMMON = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


class Lease:
    """Units of one grant and until when they may be spent."""

    def __init__(self, grant: Grant, meter: Meter, asked: int) -> None:
        self.units, self.period, self.meter = grant.units, grant.period, meter
        self.until = asked + int(grant.seconds * US)


class World:
    """Nodes that share a Redis, its clock, and what was spent."""

    def __init__(self, client: Client, nodes: list[RedisLedger], meter: Meter, lease: float) -> None:
        self.client = client
        self.nodes = nodes
        self.meter = meter
        self.lease = lease
        self.now = BEGIN
        self.leases: list[Lease] = []
        self.spent: list[tuple[int, int]] = []
        self.dies: dict[bytes, int] = {}  # by key: when Redis would forget it, were the clock its own

    async def at(self, now: int) -> None:
        self.now = now
        for key in [key for key, end in self.dies.items() if end <= now]:
            await self.client.delete(key)
            del self.dies[key]
        await self.client.hset("clock", mapping={"s": now // US, "us": now % US})

    async def take(self, node: int, units: int) -> Grant:
        (grant,) = await self.nodes[node].take([Ask(self.meter, KEY, units)], self.lease)
        await self.written()
        assert 0 <= grant.units <= units
        assert grant.left >= 0
        assert 0 < grant.seconds <= self.lease or not grant.units
        if grant.units:
            self.leases.append(Lease(grant, self.meter, self.now))
        return grant

    def spend(self, place: int, units: int) -> None:
        lease = self.leases[place % len(self.leases)]
        if self.now < lease.until and (used := min(units, lease.units)):
            lease.units -= used
            self.spent.append((self.now, used))

    async def close(self, place: int, node: int) -> None:
        lease = self.leases.pop(place % len(self.leases))
        if lease.units:
            await self.nodes[node].give_back([Rest(lease.meter, KEY, lease.units, lease.period)])
            await self.written()

    async def written(self) -> None:
        for key in await self.client.keys("gw:*"):
            self.dies[key] = self.now + -(-await self.client.pttl(key) // SLOWLY) * 1000

    async def act(self, action: tuple[str, int, int]) -> None:
        kind, first, second = action
        await getattr(self, f"_{kind}")(first, second)

    async def _wait(self, microseconds: int, _: int) -> None:
        await self.at(self.now + microseconds)

    async def _take(self, node: int, units: int) -> None:
        await self.take(node, units)

    async def _spend(self, place: int, units: int) -> None:
        if self.leases:
            self.spend(place, units)

    async def _spend_all(self, *_: int) -> None:
        for place in range(len(self.leases)):
            self.spend(place, MOST)

    async def _close(self, place: int, node: int) -> None:
        if self.leases:
            await self.close(place, node)

    async def _fill(self, times: int, microseconds: int) -> None:
        """Grants one behind the other, nothing spent."""
        for _ in range(times):
            await self.take(0, MOST)
            await self.at(self.now + microseconds)

    async def _churn(self, *_: int) -> None:
        """What every lease gives back is taken at once."""
        for place in range(len(self.leases)):
            await self.close(0, place % 3)
            await self.take(place % 3, MOST)

    async def _late(self, microseconds: int, _: int) -> None:
        """Spent at the last moment."""
        await self.take(0, MOST)
        await self.at(self.now + microseconds)
        await self._spend(len(self.leases) - 1, MOST)


Play = Callable[[Callable[[World], Awaitable[None]], Meter, float], World]


@pytest.fixture
def play(redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Play]:
    """Run a scene in a world of three nodes whose clocks differ by an hour."""
    for name in ("TAKE_RATE", "BACK_RATE", "TAKE_CALENDAR", "TAKE_ROLLING"):
        text = getattr(redis_scripts, name).text
        assert text.count("redis.call('TIME')") == 1
        text, lives = re.subn(r"whole\((math\.ceil\(.*/ 1000\) \+ 1)\)", rf"whole({SLOWLY} * (\1))", text)
        assert lives == text.count("'PX'") + text.count("'PEXPIRE'")
        monkeypatch.setattr(redis_ledger, name, redis_scripts._script(text.replace("redis.call('TIME')", "redis.call('HMGET', 'clock', 's', 'us')")))

    def run(scene: Callable[[World], Awaitable[None]], meter: Meter, lease: float) -> World:
        async def main() -> World:
            async with Client(port=redis_server.port) as client:
                await client.flushall()
                world = World(client, [], meter, lease)
                world.nodes = [RedisLedger(Redis(redis_server.url, timeout=Duration(20)), Path(), lambda wrong=wrong: world.now / US + wrong) for wrong in (-3600, 0, 3600)]
                await world.at(BEGIN)
                try:
                    await scene(world)
                finally:
                    for node in world.nodes:
                        await node.close()
                return world

        return asyncio.run(main())

    yield run


def actions(most: int, life: int, *waits: int) -> st.SearchStrategy[list[tuple[str, int, int]]]:
    """Grants of up to `most` units, and waits of these microseconds, one more, one less; leases last `life`."""
    node = st.integers(0, 2)
    wait = st.tuples(st.just("wait"), st.sampled_from(sorted({near for each in waits for near in (each - 1, each, each + 1) if near > 0})), node)
    take = st.tuples(st.just("take"), node, st.one_of(st.just(most), st.integers(1, most)))
    spend = st.tuples(st.just("spend"), st.integers(0, 9), st.integers(1, most))
    close = st.tuples(st.just("close"), st.integers(0, 9), node)
    fill = st.tuples(st.just("fill"), st.integers(1, 8), st.just(waits[0]))
    others = [st.just(("churn", 0, 0)), st.just(("late", life - 1, 0)), st.just(("spend_all", 0, 0))]
    return st.lists(st.one_of(wait, wait, take, take, spend, close, close, fill, *others), min_size=5, max_size=50)


def scene(played: list[tuple[str, int, int]]) -> Callable[[World], Awaitable[None]]:
    async def run(world: World) -> None:
        for action in played:
            await world.act(action)

    return run


@given(data=st.data())
@settings(COMMON, max_examples=300)
def test_a_rate_admits_no_more_than_promised_in_any_span(play: Play, data: st.DataObject) -> None:
    units, us = data.draw(st.sampled_from([(10, US), (3, US), (1000, US), (7, 60 * US), (1_000_000, US)]))
    burst = data.draw(st.one_of(st.integers(1, 4), st.integers(1, 3 * units)))
    lease = data.draw(st.sampled_from([0.05, 0.5, 10.0]))
    full, life = burst * us // units, int(lease * US)
    world = play(scene(data.draw(actions(burst, life, full, life))), Meter("m", units, us, burst), lease)
    # Redis counts whole microseconds: the promise is kept to one.
    assert most_over_rate(world.spent, units, us, burst, life) <= Fraction(units, us)


@given(data=st.data())
@settings(COMMON, max_examples=200)
def test_no_window_holds_more_than_a_rolling_quota(play: Play, data: st.DataObject) -> None:
    us = data.draw(st.sampled_from([US, 60 * US, 600 * US, 7 * US + 13]))
    units = data.draw(st.integers(1, 20))
    lease = data.draw(st.sampled_from([0.05, 0.5, 10.0]))
    life, slice_ = min(int(lease * US), us // 20), -(-us // 60)
    waits = (us - life, slice_)
    world = play(scene(data.draw(actions(units, *waits))), Meter("m", units, us), lease)
    assert most_in_window(world.spent, us) <= units


@given(data=st.data())
@settings(COMMON, max_examples=200)
def test_no_period_holds_more_than_a_calendar_quota(play: Play, data: st.DataObject) -> None:
    calendar = data.draw(st.sampled_from(["hour", "day", "week", "month"]))
    zone = data.draw(st.sampled_from(["UTC", "Asia/Kolkata", "America/New_York"]))
    units = data.draw(st.integers(1, 20))
    end = calendar_bounds(calendar, zone, BEGIN / US)[1] * US
    waits = (5 * US, 3600 * US, end - BEGIN - 5 * US)
    world = play(scene([("wait", end - BEGIN - 5 * US, 0), *data.draw(actions(units, 10 * US, *waits))]), Meter("m", units, calendar=calendar, zone=zone), 10.0)
    for at, _ in world.spent:
        begin, end = calendar_bounds(calendar, zone, at / US)
        assert between(world.spent, begin * US, end * US - 1) <= units


@given(data=st.data())
@settings(COMMON, max_examples=60)
def test_one_node_gets_all_that_a_token_bucket_has(play: Play, data: st.DataObject) -> None:
    units, us = data.draw(st.sampled_from([(10, US), (3, US), (1000, US), (7, 60 * US)]))
    burst = data.draw(st.integers(1, 3 * units))
    waits = data.draw(st.lists(st.integers(0, 2 * burst * us // units + 2), min_size=1, max_size=20))

    async def run(world: World) -> None:
        level = float(burst)
        for wait in waits:
            await world.at(world.now + wait)
            level = min(burst, level + wait * units / us)
            grant = await world.take(0, burst)
            assert abs(grant.units - int(level)) <= 1
            level -= grant.units

    play(run, Meter("m", units, us, burst), 0.5)


def test_who_is_refused_gets_what_it_wants_after_the_time_that_was_named(play: Play) -> None:
    async def rate(world: World) -> None:
        assert (await world.take(0, 50)).units == 50
        refused = await world.take(1, 20)
        assert (refused.units, refused.left) == (0, 0)
        assert 0.01 <= refused.seconds <= 0.05  # a unit takes 10 ms; a tenth of the lease is long enough for five
        await world.at(world.now + int(refused.seconds * US) + 1)
        assert (await world.take(1, 20)).units == 5

    play(rate, Meter("m", 100, US, 50), 0.5)

    async def calendar(world: World) -> None:
        assert (await world.take(0, 10)).units == 10
        assert 0 < (await world.take(1, 1)).seconds <= 0.5  # a lease runs that may give back
        await world.at(world.now + US)
        end = calendar_bounds("day", "Asia/Kolkata", world.now / US)[1]
        assert (await world.take(1, 1)).seconds == pytest.approx(end - world.now / US)
        await world.at(end * US)
        assert (await world.take(1, 1)).units == 1

    play(calendar, Meter("m", 10, calendar="day", zone="Asia/Kolkata"), 0.5)

    async def rolling(world: World) -> None:
        assert (await world.take(0, 10)).units == 10
        await world.at(world.now + US)
        refused = await world.take(1, 1)
        assert 58 < refused.seconds <= 61
        await world.at(world.now + int(refused.seconds * US) - 1000)
        assert (await world.take(1, 1)).units == 0
        await world.at(world.now + 1001)
        assert (await world.take(1, 10)).units == 10

    play(rolling, Meter("m", 10, 60 * US), 0.5)


def test_what_comes_back_can_be_had_again(play: Play) -> None:
    async def run(world: World) -> None:
        await world.take(0, 10)
        await world.close(0, 1)
        assert (await world.take(1, 10)).units == 10
        await world.close(0, 1)
        for node in (0, 1, 2):  # what was given back already, or never granted, cannot be
            await world.nodes[node].give_back([Rest(world.meter, KEY, 7, 0), Rest(world.meter, "bob", 7, 0)])
        assert (await world.take(1, 100)).units == 10

    for meter in (Meter("m", 10, 3600 * US, 10), Meter("m", 10, 3600 * US), Meter("m", 10, calendar="day")):
        play(run, meter, 0.5)


def test_a_changed_quota_keeps_what_was_used_and_a_changed_rate_begins_anew(play: Play) -> None:
    async def run(world: World) -> None:
        assert (await world.take(0, 10)).units == 10
        world.meter = Meter("m", 15, world.meter.us, world.meter.burst and 15, world.meter.calendar)
        assert (await world.take(0, 100)).units == (15 if world.meter.burst else 5)
        world.meter = Meter("m", 5, world.meter.us, world.meter.burst and 5, world.meter.calendar)
        assert (await world.take(0, 100)).units == (5 if world.meter.burst else 0)

    for meter in (Meter("m", 10, 3600 * US, 10), Meter("m", 10, 3600 * US), Meter("m", 10, calendar="day")):
        play(run, meter, 0.5)


def test_a_clock_of_redis_that_is_put_back_stops_a_rate_no_longer_than_a_full_bucket_takes(play: Play) -> None:
    async def run(world: World) -> None:
        assert (await world.take(0, 10)).units == 10
        await world.at(world.now - 3600 * US)
        refused = await world.take(0, 10)
        assert (refused.units, refused.left) == (0, 0)
        await world.at(world.now + US)
        assert (await world.take(0, 10)).units == 10

    play(run, Meter("m", 10, US, 10), 0.5)


def test_what_is_spent_at_the_end_of_a_lease_counts_a_whole_window_longer(play: Play) -> None:
    async def run(world: World) -> None:
        await world.at(BEGIN - BEGIN % US - 1)  # a slice lasts a second here, and this is its last instant
        await world.act(("late", 499_999, 0))
        for _ in range(100):
            grant = await world.take(1, 10)
            if grant.units:
                break
            await world.at(world.now + int(grant.seconds * US))
        await world.act(("spend_all", 0, 0))
        assert sum(units for _, units in world.spent) == 20
        assert most_in_window(world.spent, 60 * US) == 10

    play(run, Meter("m", 10, 60 * US), 0.5)
