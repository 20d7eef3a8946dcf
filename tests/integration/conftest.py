"""Real processes: a `gw`, an nginx origin, a slow origin; all on 127.0.0.1 and free ports."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.client import HTTPConnection, HTTPResponse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from gw.server import control

START = 20.0  # seconds until a gateway must serve
STOP = 15.0  # seconds until it must be gone


def until(done: Callable[[], Any], seconds: float, what: str) -> Any:
    """Poll until `done()` is true and return what it gave."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := done():
            return found
        time.sleep(0.005)
    raise AssertionError(f"not within {seconds:g} s: {what}")


@pytest.fixture
def free_port() -> Callable[[], int]:
    """A port that nobody listens on now, on any address; each one once."""
    given: set[int] = set()

    def find() -> int:
        with socket.socket() as sock:
            sock.bind(("", 0))
            port: int = sock.getsockname()[1]
        if port in given:
            return find()
        given.add(port)
        return port

    return find


class Gateway:
    """A `gw run` in a folder of its own; everything it logs is in `events`."""

    def __init__(self, command: list[str], folder: Path, port: int, admin: int) -> None:
        self.folder = folder
        self.config = folder / "gw.yaml"
        self.port = port
        self.admin = admin
        self.command = command
        self.log = folder / "error.log"
        self.process: subprocess.Popen[bytes] | None = None
        self.environ: dict[str, str] = {}

    def write(self, routes: str, *, listeners: str = "", process: str = "", more: str = "") -> None:
        """The config: `routes` as YAML, further lines for `listeners:` and `process:`, further sections."""
        text = f"""
listeners:
  - bind: 127.0.0.1:{self.port}
{listeners}
admin: {{bind: "127.0.0.1:{self.admin}"}}
process:
  workers: 2
  pid_file: {self.folder}/gw.pid
  drain: 5s
  watch: false
{process}
{more}
{routes}
"""
        fresh = self.folder / "fresh"
        fresh.write_text(text)
        fresh.rename(self.config)

    def start(self, *, wait: bool = True) -> None:
        """Run it; with `wait`, until every worker accepts connections."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen([*self.command, "run", str(self.config)], stderr=log, stdout=log, env={**os.environ, **self.environ})
        if wait:
            until(lambda: self.said("serving") or self.process.poll() is not None, START, "serving")
            assert self.process.poll() is None, self.log.read_text()

    def events(self) -> list[dict[str, Any]]:
        """Every event logged so far."""
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]

    def said(self, event: str, **fields: Any) -> list[dict[str, Any]]:
        """Events of this name with these fields."""
        return [each for each in self.events() if each.get("event") == event and all(each.get(key) == value for key, value in fields.items())]

    def hears(self, number: signal.Signals) -> None:
        """Send the supervisor a signal."""
        os.kill(self.pid, number)

    @property
    def pid(self) -> int:
        """The supervisor's process id, from the pid file."""
        return int((self.folder / "gw.pid").read_text())

    def call(self, name: str, **args: Any) -> Any:
        """Ask over the control socket."""
        return control.call(self.config, name, timeout=30, **args)

    def workers(self) -> list[int]:
        """Process ids of the workers."""
        return [each["pid"] for each in self.call("status")["workers"]]

    def restarts(self) -> int:
        """How many workers were started in place of dead ones."""
        return sum(each["restarts"] for each in self.call("status")["workers"])

    def get(self, path: str = "/", port: int | None = None, timeout: float = 10.0) -> tuple[int, bytes]:
        """GET on a fresh connection."""
        connection = HTTPConnection("127.0.0.1", port or self.port, timeout=timeout)
        try:
            connection.request("GET", path)
            answer: HTTPResponse = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def ends(self, code: int = 0) -> None:
        """Wait for the exit of the process we started."""
        assert self.process
        assert self.process.wait(STOP) == code, self.log.read_text()

    def stop(self) -> None:
        """End whatever of it still runs."""
        if self.process is None:
            return
        for pid in {self.process.pid, *filter(None, [_pid(self.folder / "gw.pid")])}:
            _terminate(pid)
        self.process.wait(STOP)


def _pid(path: Path) -> int | None:
    return int(path.read_text()) if path.exists() else None


def _terminate(pid: int) -> None:
    """SIGTERM twice: at once."""
    for _ in range(2):
        try:
            os.kill(pid, signal.SIGTERM)
        except ProcessLookupError:
            return
        time.sleep(0.05)


