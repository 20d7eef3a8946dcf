"""What the operator's address needs to know; the supervisor has it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Protocol


class View(Protocol):
    """Reads; changes nothing."""

    def metrics(self) -> tuple[AsyncIterator[bytes], str]:
        """Exposition text in pieces, and its content type."""

    def alive(self) -> bool:
        """Whether any worker lives."""

    def unready(self) -> dict[str, Any] | None:
        """Why this process group should get no traffic, with a `reason`; None when it is ready."""
