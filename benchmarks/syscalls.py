"""System calls per plain request under load, counted by strace: `python -m benchmarks.syscalls [--peers nginx,gw] [--publish]`."""

from __future__ import annotations

import argparse
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from benchmarks import load, machine, measure, peers, report
from benchmarks import workloads as table

ATTACH_SECONDS = 1.0
LEAST = 0.001  # calls per request that are still listed


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.syscalls", description=__doc__)
    parser.add_argument("--peers", default="nginx,gw", help="as for benchmarks.wire")
    parser.add_argument("--seconds", type=float, default=2, help="of load on each")
    parser.add_argument("--publish", action="store_true", help="write the table into benchmarks/README.md")
    options = parser.parse_args()
    if shutil.which("strace") is None:
        sys.exit("benchmarks.syscalls: strace is missing (Debian: apt-get install strace)")
    commands = peers.resolve(options.peers)
    rig = measure.Rig(commands, machine.cores(), print)
    try:
        found = {peer: calls(rig, peer, options.seconds) for peer in commands}
    finally:
        rig.close()
    text = markdown(found)
    print(text)
    if options.publish:
        report.fill(report.README, "syscalls", text)
    return 0


def calls(rig: measure.Rig, peer: str, seconds: float) -> dict[str, float]:
    """Calls per request of all processes of `peer`, by name; tracing slows them down, so that more events share a wait than at full speed."""
    workload = table.BY_NAME["plain"]
    server = rig.proxy(peer, "syscalls", workload.setup, {rig.proxy_core}, rig.origin({rig.load_core}))
    try:
        url = f"http://127.0.0.1:{server.port}"
        load.wrk(workload.load, url, 1, [rig.load_core], [])  # the pool to the origin is filled
        summary = rig.folder / f"{peer}.strace"
        tracer = subprocess.Popen(["strace", "-f", "-c", "-o", str(summary), *(f"-p{pid}" for pid in server.pids())], stderr=subprocess.DEVNULL)
        time.sleep(ATTACH_SECONDS)
        outcome = load.wrk(workload.load, url, seconds, [rig.load_core], [])
        tracer.send_signal(signal.SIGINT)
        tracer.wait()
        return {name: count / outcome.requests for name, count in _counts(summary).items()}
    finally:
        server.stop()


def markdown(found: dict[str, dict[str, float]]) -> str:
    """One line a call, the most frequent first."""
    names = sorted({name for each in found.values() for name in each}, key=lambda name: -max(each.get(name, 0) for each in found.values()))
    lines = [[f"`{name}`", *(f"{each.get(name, 0):.3f}" for each in found.values())] for name in names if max(each.get(name, 0) for each in found.values()) >= LEAST]
    total = ["all", *(f"{sum(each.values()):.2f}" for each in found.values())]
    return report.grid(["system calls per plain request", *found], [total, *lines])


def _counts(summary: Path) -> dict[str, int]:
    """Columns of `strace -c`: share, seconds, µs per call, calls, errors (often blank), name."""
    rows = re.findall(r"^\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+)\s+(?:\d+\s+)?(\w+)$", summary.read_text(), re.MULTILINE)
    return {name: int(count) for count, name in rows if name != "total"}


if __name__ == "__main__":
    sys.exit(main())
