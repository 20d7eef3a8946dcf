"""Names are kept resolved; what was good stays good."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from gw.config import Config
from gw.config.model import Endpoint, Listener, Service
from gw.services import Answer, Discovery, NameState, named_endpoints
from gw.services.discovery import RETRY_MAX, TTL_MAX, TTL_MIN


class Play:
    """A name server that gives its answers in order, and a clock that only counts."""

    def __init__(self, answers: Iterable[Answer]) -> None:
        self.answers = list(answers)
        self.slept: list[float] = []
        self.changed: list[tuple[str, tuple[str, ...]]] = []
        self.logged: list[str] = []
        self.discovery = Discovery(self.resolve, self.note, self.log, self.sleep)
        self.over = asyncio.Event()

    async def resolve(self, host: str) -> Answer:
        if not self.answers:
            self.over.set()
            await asyncio.Event().wait()
        return self.answers.pop(0)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)

    def note(self, host: str) -> None:
        self.changed.append((host, self.discovery.addresses(host)))

    def log(self, level: str, event: str, **fields: object) -> None:
        self.logged.append(f"{level} {event} {fields.get('reason', '')}".strip())


def play(*answers: Answer) -> tuple[Play, NameState]:
    async def main() -> tuple[Play, NameState]:
        stage = Play(answers)
        stage.discovery.follow(["api"])
        state = stage.discovery.names["api"]
        await asyncio.wait_for(stage.over.wait(), 5)
        stage.discovery.stop()
        return stage, state

    return asyncio.run(main())


def ignore(*args: object, **fields: object) -> None:
    """Neither changes nor events matter."""


def v4(*addresses: str, ttl: float = 30.0) -> Answer:
    return Answer(addresses, (), ttl)


NXDOMAIN = Answer(failure="nxdomain")
TIMEOUT = Answer(failure="timeout")


def test_asked_again_when_the_ttl_is_over() -> None:
    stage, state = play(v4("10.0.0.1"), v4("10.0.0.1"), v4("10.0.0.2"))
    assert stage.slept == [30.0, 30.0, 30.0]
    assert stage.changed == [("api", ("10.0.0.1",)), ("api", ("10.0.0.2",))]
    assert (state.lookups, state.changes, state.failures) == (3, 2, 0)


def test_the_order_of_records_is_no_change() -> None:
    stage, _ = play(v4("10.0.0.2", "10.0.0.1"), v4("10.0.0.1", "10.0.0.2"))
    assert stage.changed == [("api", ("10.0.0.1", "10.0.0.2"))]


def test_ttls_are_bounded() -> None:
    stage, _ = play(v4("10.0.0.1", ttl=0.0), v4("10.0.0.1", ttl=86400.0))
    assert stage.slept == [TTL_MIN, TTL_MAX]


def test_last_good_addresses_stay_and_the_failure_is_said_once() -> None:
    stage, state = play(v4("10.0.0.1"), NXDOMAIN, NXDOMAIN, TIMEOUT, v4("10.0.0.1"))
    assert state.addresses == ("10.0.0.1",)
    assert state.failures == 3
    assert stage.changed == [("api", ("10.0.0.1",))]
    assert stage.logged == ["warning dns-failed nxdomain", "warning dns-failed timeout", "info dns-resolved"]


def test_failures_are_asked_again_with_growing_distance() -> None:
    stage, _ = play(*[TIMEOUT] * 8, v4("10.0.0.1"), TIMEOUT)
    assert stage.slept == [1.0, 2.0, 4.0, 8.0, 16.0, RETRY_MAX, RETRY_MAX, RETRY_MAX, 30.0, 1.0]


def test_a_family_that_could_not_be_asked_keeps_what_is_known_of_it() -> None:
    stage, state = play(Answer(("10.0.0.1",), ("2001:db8::1",), 5.0), Answer(("10.0.0.2",), None, 5.0), Answer(("10.0.0.2",), (), 5.0))
    assert [addresses for _, addresses in stage.changed] == [("10.0.0.1", "2001:db8::1"), ("10.0.0.2", "2001:db8::1"), ("10.0.0.2",)]
    assert state.failure is None


def test_a_name_that_never_resolves_has_no_addresses() -> None:
    stage, _ = play(NXDOMAIN, NXDOMAIN)
    assert stage.changed == []
    assert stage.discovery.addresses("api") == ()
    assert stage.discovery.addresses("unknown") == ()


def test_waiting_for_the_first_answers_is_bounded() -> None:
    async def main() -> list[bool]:
        stage = Play([v4("10.0.0.1")])
        nobody = await stage.discovery.first(0.01)
        stage.discovery.follow(["api"])
        one = await stage.discovery.first(1.0)
        stage.discovery.follow(["api", "silent"])
        both = await stage.discovery.first(0.01)
        stage.discovery.stop()
        return [nobody, one, both]

    assert asyncio.run(main()) == [True, True, False]


def test_a_fault_of_the_resolver_is_logged_and_the_name_followed_on() -> None:
    async def main() -> list[tuple[str, object]]:
        logged: list[tuple[str, object]] = []
        answers = [v4("10.0.0.1")]

        async def resolve(host: str) -> Answer:
            return answers.pop()

        async def sleep(seconds: float) -> None:
            await asyncio.sleep(0 if len(logged) < 1 else 60)

        discovery = Discovery(resolve, ignore, lambda _level, event, /, **fields: logged.append((event, fields.get("traceback"))), sleep)
        discovery.follow(["api"])
        while not logged:
            await asyncio.sleep(0)
        assert discovery.addresses("api") == ("10.0.0.1",)
        discovery.stop()
        return logged

    (event, text), *_ = asyncio.run(main())
    assert event == "dns-fault"
    assert "IndexError" in str(text)


def test_names_come_and_go() -> None:
    async def resolve(host: str) -> Answer:
        return v4({"a": "10.0.0.1", "b": "10.0.0.2"}[host]) if host in "ab" else NXDOMAIN

    async def main() -> None:
        discovery = Discovery(resolve, ignore, ignore)
        discovery.follow(["a", "b"])
        assert await discovery.first(1.0)
        assert discovery.addresses("a") == ("10.0.0.1",)
        discovery.follow(["b", "c"])
        assert await discovery.first(1.0)
        assert (discovery.addresses("a"), discovery.addresses("b")) == ((), ("10.0.0.2",))
        assert repr(discovery) == "<Discovery b: 1, c: nxdomain>"
        discovery.stop()

    asyncio.run(main())


def test_which_endpoints_have_names() -> None:
    endpoints = ["10.0.0.1:80", "[::1]:80", "unix:/run/s", "users:8080", Endpoint("https://api.example.com"), "http://api.example.com"]
    config = Config(listeners=[Listener(bind=":0")], services={"one": Service(endpoints=endpoints)})
    assert named_endpoints(config) == {"users:8080": ("users", 8080), "https://api.example.com": ("api.example.com", 443), "http://api.example.com": ("api.example.com", 80)}
