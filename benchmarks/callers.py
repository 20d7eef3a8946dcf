"""Callers known by an API key or by their address: as many as a gateway in use may have, and where gw and the load find them."""

from __future__ import annotations

import random
import sqlite3
import time
from contextlib import closing
from ipaddress import IPv4Network
from pathlib import Path

from gw.store import Keys, StoredKey, hashed
from gw.store.keys import ALPHABET, COLUMNS, SECRET

STORE = "gw.db"
CREDENTIALS = "credentials.txt"  # what the load sends, a header field a line
CONSUMERS = [f"consumer-{number:04d}" for number in range(1000)]
CLIENT = IPv4Network("127.0.0.1/32")


def store(count: int, folder: Path) -> None:
    """Write a store with `count` keys into `folder`, and the keys as the load sends them.

    `gw keys create` writes each key with a transaction of its own, which takes minutes for 100,000; this makes the same rows in one.
    """
    path = folder / STORE
    with closing(Keys(path)):
        pass  # the table is made
    chance, now = random.Random(count), int(time.time())
    texts = [f"gw_{number:012d}_{''.join(chance.choices(ALPHABET, k=SECRET))}" for number in range(count)]
    rows = [StoredKey(f"{number:012d}", CONSUMERS[number % len(CONSUMERS)], hashed(text), now) for number, text in enumerate(texts)]
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executemany(f"INSERT INTO api_keys ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)", [(row.id, row.consumer, row.hash, row.created, None, None) for row in rows])
    chance.shuffle(texts)
    write(folder, [f"X-API-Key: {text}" for text in texts])


def write(folder: Path, fields: list[str]) -> None:
    """Fields for the load to send, one request after the other."""
    (folder / CREDENTIALS).write_text("".join(f"{field}\n" for field in fields))


def blocks(count: int) -> list[str]:
    """`count` blocks that do not touch, so that none can be merged. The client of the load is in the last one, by address too."""
    return [*(f"{32 + index // 32768}.{index // 128 % 256}.{index % 128 * 2}.0/24" for index in range(count - 1)), str(CLIENT)]
