"""The route tree: which route takes a request."""

from collections.abc import Callable, Sequence
from typing import Any, final

@final
class Router:
    """Routes are added, then the router is frozen, then it answers."""

    routes: list[Any]
    def add(
        self,
        index: int,
        *,
        hosts: Sequence[str] = ...,
        kind: str = ...,
        path: str = ...,
        methods: Sequence[str] = ...,
        headers: Sequence[tuple[str, str, str]] = ...,
        query: Sequence[tuple[str, str, str]] = ...,
    ) -> None:
        """Add a route. `kind` is "exact", "prefix" or "regex"; a segment `{name}` of an exact or prefix path takes any one segment.

        Predicates are (name, op, value) with op "eq", "regex", "present" or "absent". ValueError when something cannot be compiled.
        """

    def freeze(self) -> None:
        """Compile what was added. Adding afterwards is a RuntimeError, and so is finding before."""

    def find(
        self,
        method: bytes,
        host: bytes,
        path: bytes,
        query: bytes = ...,
        headers: Sequence[tuple[bytes, bytes]] = ...,
        trace: Callable[[int, str], None] | None = ...,
    ) -> tuple[int, int, list[bytes]]:
        """(index of the winner, -1 for none or -2 when only the method is wrong; bytes of path taken by a prefix; parameters)."""

    def allow(self, method: bytes, host: bytes, path: bytes, query: bytes = ..., headers: Sequence[tuple[bytes, bytes]] = ...) -> str:
        """The value of `Allow` (RFC 9110 section 10.2.1) for a request that found no route because of its method; else ""."""

    def _repeat(self, requests: list[tuple[Any, ...]], times: int) -> int: ...
