from __future__ import annotations

import errno
import os
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gw.observe import files
from gw.observe.files import open_log_file


@contextmanager
def opened(name: str) -> Iterator[int]:
    fd = open_log_file(name)
    yield fd
    os.close(fd)


@pytest.fixture
def standard(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Tests put a descriptor of their own in the place of the standard output's."""
    monkeypatch.setattr(files, "STANDARD", {})
    yield


def test_a_file_is_created_and_appended_to(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("before\n")
    with opened(str(path)) as fd:
        os.write(fd, b"after\n")
        assert not os.get_inheritable(fd)
    assert path.read_text() == "before\nafter\n"
    with opened(str(tmp_path / "new")):
        assert stat.S_IMODE((tmp_path / "new").stat().st_mode) & 0o007 == 0


def test_a_folder_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        open_log_file(str(tmp_path / "missing" / "log"))


def test_a_named_pipe_needs_no_reader_and_never_waits(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    with opened(str(path)) as fd:
        with pytest.raises(BlockingIOError):
            for _ in range(100):
                os.write(fd, b"x" * 4096)


@pytest.mark.usefixtures("standard")
def test_a_pipe_on_stdout_stays_as_it_is_for_others() -> None:
    reader, writer = os.pipe()
    files.STANDARD["stdout"] = writer
    with opened("stdout") as fd:
        assert fd != writer
        assert not os.get_blocking(fd)
        assert os.get_blocking(writer)
        os.write(fd, b"line\n")
        assert os.read(reader, 100) == b"line\n"
    os.close(reader)
    os.close(writer)


@pytest.mark.usefixtures("standard")
def test_a_socket_on_stderr_does_not_wait_either() -> None:
    ours, theirs = socket.socketpair()
    files.STANDARD["stderr"] = ours.fileno()
    with opened("stderr") as fd:
        assert not os.get_blocking(fd)
        os.write(fd, b"line\n")
        assert theirs.recv(100) == b"line\n"
    ours.close()
    theirs.close()


@pytest.mark.usefixtures("standard")
def test_a_file_on_stdout_is_shared_with_what_others_write(tmp_path: Path) -> None:
    shared = os.open(tmp_path / "out", os.O_WRONLY | os.O_CREAT)
    files.STANDARD["stdout"] = shared
    os.write(shared, b"one\n")
    with opened("stdout") as fd:
        os.write(fd, b"two\n")
        os.write(shared, b"three\n")
    os.close(shared)
    assert (tmp_path / "out").read_bytes() == b"one\ntwo\nthree\n"


def test_a_closed_stdout_is_an_error_and_no_crash() -> None:
    code = "import os; from gw.observe import open_log_file; os.close(1)\ntry: open_log_file('stdout')\nexcept OSError as e: os._exit(e.errno)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == errno.EBADF
