"""Quotas: what passes in which period, whom they count, what clients and operators are told. tests/integration/test_quota.py has the processes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gw.store import Ask, Meter, UsageLedger
from tests.unit.policy.limits import Asked, asking, fields_of, problem

STORE = "store: {file: gw.db}\n"
WHO = "consumers: {alice: {groups: [gold]}, bob: {groups: [free, gold]}, carol: {}}\n"
ROUTE = "routes: [{{path: /, name: all, respond: {{body: own}}, policies: [who, quota: {{{}}}]}}]"


@contextmanager
def quota(folder: Path, settings: str) -> Iterator[Asked]:
    with asking(folder, config=STORE + WHO + ROUTE.format(settings)) as asked:
        yield asked


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def statuses(asked: Asked, count: int, wall: str, *fields: str, now: float = 1000.0) -> list[int]:
    return [asked.ask(*fields, wall=at(wall), now=now).status for _ in range(count)]


@pytest.mark.parametrize(
    ("settings", "inside", "after"),
    [
        ("per: hour", "2026-03-05T12:59:59", "2026-03-05T13:00:00"),
        ("per: day", "2026-03-05T23:59:59", "2026-03-06T00:00:00"),
        ("per: week", "2026-03-08T23:59:59", "2026-03-09T00:00:00"),
        ("per: month", "2026-02-28T23:59:59", "2026-03-01T00:00:00"),
        ("per: day, zone: Europe/Berlin", "2026-03-29T21:59:59", "2026-03-29T22:00:00"),
        ("per: hour, window: rolling", "2026-03-05T12:59:59", "2026-03-05T14:01:01"),
    ],
)
def test_the_limit_holds_until_its_period_ends(tmp_path: Path, settings: str, inside: str, after: str) -> None:
    with quota(tmp_path, f"limit: 3, by: ip, {settings}") as asked:
        assert statuses(asked, 5, inside) == [200, 200, 200, 429, 429]
        assert statuses(asked, 5, after, now=9000.0) == [200, 200, 200, 429, 429]


def test_each_consumer_has_its_own_and_groups_have_theirs(tmp_path: Path) -> None:
    with quota(tmp_path, "limit: 1, per: day, groups: {gold: 3, free: 2}") as asked:
        assert statuses(asked, 4, "2026-03-05", "X-Key: alice") == [200, 200, 200, 429]
        assert statuses(asked, 4, "2026-03-05", "X-Key: bob") == [200, 200, 200, 429]
        assert statuses(asked, 3, "2026-03-05", "X-Key: carol") == [200, 429, 429]


def test_a_limit_that_is_raised_goes_on_counting(tmp_path: Path) -> None:
    with quota(tmp_path, "limit: 2, per: day") as asked:
        assert statuses(asked, 3, "2026-03-05", "X-Key: carol") == [200, 200, 429]
    assert not (tmp_path / "gw.db").exists(), "what is asked offline is written nowhere"


def test_clients_are_told_what_is_left_and_when_to_come_back(tmp_path: Path) -> None:
    with quota(tmp_path, "limit: 2, per: day, name: api") as asked:
        answers = [asked.ask("X-Key: carol", wall=at("2026-03-05T23:00:00")) for _ in range(3)]
        fields = [fields_of(decision.answer) for decision in answers]
        assert [each["RateLimit"] for each in fields] == ['"api";r=1;t=3600', '"api";r=0;t=3600', '"api";r=0;t=3600']
        assert fields[0]["RateLimit-Policy"] == '"api";q=2;w=86400'
        assert [each.get("Retry-After") for each in fields] == [None, None, "3600"]
        assert answers[2].reason == "quota-exceeded"


def test_explain_says_how_much_is_left_and_reads_what_the_store_has_counted(tmp_path: Path) -> None:
    meter = Meter("route all", 5, calendar="day")
    with quota(tmp_path, "limit: 5, per: day") as asked:
        assert asked.ask("X-Key: carol", wall=at("2026-03-05")).verdicts[1].told == "4 of 5 left, by consumer carol"
    store = UsageLedger(tmp_path / "gw.db", lambda: at("2026-03-05"))
    import asyncio

    asyncio.run(store.take([Ask(meter, "carol", 5)], 1.0))
    with quota(tmp_path, "limit: 5, per: day") as asked:
        asked.count_from(tmp_path / "gw.db")
        refused = asked.ask("X-Key: carol", wall=at("2026-03-05"))
        assert (refused.reason, refused.verdicts[1].told) == ("quota-exceeded", "0 of 5 left, next in 8.64e+04 s, by consumer carol")
        assert asked.passes("X-Key: alice", wall=at("2026-03-05"))
    asyncio.run(store.close())


def test_a_dry_run_refuses_nothing(tmp_path: Path) -> None:
    with quota(tmp_path, "limit: 1, per: day, dry_run: true") as asked:
        decisions = [asked.ask("X-Key: carol", wall=at("2026-03-05")) for _ in range(3)]
        assert [decision.status for decision in decisions] == [200] * 3
        assert decisions[2].verdicts[1].told.startswith("would be refused, 0 of 1 left")
        assert "RateLimit" not in fields_of(decisions[0].answer)


def test_a_request_can_cost_more_than_one(tmp_path: Path) -> None:
    with quota(tmp_path, "limit: 10, per: day, cost: 4") as asked:
        assert statuses(asked, 4, "2026-03-05", "X-Key: carol") == [200, 200, 429, 429]


@pytest.mark.parametrize(("missing", "expected"), [("count", [200, 429]), ("skip", [200, 200]), ("refuse", [403, 403])])
def test_requests_that_lack_what_is_counted_by(tmp_path: Path, missing: str, expected: list[int]) -> None:
    with quota(tmp_path, f"limit: 1, per: day, missing: {missing}") as asked:
        assert statuses(asked, 2, "2026-03-05") == expected


@pytest.mark.parametrize(
    ("settings", "message", "pointer"),
    [
        ("limit: 0, per: day", "expected", ".limit"),
        ("limit: 1", "'per' is missing", ""),
        ("limit: 1, per: year", "expected", ".per"),
        ("limit: 1, per: day, zone: Mars/Base", "unknown time zone 'Mars/Base'", ".zone"),
        ("limit: 1, per: day, zone: ../passwd", "unknown time zone", ".zone"),
        ("limit: 1, per: day, zone: Europe/Berlin, window: rolling", "a rolling quota knows no time zone", ".zone"),
        ("limit: 1, per: day, cost: 2", "no request could pass: it costs 2, the limit is 1", ".limit"),
        ("limit: 9, per: day, cost: 2, groups: {free: 1}", "no request could pass: it costs 2, the limit is 1", ".groups.free"),
        ("limit: 1, per: day, groups: {'a,b': 1}", "'a,b' is not the name of a group", ".groups"),
        ("limit: 1, per: day, by: planet", "'planet' is nothing a limit can count by", ".by"),
        ("limit: 1, per: day, name: 'a\"b'", "'a\"b' cannot name a limit", ".name"),
    ],
)
def test_what_cannot_work_is_said_when_it_is_loaded(tmp_path: Path, settings: str, message: str, pointer: str) -> None:
    found = problem(tmp_path, config=STORE + f"routes: [{{path: /, respond: {{}}, policies: [quota: {{{settings}}}]}}]")
    assert found[0].startswith(message), found
    assert found[1] == f".quota{pointer}"


def test_a_quota_needs_a_store(tmp_path: Path) -> None:
    assert problem(tmp_path, "quota: {limit: 1, per: day}") == ("a quota has nowhere to count", ".quota", "add `store: {file: gw.db}` to the config")


@pytest.mark.parametrize(("store", "works"), [("{file: gw.db}", False), ("{file: null, redis: {url: 'redis://h'}}", True), ("{redis: {url: 'redis://h'}}", True)])
def test_a_shared_quota_needs_a_redis_and_no_file(tmp_path: Path, store: str, works: bool) -> None:
    config = f"store: {store}\nroutes: [{{path: /, respond: {{}}, policies: [quota: {{limit: 1, per: day, by: route, shared: true}}]}}]"
    if works:
        with asking(tmp_path, config=config) as asked:
            assert [asked.passes(), asked.passes()] == [True, False]
    else:
        assert problem(tmp_path, config=config) == ("a quota that nodes share has nowhere to count", ".quota.shared", "add `redis` to the config's `store`")


def test_more_groups_than_there_is_room_for(tmp_path: Path) -> None:
    groups = ", ".join(f"g{number}: 1" for number in range(64))
    found = problem(tmp_path, config=STORE + f"routes: [{{path: /, respond: {{}}, policies: [quota: {{limit: 1, per: day, groups: {{{groups}}}}}]}}]")
    assert found[0] == "at most 63 groups can have a limit of their own, not 64"
