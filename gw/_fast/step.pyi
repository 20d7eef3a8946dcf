"""The base of compiled policies, and the one every gateway needs: edits of heads."""

from collections.abc import Callable
from typing import Any, Final, final

from typing_extensions import disjoint_base

from gw._fast.shm import Segment

OPS: Final[dict[str, int]]
"""Verbs of an edit."""

@disjoint_base
class Step:
    """One policy of one route, compiled. Subclasses are compiled too: they set what the plan calls."""

    @property
    def name(self) -> str:
        """Of the policy, for logs and `gw explain`."""

    pointer: str
    """Where its config stands; empty for a step that nobody wrote."""

    @property
    def owns(self) -> list[str]:
        """Names of request fields that only this step may set: a client's own are dropped even where an alternative passes."""

    @property
    def python(self) -> bool:
        """Whether it takes the GIL: a lane with such steps takes it once for all that a wait brought."""

    @property
    def watches(self) -> bool:
        """It takes part behind the request steps: in bodies, or in heads towards endpoints."""

    def __init__(self, name: str) -> None: ...
    def attach(self, report: Callable[[str, dict[str, Any]], None]) -> None:
        """The lane that will run it tells where failures go: report(event, fields)."""

    def count_in(self, segment: Segment, worker: int) -> None:
        """The lane that will run it tells where its worker's figures stand."""

    def phases(self) -> list[str]:
        """The phases it takes part in, in the order of life: request, response, done."""

@final
class HeaderStep(Step):
    """Fixed edits of the head towards the origin and of the head towards the client: lists of (op, name, value), op from OPS.

    Names and values are checked by the caller. KeyError for another op, UnicodeEncodeError for text that is not ISO 8859-1.
    """

    def __init__(self, name: str, request: list[tuple[str, str, str]], response: list[tuple[str, str, str]]) -> None: ...
