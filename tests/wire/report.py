"""python -m tests.wire.report --peers gw,nginx,haproxy: the whole battery against each, as one table per part."""

from __future__ import annotations

import argparse
import asyncio
from collections import Counter, defaultdict
from collections.abc import AsyncIterator

from rich.console import Console
from rich.table import Table

from tests.wire import run, run_response
from tests.wire.cases import CASES
from tests.wire.model import ORDER, Verdict
from tests.wire.origin import Origin
from tests.wire.peers import PEERS, Job, Peer
from tests.wire.responses import CASES as RESPONSES
from tests.wire.scenarios import SCENARIOS, run_scenario

Result = tuple[str, str, str, Verdict]  # part, group, name, verdict


async def battery(peer: Peer, origin: Origin) -> AsyncIterator[Result]:
    for name, case in CASES.items():
        worst = Verdict("ok")
        for mode in run.MODES:
            outcome = await run.observe(case, peer, origin, mode)
            verdict = run.judge(case, outcome)
            note = "valid, refused: " if run.refused(case, outcome) else ""
            worst = max(worst, Verdict(verdict.grade, f"[{mode}] {note}{verdict.detail}"))
        yield "requests", case.group, name, worst
    for name, response in RESPONSES.items():
        worst = Verdict("ok")
        for mode in run_response.MODES:
            verdict = await run_response.run_response(response, peer, origin, mode)
            worst = max(worst, Verdict(verdict.grade, f"[{mode}] {verdict.detail}"))
        yield "responses", response.group, name, worst
    for name in SCENARIOS:
        yield "aborts and streams", "", name, await run_scenario(name, peer, origin)


async def measure(name: str) -> list[Result]:
    async with Origin() as origin:
        peer = PEERS[name](Job([origin.port]))
        await asyncio.to_thread(peer.start)
        try:
            return [result async for result in battery(peer, origin)]
        finally:
            peer.remove()


def table(part: str, results: dict[str, list[Result]]) -> Table:
    """One row per class; in the cells ok / lax / wrong / desync."""
    found = Table(title=f"{part}: ok / lax / wrong / desync", title_justify="left")
    found.add_column("class")
    rows: dict[str, dict[str, Counter[str]]] = defaultdict(lambda: defaultdict(Counter))
    for peer, listed in results.items():
        found.add_column(peer, justify="right")
        for here, group, _, verdict in listed:
            if here == part:
                rows[group or part][peer][verdict.grade] += 1
                rows["all"][peer][verdict.grade] += 1
    total = rows.pop("all")
    for group, cells in [*rows.items(), ("all", total)]:
        found.add_row(group, *(" / ".join(str(cells[peer][grade]) for grade in ORDER) for peer in results), style="bold" if group == "all" else None)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.wire.report", description=__doc__)
    parser.add_argument("--peers", default="gw,nginx,haproxy", help="which proxies, by name")
    parser.add_argument("--findings", action="store_true", help="list every case that is not ok")
    options = parser.parse_args()
    console = Console()
    results = {name: asyncio.run(measure(name)) for name in options.peers.split(",")}
    for part in ("requests", "responses", "aborts and streams"):
        console.print(table(part, results))
    refused = {name: sum("valid, refused" in verdict.detail for *_, verdict in listed) for name, listed in results.items()}
    console.print("valid requests refused: " + ", ".join(f"{name} {count}" for name, count in refused.items()))
    if options.findings:
        for name, listed in results.items():
            for _, _, case, verdict in listed:
                if verdict.grade != "ok":
                    console.print(f"{name} {verdict.grade}: {case}: {verdict.detail}", markup=False, soft_wrap=True)


if __name__ == "__main__":
    main()
