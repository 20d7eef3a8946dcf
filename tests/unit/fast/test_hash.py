from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gw._fast.hash import digest
from tests.reference import siphash

SEED = bytes(range(16))


@given(st.binary(max_size=300), st.binary(min_size=16, max_size=16))
def test_it_is_what_the_definition_says(key: bytes, seed: bytes) -> None:
    assert digest(key, seed) == siphash.digest(key, seed)


@pytest.mark.parametrize(
    ("length", "expected"),
    [(0, "e77ebcb22788a5befd62db6add303001"), (1, "fc6f370460d3eda85e0573cc2b2ff063"), (15, "c17e5505b2bd526c2921cdec1e7e0109")],
)
def test_vectors(length: int, expected: str) -> None:
    assert digest(bytes(range(length)), SEED).hex() == expected


def test_a_seed_of_the_wrong_length() -> None:
    with pytest.raises(ValueError, match="a seed has 16 bytes, not 15"):
        digest(b"", b"x" * 15)
