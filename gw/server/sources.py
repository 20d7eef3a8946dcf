"""Sources of policies: the supervisor follows each once and supplies every worker with what it published last."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Callable, Iterable

from gw._fast.snapshot import Snapshot
from gw.store import Source, source_key
from gw.store.source import Log

RETRY = 5.0  # seconds until a source that failed with an unexpected exception is run again


def sources_of(snapshot: Snapshot) -> dict[str, Source]:
    """The distinct sources of a snapshot by key."""
    return {source_key(source): source for source, _ in snapshot.settings["sources"]}


def supply(snapshot: Snapshot, data: dict[str, bytes]) -> None:
    """Hand the policies of a snapshot what their sources published."""
    for source, take in snapshot.settings["sources"]:
        found = data.get(source_key(source))
        if found is not None:
            take(found)


class Sources:
    """`published(key, data)` is called whenever a source has something new."""

    def __init__(self, published: Callable[[str, bytes], None], log: Log) -> None:
        self._published = published
        self._log = log
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._wanted: dict[str, asyncio.Event] = {}
        self._first: dict[str, asyncio.Event] = {}
        self.data: dict[str, bytes] = {}

    def __repr__(self) -> str:
        return f"<Sources {', '.join(f'{key}: {len(self.data[key])} bytes' if key in self.data else f'{key}: nothing yet' for key in self._tasks)}>"

    def follow(self, sources: dict[str, Source]) -> None:
        """Follow these and no others. Needs a running loop."""
        for key in self._tasks.keys() - sources.keys():
            self._tasks.pop(key).cancel()
            del self._wanted[key], self._first[key]
            self.data.pop(key, None)
        for key in sources.keys() - self._tasks.keys():
            self._wanted[key], self._first[key] = asyncio.Event(), asyncio.Event()
            self._tasks[key] = asyncio.get_running_loop().create_task(self._run(key, sources[key]))

    async def first(self, timeout: float) -> list[str]:
        """Wait until every source has published once, or `timeout` seconds; the keys of those that have not."""
        waiting = {asyncio.ensure_future(event.wait()): key for key, event in self._first.items()}
        if not waiting:
            return []
        _, late = await asyncio.wait(waiting, timeout=timeout)
        for task in late:
            task.cancel()
        return [waiting[task] for task in late]

    def want(self, key: str) -> None:
        """A worker misses something that fresher data may hold."""
        if key in self._wanted:
            self._wanted[key].set()

    def stop(self) -> list[asyncio.Task[None]]:
        """Follow nothing; the tasks that end for it."""
        tasks = list(self._tasks.values())
        self.follow({})
        return tasks

    def chosen(self, keys: Iterable[str]) -> dict[str, bytes]:
        """What was published last, of those that have published."""
        return {key: self.data[key] for key in keys if key in self.data}

    async def _run(self, key: str, source: Source) -> None:
        def publish(data: bytes) -> None:
            if self.data.get(key) != data:
                self.data[key] = data
                self._published(key, data)
            self._first[key].set()

        while True:
            try:
                await source.run(publish, self._wanted[key], self._log)
                return
            except Exception:  # noqa: BLE001 - the task's border: logged with its traceback, and run again
                self._log("error", "source-fault", source=key, traceback=traceback.format_exc())
                await asyncio.sleep(RETRY)
