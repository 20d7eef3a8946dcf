"""Every scenario with two live ends against the proxy."""

from __future__ import annotations

import pytest

from tests.wire.scenarios import SCENARIOS, run_scenario


@pytest.mark.parametrize("name", SCENARIOS)
def test_scenario(bench, name: str) -> None:
    verdict = bench.run(run_scenario(name, bench.peer, bench.origin))
    assert verdict.grade == "ok", f"{verdict.grade}: {verdict.detail}"
