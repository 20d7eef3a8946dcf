"""`gw run`, `gw demo`, `gw status`, `gw reload`, `gw stop` with real processes."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

CONFIG = """\
listeners: [{{bind: '127.0.0.1:{port}'}}]
routes: [{{exact: /, respond: {{body: {body}}}}}]
admin: null
process: {{workers: 1, watch: false}}
"""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port: int = sock.getsockname()[1]
        return port


def get(port: int, path: str, method: str = "GET", body: bytes | None = None) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(method, path, body)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


@contextmanager
def running(*arguments: str, port: int) -> Iterator[subprocess.Popen[str]]:
    """`gw` in the background, from the moment its port answers; killed if the test did not end it."""
    process = subprocess.Popen([sys.executable, "-m", "gw", *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True)
    try:
        wait_for(lambda: process.poll() is not None or answers(port))
        assert process.poll() is None, process.stdout and process.stdout.read()
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        try:
            process.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()


def wait_for(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def answers(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


def test_the_life_of_a_gateway(folder: Path, gw: Callable[..., Any]) -> None:
    port = free_port()
    file = folder / "gw.yaml"
    file.write_text(CONFIG.format(port=port, body="one"))
    with running("run", port=port) as process:
        wait_for(lambda: gw("status").code == 0)
        assert get(port, "/") == (200, b"one")
        said = gw("status")
        assert said.out.startswith("ready: gw")
        assert f"listener   127.0.0.1:{port}" in said.out
        assert json.loads(gw("status", "--json").out)["pid"] == process.pid
        file.write_text(CONFIG.format(port=port, body="two"))
        said = gw("reload")
        assert (said.code, said.out.startswith("Revision 2 is in force")) == (0, True)
        assert get(port, "/") == (200, b"two")
        file.write_text(CONFIG.format(port=port, body="three") + "rotues: []\n")
        said = gw("reload")
        assert said.code == 1
        assert "gw.yaml:5:1: error: unknown key 'rotues'" in said.err
        assert "revision 2 stays in force" in said.err
        assert get(port, "/") == (200, b"two")
        assert gw("stop", "--drain", "5")[:2] == (0, "Stopped.\n")
        assert process.wait(10) == 0
    assert gw("status").code == 3


def test_run_to_a_url_needs_no_file(folder: Path) -> None:
    port, dead = free_port(), free_port()
    with running("run", "--to", f"http://127.0.0.1:{dead}", "--listen", f"127.0.0.1:{port}", "--workers", "1", port=port) as process:
        status, body = get(port, "/")
        assert (status, json.loads(body)["reason"]) == (502, "connect-refused")
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0


def test_a_port_in_use_is_one_sentence(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
        (folder / "gw.yaml").write_text(CONFIG.format(port=port, body="x"))
        done = subprocess.run([sys.executable, "-m", "gw", "run"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"cannot listen on 127.0.0.1:{port}: the address is in use" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
@pytest.mark.speed
def test_the_demo_does_what_it_prints(folder: Path) -> None:
    port = free_port()
    with running("demo", "--port", str(port), port=port) as process:
        assert json.loads(get(port, "/users")[1])[0] == {"id": 1, "name": "Ada"}
        assert get(port, "/users/9")[0] == 404
        assert json.loads(get(port, "/nowhere")[1])["reason"] == "no-route"
        assert json.loads(get(port, "/users", "POST", b"hello")[1])["received"] == "hello"
        assert json.loads(get(port, "/users/slow?seconds=0.1")[1]) == {"slept": 0.1}
        assert b"event 2 of 2" in get(port, "/users/events?count=2")[1]
        assert get(port, "/shop/1") == get(port, "/orders/1")
        assert get(port, "/")[0] == 200
        assert websocket_echo(port, "hello") == "echo: hello"
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=20)[0]
    assert process.returncode == 0, said
    assert f"curl http://127.0.0.1:{port}/users " in said


def family(pid: int) -> list[int]:
    """The processes that this one started, and those that they did."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(FileNotFoundError, ProcessLookupError):
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
    found = [pid]
    for each in found:
        found += [child for child, parent in parents.items() if parent == each]
    return found[1:]


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.slow
@pytest.mark.speed
@pytest.mark.parametrize("busy", [False, True])
def test_a_demo_that_is_killed_leaves_nothing_behind(folder: Path, *, busy: bool) -> None:
    port = free_port()
    with ExitStack() as stack:
        process = stack.enter_context(running("demo", "--port", str(port), port=port))
        wait_for(lambda: len(family(process.pid)) == 5)  # two services, the supervisor and its workers
        started = family(process.pid)
        stack.callback(lambda: [os.kill(each, signal.SIGKILL) for each in started if lives(each)])
        if busy:
            client = stack.enter_context(socket.create_connection(("127.0.0.1", port), 10))
            client.sendall(b"GET /users/slow?seconds=20 HTTP/1.1\r\nHost: x\r\n\r\n")
            assert get(port, "/users")[0] == 200  # the services are at work
        process.kill()
        killed = time.monotonic()
        wait_for(lambda: not any(map(lives, started)))
        assert time.monotonic() - killed < 2
        socket.create_server(("127.0.0.1", port)).close()


def websocket_echo(port: int, text: str) -> str:
    """One short text message there and back (RFC 6455 section 5.2), with a mask of zeros."""
    with socket.create_connection(("127.0.0.1", port), 10) as sock:
        fields = ["Host: x", "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="]
        sock.sendall("\r\n".join(["GET /users/echo HTTP/1.1", *fields, "", ""]).encode())
        stream = sock.makefile("rb")
        assert b"101" in stream.readline()
        while stream.readline() != b"\r\n":
            pass
        sock.sendall(bytes([0x81, 0x80 | len(text), 0, 0, 0, 0]) + text.encode())
        _, length = stream.read(2)
        return stream.read(length).decode()


@pytest.mark.slow
def test_a_demo_that_cannot_start_says_so(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
        done = subprocess.run([sys.executable, "-m", "gw", "demo", "--port", str(port)], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "the address is in use" in done.stderr
    assert f"gw demo --port {port + 1}" in done.stderr
