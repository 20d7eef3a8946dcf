"""Reads the blocks of a Markdown page and runs them: what the pages show is what happens.

    ```sh            runs to its end in the page's folder; exit code 0
    ```sh fails      the same, with another exit code than 0
    ```sh server     starts and stays until the page ends; the next block begins when its port answers
    ```sh checkout   `make` verbs in the checkout; a server if it is `make run`, otherwise only looked up in the Makefile
    ```text          what the shell block before it printed; a line `...` stands for any number of lines
    ```yaml NAME     a configuration that passes `gw check`, or cases that pass `gw test`; with a NAME it is written to that file
    ```python NAME   runs to its end; with a NAME it is written to that file and only compiled

Ports are replaced by free ones, the same number by the same port on the whole page.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from gw.config import is_cases

ROOT = Path(__file__).parent.parent
BLOCK = re.compile(r"^```(\w+)[ ]*(\S*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PORT = re.compile(r"\b(8000|8080|900\d|990\d)\b")
START_TIMEOUT = 30.0  # seconds


class Block(NamedTuple):
    """A fenced block; `line` counts from 1."""

    language: str
    mark: str
    text: str
    line: int


def blocks(page: str) -> Iterator[Block]:
    for found in BLOCK.finditer(page):
        yield Block(found[1], found[2], found[3], page.count("\n", 0, found.start()) + 1)


class Page:
    """One page being tried out in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ports: dict[str, str] = {}
        self.servers: list[subprocess.Popen[bytes]] = []
        self.printed = ""
        shim = folder / "bin" / "gw"
        shim.parent.mkdir()
        shim.write_text(f'#!/bin/sh\nexec {sys.executable} -m gw "$@"\n')
        shim.chmod(0o755)
        self.environ = {**os.environ, "PATH": f"{shim.parent}:{os.environ['PATH']}", "COLUMNS": "120", "NO_COLOR": "1"}

    def run(self, block: Block) -> None:
        text = PORT.sub(lambda found: self.port(found[0]), block.text)
        kind = f"{block.language} {block.mark}" if block.language == "sh" else block.language
        {
            "sh ": self._sh,
            "sh fails": self._sh_fails,
            "sh server": self._server,
            "sh checkout": self._checkout,
            "text": self._compare,
            "json": self._compare,
            "yaml": lambda text: self._yaml(text, block.mark),
            "python": lambda text: self._python(text, block.mark),
        }[kind](text)

    def port(self, written: str) -> str:
        if written not in self.ports:
            with socket.create_server(("127.0.0.1", 0)) as sock:
                self.ports[written] = str(sock.getsockname()[1])
        return self.ports[written]

    def _shell(self, text: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(["bash", "-euo", "pipefail", "-c", text], capture_output=True, text=True, cwd=self.folder, env=self.environ, timeout=50, check=False)
        self.printed = done.stdout + done.stderr
        return done

    def _sh(self, text: str) -> None:
        done = self._shell(text)
        assert done.returncode == 0, f"{text}exit code {done.returncode}:\n{self.printed}"

    def _sh_fails(self, text: str) -> None:
        assert self._shell(text).returncode != 0, self.printed

    def _server(self, text: str) -> None:
        self._start(["bash", "-c", f"exec {text}"], self.folder, self._first_port(text))

    def _checkout(self, text: str) -> None:
        makefile = (ROOT / "Makefile").read_text()
        for command in text.splitlines():
            verb = command.removeprefix("make ")
            assert re.search(rf"^{verb}:", makefile, re.MULTILINE), f"{command}: the Makefile has no such verb"
            if verb == "run":
                port = self.port("8080")
                # `-o setup`: this very environment is the one that `make setup` made.
                self._start(["make", "-s", "-o", "setup", "run", f"VENV={sys.prefix}", f"PORT={port}"], ROOT, port)

    def _first_port(self, text: str) -> str:
        named = [port for port in self.ports.values() if port in text]
        return named[0] if named else self.port("8080")

    def _start(self, command: list[str], folder: Path, port: str) -> None:
        server = subprocess.Popen(command, cwd=folder, env=self.environ, start_new_session=True)
        self.servers.append(server)
        deadline = time.monotonic() + START_TIMEOUT
        while time.monotonic() < deadline:
            assert server.poll() is None, f"{command} ended with exit code {server.returncode}"
            try:
                socket.create_connection(("127.0.0.1", int(port)), 1).close()
                return
            except OSError:
                time.sleep(0.02)
        raise AssertionError(f"{command} does not listen on port {port}")

    def _compare(self, text: str) -> None:
        pieces = [re.escape(piece.strip("\n")) for piece in re.split(r"^\.\.\.$", text, flags=re.MULTILINE)]
        assert re.search(".*".join(pieces), self.printed, re.DOTALL), f"expected\n{text}\nbut it printed\n{self.printed}"

    def _yaml(self, text: str, name: str) -> None:
        file = self.folder / (name or "block.yaml")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        self._sh(f"gw {'test' if is_cases(file) else 'check'} {file.name}\n")

    def _python(self, text: str, name: str) -> None:
        compile(text, name or "block", "exec")
        if name:
            file = self.folder / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        else:
            done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, cwd=self.folder, env=self.environ, timeout=50, check=False)
            self.printed = done.stdout
            assert done.returncode == 0, done.stderr

    def close(self) -> None:
        """Stop the servers as an operator does: Ctrl-C."""
        for server in self.servers:
            os.killpg(server.pid, signal.SIGINT)
        for server in self.servers:
            server.wait(45)
