"""Regular expressions over bytes in linear time; gw/_fast/regex.pyx describes the subset."""

from typing import final

@final
class Regex:
    """A compiled expression. ValueError tells what is not supported, and the offset in characters."""

    pattern: str
    names: tuple[str, ...]
    def __new__(cls, pattern: str) -> Regex: ...
    @property
    def has_dfa(self) -> bool: ...
    def match(self, data: bytes) -> bool:
        """Whether the whole of data matches; by the DFA when there is one."""

    def match_by_threads(self, data: bytes) -> bool:
        """The same answer from the Pike VM."""

    def groups(self, data: bytes) -> dict[str, bytes] | None:
        """The named groups of a match of the whole of data (b"" for one that took no part), or None."""
