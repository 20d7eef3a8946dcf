"""The id of a request: made in several forms, or taken from who sends one."""

from typing import Final, final

from gw._fast.regex import Regex
from gw._fast.step import Step

FORMS: Final[dict[str, int]]
"""Forms of an id that gw makes."""

@final
class RequestIdStep(Step):
    """`form`: one of FORMS. `accept`: 0 nobody's id, 1 that of a trusted proxy, 2 anybody's; one that `shape` does not match is replaced.

    An id is 1 to 64 letters, digits and `-_.`. With `echo` the answer carries it.
    """

    def __init__(self, name: str, form: int, accept: int, shape: Regex | None, echo: bool) -> None: ...
