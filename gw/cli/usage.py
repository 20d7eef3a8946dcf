"""`gw usage`: what quotas have counted, as the store has it."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

from gw.cli.console import out, say_json
from gw.cli.locate import config_path
from gw.config import load
from gw.errors import GatewayError
from gw.store import Line, Usage

BAR = 20  # characters


def usage(quota: str | None, key: str | None, as_json: bool, named: Path | None) -> None:
    """Print a line for each key that has used something of a quota. Raises GatewayError without a store."""
    loaded = load(config_path(named))
    store = loaded.config.store
    if store is None:
        raise GatewayError("this config has no store that quotas are counted in. Add `store: {file: gw.db}`.")
    if store.file is None:
        raise GatewayError("quotas of this config are counted in Redis, which `gw usage` does not read: it shows those in the store's file.")
    file = loaded.base / store.file
    lines = [line for line in _lines(file) if (quota is None or line.quota == quota) and (key is None or line.key == key)]
    if as_json:
        say_json([_plain(line) for line in lines])
    else:
        _show(lines)


def _lines(file: Path) -> list[Line]:
    counted = Usage(file)
    try:
        return counted.lines()
    finally:
        counted.end()


def _plain(line: Line) -> dict[str, Any]:
    resets = datetime.fromtimestamp(line.resets).astimezone().isoformat(timespec="seconds")
    return {"quota": line.quota, "key": line.key, "window": line.window, "used": line.used, "limit": line.limit, "left": _left(line), "percent": _percent(line), "resets": resets}


def _left(line: Line) -> int:
    return max(0, line.limit - line.used)


def _percent(line: Line) -> float:
    return round(100 * line.used / line.limit, 1)


def _show(lines: list[Line]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table("quota", "key", "window", box=None, header_style="bold")
    for name in ("used", "limit", "left", "%"):
        table.add_column(name, justify="right")
    if out().is_terminal:
        table.add_column("")
    table.add_column("all back")
    for line in lines:
        share = min(1.0, line.used / line.limit)
        style = "red" if share >= 1 else "yellow" if share >= 0.8 else "green"
        bar = [Text("█" * round(share * BAR) + "░" * (BAR - round(share * BAR)), style)] if out().is_terminal else []
        back = datetime.fromtimestamp(line.resets).isoformat(" ", "minutes")
        names = [Text(each) for each in (line.quota, line.key, line.window)]
        table.add_row(*names, str(line.used), str(line.limit), str(_left(line)), f"{_percent(line):g}", *bar, back)
    out().print(table)
