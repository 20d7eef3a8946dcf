"""The request's target changed on its way: rewritten towards the origin, or redirected back to the client."""

from collections.abc import Sequence
from typing import final

from gw._fast.regex import Regex
from gw._fast.step import Step

@final
class RewriteStep(Step):
    """Changes path and query as the route would send them. A request that neither `regex` nor `prefix` fits goes on with its path as it is.

    `to`: (text, group) parts of the new path, group -1 or an index into the expression's names; with `prefix` one text. `drop`: names of query
    parameters that go, decoded; `append`: what is added behind the rest, encoded, without '&' at its ends.
    """

    def __init__(self, regex: Regex | None, prefix: str | None, to: Sequence[tuple[str, int]], drop: Sequence[str], append: str) -> None: ...

@final
class RedirectStep(Step):
    """Sends the client elsewhere when the URL it asked for is not the one it should ask for.

    `host` empty: stays. `port` 0: the default one where scheme or host changes, else as asked. `www` and `slash`: 1 adds, -1 takes away, 0 leaves.
    """

    def __init__(self, status: int, https: bool, host: str, port: int, www: int, slash: int) -> None: ...
