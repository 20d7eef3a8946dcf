"""Keys in the store's file, and the source that follows them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gw._fast.api_keys import ApiKeys
from gw.errors import GatewayError
from gw.store import Keys, KeysSource, PackedKeys, hashed, pack

PATIENCE = 5.0  # seconds
DAY = 86400


class Clock:
    """The wall clock as a test sets it."""

    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def keys(tmp_path: Path, clock: Clock) -> Iterator[Keys]:
    with closing(Keys(tmp_path / "gw.db", clock)) as opened:
        yield opened


def known(data: bytes) -> ApiKeys:
    """What a worker makes of what was published; every consumer has number 3."""
    packed = msgspec.msgpack.decode(data, type=PackedKeys)
    made = ApiKeys()
    made.fill([(packed.records, packed.ids, [3] * len(packed.consumers))], whole=True)
    return made


def test_a_key_is_kept_as_its_hash_alone(keys: Keys, tmp_path: Path) -> None:
    key, text = keys.create("alice", 90 * DAY)
    assert text.startswith(f"gw_{key.id}_")
    assert len(text) < 56  # one block of SHA-256
    assert (key.consumer, key.hash, key.created, key.expires) == ("alice", hashed(text), 1_000_000, 1_000_000 + 90 * DAY)
    secret = text.rpartition("_")[2].encode()
    assert not any(secret in file.read_bytes() for file in tmp_path.iterdir())
    assert keys.create("alice", None)[1] != text


def test_the_file_is_for_its_owner_alone(keys: Keys, tmp_path: Path) -> None:
    keys.create("alice", None)
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()}
    assert set(modes) == {"gw.db", "gw.db-wal", "gw.db-shm"}
    assert set(modes.values()) == {0o600}


def test_states(keys: Keys, clock: Clock) -> None:
    lasting, short, gone = (keys.create("alice", seconds)[0] for seconds in (None, 10, 10))
    keys.revoke(gone.id)
    assert {key.id: key.state(clock.now + 9.9) for key in keys.all()} == {lasting.id: "active", short.id: "active", gone.id: "revoked"}
    assert {key.id: key.state(clock.now + 10) for key in keys.all()} == {lasting.id: "active", short.id: "expired", gone.id: "revoked"}


def test_rotating_makes_a_key_like_the_old_one_which_goes_on_for_a_while(keys: Keys, clock: Clock) -> None:
    old, _ = keys.create("alice", 90 * DAY)
    clock.now += DAY
    new, text = keys.rotate(old.id, 3600)
    assert (new.consumer, new.expires) == ("alice", clock.now + 90 * DAY)
    assert new.hash == hashed(text)
    assert keys.find(old.id).expires == clock.now + 3600
    keys.rotate(old.id, DAY)
    assert keys.find(old.id).expires == clock.now + 3600
    eternal, _ = keys.create("bob", None)
    assert keys.rotate(eternal.id, 0)[0].expires is None
    assert keys.find(eternal.id).state(clock.now) == "expired"


def test_only_keys_that_are_there_can_be_revoked_and_only_once(keys: Keys) -> None:
    key, _ = keys.create("alice", None)
    keys.revoke(key.id)
    for act in (keys.revoke, lambda name: keys.rotate(name, 0)):
        with pytest.raises(GatewayError, match=f"key '{key.id}' is already revoked"):
            act(key.id)
        with pytest.raises(GatewayError, match=r"no key 'x' in .*gw\.db\. `gw keys list` shows them"):
            act("x")
    assert len(keys.all()) == 1


def test_what_is_packed_is_what_workers_find(keys: Keys, clock: Clock) -> None:
    (lasting, first), (short, second), (gone, third) = (keys.create("alice", seconds) for seconds in (None, 10, None))
    keys.revoke(gone.id)
    found = known(asyncio.run(KeysSource(file=str(keys.file)).once()))
    assert found.find(first.encode()) == (lasting.id, 3, 0)
    assert found.find(second.encode()) == (short.id, 3, 1_000_010)
    assert found.find(third.encode()) is None


def test_more_keys_than_are_read_at_once(keys: Keys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gw.store.keys.TURN", 2)
    texts = [keys.create(f"c{number}", None)[1] for number in range(5)]
    found = known(asyncio.run(KeysSource(file=str(keys.file)).once()))
    assert all(found.find(text.encode()) for text in texts)


@pytest.mark.parametrize("broken", ["folder", "text"])
def test_a_file_that_is_none_is_named(broken: str, tmp_path: Path) -> None:
    file = tmp_path / "gw.db"
    if broken == "folder":
        file.mkdir()
    else:
        file.write_text("listeners: []\n" * 100)
    with pytest.raises(GatewayError, match=f"store {file}: (Is a directory|file is not a database)"):
        Keys(file)


# The source


class Followed:
    """A source that runs, and what it published and said."""

    def __init__(self, file: Path) -> None:
        self.source = KeysSource(str(file))
        self.published: list[bytes] = []
        self.said: list[dict[str, Any]] = []

    def log(self, level: str, event: str, /, **fields: object) -> None:
        self.said.append({"level": level, "event": event, **fields})

    async def until(self, done: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not done():
            assert time.monotonic() < deadline, (self.published, self.said)
            await asyncio.sleep(0.005)

    def knows(self, text: str) -> bool:
        return bool(self.published) and known(self.published[-1]).find(text.encode()) is not None

    @contextlib.asynccontextmanager
    async def running(self) -> Any:
        task = asyncio.create_task(self.source.run(self.published.append, asyncio.Event(), self.log))
        yield
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gw.store.keys.POLL", 0.01)
    monkeypatch.setattr("gw.store.keys.RETRY", 0.01)


def test_changes_of_other_processes_are_published(tmp_path: Path) -> None:
    file = tmp_path / "gw.db"

    async def follow() -> None:
        followed = Followed(file)
        async with followed.running():
            await followed.until(lambda: len(followed.published) == 1)
            with closing(Keys(file)) as other:
                key, text = other.create("alice", None)
                await followed.until(lambda: followed.knows(text))
                other.revoke(key.id)
                await followed.until(lambda: not followed.knows(text))
            count = len(followed.published)
            await asyncio.sleep(0.1)  # ten looks, and nothing changed
            assert len(followed.published) == count

    asyncio.run(follow())


def test_a_file_that_is_replaced_is_read_anew(tmp_path: Path) -> None:
    file, other = tmp_path / "gw.db", tmp_path / "other.db"
    with closing(Keys(other)) as keys:
        _, text = keys.create("alice", None)

    async def follow() -> None:
        followed = Followed(file)
        async with followed.running():
            await followed.until(lambda: len(followed.published) == 1)
            assert not followed.knows(text)
            for each in tmp_path.glob("gw.db*"):  # what SQLite keeps beside a file belongs to that file alone
                each.unlink()
            os.replace(other, file)
            await followed.until(lambda: followed.knows(text))

    asyncio.run(follow())


def test_a_file_that_fails_is_told_of_and_tried_again(tmp_path: Path) -> None:
    file = tmp_path / "gw.db"
    file.write_text("no database" * 100)

    async def follow() -> None:
        followed = Followed(file)
        async with followed.running():
            await followed.until(lambda: bool(followed.said))
            assert followed.published == []
            assert followed.said[0] == {
                "level": "error",
                "event": "store-failed",
                "file": str(file),
                "reason": f"store {file}: file is not a database",
                "hint": "keys that were read before go on",
            }
            file.unlink()
            await followed.until(lambda: len(followed.published) == 1)

    asyncio.run(follow())


def test_once_reads_and_makes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "gw.db"
    assert len(known(asyncio.run(KeysSource(str(file)).once()))) == 0
    assert not file.exists()
    with closing(Keys(file)) as keys:
        _, text = keys.create("alice", None)
    assert known(asyncio.run(KeysSource(str(file)).once())).find(text.encode())


def test_ids_of_any_text_survive() -> None:
    found = known(msgspec.msgpack.encode(pack([("ä", "a", hashed("1"), None), ("", "b", hashed("2"), 7), ("long" * 50, "a", hashed("3"), None)])))
    assert [found.find(str(number).encode()) for number in (1, 2, 3)] == [("ä", 3, 0), ("", 3, 7), ("long" * 50, 3, 0)]


def test_two_processes_may_write_at_once(tmp_path: Path) -> None:
    file = tmp_path / "gw.db"
    with closing(Keys(file)) as first, closing(Keys(file)) as second, closing(sqlite3.connect(file)) as plain:
        first.create("a", None)
        second.create("b", None)
        assert plain.execute("SELECT count(*) FROM api_keys").fetchone() == (2,)
