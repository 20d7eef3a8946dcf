"""Each fault with short settings; the full ones come from `python -m tests.faults`."""

from __future__ import annotations

import asyncio

import pytest

from tests.faults import loss  # noqa: F401  its row registers itself
from tests.faults.rows import ROWS, Bed


@pytest.mark.fault
@pytest.mark.parametrize("name", ROWS)
def test_fault(name: str) -> None:
    function, mark = ROWS[name]
    row = asyncio.run(function(Bed(short=True)))
    if row.passed is None:
        pytest.skip(row.figure)
    assert row.passed, f"{row.figure}; the mark is: {mark}"
