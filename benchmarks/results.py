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
    absent: dict[str, str] = field(default_factory=dict)  # peer -> why it could not be measured


class Row(Struct):
    """One line of a table: figures of the reference and of the judged peer, their ratio, and the mark."""

    name: str
    title: str
    reference: str
    judged: str
    ratio: str
    mark: str
    passed: bool | None  # None: no mark
    others: dict[str, str] = field(default_factory=dict)  # further peers, with their ratio to the reference


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


def judged(result: Result) -> str:
    """The peer that the table is about: gw, or the last one."""
    return JUDGED if JUDGED in result.peers[1:] else result.peers[-1]


def others(result: Result, peer: str) -> list[str]:
    """Neither the reference nor `peer`."""
    return [each for each in result.peers[1:] if each != peer]


def verdicts(result: Result, peer: str) -> list[Row]:
    """Every line of the table for `peer` beside the reference. The marks are gw's: for another peer nothing passes or fails."""
    rows = []
    for workload in table.WORKLOADS:
        found = result.workloads.get(workload.name, {})
        if peer in found:
            rows.append(_cpu_row(workload, result, peer))
        rows += [_over_row(workload, base, mark, result, peer) for base, mark in workload.over if peer in found and peer in result.workloads.get(base, {})]
        if workload.second and {workload.second[0], peer} <= found.keys() and peer == JUDGED:
            rows.append(_second_row(workload, result, *workload.second))
    rows += [*_scaling_rows(result, peer), *_idle_rows(result, peer), *_tail_rows(result, peer)]
    if peer != JUDGED:
        for row in rows:
            row.mark, row.passed = "", None
    return rows


def _cpu_row(workload: table.Workload, result: Result, peer: str) -> Row:
    found = result.workloads[workload.name]
    reference, cpu = found.get(result.peers[0]), found[peer].cpu
    mark, clean = workload.mark or None, found[peer].errors == 0
    row = Row(workload.name, workload.title, "", _figure(median(cpu)) + ("" if clean else f" ({found[peer].errors} errors)"), "", "", None)
    if reference is None:
        return row
    ratio, spread = ratios(cpu, reference.cpu)
    row.reference, row.ratio = _figure(median(reference.cpu)), f"{ratio:.2f} ± {spread:.2f}"
    row.others = {each: f"{_figure(median(found[each].cpu))} ({ratios(found[each].cpu, reference.cpu)[0]:.2f})" for each in others(result, peer) if each in found}
    if mark:
        row.mark, row.passed = f"<= {mark:.2f}", ratio <= mark and clean
    return row


def _over_row(workload: table.Workload, base: str, mark: float, result: Result, peer: str) -> Row:
    """What the workload costs more than `base`, round by round, on the same peer."""
    plain, found = result.workloads[base], result.workloads[workload.name]

    def more(which: str) -> list[float]:
        return [one - other for one, other in zip(found[which].cpu, plain[which].cpu, strict=True)]

    both = [each for each in result.peers if each in plain and each in found]
    figures = {each: f"{median(more(each)):+.2f}" for each in both}
    over = more(peer)
    return Row(
        f"{workload.name} over {base}",
        f"µs more than {base} in the same round",
        figures.get(result.peers[0], ""),
        f"{figures[peer]} ± {(max(over) - min(over)) / 2:.2f}",
        "",
        f"<= {mark:.2f}" if mark else "",
        (median(over) <= mark and found[peer].errors == 0) if mark else None,
        {each: figures[each] for each in others(result, peer) if each in figures},
    )


def _second_row(workload: table.Workload, result: Result, second: str, mark: float) -> Row:
    found = result.workloads[workload.name]
    ratio, spread = ratios(found[JUDGED].cpu, found[second].cpu)
    figure = _figure(median(found[JUDGED].cpu))
    shown = {second: _figure(median(found[second].cpu))}
    passed = ratio <= mark and found[JUDGED].errors == 0
    return Row(f"{workload.name} to {second}", f"the same, beside {second}", "", figure, f"{ratio:.2f} ± {spread:.2f}", f"<= {mark:.2f}", passed, shown)


def _scaling_rows(result: Result, peer: str) -> list[Row]:
    """gw against itself: more routes, more workers."""
    found = {name: cells for name, cells in result.workloads.items() if {result.peers[0], peer} <= cells.keys()}
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

    found = ratio_of(peer)
    return Row(name, title, f"{ratio_of(result.peers[0]):.2f}", f"{found:.2f}", "", f"<= {mark:.2f}", found <= mark)


def _idle_rows(result: Result, peer: str) -> list[Row]:
    if peer not in result.idle:
        return []
    figures = {each: median(bytes_each) / 1024 for each, bytes_each in result.idle.items()}
    title = f"{table.IDLE_CONNECTIONS:,} idle keep-alive connections: KB each"
    beside = {each: f"{figures[each]:.2f}" for each in others(result, peer) if each in figures}
    return [Row(table.IDLE, title, f"{figures[result.peers[0]]:.2f}", f"{figures[peer]:.2f}", "", f"<= {table.IDLE_MARK:.2f}", figures[peer] <= table.IDLE_MARK, beside)]


def _tail_rows(result: Result, peer: str) -> list[Row]:
    rows = []
    for name, found in result.tail.items():
        if peer not in found:
            continue
        figures = {each: f"{median(series.p99):.2f}" for each, series in found.items()}
        ratio, spread = ratios(found[peer].p99, found[result.peers[0]].p99)
        passed = ratio <= table.TAIL_MARK
        beside = {each: figures[each] for each in others(result, peer) if each in figures}
        told = (f"{ratio:.2f} ± {spread:.2f}", f"<= {table.TAIL_MARK:.2f}", passed, beside)
        rows.append(Row(table.TAIL, f"p99 in ms, {name}", figures[result.peers[0]], figures[peer], *told))
    return rows


def _figure(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}"
