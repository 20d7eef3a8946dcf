"""Who calls, told to the origin in header fields of our own, which no client can forge."""

from typing import Final, final

from gw._fast.step import Step

FIELDS: Final[tuple[str, ...]]
"""What can be told."""

@final
class IdentityStep(Step):
    """Runs behind all authentication. `names`: one of FIELDS -> name of a header field, or None.

    A client's own copies go, unless it is a trusted proxy and nobody was authenticated here.
    """

    def __init__(self, names: dict[str, str | None]) -> None: ...
