"""Quotas over two workers in processes of their own: exact under concurrency and through restarts, reloads and the deaths of workers; never more after kill -9."""

from __future__ import annotations

import os
import signal
import sqlite3
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.integration.conftest import START, STOP, Gateway, until

STORE = "store: {file: gw.db}"
ROUTES = """
routes:
  - {{path: /, respond: {{}}, policies: [quota: {{limit: {limit}, per: month, by: "query:k", name: all}}]}}
  - {{path: /closed, respond: {{}}, policies: [quota: {{limit: 5, per: day, by: ip, away: closed}}]}}
  - {{path: /open, respond: {{}}, policies: [quota: {{limit: 5, per: day, by: ip, away: open}}]}}
"""


def ask(gateway: Gateway, count: int, key: str = "a", path: str = "/") -> Counter[int]:
    """Statuses of so many requests, eight at a time."""
    with ThreadPoolExecutor(8) as pool:
        return Counter(pool.map(lambda _: gateway.get(f"{path}?k={key}")[0], range(count)))


def begun(gateway: Gateway, limit: int = 60) -> None:
    gateway.write(ROUTES.format(limit=limit), more=STORE)
    gateway.log.unlink(missing_ok=True)  # so that it says `serving` of this start
    gateway.start()


def used(gateway: Gateway, key: str = "a") -> int:
    """What the store has counted of the quota `all`."""
    connection = sqlite3.connect(gateway.folder / "gw.db")
    try:
        found = connection.execute("SELECT sum(units) FROM usage WHERE quota LIKE 'all%' AND key = ?", (key,)).fetchone()[0]
    finally:
        connection.close()
    return found or 0


def ended(gateway: Gateway) -> None:
    gateway.hears(signal.SIGTERM)
    gateway.ends()


def test_exactly_the_limit_passes_over_all_workers(gateway: Gateway) -> None:
    begun(gateway)
    assert ask(gateway, 200) == {200: 60, 429: 140}
    assert ask(gateway, 200, "b") == {200: 60, 429: 140}


def test_a_limit_of_many_thousands_is_exact_too(gateway: Gateway) -> None:
    begun(gateway, 1500)
    assert ask(gateway, 1800) == {200: 1500, 429: 300}


def test_what_was_used_survives_a_restart_to_the_unit(gateway: Gateway) -> None:
    begun(gateway)
    assert ask(gateway, 17) == {200: 17}
    ended(gateway)
    assert used(gateway) == 17
    begun(gateway)
    assert ask(gateway, 100) == {200: 43, 429: 57}


def test_units_that_nobody_spends_go_back_when_their_lease_ends(gateway: Gateway) -> None:
    begun(gateway, 1000)
    ask(gateway, 1)
    assert used(gateway) == 8
    ended(gateway)
    assert used(gateway) == 1


def test_who_kills_everything_loses_a_lease_at_most(gateway: Gateway) -> None:
    begun(gateway, 400)
    passed = ask(gateway, 100)[200]
    granted = used(gateway)
    for pid in (gateway.pid, *gateway.workers()):
        os.kill(pid, signal.SIGKILL)
    assert gateway.process
    gateway.process.wait(STOP)
    assert passed == 100
    assert granted - passed <= 400 // 16
    begun(gateway, 400)
    assert ask(gateway, 400)[200] == 400 - granted


def test_a_worker_that_is_killed_loses_nothing(gateway: Gateway) -> None:
    begun(gateway, 400)
    passed = ask(gateway, 100)[200]
    killed = gateway.workers()
    for pid in killed:
        os.kill(pid, signal.SIGKILL)
    until(lambda: not set(killed) & set(gateway.workers()) and gateway.call("status")["ready"], START, "new workers serve")
    assert passed + ask(gateway, 400)[200] == 400


def test_a_reload_goes_on_counting_and_a_raised_limit_holds_at_once(gateway: Gateway) -> None:
    begun(gateway)
    assert ask(gateway, 100) == {200: 60, 429: 40}

    assert gateway.call("reload")["ok"]
    assert ask(gateway, 10) == {429: 10}
    gateway.write(ROUTES.format(limit=80), more=STORE)
    assert gateway.call("reload")["ok"]
    assert ask(gateway, 40) == {200: 20, 429: 20}


def test_a_store_that_fails_is_told_once_and_each_policy_goes_on_as_it_says(gateway: Gateway) -> None:
    begun(gateway)
    ask(gateway, 10)
    held = sqlite3.connect(gateway.folder / "gw.db", isolation_level=None)
    held.execute("BEGIN IMMEDIATE")
    try:
        assert gateway.get("/closed")[0] == 503
        assert b"limits-away" in gateway.get("/closed")[1]
        assert ask(gateway, 20, path="/open") == {200: 20}
        assert ask(gateway, 100, "new") == {200: 60, 429: 40}, "local: this node alone keeps the limit"
        assert len(gateway.said("ledger-away")) == 1
    finally:
        held.execute("ROLLBACK")
        held.close()
    until(lambda: gateway.get("/closed")[0] == 200, START, "the ledger is asked again")
    assert len(gateway.said("ledger-back")) == 1


def test_while_the_supervisor_stands_still_leases_go_on_and_new_keys_are_refused_after_a_second(gateway: Gateway) -> None:
    begun(gateway, 1000)
    assert ask(gateway, 1) == {200: 1}
    gateway.hears(signal.SIGSTOP)
    try:
        assert ask(gateway, 5) == {200: 5}
        began = time.monotonic()
        status, body = gateway.get("/?k=new")
        assert (status, b"limits-away" in body) == (503, True)
        assert 0.9 < time.monotonic() - began < 3
    finally:
        gateway.hears(signal.SIGCONT)
    until(lambda: gateway.get("/?k=new")[0] == 200, START, "the supervisor answers")


@pytest.mark.slow
def test_an_idle_lease_is_closed_at_its_end(gateway: Gateway) -> None:
    begun(gateway, 1000)
    ask(gateway, 3)
    assert used(gateway) > 3
    began = time.monotonic()
    until(lambda: used(gateway) == 3, START, "the rest goes back")
    assert 5 < time.monotonic() - began < 15
