"""Answers gw makes itself: problem documents (RFC 9457) with Proxy-Status (RFC 9209), redirects, fixed responses."""

from collections.abc import Sequence
from typing import Protocol, type_check_only

@type_check_only
class _Reason(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def status(self) -> int: ...
    @property
    def title(self) -> str: ...
    @property
    def error(self) -> str | None: ...

def load_reasons(reasons: Sequence[_Reason]) -> None:
    """Take the closed list, once and before any snapshot is made. AssertionError when its order is not the data plane's."""
