"""`gw usage`: what quotas have counted, as a table and as JSON."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from gw.config.model import Redis
from gw.config.units import Duration
from gw.store import Ask, Meter, UsageLedger
from gw.store.redis_ledger import RedisLedger
from tests.redis_server import RedisServer
from tests.unit.cli.conftest import Said

CONFIG = """
listeners: [{bind: '127.0.0.1:1'}]
store: {file: gw.db}
routes: [{path: /, respond: {body: in}, policies: [quota: {limit: 5, per: day, by: ip, name: all}]}]
"""

Run = Callable[..., Said]


@pytest.fixture
def counted(folder: Path) -> Path:
    (folder / "gw.yaml").write_text(CONFIG)
    ledger = UsageLedger(folder / "gw.db")
    asks = [("api", "alice", 40, 100), ("api", "bob", 100, 100), ("all by ip", "127.0.0.1", 4, 5)]
    asyncio.run(ledger.take([Ask(Meter(quota, most, calendar="day"), key, units) for quota, key, units, most in asks], 1.0))
    asyncio.run(ledger.close())
    return folder


def test_a_line_for_each_key(gw: Run, counted: Path) -> None:
    said = gw("usage")
    assert said.code == 0
    rows = [line.split() for line in said.out.splitlines()]
    assert rows[0][:4] == ["quota", "key", "window", "store"]
    assert rows[1][:10] == ["all", "by", "ip", "127.0.0.1", "day", "UTC", "file", "4", "5", "1"]
    assert rows[2][:9] == ["api", "alice", "day", "UTC", "file", "40", "100", "60", "40"]
    assert rows[3][:9] == ["api", "bob", "day", "UTC", "file", "100", "100", "0", "100"]
    assert len(rows) == 4


CHOICES = [((), ["127.0.0.1", "alice", "bob"]), (("--quota", "api"), ["alice", "bob"]), (("--consumer", "bob"), ["bob"]), (("--key", "eve"), [])]


@pytest.mark.parametrize(("options", "keys"), CHOICES)
def test_as_json_and_chosen(gw: Run, counted: Path, options: tuple[str, ...], keys: list[str]) -> None:
    said = gw("usage", "--json", *options)
    found = json.loads(said.out)
    assert [line["key"] for line in found] == keys
    assert all(set(line) == {"quota", "key", "window", "store", "used", "limit", "left", "percent", "resets"} for line in found)


def test_explain_knows_what_was_used(gw: Run, counted: Path) -> None:
    assert "0 of 5 left, by ip 127.0.0.1" in gw("explain", "GET", "/").out
    assert "0 of 5 left, by ip 127.0.0.1" in gw("explain", "GET", "/").out, "asking uses nothing"


def test_a_store_without_usage_stays_as_it_is(gw: Run, folder: Path) -> None:
    (folder / "gw.yaml").write_text(CONFIG)
    for text in ("", "no database at all, but something of another kind"):
        (folder / "gw.db").write_text(text)
        said = gw("usage", "--json")
        assert (said.code, said.out) == ((1, "") if text else (0, "[]\n"))
        assert gw("explain", "GET", "/").code == (1 if text else 0)
        assert (folder / "gw.db").read_text() == text


@pytest.fixture
def both(counted: Path, redis_server: RedisServer) -> RedisServer:
    """The same, and a Redis in which `alice` has used something of `api` too."""
    (counted / "gw.yaml").write_text(CONFIG.replace("gw.db}", f"gw.db, redis: {{url: '{redis_server.url}', timeout: 2s, lease: 10s}}}}"))

    async def count() -> None:
        ledger = RedisLedger(Redis(redis_server.url, timeout=Duration(2)), counted)
        await ledger.take(
            [Ask(Meter("api", 1000, calendar="day", shared=True), "alice", 40), Ask(Meter("by token", 9, calendar="day", shared=True, hidden=True), "s3cret", 9)], 1.0
        )
        await ledger.close()

    asyncio.run(count())
    return redis_server


def listed(said: Said) -> list[tuple[str, str, str, int]]:
    return [(line["quota"], line["key"], line["store"], line["used"]) for line in json.loads(said.out)]


def test_what_is_counted_in_redis_stands_beside_what_is_in_the_file(gw: Run, both: RedisServer) -> None:
    said = gw("usage", "--json", "--key", "alice")
    assert (said.code, said.err) == (0, "")
    assert listed(said) == [("api", "alice", "file", 40), ("api", "alice", "redis", 40)]
    in_file, in_redis = json.loads(said.out)
    assert in_redis == {**in_file, "store": "redis", "limit": 1000, "left": 960, "percent": 4.0}
    rows = [line.split() for line in gw("usage", "--quota", "api").out.splitlines()]
    assert [row[:6] for row in rows[1:]] == [["api", "alice", "day", "UTC", store, used] for store, used in (("file", "40"), ("redis", "40"))] + [rows[3][:6]]


def test_a_key_that_may_be_secret_is_found_by_who_knows_it(gw: Run, both: RedisServer) -> None:
    ((_, shown, _, used),) = listed(gw("usage", "--json", "--quota", "by token"))
    assert re.fullmatch("#[0-9a-f]{8}", shown) and used == 9
    assert listed(gw("usage", "--json", "--key", shown)) == [("by token", shown, "redis", 9)]
    assert listed(gw("usage", "--json", "--key", "s3cret")) == [("by token", "s3cret", "redis", 9)]


def test_without_redis_the_file_is_shown_and_one_sentence_says_what_is_missing(gw: Run, both: RedisServer) -> None:
    whole = listed(gw("usage", "--json"))
    both.kill()
    said = gw("usage", "--json")
    assert (said.code, listed(said)) == (1, [line for line in whole if line[2] == "file"])
    assert said.err == f"gw: store {both.url}: connection refused; what is counted there is not shown\n"
    both.start()
    both.pause()
    (Path("gw.yaml")).write_text(Path("gw.yaml").read_text().replace("timeout: 2s", "timeout: 50ms"))
    said = gw("usage")
    both.resume()
    assert (said.code, said.err) == (1, f"gw: store {both.url}: no answer within 0.05 s; what is counted there is not shown\n")
    assert len(said.out.splitlines()) == 4


def test_without_its_file_redis_is_shown(gw: Run, both: RedisServer) -> None:
    Path("gw.db").write_text("no database at all, but something of another kind")
    said = gw("usage", "--json")
    assert said.code == 1
    assert {store for _, _, store, _ in listed(said)} == {"redis"}
    assert "gw.db" in said.err and said.err.endswith("; what is counted there is not shown\n")


@pytest.mark.parametrize(
    ("store", "said"),
    [("", "no store that quotas are counted in"), ("store: {file: null, redis: {url: 'redis://127.0.0.1:1'}}\n", "gw: store redis://127.0.0.1:1: connection refused\n")],
)
def test_where_there_is_nothing_to_read_it_says_why(gw: Run, folder: Path, store: str, said: str) -> None:
    (folder / "gw.yaml").write_text(f"listeners: [{{bind: '127.0.0.1:8080'}}]\nroutes: [{{path: /, respond: {{}}}}]\n{store}")
    found = gw("usage")
    assert (found.code, found.out) == (1, "")
    assert said in found.err
