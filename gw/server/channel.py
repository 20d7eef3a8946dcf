"""Messages between supervisor and worker over a socket pair: a length, a MessagePack body, and descriptors beside the bytes."""

from __future__ import annotations

import array
import os
import socket
import struct
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Literal, Protocol

import msgspec
from msgspec import Struct

from gw.store import Meter

LENGTH = struct.Struct("!I")
FDS_PER_MESSAGE = 200  # the kernel refuses more than 253 (SCM_MAX_FD)
READ = 256 * 1024
QUEUE_MAX = 1024 * 1024  # bytes that may wait before reports are dropped


class Listen(Struct, tag="listen"):
    """Sockets for the next revision; one descriptor per entry of `binds` comes beside it."""

    binds: list[str]


class Prepare(Struct, tag="prepare"):
    """Compile this config, but go on serving the old one."""

    revision: int
    config: bytes
    base: str
    addresses: dict[str, list[tuple[str, int]]]
    ticket_keys: list[bytes]
    supplies: dict[str, bytes]


class Commit(Struct, tag="commit"):
    """Serve the prepared revision from now on."""

    revision: int


class Abandon(Struct, tag="abandon"):
    """Forget the prepared revision and the sockets that came for it."""

    revision: int


class Addresses(Struct, tag="addresses"):
    """What the name of an endpoint resolves to now."""

    endpoint: str
    addresses: list[tuple[str, int]]


class Supply(Struct, tag="supply"):
    """What a source of policies has published."""

    source: str
    data: bytes


class Granted(Struct, tag="granted"):
    """Leases were written that exchanges may wait for."""


class NewTicketKeys(Struct, tag="ticket-keys"):
    """Keys of TLS session tickets from now on; the first one encrypts."""

    keys: list[bytes]


class ReopenLogs(Struct, tag="reopen-logs"):
    """Open the log files by name again: somebody has renamed them."""


class Drain(Struct, tag="drain"):
    """Accept nothing more and exit when the last exchange is over, or after `seconds`."""

    seconds: float


class Shed(Struct, tag="shed"):
    """Refuse new work, or take it again."""

    on: bool


class Growing(Struct, tag="growing"):
    """The lane grew so far that somebody should look at the memory there is."""


class Ready(Struct, tag="ready"):
    """The worker accepts connections with this revision."""

    revision: int


class Prepared(Struct, tag="prepared"):
    """The revision compiled here."""

    revision: int


class Failed(Struct, tag="failed"):
    """The revision did not compile here."""

    revision: int
    reason: str


class Committed(Struct, tag="committed"):
    """New requests are on this revision."""

    revision: int


class Want(Struct, tag="want"):
    """Fresher data of a source may hold what is missing here."""

    source: str


class Asked(Struct, tag="asked"):
    """A key of a limit needs units."""

    meter: Meter
    key: str
    place: bytes  # of its lease
    want: int  # units that a request costs
    away: Literal["local", "open", "closed"]  # what to do when the ledger is away


class Report(Struct, tag="report"):
    """An event for the error log."""

    event: str
    fields: dict[str, Any]


ToWorker = Listen | Prepare | Commit | Abandon | Addresses | Supply | Granted | NewTicketKeys | ReopenLogs | Drain | Shed
ToSupervisor = Growing | Ready | Prepared | Failed | Committed | Want | Asked | Report


to_worker = msgspec.msgpack.Decoder(ToWorker).decode
to_supervisor = msgspec.msgpack.Decoder(ToSupervisor).decode


def frame(message: Struct) -> bytes:
    """The message's bytes, ahead of them their number in 4 bytes."""
    body = msgspec.msgpack.encode(message)
    return LENGTH.pack(len(body)) + body


class Frames:
    """Bytes in any pieces in, whole bodies out."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield every body that `data` completes."""
        self._buffer += data
        while len(self._buffer) >= LENGTH.size:
            (length,) = LENGTH.unpack_from(self._buffer)
            end = LENGTH.size + length
            if len(self._buffer) < end:
                return
            body = bytes(self._buffer[LENGTH.size : end])
            del self._buffer[:end]
            yield body


class Loop(Protocol):
    """The part of an event loop that a channel needs; asyncio's and uvloop's both have it."""

    def add_reader(self, fd: int, callback: Callable[[], object]) -> object: ...
    def remove_reader(self, fd: int) -> object: ...
    def add_writer(self, fd: int, callback: Callable[[], object]) -> object: ...
    def remove_writer(self, fd: int) -> object: ...


