"""Whole lines in front of one descriptor that may be full, and the pieces of a JSON line."""

from typing import final

@final
class Log:
    """Lines for a borrowed descriptor; at least 64 KiB are held before lines are dropped. Flushing never blocks on a non-blocking one."""

    def __new__(cls, fd: int, capacity: int = ...) -> Log: ...
    def write(self, line: bytes) -> bool:
        """Take a line, which ends with a line feed; False when it was dropped. Only a full buffer is flushed on the way."""

    def flush(self) -> int:
        """0 when nothing waits any more, otherwise the errno that stopped it; what was not written stays."""

    def set_fd(self, fd: int) -> None:
        """Flush to the old descriptor, then go on with this one; -1 for none."""

    def time(self) -> str:
        """Now as 2026-11-24T03:50:28.123Z."""

    def time_at(self, seconds: int, ms: int) -> str:
        """The same for seconds since 1970 and milliseconds, years 1 to 9999."""

    @property
    def fd(self) -> int: ...
    @property
    def pending(self) -> int:
        """Bytes that wait."""

    @property
    def lines(self) -> int:
        """Lines taken."""

    @property
    def dropped(self) -> int:
        """Lines lost."""

def escape(text: bytes) -> bytes:
    """The inside of a JSON string: valid JSON and UTF-8 for any bytes, without control characters. A byte that is not UTF-8 becomes \\u00XX."""

def decimal(v: int) -> bytes: ...
def milliseconds(us: int) -> bytes:
    """Microseconds as milliseconds with three decimals."""

def _repeat(text: bytes, times: int) -> None: ...
def _repeat_escape(text: bytes, times: int) -> None: ...
