"""Proxies under test: each is given the same job and brings its own configuration."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from tests.wire.origin import free_port

TRUSTED = "127.0.0.2"  # a client with this source address is a trusted proxy
ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Job:
    """What the proxy is asked to do. `/` goes to the origin; `/admin` is answered 403; `/small` takes bodies up to 1000 bytes; `/dead` has no endpoint that listens."""

    origins: list[int]
    dead: int = 0
    workers: int = 1
    bind: str = "127.0.0.1"
    answer_timeout: float = 2.0
    head_timeout: float = 8.0
    idle_timeout: float = 8.0
    keep_alive: float = 30.0
    extra: dict = field(default_factory=dict)  # gw only: merged over the top of its configuration
    descriptors: int = 0  # limit on open files; 0 = inherited
    environment: dict[str, str] = field(default_factory=dict)
    prefix: list[str] = field(default_factory=list)  # command put in front, such as `ip netns exec name`


class Peer:
    """A running proxy. `port` is its plain listener."""

    name = ""
    graceful = signal.SIGTERM  # ends it once its exchanges are done

    def __init__(self, job: Job) -> None:
        self.job = job
        self.port = free_port()
        self.folder = Path(tempfile.mkdtemp(prefix=f"wire-{self.name}-"))
        self.process: subprocess.Popen | None = None

    def command(self) -> list[str]:
        raise NotImplementedError

    def configure(self) -> None:
        raise NotImplementedError

    def start(self, ready: Callable[[], bool] | None = None) -> Peer:
        """Start and wait until a request gets an answer; RuntimeError with the tail of its output otherwise."""
        self.configure()
        limit = ["prlimit", f"--nofile={self.job.descriptors}:{self.job.descriptors}"] if self.job.descriptors else []
        self.output = (self.folder / "output").open("wb")
        self.process = subprocess.Popen([*self.job.prefix, *limit, *self.command()], stdout=self.output, stderr=subprocess.STDOUT, cwd=ROOT, env={**os.environ, **self.job.environment}, start_new_session=True)
        end = time.monotonic() + 20
        while not (ready or self.answers)():
            if self.process.poll() is not None or time.monotonic() > end:
                self.stop()
                raise RuntimeError(f"{self.name} did not start: {self.tail()}")
            time.sleep(0.02)
        return self

    def tail(self) -> str:
        return (self.folder / "output").read_bytes()[-2000:].decode(errors="replace")

    def answers(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1) as sock:
            sock.settimeout(1)
            sock.sendall(b"GET /admin HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n")
            return sock.recv(100).startswith(b"HTTP/1.1 ")
        return False

    def pids(self) -> list[int]:
        """The proxy's processes, the first started first."""
        return descendants(self.process.pid) if self.process else []

    def worker_pids(self) -> list[int]:
        return self.pids()[1:]

    def stop(self, timeout: float = 5) -> None:
        if self.process and self.process.poll() is None:
            own = self.pids()
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(timeout)
            except subprocess.TimeoutExpired:
                for pid in own:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                self.process.wait(5)
        if self.process:
            self.output.close()

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Peer:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.remove()


class Gw(Peer):
    name = "gw"

    def configure(self) -> None:
        self.admin_port = free_port()
        config = self.settings()
        config.update(self.job.extra)
        self.file = self.folder / "gw.yaml"
        self.file.write_bytes(msgspec.yaml.encode(config))

    def settings(self) -> dict:
        job = self.job
        protected = {"path": "/admin", "respond": {"status": 403, "body": "no"}}
        here = {"service": "origin"}
        return {
            "listeners": [{"bind": f"{job.bind}:{self.port}"}],
            "services": {
                "origin": {"endpoints": [f"127.0.0.1:{port}" for port in job.origins], "timeouts": {"answer": f"{job.answer_timeout}s"}},
                "dead": {"endpoints": [f"127.0.0.1:{job.dead or free_port()}"]},
            },
            "routes": [
                protected,
                {"path": "/small", "max_body": 1000, **here},
                {"path": "/large", "max_body": 0, **here},
                {"path": "/dead", "service": "dead"},
                {"path": "/api", "strip_prefix": True, "hosts": ["strip.test"], **here},
                {"path": "/", **here},
            ],
            "trusted_proxies": [f"{TRUSTED}/32"],
            "client_timeouts": {"head": f"{job.head_timeout}s", "keep_alive": f"{job.keep_alive}s", "linger": "500ms"},
            "timeouts": {"connect": "2s", "answer": f"{job.answer_timeout}s", "idle": f"{job.idle_timeout}s"},
            "access_log": {"file": str(self.folder / "access.log"), "flush": "100ms"},
            "error_log": {"file": str(self.folder / "error.log")},
            "admin": {"bind": f"127.0.0.1:{self.admin_port}"},
            "process": {"workers": job.workers, "watch": False, "drain": "10s", "pid_file": str(self.folder / "gw.pid")},
        }

    def command(self) -> list[str]:
        return [sys.executable, "-m", "gw", "run", str(self.file)]

    def worker_pids(self) -> list[int]:
        """Processes that hold the listener: the supervisor is the first, its helpers listen to nothing."""
        return [pid for pid in self.pids()[1:] if name_of(pid).startswith("gw: worker")]


