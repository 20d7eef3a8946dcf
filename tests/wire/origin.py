"""The recording origin: a strict HTTP/1.1 server on raw sockets that keeps the exact bytes it received, and plays scripts."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import struct
from collections.abc import Awaitable, Callable

from tests.wire.strict import Malformed, Request, take_request

READ = 64 * 1024
EXPECTS = re.compile(rb"\r\nexpect: *100-continue\r\n(.*\r\n)?\r\n", re.IGNORECASE | re.DOTALL)


class Wire:
    """One end of a TCP connection, raw: what to send, when, and how to end it is the script's business."""

    def __init__(self, sock: socket.socket, number: int = 0) -> None:
        sock.setblocking(False)
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock = sock
        self.number = number
        self.buffer = b""
        self.loop = asyncio.get_running_loop()

    async def read(self, limit: int = READ) -> bytes:
        """The next bytes; empty at the end of the peer's stream. ConnectionResetError passes through."""
        return await self.loop.sock_recv(self.sock, limit)

    async def fill(self) -> bool:
        data = await self.read()
        self.buffer += data
        return bool(data)

    async def until(self, mark: bytes, timeout: float = 5) -> bytes:
        """Read up to and with `mark`; EOFError when the peer ends before."""
        async with asyncio.timeout(timeout):
            while mark not in self.buffer:
                if not await self.fill():
                    raise EOFError(self.buffer)
        end = self.buffer.index(mark) + len(mark)
        found, self.buffer = self.buffer[:end], self.buffer[end:]
        return found

    async def exactly(self, count: int, timeout: float = 5) -> bytes:
        async with asyncio.timeout(timeout):
            while len(self.buffer) < count:
                if not await self.fill():
                    raise EOFError(self.buffer)
        found, self.buffer = self.buffer[:count], self.buffer[count:]
        return found

    async def rest(self, timeout: float = 5) -> bytes:
        """Everything up to the end of the stream, a reset counting as an end."""
        async with asyncio.timeout(timeout):
            with contextlib.suppress(ConnectionError):
                while await self.fill():
                    pass
        found, self.buffer = self.buffer, b""
        return found

    async def send(self, data: bytes) -> None:
        await self.loop.sock_sendall(self.sock, data)

    async def trickle(self, data: bytes, step: int = 1, pause: float = 0) -> None:
        for at in range(0, len(data), step):
            await self.send(data[at : at + step])
            await asyncio.sleep(pause)

    def end_writing(self) -> None:
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Close with a TCP RST instead of a FIN."""
        with contextlib.suppress(OSError):
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def close(self) -> None:
        self.sock.close()

    def __del__(self) -> None:  # a scenario that fails half way leaves its connections behind
        self.sock.close()


async def connect(port: int, host: str = "127.0.0.1", source: str | None = None, receive_buffer: int = 0) -> Wire:
    """A client connection. `receive_buffer` in bytes makes a slow reader felt at once."""
    sock = socket.socket()
    sock.setblocking(False)
    if receive_buffer:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    if source:
        sock.bind((source, 0))
    try:
        async with asyncio.timeout(5):
            await asyncio.get_running_loop().sock_connect(sock, (host, port))
    except BaseException:
        sock.close()
        raise
    return Wire(sock)


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def answer(body: bytes, status: str = "200 OK", *fields: str) -> bytes:
    lines = "".join(f"{line}\r\n" for line in fields)
    return f"HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\n{lines}\r\n".encode() + body


Script = Callable[[Wire, Request], Awaitable[bool]]  # returns whether the connection goes on
Raw = Callable[[Wire], Awaitable[bool]]  # as Script, but gets the connection before anything is parsed; chosen by the start of the target


class Origin:
    """Listens on 127.0.0.1. `seen` holds the complete requests, `faults` what was no request at all, `scripts` the paths that are answered by a script."""

    def __init__(self, port: int = 0) -> None:
        self.sock = socket.socket()
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.sock.bind(("127.0.0.1", port))
        self.sock.listen(1024)
        self.sock.setblocking(False)
        self.port: int = self.sock.getsockname()[1]
        self.scripts: dict[str, Script] = {}
        self.raw_scripts: dict[bytes, Raw] = {}
        self.wires: set[Wire] = set()
        self.tasks: set[asyncio.Task] = set()
        self.accepted = 0
        self.greeting = b""  # sent on the next connection before anything is read
        self.problems: list[BaseException] = []
        self.forget()

    def forget(self) -> None:
        self.seen: list[Request] = []
        self.faults: list[Malformed] = []

    async def __aenter__(self) -> Origin:
        self.keep(self.accept())
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in list(self.tasks):
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        self.sock.close()

    def keep(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            sock, _ = await loop.sock_accept(self.sock)
            self.accepted += 1
            self.keep(self.serve(Wire(sock, self.accepted)))

    async def serve(self, wire: Wire) -> None:
        self.wires.add(wire)
        try:
            if self.greeting:
                greeting, self.greeting = self.greeting, b""
                await wire.send(greeting)
            while await self.one(wire):
                pass
        except (OSError, EOFError, TimeoutError):
            pass
        except Malformed as fault:
            self.faults.append(fault)
            with contextlib.suppress(OSError):
                await wire.send(answer(b"malformed", "400 Bad Request", "Connection: close"))
        finally:
            self.wires.discard(wire)
            wire.close()

    async def one(self, wire: Wire) -> bool:
        continued = False
        while (taken := take_request(wire.buffer)) is None:
            if not continued and EXPECTS.search(wire.buffer):
                continued = True
                await wire.send(b"HTTP/1.1 100 Continue\r\n\r\n")
            raw = self.raw_script(wire.buffer)
            if raw:
                return await raw(wire)
            if not await wire.fill():
                return False
        request, end = taken
        raw = self.raw_script(request.raw)
        if raw:
            return await raw(wire)
        wire.buffer = wire.buffer[end:]
        request.connection = wire.number
        self.seen.append(request)
        script = self.scripts.get(request.target.split("?")[0])
        if script:
            return await script(wire, request)
        await wire.send(self.default(request))
        return request.keep_alive

    def raw_script(self, buffer: bytes) -> Raw | None:
        if not self.raw_scripts or b"\r\n\r\n" not in buffer:
            return None
        target = buffer.split(b" ", 2)[1]
        return next((script for start, script in self.raw_scripts.items() if target.startswith(start)), None)

    def default(self, request: Request) -> bytes:
        body = f"{request.method} {request.target}".encode("latin-1")
        whole = answer(body, "200 OK", *([] if request.keep_alive else ["Connection: close"]))
        return whole[: len(whole) - len(body)] if request.method == "HEAD" else whole

    def hang_up(self) -> None:
        """Close every open connection, idle or not."""
        for wire in list(self.wires):
            wire.end_writing()
