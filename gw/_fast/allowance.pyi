"""What an exchange may take, lowered below the route's: sizes of head and body, waits for the origin and for bodies."""

from typing import final

from gw._fast.step import Step

@final
class AllowanceStep(Step):
    """Each of these may be 0: as the route says. A larger value than the route's changes nothing. Bytes, a count of fields, milliseconds."""

    def __init__(self, name: str, *, head: int = 0, fields: int = 0, body: int = 0, connect_ms: int = 0, answer_ms: int = 0, idle_ms: int = 0) -> None: ...
