"""API keys made while gw runs: a table in the store's file, and the source that tells workers of them."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import sqlite3
import string
import struct
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import ClassVar

import msgspec
from msgspec import Struct

from gw.errors import GatewayError
from gw.store.clerk import Clerk
from gw.store.database import connect, told
from gw.store.source import Log, Publish, Source

POLL = 0.3  # seconds between two looks at the file
RETRY = 2.0  # seconds until a file that failed is opened again
TURN = 4096  # keys read at once
Row = tuple[str, str, str, int | None]
RECORD = struct.Struct("<32sqII")  # as gw._fast.api_keys reads it
ALPHABET = string.ascii_lowercase + string.digits
SECRET = 36  # characters, 186 bits; a whole key is one block of SHA-256
HASHED = "sha256:"

TABLE = """CREATE TABLE IF NOT EXISTS api_keys (
    id TEXT PRIMARY KEY, consumer TEXT NOT NULL, hash TEXT NOT NULL UNIQUE, created INTEGER NOT NULL, expires INTEGER, revoked INTEGER
) STRICT, WITHOUT ROWID"""
COLUMNS = "id, consumer, hash, created, expires, revoked"


class StoredKey(Struct, frozen=True):
    """A key as it is kept; times are Unix seconds."""

    id: str
    consumer: str
    hash: str  # `sha256:` and hex digits
    created: int
    expires: int | None = None
    revoked: int | None = None

    def state(self, now: float) -> str:
        """active, expired or revoked."""
        if self.revoked is not None:
            return "revoked"
        return "expired" if self.expires is not None and now >= self.expires else "active"


class PackedKeys(Struct, array_like=True, frozen=True):
    """Keys as gw._fast.api_keys takes them: RECORDs and ids in a row; a record names its consumer by its place in `consumers`."""

    consumers: list[str]
    records: bytes
    ids: bytes


def hashed(key: str) -> str:
    """What is kept of a key."""
    return HASHED + hashlib.sha256(key.encode()).hexdigest()


def pack(keys: Iterable[Row]) -> PackedKeys:
    """From id, consumer, hash and expiry of each key."""
    numbers: dict[str, int] = {}
    records, ids = bytearray(), bytearray()
    for name, consumer, kept, expires in keys:
        text = name.encode()
        ids += text
        records += RECORD.pack(bytes.fromhex(kept.removeprefix(HASHED)), expires or 0, numbers.setdefault(consumer, len(numbers)), len(text))
    return PackedKeys(list(numbers), bytes(records), bytes(ids))


class Keys:
    """The table, over a connection of its own. Every method raises GatewayError when the file cannot be read or written."""

    def __init__(self, file: Path, clock: Callable[[], float] = time.time) -> None:
        self.file = file
        self._clock = clock
        self._connection = connect(file)
        try:
            self._run(TABLE)
        except GatewayError:
            self.close()
            raise

    def __repr__(self) -> str:
        return f"<Keys {self.file}>"

    def close(self) -> None:
        """Give the connection back."""
        self._connection.close()

    def create(self, consumer: str, lasting: float | None, prefix: str = "gw") -> tuple[StoredKey, str]:
        """A new key and its text, which is kept nowhere. `lasting` is in seconds; None: until it is revoked."""
        now = int(self._clock())
        name = "".join(secrets.choice(ALPHABET) for _ in range(12))
        text = f"{prefix}_{name}_{''.join(secrets.choice(ALPHABET) for _ in range(SECRET))}"
        key = StoredKey(name, consumer, hashed(text), now, None if lasting is None else now + int(lasting))
        self._run(f"INSERT INTO api_keys ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)", *msgspec.structs.astuple(key))
        return key, text

    def all(self) -> list[StoredKey]:
        """Every key there ever was, oldest first."""
        with told(self.file):
            return [StoredKey(*row) for row in self._run(f"SELECT {COLUMNS} FROM api_keys ORDER BY created, id")]

    def find(self, name: str) -> StoredKey:
        """The key of this id. Raises GatewayError when there is none, or when it is revoked."""
        with told(self.file):
            row = self._run(f"SELECT {COLUMNS} FROM api_keys WHERE id = ?", name).fetchone()
        if row is None:
            raise GatewayError(f"no key '{name}' in {self.file}. `gw keys list` shows them; what the config holds under `api_keys` is changed there.")
        key = StoredKey(*row)
        if key.revoked is not None:
            raise GatewayError(f"key '{name}' is already revoked")
        return key

    def revoke(self, name: str) -> StoredKey:
        """Refuse it from now on, for ever."""
        key = self.find(name)
        self._run("UPDATE api_keys SET revoked = ? WHERE id = ? AND revoked IS NULL", int(self._clock()), name)
        return key

    def rotate(self, name: str, overlap: float) -> tuple[StoredKey, str]:
        """A new key that lasts as long as the old one was made to last; the old one expires in `overlap` seconds, if not before."""
        old = self.find(name)
        self._run("BEGIN IMMEDIATE")
        try:
            made = self.create(old.consumer, None if old.expires is None else old.expires - old.created)
            self._run("UPDATE api_keys SET expires = min(coalesce(expires, ?1), ?1) WHERE id = ?2", int(self._clock() + overlap), name)
        except BaseException:
            self._run("ROLLBACK")
            raise
        self._run("COMMIT")
        return made

    def version(self) -> tuple[int, int]:
        """The file's inode, and a number that changes whenever another connection has changed it."""
        with told(self.file):
            return self.file.stat().st_ino, int(self._run("PRAGMA data_version").fetchone()[0])

    def good(self) -> sqlite3.Cursor:
        """Rows for `pack` of every key that is not revoked; `turn` reads them."""
        return self._run("SELECT id, consumer, hash, expires FROM api_keys WHERE revoked IS NULL")

    def turn(self, cursor: sqlite3.Cursor) -> list[Row]:
        """The next rows; none at the end."""
        with told(self.file):
            return cursor.fetchmany(TURN)

    def _run(self, statement: str, *values: object) -> sqlite3.Cursor:
        with told(self.file):
            return self._connection.execute(statement, values)


