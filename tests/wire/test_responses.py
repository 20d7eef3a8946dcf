"""Every response case against the proxy: the origin sends it whole and byte at a time."""

from __future__ import annotations

import pytest

from tests.wire.model import Verdict
from tests.wire.responses import CASES
from tests.wire.run_response import MODES, run_response

LAX_LIMIT = 5
verdicts: dict[str, Verdict] = {}


@pytest.mark.parametrize("name", CASES)
def test_response(bench, name: str) -> None:
    worst = Verdict("ok")
    for mode in MODES:
        verdict = bench.run(run_response(CASES[name], bench.peer, bench.origin, mode))
        worst = max(worst, Verdict(verdict.grade, f"[{mode}] {verdict.detail}"))
    verdicts[name] = worst
    assert worst.grade in ("ok", "lax"), f"{worst.grade}: {worst.detail}"


def test_lax_is_rare() -> None:
    lax = {name: verdict.detail for name, verdict in verdicts.items() if verdict.grade == "lax"}
    assert len(lax) <= LAX_LIMIT, lax
