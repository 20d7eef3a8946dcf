"""Measuring: rounds of one workload group, idle memory, and the tail at a fixed offered rate. Peers take turns; the order turns round each round."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from benchmarks import callers, load, origin, peers, probes, procfs, servers
from benchmarks import workloads as table
from benchmarks.results import Result, Series
from benchmarks.workloads import Setup, Workload

WARM_SECONDS = 1.0
SETTLE_SECONDS = 1.5  # buffers are released, the log is flushed
Say = Callable[[str], None]


class Rig:
    """Where everything runs: two cores, a scratch folder, the peers, and the servers that are up. `chosen`: somebody named the peers, so every workload is for all of them."""

    def __init__(self, commands: dict[str, peers.Command], cores: tuple[int, int], say: Say, *, chosen: bool = True) -> None:
        self.commands, self.say, self.chosen = commands, say, chosen
        self.absent: dict[str, str] = {}  # peer -> why it is not here
        self.proxy_core, self.load_core = cores
        self.folder = Path(tempfile.mkdtemp(prefix="gw-bench-"))
        self.origins: dict[frozenset[int], servers.Server] = {}

    def origin(self, cpus: set[int]) -> servers.Server:
        """The origin on `cpus`, started on first use and kept."""
        key = frozenset(cpus)
        if key not in self.origins:
            self.origins[key] = origin.start(cpus, self.folder)
        return self.origins[key]

    def peers(self, workload: Workload) -> list[str]:
        """Those to be measured on `workload`."""
        return [peer for peer in self.commands if peer not in self.absent and (self.chosen or peer in workload.peers)]

    def proxy(self, peer: str, label: str, setup: Setup, cpus: set[int], behind: servers.Server) -> servers.Server:
        home = Path(tempfile.mkdtemp(prefix=f"{peer}-{label}-", dir=self.folder))
        if setup.tls:
            peers.make_certificate(home)
        port = servers.free_port()
        return servers.start(f"{home.name}-proxy", self.commands[peer](setup, home, port, behind.port, cpus), cpus, port, home)

    def arguments(self, workload: Workload) -> list[str]:
        """What the script of the load is told."""
        kind, found = workload.load.credentials, [str(workload.setup.routes)] if workload.setup.routes else []
        if kind:
            path = self.folder / f"{kind}.txt"
            path.write_text("".join(f"{line}\n" for line in callers.fields(kind)))
            found.append(str(path))
        return found

    def close(self) -> None:
        for server in self.origins.values():
            server.stop()
        shutil.rmtree(self.folder)


def measure_group(rig: Rig, group: list[Workload], result: Result, rounds: int, seconds: float) -> None:
    """All workloads of a group on all peers, interleaved: every ratio inside the group compares neighbours in time."""
    with contextlib.ExitStack() as stack:
        cells = []
        for workload in group:
            cpus, load_cpus = _places(rig, workload)
            behind = rig.origin(set(load_cpus))
            for peer in rig.peers(workload):
                try:
                    server = checked(rig, peer, workload, cpus, behind)
                except servers.Absent as error:
                    rig.absent[peer] = str(error)
                    rig.say(f"{peer} is absent: {error}")
                    continue
                except servers.Unable as error:
                    rig.say(f"{workload.name} without {peer}: {error}")
                    continue
                stack.callback(server.stop)
                cells.append(Cell(workload, server, behind, (cpus, load_cpus), rig.arguments(workload), result.workloads.setdefault(workload.name, {}).setdefault(peer, Series())))
        for cell in cells:
            cell.warm()
        for turn in range(rounds):
            for cell in cells if turn % 2 == 0 else reversed(cells):
                cell.run(seconds)
        for cell in cells:
            cell.finish()


def checked(rig: Rig, peer: str, workload: Workload, cpus: set[int], behind: servers.Server) -> servers.Server:
    """A proxy that does what the workload says: RuntimeError otherwise. A limit that the load never reaches is tried on a twin with a low one."""
    if workload.setup.limit:
        twin = rig.proxy(peer, workload.name, replace(workload.setup, limit=probes.LOW_RATE), cpus, behind)
        try:
            probes.check_limit(twin, workload)
        finally:
            twin.stop()
    server = rig.proxy(peer, workload.name, workload.setup, cpus, behind)
    try:
        probes.check(server, workload)
    except RuntimeError:
        server.stop()
        raise
    return server


def _places(rig: Rig, workload: Workload) -> tuple[set[int], list[int]]:
    """Cores of the proxy, and of origin and load."""
    both = [rig.proxy_core, rig.load_core]
    return set(both[: workload.setup.workers]), both if workload.spread else [rig.load_core]


class Foreign:
    """How much of some cores was used by neither our servers nor the load, from now on."""

    def __init__(self, cores: set[int], ours: list[servers.Server]) -> None:
        self.cores, self.ours = cores, ours
        self.began, self.before = time.monotonic(), self._used()

    def share(self) -> float:
        """0 to 1; a little below 0 by the ticks of /proc/stat."""
        return (self._used() - self.before) / 1e9 / (time.monotonic() - self.began) / len(self.cores)

    def _used(self) -> int:
        ours = sum(procfs.on_cpu_ns(server.pids()) for server in self.ours)
        return procfs.busy_ns(self.cores) - ours - round(sum(os.times()[:4]) * 1e9)


class Cell:
    """One peer on one workload."""

    def __init__(self, workload: Workload, server: servers.Server, behind: servers.Server, places: tuple[set[int], list[int]], arguments: list[str], series: Series) -> None:
        self.workload, self.server, self.behind, self.arguments, self.series = workload, server, behind, arguments, series
        self.load_cpus = places[1]
        self.cores = places[0] | set(places[1])
        self.scheme = "https" if workload.setup.tls else "http"
        self.sent = 0

    def warm(self) -> None:
        self.sent += self._load(WARM_SECONDS).requests

    def run(self, seconds: float) -> None:
        """One round. Raises RuntimeError when a process of the proxy came or went meanwhile: its CPU would be lost."""
        pids = self.server.pids()
        cpu, ticks, foreign = procfs.on_cpu_ns(pids), procfs.ticks_ns(pids), Foreign(self.cores, [self.server, self.behind])
        outcome = self._load(seconds)
        if self.server.pids() != pids:
            raise RuntimeError(f"{self.server.name}: its processes changed during a round\n{self.server.output.read_text(errors='replace')[-2000:]}")
        used, after = procfs.on_cpu_ns(pids) - cpu, procfs.ticks_ns(pids)
        user, kernel = after[0] - ticks[0], after[1] - ticks[1]
        series = self.series
        series.foreign.append(foreign.share())
        series.cpu.append(used / 1000 / outcome.requests)
        series.ticks.append((user + kernel) / 1000 / outcome.requests)
        series.user.append(user / (user + kernel) if user + kernel else 0.0)
        series.rate.append(outcome.rate)
        series.p50.append(outcome.p50)
        series.p99.append(outcome.p99)
        series.errors += outcome.errors
        series.requests += outcome.requests
        self.sent += outcome.requests
        used_memory = procfs.memory(pids)
        series.pss, series.rss = max(series.pss, used_memory["pss"]), max(series.rss, used_memory["rss"])

    def finish(self) -> None:
        if self.workload.setup.log:
            time.sleep(SETTLE_SECONDS)
            with (self.server.folder / probes.LOG).open("rb") as lines:
                self.series.logged = sum(1 for _ in lines) / self.sent

    def _load(self, seconds: float) -> load.Outcome:
        url = f"{self.scheme}://127.0.0.1:{self.server.port}"
        return load.wrk(self.workload.load, url, seconds, self.load_cpus, self.arguments)


def measure_idle(rig: Rig, result: Result, rounds: int) -> None:
    """PSS that each of 5,000 idle keep-alive connections adds; a fresh proxy each round, one request on each connection."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    for _ in range(rounds):
        for peer in rig.peers(table.BY_NAME["plain"]):
            server = rig.proxy(peer, table.IDLE, Setup(), {rig.proxy_core}, rig.origin({rig.load_core}))
            try:
                result.idle.setdefault(peer, []).append(_idle_bytes(server))
            finally:
                server.stop()
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def _idle_bytes(server: servers.Server) -> float:
    with held_open(server.port, 20):
        pass
    time.sleep(SETTLE_SECONDS)
    before = procfs.memory(server.pids())["pss"]
    with held_open(server.port, table.IDLE_CONNECTIONS):
        time.sleep(SETTLE_SECONDS)
        return (procfs.memory(server.pids())["pss"] - before) / table.IDLE_CONNECTIONS


