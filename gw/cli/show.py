"""`gw schema`, `gw routes`, `gw policies`: what this gw understands, and what a config compiles to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from gw.cli.console import out, say


def say_json(value: Any) -> None:
    """Indented, one value."""
    say(msgspec.json.format(msgspec.json.encode(value)).decode())


def schema(reference: bool) -> None:
    """Print the JSON Schema of the config, or the reference in Markdown."""
    from gw import config

    if reference:
        say(config.reference())
    else:
        say_json(config.schema())
