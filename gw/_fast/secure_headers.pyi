"""Fields of an answer, some of them only where the client came by HTTPS."""

from collections.abc import Sequence
from typing import final

from gw._fast.step import Step

@final
class SecureHeaderStep(Step):
    """Edits of the head towards the client as for HeaderStep; those of `secure` only where the client's own connection is TLS."""

    def __init__(self, name: str, edits: Sequence[tuple[str, str, str]], secure: Sequence[tuple[str, str, str]]) -> None: ...