@contextlib.contextmanager
def held_open(port: int, count: int) -> Iterator[list[socket.socket]]:
    """`count` connections, each having had one answer, 1,000 from each source address 127.0.0.2, .3, ..."""
    with contextlib.ExitStack() as stack:
        found = []
        for index in range(count):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", port), 5, (f"127.0.0.{2 + index // 1000}", 0)))
            connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            if not connection.recv(4096).startswith(b"HTTP/1.1 200"):
                raise RuntimeError(f"idle connection {index} was not answered with 200")
            found.append(connection)
        yield found


def measure_tail(rig: Rig, result: Result, rounds: int, seconds: float) -> None:
    """p50 and p99 at rates that are the same for all peers: shares of what the reference carries in this rig."""
    for name in table.TAIL_OF:
        workload = table.BY_NAME[name]
        with contextlib.ExitStack() as stack:
            up = {}
            for peer in rig.peers(workload):
                server = rig.proxy(peer, table.TAIL, workload.setup, {rig.proxy_core}, rig.origin({rig.load_core}))
                stack.callback(server.stop)
                up[peer] = server
            capacity = load.wrk(workload.load, f"http://127.0.0.1:{next(iter(up.values())).port}", WARM_SECONDS, [rig.load_core], []).rate
            for share in table.TAIL_LOADS:
                _tail_level(rig, result, workload, up, share, capacity, rounds, seconds)


def _tail_level(rig: Rig, result: Result, workload: Workload, up: dict[str, servers.Server], share: float, capacity: float, rounds: int, seconds: float) -> None:
    label = f"{workload.name} at {share:.0%} ({share * capacity:,.0f} requests/s offered)"
    rig.say(f"tail: {label}")
    for turn in range(rounds):
        for peer in up if turn % 2 == 0 else reversed(up):
            foreign = Foreign({rig.proxy_core, rig.load_core}, [*up.values(), *rig.origins.values()])
            outcome = load.h2load(workload.load, f"http://127.0.0.1:{up[peer].port}", share * capacity, seconds, rig.load_core, rig.folder)
            series = result.tail.setdefault(label, {}).setdefault(peer, Series())
            series.rate.append(outcome.rate)
            series.p50.append(outcome.p50)
            series.p99.append(outcome.p99)
            series.foreign.append(foreign.share())
            series.errors += outcome.errors
            series.requests += outcome.requests
