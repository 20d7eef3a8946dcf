import os
from typing import Self, TypedDict, final, type_check_only

@type_check_only
class _Described(TypedDict):
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

    def __new__(cls, source: str | bytes | os.PathLike[str], what: str) -> Self: ...

@final
class Key:
    """A private key from PEM. `what` names it in a ValueError."""

    def __new__(cls, source: str | bytes | os.PathLike[str], what: str) -> Self: ...

def read_certificates(source: str | bytes | os.PathLike[str], what: str = "certificate") -> list[_Described]:
    """Every certificate of a PEM file, or of PEM bytes, leaf first. ValueError: unreadable, none in it, damaged."""
