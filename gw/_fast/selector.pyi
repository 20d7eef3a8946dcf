"""What a limit counts by: parts of a request, hashed to one key."""

from collections.abc import Sequence
from typing import Final, final

ALONE: Final[dict[str, int]]
NAMED: Final[dict[str, int]]

@final
class Selector:
    """`ip` (IPv4 whole, IPv6 by /64), `ip/PREFIX` (up to 32 of IPv4, above of IPv6), one of ALONE, NAME:text with a name of NAMED, or a list of them: all together.

    ValueError for another text, and for no or more than eight parts.
    """

    def __new__(cls, by: str | Sequence[str]) -> Selector: ...
