"""Keys of callers by their hash, against a dictionary."""

from __future__ import annotations

import hashlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gw._fast.api_keys import RECORD_SIZE, ApiKeys

RECORD = struct.Struct("<32sqII")
Entry = tuple[bytes, str, int | None, int]  # key, id, consumer, expiry
ENTRIES = st.lists(st.tuples(st.binary(max_size=80), st.text(max_size=6), st.sampled_from([0, 1, 7, None]), st.integers(0, 2**40)), max_size=40)
CONSUMERS: list[int | None] = [None, 0, 1, 7]


def part(entries: list[Entry]) -> tuple[bytes, bytes, list[int | None]]:
    records = b"".join(RECORD.pack(hashlib.sha256(key).digest(), expires, CONSUMERS.index(consumer), len(name.encode())) for key, name, consumer, expires in entries)
    return records, "".join(name for _, name, _, _ in entries).encode(), CONSUMERS


def test_the_record_is_the_one_of_the_store() -> None:
    assert RECORD.size == RECORD_SIZE


@given(ENTRIES, ENTRIES, st.lists(st.binary(max_size=80), max_size=5))
def test_it_finds_what_a_dictionary_finds(first: list[Entry], second: list[Entry], others: list[bytes]) -> None:
    keys = ApiKeys()
    keys.fill([part(first), part(second)], whole=True)
    expected: dict[bytes, tuple[str, int, int]] = {}
    for key, name, consumer, expires in [*first, *second]:
        if consumer is not None:
            expected.setdefault(key, (name, consumer, expires))
    assert len(keys) == len(expected)
    for key in [*others, *(entry[0] for entry in [*first, *second])]:
        assert keys.find(key) == expected.get(key)


def test_filling_replaces_everything() -> None:
    keys = ApiKeys()
    assert repr(keys) == "<ApiKeys 0, the store has not been read>"
    keys.fill([part([(b"old", "1", 0, 0)])], whole=False)
    keys.fill([part([(b"new", "2", 1, 5)])], whole=True)
    assert keys.find(b"old") is None
    assert keys.find(b"new") == ("2", 1, 5)
    assert repr(keys) == "<ApiKeys 1>"


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        ((b"x" * 47, b"", [0]), "a record of keys has 48 bytes"),
        ((RECORD.pack(b"", 0, 1, 0), b"", [0]), "record 0 of keys names what is not there"),
        ((RECORD.pack(b"", 0, 0, 2), b"x", [0]), "record 0 of keys names what is not there"),
    ],
)
def test_records_that_do_not_fit_leave_the_keys_as_they_are(broken: tuple[bytes, bytes, list[int | None]], message: str) -> None:
    keys = ApiKeys()
    keys.fill([part([(b"k", "1", 0, 0)])], whole=True)
    with pytest.raises(ValueError, match=message):
        keys.fill([broken], whole=True)
    assert keys.find(b"k") == ("1", 0, 0)
