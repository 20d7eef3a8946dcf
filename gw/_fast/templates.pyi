"""Field values made from the request, and renaming of fields: header edits that cannot be written down beforehand."""

from collections.abc import Sequence
from typing import Final, final

from gw._fast.step import Step

KINDS: Final[dict[str, bool]]
"""What a part of a value can be -> whether it takes a name, such as `header`. `text` and `param` (an index) are parts as well."""

@final
class TemplateStep(Step):
    """Edits of the head towards the origin and of the head towards the client, in order: (op, name, parts), or ("rename", name, new name).

    `parts` are (kind, value) with a kind of KINDS, `text` or `param`. A value that comes out empty or with a control byte is not sent: `set` then
    removes the field, `add` and `default` add nothing.
    """

    def __init__(
        self,
        name: str,
        request: Sequence[tuple[str, str, str | Sequence[tuple[str, str | int]]]],
        response: Sequence[tuple[str, str, str | Sequence[tuple[str, str | int]]]],
    ) -> None: ...
