"""Adaptive concurrency: how many exchanges a service takes before they only wait in it, learnt from its latencies; who is turned away first beyond that."""

from collections.abc import Mapping
from typing import Final, final

from gw._fast.step import Step

PRIORITIES: Final[tuple[str, ...]]
"""Lowest first."""

@final
class Shedder:
    """What one process knows of one service; steps of several routes may share it. Times are microseconds on CLOCK_MONOTONIC.

    The limit stays within `least` and `most`; `tolerance` is how many times its latency without load a service may need. ValueError for a bound
    below 1, bounds in the wrong order, or a tolerance below 1.
    """

    def __new__(cls, least: float, most: float, tolerance: float) -> Shedder: ...
    def enter(self, priority: str, now_us: int) -> bool:
        """One more in flight, or False: it is shed. ValueError for a priority that is none."""

    def leave(self, began_us: int, latency_us: int | None, now_us: int, overloaded: bool = False) -> None:
        """The end of what `enter` let pass at began_us; None where it says nothing about the service. IndexError when nothing is in flight."""

    @property
    def limit(self) -> float: ...
    @property
    def base_us(self) -> float:
        """Latency without load; 0 before it is known."""

    @property
    def inflight(self) -> int: ...
    @property
    def probing(self) -> bool:
        """Whether less is let through to measure the service without load."""

@final
class ShedStep(Step):
    """Refuses with 503 `shed` what a service has no room for.

    A request whose part `by` (as gw._fast.selector.Selector takes it) is a key of `priorities` has that priority, any other has `priority`.
    `slot`: of the service in the segment, where a lane shows what it knows; -1: nowhere. ValueError for a priority or part that is none, and for
    more than 64 values.
    """

    def __init__(self, name: str, shedder: Shedder, *, priority: str, by: str | None, priorities: Mapping[str, str], dry: bool, slot: int = -1) -> None: ...
