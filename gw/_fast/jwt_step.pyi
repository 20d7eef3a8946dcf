"""The policy `jwt` on the data plane: find the token, check it, say who calls; wait for fresher keys where they may help."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, final

from gw._fast.jwt import TokenRules
from gw._fast.keys import KeySet
from gw._fast.step import Step

KINDS: Final[dict[str, int]]
"""Where a token may be: authorization (RFC 6750 section 2.1), header, cookie, query."""

@final
class KeySupply:
    """Keys that steps check tokens with, for one thread at a time.

    `source`: key of the source that replaces them, empty for keys of the operator's own. `keep_us`: how long it is remembered that fresher
    keys did not help a token.
    """

    def __new__(cls, source: str, keys: KeySet | None, keep_us: int) -> KeySupply: ...
    @property
    def keys(self) -> KeySet | None: ...
    @property
    def waiting(self) -> int:
        """Exchanges that wait for fresher keys."""

    def take(self, keys: KeySet, began_us: int, allowed_us: int) -> None:
        """Use these from now on, and let those go on that wait.

        `began_us`: when they were asked for; `allowed_us`: from when on fresher ones may be had. Both in microseconds of the monotonic clock.
        """

@final
class JwtStep(Step):
    """Refuses without a good token (RFC 6750 section 3), else says who calls.

    `sources`: (kind of KINDS, name) of each place to look in. `claims`: claim, as gw._fast.jwt.find takes it, to the field that tells it to the
    origin. `subjects`: value of `consumer_claim` to the consumer's index. `scopes` are told to who lacks one. `hide`: the origin does not get
    the token. `cache_entries` 0: every token is checked anew.
    """

    def __init__(
        self,
        name: str,
        supply: KeySupply,
        rules: TokenRules,
        *,
        sources: Sequence[tuple[str, str]],
        claims: Mapping[str, str],
        subjects: Mapping[str, int],
        scopes: Iterable[str] = (),
        groups_claim: str = "",
        consumer_claim: str = "sub",
        consumer_required: bool = False,
        hide: bool = False,
        realm: str = "gw",
        cache_entries: int = 0,
        cache_octets: int = 0,
    ) -> None: ...
