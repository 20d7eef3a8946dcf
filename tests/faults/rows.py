"""The rows: each puts gw under 200 requests/s, does its harm, and says what was measured against the mark."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.faults.endpoint import Endpoint
from tests.faults.load import GET, Client, Result, connections
from tests.wire.origin import Wire, connect
from tests.wire.peers import PEERS, Job, Peer, cpu_seconds, memory
from tests.wire.scenario import UPGRADE

RATE = 200


@dataclass
class Row:
    """One measured fault. `passed` is None when it could not be tried; `figure` then says why."""

    figure: str
    passed: bool | None


Fault = Callable[["Bed"], Awaitable[Row]]
ROWS: dict[str, tuple[Fault, str]] = {}


def row(mark: str) -> Callable[[Fault], Fault]:
    def keep(function: Fault) -> Fault:
        ROWS[function.__name__] = (function, mark)
        return function

    return keep


class Bed:
    """Two endpoints and the means to put a proxy in front of them. `short` settings fit into a test run."""

    def __init__(self, peer: str = "gw", short: bool = False, endpoint: type[Endpoint] = Endpoint) -> None:
        self.kind = peer
        self.short = short
        self.endpoints = [endpoint(), endpoint()]

    @contextmanager
    def peer(self, workers: int = 2, **more) -> Iterator[Peer]:
        settings = {"answer_timeout": 1.0, "idle_timeout": 10.0, **more}
        for endpoint in self.endpoints:
            endpoint.start()
        peer = PEERS[self.kind](Job([endpoint.port for endpoint in self.endpoints], workers=workers, **settings))
        try:
            yield peer.start()
        finally:
            peer.remove()
            for endpoint in self.endpoints:
                endpoint.kill()

    async def load(self, peer: Peer, seconds: float, harm: Callable[[], Awaitable[None]], **more) -> Result:
        """The load for `seconds`, and `harm` from its first half second on."""
        client = Client(peer.port, RATE, **more)

        async def later() -> None:
            await asyncio.sleep(0.5)
            await harm()

        result, _ = await asyncio.gather(client.run(seconds), later())
        return result


def metric(peer: Peer, pattern: str) -> float:
    """Sum of the samples whose name matches, from the operator's address."""
    with urllib.request.urlopen(f"http://127.0.0.1:{peer.admin_port}/metrics", timeout=2) as reply:
        return sum(float(value) for value in re.findall(rf"^{pattern}[^ ]* ([0-9.e+]+)$", reply.read().decode(), re.MULTILINE))


async def open_tunnel(port: int) -> Wire:
    wire = await connect(port)
    await wire.send(UPGRADE)
    if not (await wire.until(b"\r\n\r\n")).startswith(b"HTTP/1.1 101"):
        raise OSError("no tunnel")
    return wire


async def echoes(wire: Wire) -> bool:
    with suppress(OSError, EOFError, TimeoutError):
        await wire.send(b"still there")
        return await wire.exactly(11, 2) == b"still there"
    return False


@row("0 failures, tunnels live on")
async def reloads(bed: Bed) -> Row:
    with bed.peer() as peer:
        wire = await open_tunnel(peer.port)
        alive = []

        async def harm() -> None:
            for _ in range(5):
                os.kill(peer.process.pid, signal.SIGHUP)
                await asyncio.sleep(0.8)
                alive.append(await echoes(wire))

        result = await bed.load(peer, 5.5, harm)
        wire.close()
        return Row(f"{result.line()}, tunnel {'lives' if all(alive) else 'died'}", not result.failed and all(alive))


def ready(peer: Peer) -> bool:
    """Whether every worker serves; of a peer that does not tell, whether anybody answers."""
    if peer.name != "gw":
        return peer.answers()
    with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{peer.admin_port}/readyz", timeout=1) as reply:
        return reply.status == 200
    return False


@row("lost <= 1 each, served again < 200 ms")
async def worker_killed(bed: Bed) -> Row:
    respawns: list[float] = []
    kills = 3 if bed.short else 7
    with bed.peer() as peer:

        async def harm() -> None:
            for _ in range(kills):
                before = set(peer.worker_pids())
                os.kill(min(before), signal.SIGKILL)
                start = time.monotonic()
                while time.monotonic() < start + 3 and not (set(peer.worker_pids()) - before and await asyncio.to_thread(ready, peer)):
                    await asyncio.sleep(0.005)
                respawns.append(time.monotonic() - start)
                await asyncio.sleep(1 - respawns[-1] % 1)

        result = await bed.load(peer, kills + 1, harm)
        lost = len(result.failed) + result.raced
        return Row(f"{kills} times: lost {lost} ({result.line()}), served again after {max(respawns) * 1000:.0f} ms", lost <= kills and max(respawns) < 0.2)


