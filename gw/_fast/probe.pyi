"""Python's way into kernels that otherwise only compiled code calls (h1, headers, wheel, slab): for tests and micro benchmarks.

A message is given as the pieces in which it arrives. A fault is its name in FAULTS.
"""

from collections.abc import Callable
from typing import Final, TypedDict, final, type_check_only

FAULTS: Final[tuple[str, ...]]
FRAMINGS: Final[tuple[str, ...]]
FLAGS: Final[tuple[str, ...]]
TICK_MS: Final[int]
TRAILERS_MAX: Final[int]

@type_check_only
class _Facts(TypedDict):
    """What is known of a head. Fields are (name, value, dropped, spelled like a known name with `_`)."""

    head_len: int
    method: bytes
    target: bytes
    status: int
    minor: int
    framing: str
    length: int
    flags: set[str]
    host_field: int
    upgrade_field: int
    fields: list[tuple[bytes, bytes, bool, bool]]

def request(pieces: list[bytes], *, max_head: int = 32768, max_line: int = 8192, max_fields: int = 100) -> _Facts | str | None:
    """The facts of a request's head, its fault, or None when more is needed."""

def response(pieces: list[bytes], *, max_head: int = 32768, max_fields: int = 100, to_head: bool = False) -> _Facts | str | None:
    """The same for an answer, framed (RFC 9112 section 6.3) as the answer to a HEAD or to another method."""

def responses(heads: list[bytes], *, max_head: int = 32768, max_fields: int = 100) -> list[tuple[_Facts | str | None, bool]]:
    """The heads in turn, each in one piece, as answers of one endpoint; with each whether it was one that came before."""

def field_text(text: bytes) -> int:
    """Bytes up to the first that no field value may hold, or all; of at least 16."""

def chunked(pieces: list[bytes]) -> tuple[bytes, bytes, int] | str | None:
    """Payload, trailer section without the empty line, and bytes taken; a fault; or None when more is needed."""

def host(text: bytes) -> bytes | None:
    """A valid Host in lower case without port and trailing dot, or None."""

def trailers(section: bytes) -> bytes | None:
    """The field lines of a trailer section that may be forwarded, or None when it is malformed."""

def find(head: bytes, name: bytes, start: int = 0) -> int:
    """Index of the first field of this lower-case name, -1. ValueError when `head` is not one whole request head."""

@final
class Wheel:
    """`n` timers on a wheel whose clock is the caller's. `on_fired(wheel, index)` runs inside the expiry, as handlers do."""

    def __new__(cls, n: int, now_ms: int, on_fired: Callable[[Wheel, int], None] | None = None) -> Wheel: ...
    def set(self, index: int, deadline_ms: int) -> None: ...
    def off(self, index: int) -> None:
        """It stays filed and does not fire."""

    def clear(self, index: int) -> None:
        """It is taken out of the wheel."""

    def deadline(self, index: int) -> int | None: ...
    def advance(self, now_ms: int) -> list[int]:
        """Indices that fired, in order."""

@final
class Slab:
    """Buffers of `cap` bytes, at most `keep` of them kept when free. A buffer is known by its address."""

    def __new__(cls, cap: int, keep: int) -> Slab: ...
    def take(self) -> int: ...
    def give(self, address: int) -> None: ...
    def capacity(self, address: int) -> int: ...
    def resize(self, cap: int) -> None:
        """Buffers from now on have this capacity; smaller ones are released when they come back."""

    def clear(self) -> None:
        """Release the free ones."""

    @property
    def held(self) -> int:
        """Bytes of all buffers, free ones included, and of what surrounds them."""

    @property
    def taken(self) -> int: ...
    @property
    def free(self) -> int: ...

def _repeat_request(head: bytes, times: int) -> int: ...
def _repeat_response(head: bytes, times: int) -> int: ...
def _repeat_classify(head: bytes, times: int) -> int: ...
def _repeat_chunked(body: bytes, times: int) -> int: ...
def _repeat_timer(times: int) -> int: ...
def _repeat_buffer(times: int) -> int: ...
