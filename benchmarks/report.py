"""Tables of a result: on the terminal, and between markers in README files. `python -m benchmarks.report RESULT.json` publishes a kept result."""

from __future__ import annotations

import sys
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.table import Table

from benchmarks import chart, machine, results
from benchmarks.machine import ROOT
from benchmarks.results import Result, Row

README = ROOT / "benchmarks" / "README.md"
FRONT = ROOT / "README.md"
FRONT_ROWS = ["plain", "headers", "routes1k", "jwt_hs256", "full", "tls", "churn", "big"]
BESIDE = ["workload", "peer", "requests/s", "p50 ms", "p99 ms", "PSS MB", "RSS MB", "user", "ticks", "foreign", "errors"]
WORD = {True: "pass", False: "FAIL", None: ""}


def show(result: Result, console: Console) -> None:
    """The table of verdicts, then requests/s, times and memory of all."""
    table = Table(*_head(result), title=f"CPU µs per request: {results.judged(result)} beside {result.peers[0]}", title_justify="left")
    for row in results.verdicts(result, results.judged(result)):
        colour = {True: "green", False: "red", None: "dim"}[row.passed]
        table.add_row(*_cells(row, result)[:-1], f"[{colour}]{WORD[row.passed]}[/]")
    console.print(table)
    beside = Table(*BESIDE, title="beside the figure", title_justify="left")
    for line in _beside(result):
        beside.add_row(*line)
    console.print(beside)


def markdown(result: Result) -> str:
    """The tables as kept in benchmarks/README.md."""
    table = grid(_head(result), [_cells(row, result) for row in results.verdicts(result, results.judged(result))])
    beside = (
        "Beside the figure (medians; PSS and RSS over all processes of the peer, `ticks` is the figure by the 10 ms ticks of `stat` over the figure by `schedstat`,"
        " `foreign` the share of the two cores that something else on the machine used):"
    )
    return "\n\n".join([_machine(result), table, beside, grid([*BESIDE], _beside(result))])


def publish(result: Result) -> None:
    """Write tables and charts into the README files."""
    chart.draw(result, ROOT / "benchmarks" / "cpu")
    fill(README, "wire", markdown(result))
    rows = [row for row in results.verdicts(result, results.judged(result)) if row.name in FRONT_ROWS]
    short = grid(["CPU µs per request", f"{result.peers[0]}", results.judged(result), "ratio"], [[row.title, row.reference, row.judged, row.ratio.split()[0]] for row in rows])
    if FRONT.exists() and "<!-- bench -->" in FRONT.read_text():
        fill(FRONT, "bench", short)


def fill(path: Path, name: str, text: str) -> None:
    """Replace what stands between `<!-- name -->` and `<!-- /name -->`. Raises ValueError when a marker is missing."""
    whole = path.read_text()
    head, first, rest = whole.partition(f"<!-- {name} -->")
    _, last, tail = rest.partition(f"<!-- /{name} -->")
    if not first or not last:
        raise ValueError(f"{path}: no <!-- {name} --> ... <!-- /{name} -->")
    path.write_text(f"{head}{first}\n{text}\n{last}{tail}")


def _machine(result: Result) -> str:
    facts = result.machine
    return (
        f"Made {result.date} at commit `{facts['gw']}` on {facts['cpu']}, Linux {facts['kernel']}, {facts['system']}; Python {facts['python']}, uvloop {facts['uvloop']}, "
        f"httptools {facts['httptools']}, {facts['compiler']}, {facts['nginx']}, {''.join(facts[each] + ', ' for each in machine.FURTHER if facts.get(each))}"
        f"{facts['openssl']}, {facts['wrk']}, {facts['h2load']}. "
        f"{result.options['rounds']} rounds of {result.options['seconds']} s; figures are CPU µs per request unless the line says otherwise; "
        "`±` is half the range over the rounds; further peers have their ratio to the reference in brackets."
        + "".join(f" Absent: {peer} ({why})." for peer, why in result.absent.items())
    )


def _beside(result: Result) -> list[list[str]]:
    lines = []
    for name, found in [*result.workloads.items(), *result.tail.items()]:
        for peer, series in found.items():
            figures = [f"{median(series.rate):,.0f}", f"{median(series.p50):.2f}", f"{median(series.p99):.2f}"]
            foreign = f"{max(0.0, median(series.foreign)):.0%}"
            more = ["", "", "", "", foreign]
            if series.cpu:
                ticks = median(series.ticks) / median(series.cpu)
                more = [f"{series.pss / 1e6:.1f}", f"{series.rss / 1e6:.1f}", f"{median(series.user):.0%}", f"{ticks:.2f}", foreign]
            lines.append([name, peer, *figures, *more, str(series.errors)])
    return lines


def _head(result: Result) -> list[str]:
    peer = results.judged(result)
    return ["workload", "", result.peers[0], *results.others(result, peer), peer, "ratio", "mark", ""]


def _cells(row: Row, result: Result) -> list[str]:
    further = [row.others.get(each, "") for each in results.others(result, results.judged(result))]
    return [row.name, row.title, row.reference, *further, row.judged, row.ratio, row.mark, WORD[row.passed]]


def grid(head: list[str], lines: list[list[str]]) -> str:
    rule = ["---" if index < 2 and not head[1] else ("--:" if index else "---") for index in range(len(head))]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [head, rule, *lines])


if __name__ == "__main__":
    found = results.load(Path(sys.argv[1]))
    show(found, Console())
    publish(found)