NGINX = """
daemon off; worker_processes {workers}; pid {folder}/pid; error_log {folder}/error.log; master_process on; {user}
events {{ worker_connections 12000; }}
http {{
  access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  client_header_timeout {head_timeout}s; client_body_timeout {idle_timeout}s; keepalive_timeout {keep_alive}s; client_max_body_size 1m; large_client_header_buffers 4 8k;
  map $http_upgrade $upgraded {{ default ""; ~*^websocket$ upgrade; }}
  map $http_upgrade $protocol {{ default ""; ~*^websocket$ websocket; }}
  upstream origin {{ {servers} keepalive 64; }}
  upstream dead {{ server 127.0.0.1:{dead}; }}
  proxy_http_version 1.1; proxy_request_buffering off; proxy_buffering off; proxy_read_timeout {answer_timeout}s; proxy_connect_timeout 2s;
  proxy_set_header Connection $upgraded; proxy_set_header Upgrade $protocol; proxy_set_header Host $host;
  proxy_set_header X-Forwarded-For $remote_addr; proxy_set_header X-Forwarded-Proto $scheme; proxy_set_header X-Forwarded-Host $host; proxy_set_header X-Real-IP $remote_addr; proxy_set_header Forwarded ""; proxy_set_header X-Request-Id $request_id;
  server {{
    listen {bind}:{port}; server_name a.test;
    location / {{ proxy_pass http://origin; }}
    location = /admin {{ return 403; }}
    location /admin/ {{ return 403; }}
    location /small {{ client_max_body_size 1000; proxy_pass http://origin; }}
    location /large {{ client_max_body_size 0; proxy_pass http://origin; }}
    location /dead {{ proxy_pass http://dead; }}
  }}
  server {{
    listen {bind}:{port}; server_name strip.test;
    location / {{ proxy_pass http://origin; }}
    location = /admin {{ return 403; }}
    location /admin/ {{ return 403; }}
    location /api/ {{ proxy_pass http://origin/; }}
  }}
}}
"""


class Nginx(Peer):
    name = "nginx"
    graceful = signal.SIGQUIT

    def configure(self) -> None:
        job = self.job
        servers = " ".join(f"server 127.0.0.1:{port};" for port in job.origins)
        values = {name: f"{getattr(job, name):g}" for name in ("head_timeout", "idle_timeout", "keep_alive", "answer_timeout")}
        text = NGINX.format(workers=job.workers, folder=self.folder, servers=servers, dead=job.dead or free_port(), bind=job.bind, port=self.port, user="user root;" if os.geteuid() == 0 else "", **values)
        (self.folder / "nginx.conf").write_text(text)

    def command(self) -> list[str]:
        return ["nginx", "-c", str(self.folder / "nginx.conf"), "-p", str(self.folder), "-e", str(self.folder / "error.log")]


HAPROXY = """
global
  nbthread {workers}
  tune.bufsize 33000
  tune.http.maxhdr 101
defaults
  mode http
  timeout client {idle_timeout}s
  timeout http-request {head_timeout}s
  timeout http-keep-alive {keep_alive}s
  timeout connect 2s
  timeout server {answer_timeout}s
  timeout tunnel 60s
  option http-keep-alive
  http-reuse always
frontend f
  bind {bind}:{port}
  http-request return status 403 if {{ path_beg /admin/ }} || {{ path /admin }}
  http-request return status 413 if {{ path_beg /small }} {{ req.body_size gt 1000 }}
  http-request del-header x-forwarded- -m beg
  http-request del-header x_forwarded_ -m beg
  http-request del-header x-forwarded_ -m beg
  http-request del-header forwarded
  http-request del-header upgrade if !{{ req.hdr(upgrade) -i websocket }}
  http-request set-header X-Forwarded-For %[src]
  http-request set-header X-Real-IP %[src]
  http-request replace-path /api/(.*) /\\1 if {{ req.hdr(host) -i strip.test }}
  http-request disable-l7-retry if !METH_GET
  use_backend dead if {{ path_beg /dead }}
  default_backend origin
backend origin
  retry-on conn-failure empty-response
{servers}
backend dead
  server d 127.0.0.1:{dead}
"""


class Haproxy(Peer):
    name = "haproxy"
    graceful = signal.SIGUSR1

    def configure(self) -> None:
        job = self.job
        servers = "\n".join(f"  server s{port} 127.0.0.1:{port}" for port in job.origins)
        values = {name: f"{getattr(job, name):g}" for name in ("head_timeout", "idle_timeout", "keep_alive", "answer_timeout")}
        (self.folder / "haproxy.cfg").write_text(HAPROXY.format(workers=job.workers, servers=servers, dead=job.dead or free_port(), bind=job.bind, port=self.port, **values))

    def command(self) -> list[str]:
        return ["haproxy", "-db", "-f", str(self.folder / "haproxy.cfg")]

    def worker_pids(self) -> list[int]:
        return self.pids()


PEERS: dict[str, type[Peer]] = {peer.name: peer for peer in (Gw, Nginx, Haproxy)}


def name_of(pid: int) -> str:
    """What it calls itself; empty when it has ended."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text()
    return ""


def descendants(pid: int) -> list[int]:
    """`pid` and the processes below it, oldest first within a generation."""
    found = [pid]
    for parent in found:
        for children in Path(f"/proc/{parent}/task").glob("*/children"):
            with contextlib.suppress(OSError):
                found.extend(int(child) for child in children.read_text().split())
    return found


def memory(pids: list[int]) -> int:
    """Proportional set size of the processes, in bytes."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            total += next(int(line.split()[1]) * 1024 for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines() if line.startswith("Pss:"))
    return total


def cpu_seconds(pids: list[int]) -> float:
    """User and system time the processes have used."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            numbers = Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split()
            total += int(numbers[11]) + int(numbers[12])
    return total / os.sysconf("SC_CLK_TCK")
