"""Tokens that were verified, kept until they expire, keys or rules change, or room is needed."""

from typing import Any, Self, final

from gw._fast.jwt import TokenRules
from gw._fast.keys import KeySet

@final
class Entry:
    """A verified token; it stays good memory when the cache drops it."""

    @property
    def claims(self) -> dict[str, Any]: ...

@final
class Cache:
    """At most `entries` tokens in at most `octets` of memory; 0 entries: nothing is kept."""

    def __new__(cls, entries: int, octets: int) -> Self: ...
    def __len__(self) -> int: ...
    @property
    def octets(self) -> int:
        """Memory of all entries, rounded up."""

    @property
    def hits(self) -> int: ...
    @property
    def misses(self) -> int: ...
    @property
    def evictions(self) -> int: ...
    def check(self, keys: KeySet, rules: TokenRules, token: bytes, wall_s: int) -> Entry | str:
        """As gw._fast.jwt.check, found or checked; other keys or rules than the last time empty the cache first."""

    def _repeat(self, keys: KeySet, rules: TokenRules, tokens: list[bytes], wall_s: int, times: int) -> int: ...
