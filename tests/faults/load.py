"""An open-loop client: requests start on schedule whatever became of the ones before, so that a stall shows as latency."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

GET = b"GET /x HTTP/1.1\r\nHost: a.test\r\n\r\n"


@dataclass(slots=True)
class Sample:
    start: float  # seconds, monotonic
    latency: float  # seconds
    status: int  # 0: no answer
    raced: bool = False  # a kept connection died under the request, before any byte of an answer; it was repeated on a new one


@dataclass
class Result:
    samples: list[Sample] = field(default_factory=list)
    slipped: float = 0.0  # seconds by which the client itself was late at worst

    @property
    def failed(self) -> list[Sample]:
        return [sample for sample in self.samples if sample.status != 200]

    @property
    def raced(self) -> int:
        return sum(sample.raced for sample in self.samples)

    def percentile(self, share: float, since: float = 0, until: float = float("inf")) -> float:
        """Latency in seconds that `share` of the requests started in the interval did not exceed."""
        found = sorted(sample.latency for sample in self.samples if since <= sample.start < until)
        return found[min(len(found) - 1, int(share * len(found)))] if found else 0.0

    def line(self) -> str:
        count = len(self.samples)
        return f"{count - len(self.failed)}/{count} ok, {self.raced} raced, p99 {self.percentile(0.99) * 1000:.0f} ms, max {self.percentile(1) * 1000:.0f} ms"


class Client:
    """Keeps connections; each request takes an idle one that is not yet closed by the peer, or a new one."""

    def __init__(self, port: int, rate: float = 200, request: bytes = GET, timeout: float = 8, host: str = "127.0.0.1") -> None:
        self.address = (host, port)
        self.rate = rate
        self.request = request
        self.timeout = timeout
        self.idle: list[socket.socket] = []
        self.result = Result()
        self.stopped = asyncio.Event()

    def take(self) -> socket.socket | None:
        while self.idle:
            sock = self.idle.pop()
            try:
                sock.recv(1, socket.MSG_PEEK)
            except BlockingIOError:
                return sock
            except OSError:
                pass
            sock.close()
        return None

    async def fresh(self) -> socket.socket:
        sock = socket.socket()
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            await asyncio.get_running_loop().sock_connect(sock, self.address)
        except BaseException:
            sock.close()
            raise
        return sock

    async def exchange(self, sock: socket.socket) -> int:
        """Status of the answer; ConnectionError when the peer ends before its first byte, EOFError when after."""
        loop = asyncio.get_running_loop()
        data, keep = b"", False
        try:
            await loop.sock_sendall(sock, self.request)
            while (end := data.find(b"\r\n\r\n")) < 0:
                more = await loop.sock_recv(sock, 65536)
                if not more:
                    raise EOFError if data else ConnectionResetError
                data += more
            head = data[:end].lower()
            length = int(head.split(b"\r\ncontent-length: ")[1].split(b"\r\n")[0]) if b"\r\ncontent-length: " in head else 0
            while len(data) < end + 4 + length:
                more = await loop.sock_recv(sock, 65536)
                if not more:
                    raise EOFError
                data += more
            keep = b"\r\nconnection: close" not in head
            return int(data[9:12])
        finally:
            if keep:
                self.idle.append(sock)
            else:
                sock.close()

    async def one(self, start: float) -> None:
        status, raced = 0, False
        with suppress(OSError, EOFError, TimeoutError):
            async with asyncio.timeout(self.timeout):
                kept = self.take()
                if kept:
                    try:
                        status = await self.exchange(kept)
                    except ConnectionError:
                        raced = True
                if not status:
                    status = await self.exchange(await self.fresh())
        self.result.samples.append(Sample(start, time.monotonic() - start, status, raced))

    async def run(self, seconds: float) -> Result:
        """Send for `seconds`, or until `stopped`; waits for the last answers."""
        begin = time.monotonic()
        running: set[asyncio.Task] = set()
        for i in range(int(seconds * self.rate)):
            due = begin + i / self.rate
            delay = due - time.monotonic()
            if delay > 0:
                await asyncio.sleep(delay)
            elif i:
                self.result.slipped = max(self.result.slipped, -delay)
            if self.stopped.is_set():
                break
            task = asyncio.ensure_future(self.one(time.monotonic()))
            running.add(task)
            task.add_done_callback(running.discard)
        await asyncio.gather(*running)
        for sock in self.idle:
            sock.close()
        self.idle.clear()
        return self.result


@contextmanager
def connections(port: int, count: int, send: bytes = b"", receive: bool = False) -> Iterator[list[socket.socket]]:
    """`count` open connections, each after `send` (and one read of the answer); closed at the end."""
    held: list[socket.socket] = []
    try:
        for _ in range(count):
            sock = socket.create_connection(("127.0.0.1", port), 5)
            held.append(sock)
            if send:
                sock.sendall(send)
            if receive:
                sock.recv(4096)
        yield held
    finally:
        for sock in held:
            sock.close()
