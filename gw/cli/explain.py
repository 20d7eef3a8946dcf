"""`gw explain`: what this config does with one request, and why."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from msgspec import Struct
from msgspec.structs import asdict

from gw.cli.console import Exit, complain, out, say, say_json, short
from gw.cli.locate import config_path
from gw.cli.show import destination, written_at
from gw.cli.snapshot import compiled
from gw.config import load
from gw.errors import GatewayError

if TYPE_CHECKING:
    from gw.config import Loaded
    from gw.runtime import Decision, Reply, Verdict


BYTES = ("forwarded", "forwarded_body", "answer")  # of a decision: shown when asked for


class Asked(Struct, frozen=True):
    """The request as it stands on the command line."""

    method: str
    url: str
    headers: list[str]  # `Name: value`
    client: str
    body: str | None  # text, or `@` and a file
    answer: Path | None  # what the endpoint answers, as `curl -i` prints it


class View(Struct, frozen=True):
    """How much `gw explain` shows, and in which form."""

    forwarded: bool  # the bytes too
    online: bool
    as_json: bool


def explain(asked: Asked, named: Path | None, view: View) -> Exit:
    """Print the decision; 1 when the request is refused."""
    loaded = load(config_path(named))
    try:
        decision = asyncio.run(_decided(loaded, asked, online=view.online))
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    if view.as_json:
        say_json(_plain(loaded, decision, view.forwarded))
    else:
        _show(loaded, decision, asked.url)
        if view.forwarded:
            _show_bytes(decision)
    return Exit.OK if decision.route >= 0 and not decision.reason else Exit.PROBLEM


async def _decided(loaded: Loaded, asked: Asked, *, online: bool) -> Decision:
    from gw.runtime import Engine

    fields = [_field(text) for text in asked.headers]
    body = None if asked.body is None else _read(Path(asked.body[1:])) if asked.body.startswith("@") else asked.body.encode()
    reply = _reply(asked.answer, _read(asked.answer)) if asked.answer else None
    store = loaded.config.store
    engine = Engine(*compiled(loaded), loaded.base / store.file if store and store.file else None)
    try:
        for error in await engine.supply(remote=online):
            complain(str(error))
        return await engine.ask(asked.method, asked.url, fields, asked.client, body=body, reply=reply)
    finally:
        engine.close()


def _field(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not name.strip():
        raise typer.BadParameter(f"'{text}' is not 'Name: value'", param_hint="-H")
    return name.strip(), value.strip()


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise GatewayError(f"cannot read {file}: {error.strerror}") from None


def _reply(file: Path, text: bytes) -> Reply:
    """Of what `curl -i` prints: the framing is gone from the body, whatever the head says, and so is what an interim answer said."""
    from gw.runtime import Reply

    head, *rest = re.split(rb"\r?\n\r?\n", text, maxsplit=1)
    body = b"".join(rest)
    first, *lines = head.decode("latin-1").split("\n")
    found = re.fullmatch(r"HTTP/[0-9.]+ ([1-5][0-9][0-9])( .*)?", first)
    if not found:
        raise GatewayError(f"{file} holds no answer: its first line is '{first[:40]}', expected one such as 'HTTP/1.1 200 OK'")
    if found[1][0] == "1":
        return _reply(file, body)
    fields = [(name.strip(), value.strip()) for name, _, value in (line.partition(":") for line in lines)]
    return Reply(int(found[1]), [each for each in fields if each[0].lower() not in ("transfer-encoding", "content-length")], body)


def _plain(loaded: Loaded, decision: Decision, forwarded: bool) -> dict[str, Any]:
    losers = [{"route": loser.route, "at": written_at(loaded, loser.route), "why": _placed(loaded, loser.why)} for loser in decision.losers]
    winner = {"at": written_at(loaded, decision.route), "to": destination(loaded.config.routes[decision.route])} if decision.route >= 0 else {}
    found = asdict(decision) | {"losers": losers, "verdicts": [_plain_verdict(loaded, each) for each in decision.verdicts], **winner}
    texts = {"forwarded": decision.forwarded.decode("latin-1"), "answer": decision.answer.decode("utf-8", "replace")} if forwarded else {}
    if forwarded and decision.forwarded_body is not None:
        texts["forwarded_body"] = decision.forwarded_body.decode("utf-8", "replace")
    return {name: value for name, value in found.items() if name not in BYTES} | texts


def _plain_verdict(loaded: Loaded, verdict: Verdict) -> dict[str, Any]:
    return {name: value for name, value in asdict(verdict).items() if name != "pointer"} | {"at": _at(loaded, verdict)}


def _at(loaded: Loaded, verdict: Verdict) -> str:
    """`file:line` of a policy; empty for what gw adds by itself."""
    at = loaded.where(verdict.pointer)
    return f"{short(at.file)}:{at.line}" if verdict.pointer else ""


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
    phase = "" if verdict.phase == "request" else f"{verdict.phase} "
    return f"{phase}{outcome}{f', {verdict.reason}' if verdict.reason else ''}{f': {verdict.told}' if verdict.told else ''}"


def _show_bytes(decision: Decision) -> None:
    """The request as the endpoint would get it, and the answer as the client would, as they are but for control characters."""
    for title, message in (("to the endpoint", decision.forwarded + (decision.forwarded_body or b"")), ("to the client", decision.answer)):
        if message:
            say(f"\n{title}:")
            for line in message.decode("utf-8", "backslashreplace").replace("\r\n", "\n").rstrip("\n").split("\n"):
                say("  " + "".join(each if each.isprintable() else repr(each)[1:-1] for each in line))


def _show_plan(loaded: Loaded, decision: Decision) -> None:
    route = loaded.config.routes[decision.route]
    lines = []
    if decision.params:
        lines.append(f"parameters  {', '.join(decision.params)}")
    lines.append(f"policies    {', '.join(decision.steps) or 'none'}")
    spoke = [each for each in decision.verdicts if each.told or each.reason or each.phase != "request"]
    lines += [f"  {each.policy:<12}{_verdict(each)}{f'  ({_at(loaded, each)})' if each.pointer else ''}" for each in spoke]
    if decision.identity:
        lines.append(f"caller      {', '.join(f'{name} {value}' for name, value in decision.identity.items())}")
    if route.service:
        service = loaded.config.services[route.service]
        addresses = [each if isinstance(each, str) else f"{each.address} (weight {each.weight})" for each in service.endpoints]
        lines.append(f"service     {route.service}, {service.balance} over {', '.join(addresses)}")
    for line in lines:
        out().print(line, markup=False, soft_wrap=True)
