"""`gw usage`: what quotas have counted, as the store has it: in its file, and in its Redis."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from gw.cli.console import complain, out, say_json
from gw.cli.locate import config_path
from gw.config import Loaded, load
from gw.errors import GatewayError
from gw.store import Line, Usage

BAR = 20  # characters


def usage(quota: str | None, key: str | None, as_json: bool, named: Path | None) -> int:
    """Print a line for each key that has used something of a quota; returns the exit code. Raises GatewayError without a store.

    What cannot be read of the store is told, and the rest of it shown.
    """
    sources = _sources(load(config_path(named)), quota, key)
    lines: list[Line] = []
    failures: list[GatewayError] = []
    for read in sources:
        try:
            lines += read()
        except GatewayError as error:
            failures.append(error)
    partly = len(failures) < len(sources)
    if partly:
        lines.sort(key=lambda line: (line.quota, line.key, line.window, line.store))
        if as_json:
            say_json([_plain(line) for line in lines])
        else:
            _show(lines)
    for failure in failures:
        complain(f"{failure}; what is counted there is not shown" if partly else str(failure))
    return 1 if failures else 0


def _sources(loaded: Loaded, quota: str | None, key: str | None) -> list[Callable[[], list[Line]]]:
    store = loaded.config.store
    if store is None:
        raise GatewayError("this config has no store that quotas are counted in. Add `store: {file: gw.db}`.")
    found: list[Callable[[], list[Line]]] = []
    if store.file is not None:
        found.append(partial(_in_file, loaded.base / store.file, quota, key))
    if store.redis is not None:
        from gw.store.redis_usage import RedisUsage

        found.append(partial(RedisUsage(store.redis, loaded.base).lines, quota, key))
    return found


def _in_file(file: Path, quota: str | None, key: str | None) -> list[Line]:
    counted = Usage(file)
    try:
        return [line for line in counted.lines() if quota in (None, line.quota) and key in (None, line.key)]
    finally:
        counted.end()


def _plain(line: Line) -> dict[str, Any]:
    resets = datetime.fromtimestamp(line.resets).astimezone().isoformat(timespec="seconds")
    return {
        "quota": line.quota,
        "key": line.key,
        "window": line.window,
        "store": line.store,
        "used": line.used,
        "limit": line.limit,
        "left": _left(line),
        "percent": _percent(line),
        "resets": resets,
    }


def _left(line: Line) -> int:
    return max(0, line.limit - line.used)


def _percent(line: Line) -> float:
    return round(100 * line.used / line.limit, 1)


def _show(lines: list[Line]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table("quota", "key", "window", "store", box=None, header_style="bold")
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
        names = [Text(each) for each in (line.quota, line.key, line.window, line.store)]
        table.add_row(*names, str(line.used), str(line.limit), str(_left(line)), f"{_percent(line):g}", *bar, back)
    out().print(table)
