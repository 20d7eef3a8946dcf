"""Keys that tokens are verified with: one algorithm each (RFC 8725 section 3.1)."""

from collections.abc import Iterable
from typing import Final, Self, final

NAMES: Final[tuple[str, ...]]
"""Every algorithm that a key may have."""

@final
class KeySet:
    """An immutable set of keys, for one thread at a time.

    Each is (algorithm, kid or None, material): the secret of HS*, else a SubjectPublicKeyInfo in DER. A token may mean a key without a kid
    whatever kid it names. ValueError names the key: unknown algorithm, secret shorter than the hash (RFC 7518 section 3.2), not DER, not a key
    of that algorithm, RSA with less than 2048 or more than 8192 bits, a point off its curve.
    """

    def __new__(cls, keys: Iterable[tuple[str, str | None, bytes]]) -> Self: ...
    def __len__(self) -> int: ...
    @property
    def names(self) -> list[tuple[str, str | None]]:
        """Algorithm and kid of every key."""

    @property
    def generation(self) -> int:
        """A number that no other KeySet of this process has."""
