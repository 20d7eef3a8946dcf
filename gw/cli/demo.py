"""`gw demo`: the gateway and two small services behind it, in one command."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType

from gw.cli.console import err, out
from gw.errors import GatewayError
from gw.server.control import find

ADMIN_PORT = 9901
START_TIMEOUT = 20.0  # seconds until the gateway must listen
STOP_TIMEOUT = 35.0  # seconds; longer than the gateway's own drain
POLL = 0.02  # seconds

CONFIG = """\
# What `gw demo` runs. `gw routes`, `gw explain` and `gw check` take this file too.
listeners:
  - bind: 127.0.0.1:{port}
services:
  users:
    endpoints: [127.0.0.1:{users}]
  orders:
    endpoints: [127.0.0.1:{orders}]
routes:
  - path: /users
    service: users
  - path: /orders
    service: orders
  - path: /shop
    service: orders
    rewrite: /orders{{rest}}
  - exact: /
    respond: {{body: "This is gw. Try /users, /orders, /shop/1.\\n", headers: {{Content-Type: text/plain}}}}
admin:
  bind: 127.0.0.1:{admin}
process:
  workers: 2
"""

CURLS = [
    ("curl {url}/users", "JSON of the service users"),
    ("curl -i {url}/users/9", "404 by the service"),
    ("curl -i {url}/nowhere", "404 by the gateway"),
    ("curl -d hello {url}/users", "what the gateway sends"),
    ("curl '{url}/users/slow?seconds=2'", "a slow answer"),
    ("curl -N {url}/users/events", "server-sent events"),
    ("curl {url}/orders/1", "the service orders"),
    ("curl {url}/shop/1", "the same, path rewritten"),
    ("curl {admin}/metrics", "counters and latencies"),
]


def demo(port: int) -> None:
    """Run until Ctrl-C, SIGTERM or the gateway's end. Raises GatewayError when it does not start."""
    signal.signal(signal.SIGTERM, _interrupt)
    with ExitStack() as stack:
        port = port or _free_port()
        ports = {name: stack.enter_context(_service(name)) for name in ("users", "orders")}
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="gw-demo-"))
        config = Path(folder, "gw.yaml")
        admin = _free_port(ADMIN_PORT)
        config.write_text(CONFIG.format(port=port, admin=admin, **ports))
        gateway = stack.enter_context(_gateway(config))
        _wait(gateway, config, port)
        _show(f"http://127.0.0.1:{port}", f"http://127.0.0.1:{admin}", config)
        try:
            gateway.wait()
        except KeyboardInterrupt:
            err().print("\nStopping.")
            return
    raise GatewayError(f"the gateway ended with exit code {gateway.returncode}")


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


@contextmanager
def _service(name: str) -> Iterator[int]:
    """A service in a process of its own that ends when its standard input does; yields its port."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        command = [sys.executable, "-m", "gw.cli.demo_services", name, str(sock.fileno())]
        # A session of its own: Ctrl-C in the terminal is for the gateway, which needs the services while it drains.
        process = subprocess.Popen(command, stdin=subprocess.PIPE, pass_fds=[sock.fileno()], start_new_session=True)
        port: int = sock.getsockname()[1]
    try:
        yield port
    finally:
        _end(process, polite=lambda: process.stdin and process.stdin.close())


@contextmanager
def _gateway(config: Path) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "gw.cli.demo_gateway", str(os.getpid()), str(config)]
    process = subprocess.Popen(command, start_new_session=True)
    try:
        yield process
    finally:
        _end(process, polite=process.terminate)


def _end(process: subprocess.Popen[bytes], polite: Callable[[], object]) -> None:
    if process.poll() is None:
        polite()
    try:
        process.wait(STOP_TIMEOUT)
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        process.kill()
        process.wait()


def _free_port(wanted: int = 0) -> int:
    """`wanted` if nobody listens there, otherwise one that the kernel picks."""
    for port in (wanted, 0):
        try:
            with socket.create_server(("127.0.0.1", port)) as sock:
                found: int = sock.getsockname()[1]
                return found
        except OSError:
            continue
    raise GatewayError("this machine has no free port on 127.0.0.1")


def _wait(gateway: subprocess.Popen[bytes], config: Path, port: int) -> None:
    # The control socket belongs to this config alone, while the port may answer because somebody else listens there.
    deadline = time.monotonic() + START_TIMEOUT
    while time.monotonic() < deadline:
        if gateway.poll() is not None:
            raise GatewayError(f"the gateway did not start; choose another port with: gw demo --port {port + 1}")
        if find(config) is not None:
            return
        time.sleep(POLL)
    raise GatewayError(f"the gateway did not listen within {START_TIMEOUT:g} s")


def _show(url: str, admin: str, config: Path) -> None:
    from rich.table import Table

    table = Table(title=f"gw listens on {url}, two services stand behind it", title_justify="left", box=None, header_style="bold")
    table.add_column("try in another terminal", no_wrap=True, style="cyan")
    table.add_column("what you see")
    for command, what in CURLS:
        table.add_row(command.format(url=url, admin=admin), what)
    out().print(table)
    out().print(f"gw explain GET /shop/1 -c {config}   says why a request goes where it goes. Stop with Ctrl-C.", markup=False, soft_wrap=True)
