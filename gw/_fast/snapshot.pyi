"""Everything compiled from one configuration, immutable: what exchanges run on until their end."""

from typing import Any, Final, final

from gw._fast.radix import Router
from gw._fast.step import Step

ACTIONS: Final[dict[str, int]]
HOSTS: Final[dict[str, int]]
PARTS: Final[dict[str, int]]

@final
class Snapshot:
    """Built by gw.runtime.compile_snapshot from plain values; every text is copied, every number is checked there."""

    def __init__(
        self,
        revision: int,
        settings: dict[str, Any],
        router: Router,
        services: list[dict[str, Any]],
        plans: list[dict[str, Any]],
        listeners: list[dict[str, Any]],
        consumers: list[dict[str, Any]],
    ) -> None: ...
    @property
    def revision(self) -> int: ...
    @property
    def router(self) -> Router: ...
    @property
    def services(self) -> list[dict[str, Any]]: ...
    @property
    def plans(self) -> list[dict[str, Any]]: ...
    @property
    def listeners(self) -> list[dict[str, Any]]: ...
    @property
    def settings(self) -> dict[str, Any]: ...
    @property
    def consumers(self) -> list[dict[str, Any]]: ...
    @property
    def consumer_index(self) -> dict[str, int]:
        """Name -> index in `consumers`."""

    @property
    def steps(self) -> list[Step]:
        """Of all plans and consumers."""

    def users(self) -> int:
        """Exchanges of this process that run on it."""
