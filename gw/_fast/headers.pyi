"""Names of fields: the ones gw knows, in any case, and those only spelled like them."""

from typing import Final

NAMES: Final[tuple[str, ...]]
"""Known names by their number; the first is "" for every other."""

def classify(name: bytes) -> str:
    """The known name that gw takes this field name for; "!" when it is one written with `_` for `-`, which is never believed nor forwarded; "" for others."""
