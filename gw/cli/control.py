"""`gw status`, `gw reload`, `gw stop`: ask the supervisor that runs a config."""

from __future__ import annotations
