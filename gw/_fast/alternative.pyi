"""Steps around an alternative of any-of that may edit heads or name a caller before it refuses."""

from typing import final

from gw._fast.step import Step

@final
class MarkStep(Step):
    """Remembers how far the edits of an exchange are."""

    def __init__(self, name: str) -> None: ...

@final
class ForgetStep(Step):
    """Undoes edits since the mark, and forgets who calls; refuses, so that the next alternative is tried."""

    def __init__(self, name: str, of: MarkStep) -> None: ...
