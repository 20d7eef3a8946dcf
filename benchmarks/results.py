"""What a run found, as it is kept in results/, and the verdicts drawn from it."""

from __future__ import annotations

from pathlib import Path
from statistics import median

import msgspec
from msgspec import Struct, field

from benchmarks import workloads as table

JUDGED = "gw"


class Series(Struct):
    """One peer on one workload, one entry a round. CPU in µs per request, times in ms, memory in bytes."""

    cpu: list[float] = field(default_factory=list)
    ticks: list[float] = field(default_factory=list)  # the same CPU by the 10 ms ticks of stat, as a cross-check
    user: list[float] = field(default_factory=list)  # share of user time, by ticks
    rate: list[float] = field(default_factory=list)
    p50: list[float] = field(default_factory=list)
    p99: list[float] = field(default_factory=list)
    errors: int = 0
    requests: int = 0
    pss: int = 0
    rss: int = 0
    foreign: list[float] = field(default_factory=list)  # share of both cores that neither proxy, origin nor load used
    logged: float = 0.0  # access log lines per request, where the workload logs


class Result(Struct):
    """One run of `benchmarks.wire`. The first peer is the reference of every ratio."""

    date: str
    machine: dict[str, str]
    options: dict[str, str]
    peers: list[str]
    workloads: dict[str, dict[str, Series]] = field(default_factory=dict)  # workload, peer
    idle: dict[str, list[float]] = field(default_factory=dict)  # peer -> bytes of PSS per idle connection
    tail: dict[str, dict[str, Series]] = field(default_factory=dict)  # "plain at 40 %" -> peer


class Row(Struct):
    """One line of a table: a figure of the reference and of the judged peer, their ratio, and the mark."""

    name: str
    title: str
    reference: str
    judged: str
    ratio: str
    mark: str
    passed: bool | None  # None: no mark


def load(path: Path) -> Result:
    return msgspec.json.decode(path.read_bytes(), type=Result)


def save(result: Result, folder: Path) -> Path:
    """Write results/<date>-<commit>.json; a later run of the same day and commit replaces it."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{result.date[:10]}-{result.machine['gw'].replace('+', '-dirty')}.json"
    path.write_bytes(msgspec.json.format(msgspec.json.encode(result), indent=1) + b"\n")
    return path


def ratios(judged: list[float], reference: list[float]) -> tuple[float, float]:
    """Median of the ratios round by round (a slow minute hits both of a round), and half the width of their range."""
    each = [one / other for one, other in zip(judged, reference, strict=True)]
    return median(each), (max(each) - min(each)) / 2


def verdicts(result: Result, peer: str) -> list[Row]:
    """Every line of the table for `peer` beside the reference. The marks are gw's: for another peer nothing passes or fails."""
    rows = [_cpu_row(workload, result, peer) for workload in table.WORKLOADS if workload.name in result.workloads]
    rows += [*_scaling_rows(result, peer), *_idle_rows(result, peer), *_tail_rows(result, peer)]
    if peer != JUDGED:
        for row in rows:
            row.mark, row.passed = "", None
    return rows


def _cpu_row(workload: table.Workload, result: Result, peer: str) -> Row:
    found = result.workloads[workload.name]
    reference, judged = found[result.peers[0]], found[peer]
    ratio, spread = ratios(judged.cpu, reference.cpu)
    mark = workload.mark or None
    clean = judged.errors == 0
    return Row(
        workload.name,
        workload.title,
        _figure(median(reference.cpu)),
        _figure(median(judged.cpu)) + ("" if clean else f" ({judged.errors} errors)"),
        f"{ratio:.2f} ± {spread:.2f}",
        f"<= {mark:.2f}" if mark else "",
        (ratio <= mark and clean) if mark else None,
    )


def _scaling_rows(result: Result, peer: str) -> list[Row]:
    """gw against itself: more routes, more workers."""
    found = result.workloads
    rows = []
    if {"routes1k", "routes10k"} <= found.keys():
        rows.append(_self_row("routes10k/1k", "10,000 routes to 1,000: CPU per request", result, peer, ("routes10k", "routes1k"), table.ROUTES_MARK))
    if {"workers1", "workers2"} <= found.keys():
        rows.append(_self_row("workers2/1", "two workers to one: CPU per request", result, peer, ("workers2", "workers1"), table.WORKERS_MARK))
    return rows


def _self_row(name: str, title: str, result: Result, peer: str, pair: tuple[str, str], mark: float) -> Row:
    def ratio_of(which: str) -> float:
        more, less = (result.workloads[each][which].cpu for each in pair)
        return ratios(more, less)[0]

    judged = ratio_of(peer)
    return Row(name, title, f"{ratio_of(result.peers[0]):.2f}", f"{judged:.2f}", "", f"<= {mark:.2f}", judged <= mark)


def _idle_rows(result: Result, peer: str) -> list[Row]:
    if not result.idle:
        return []
    reference, judged = (median(result.idle[each]) / 1024 for each in (result.peers[0], peer))
    title = f"{table.IDLE_CONNECTIONS:,} idle keep-alive connections: KB each"
    return [Row(table.IDLE, title, f"{reference:.2f}", f"{judged:.2f}", "", f"<= {table.IDLE_MARK:.2f}", judged <= table.IDLE_MARK)]


def _tail_rows(result: Result, peer: str) -> list[Row]:
    rows = []
    for name, found in result.tail.items():
        reference, judged = (median(found[each].p99) for each in (result.peers[0], peer))
        ratio, spread = ratios(found[peer].p99, found[result.peers[0]].p99)
        passed = ratio <= table.TAIL_MARK
        rows.append(Row(table.TAIL, f"p99 in ms, {name}", f"{reference:.2f}", f"{judged:.2f}", f"{ratio:.2f} ± {spread:.2f}", f"<= {table.TAIL_MARK:.2f}", passed))
    return rows


def _figure(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}"
