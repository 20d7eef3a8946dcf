"""A ledger in a real Redis, and in a real Valkey: in real time, over every kind of connection, and when the Redis is slow, away or has forgotten everything."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from gw.config.model import Certificate, Redis, RedisTls
from gw.config.units import Duration
from gw.errors import GatewayError
from gw.store.ledger import Ask, Grant, Meter, Rest
from gw.store.redis_ledger import PAUSE_MAX, RedisLedger
from tests.certs import make_ca, make_cert
from tests.redis_server import RedisServer
from tests.reference.leases import most_over_rate

RATE = Meter("rate", 1000, 1_000_000, burst=100)
DAY = Meter("day", 50, calendar="day")
HOUR = Meter("hour", 50, us=3_600_000_000)
METERS = [RATE, DAY, HOUR]
SECRET = "hunter-2@/:%"


def with_ledger(settings: Redis | str, test: Callable[[RedisLedger], Awaitable[None]], base: Path = Path()) -> None:
    async def main() -> None:
        ledger = RedisLedger(Redis(settings, timeout=Duration(2)) if isinstance(settings, str) else settings, base)
        try:
            await test(ledger)
        finally:
            await ledger.close()

    asyncio.run(main())


async def taken(ledger: RedisLedger, meter: Meter, units: int = 10, key: str = "alice") -> Grant:
    (grant,) = await ledger.take([Ask(meter, key, units)], 0.5)
    return grant


async def comes_back(ledger: RedisLedger) -> Grant:
    """What is granted once it answers again."""
    deadline = time.monotonic() + 4 * PAUSE_MAX
    while True:
        try:
            return await taken(ledger, DAY)
        except GatewayError:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.02)


async def fails(ledger: RedisLedger) -> str:
    with pytest.raises(GatewayError) as raised:
        await taken(ledger, DAY)
    return str(raised.value)


# Counting


def test_several_asks_are_answered_in_their_order(redis_server: RedisServer) -> None:
    async def test(ledger: RedisLedger) -> None:
        asks = [Ask(meter, key, units) for meter in METERS for key, units in (("a", 30), ("b", 7), ("a", 30))]
        grants = await ledger.take(asks, 0.5)
        assert [grant.units for grant in grants] == [30, 7, 30, 30, 7, 20, 30, 7, 20]
        assert [grant.left for grant in grants[3:]] == [20, 43, 0, 20, 43, 0]
        assert all(0 < grant.seconds <= 0.5 for grant in grants)
        await ledger.give_back([Rest(ask.meter, ask.key, 5, grant.period) for ask, grant in zip(asks, grants, strict=True)])
        assert [(await taken(ledger, meter, 100, "a")).units for meter in (DAY, HOUR)] == [10, 10]
        assert await ledger.take([], 0.5) == []

    with_ledger(redis_server.url, test)


def test_all_asks_are_one_round_trip(redis_server: RedisServer) -> None:
    async def test(ledger: RedisLedger) -> None:
        await taken(ledger, RATE)
        before = int(redis_server.cli("info", "stats").split("total_reads_processed:")[1].split()[0])
        await ledger.take([Ask(RATE, f"key {number}", 1) for number in range(20)], 0.5)  # few enough that a Redis takes them in one read, however slowly they come
        after = int(redis_server.cli("info", "stats").split("total_reads_processed:")[1].split()[0])
        assert after - before <= 3  # ours, and those of redis-cli

    with_ledger(redis_server.url, test)


def test_nodes_together_get_what_the_rate_has_and_no_more(redis_server: RedisServer) -> None:
    seconds, spent = 1.5, []

    async def node(ledger: RedisLedger, units: int) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            began = time.monotonic_ns() // 1000
            grant = await taken(ledger, RATE, units)
            if grant.units:
                spent.append((time.monotonic_ns() // 1000, grant.units))
            else:
                await asyncio.sleep(max(0.0, grant.seconds - (time.monotonic_ns() // 1000 - began) / 1e6))

    async def main() -> None:
        wrong = [lambda: 0.0, time.time, lambda: time.time() + 86_400]
        ledgers = [RedisLedger(Redis(redis_server.url, timeout=Duration(2)), Path(), clock) for clock in wrong]
        await asyncio.gather(*(node(ledger, 20 * place + 1) for place, ledger in enumerate(ledgers)))
        for ledger in ledgers:
            await ledger.close()

    asyncio.run(main())
    total = sum(units for _, units in spent)
    assert most_over_rate(spent, 1000, 1_000_000, 100, 50_000) <= 0  # granted and spent at once, but for the answer's way
    assert total >= 0.9 * (100 + 1000 * seconds)


def test_a_calendar_period_is_redis_s_whatever_the_clock_of_the_node(redis_server: RedisServer) -> None:
    async def main() -> None:
        found = []
        for wrong in (lambda: 0.0, lambda: time.time() + 40 * 86_400):
            ledger = RedisLedger(Redis(redis_server.url, timeout=Duration(2)), Path(), wrong)
            found.append(await taken(ledger, DAY, 30))
            await ledger.close()
        assert [grant.units for grant in found] == [30, 20]
        assert found[0].period == found[1].period

    asyncio.run(main())


# Keys


def test_keys_are_hashed_and_die(redis_server: RedisServer) -> None:
    async def test(ledger: RedisLedger) -> None:
        grants = await ledger.take([Ask(meter, SECRET, 10) for meter in (HOUR, DAY, Meter("slow", 1, 1_000_000, burst=10))], 0.5)
        keys = redis_server.cli("--scan").split()
        assert len(keys) == 3 and not any(SECRET in key for key in keys)
        lives = {re.sub("[0-9a-f]{32}", "H", key): int(redis_server.cli("pttl", key)) for key in keys}
        day = f"gw:quota:H:{grants[1].period}"
        assert lives.keys() == {"gw:rate:H", "gw:quota:H", day}
        assert 5_000 < lives["gw:rate:H"] <= 10_001
        assert 3_600_000 < lives["gw:quota:H"] <= 3_600_000 + 61_500
        assert 0 < lives[day] <= 24 * 3_600_000

    with_ledger(redis_server.url, test)


def test_prefixes_and_databases_count_apart(redis_server: RedisServer) -> None:
    settings = [
        Redis(redis_server.url),
        Redis(redis_server.url, prefix="other"),
        Redis(f"{redis_server.url}/3"),
        Redis(redis_server.url, database=4),
    ]
    for each in settings:

        async def test(ledger: RedisLedger) -> None:
            assert (await taken(ledger, DAY, 100)).units == 50

        with_ledger(each, test)
    assert redis_server.cli("-n", "3", "dbsize") == redis_server.cli("-n", "4", "dbsize") == "1"


# Failures


def test_scripts_that_were_flushed_are_sent_again(redis_server: RedisServer) -> None:
    async def test(ledger: RedisLedger) -> None:
        for _ in range(2):
            assert [grant.units for grant in await ledger.take([Ask(meter, "alice", 5) for meter in METERS], 0.5)] == [5, 5, 5]
            redis_server.cli("script", "flush")

    with_ledger(redis_server.url, test)


def test_what_redis_forgot_counts_anew(redis_server: RedisServer) -> None:
    async def test(ledger: RedisLedger) -> None:
        grants = await ledger.take([Ask(meter, "alice", 50) for meter in METERS], 0.5)
        redis_server.cli("flushall")
        await ledger.give_back([Rest(meter, "alice", 50, grant.period) for meter, grant in zip(METERS, grants, strict=True)])
        assert [grant.units for grant in await ledger.take([Ask(meter, "alice", 1000) for meter in METERS], 0.5)] == [100, 50, 50]

    with_ledger(redis_server.url, test)


def test_a_redis_that_was_killed_fails_at_once_and_is_found_again(redis_server: RedisServer) -> None:
    async def test(ledger: RedisLedger) -> None:
        await taken(ledger, DAY)
        redis_server.kill()
        began = time.monotonic()
        for _ in range(100):
            assert await fails(ledger) in (
                f"store {redis_server.url}: connection refused",
                f"store {redis_server.url}: Connection closed by server.",
                f"store {redis_server.url}: connection reset by peer",
            )
        assert time.monotonic() - began < 1
        redis_server.start()
        assert (await comes_back(ledger)).units == 10

    with_ledger(redis_server.url, test)


def test_a_redis_that_restarts_between_two_asks_is_no_failure(redis_server: RedisServer) -> None:
    async def test(ledger: RedisLedger) -> None:
        await taken(ledger, DAY)
        redis_server.kill()
        redis_server.start()
        assert (await taken(ledger, DAY)).units == 10

    with_ledger(redis_server.url, test)


def test_a_redis_that_stands_still_costs_one_time_out_and_no_answer_is_mistaken_for_another(redis_server: RedisServer) -> None:
    async def test(ledger: RedisLedger) -> None:
        await taken(ledger, RATE)
        redis_server.pause()
        began = time.monotonic()
        assert await fails(ledger) == f"store {redis_server.url}: no answer within 0.1 s"
        assert 0.09 < time.monotonic() - began < 0.25
        began = time.monotonic()
        await fails(ledger)
        assert time.monotonic() - began < 0.01
        redis_server.resume()
        assert (await comes_back(ledger)).left in (30, 40)  # what was asked for in vain may have been counted
        assert (await taken(ledger, Meter("other", 7, calendar="day"), 100)).units == 7

    with_ledger(Redis(redis_server.url, timeout=Duration(0.1)), test)


def test_pauses_grow_and_a_success_ends_them(redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(ledger: RedisLedger) -> None:
        redis_server.kill()
        pauses = []
        for _ in range(8):
            ledger._resumes = 0.0
            await fails(ledger)
            pauses.append(ledger._resumes - time.monotonic())
        assert 0.04 < pauses[0] <= 0.1
        assert 0.9 < pauses[-1] <= PAUSE_MAX
        assert "failed: connection refused" in repr(ledger)
        redis_server.start()
        ledger._resumes = 0.0
        await taken(ledger, DAY)
        assert repr(ledger) == f"<RedisLedger {redis_server.url}>"

    with_ledger(redis_server.url, test)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("redis://127.0.0.1:1", "connection refused"),
        ("redis://nobody.invalid", "name or service not known|temporary failure in name resolution"),
        ("unix:///nowhere/redis.sock", "no such file or directory"),
    ],
)
def test_where_nobody_is(url: str, why: str) -> None:
    async def test(ledger: RedisLedger) -> None:
        with pytest.raises(GatewayError, match=f"store {url}(:6379)?: ({why})$"):
            await taken(ledger, DAY)

    with_ledger(url, test)


def test_errors_of_redis_are_one_sentence(redis_server: RedisServer) -> None:
    async def test(ledger: RedisLedger) -> None:
        await taken(ledger, DAY)
        (key,) = redis_server.cli("--scan").split()
        redis_server.cli("set", key, "text")
        said = await fails(ledger)
        assert said.startswith(f"store {redis_server.url}: WRONGTYPE ") and said.isprintable() and len(said) < 260

    with_ledger(redis_server.url, test)


# Logging in, and TLS


@pytest.fixture
def guarded(tmp_path: Path, redis_binary: str) -> Iterator[RedisServer]:
    """A Redis with a password, and a user of another."""
    (tmp_path / "guarded").mkdir()
    server = RedisServer(redis_binary, tmp_path / "guarded", "--requirepass", SECRET, "--user", "gw", "on", f">user {SECRET}", "~gw:*", "+@all")
    server.start()
    yield server
    server.kill()


def test_passwords(guarded: RedisServer) -> None:
    async def test(ledger: RedisLedger) -> None:
        assert (await taken(ledger, RATE)).units == 10

    port, encoded = guarded.port, "hunter-2%40%2F%3A%25"
    for settings in (
        Redis(f"redis://:{encoded}@127.0.0.1:{port}"),
        Redis(f"redis://gw:user%20{encoded}@127.0.0.1:{port}/0"),
        Redis(f"redis://127.0.0.1:{port}", password=SECRET),
        Redis(f"redis://gw@127.0.0.1:{port}", password=f"user {SECRET}"),
        Redis(f"unix://:{encoded}@{guarded.socket}"),
    ):
        with_ledger(settings, test)


def test_a_password_that_is_wrong_or_missing_is_never_told(guarded: RedisServer) -> None:
    async def test(ledger: RedisLedger) -> None:
        assert await fails(ledger) == f"store {guarded.url}: user and password are not accepted"
        assert "wr0ng" not in repr(ledger)

    for settings in (Redis(f"redis://gw:wr0ng@127.0.0.1:{guarded.port}"), Redis(guarded.url, password="wr0ng"), Redis(guarded.url)):
        assert "wr0ng" not in repr(settings)
        with_ledger(settings, test)


def test_tls(tmp_path: Path, redis_binary: str) -> None:
    ca, folder = make_ca(tmp_path), tmp_path / "tls"
    folder.mkdir()
    own = make_cert(tmp_path, ["gw"], ca)
    server = RedisServer(redis_binary, folder, tls=make_cert(tmp_path, ["127.0.0.1"], ca), ca=ca)
    url = f"rediss://127.0.0.1:{server.port}"
    with (folder / "redis.log").open("w"):
        server.start()

    async def works(ledger: RedisLedger) -> None:
        assert (await taken(ledger, RATE)).units == 10

    async def unknown(ledger: RedisLedger) -> None:
        assert await fails(ledger) == f"store {url}: its certificate is not valid: self-signed certificate in certificate chain"

    async def uncertified(ledger: RedisLedger) -> None:
        await fails(ledger)

    pair, patient = Certificate("gw-ec.pem", "gw-ec.key"), Duration(2)
    assert own.cert.name == pair.cert
    try:
        with_ledger(Redis(url, tls=RedisTls(ca="ca.pem", certificate=pair), timeout=patient), works, tmp_path)
        with_ledger(Redis(url, tls=RedisTls(verify=False, certificate=pair), timeout=patient), works, tmp_path)
        with_ledger(Redis(url, tls=RedisTls(certificate=pair), timeout=patient), unknown, tmp_path)
        with_ledger(Redis(url, tls=RedisTls(ca="ca.pem"), timeout=patient), uncertified, tmp_path)
    finally:
        server.kill()
