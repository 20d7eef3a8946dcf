"""A service that policies ask: it answers as a test says, and remembers what it was asked."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit

from gw._fast.shm import Segment
from gw.config import load
from gw.runtime import compile_snapshot
from tests.unit.fast.rig import PATIENCE


class Asked(NamedTuple):
    """One question. Names of fields are in lower case; the last of a name counts."""

    method: str
    target: str
    fields: dict[str, str]
    body: bytes

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, str]:
        return dict(parse_qsl(urlsplit(self.target).query))

    @property
    def form(self) -> dict[str, str]:
        return dict(parse_qsl(self.body.decode(), keep_blank_values=True))


class Told(NamedTuple):
    """What it answers."""

    status: int = 200
    body: bytes = b""
    fields: tuple[tuple[str, str], ...] = ()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1

    def _serve(self) -> None:
        asked = Asked(self.command, self.path, {name.lower(): value for name, value in self.headers.items()}, self.rfile.read(int(self.headers.get("Content-Length", 0))))
        self.server.asked.append(asked)
        self.server.go_on.wait(PATIENCE)
        told = self.server.answer(asked)
        self.send_response(told.status)
        for name, value in (*told.fields, ("Content-Length", str(len(told.body)))):
            self.send_header(name, value)
        self.end_headers()
        with suppress(ConnectionError):
            self.wfile.write(told.body if self.command != "HEAD" else b"")

    do_GET = do_HEAD = do_POST = _serve

    def log_message(self, *args: object) -> None:
        """Says nothing."""


class Service(ThreadingHTTPServer):
    """`go_on` is cleared by a test that wants it to wait."""

    daemon_threads = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.asked: list[Asked] = []
        self.answer: Callable[[Asked], Told] = lambda _: Told()
        self.go_on = threading.Event()
        self.go_on.set()
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def close(self) -> None:
        self.go_on.set()
        self.shutdown()
        self._thread.join()
        self.server_close()

    def handle_error(self, *args: object) -> None:
        """A question that is given up is what some tests want."""


def compiled(folder: Path, policy: str, more: str = "", segment: Segment | None = None) -> Any:
    """A snapshot of one route that answers by itself. Raises ConfigError."""
    (folder / "gw.yaml").write_text(f"listeners: [{{bind: ':1'}}]\nadmin: null\nroutes: [{{path: /, respond: {{}}, policies: [{policy}]}}]\n{more}")
    return compile_snapshot(load(folder / "gw.yaml").config, 1, segment or Segment(1, 8, 8), folder)