@row("0 failed GETs")
async def endpoint_killed(bed: Bed) -> Row:
    with bed.peer() as peer:

        async def harm() -> None:
            bed.endpoints[0].kill()
            await asyncio.sleep(2)
            await asyncio.to_thread(bed.endpoints[0].start)

        result = await bed.load(peer, 4, harm)
        return Row(result.line(), not result.failed)


@row("0 failures, wait <= answer time-out (1 s), ejected")
async def endpoint_frozen(bed: Bed) -> Row:
    with bed.peer() as peer:

        async def harm() -> None:
            bed.endpoints[0].signal(signal.SIGSTOP)
            await asyncio.sleep(3)
            bed.endpoints[0].signal(signal.SIGCONT)

        begin = time.monotonic()
        result = await bed.load(peer, 5, harm)
        slow = sum(sample.latency > 0.5 for sample in result.samples)
        frozen = result.percentile(0.95, begin + 1.8, begin + 2.3)
        passed = not result.failed and result.percentile(1) < 1.5 and frozen < 0.25
        return Row(f"{result.line()}, {slow} slower than 0.5 s, p95 once ejected {frozen * 1000:.0f} ms", passed)


@row("error within 1 s, first 200 within 500 ms of their return")
async def both_gone(bed: Bed) -> Row:
    back = 0.0
    with bed.peer() as peer:

        async def harm() -> None:
            nonlocal back
            for endpoint in bed.endpoints:
                endpoint.kill()
            await asyncio.sleep(2)
            await asyncio.gather(*(asyncio.to_thread(endpoint.start) for endpoint in bed.endpoints))
            back = time.monotonic()

        result = await bed.load(peer, 4.5, harm)
        error = max((sample.latency for sample in result.failed), default=0.0)
        first = min((sample.start + sample.latency for sample in result.samples if sample.status == 200 and sample.start + sample.latency > back), default=back + 9) - back
        silent = sum(sample.status == 0 for sample in result.samples)
        figure = f"{len(result.failed)} errors in at most {error * 1000:.0f} ms, {silent} without an answer, first 200 after {first * 1000:.0f} ms"
        return Row(figure, error < 1 and first < 0.5 and not silent)


@row("slow answers arrive whole, then exit 0")
async def drained(bed: Bed) -> Row:
    with bed.peer(answer_timeout=5.0) as peer:
        client = Client(peer.port, 40, b"GET /slow?ms=1000 HTTP/1.1\r\nHost: a.test\r\n\r\n")
        running = asyncio.ensure_future(client.run(0.5))
        await asyncio.sleep(0.7)
        start = time.monotonic()
        peer.process.send_signal(peer.graceful)
        result = await running
        code = await asyncio.to_thread(peer.process.wait, 10)
        took = time.monotonic() - start
        refused = False
        try:
            socket.create_connection(("127.0.0.1", peer.port), 1).close()
        except OSError:
            refused = True
        return Row(f"{result.line()}, exit {code} after {took:.1f} s", not result.failed and not result.raced and code == 0 and refused and took < 4)


@row("recovers < 2 s, no spin")
async def descriptors(bed: Bed) -> Row:
    with bed.peer(workers=1, descriptors=300) as peer:
        with connections(peer.port, 500):
            await asyncio.sleep(0.5)
            before = cpu_seconds(peer.pids())
            await asyncio.sleep(1)
            spin = cpu_seconds(peer.pids()) - before
        start = time.monotonic()
        answered = False
        while not answered and time.monotonic() < start + 5:
            answered = await asyncio.to_thread(peer.answers)
        took = time.monotonic() - start
        alive = peer.process.poll() is None
        return Row(f"answers again after {took * 1000:.0f} ms, {spin * 100:.0f} % CPU while full", alive and answered and took < 2 and spin < 0.2)


@row("no failure, p99 unchanged, dropped lines counted")
async def log_disk_full(bed: Bed) -> Row:
    log = {"access_log": {"file": "/dev/full", "buffer": 65536, "flush": "50ms"}} if bed.kind == "gw" else {}
    with bed.peer(extra=log) as peer:

        async def harm() -> None:
            return

        result = await bed.load(peer, 1.5 if bed.short else 4, harm)
        dropped = metric(peer, "gw_[a-z_]*drop[a-z_]*") if bed.kind == "gw" else -1
        return Row(f"{result.line()}, {dropped:.0f} lines dropped", not result.failed and result.percentile(0.99) < 0.05 and dropped > 0)


