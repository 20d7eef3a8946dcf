"""`gw schema`, `gw routes`, `gw policies`: what this gw understands, and what a config compiles to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from gw.cli.console import out, say
