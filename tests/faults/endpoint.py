"""python -m tests.faults.endpoint PORT: an endpoint to be killed, frozen and restarted. `/slow?ms=N` answers late, `/big?n=N` sends N bytes, an upgrade echoes."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from tests.wire.origin import free_port
from tests.wire.peers import ROOT

CHUNKED = re.compile(rb"\r\ntransfer-encoding:", re.IGNORECASE)
LENGTH = re.compile(rb"\r\ncontent-length: *([0-9]+)", re.IGNORECASE)


class Exchange(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 128 * 1024)
        self.buffer = b""
        self.skip = 0
        self.head = b""  # of the request whose body is being read
        self.tunnel = False
        self.writable = asyncio.Event()
        self.writable.set()

    def pause_writing(self) -> None:
        self.writable.clear()

    def resume_writing(self) -> None:
        self.writable.set()

    def connection_lost(self, _: Exception | None) -> None:
        self.writable.set()

    def data_received(self, data: bytes) -> None:
        if self.tunnel:
            self.transport.write(data)
            return
        self.buffer += data
        while self.skip_body() and (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            head, self.buffer = self.buffer[: end + 4], self.buffer[end + 4 :]
            length = LENGTH.search(head)
            self.skip, self.head = int(length[1]) if length else 0, head

    def skip_body(self) -> bool:
        """Drop what has come of the body that is due; once it is whole, answer. Chunked ones are taken to be one that never ends."""
        skipped = min(self.skip, len(self.buffer))
        self.skip, self.buffer = self.skip - skipped, self.buffer[skipped:]
        if self.skip:
            return False
        if CHUNKED.search(self.head):
            self.buffer = b""
            return False
        if self.head:
            self.answer(self.head)
            self.head = b""
        return True

    def answer(self, head: bytes) -> None:
        target = head.split(b" ", 2)[1].decode("latin-1")
        number = int(target.rpartition("=")[2]) if "=" in target else 0
        if b"\r\nUpgrade:" in head or b"\r\nupgrade:" in head:
            self.tunnel = True
            self.transport.write(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        elif target.startswith("/slow"):
            asyncio.get_running_loop().call_later(number / 1000, self.transport.write, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nslow!")
        elif target.startswith("/big"):
            self.pouring = asyncio.ensure_future(self.pour(number))
        else:
            self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")

    async def pour(self, count: int) -> None:
        self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % count)
        block = b"x" * 65536
        while count > 0 and not self.transport.is_closing():
            await self.writable.wait()
            self.transport.write(block[:count])
            count -= len(block)
            await asyncio.sleep(0)  # two hundred of these must not keep the others waiting


async def serve(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Exchange, "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


class Endpoint:
    """An endpoint in a process of its own, on a port that survives its death."""

    def __init__(self) -> None:
        self.port = free_port()
        self.process: subprocess.Popen | None = None

    def start(self) -> Endpoint:
        self.process = subprocess.Popen([sys.executable, "-m", "tests.faults.endpoint", str(self.port)], cwd=ROOT)
        end = time.monotonic() + 10
        while time.monotonic() < end:
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return self
            time.sleep(0.01)
        raise RuntimeError("the endpoint did not start")

    def signal(self, number: int) -> None:
        assert self.process
        self.process.send_signal(number)

    def kill(self) -> None:
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process = None


FILES = """
daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/error.log; {user}
events {{ worker_connections 4000; }}
http {{
  access_log off; client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  keepalive_requests 1000000; sendfile on;
  server {{ listen 127.0.0.1:{port} backlog=4096; root {folder}; location / {{ return 200 hello; }} location = /big {{ try_files /blob =404; }} }}
}}
"""


class FileEndpoint(Endpoint):
    """nginx with a file of 5 MB at `/big`: where many large answers at once would keep a Python endpoint from serving anybody else."""

    def start(self) -> FileEndpoint:
        self.folder = Path(tempfile.mkdtemp(prefix="endpoint-"))
        (self.folder / "blob").write_bytes(b"x" * 5_000_000)
        (self.folder / "nginx.conf").write_text(FILES.format(folder=self.folder, port=self.port, user="user root;" if os.geteuid() == 0 else ""))
        self.process = subprocess.Popen(["nginx", "-c", str(self.folder / "nginx.conf"), "-p", str(self.folder), "-e", str(self.folder / "error.log")])
        return self

    def kill(self) -> None:
        if self.process:
            self.process.terminate()
            self.process.wait()
            self.process = None
            shutil.rmtree(self.folder)


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
