"""Fixed answers of gw, in the media type that the client likes best (RFC 9110 section 12.5.1)."""

from collections.abc import Sequence
from typing import final

from gw._fast.step import Step

@final
class RespondStep(Step):
    """`choices`: (media type in lower case, field lines, body), the preferred one first. A client that accepts none of the types gets the first."""

    def __init__(self, status: int, choices: Sequence[tuple[str, bytes, bytes]]) -> None: ...
    def choose(self, accept: bytes) -> int:
        """Index of the choice for this value of Accept."""