SHIM = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
static volatile long* shift;  /* seconds, mapped from the file CLOCK_SHIFT */
static long now_shift(void) {
  if (!shift) {
    int fd = open(getenv("CLOCK_SHIFT"), O_RDONLY);
    void* map = fd < 0 ? MAP_FAILED : mmap(0, 8, PROT_READ, MAP_SHARED, fd, 0);
    static long none;
    shift = map == MAP_FAILED ? &none : map;
  }
  return *shift;
}
int clock_gettime(clockid_t id, struct timespec* t) {
  static int (*real)(clockid_t, struct timespec*);
  if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
  int code = real(id, t);
  if (!code && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE)) t->tv_sec += now_shift();
  return code;
}
int gettimeofday(struct timeval* t, void* zone) {
  struct timespec s;
  (void)zone;
  clock_gettime(CLOCK_REALTIME, &s);
  t->tv_sec = s.tv_sec;
  t->tv_usec = s.tv_nsec / 1000;
  return 0;
}
time_t time(time_t* t) {
  struct timespec s;
  clock_gettime(CLOCK_REALTIME, &s);
  if (t) *t = s.tv_sec;
  return s.tv_sec;
}
"""


async def compile_shim(folder: Path) -> Path:
    source, library = folder / "shim.c", folder / "shim.so"
    source.write_text(SHIM)
    compiler = await asyncio.create_subprocess_exec("cc", "-shared", "-fPIC", "-O1", "-o", str(library), str(source), "-ldl")
    if await compiler.wait():
        raise RuntimeError("the clock shim does not compile")
    return library


@row("no failure when the wall clock jumps +1 h, -2 h")
async def wall_clock(bed: Bed) -> Row:
    with tempfile.TemporaryDirectory() as folder:
        library, shift = await compile_shim(Path(folder)), Path(folder, "shift")
        shift.write_bytes(bytes(8))

        def jump(seconds: int) -> None:
            with shift.open("r+b") as file:
                file.write(seconds.to_bytes(8, "little", signed=True))

        with bed.peer(environment={"LD_PRELOAD": str(library), "CLOCK_SHIFT": str(shift)}) as peer:
            with connections(peer.port, 20, GET, receive=True) as idle:

                async def harm() -> None:
                    for seconds in (3600, -3600, 0):
                        jump(seconds)
                        await asyncio.sleep(1)

                result = await bed.load(peer, 4, harm)
                closed = sum(ended(sock) for sock in idle)
            return Row(f"{result.line()}, {closed} of 20 idle connections closed", not result.failed and result.percentile(0.99) < 0.1 and not closed)


def ended(sock: socket.socket) -> bool:
    sock.setblocking(False)
    try:
        sock.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


async def settled_memory(peer: Peer) -> int:
    """Bytes of a peer that has finished starting: its memory stayed within 64 KB for half a second. Waits ten seconds at most."""
    sizes: list[int] = []
    for _ in range(100):
        sizes = [*sizes[-5:], memory(peer.pids())]
        if len(sizes) == 6 and max(sizes) - min(sizes) <= 65536:
            break
        await asyncio.sleep(0.1)
    return sizes[-1]


@row("<= 1 KB each, no failure")
async def idle_connections(bed: Bed) -> Row:
    count = 2000 if bed.short else 9800
    with bed.peer(workers=1, keep_alive=120.0) as peer:
        with connections(peer.port, 200, GET, receive=True):
            await asyncio.sleep(0.1)
        before = await settled_memory(peer)  # a supervisor goes on importing after its workers serve
        with connections(peer.port, count, GET, receive=True) as held:
            each = (await settled_memory(peer) - before) / count
            answered = await asyncio.to_thread(peer.answers)
            dead = sum(ended(sock) for sock in held)
        return Row(f"{each:.0f} bytes each, {dead} of {count} closed", each <= 1024 and answered and not dead)


def processes_of(file: Path) -> list[int]:
    """Supervisors started with this config file."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if str(file).encode() in (folder / "cmdline").read_bytes().split(b"\0"):
                found.append(int(folder.name))
    return found


