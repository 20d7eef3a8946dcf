"""The floor: a relay in C that parses nothing, beside gw and nginx. It shows which part of a ratio is the kernel's and open to nobody: `python -m benchmarks.floor [--publish]`."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from benchmarks import results
from benchmarks.servers import Unable
from benchmarks.workloads import Setup

SOURCE = Path(__file__).with_suffix(".c")
WORKLOADS = ["plain", "c512", "headers", "big", "upload"]


def command(setup: Setup, folder: Path, port: int, origin: int, _cpus: set[int]) -> list[str]:
    """Compile it into `folder`; the command that serves `port`. Raises Unable for workloads that ask for more than bytes passed on."""
    if setup != Setup():
        raise Unable(f"floor: it passes bytes on and nothing else; choose --workloads among {','.join(WORKLOADS)}")
    subprocess.run(["cc", "-O2", "-o", str(folder / "floor"), str(SOURCE)], check=True)
    return [str(folder / "floor"), str(port), str(origin)]


def main() -> int:
    from benchmarks import report, wire

    parser = argparse.ArgumentParser(prog="python -m benchmarks.floor", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3, help="of load per round and peer")
    parser.add_argument("--publish", action="store_true", help="write the table into benchmarks/README.md")
    options = parser.parse_args()
    result = wire.run(WORKLOADS, "nginx,floor,gw", options.rounds, options.seconds)
    text = markdown(result)
    print(text)
    if options.publish:
        report.fill(report.README, "floor", text)
    return 0


def markdown(result: results.Result) -> str:
    """CPU per request of all three, and what the floor and gw are to nginx."""
    from benchmarks import report

    floor, gw = ({row.name: row for row in results.verdicts(result, peer)} for peer in ("floor", "gw"))
    lines = [[gw[name].title, gw[name].reference, floor[name].judged, gw[name].judged, floor[name].ratio, gw[name].ratio] for name in result.workloads]
    return report.grid(["CPU µs per request", "nginx", "floor", "gw", "floor to nginx", "gw to nginx"], lines)


if __name__ == "__main__":
    sys.exit(main())
