"""Callers: what they send to be known, and the store and the list of addresses in which gw knows them."""

from __future__ import annotations

import random
import sqlite3
import time
from contextlib import closing
from functools import cache
from ipaddress import IPv4Network
from pathlib import Path

from msgspec.structs import astuple

from benchmarks import tokens
from benchmarks.workloads import KEYS
from gw.store import Keys, StoredKey, hashed
from gw.store.keys import ALPHABET, COLUMNS, SECRET

STORE = "gw.db"
CONSUMERS = [f"consumer-{number:04d}" for number in range(1000)]
CLIENT = IPv4Network("127.0.0.1/32")


@cache
def fields(kind: str) -> list[str]:
    """What callers send, one request after the other: `keys`, or the algorithm of tokens."""
    if kind != "keys":
        return [f"Authorization: Bearer {token}" for token in tokens.issue(kind).tokens]
    texts = keys(KEYS)
    random.Random(0).shuffle(texts)  # neighbours in the store are none under load
    return [f"X-API-Key: {text}" for text in texts]


def keys(count: int) -> list[str]:
    """API keys in the order of their ids, the same ones each time."""
    chance = random.Random(count)
    return [f"gw_{number:012d}_{''.join(chance.choices(ALPHABET, k=SECRET))}" for number in range(count)]


def store(count: int, folder: Path) -> None:
    """Write a store with `count` keys into `folder`.

    `gw keys create` writes each key with a transaction of its own, which takes minutes for 100,000; this makes the same rows in one.
    """
    path = folder / STORE
    with closing(Keys(path)):
        pass  # the table is made
    now = int(time.time())
    rows = [StoredKey(f"{number:012d}", CONSUMERS[number % len(CONSUMERS)], hashed(text), now) for number, text in enumerate(keys(count))]
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executemany(f"INSERT INTO api_keys ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)", map(astuple, rows))


def blocks(count: int) -> list[str]:
    """`count` blocks that do not touch, so that none can be merged. The client of the load is in the last one, by address too."""
    return [*(f"{32 + index // 32768}.{index // 128 % 256}.{index % 128 * 2}.0/24" for index in range(count - 1)), str(CLIENT)]
