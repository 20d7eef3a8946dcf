"""The steps that say whether a caller may: by group and consumer, by scope, by address."""

from typing import final

from gw._fast.cidr import AddressSet
from gw._fast.step import Step

@final
class AclStep(Step):
    """Who is known may pass by list. Of `allowed` and `denied` bit i (of byte i // 8, lowest first) stands for the consumer with index i.

    `allow` and `deny` are groups that a credential may carry. Denying wins; with `everybody` whoever is not denied may pass. `challenge`: fields for who
    is not known.
    """

    def __init__(self, name: str, allowed: bytes, denied: bytes, allow: list[str], deny: list[str], everybody: bool, challenge: dict[str, list[str]]) -> None: ...

@final
class ScopeStep(Step):
    """Scopes a request needs (RFC 6750): one (method or "*", all of these, any of these) for each method; others are not permitted.

    `challenge`: fields for who is not known. `bearers`: methods of identity whose callers are told which scopes they miss (section 3.1).
    """

    def __init__(self, name: str, needs: list[tuple[str, list[str], list[str]]], challenge: dict[str, list[str]], bearers: list[str]) -> None: ...

@final
class AddressStep(Step):
    """Addresses a client may come from. `allow` None: from all that are not denied."""

    def __init__(self, name: str, allow: AddressSet | None, deny: AddressSet | None) -> None: ...