@pytest.fixture
def gateway(gw_command: list[str], tmp_path: Path, free_port: Callable[[], int]) -> Iterator[Gateway]:
    """A gateway that is ended with the test; write its config, then start it."""
    made = Gateway(gw_command, tmp_path, free_port(), free_port())
    yield made
    made.stop()
    until(lambda: not _listening(made.port), STOP, "the gateway's port is closed")


def _listening(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def nginx(tmp_path: Path, free_port: Callable[[], int]) -> Iterator[int]:
    """An nginx that answers 200 bytes on `/`; gives its port."""
    binary = shutil.which("nginx") or pytest.skip("nginx is not installed")
    port = free_port()
    folder = tmp_path / "nginx"
    folder.mkdir()
    config = folder / "nginx.conf"
    config.write_text(
        f"""daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/error.log;
events {{ worker_connections 1024; }}
http {{ access_log off; client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder}; uwsgi_temp_path {folder}; scgi_temp_path {folder};
  keepalive_requests 1000000; server {{ listen 127.0.0.1:{port}; location / {{ return 200 "{"x" * 200}"; }} }} }}
"""
    )
    process = subprocess.Popen([binary, "-c", str(config), "-p", str(folder), "-e", str(folder / "error.log")])
    until(lambda: _listening(port), START, "nginx listens")
    yield port
    process.terminate()
    process.wait(STOP)


class _Slow(BaseHTTPRequestHandler):
    """`/1.5` answers after 1.5 seconds; everything else at once, with the name of the route that brought it here."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        last = self.path.rpartition("/")[2]
        if last.replace(".", "", 1).isdigit():
            self.server.over.wait(float(last))
        body = f"slow origin: {self.path}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with suppress(ConnectionError):
            self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Says nothing."""


class _SlowServer(ThreadingHTTPServer):
    daemon_threads = False
    over: threading.Event  # set when nobody waits for an answer any more


@pytest.fixture
def slow_origin() -> Iterator[int]:
    """Gives the port of an origin that answers `/seconds` after that time."""
    server = _SlowServer(("127.0.0.1", 0), _Slow)
    server.over = threading.Event()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield server.server_address[1]
    server.over.set()
    server.shutdown()
    thread.join()
    server.server_close()


class Origins:
    """Starts origins (see origin.py) and ends them."""

    def __init__(self) -> None:
        self._running: list[subprocess.Popen[bytes]] = []

    def __call__(self, **settings: Any) -> str:
        """Where the origin listens: a port, or a path."""
        process = subprocess.Popen([sys.executable, "-m", "tests.integration.origin", json.dumps(settings, default=str)], stdout=subprocess.PIPE)
        self._running.append(process)
        assert process.stdout
        return process.stdout.readline().decode().strip()

    def stop(self) -> None:
        """End them all."""
        for process in self._running:
            process.kill()
            process.wait(STOP)
            assert process.stdout
            process.stdout.close()


@pytest.fixture
def origins() -> Iterator[Origins]:
    """Call it for an origin that ends with the test."""
    started = Origins()
    yield started
    started.stop()


class Load:
    """A client that asks at a steady rate, each time on a fresh connection or on one kept alive, and keeps count."""

    def __init__(self, port: int, rate: float, *, fresh: bool) -> None:
        self.port = port
        self.pause = 1 / rate
        self.fresh = fresh
        self.sent = 0
        self.failures: list[str] = []
        self.slowest = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Load:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=5)
        due = time.monotonic()
        while not self._stop.is_set():
            due += self.pause
            self._ask(connection)
            if self.fresh:
                connection.close()
            time.sleep(max(0.0, due - time.monotonic()))
        connection.close()

    def _ask(self, connection: HTTPConnection) -> None:
        """One request; a kept connection that was closed while idle is no failure, as for every HTTP client."""
        self.sent += 1
        began = time.monotonic()
        idle = connection.sock is not None
        try:
            self._exchange(connection)
        except OSError as error:
            connection.close()
            if idle:
                self._again(connection)
            else:
                self.failures.append(repr(error))
        self.slowest = max(self.slowest, time.monotonic() - began)

    def _again(self, connection: HTTPConnection) -> None:
        try:
            self._exchange(connection)
        except OSError as error:
            connection.close()
            self.failures.append(repr(error))

    def _exchange(self, connection: HTTPConnection) -> None:
        connection.request("GET", "/")
        answer = connection.getresponse()
        answer.read()
        if answer.status != 200:
            self.failures.append(f"status {answer.status}")


@pytest.fixture
def load() -> type[Load]:
    """The client, to be used as a context."""
    return Load
