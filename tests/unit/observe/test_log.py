from __future__ import annotations

import json
import logging
import os
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gw.config.model import ErrorLog as Settings
from gw.observe import ErrorLog, files, open_error_log
from gw.observe.log import Bridge

Open = Callable[..., ErrorLog]


@pytest.fixture
def open_log(tmp_path: Path) -> Iterator[Open]:
    logs = []

    def make(file: str | Path = tmp_path / "error.log", level: str = "info", **more: Any) -> ErrorLog:
        logs.append(ErrorLog(Settings(file=str(file), level=level), **more))
        return logs[-1]

    yield make
    for log in logs:
        log.close()


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_one_json_line_an_event(open_log: Open, tmp_path: Path) -> None:
    log = open_log()
    log("info", "serving", revision=1, seconds=0.25)
    log("error", "worker-exited", worker=0, signal=None, hint="two\nlines")
    first, second = lines(tmp_path / "error.log")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", first.pop("time"))
    assert first == {"level": "info", "event": "serving", "pid": os.getpid(), "revision": 1, "seconds": 0.25}
    assert (second["worker"], second["signal"], second["hint"]) == (0, None, "two\nlines")


def test_levels(open_log: Open, tmp_path: Path) -> None:
    log = open_log(level="warning")
    for level in ("debug", "info", "warning", "error"):
        log(level, "event")
    log.configure(Settings(file=str(tmp_path / "error.log"), level="debug"))
    log("debug", "event")
    assert [line["level"] for line in lines(tmp_path / "error.log")] == ["warning", "error", "debug"]


@pytest.mark.parametrize("value", [Path("/etc"), 2**70, "\udc80", float("nan"), {1: {2}}, ValueError("no"), b"bytes", object()])
def test_any_value_gives_a_line(open_log: Open, tmp_path: Path, value: object) -> None:
    open_log()("info", "event", value=value)
    assert lines(tmp_path / "error.log")[0]["event"].strip("'") == "event"


def test_a_field_may_have_the_name_of_a_part_of_the_line(open_log: Open, tmp_path: Path) -> None:
    open_log()("info", "event", level="x", event="y", self="z")
    line = lines(tmp_path / "error.log")[0]
    assert (line["level"], line["event"], line["level_"], line["event_"], line["self"]) == ("info", "event", "x", "y", "z")


def test_reopening_follows_the_name(open_log: Open, tmp_path: Path) -> None:
    log, path = open_log(), tmp_path / "error.log"
    log("info", "one")
    path.rename(tmp_path / "old.log")
    log("info", "two")
    log.reopen()
    log("info", "three")
    assert [line["event"] for line in lines(tmp_path / "old.log")] == ["one", "two"]
    assert [line["event"] for line in lines(path)] == ["three"]


def test_a_file_that_cannot_be_opened_leaves_the_old_one_in_use(open_log: Open, tmp_path: Path) -> None:
    log = open_log()
    log.configure(Settings(file=str(tmp_path / "missing" / "log"), level="error"))
    log("info", "still here")
    first, second = lines(tmp_path / "error.log")
    assert (first["event"], first["reason"], second["event"]) == ("error-log-failed", "No such file or directory", "still here")
    log.configure(Settings(file=str(tmp_path / "new.log")))
    log("info", "moved")
    assert [line["event"] for line in lines(tmp_path / "new.log")] == ["moved"]


def test_a_full_disk_neither_raises_nor_is_forgotten(open_log: Open, tmp_path: Path) -> None:
    log = open_log("/dev/full")
    for number in range(5000):
        log("info", "event", number=number)
    assert 1000 < log.dropped < 4900
    assert repr(log) == f"<ErrorLog /dev/full from info, {log.dropped} lines dropped>"
    log.configure(Settings(file=str(tmp_path / "error.log")))
    log("info", "last")
    found = lines(tmp_path / "error.log")
    assert [line["number"] for line in found[:-2]] == list(range(5000 - log.dropped))
    assert found[-2]["event"] == "last"
    assert (found[-1]["event"], found[-1]["lines"]) == ("error-log-dropped", log.dropped)


