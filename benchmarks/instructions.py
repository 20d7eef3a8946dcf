"""User-space instructions per plain request, counted by callgrind. Three counts:

`apart`: one connection, every event a wake-up of its own: (Ir[b] - Ir[a]) / (b - a) for a and b requests between dumps of one running process. Start-up and
dumps cancel, so it repeats to a tenth of a per cent on a busy machine: the gate of `make check`, with `changing`: the same while no answer's head is that of one before.
`loaded`: the workload `plain`, where events share wake-ups.
"""

from __future__ import annotations

import argparse
import itertools
import json
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from platform import libc_ver, machine, python_version
from statistics import median

from benchmarks import gateway, load, nginx, report, servers
from benchmarks.machine import cores
from benchmarks.workloads import BY_NAME, INSTRUCTIONS_MARK, SMALL, Setup

Command = Callable[[Path, int, int], list[str]]
GOLDEN = Path(__file__).parent / "golden" / "instructions.json"
FEW, MANY = 200, 800
REPEATS = 3
GATED = ("apart", "changing")
NUMBERS = itertools.cycle(range(1_000_000))
WARM = 200
LOADED_SECONDS = 4
PAUSE = 0.001  # seconds before client and origin send: the proxy sleeps again by then, so every event is a wake-up of its own, on any machine
RISE = 0.03
REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"  # what wrk sends
ANSWER = (
    b"HTTP/1.1 200 OK\r\nServer: origin\r\nDate: Mon, 01 Jan 2024 00:00:00 GMT\r\nContent-Type: text/plain\r\n"
    + b"Content-Length: %d\r\nConnection: keep-alive\r\n\r\n" % SMALL
    + b"s" * SMALL
)


@dataclass(frozen=True)
class Count:
    """Instructions per request."""

    apart: float
    changing: float
    loaded: float


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.instructions", description=__doc__)
    parser.add_argument("--gate", action="store_true", help=f"fail when gw needs more than {RISE:.0%} above the golden number")
    parser.add_argument("--update", action="store_true", help="write the golden numbers of gw and nginx")
    parser.add_argument("--publish", action="store_true", help="write the table into benchmarks/README.md")
    parser.add_argument("--peer", choices=["gw", "nginx"], help="measure only this one")
    parser.add_argument("--functions", type=int, default=0, metavar="N", help="show where the instructions go: the N dearest functions")
    options = parser.parse_args()
    if shutil.which("valgrind") is None:
        sys.exit("benchmarks.instructions: valgrind is missing (Debian: apt-get install valgrind)")
    if options.gate:
        return gate(count("gw", options.functions))
    peers = [options.peer] if options.peer else ["nginx", "gw"]
    counts = {peer: count(peer, options.functions) for peer in peers}
    for peer, found in counts.items():
        print(f"{peer}: {found.loaded:,.0f} instructions per plain request under load, {found.apart:,.1f} one at a time")
    if options.update:
        keep(counts)
    if options.publish:
        report.fill(report.README, "instructions", markdown(counts))
    return int("gw" in counts and counts["gw"].loaded > INSTRUCTIONS_MARK)


def markdown(counts: dict[str, Count]) -> str:
    loaded = ["64 connections under load", *(f"{each.loaded:,.0f}" for each in counts.values()), f"<= {INSTRUCTIONS_MARK:,}"]
    apart = ["one at a time, every event a wake-up of its own", *(f"{each.apart:,.0f}" for each in counts.values()), ""]
    changing = ["the same, each answer's head is another", *(f"{each.changing:,.0f}" for each in counts.values()), ""]
    return report.grid(["user-space instructions per plain request", *counts, "mark"], [loaded, apart, changing])


def keep(counts: dict[str, Count], path: Path = GOLDEN) -> None:
    """Write the golden numbers with what they were made with."""
    per_request = {peer: {name: getattr(found, name) for name in GATED} for peer, found in counts.items()}
    path.write_text(json.dumps({"per_request": per_request, "made_with": toolchain()}, indent=1) + "\n")


def gate(found: Count, path: Path = GOLDEN) -> int:
    """1 when `loaded` is over the mark, or another count over its golden number by more than RISE. Another toolchain is not judged, and that is said."""
    golden = json.loads(path.read_text())
    changes = {}
    for name in GATED:
        here, expected = getattr(found, name), golden["per_request"]["gw"][name]
        changes[name] = here / expected - 1
        print(f"gw: {here:,.1f} instructions per plain request, {name}; golden {expected:,.1f} ({changes[name]:+.2%})")
    print(f"gw: {found.loaded:,.0f} under load, mark {INSTRUCTIONS_MARK:,}")
    if found.loaded > INSTRUCTIONS_MARK:
        print("FAIL: over the mark")
        return 1
    if golden["made_with"] != toolchain():
        print(f"not judged against the golden numbers: they were made with {golden['made_with']}, this is {toolchain()}")
        return 0
    if max(changes.values()) > RISE:
        print("FAIL: over a golden number; find the cause with --functions 30, or accept the cost with --update and a reason in the commit")
        return 1
    if min(changes.values()) < -RISE:
        print("cheaper than a golden number: keep the gain with --update")
    return 0


def count(peer: str, functions: int = 0) -> Count:
    """Instructions per request of `peer` ("gw" or "nginx"). Raises RuntimeError when it does not start or answer."""
    folder = Path(tempfile.mkdtemp(prefix="gw-instructions-"))
    try:
        with fixed_origin() as (origin, changes):
            return _count(COMMANDS[peer], folder, origin, functions, changes)
    finally:
        shutil.rmtree(folder)


