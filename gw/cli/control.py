"""`gw status`, `gw reload`, `gw stop`: ask the supervisor that runs a config."""

from __future__ import annotations

import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec

from gw.cli.console import Exit, complain, out, say, say_json, show_problems
from gw.cli.locate import config_path
from gw.errors import GatewayError, Problem
from gw.server.control import call

ANSWER_TIMEOUT = 5.0  # seconds for a question
RELOAD_TIMEOUT = 120.0  # seconds; a rollout gives its workers sixty
STOP_GRACE = 5.0  # seconds beyond the drain until we stop watching
POLL = 0.05  # seconds


def status(named: Path | None, as_json: bool) -> Exit:
    """Print what the running gw says about itself; 1 when it is not ready."""
    found = _ask(named, "status", ANSWER_TIMEOUT)
    if not isinstance(found, dict):
        return Exit.UNREACHABLE
    if as_json:
        say_json(found)
    else:
        _show_status(found)
    return Exit.OK if found["ready"] else Exit.PROBLEM


def reload(named: Path | None) -> Exit:
    """Ask for a reload and wait for its outcome."""
    found = _ask(named, "reload", RELOAD_TIMEOUT)
    if found is Exit.UNREACHABLE:
        return Exit.UNREACHABLE
    if found is None:
        complain("the running gw is starting or stopping and does not reload now")
        return Exit.PROBLEM
    show_problems(msgspec.convert(found["problems"], list[Problem]))
    if not found["ok"]:
        complain(f"the config was not taken; revision {found['revision']} stays in force")
        return Exit.PROBLEM
    out().print(f"[green]Revision {found['revision']}[/] is in force after {found['seconds']:.3f} s.")
    for change in found["restart"]:
        out().print(f"[yellow]Only a restart changes[/] {change}", markup=True)
    return Exit.OK


def stop(named: Path | None, drain: float | None) -> Exit:
    """Ask the running gw to end, and wait until it has."""
    found = _ask(named, "stop", ANSWER_TIMEOUT, seconds=drain)
    if not isinstance(found, dict):
        return Exit.UNREACHABLE
    deadline = time.monotonic() + found["seconds"] + STOP_GRACE
    while time.monotonic() < deadline:
        if not _alive(found["pid"]):
            out().print("Stopped.")
            return Exit.OK
        time.sleep(POLL)
    complain(f"process {found['pid']} still runs")
    return Exit.PROBLEM


def _ask(named: Path | None, question: str, timeout: float, **args: Any) -> Any:
    """The answer, or Exit.UNREACHABLE with a sentence printed."""
    path = config_path(named)
    try:
        return call(path, question, timeout, **args)
    except GatewayError as error:
        complain(str(error))
        return Exit.UNREACHABLE


def _alive(pid: int) -> bool:
    """A process that has ended and that its parent has not waited for yet (state Z) is not alive."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(") ")[2][:1] != "Z"


def _show_status(found: dict[str, Any]) -> None:
    from rich.table import Table
    from rich.text import Text

    state = "draining" if found["draining"] else "ready" if found["ready"] else "not ready"
    style = "bold green" if found["ready"] else "bold yellow"
    out().print(Text.assemble((state, style), f": gw {found['version']}, process {found['pid']}, up {timedelta(seconds=int(found['uptime']))}"))
    say(f"config     {found['config']}, revision {found['revision']}; reloads: {found['reloads']}, refused: {found['reload_failures']}")
    for listener in found["listeners"]:
        say(f"listener   {listener['address']}{' (TLS)' if listener['tls'] else ''}")
    say(f"admin      {found['admin'] or 'off'}")
    if found["shedding"]:
        say("memory     short: new work is refused")
    table = Table("worker", "process", "revision", "restarts", "connections", "exchanges", "requests", "tunnels", box=None, header_style="bold")
    for worker in found["workers"]:
        cells = [worker["slot"], worker["pid"] or "-", worker["revision"] or "-", worker["restarts"]]
        table.add_row(*map(str, [*cells, *(worker.get(name, "-") for name in ("connections", "exchanges", "requests", "tunnels"))]))
    out().print(table)
    if found["policies"]:
        _show_policies(found["policies"])


def _show_policies(policies: list[dict[str, Any]]) -> None:
    from rich.table import Table

    from gw._fast.shm import PHASES

    table = Table("policy", "hook", "calls", "p50", "p99", "over budget", "skipped", "", box=None, header_style="bold")
    for policy in policies:
        shown = [phase for phase in PHASES if policy[phase]["calls"]]
        for phase in shown:
            times = policy[phase]
            first = [str(policy["over"]), str(policy["skipped"]), f"quarantined in {policy['quarantined']} workers" if policy["quarantined"] else ""] if phase == shown[0] else []
            table.add_row(policy["name"], phase, str(times["calls"]), f"{times['p50_us'] / 1000:g} ms", f"{times['p99_us'] / 1000:g} ms", *first)
    if table.row_count:
        out().print(table)
