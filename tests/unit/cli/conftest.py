"""`gw` called as from a shell, in this process and in a folder of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from gw.cli import console
from gw.cli.main import main

WIDTH = "140"


class Said(NamedTuple):
    """What a command said and the exit code it said it with."""

    code: int
    out: str
    err: str


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def gw(folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    """Run `gw` with these arguments."""
    monkeypatch.setenv("COLUMNS", WIDTH)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.delenv("GW_DEBUG", raising=False)
    console.out.cache_clear()
    console.err.cache_clear()

    def run(*arguments: str) -> Said:
        if arguments[:1] == ("run",):  # a supervisor is made for a process of its own
            done = subprocess.run([sys.executable, "-m", "gw", *arguments], capture_output=True, text=True, env=os.environ, check=False)
            return Said(done.returncode, done.stdout, done.stderr)
        monkeypatch.setattr(sys, "argv", ["gw", *arguments])
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        return Said(int(ended.value.code or 0), *capfd.readouterr())

    return run