class KeysSource(Source, frozen=True):
    """The keys of a store's file that are not revoked, as MessagePack of PackedKeys."""

    local: ClassVar[bool] = True
    file: str

    async def once(self) -> bytes:
        """Nothing is made: a file that is not there has no keys."""
        if not Path(self.file).exists():
            return msgspec.msgpack.encode(pack([]))
        async with _opened(Path(self.file)) as (keys, clerk):
            return await _read(keys, clerk)

    async def run(self, publish: Publish, wanted: asyncio.Event, log: Log) -> None:  # noqa: ARG002 - the file is looked at too often for anyone to want more
        """See Source. A thread of its own reads: neither a slow disk nor a hundred thousand keys hold the supervisor up."""
        while True:
            try:
                await _follow(Path(self.file), publish)
            except GatewayError as error:
                log("error", "store-failed", file=self.file, reason=str(error), hint="keys that were read before go on")
                await asyncio.sleep(RETRY)


@asynccontextmanager
async def _opened(file: Path) -> AsyncIterator[tuple[Keys, Clerk]]:
    """The keys, for this clerk alone."""
    clerk = Clerk("keys")
    try:
        keys = await clerk.do(partial(Keys, file))
        try:
            yield keys, clerk
        finally:
            await clerk.do(keys.close)
    finally:
        clerk.dismiss()


async def _follow(file: Path, publish: Publish) -> None:
    """Until another file stands in its place."""
    async with _opened(file) as (keys, clerk):
        inode, version = await clerk.do(keys.version)
        publish(await _read(keys, clerk))
        while True:
            await asyncio.sleep(POLL)
            found = await clerk.do(keys.version)
            if found[0] != inode:
                return
            if found[1] != version:
                version = found[1]
                publish(await _read(keys, clerk))


async def _read(keys: Keys, clerk: Clerk) -> bytes:
    """PackedKeys as MessagePack; in turns: a fork waits until SQLite is done, but not for long (clerk.py)."""
    cursor = await clerk.do(keys.good)
    try:
        rows: list[Row] = []
        while turn := await clerk.do(partial(keys.turn, cursor)):
            rows += turn
        return await clerk.do(lambda: msgspec.msgpack.encode(pack(rows)))
    finally:
        await clerk.do(cursor.close)
