"""A lane on a uvloop loop in a thread of this process, an origin that tells what it got, and a client of bytes."""

from __future__ import annotations

import asyncio
import json
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import uvloop

from gw._fast.lane import Lane
from gw._fast.shm import Segment
from gw.config import load
from gw.runtime import compile_snapshot

PATIENCE = 10.0  # seconds that anything may take


def until(done: Callable[[], Any], what: str) -> Any:
    """Poll until `done()` is true and return what it gave."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if found := done():
            return found
        time.sleep(0.002)
    raise AssertionError(f"not within {PATIENCE:g} s: {what}")


class _Tell(BaseHTTPRequestHandler):
    """Answers with what came in as JSON; `/slow` waits until it is told to go on."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1

    def _tell(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))) if "Transfer-Encoding" not in self.headers else self._chunks()
        self.server.paths.append(self.path)
        if self.path.startswith("/slow"):
            self.server.go_on.wait(PATIENCE)
        told = json.dumps({"method": self.command, "path": self.path, "headers": self.headers.items(), "body": body.decode("latin-1")}).encode()
        self.send_response(200)
        for name, value in (("X-Origin", "yes"), ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2"), ("Content-Length", str(len(told)))):
            self.send_header(name, value)
        self.end_headers()
        with suppress(ConnectionError):
            self.wfile.write(told if self.command != "HEAD" else b"")

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = _tell

    def _chunks(self) -> bytes:
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def log_message(self, *args: object) -> None:
        """Says nothing."""


class Origin(ThreadingHTTPServer):
    """`paths` are the requests it took, in their order."""

    request_queue_size = 1024
    daemon_threads = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Tell)
        self.paths: list[str] = []
        self.go_on = threading.Event()
        self.connections: set[socket.socket] = set()
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    @property
    def port(self) -> int:
        port: int = self.server_address[1]
        return port

    def close(self) -> None:
        self.go_on.set()
        self.shutdown()
        self._thread.join()
        self.server_close()

    def handle_error(self, *args: object) -> None:
        """A connection that was cut is what some tests want."""


class Answer(NamedTuple):
    """One answer, read from a connection."""

    status: int
    fields: list[tuple[str, str]]
    body: bytes

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.fields if key.lower() == name.lower()]

    def one(self, name: str) -> str | None:
        """The value of a field that is there at most once."""
        values = self.all(name)
        assert len(values) <= 1, self.fields
        return values[0] if values else None

    @property
    def told(self) -> dict[str, Any]:
        """What the origin says it got."""
        found: dict[str, Any] = json.loads(self.body)
        return found

    def sent(self, name: str) -> list[str]:
        """Values of a field as the origin got it."""
        return [value for key, value in self.told["headers"] if key.lower() == name.lower()]