def test_a_pipe_nobody_reads_never_blocks(open_log: Open, tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    log = open_log(path)
    for number in range(10_000):
        log("info", "event", number=number)
    assert log.dropped
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    text = os.read(reader, 2**20)
    os.close(reader)
    assert [json.loads(line)["number"] for line in text.splitlines()] == list(range(text.count(b"\n")))


def test_threads_do_not_mix_their_lines(open_log: Open, tmp_path: Path) -> None:
    log = open_log()
    threads = [threading.Thread(target=lambda: [log("info", "event", text="x" * 200) for _ in range(200)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(lines(tmp_path / "error.log")) == 800


def test_a_forked_process_writes_its_own_lines_only(open_log: Open, tmp_path: Path) -> None:
    log = open_log()
    log("info", "parent")
    child = os.fork()
    if child == 0:
        log("info", "child")
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert [(line["event"], line["pid"]) for line in lines(tmp_path / "error.log")] == [("parent", os.getpid()), ("child", child)]


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], str]]:
    """The standard error output is a terminal; what it shows."""
    ours, theirs = os.openpty()
    monkeypatch.setitem(files.STANDARD, "stderr", theirs)
    yield lambda: os.read(ours, 65536).decode().replace("\r\n", "\n")
    os.close(ours)
    os.close(theirs)


def test_plain_text_on_a_terminal(open_log: Open, terminal: Callable[[], str]) -> None:
    open_log("stderr", colour=False)("warning", "dns-failed", name="users.internal", retry=2.0)
    assert re.fullmatch(r"\d\d:\d\d:\d\d\.\d{3} warning dns-failed           name=users\.internal retry=2\.0\n", terminal())


def test_colours_on_a_terminal(open_log: Open, terminal: Callable[[], str]) -> None:
    open_log("stderr", colour=True)("error", "event")
    assert "\x1b[31merror  \x1b[0m event\n" in terminal()


def test_a_terminal_obeys_nothing_that_is_logged(open_log: Open, terminal: Callable[[], str]) -> None:
    open_log("stderr", colour=False)("error", "hook-failed", path="/\x1b[2J\x07\u009b", traceback="Traceback:\n  \x1b[1mbold\n")
    shown = terminal()
    assert "\x1b" not in shown and "\u009b" not in shown
    assert shown.splitlines()[1:] == ["    Traceback:", "      \\u001b[1mbold"]


def test_what_libraries_log_becomes_an_event(tmp_path: Path) -> None:
    log = open_error_log(Settings(file=str(tmp_path / "error.log")))
    library = logging.getLogger("library.part")
    library.warning("took %d s", 3)
    library.info("quiet")
    Bridge(log).emit(logging.LogRecord("library.part", logging.ERROR, __file__, 1, "%d", ("no number",), None))
    try:
        raise ValueError("broken")
    except ValueError:
        library.exception("failed")
    log.close()
    library.warning("after closing")
    first, second, third = lines(tmp_path / "error.log")
    assert (first["level"], first["event"], first["logger"], first["message"]) == ("warning", "library", "library.part", "took 3 s")
    assert second["message"] == "%d ('no number',)"
    assert third["traceback"].startswith("Traceback (most recent call last):") and third["traceback"].endswith("ValueError: broken")


def test_opening_again_takes_libraries_along(tmp_path: Path) -> None:
    open_error_log(Settings(file=str(tmp_path / "one.log"))).close()
    first = open_error_log(Settings(file=str(tmp_path / "one.log")))
    second = open_error_log(Settings(file=str(tmp_path / "two.log")))
    logging.getLogger("library").error("once")
    second.close()
    first.close()
    assert lines(tmp_path / "one.log") == []
    assert len(lines(tmp_path / "two.log")) == 1
