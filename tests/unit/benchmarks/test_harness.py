"""The benchmark harness: what it reads from its tools, what it concludes, what it makes gw do."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import chart, gateway, instructions, load, nginx, peers, procfs, report, results, wire
from benchmarks import workloads as table
from gw import config

WRK = """Running 1s test @ http://127.0.0.1:20001/
  1 threads and 64 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     1.75ms    2.13ms  19.56ms   90.99%
    Req/Sec    23.11k     6.90k   36.70k    70.99%
  Latency Distribution
     50%  942.00us
     75%    1.26ms
     90%    4.18ms
     99%    9.38ms
  23005 requests in 1.00s, 7.70MB read
{trouble}Requests/sec:  22970.94
Transfer/sec:      7.69MB
"""
TROUBLE = "  Socket errors: connect 1, read 2, write 3, timeout 4\n  Non-2xx or 3xx responses: 10\n"


def series(*cpu: float) -> results.Series:
    count = len(cpu)
    return results.Series(list(cpu), list(cpu), [0.2] * count, [1000.0] * count, [1.0] * count, [2.0] * count, foreign=[0.0] * count)


def result_of(**workloads: dict[str, results.Series]) -> results.Result:
    facts = dict.fromkeys(("cpu", "kernel", "system", "python", "compiler", "uvloop", "httptools", "nginx", "openssl", "wrk", "h2load"), "x") | {"gw": "abc1234+"}
    return results.Result("2026-01-02 03:04 UTC", facts, {"rounds": "3", "seconds": "1"}, ["nginx", "gw"], workloads)


def test_wrk_percentiles_are_not_taken_from_the_thread_statistics() -> None:
    assert load.parse_wrk(WRK.format(trouble="")) == load.Outcome(23005, 22970.94, pytest.approx(0.942), 9.38, 0)


def test_wrk_errors_are_added_up() -> None:
    assert load.parse_wrk(WRK.format(trouble=TROUBLE)).errors == 20


def test_ratio_is_taken_round_by_round() -> None:
    assert results.ratios([8.0, 16.0, 9.0], [10.0, 20.0, 10.0]) == (0.8, pytest.approx(0.05))


@pytest.mark.parametrize(("cpu", "passed"), [(8.0, True), (8.1, False)])
def test_mark_decides(cpu: float, passed: bool) -> None:
    row = results.verdicts(result_of(plain={"nginx": series(10.0), "gw": series(cpu)}), "gw")[0]
    assert (row.mark, row.passed) == ("<= 0.80", passed)


def test_errors_fail_a_mark_that_the_ratio_holds() -> None:
    spoiled = series(5.0)
    spoiled.errors = 1
    assert results.verdicts(result_of(plain={"nginx": series(10.0), "gw": spoiled}), "gw")[0].passed is False


def test_marks_are_gws_alone() -> None:
    found = result_of(plain={"nginx": series(10.0), "again": series(10.0)})
    found.peers = ["nginx", "again"]
    assert results.verdicts(found, "again")[0].passed is None


def test_a_cost_over_plain_is_taken_round_by_round() -> None:
    cells = {"plain": {"gw": series(10.0, 20.0, 11.0)}, "limit": {"gw": series(10.2, 20.4, 11.2)}, "ip_list": {"gw": series(10.5, 20.5, 11.5)}}
    rows = {row.name: row for row in results.verdicts(result_of(**cells), "gw")}
    assert [(rows[name].judged, rows[name].passed) for name in ("limit over plain", "ip_list over plain")] == [("+0.20 ± 0.10", True), ("+0.50 ± 0.00", False)]


def test_longer_requests_are_told_apart_from_the_policy() -> None:
    cells = {"plain": {"gw": series(10.0)}, "plain_key": {"gw": series(10.25)}, "api_key": {"gw": series(10.5)}}
    rows = {row.name: (row.judged, row.passed) for row in results.verdicts(result_of(**cells), "gw")}
    assert (rows["api_key over plain"], rows["api_key over plain_key"]) == (("+0.50 ± 0.00", False), ("+0.25 ± 0.00", None))


@pytest.mark.parametrize(("cpu", "passed"), [(12.0, True), (12.1, False)])
def test_full_is_judged_beside_haproxy_too(cpu: float, passed: bool) -> None:
    found = result_of(full={"nginx": series(40.0), "haproxy": series(20.0), "gw": series(cpu)})
    found.peers = ["nginx", "haproxy", "gw"]
    rows = results.verdicts(found, "gw")
    assert [(row.name, row.passed) for row in rows] == [("full", True), ("full to haproxy", passed)]
    assert (rows[0].others, rows[1].others) == ({"haproxy": "20.0 (0.50)"}, {"haproxy": "20.0"})


def test_a_table_has_room_for_peers_that_were_not_measured_everywhere() -> None:
    found = result_of(plain={"nginx": series(10.0), "gw": series(8.0)}, full={"nginx": series(40.0), "envoy": series(60.0), "gw": series(16.0)}, cors={"gw": series(8.3)})
    found.peers, found.absent = ["nginx", "envoy", "gw"], {"haproxy": "it is not installed"}
    text = report.markdown(found)
    assert "| plain | GET, 64 keep-alive connections, 200 B | 10.0 |  | 8.0 | 0.80 ± 0.00 | <= 0.80 | pass |" in text
    assert "| 40.0 | 60.0 (1.50) | 16.0 | 0.40 ± 0.00 |" in text
    assert "| cors over plain | µs more than plain in the same round |  |  | +0.30 ± 0.00 |  | <= 0.40 | pass |" in text
    assert "Absent: haproxy (it is not installed)." in text
    assert wire.doubts(found)[0] == "haproxy is absent: it is not installed"


def test_the_chart_is_drawn_of_what_was_measured(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    found = result_of(plain={"nginx": series(10.0), "gw": series(8.0)}, big={"nginx": series(500.0), "haproxy": series(400.0), "gw": series(300.0)}, cors={"gw": series(8.3)})
    found.peers = ["nginx", "haproxy", "gw"]
    chart.draw(found, tmp_path / "cpu")
    assert all((tmp_path / f"cpu.{ending}").stat().st_size for ending in ("svg", "png"))


def test_routes_and_workers_are_judged_against_gw_itself() -> None:
    cells = {name: {"nginx": series(10.0), "gw": series(cpu)} for name, cpu in (("routes1k", 5.0), ("routes10k", 5.4), ("workers1", 5.0), ("workers2", 5.6))}
    rows = {row.title: row.passed for row in results.verdicts(result_of(**cells), "gw") if row.name not in cells}
    assert list(rows.values()) == [True, False]


def test_a_busy_neighbour_is_a_doubt() -> None:
    disturbed = series(10.0)
    disturbed.foreign = [0.2]
    assert wire.doubts(result_of(plain={"nginx": disturbed, "gw": series(8.0)})) == ["something else used the two cores: plain nginx 20%"]


def test_result_survives_the_file(tmp_path: Path) -> None:
    found = result_of(plain={"nginx": series(10.0), "gw": series(8.0)})
    path = results.save(found, tmp_path)
    assert path.name == "2026-01-02-abc1234-dirty.json"
    assert results.load(path) == found


def test_markers_are_filled_and_filled_again(tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    path.write_text("before\n<!-- wire -->\n<!-- /wire -->\nafter\n")
    report.fill(path, "wire", "one")
    report.fill(path, "wire", "two")
    assert path.read_text() == "before\n<!-- wire -->\ntwo\n<!-- /wire -->\nafter\n"
    with pytest.raises(ValueError, match="no <!-- noise -->"):
        report.fill(path, "noise", "")


def test_tables_name_every_workload() -> None:
    cells = {workload.name: {"nginx": series(10.0), "gw": series(8.0)} for workload in table.WORKLOADS}
    text = report.markdown(result_of(**cells))
    assert [name for name in cells if f"| {name} |" not in text] == []


@pytest.mark.parametrize("workload", table.WORKLOADS, ids=lambda workload: workload.name)
def test_gw_accepts_the_configuration_of_every_workload(workload: table.Workload, tmp_path: Path) -> None:
    if workload.setup.tls:
        peers.make_certificate(tmp_path)
    setup = replace(workload.setup, keys=min(workload.setup.keys, 10))
    loaded = config.load(Path(gateway.command(setup, tmp_path, 20001, 20002, {0})[-1]))
    assert len(loaded.config.routes) == max(1, workload.setup.routes)
    assert (loaded.config.access_log is not None, loaded.config.process.workers) == (workload.setup.log, workload.setup.workers)


def test_peers_take_labels_and_functions() -> None:
    found = peers.resolve("nginx,again=nginx,own=benchmarks.gateway:command")
    assert found == {"nginx": nginx.command, "again": nginx.command, "own": gateway.command}
    with pytest.raises(SystemExit, match="unknown peer"):
        peers.resolve("lighttpd")


def test_affinity_masks_are_one_a_core() -> None:
    assert (nginx.affinity({0}), nginx.affinity({1}), nginx.affinity({0, 1})) == ("1", "10", "01 10")


def test_cpu_of_a_process_tree_is_counted() -> None:
    before = procfs.on_cpu_ns([os.getpid()]), sum(procfs.ticks_ns([os.getpid()]))
    started = time.process_time_ns()
    while time.process_time_ns() - started < 100_000_000:
        pass
    after = procfs.on_cpu_ns([os.getpid()]), sum(procfs.ticks_ns([os.getpid()]))
    assert 90_000_000 < after[0] - before[0] < 300_000_000
    assert 50_000_000 < after[1] - before[1] < 300_000_000


def test_children_belong_to_the_tree() -> None:
    with subprocess.Popen(["sh", "-c", "sleep 30 & wait"]) as shell:
        deadline = time.monotonic() + 5
        while len(pids := procfs.descendants(shell.pid)) < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        for pid in reversed(pids):
            os.kill(pid, signal.SIGKILL)
    assert pids[0] == shell.pid and len(pids) == 2


@pytest.mark.parametrize(
    ("apart", "changing", "loaded", "code"),
    [
        (10_000.0, 20_000.0, 9_000.0, 0),
        (10_299.0, 20_599.0, 9_000.0, 0),
        (10_301.0, 20_000.0, 9_000.0, 1),
        (9_000.0, 20_601.0, 9_000.0, 1),
        (9_000.0, 20_000.0, 9_000.0, 0),
        (10_000.0, 20_000.0, 12_001.0, 1),
    ],
)
def test_gate_allows_three_per_cent(apart: float, changing: float, loaded: float, code: int, tmp_path: Path) -> None:
    golden = tmp_path / "golden.json"
    instructions.keep({"gw": instructions.Count(10_000.0, 20_000.0, 9_000.0)}, golden)
    assert instructions.gate(instructions.Count(apart, changing, loaded), golden) == code


def test_gate_does_not_judge_another_toolchain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    golden = tmp_path / "golden.json"
    instructions.keep({"gw": instructions.Count(10_000.0, 20_000.0, 9_000.0)}, golden)
    monkeypatch.setattr(instructions, "toolchain", lambda: {"cc": "99"})
    assert instructions.gate(instructions.Count(11_000.0, 20_000.0, 9_000.0), golden) == 0
    assert "not judged" in capsys.readouterr().out
