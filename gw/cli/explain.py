"""`gw explain`: what this config does with one request, and why."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from msgspec.structs import asdict

from gw.cli.console import Exit, out, say_json
from gw.cli.locate import config_path
from gw.cli.show import destination, written_at
from gw.cli.snapshot import compiled
from gw.config import load

if TYPE_CHECKING:
    from gw.config import Loaded
    from gw.runtime import Decision, Verdict


def explain(method: str, url: str, headers: list[str], named: Path | None, client: str, as_json: bool) -> Exit:
    """Print the decision; 1 when the request is refused."""
    from gw.runtime import decide

    loaded = load(config_path(named))
    fields = [_field(text) for text in headers]
    try:
        decision = decide(*compiled(loaded), method, url, fields, client)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    if as_json:
        say_json(_plain(loaded, decision))
    else:
        _show(loaded, decision, url)
    return Exit.OK if decision.route >= 0 and not decision.reason else Exit.PROBLEM


def _field(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not name.strip():
        raise typer.BadParameter(f"'{text}' is not 'Name: value'", param_hint="-H")
    return name.strip(), value.strip()


def _plain(loaded: Loaded, decision: Decision) -> dict[str, Any]:
    losers = [{"route": loser.route, "at": written_at(loaded, loser.route), "why": _placed(loaded, loser.why)} for loser in decision.losers]
    winner = {"at": written_at(loaded, decision.route), "to": destination(loaded.config.routes[decision.route])} if decision.route >= 0 else {}
    found = asdict(decision) | {"losers": losers, "verdicts": [asdict(each) for each in decision.verdicts], **winner}
    return {name: value for name, value in found.items() if not isinstance(value, bytes)}


def _show(loaded: Loaded, decision: Decision, url: str) -> None:
    from rich.table import Table
    from rich.text import Text

    out().print(Text.assemble((f"{decision.method} {decision.path or url}", "bold"), f"  host {decision.host or '-'}, client {decision.client}"))
    table = Table(box=None, show_header=False)
    if decision.route >= 0:
        route = loaded.config.routes[decision.route]
        table.add_row(Text("wins", "bold green"), _name(loaded, decision.route), Text(f"-> {destination(route)}"))
    else:
        sentence = f"{decision.status} {decision.reason}{f': {decision.detail}' if decision.detail else ''}"
        table.add_row(Text("refused", "bold red"), Text(""), Text(sentence))
    for loser in decision.losers:
        table.add_row(Text("loses", "yellow"), _name(loaded, loser.route), Text(_placed(loaded, loser.why)))
    out().print(table)
    if decision.route >= 0:
        _show_plan(loaded, decision)


def _placed(loaded: Loaded, why: str) -> str:
    """The reason with routes named by where they stand rather than by their number."""
    return re.sub(r"\broute (\d+)\b", lambda found: f"the route at {written_at(loaded, int(found[1]))}", why)


def _name(loaded: Loaded, index: int) -> Any:
    from rich.text import Text

    from gw.runtime.compile import route_name

    return Text(f"{route_name(loaded.config.routes[index])}  ({written_at(loaded, index)})")


def _verdict(verdict: Verdict) -> str:
    outcome = {"pass": "passes", "next": "refuses, the next alternative is tried", "answer": "answers"}[verdict.verdict]
    return f"{outcome}{f', {verdict.reason}' if verdict.reason else ''}{f': {verdict.told}' if verdict.told else ''}"


def _show_plan(loaded: Loaded, decision: Decision) -> None:
    route = loaded.config.routes[decision.route]
    lines = []
    if decision.params:
        lines.append(f"parameters  {', '.join(decision.params)}")
    lines.append(f"policies    {', '.join(decision.steps) or 'none'}")
    lines += [f"  {each.policy:<12}{_verdict(each)}" for each in decision.verdicts if each.told or each.reason]
    if decision.identity:
        lines.append(f"caller      {', '.join(f'{name} {value}' for name, value in decision.identity.items())}")
    if route.service:
        service = loaded.config.services[route.service]
        addresses = [each if isinstance(each, str) else f"{each.address} (weight {each.weight})" for each in service.endpoints]
        lines.append(f"service     {route.service}, {service.balance} over {', '.join(addresses)}")
    for line in lines:
        out().print(line, markup=False, soft_wrap=True)
