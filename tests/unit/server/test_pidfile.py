"""The pid file belongs to whoever wrote it last."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gw.server import pidfile


def test_written_read_removed(tmp_path: Path) -> None:
    path = tmp_path / "gw.pid"
    pidfile.write(path)
    assert path.read_text() == f"{os.getpid()}\n"
    assert pidfile.read(path) == os.getpid()
    pidfile.remove(path)
    assert list(tmp_path.iterdir()) == []
    pidfile.remove(path)


def test_taken_over_by_another(tmp_path: Path) -> None:
    path = tmp_path / "gw.pid"
    pidfile.write(path)
    path.write_text("1\n")
    pidfile.remove(path)
    assert pidfile.read(path) == 1


@pytest.mark.parametrize("text", ["", "none", "-1", "12 34"])
def test_no_process_id_in_it(tmp_path: Path, text: str) -> None:
    (tmp_path / "gw.pid").write_text(text)
    assert pidfile.read(tmp_path / "gw.pid") is None
