"""Who a client says it is: User-Agent against expressions."""

from collections.abc import Sequence
from typing import final

from gw._fast.regex import Regex
from gw._fast.step import Step

@final
class AgentStep(Step):
    """Denies an agent that matches one of `deny`, unless it matches one of `allow`; and requests without an agent, unless `nameless`."""

    def __init__(self, allow: Sequence[Regex], deny: Sequence[Regex], nameless: bool) -> None: ...
