"""How `gw status`, `gw reload` and `gw stop` talk to a running supervisor: a Unix socket, one request and one reply per connection.

Its name is a hash of the config's absolute path, in the first of these folders that works: /run/gw (root), $XDG_RUNTIME_DIR/gw,
/tmp/gw-<uid>. Only the same user can enter that folder.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import socket
import stat
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct, field

from gw.errors import GatewayError
from gw.server.channel import LENGTH, Frames, frame

REQUEST_MAX = 64 * 1024  # bytes
REQUEST_TIMEOUT = 5.0  # seconds for a client to say what it wants
CONNECT_TIMEOUT = 2.0  # seconds
NAME_LENGTH = 16  # hex digits of the hash


class Call(Struct):
    """What the client wants."""

    name: str
    args: dict[str, Any] = field(default_factory=dict)


class Reply(Struct):
    """`error` is one sentence when the call itself was not understood."""

    value: Any = None
    error: str | None = None


Handler = Callable[..., Awaitable[Any]]


def folders(environ: Mapping[str, str] = os.environ) -> list[Path]:
    """Where control sockets may be, in order of preference."""
    runtime = environ.get("XDG_RUNTIME_DIR")
    found = [Path("/run/gw")] if os.geteuid() == 0 else []
    if runtime:
        found.append(Path(runtime, "gw"))
    return [*found, Path(tempfile.gettempdir(), f"gw-{os.geteuid()}")]


def name_of(config: Path) -> str:
    """File name of the control socket for this config."""
    return hashlib.sha256(os.fsencode(config.resolve())).hexdigest()[:NAME_LENGTH] + ".sock"


def _private(folder: Path) -> bool:
    """Ours alone: in /tmp somebody else may have made it first."""
    try:
        found = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not stat.S_IMODE(found.st_mode) & 0o077


def _make_private(folder: Path) -> bool:
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        return _private(folder)
    except OSError:
        return False
    return True


def find(config: Path) -> Path | None:
    """The control socket of the supervisor that runs this config, or None."""
    for folder in folders():
        path = folder / name_of(config)
        if _private(folder) and path.is_socket():
            return path
    return None


def call(config: Path, name: str, timeout: float | None = None, **args: Any) -> Any:
    """Ask the supervisor that runs `config`; `timeout` in seconds, None waits. Raises GatewayError in one sentence when none answers."""
    path = find(config)
    if path is None:
        raise GatewayError(f"no gw is running with {config}. Start it with: gw run {config}")
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
            sock.settimeout(CONNECT_TIMEOUT)
            sock.connect(str(path))
            sock.settimeout(timeout)
            sock.sendall(frame(Call(name, args)))
            reply = msgspec.msgpack.decode(_receive(sock), type=Reply)
    except (ConnectionRefusedError, FileNotFoundError):
        raise GatewayError(f"no gw is running with {config}; its last one did not end well. Start it with: gw run {config}") from None
    except TimeoutError:
        raise GatewayError(f"the gw that runs {config} did not answer within {timeout or CONNECT_TIMEOUT:g} s") from None
    except ConnectionError:
        raise GatewayError(f"the gw that runs {config} ended before it answered") from None
    if reply.error:
        raise GatewayError(reply.error)
    return reply.value


def _receive(sock: socket.socket) -> bytes:
    frames = Frames()
    while data := sock.recv(REQUEST_MAX):
        for body in frames.feed(data):
            return body
    raise ConnectionResetError("closed before a whole reply")


class Control:
    """The supervisor's end."""

    def __init__(self, handlers: Mapping[str, Handler]) -> None:
        self._handlers = handlers
        self._server: asyncio.Server | None = None
        self._path: Path | None = None
        self._inode = 0

    async def start(self, config: Path) -> Path | None:
        """Open the socket, over one that a dead or replaced supervisor left. None when no folder can be used."""
        folder = next(filter(_make_private, folders()), None)
        if folder is None:
            return None
        path = folder / name_of(config)
        fresh = path.with_name(f"{os.getpid()}.new")
        fresh.unlink(missing_ok=True)
        self._server = await asyncio.start_unix_server(self._serve, fresh)
        fresh.rename(path)
        self._path, self._inode = path, path.stat().st_ino
        return path

    def stop(self) -> None:
        """Close the socket; its file goes only if no successor has put its own there."""
        if self._server is None or self._path is None:
            return
        self._server.close()
        self._server = None
        try:
            if self._path.stat().st_ino == self._inode:
                self._path.unlink()
        except FileNotFoundError:
            return

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            body = await asyncio.wait_for(self._body(reader), REQUEST_TIMEOUT)
            writer.write(frame(await self._answer(body)))
            await writer.drain()
        except (OSError, EOFError, TimeoutError):  # the asker went away
            return
        finally:
            writer.close()

    async def _body(self, reader: asyncio.StreamReader) -> bytes:
        (length,) = LENGTH.unpack(await reader.readexactly(LENGTH.size))
        return await reader.readexactly(min(length, REQUEST_MAX))

    async def _answer(self, body: bytes) -> Reply:
        try:
            request = msgspec.msgpack.decode(body, type=Call)
        except msgspec.MsgspecError as error:
            return Reply(error=f"the request is not understood: {error}")
        handler = self._handlers.get(request.name)
        if handler is None:
            return Reply(error=f"this gw does not know the request '{request.name}'; it knows {', '.join(sorted(self._handlers))}")
        return Reply(value=await handler(**request.args))
