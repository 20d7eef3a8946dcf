"""Known field names, in any case, and those only spelled like them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gw._fast import probe
from gw._fast.headers import NAMES, classify
from tests.reference.h1 import KNOWN

KINDS = [name for name in NAMES if name and not name.endswith("-")]


def test_the_names_of_the_oracle_are_those_of_the_kernel() -> None:
    assert set(KINDS) == KNOWN


@pytest.mark.parametrize("name", KINDS)
def test_known_names_in_any_case(name: str) -> None:
    for spelled in (name, name.upper(), name.title()):
        assert classify(spelled.encode()) == name
        if "-" in name:
            assert classify(spelled.replace("-", "_").encode()) == "!"
            assert classify(spelled.replace("-", "_", 1).encode()) == "!"


@given(st.text("abcdefghijklmnopqrstuvwxyzXF-_0", max_size=30))
def test_other_names_are_other(name: str) -> None:
    low = name.lower()
    dashed = low.replace("_", "-")
    expected = dashed if low in KNOWN else "!" if dashed in KNOWN else "x-forwarded-" if dashed.startswith("x-forwarded-") else ""
    assert classify(name.encode()) == expected


@given(st.sampled_from(KINDS), st.integers(0, 30), st.sampled_from("abz-_09"))
def test_a_name_one_letter_away_is_another(name: str, at: int, letter: str) -> None:
    near = name[: at % len(name)] + letter + name[at % len(name) + 1 :]
    assert classify(near.encode()) in (name, "!", "x-forwarded-") if near.replace("_", "-") in KNOWN or near.startswith("x-forwarded-") else classify(near.encode()) == ""


HEAD = b"GET / HTTP/1.1\r\nHost: h\r\nX-A: 1\r\nx-a: 2\r\nX_Real_IP: 3\r\nX_A: 4\r\n\r\n"


def test_finding_by_name() -> None:
    assert probe.find(HEAD, b"host") == 0
    assert [probe.find(HEAD, b"x-a", start) for start in range(4)] == [1, 1, 2, -1]
    assert probe.find(HEAD, b"x-real-ip") == -1
    assert probe.find(HEAD, b"x_real_ip") == -1  # spelled like a known name: it is never believed
    assert probe.find(HEAD, b"x_a") == 4
    assert probe.find(HEAD, b"x-") == -1
    with pytest.raises(ValueError, match="not one whole head"):
        probe.find(HEAD[:-1], b"host")
