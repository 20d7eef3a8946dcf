"""The error log: what gw says about itself, one JSON line an event, plain text on a terminal.

Writing never raises and never waits. What a full disk or pipe does not take is kept up to CAPACITY, then lines are dropped, counted, and
the count is logged when there is room again.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from typing import Any

import msgspec

from gw._fast.logbuf import Log, escape
from gw.config.model import ErrorLog as Settings
from gw.observe.files import open_log_file

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}
COLOURS = {"debug": "\x1b[2m", "info": "\x1b[32m", "warning": "\x1b[33m", "error": "\x1b[31m"}
RESET = "\x1b[0m"
CAPACITY = 256 * 1024  # bytes that wait for a file that takes nothing
EVENT_WIDTH = 20  # columns, so that fields of short events line up


class ErrorLog:
    """Call it with a level, an event's name and its fields. Usable from any thread."""

    def __init__(self, settings: Settings, colour: bool = "NO_COLOR" not in os.environ) -> None:
        self._colour = colour
        self._settings = settings
        self._least = LEVELS[settings.level]
        self._fd = open_log_file(settings.file)
        self._terminal = os.isatty(self._fd)
        self._forked()

    def _forked(self) -> None:
        """This process has a lock of its own, and no lines that the parent will write."""
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._log = Log(self._fd, CAPACITY)
        self._told = 0  # of the dropped lines

    def __repr__(self) -> str:
        return f"<ErrorLog {self._settings.file} from {self._settings.level}, {self.dropped} lines dropped>"

    def __call__(self, level: str, event: str, /, **fields: object) -> None:
        """Log an event; levels are debug, info, warning, error."""
        if LEVELS[level] < self._least:
            return
        if os.getpid() != self._pid:
            self._forked()
        with self._lock:
            self._log.flush()  # what still waits goes first, and makes room if it can
            self._log.write(self._line(level, event, fields))
            self._log.flush()
            self._tell_dropped()

    @property
    def dropped(self) -> int:
        """Lines lost."""
        return self._log.dropped

    def configure(self, settings: Settings) -> None:
        """Follow a new revision's settings. A file that cannot be opened is logged to the old one, which stays in use."""
        moved = settings.file != self._settings.file
        if moved and not self._open(settings.file):
            return
        self._settings = settings
        self._least = LEVELS[settings.level]

    def reopen(self) -> None:
        """Open the file by its name again: somebody has renamed it."""
        self._open(self._settings.file)

    def close(self) -> None:
        """Write what can be written, give the descriptor back, leave what libraries log to others."""
        _unbridge()
        with self._lock:
            self._log.set_fd(-1)
            if self._fd >= 0:
                os.close(self._fd)
            self._fd = -1

    def _open(self, name: str) -> bool:
        try:
            fd = open_log_file(name)
        except OSError as error:
            self("error", "error-log-failed", file=name, reason=error.strerror)
            return False
        with self._lock:
            self._log.set_fd(fd)
            os.close(self._fd)
            self._fd = fd
            self._terminal = os.isatty(fd)
        return True

    def _tell_dropped(self) -> None:
        new = self._log.dropped - self._told
        if new and not self._log.pending:
            self._told += new
            self._log.write(self._line("warning", "error-log-dropped", {"lines": new}))
            self._log.flush()

    def _line(self, level: str, event: str, fields: dict[str, object]) -> bytes:
        time = self._log.time()
        if self._terminal:
            return self._plain(time, level, event, fields)
        head = {"time": time, "level": level, "event": event, "pid": self._pid}
        return _json({**head, **{name if name not in head else f"{name}_": value for name, value in fields.items()}})

    def _plain(self, time: str, level: str, event: str, fields: dict[str, object]) -> bytes:
        shown = " ".join(f"{name}={_safe(value)}" for name, value in fields.items() if name != "traceback")
        paint, reset = (COLOURS[level], RESET) if self._colour else ("", "")
        trace = [f"    {_safe(line)}" for line in str(fields.get("traceback", "")).splitlines()]
        return "\n".join([f"{time[11:23]} {paint}{level:<7}{reset} {_safe(event):<{EVENT_WIDTH}} {shown}".rstrip(), *trace, ""]).encode()


def _json(record: dict[str, Any]) -> bytes:
    try:
        return msgspec.json.encode(record, enc_hook=str) + b"\n"
    except (TypeError, ValueError, OverflowError, RecursionError):  # a lone surrogate, an integer beyond 64 bits, a cycle: show what Python shows
        return msgspec.json.encode({name: ascii(value) for name, value in record.items()}) + b"\n"


def _safe(value: object) -> str:
    """Text that a terminal shows and does not obey."""
    return escape(str(value).encode(errors="backslashreplace")).decode()


class Bridge(logging.Handler):
    """Events from what libraries say through `logging`, such as asyncio about a task that failed."""

    def __init__(self, log: Callable[..., None]) -> None:
        super().__init__(logging.WARNING)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        fields: dict[str, object] = {"logger": record.name, "message": _message(record)}
        if record.exc_info:
            fields["traceback"] = logging.Formatter().formatException(record.exc_info)
        self._log("error" if record.levelno >= logging.ERROR else "warning", "library", **fields)


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except (TypeError, ValueError, KeyError):  # arguments that do not fit the format
        return f"{record.msg} {record.args}"


def open_error_log(settings: Settings) -> ErrorLog:
    """The error log of this process, which from now on also takes what libraries log. OSError when the file cannot be opened."""
    log = ErrorLog(settings)
    _unbridge()
    logging.getLogger().addHandler(Bridge(log))
    return log


def _unbridge() -> None:
    root = logging.getLogger()
    for handler in [each for each in root.handlers if isinstance(each, Bridge)]:
        root.removeHandler(handler)
