"""CPU per request of gw beside its peers, over real sockets: `python -m benchmarks.wire [--workloads plain,tls] [--rounds 5] [--seconds 3] [--publish]`."""

from __future__ import annotations

import argparse
import sys
import time
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from statistics import median

from rich.console import Console

from benchmarks import machine, measure, peers, report, results
from benchmarks import workloads as table

IDLE_ROUNDS = 3
TICKS_TOLERANCE = 0.05
FOREIGN_TOLERANCE = 0.03
DEFAULT = ",".join(table.RIVALS)


def main() -> int:
    """Exit code 1 when a mark is missed or a peer answered with errors."""
    options = _options()
    console = Console(width=None if sys.stdout.isatty() else 150)
    started = time.monotonic()
    result = run(options.wanted, options.peers, options.rounds, options.seconds, console)
    report.show(result, console)
    path = results.save(result, options.out)
    console.print(f"{path} ({time.monotonic() - started:.0f} s)")
    for line in doubts(result):
        console.print(f"[yellow]doubt:[/] {line}")
    if options.publish:
        report.publish(result)
    return int(any(row.passed is False for row in results.verdicts(result, results.judged(result))))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.wire", description=__doc__)
    parser.add_argument("--workloads", default=",".join(table.NAMES), help="comma separated; those of one group run together (default: all)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3, help="of load per round and peer")
    parser.add_argument("--peers", default="", help=f"label=peer or label=module:function, comma separated, the first is the reference (default: of {DEFAULT} those in the table)")
    parser.add_argument("--out", type=Path, default=machine.ROOT / "benchmarks" / "results", help="folder for the result")
    parser.add_argument("--publish", action="store_true", help="write tables and charts into the README files")
    options = parser.parse_args()
    options.wanted = options.workloads.split(",")
    if unknown := set(options.wanted) - set(table.NAMES):
        parser.error(f"unknown workloads {', '.join(sorted(unknown))}: there are {', '.join(table.NAMES)}")
    if options.publish and set(options.wanted) != set(table.NAMES):
        parser.error("--publish needs all workloads: the tables and charts show one run")
    return options


def run(wanted: list[str], text: str, rounds: int, seconds: float, console: Console | None = None) -> results.Result:
    """Measure the workloads `wanted` on the peers of `text`, as --peers takes them; "": those of the table."""
    console = console or Console(stderr=True)
    commands = peers.resolve(text or DEFAULT)
    wanted = [*wanted, *(base for name in wanted if name in table.BY_NAME for base, _ in table.BY_NAME[name].over)]  # what is compared runs in the same rounds
    described = {"rounds": str(rounds), "seconds": f"{seconds:g}"}
    result = results.Result(datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"), machine.facts(), described, list(commands))
    rig = measure.Rig(commands, machine.cores(), console.print, chosen=bool(text))
    try:
        for _, members in groupby((workload for workload in table.WORKLOADS if workload.name in wanted), key=lambda workload: workload.group or workload.name):
            group = list(members)
            console.print(f"{', '.join(workload.name for workload in group)} ...")
            measure.measure_group(rig, group, result, rounds, seconds)
        if table.IDLE in wanted:
            console.print(f"{table.IDLE} ...")
            measure.measure_idle(rig, result, min(rounds, IDLE_ROUNDS))
        if table.TAIL in wanted:
            measure.measure_tail(rig, result, rounds, seconds)
    finally:
        rig.close()
    result.absent, result.peers = rig.absent, [peer for peer in commands if peer not in rig.absent]
    return result


def doubts(result: results.Result) -> list[str]:
    """What makes a figure of this run suspect."""
    found = [f"{peer} is absent: {why}" for peer, why in result.absent.items()]
    for name, cells in [*result.workloads.items(), *result.tail.items()]:
        for peer, series in cells.items():
            if series.errors:
                found.append(f"{name}, {peer}: {series.errors} errors in {series.requests} requests")
            if series.cpu and abs(sum(series.ticks) / sum(series.cpu) - 1) > TICKS_TOLERANCE:
                found.append(f"{name}, {peer}: stat and schedstat differ by more than {TICKS_TOLERANCE:.0%}")
            if series.logged and series.logged < 0.99:
                found.append(f"{name}, {peer}: only {series.logged:.1%} of the requests were logged")
    disturbed = [
        f"{name} {peer} {median(series.foreign):.0%}"
        for name, cells in [*result.workloads.items(), *result.tail.items()]
        for peer, series in cells.items()
        if median(series.foreign) > FOREIGN_TOLERANCE
    ]
    if disturbed:
        found.append(f"something else used the two cores: {', '.join(disturbed)}")
    for label, cells in result.tail.items():
        offered = float(label.partition("(")[2].split()[0].replace(",", ""))
        found += [f"{label}, {peer}: only {min(series.rate):,.0f} requests/s were sent" for peer, series in cells.items() if min(series.rate) < 0.97 * offered]
    return found


if __name__ == "__main__":
    sys.exit(main())
