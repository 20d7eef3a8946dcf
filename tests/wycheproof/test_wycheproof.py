"""GW_WYCHEPROOF=path of a checkout runs its vectors; without it there is nothing to run."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.wycheproof.vectors import Outcome, run

CHECKOUT = os.environ.get("GW_WYCHEPROOF")

# Called valid, and refused here: the keys of 346 and 350 are for PS256 and their tokens say PS384, and one key has one algorithm; those of 347 and
# 351 are for `ES521`, which is none (RFC 7518 has ES512); 372 and 373 have a '?' in their text, which is not base64url.
REFUSED = {346, 347, 350, 351, 372, 373}


@pytest.fixture(scope="module")
def outcomes() -> list[Outcome]:
    if CHECKOUT is None:
        pytest.skip("GW_WYCHEPROOF is not set")
    return list(run(Path(CHECKOUT)))


def test_nothing_is_wrongly_accepted(outcomes: list[Outcome]) -> None:
    assert [each for each in outcomes if each.wrongly_accepted] == []
    # the same text as 357, which is valid: https://github.com/C2SP/wycheproof/issues/236
    assert {each.number for each in outcomes if each.contradicted} == {367, 370}


def test_what_is_valid_is_accepted(outcomes: list[Outcome]) -> None:
    assert {each.number for each in outcomes if each.valid and each.verdict != "ok"} == REFUSED
