"""The load: wrk (closed loop, for CPU per request) and h2load (open loop, for p99 at an equal offered rate)."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from benchmarks.workloads import Load

LUA = Path(__file__).parent / "lua"
MILLISECONDS = {"us": 0.001, "ms": 1.0, "s": 1000.0, "m": 60_000.0}
H2LOAD_CONNECTIONS = 64


@dataclass(frozen=True)
class Outcome:
    """What one client process saw. Times in milliseconds."""

    requests: int
    rate: float  # per second
    p50: float
    p99: float
    errors: int  # socket errors and answers other than 2xx and 3xx


def wrk(load: Load, url: str, seconds: float, cpus: list[int], arguments: list[str]) -> Outcome:
    """One wrk per core of `cpus`, together holding the connections of `load`."""
    fields = [part for name, value in load.fields.items() for part in ("-H", f"{name}: {value}")]
    script = ["-s", str(LUA / f"{load.script}.lua")] if load.script else []
    argv = ["wrk", "-t1", f"-c{load.connections // len(cpus)}", f"-d{seconds:g}s", "--latency", *fields, *script, url + load.path, "--", *arguments]
    clients = [_spawn(argv, cpu) for cpu in cpus]
    outcomes = [parse_wrk(_finish(client)) for client in clients]
    return Outcome(
        sum(each.requests for each in outcomes),
        sum(each.rate for each in outcomes),
        max(each.p50 for each in outcomes),
        max(each.p99 for each in outcomes),
        sum(each.errors for each in outcomes),
    )


def h2load(load: Load, url: str, rate: float, seconds: float, cpu: int, folder: Path) -> Outcome:
    """`rate` requests a second in all, whether or not earlier ones were answered, over HTTP/1.1 connections; percentiles come from its log of every request."""
    log = folder / "h2load.log"
    log.unlink(missing_ok=True)
    fields = [part for name, value in load.fields.items() for part in ("-H", f"{name}: {value}")]
    each = rate / H2LOAD_CONNECTIONS
    argv = ["h2load", "--h1", "-t1", f"-c{H2LOAD_CONNECTIONS}", f"-n{round(rate * seconds)}", f"--rps={each:.1f}", f"--log-file={log}", *fields, url + load.path]
    text = _finish(_spawn(argv, cpu))
    failed = int(_first(r"(\d+) failed", text))
    times = sorted(int(line.split("\t")[2]) for line in log.read_text().splitlines())
    return Outcome(len(times), float(_first(r"([\d.]+) req/s", text)), _percentile(times, 0.50) / 1000, _percentile(times, 0.99) / 1000, failed)


def _percentile(ordered: list[int], share: float) -> float:
    return float(ordered[min(len(ordered) - 1, int(len(ordered) * share))])


def _spawn(argv: list[str], cpu: int) -> subprocess.Popen[str]:
    return subprocess.Popen(["taskset", "-c", str(cpu), *argv], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def _finish(client: subprocess.Popen[str]) -> str:
    text = client.communicate()[0]
    if client.returncode:
        raise RuntimeError(f"{client.args!r} failed:\n{text}")
    return text


def parse_wrk(text: str) -> Outcome:
    """Raises RuntimeError when `text` is not what `wrk --latency` prints."""
    socket_errors = re.search(r"connect (\d+), read (\d+), write (\d+), timeout (\d+)", text)
    refused = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    return Outcome(
        int(_first(r"(\d+) requests in", text)),
        float(_first(r"Requests/sec:\s+([\d.]+)", text)),
        _time(_first(r"\n\s+50%\s+(\S+)", text)),
        _time(_first(r"\n\s+99%\s+(\S+)", text)),
        (sum(map(int, socket_errors.groups())) if socket_errors else 0) + (int(refused[1]) if refused else 0),
    )


def _first(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    if not found:
        raise RuntimeError(f"no {pattern!r} in:\n{text}")
    return found[1]


def _time(text: str) -> float:
    number, unit = re.fullmatch(r"([\d.]+)(\D+)", text).groups()  # type: ignore[union-attr]  # wrk writes no other form
    return float(number) * MILLISECONDS[unit]