class Client:
    """One connection. `ask` sends a request and reads its answer; `send` and `read` are its halves."""

    def __init__(self, port: int) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), PATIENCE)
        self.file = self.sock.makefile("rb")

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.file.close()
        self.sock.close()

    def reset(self) -> None:
        """Go away as a killed client does."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.close()

    def send(self, path: str = "/", *fields: str, method: str = "GET", body: bytes = b"", version: str = "1.1") -> None:
        lines = [f"{method} {path} HTTP/{version}", "Host: h.example", *([f"Content-Length: {len(body)}"] if body else []), *fields, "", ""]
        self.sock.sendall("\r\n".join(lines).encode("latin-1") + body)

    def read(self, *, to_head: bool = False) -> Answer:
        line = self.file.readline()
        assert line.startswith(b"HTTP/1.1 "), line
        fields = []
        while (field := self.file.readline()) not in (b"\r\n", b""):
            name, _, value = field.decode("latin-1").partition(":")
            fields.append((name, value.strip()))
        status = int(line[9:12])
        sizes = [int(value) for name, value in fields if name.lower() == "content-length"]
        assert len(sizes) <= 1
        body = self.file.read(sizes[0]) if sizes and not to_head and status not in (204, 304) else b""
        return Answer(status, fields, body)

    def ask(self, path: str = "/", *fields: str, method: str = "GET", body: bytes = b"", version: str = "1.1") -> Answer:
        self.send(path, *fields, method=method, body=body, version=version)
        return self.read(to_head=method == "HEAD")

    def ended(self) -> bool:
        return self.file.read(1) == b""


class Rig:
    """The lane at work. Policies are given as the text of their modules; what a module holds can be looked at through `module`."""

    def __init__(self, folder: Path, config: str, **policies: str) -> None:
        self.folder = folder
        (folder / "policies").mkdir(exist_ok=True)
        self.names = list(policies)
        for name, text in policies.items():
            (folder / "policies" / f"{name}.py").write_text(PREAMBLE + text)
        self.segment = Segment(1, 64, 64, 1024)
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.loop = uvloop.new_event_loop()
        self.lane = Lane(self.segment, 0, lambda event, fields: self.events.append((event, fields)), lambda: None)
        self.lane.install(self.snapshot(config, 1))
        self.sock = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.sock.setblocking(False)
        self.port: int = self.sock.getsockname()[1]
        self.lane.listen(self.sock.fileno(), 0)
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def snapshot(self, config: str, revision: int) -> Any:
        """Compiled from YAML behind a listener and the policies' folder."""
        path = self.folder / "gw.yaml"
        path.write_text(f"listeners: [{{bind: '127.0.0.1:1'}}]\nadmin: null\nmodules: [policies]\n{config}")
        return compile_snapshot(load(path).config, revision, self.segment, self.folder)

    def reload(self, config: str) -> None:
        """What a worker does with a new revision."""
        made = self.snapshot(config, self.lane.current.revision + 1)
        self.call(lambda: self.lane.install(made))

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.lane.join(self.loop)
        self.loop.run_forever()

    def call(self, work: Callable[[], Any]) -> Any:
        """Run it on the lane's thread."""

        async def run() -> Any:
            return work()

        return asyncio.run_coroutine_threadsafe(run(), self.loop).result(PATIENCE)

    def stats(self) -> dict[str, Any]:
        found: dict[str, Any] = self.call(self.lane.stats)
        return found

    def figures(self) -> dict[str, int]:
        """The worker's figures in the segment."""
        return self.segment.workers()[0]

    def module(self, name: str) -> Any:
        return sys.modules[f"gw_policies.{name}"]

    def said(self, event: str) -> list[dict[str, Any]]:
        return [fields for name, fields in self.events if name == event]

    def quiet(self) -> None:
        """Wait until no exchange is open, and look that nothing is held."""
        until(lambda: self.stats()["exchanges"] == 0, "every exchange has ended")
        assert self.call(lambda: len(asyncio.all_tasks(self.loop))) == 1  # the one that asks

    def close(self) -> None:
        """Nothing may be left when everybody has gone."""
        try:
            until(lambda: self.stats()["connections"] == 0, "every client has gone")
            stats = self.stats()
            assert stats["exchanges"] == 0
            assert stats["buffers"] == 0
            assert self.call(self.lane.current.users) == 0
        finally:
            self.loop.call_soon_threadsafe(self.loop.stop)
            self._thread.join()
            self.lane.close()
            self.loop.close()
            self.sock.close()
            for name in self.names:
                sys.modules.pop(f"gw_policies.{name}", None)


PREAMBLE = """\
import asyncio

from msgspec import Struct

from gw.policy import Hooks, Request, Response, Tools

SEEN = []


class Config(Struct, forbid_unknown_fields=True, frozen=True):
    text: str = ""


"""

LOOK = """
def build(config: Config, tools: Tools) -> Hooks:
    def look(request: Request) -> None:
        SEEN.append({name: getattr(request, name) for name in ("id", "method", "path", "query", "host", "scheme", "client", "route", "params", "status", "by", "reason")})
        SEEN.append(repr(request))
    return Hooks(request=look)
"""

Make = Callable[..., Rig]


class At(Protocol):
    """Whatever listens on a port of this host."""

    @property
    def port(self) -> int: ...


def behind(origin: At, *policies: str, more: str = "") -> str:
    """One route to the origin with these policies."""
    return f"services: {{one: {{endpoints: ['127.0.0.1:{origin.port}']}}}}\nroutes: [{{path: /, name: all, service: one, policies: [{', '.join(policies)}]}}]\n{more}"


def two_routes(origin: Origin, policy: str) -> str:
    routes = ", ".join(f"{{path: /{name}, name: {name}, service: one, policies: [{policy}]}}" for name in ("now", "later"))
    return f"services: {{one: {{endpoints: ['127.0.0.1:{origin.port}']}}}}\nroutes: [{routes}]"
