"""What all policies that limit share: whom a request is counted as, and how one that is too much is refused."""

from typing import Final

from typing_extensions import disjoint_base

from gw._fast.shm import Segment
from gw._fast.step import Step

MISSING: Final[dict[str, int]]
"""What becomes of a request that lacks a part of what is counted by."""

@disjoint_base
class LimitStep(Step):
    """Base of steps that count by parts of a request. `by`: as gw._fast.selector.Selector takes them; ValueError for others."""

    def __init__(self, name: str, segment: Segment, by: list[str]) -> None: ...
