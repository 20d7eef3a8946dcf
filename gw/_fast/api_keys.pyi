"""Keys of callers, found by their SHA-256."""

from typing import Final, final

RECORD_SIZE: Final[int]
"""Bytes of one packed key: its SHA-256, when it expires (Unix seconds, 8 bytes, 0 = never), its consumer (4 bytes), the length of its id (4 bytes)."""

@final
class ApiKeys:
    """All keys that the policies of one snapshot accept; those of one worker find the same ones at the same time."""

    def __init__(self) -> None: ...
    def __len__(self) -> int: ...
    def fill(self, parts: list[tuple[bytes, bytes, list[int | None]]], *, whole: bool) -> None:
        """Replace them. A part: records in a row, the ids of its keys in a row (UTF-8), and what its records number as consumers: an index in the snapshot, or None.

        Keys of consumers that are None are left out; of two keys with one hash the first counts. `whole`: nothing is still to come, so what is not there
        is not a key. ValueError when records and ids do not fit.
        """

    def find(self, key: bytes) -> tuple[str, int, int] | None:
        """Id, consumer and expiry (Unix seconds, 0 = never) of a key."""

    def _repeat(self, keys: list[bytes], times: int) -> int: ...
