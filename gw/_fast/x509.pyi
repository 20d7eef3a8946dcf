import os
from typing import TypedDict, final

class Described(TypedDict):
    """One certificate. `names`: DNS names it serves, in lower case; times in Unix seconds; `key`: kind and bits."""

    subject: str
    issuer: str
    names: list[str]
    sans: list[str]
    serial: str
    fingerprint: str
    not_before: int
    not_after: int
    key: str

@final
class Chain:
    """Certificates of one PEM text, leaf first. `what` names it in a ValueError."""

    def __init__(self, source: str | bytes | os.PathLike[str], what: str) -> None: ...

@final
class Key:
    """A private key from PEM. `what` names it in a ValueError."""

    def __init__(self, source: str | bytes | os.PathLike[str], what: str) -> None: ...

def read_certificates(source: str | bytes | os.PathLike[str], what: str = "certificate") -> list[Described]:
    """Every certificate of a PEM file, or of PEM bytes, leaf first. ValueError: unreadable, none in it, damaged."""
