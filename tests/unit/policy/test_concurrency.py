"""Numbers in flight: what passes while others are open, and that each is given back whatever way its exchange ends."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.unit.fast.rig import Client, until
from tests.unit.policy.limits import asking, problem, serving


def test_no_more_than_the_limit_are_in_flight(tmp_path: Path) -> None:
    with serving(tmp_path, "concurrency: {limit: 2, name: all}") as (made, origin), ExitStack() as stack:
        first, second, third = (stack.enter_context(Client(made.port)) for _ in range(3))
        first.send("/slow/1")
        second.send("/slow/2")
        until(lambda: len(origin.paths) == 2, "both are at the origin")
        answer = third.ask("/own")
        assert (answer.status, answer.one("Retry-After")) == (429, "1")
        assert b'"too-many-in-flight"' in answer.body
        origin.go_on.set()
        assert [first.read().status, second.read().status] == [200, 200]
        assert [third.ask(path).status for path in ("/", "/own", "/")] == [200, 200, 200]


@pytest.mark.parametrize("end", ["reset", "reload"])
def test_a_place_is_free_again_when_its_client_has_gone(tmp_path: Path, end: str) -> None:
    config = "concurrency: {limit: 1}"
    with serving(tmp_path, config) as (made, origin), ExitStack() as stack:
        gone, after = Client(made.port), stack.enter_context(Client(made.port))
        gone.send("/slow")
        until(lambda: origin.paths, "it is at the origin")
        assert after.ask("/").status == 429
        if end == "reload":  # the exchange ends on the revision it began with
            made.reload(f"services: {{one: {{endpoints: ['127.0.0.1:{origin.port}']}}}}\nroutes: [{{path: /, name: all, service: one, policies: [{config}]}}]")
            assert after.ask("/").status == 429
        gone.reset()
        until(lambda: after.ask("/").status == 200, "the place is free")


def test_a_place_is_given_back_when_a_later_policy_refuses(tmp_path: Path) -> None:
    with asking(tmp_path, "concurrency: {limit: 1}, rate-limit: {rate: 1/h}") as asked:
        assert [asked.ask().reason for _ in range(3)] == ["", "rate-limited", "rate-limited"]
    with serving(tmp_path, "concurrency: {limit: 1}, rate-limit: {rate: 1/h, name: all}") as (made, _), Client(made.port) as client:
        assert [client.ask("/own").status for _ in range(3)] == [200, 429, 429]


def test_several_limits_of_one_exchange_are_all_given_back(tmp_path: Path) -> None:
    policies = ", ".join(f"concurrency: {{limit: 1, name: n{index}}}" for index in range(9))
    with serving(tmp_path, policies) as (made, _), Client(made.port) as client:
        assert [client.ask("/").status for _ in range(3)] == [200, 200, 200]


def test_a_refusal_takes_no_place_in_the_limits_behind_it(tmp_path: Path) -> None:
    with serving(tmp_path, "concurrency: {limit: 1, name: few}, concurrency: {limit: 2, by: path, name: more}") as (made, origin), ExitStack() as stack:
        first, second = (stack.enter_context(Client(made.port)) for _ in range(2))
        first.send("/slow")
        until(lambda: origin.paths, "it is at the origin")
        assert [second.ask("/slow").status for _ in range(3)] == [429] * 3
        origin.go_on.set()
        assert first.read().status == 200
        assert second.ask("/slow").status == 200


def test_explain_says_how_many_there_are_and_takes_no_place(tmp_path: Path) -> None:
    with asking(tmp_path, "concurrency: {limit: 1, by: host}") as asked:
        assert [asked.ask().verdicts[0].told for _ in range(2)] == ["1 of 1 in flight, by host localhost"] * 2


def test_a_dry_run_refuses_nothing(tmp_path: Path) -> None:
    with serving(tmp_path, "concurrency: {limit: 1, dry_run: true}") as (made, origin), ExitStack() as stack:
        first, second = (stack.enter_context(Client(made.port)) for _ in range(2))
        first.send("/slow")
        until(lambda: origin.paths, "it is at the origin")
        assert second.ask("/").status == 200
        assert made.figures()["dry_refusals"] == 1
        origin.go_on.set()
        assert first.read().status == 200


@pytest.mark.parametrize(
    ("settings", "message", "pointer"), [("{}", "'limit' is missing", ""), ("{limit: 0}", "expected", ".limit"), ("{limit: 1, by: x}", "'x' is nothing", ".by")]
)
def test_what_cannot_work_is_said_when_it_is_loaded(tmp_path: Path, settings: str, message: str, pointer: str) -> None:
    found = problem(tmp_path, f"concurrency: {settings}")
    assert found[0].startswith(message)
    assert found[1] == f".concurrency{pointer}"