def _count(command: Command, folder: Path, origin: int, functions: int, changes: threading.Event) -> Count:
    port = servers.free_port()
    argv = ["valgrind", "--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={folder}/count", *command(folder, port, origin)]
    server = servers.start("callgrind", argv, {cores()[0]}, port, folder, seconds=120)
    try:
        with closing(socket.create_connection(("127.0.0.1", port))) as connection:
            _control(server, "--instr=on")
            apart = _apart(server, connection, folder)
            if functions:
                print(_annotated(folder, functions))
            changes.set()
            changing = _apart(server, connection, folder)
            changes.clear()
        under_load = _loaded(server, folder)
    finally:
        server.stop()
    return Count(apart, changing, under_load)


def _apart(server: servers.Server, connection: socket.socket, folder: Path) -> float:
    send(connection, WARM)
    _control(server, "--dump")
    counts = [(_counted(server, connection, folder, FEW), _counted(server, connection, folder, MANY)) for _ in range(REPEATS)]
    return median((more - less) / (MANY - FEW) for less, more in counts)


def _loaded(server: servers.Server, folder: Path) -> float:
    """The requests in flight when wrk stops are not counted: some tenths of a per cent too high."""
    outcome = load.wrk(BY_NAME["plain"].load, f"http://127.0.0.1:{server.port}", LOADED_SECONDS, [cores()[1]], [])
    return _since_last_dump(server, folder) / outcome.requests


def _counted(server: servers.Server, connection: socket.socket, folder: Path, requests: int) -> int:
    send(connection, requests)
    return _since_last_dump(server, folder)


def _since_last_dump(server: servers.Server, folder: Path) -> int:
    _control(server, "--dump")
    return int(re.findall(r"^(?:summary|totals): (\d+)", _newest(folder).read_text(), re.MULTILINE)[-1])


def _newest(folder: Path) -> Path:
    return max(folder.glob("count.*"), key=lambda path: int(path.suffix[1:]))


def _control(server: servers.Server, action: str) -> None:
    """Let the process under valgrind do `action`; a dump also sets the counters back to zero."""
    done = subprocess.run(["callgrind_control", action, str(server.process.pid)], capture_output=True, text=True, check=False)
    if "OK" not in done.stdout:
        raise RuntimeError(f"callgrind_control {action}: {done.stdout}{done.stderr}\n{server.output.read_text(errors='replace')[-2000:]}")


def _annotated(folder: Path, functions: int) -> str:
    """The dearest functions of the last dump, instructions per request."""
    text = subprocess.run(["callgrind_annotate", "--auto=no", "--threshold=100", str(_newest(folder))], capture_output=True, text=True, check=True).stdout
    lines = re.findall(r"^\s*([\d,]+) \([ \d.]+%\)\s+(\S+:.*)$", text, re.MULTILINE)
    return "\n".join(f"{int(cost.replace(',', '')) / MANY:10,.1f}  {where}" for cost, where in lines[:functions])


def send(connection: socket.socket, requests: int) -> None:
    """`requests` requests, one after the other. Raises RuntimeError on anything but a 200 that is whole."""
    for _ in range(requests):
        time.sleep(PAUSE)
        connection.sendall(REQUEST)
        answer = b""
        while not answer.endswith(b"s" * SMALL):
            piece = connection.recv(65536)
            answer += piece
            if not piece or not answer.startswith(b"HTTP/1.1 200"[: len(answer)]):
                raise RuntimeError(f"unexpected answer: {answer[:300]!r}")


@contextmanager
def fixed_origin() -> Iterator[tuple[int, threading.Event]]:
    """An origin that answers every request with as many bytes in one write, so that no instruction of the proxy depends on the origin's timing; yields its port.

    They are the same bytes unless the event is set.
    """
    listening = socket.create_server(("127.0.0.1", 0))
    changes = threading.Event()
    threading.Thread(target=_accept, args=(listening, changes), daemon=True).start()
    with closing(listening):
        yield listening.getsockname()[1], changes


def _accept(listening: socket.socket, changes: threading.Event) -> None:
    while True:
        try:
            connection, _ = listening.accept()
        except OSError:  # closed: the measurement is over
            return
        threading.Thread(target=_answer, args=(connection, changes), daemon=True).start()


def _answer(connection: socket.socket, changes: threading.Event) -> None:
    """Answer until the proxy goes away, by a reset when the measurement ends; a request here has no body and comes in one piece."""
    with closing(connection), suppress(ConnectionError):
        while connection.recv(65536):
            time.sleep(PAUSE)
            connection.sendall(ANSWER.replace(b"origin", b"%06d" % next(NUMBERS)) if changes.is_set() else ANSWER)


def toolchain() -> dict[str, str]:
    """What the number depends on besides the source."""
    compiler = subprocess.run(["cc", "-dumpfullversion"], capture_output=True, text=True, check=False).stdout.strip()
    found = {"cc": compiler, "libc": " ".join(libc_ver()), "machine": machine(), "python": python_version()}
    return found | {name: version(name) for name in ("cython", "httptools", "uvloop")}


def _gw(folder: Path, port: int, origin: int) -> list[str]:
    path = Path(gateway.command(Setup(), folder, port, origin, set())[-1])
    return [sys.executable, "-m", "benchmarks.single", str(path)]


def _nginx(folder: Path, port: int, origin: int) -> list[str]:
    return [*nginx.command(Setup(), folder, port, origin, {cores()[0]}), "-g", "master_process off;"]


COMMANDS: dict[str, Command] = {"gw": _gw, "nginx": _nginx}


if __name__ == "__main__":
    sys.exit(main())
