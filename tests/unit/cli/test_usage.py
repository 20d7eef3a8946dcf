"""`gw usage`: what quotas have counted, as a table and as JSON."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from gw.store import Ask, Meter, UsageLedger
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
    ledger.end()
    return folder


def test_a_line_for_each_key(gw: Run, counted: Path) -> None:
    said = gw("usage")
    assert said.code == 0
    rows = [line.split() for line in said.out.splitlines()]
    assert rows[0][:3] == ["quota", "key", "window"]
    assert rows[1][:10] == ["all", "by", "ip", "127.0.0.1", "day", "UTC", "4", "5", "1", "80"]
    assert rows[2][:8] == ["api", "alice", "day", "UTC", "40", "100", "60", "40"]
    assert rows[3][:8] == ["api", "bob", "day", "UTC", "100", "100", "0", "100"]
    assert len(rows) == 4


CHOICES = [((), ["127.0.0.1", "alice", "bob"]), (("--quota", "api"), ["alice", "bob"]), (("--consumer", "bob"), ["bob"]), (("--key", "eve"), [])]


@pytest.mark.parametrize(("options", "keys"), CHOICES)
def test_as_json_and_chosen(gw: Run, counted: Path, options: tuple[str, ...], keys: list[str]) -> None:
    said = gw("usage", "--json", *options)
    found = json.loads(said.out)
    assert [line["key"] for line in found] == keys
    assert all(set(line) == {"quota", "key", "window", "used", "limit", "left", "percent", "resets"} for line in found)


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


@pytest.mark.parametrize(("store", "said"), [("", "no store that quotas are counted in"), ("store: {file: null, redis: {url: 'redis://127.0.0.1'}}\n", "counted in Redis")])
def test_where_there_is_nothing_to_read_it_says_why(gw: Run, folder: Path, store: str, said: str) -> None:
    (folder / "gw.yaml").write_text(f"listeners: [{{bind: '127.0.0.1:8080'}}]\nroutes: [{{path: /, respond: {{}}}}]\n{store}")
    found = gw("usage")
    assert (found.code, found.out) == (1, "")
    assert said in found.err
