"""From a config to a snapshot that workers run, and the same snapshot asked offline what it would do.

Not here: swapping it in (gw.server), serving it (gw._fast). Start with compile.py.
"""

from gw._fast.snapshot import Snapshot
from gw.runtime.cases import CaseFile
from gw.runtime.compile import compile_snapshot, endpoint_key, route_key, route_name
from gw.runtime.explain import Decision, Engine, Loser, Reply, Verdict, decide
from gw.runtime.steps import loads_of, policy_key
from gw.runtime.trial import Coverage, Difference, Outcome, Trial, flaws, unused
from gw.runtime.warn import warnings

__all__ = [
    "CaseFile",
    "Coverage",
    "Decision",
    "Difference",
    "Engine",
    "Loser",
    "Outcome",
    "Reply",
    "Snapshot",
    "Trial",
    "Verdict",
    "compile_snapshot",
    "decide",
    "endpoint_key",
    "flaws",
    "loads_of",
    "policy_key",
    "route_key",
    "route_name",
    "unused",
    "warnings",
]
