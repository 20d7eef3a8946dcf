"""The argument tree: help, exit codes, speed, completion, and that no failure shows a traceback unasked."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer

from gw.cli import check
from gw.cli.main import app

HELP_SECONDS = 0.25  # of CPU
COMMANDS = sorted(typer.main.get_command(app).commands)


def test_all_verbs_are_there() -> None:
    assert COMMANDS == ["check", "demo", "explain", "init", "keys", "policies", "reload", "routes", "run", "schema", "status", "stop", "test", "usage", "version"]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_verb_has_help(command: str, gw: Callable[..., Any]) -> None:
    said = gw(command, "--help")
    assert said.code == 0
    assert f"gw {command}" in said.out


def test_help_names_the_exit_codes(gw: Callable[..., Any]) -> None:
    assert "0 ok, 1 a problem was found" in gw("--help").out


def test_an_unknown_verb_is_wrong_usage(gw: Callable[..., Any]) -> None:
    said = gw("chek")
    assert said.code == 2
    assert "Did you mean 'check'" in said.err


def test_version_option_and_verb_agree(gw: Callable[..., Any]) -> None:
    assert gw("--version").out == gw("version").out


def test_a_fault_is_one_sentence(gw: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "init", lambda _file: 1 / 0)
    said = gw("init")
    assert said.code == 70
    assert said.err == "gw: a fault in gw itself: ZeroDivisionError: division by zero. GW_DEBUG=1 shows the traceback; please report it.\n"


def test_debug_shows_the_traceback_of_a_fault(gw: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "init", lambda _file: 1 / 0)
    monkeypatch.setenv("GW_DEBUG", "1")
    assert "Traceback" in gw("init").err


def cpu_seconds(*arguments: str) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-m", "gw", *arguments], stdout=subprocess.DEVNULL, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@pytest.mark.speed
def test_help_is_quick() -> None:
    # CPU time too rises with what else the machine does: one of ten must be quick.
    assert any(cpu_seconds("--help") < HELP_SECONDS for _ in range(10))


def test_help_loads_no_room_but_the_command_line() -> None:
    code = "import sys; from gw.cli import main; print(*sorted({name.split('.')[1] for name in sys.modules if name.startswith('gw.')}))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split() == ["cli", "errors"]


@pytest.fixture
def shim(folder: Path) -> dict[str, str]:
    """An environment in which `gw` is a command, as completion scripts call it."""
    (folder / "gw").write_text(f'#!/bin/sh\nexec {sys.executable} -m gw "$@"\n')
    (folder / "gw").chmod(0o755)
    return {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}


@pytest.mark.parametrize(("words", "expected"), [("gw re", {"reload"}), ("gw s", {"schema", "status", "stop"}), ("gw run --l", {"--listen"})])
def test_bash_completes(words: str, expected: set[str], shim: dict[str, str]) -> None:
    count = len(words.split()) - 1
    script = f'eval "$(_GW_COMPLETE=source_bash gw)"; COMP_WORDS=({words}); COMP_CWORD={count}; _gw_completion gw; printf "%s\\n" "${{COMPREPLY[@]}}"'
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, env=shim, check=True)
    assert set(done.stdout.split()) == expected, done.stderr


def test_completion_can_be_installed(shim: dict[str, str], folder: Path) -> None:
    home = folder / "home"
    home.mkdir()
    script = "gw --install-completion bash"
    environ = {**shim, "HOME": str(home), "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    subprocess.run(["bash", "-c", script], capture_output=True, env=environ, check=True)
    assert "gw" in (home / ".bashrc").read_text()
