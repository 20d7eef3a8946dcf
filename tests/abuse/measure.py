"""Runs an attack beside a clean client and holds what happened against the marks."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
from dataclasses import dataclass

from tests.abuse.attacks import ATTACKS
from tests.faults.endpoint import Endpoint, FileEndpoint
from tests.faults.load import Client, Result
from tests.faults.rows import Bed
from tests.wire.peers import ROOT, Peer, memory

CLEAN_RATE = 50  # requests/s of the clean client
P99 = 0.25  # seconds
GROWTH = 64 * 1024 * 1024  # bytes
TIMEOUTS = {"head": 2.0, "idle": 2.0}  # seconds, as configured for these runs
MARGIN = {"head": 1.5, "idle": 3.0}  # seconds a time-out may be late; a body's begins anew while kernel buffers still take bytes


@dataclass
class Finding:
    figure: str
    problems: list[str]


async def watch_memory(peer: Peer, sizes: list[int]) -> None:
    while True:
        sizes.append(memory(peer.pids()))
        await asyncio.sleep(0.3)


async def measure(name: str, kind: str = "gw", seconds: float = 10) -> Finding:
    endpoint = FileEndpoint if name == "slow_read" and shutil.which("nginx") else Endpoint
    with Bed(kind, endpoint=endpoint).peer(workers=1, head_timeout=TIMEOUTS["head"], idle_timeout=TIMEOUTS["idle"], answer_timeout=3.0) as peer:
        await Client(peer.port, CLEAN_RATE).run(0.5)
        pids, sizes = peer.pids(), [memory(peer.pids())]
        watcher = asyncio.ensure_future(watch_memory(peer, sizes))
        attack = await asyncio.create_subprocess_exec(sys.executable, "-m", "tests.abuse.attacks", name, str(peer.port), str(seconds), stdout=asyncio.subprocess.PIPE, cwd=ROOT)
        result, (output, _) = await asyncio.gather(Client(peer.port, CLEAN_RATE).run(seconds + 1), attack.communicate())
        watcher.cancel()
        return judge(name, result, json.loads(output), max(sizes) - sizes[0], peer.pids() == pids)


def judge(name: str, result: Result, report: dict, growth: int, survived: bool) -> Finding:
    problems = []
    p99 = result.percentile(0.99)
    if result.failed or result.raced:
        problems.append(f"{len(result.failed)} clean requests failed, {result.raced} raced")
    if p99 > P99:
        problems.append("p99")
    if growth > GROWTH:
        problems.append("memory")
    if not survived:
        problems.append("a process died")
    figure = f"{report['opened']} connections, {report['sent'] / 1e6:.1f} MB; clean: {result.line()}; memory {growth / 1e6:+.1f} MB"
    holds = ATTACKS[name][1]
    if holds:
        figure += f"; held {report['longest']:.1f} s, {report['left']} left"
        if report["left"] or report["longest"] > TIMEOUTS[holds] + MARGIN[holds]:
            problems.append(f"not shed by the {holds} time-out")
    return Finding(figure, problems)
