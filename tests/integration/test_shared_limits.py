"""Limits that several nodes share through one Redis: how much they admit together, and what they do without it. See docs/redis.md.

A request was admitted at some time between its sending and its answer, so a span holds at least those that were sent and answered in it.
"""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.integration.conftest import Gateway, until
from tests.redis_server import RedisServer

RATE = 300  # a second
BURST = 60
LEASE = 0.5  # seconds
NODES = 3
SLOWEST = 0.3  # seconds; a time-out of Redis is 0.2
STEP = 0.05  # seconds between the ends of the spans that are looked at


class Seen(NamedTuple):
    """One answer; seconds of the monotonic clock."""

    sent: float
    answered: float
    status: int


class Crowd:
    """Clients that ask all nodes without a pause, or with one."""

    def __init__(self, nodes: list[Gateway], path: str, each: int = 2, pause: float = 0.0) -> None:
        self.path, self.pause = path, pause
        self.seen: list[Seen] = []
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=[node.port]) for node in nodes for _ in range(each)]

    def __enter__(self) -> Crowd:
        self.began = time.monotonic()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _run(self, port: int) -> None:
        connection = HTTPConnection("127.0.0.1", port, timeout=5)
        while not self._stop.is_set():
            sent = time.monotonic()
            connection.request("GET", self.path)
            answer = connection.getresponse()
            answer.read()
            self.seen.append(Seen(sent, time.monotonic(), answer.status))
            self._stop.wait(self.pause)
        connection.close()

    def admitted(self, begin: float, end: float) -> int:
        return sum(each.status == 200 and each.sent >= begin and each.answered <= end for each in self.seen)

    def statuses(self, begin: float, end: float) -> set[int]:
        return {each.status for each in self.seen if each.sent >= begin and each.answered <= end}

    def slowest(self, begin: float, end: float) -> float:
        return max(each.answered - each.sent for each in self.seen if each.sent >= begin and each.sent <= end)


def most_over(crowd: Crowd, begin: float, end: float, rate: float = RATE) -> float:
    """By how much the busiest span is over burst + rate * (span + lease), in units; not above 0 where the promise is kept."""
    passed = sorted((each for each in crowd.seen if each.status == 200 and each.sent >= begin and each.answered <= end), key=lambda each: each.sent)
    ends = [begin + STEP * place for place in range(int((end - begin) / STEP) + 1)]
    most = float("-inf")
    for first in ends:
        inside = [each.answered for each in passed if each.sent >= first]
        for last in (each for each in ends if each > first):
            most = max(most, sum(answered <= last for answered in inside) - BURST - rate * (last - first + LEASE))
    return most


@pytest.fixture
def nodes(gw_command: list[str], tmp_path: Path, free_port: Callable[[], int]) -> Iterator[list[Gateway]]:
    """Gateways of their own folders, not started."""
    made = []
    for number in range(NODES):
        folder = tmp_path / f"node{number}"
        folder.mkdir()
        made.append(Gateway(gw_command, folder, free_port(), free_port()))
    yield made
    for node in made:
        node.stop()


def start(nodes: list[Gateway], redis: RedisServer, policy: str) -> None:
    for number, node in enumerate(nodes):
        routes = f"routes: [{{name: limited, path: /, respond: {{body: in}}, policies: [{policy}]}}]"
        node.write(f"store: {{redis: {{url: {redis.url}, lease: {LEASE}}}}}\n{routes}" + "\n" * number)
        node.start(wait=False)
    for node in nodes:
        until(lambda node=node: len(node.said("serving")) == 1, 20, "every node serves")


def shown(node: Gateway) -> list[dict[str, Any]]:
    """By `gw usage` of its config."""
    said = subprocess.run([*node.command, "usage", "--json", "--config", str(node.config)], check=True, capture_output=True)
    found: list[dict[str, Any]] = json.loads(said.stdout)
    return found


def rate_limit(away: str) -> str:
    return f"rate-limit: {{rate: {RATE}/s, burst: {BURST}, by: route, shared: true, away: {away}}}"


@pytest.mark.slow
def test_nodes_share_a_rate_and_use_it_up(nodes: list[Gateway], redis_server: RedisServer, record_property: Callable[[str, object], None]) -> None:
    start(nodes, redis_server, rate_limit("closed"))
    before = int(redis_server.cli("info", "stats").split("total_commands_processed:")[1].split()[0])
    with Crowd(nodes, "/") as crowd:
        time.sleep(6)
    asked = int(redis_server.cli("info", "stats").split("total_commands_processed:")[1].split()[0]) - before
    begin, end = crowd.began, max(each.answered for each in crowd.seen)
    steady = end - begin - 1
    used = crowd.admitted(begin + 1, end) / (RATE * steady)
    over = most_over(crowd, begin, end)
    offered = len(crowd.seen) / (end - begin)
    for name, value in {"utilisation": used, "over": over, "offered": offered, "commands": asked / (end - begin), "slowest": crowd.slowest(begin, end)}.items():
        record_property(name, round(value, 3))
        print(f"{name}: {value:.3f}")
    assert crowd.statuses(begin, end) == {200, 429}
    assert offered > 2 * RATE
    assert over <= 0
    assert used >= 0.85


