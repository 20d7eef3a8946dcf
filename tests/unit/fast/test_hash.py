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
    [(0, "a3817f04ba25a8e66df67214c7550293"), (1, "da87c1d86b99af44347659119b22fc45"), (15, "5493e99933b0a8117e08ec0f97cfc3d9")],
)
def test_published_vectors(length: int, expected: str) -> None:
    assert digest(bytes(range(length)), SEED).hex() == expected


def test_a_seed_of_the_wrong_length() -> None:
    with pytest.raises(ValueError, match="a seed has 16 bytes, not 15"):
        digest(b"", b"x" * 15)
