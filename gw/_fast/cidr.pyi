"""Sets of IP addresses: sorted ranges, searched by halves. IPv4 counts as mapped into IPv6 (RFC 4291 section 2.5.5.2)."""

from typing import final

@final
class AddressSet:
    """Ranges of addresses as numbers of 128 bits, (first, last), both inside, sorted and disjoint. ValueError when they are not.

    `len` is the number of ranges; `in` takes an address as ASCII text, and what is no address is in no set.
    """

    def __init__(self, ranges: list[tuple[int, int]]) -> None: ...
    def __len__(self) -> int: ...
    def __contains__(self, text: bytes) -> bool: ...

def _repeat(found: AddressSet, text: bytes, times: int) -> int: ...
