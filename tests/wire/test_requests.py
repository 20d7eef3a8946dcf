"""Every request case against the proxy: whole, byte at a time, and split at one place."""

from __future__ import annotations

import pytest

from tests.wire.cases import CASES
from tests.wire.model import Verdict
from tests.wire.run import MODES, judge, observe, refused

LAX_LIMIT = 15
verdicts: dict[str, Verdict] = {}


@pytest.mark.parametrize("name", CASES)
def test_request(bench, name: str) -> None:
    case = CASES[name]
    worst = Verdict("ok")
    for mode in MODES:
        outcome = bench.run(observe(case, bench.peer, bench.origin, mode))
        verdict = judge(case, outcome)
        worst = max(worst, Verdict(verdict.grade, f"[{mode}] {verdict.detail}"))
        assert not refused(case, outcome), f"a valid request is refused: [{mode}] {outcome.summary()}"
    verdicts[name] = worst
    assert worst.grade in ("ok", "lax"), f"{worst.grade}: {worst.detail}"


def test_lax_is_rare() -> None:
    lax = {name: verdict.detail for name, verdict in verdicts.items() if verdict.grade == "lax"}
    assert len(lax) <= LAX_LIMIT, lax
