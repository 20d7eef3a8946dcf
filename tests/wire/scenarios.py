"""Every scenario, by name."""

from __future__ import annotations

from tests.wire import aborts, streams  # noqa: F401  their scenarios register themselves
from tests.wire.scenario import SCENARIOS, run_scenario

__all__ = ["SCENARIOS", "run_scenario"]