@row("no failure, the old process ends")
async def upgraded(bed: Bed) -> Row:
    with bed.peer() as peer:
        old = peer.process.pid
        try:

            async def harm() -> None:
                os.kill(old, signal.SIGUSR2)

            result = await bed.load(peer, 4 if bed.short else 6, harm)
            with suppress(Exception):
                await asyncio.to_thread(peer.process.wait, 5)
            ended_old, answered = peer.process.poll() is not None, peer.answers()
            return Row(f"{result.line()}, old process {'ended' if ended_old else 'stays'}", not result.failed and ended_old and answered)
        finally:
            for number in (signal.SIGTERM, signal.SIGKILL):
                for pid in processes_of(peer.file):
                    with suppress(ProcessLookupError):
                        os.kill(pid, number)
                await asyncio.sleep(0.5)


@row("last good addresses go on; visible in metrics")
async def dns_flips(bed: Bed) -> Row:
    return Row("skipped: gw takes its resolver from /etc/resolv.conf, which is not ours to change", None)


MEMORY_LIMIT = 160 * 1024 * 1024
OPEN_HEAD = b"GET / HTTP/1.1\r\nHost: a.test\r\nX: " + b"a" * 30000
UNREAD = b"GET /big?n=5000000 HTTP/1.1\r\nHost: a.test\r\n\r\n"
MEMORY_GROUPS = Path("/sys/fs/cgroup/memory")


def said(peer: Peer, event: str) -> bool:
    return f'"event":"{event}"' in (peer.folder / "error.log").read_text()


@contextmanager
def memory_group(limit: int) -> Iterator[Path]:
    """A cgroup whose processes the kernel kills beyond `limit` bytes. OSError when there can be none."""
    group = MEMORY_GROUPS / f"gw-fault-{os.getpid()}"
    group.mkdir()
    try:
        (group / "memory.limit_in_bytes").write_text(str(limit))
        yield group
    finally:
        with suppress(OSError):
            group.rmdir()


async def filled(peer: Peer, count: int, request: bytes) -> tuple[int, Result]:
    """How many connections that each take a buffer were opened, and what clean requests beside them met."""
    client = Client(peer.port, RATE)
    beside = asyncio.ensure_future(client.run(2))
    opened = 0
    with ExitStack() as held:
        with suppress(OSError):
            for _ in range(20):
                await asyncio.to_thread(held.enter_context, connections(peer.port, count // 20, request))
                opened += count // 20
        await asyncio.sleep(0.5)
    return opened, await beside


async def relieved(peer: Peer) -> float:
    """Seconds until no worker refuses work any more; of a peer that does not tell, until it answers. Gives up after 5."""
    start = time.monotonic()
    while time.monotonic() < start + 5:
        if await asyncio.to_thread(metric, peer, "gw_worker_shedding") == 0 if peer.name == "gw" else await asyncio.to_thread(peer.answers):
            break
        await asyncio.sleep(0.02)
    return time.monotonic() - start


@row("not killed by the kernel, says so, accepts again < 2 s")
async def memory_limit(bed: Bed) -> Row:
    with ExitStack() as stack:
        try:
            group = stack.enter_context(memory_group(MEMORY_LIMIT))
        except OSError as failure:
            return Row(f"skipped: no cgroup of our own ({failure.strerror})", None)
        enter = ["sh", "-c", f'echo $$ > {group}/cgroup.procs && exec "$@"', "sh"]
        peer = stack.enter_context(bed.peer(prefix=enter))
        while not ready(peer):
            await asyncio.sleep(0.02)
        workers = peer.worker_pids()
        count = int((MEMORY_LIMIT - int((group / "memory.usage_in_bytes").read_text())) * 1.3 / len(OPEN_HEAD))
        figures, recovered = [], []
        for request in (OPEN_HEAD, UNREAD):
            opened, beside = await filled(peer, count, request)
            met = Counter(sample.status for sample in beside.samples)
            figures.append(f"{opened} {'open heads' if request is OPEN_HEAD else 'unread answers'}: {met[200]} ok, {met[503]} refused, {met[0]} cut")
            recovered.append(await relieved(peer))
        peak = int((group / "memory.max_usage_in_bytes").read_text())
        result = await Client(peer.port, RATE).run(1)
        killed = workers != peer.worker_pids() or peer.process.poll() is not None
        told = "says so" if bed.kind != "gw" or (said(peer, "memory-short") and metric(peer, "gw_worker_sheds_total") > 0) else "says nothing"
        figures.append(f"peak {peak / MEMORY_LIMIT:.0%}, {'killed' if killed else 'not killed'}, {told}, accepts again after {max(recovered):.1f} s")
        return Row("; ".join([*figures, f"then {result.line()}"]), not result.failed and not killed and told == "says so" and max(recovered) < 2)
