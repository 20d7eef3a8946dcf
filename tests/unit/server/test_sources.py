"""Sources: followed once, published to all, run again after a fault, kept across revisions."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from gw.server.sources import Sources
from gw.store import Publish, Source, source_key
from gw.store.source import Log

SCRIPT: dict[str, Callable[[Publish, asyncio.Event], Any]] = {}
RUNS: list[str] = []


class Scripted(Source, frozen=True):
    """Does what SCRIPT says for its name."""

    name: str

    async def run(self, publish: Publish, wanted: asyncio.Event, log: Log) -> None:
        RUNS.append(self.name)
        await SCRIPT[self.name](publish, wanted)


def scripted(name: str, script: Callable[[Publish, asyncio.Event], Any]) -> tuple[str, Scripted]:
    SCRIPT[name] = script
    source = Scripted(name)
    return source_key(source), source


def run(test: Callable[[Sources, list[tuple[str, bytes]], list[str]], Any]) -> None:
    """`test(sources, published, events)` on a loop of its own."""
    published: list[tuple[str, bytes]] = []
    events: list[str] = []
    RUNS.clear()

    async def main() -> None:
        sources = Sources(lambda key, data: published.append((key, data)), lambda _level, event, /, **_fields: events.append(event))
        try:
            async with asyncio.timeout(5):
                await test(sources, published, events)
        finally:
            sources.stop()

    asyncio.run(main())


async def forever() -> None:
    await asyncio.Event().wait()


def test_what_is_published_reaches_workers_once_and_is_kept_for_the_next() -> None:
    async def twice(publish: Publish, wanted: asyncio.Event) -> None:
        publish(b"one")
        publish(b"one")
        await wanted.wait()
        publish(b"two")
        await forever()

    async def test(sources: Sources, published: list[tuple[str, bytes]], events: list[str]) -> None:
        key, source = scripted("keys", twice)
        sources.follow({key: source})
        assert await sources.first(5) == []
        assert published == [(key, b"one")]
        sources.follow({key: Scripted("keys")})  # the next revision names an equal one: it goes on
        sources.want(key)
        sources.want("somebody else's")
        while len(published) < 2:
            await asyncio.sleep(0)
        assert published == [(key, b"one"), (key, b"two")]
        assert sources.chosen([key, "another"]) == {key: b"two"}
        assert RUNS == ["keys"]

    run(test)


def test_one_that_is_silent_is_late_and_one_that_is_gone_is_forgotten() -> None:
    async def silent(publish: Publish, wanted: asyncio.Event) -> None:
        await forever()

    async def speaks(publish: Publish, wanted: asyncio.Event) -> None:
        publish(b"x")
        await forever()

    async def test(sources: Sources, published: list[tuple[str, bytes]], events: list[str]) -> None:
        (late, one), (early, other) = scripted("silent", silent), scripted("speaks", speaks)
        sources.follow({late: one, early: other})
        assert await sources.first(0.01) == [late]
        sources.follow({late: one})
        assert sources.data == {}

    run(test)


def test_a_fault_is_logged_and_the_source_runs_again(monkeypatch: Any) -> None:
    monkeypatch.setattr("gw.server.sources.RETRY", 0)

    async def fails_once(publish: Publish, wanted: asyncio.Event) -> None:
        if len(RUNS) == 1:
            raise ZeroDivisionError
        publish(b"well")
        await forever()

    async def test(sources: Sources, published: list[tuple[str, bytes]], events: list[str]) -> None:
        key, source = scripted("faulty", fails_once)
        sources.follow({key: source})
        assert await sources.first(5) == []
        assert events == ["source-fault"]
        assert published == [(key, b"well")]

    run(test)


def test_equal_sources_have_one_key_and_others_another() -> None:
    assert source_key(Scripted("a")) == source_key(Scripted("a")) != source_key(Scripted("b"))