@pytest.mark.slow
def test_a_quota_that_nodes_share_is_never_exceeded(nodes: list[Gateway], redis_server: RedisServer) -> None:
    start(nodes, redis_server, "quota: {limit: 500, per: day, by: route, shared: true}")
    with Crowd(nodes, "/") as crowd:
        time.sleep(3)
        redis_server.pause()
        redis_server.resume()
        until(lambda: crowd.seen[-1].status == 429, 10, "it is used up")
    assert crowd.admitted(0, float("inf")) <= 500
    assert crowd.admitted(0, float("inf")) >= 0.85 * 500
    for node in nodes:
        node.hears(15)
        node.ends()
    for node in nodes:
        (line,) = shown(node)
        assert (line["key"], line["store"], line["used"]) == ("limited", "redis", crowd.admitted(0, float("inf")))


@pytest.mark.parametrize(("by", "told"), [("query:token", False), ("[host, 'query:token']", False), ("host", True)])
def test_redis_is_not_told_what_clients_send_where_it_may_be_secret(nodes: list[Gateway], redis_server: RedisServer, by: str, told: bool) -> None:
    start(nodes[:1], redis_server, f"quota: {{limit: 5, per: day, by: {by}, shared: true}}")
    assert nodes[0].get("/?token=s3cret")[0] == 200
    (kept,) = [redis_server.cli("hgetall", key) for key in redis_server.cli("--scan").split()]
    assert "s3cret" not in kept
    assert ("127.0.0.1" in kept) == told
    (line,) = shown(nodes[0])
    assert line["key"].startswith("#") != told


@pytest.mark.slow
@pytest.mark.parametrize("away", ["local", "open", "closed"])
@pytest.mark.parametrize("how", ["kill", "pause"])
def test_without_redis_limits_do_as_they_were_told(nodes: list[Gateway], redis_server: RedisServer, away: str, how: str) -> None:
    start(nodes, redis_server, rate_limit(away))
    with Crowd(nodes, "/", each=2, pause=0.002) as crowd:
        time.sleep(1.5)
        gone = time.monotonic()
        (redis_server.kill if how == "kill" else redis_server.pause)()
        until(lambda: all(node.said("ledger-away") for node in nodes), 10, "every node knows")
        known = time.monotonic()
        time.sleep(4)
        back = time.monotonic()
        (redis_server.start if how == "kill" else redis_server.resume)()
        until(lambda: all(node.said("ledger-back") for node in nodes), 10, "every node is back")
        time.sleep(1)  # what was granted meanwhile is over
        counted = time.monotonic()
        time.sleep(3)
        end = time.monotonic()
    assert most_over(crowd, crowd.began, gone) <= 0
    if away == "open":
        assert crowd.statuses(known + LEASE + 0.2, back) == {200}
    elif away == "closed":
        assert crowd.statuses(known + LEASE + 0.2, back) == {503}
    else:
        assert crowd.statuses(known, back) == {200, 429}
        assert most_over(crowd, known, back, NODES * RATE) <= BURST * (NODES - 1) + RATE * LEASE
        offered = sum(known + 1 <= each.sent and each.answered <= back for each in crowd.seen)
        assert crowd.admitted(known + 1, back) >= 0.85 * min(NODES * RATE * (back - known - 1), offered)
    assert crowd.statuses(counted, end) == {200, 429}
    assert most_over(crowd, counted, end) <= 0
    assert crowd.admitted(counted, end) >= 0.85 * RATE * (end - counted)
    assert crowd.slowest(gone, end) <= SLOWEST


@pytest.mark.slow
def test_a_node_that_starts_without_redis_serves_and_finds_it(nodes: list[Gateway], redis_server: RedisServer) -> None:
    redis_server.kill()
    start(nodes[:1], redis_server, rate_limit("local"))
    assert nodes[0].get("/")[0] == 200
    (said,) = nodes[0].said("ledger-away")
    assert said["reason"] == f"store {redis_server.url}: connection refused"
    redis_server.start()

    def back() -> bool:
        with suppress(OSError):
            nodes[0].get("/")
        return bool(nodes[0].said("ledger-back"))

    until(back, 10, "it is found")
