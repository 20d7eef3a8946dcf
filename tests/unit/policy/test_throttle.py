"""Queues: who waits, for how long, in which order, and who is refused."""

from __future__ import annotations

import asyncio
import time
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gw.config import load
from gw.runtime import Engine, compile_snapshot
from tests.reference.bucket import Bucket, kept_interval
from tests.unit.fast.rig import Client, Rig, until
from tests.unit.policy.limits import asking, problem, serving

SECOND = 1_000_000  # us


@given(st.integers(1, 20), st.integers(1, 4), st.integers(1, 6), st.lists(st.integers(0, SECOND), max_size=25))
def test_each_waits_until_its_turn_or_is_refused(rate: int, burst: int, places: int, steps: list[int]) -> None:
    """Turns come as tokens of a bucket of `burst` do; whoever finds `places` waiting is refused."""
    interval = kept_interval(rate, SECOND)
    bucket = Bucket(interval, burst + places)
    now = 1000 * SECOND
    with TemporaryDirectory() as folder, asking(Path(folder), f"throttle: {{rate: {rate}/s, burst: {burst}, max_queue: {places}, max_wait: 100s}}") as asked:
        for step in steps:
            now += step
            verdict, _, reset, _ = bucket.take(1, now)
            wait = max(0, reset - burst * SECOND // rate)
            found = asked.ask(now=now / SECOND)
            assert found.reason == ("" if verdict == "pass" else "rate-limited")
            if verdict == "pass":
                assert found.verdicts[0].told == (f"waits {wait / SECOND:.3g} s, by ip 192.0.2.1" if wait else "at once, by ip 192.0.2.1")


def test_requests_wait_in_their_order_and_are_all_served(tmp_path: Path) -> None:
    with serving(tmp_path, "throttle: {rate: 10/s}") as (made, origin), ExitStack() as stack:
        began = time.monotonic()
        clients = [stack.enter_context(Client(made.port)) for _ in range(5)]
        for index, client in enumerate(clients):
            client.send(f"/{index}")
            until(lambda seen=index + 1: made.stats()["exchanges"] + len(origin.paths) >= seen, "it waits or was served")
        assert [client.read().status for client in clients] == [200] * 5
        assert time.monotonic() - began >= 0.4
        assert origin.paths == ["/0", "/1", "/2", "/3", "/4"]
        assert made.figures()["timeouts"] == 0


def test_a_body_waits_with_its_request(tmp_path: Path) -> None:
    with serving(tmp_path, "throttle: {rate: 10/s}") as (made, _), Client(made.port) as client:
        for body in (b"one", b"x" * 100_000):
            assert client.ask("/", method="POST", body=body).told["body"] == body.decode()


def test_a_client_that_leaves_ends_its_wait(tmp_path: Path) -> None:
    with serving(tmp_path, "throttle: {rate: 1/m, max_wait: 300s, burst: 12}") as (made, origin):
        with ExitStack() as stack:
            for _ in range(12):
                assert stack.enter_context(Client(made.port)).ask().status == 200
            waits = Client(made.port)
            waits.send("/waits")
            until(lambda: made.stats()["exchanges"] == 1, "it waits")
            waits.reset()
            made.quiet()
        assert "/waits" not in origin.paths


def waiting(stack: ExitStack, made: Rig, *fields: str, count: int = 1, path: str = "/") -> list[Client]:
    """Clients that wait behind those who do already, in this order."""
    clients = []
    for _ in range(count):
        before = made.stats()["exchanges"]
        clients.append(Client(made.port))
        stack.callback(reset, clients[-1])
        clients[-1].send(f"{path}{before}", *fields)
        until(lambda seen=before + 1: made.stats()["exchanges"] == seen, "it waits")
    return clients


def reset(client: Client) -> None:
    """Unless it has left already."""
    if client.sock.fileno() >= 0:
        client.reset()


def leave(made: Rig, *clients: Client) -> None:
    left = made.stats()["exchanges"] - len(clients)
    for client in clients:
        client.reset()
    until(lambda: made.stats()["exchanges"] == left, "they have left")


def test_who_waits_behind_clients_that_leave_moves_up(tmp_path: Path) -> None:
    """Of thirty that wait a second each, three stay: they are served in the first three turns, not in the last, and not before those."""
    with serving(tmp_path, "throttle: {rate: 1/s, max_wait: 60s}") as (made, origin), ExitStack() as stack:
        assert stack.enter_context(Client(made.port)).ask().status == 200
        began = time.monotonic()
        clients = waiting(stack, made, count=30)
        stay = [clients[9], clients[20], clients[29]]
        leave(made, *(client for client in clients if client not in stay))
        assert [client.read().status for client in stay] == [200] * 3
        assert 2.5 < time.monotonic() - began < 9
        assert origin.paths == ["/", "/9", "/20", "/29"]
        assert made.figures()["timeouts"] == 0


def test_the_place_of_who_leaves_is_the_next_ones(tmp_path: Path) -> None:
    with serving(tmp_path, "throttle: {rate: 1/m, max_wait: 300s, max_queue: 3}") as (made, _), ExitStack() as stack:
        assert stack.enter_context(Client(made.port)).ask().status == 200
        first, *_ = waiting(stack, made, count=3)
        assert stack.enter_context(Client(made.port)).ask().status == 429
        leave(made, first)
        waiting(stack, made)
        assert stack.enter_context(Client(made.port)).ask().status == 429


def test_routes_that_count_together_are_one_queue(tmp_path: Path) -> None:
    with serving(tmp_path, "throttle: {rate: 1/s, max_wait: 60s, name: all}") as (made, origin), ExitStack() as stack:
        assert stack.enter_context(Client(made.port)).ask().status == 200
        away = waiting(stack, made, count=20, path="/own/")
        [stays] = waiting(stack, made)
        leave(made, *away)
        began = time.monotonic()
        assert stays.read().status == 200
        assert time.monotonic() - began < 8
        assert origin.paths == ["/", "/20"]


def test_nobody_moves_up_for_who_waited_for_something_else(tmp_path: Path) -> None:
    """More keys than there are rings to wait on."""
    with serving(tmp_path, "throttle: {rate: 1/m, max_wait: 300s, max_queue: 2, by: 'header:x-key'}") as (made, _), ExitStack() as stack:
        clients = []
        for key in range(200):
            assert stack.enter_context(Client(made.port)).ask("/", f"X-Key: {key}").status == 200
            clients += waiting(stack, made, f"X-Key: {key}", count=2)
        leave(made, *clients[:200])
        for key in range(200):
            if key < 100:
                waiting(stack, made, f"X-Key: {key}", count=2)
            with Client(made.port) as client:
                assert client.ask("/", f"X-Key: {key}").status == 429


def test_a_place_stays_taken_where_another_worker_has_booked_behind_it(tmp_path: Path) -> None:
    with serving(tmp_path, "throttle: {rate: 1/m, max_wait: 300s, name: all}") as (made, _), ExitStack() as stack:
        other = Engine(compile_snapshot(load(made.folder / "gw.yaml").config, 2, made.segment, made.folder), made.segment)
        stack.callback(other.close)

        def told() -> float:
            found = asyncio.run(other.ask("GET", "/own", [("Host", "h")], "127.0.0.1"))
            return float(found.verdicts[0].told.split()[1])

        assert stack.enter_context(Client(made.port)).ask().status == 200
        first, second = waiting(stack, made, count=2)
        assert told() == pytest.approx(180, abs=9)
        leave(made, first)
        assert told() == pytest.approx(240, abs=9)
        leave(made, second)
        assert told() == pytest.approx(300, abs=9)


def test_who_finds_no_place_is_told_when_there_is_one(tmp_path: Path) -> None:
    with asking(tmp_path, "throttle: {rate: 2/s, max_queue: 2}") as asked:
        assert [asked.ask().status for _ in range(4)] == [200, 200, 200, 429]
        found = asked.ask()
        assert b"\r\nRetry-After: 1\r\n" in found.answer
        assert found.verdicts[0].told == "no place, next in 0.5 s, by ip 192.0.2.1"
        assert asked.passes(now=1000.5)


def test_the_longest_wait_bounds_the_queue(tmp_path: Path) -> None:
    with asking(tmp_path, "throttle: {rate: 2/s, max_wait: 1500ms}") as asked:
        assert [asked.ask().status for _ in range(5)] == [200, 200, 200, 200, 429]


@pytest.mark.parametrize(
    ("settings", "message", "pointer"),
    [
        ("{rate: 1/h}", "nobody could wait: a place in the queue takes longer than 5s", ".max_wait"),
        ("{rate: 1/s, by: x}", "'x' is nothing", ".by"),
        ("{rate: 1/s, max_wait: 0s}", "expected", ".max_wait"),
    ],
)
def test_what_cannot_work_is_said_when_it_is_loaded(tmp_path: Path, settings: str, message: str, pointer: str) -> None:
    found = problem(tmp_path, f"throttle: {settings}")
    assert found[0].startswith(message)
    assert found[1] == f".throttle{pointer}"
