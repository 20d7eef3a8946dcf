"""Every request case, under a unique name."""

from __future__ import annotations

from tests.wire import requests_connection, requests_fields, requests_framing, requests_line
from tests.wire.model import Case

CASES: dict[str, Case] = {}
for case in (*requests_line.CASES, *requests_fields.CASES, *requests_framing.CASES, *requests_connection.CASES):
    key = f"{case.group}: {case.name}"
    if key in CASES:
        raise ValueError(f"two cases are called {key!r}")
    CASES[key] = case
