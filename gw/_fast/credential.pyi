"""Steps that find out who calls from what a request carries: a key, or nothing at all."""

from typing import Final, final

from gw._fast.api_keys import ApiKeys
from gw._fast.step import Step

PLACES: Final[dict[str, int]]
"""Where a key may be: header, authorization (behind a scheme), query, cookie."""

@final
class ApiKeyStep(Step):
    """Finds a key in the first of `places` that has one: (one of PLACES, name of the header, scheme, parameter or cookie).

    `challenge`: field lines of a refusal. `hide`: a key that is accepted is taken out of the request, wherever else it may be too. A place that holds two
    keys has none that is known.
    """

    def __init__(self, name: str, places: list[tuple[str, str]], keys: ApiKeys, challenge: bytes, *, hide: bool) -> None: ...
    def _repeat(self, head: bytes, times: int) -> int: ...

@final
class AnonymousStep(Step):
    """Lets pass who presents no credential, as the consumer of this index; -1 is none."""

    def __init__(self, name: str, consumer: int) -> None: ...