class Channel:
    """One end of the pair. `receive(message, fds)` gets each message, `closed()` is called once when the other end is gone."""

    def __init__(self, loop: Loop, sock: socket.socket, decode: Callable[[bytes], Any], receive: Callable[[Any, list[int]], None], closed: Callable[[], None]) -> None:
        self._loop = loop
        self._sock: socket.socket | None = sock
        self._decode = decode
        self._receive = receive
        self._closed = closed
        self._frames = Frames()
        self._fds: deque[int] = deque()
        self._waiting: deque[tuple[bytes, Sequence[int]]] = deque()
        self._queued = 0
        sock.settimeout(0)
        loop.add_reader(sock.fileno(), self._readable)

    def __repr__(self) -> str:
        state = "closed" if self._sock is None else f"fd {self._sock.fileno()}"
        return f"<Channel {state}, {self._queued} bytes wait>"

    def send(self, message: Struct, fds: Iterable[int] = ()) -> None:
        """Queue the message; `fds` are duplicated by the kernel when its first byte leaves, so they must stay open until then."""
        if self._sock is None:
            return
        data = frame(message)
        idle = not self._waiting
        self._waiting.append((data, tuple(fds)))
        self._queued += len(data)
        if idle and not self._flush() and self._sock is not None:
            self._loop.add_writer(self._sock.fileno(), self._writable)

    def offer(self, message: Struct) -> bool:
        """Send it unless too much waits already: for what may be lost, such as reports."""
        if self._queued > QUEUE_MAX:
            return False
        self.send(message)
        return True

    def send_sockets(self, sockets: Iterable[tuple[str, int]]) -> None:
        """Send (bind, descriptor) pairs in as many messages as the kernel's limit asks for."""
        pairs = list(sockets)
        for start in range(0, len(pairs), FDS_PER_MESSAGE):
            part = pairs[start : start + FDS_PER_MESSAGE]
            self.send(Listen([bind for bind, _ in part]), [fd for _, fd in part])

    def finish(self) -> None:
        """The other end is dead: take what it said last, then close without telling `closed`."""
        self._closed = lambda: None
        while self._sock is not None and self._readable():
            pass
        self.close()

    def close(self) -> None:
        """Close without telling `closed`."""
        if self._sock is None:
            return
        self._loop.remove_reader(self._sock.fileno())
        self._loop.remove_writer(self._sock.fileno())
        self._sock.close()
        self._sock = None
        self._waiting.clear()
        self._queued = 0
        while self._fds:
            os.close(self._fds.popleft())

    def _lost(self) -> None:
        if self._sock is not None:
            self.close()
            self._closed()

    def _writable(self) -> None:
        if self._flush() and self._sock is not None:
            self._loop.remove_writer(self._sock.fileno())

    def _flush(self) -> bool:
        while self._waiting and self._sock is not None:
            data, fds = self._waiting[0]
            ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
            try:
                sent = self._sock.sendmsg([data], ancillary, socket.MSG_NOSIGNAL)
            except BlockingIOError:
                return False
            except OSError:  # the reader sees the end of file and calls `closed`; here nothing is left to do
                self._waiting.clear()
                return True
            self._queued -= sent
            if sent < len(data):
                self._waiting[0] = (data[sent:], ())
            else:
                self._waiting.popleft()
        return True

    def _readable(self) -> bool:
        """Handle one read; False when there is nothing more for now."""
        if self._sock is None:
            return False
        try:
            data, ancillary, _flags, _address = self._sock.recvmsg(READ, socket.CMSG_SPACE(FDS_PER_MESSAGE * 4), socket.MSG_CMSG_CLOEXEC)
        except BlockingIOError:
            return False
        except OSError:
            data, ancillary = b"", []
        self._keep(ancillary)
        if not data:
            self._lost()
            return False
        for body in self._frames.feed(data):
            message = self._decode(body)
            count = len(message.binds) if isinstance(message, Listen) else 0
            self._receive(message, [self._fds.popleft() for _ in range(count)])
        return True

    def _keep(self, ancillary: list[tuple[int, int, bytes]]) -> None:
        for level, kind, data in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                found = array.array("i")
                found.frombytes(data[: len(data) - len(data) % found.itemsize])
                self._fds.extend(found)
