"""Each attack for a few seconds; the full ones come from `python -m tests.abuse`."""

from __future__ import annotations

import asyncio

import pytest

from tests.abuse.attacks import ATTACKS
from tests.abuse.measure import measure


@pytest.mark.abuse
@pytest.mark.parametrize("name", ATTACKS)
def test_attack(name: str) -> None:
    finding = asyncio.run(measure(name, seconds=6 if ATTACKS[name][1] else 2))
    assert not finding.problems, finding.figure
