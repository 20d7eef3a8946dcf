"""Bearer tokens in JWS compact form (RFC 7515, RFC 7519), checked as RFC 8725 asks."""

from collections.abc import Iterable
from typing import Any, Final, Self, final

from gw._fast.keys import KeySet

REASONS: Final[dict[str, str]]
"""Why a token is refused: a word, and a sentence that may stand in error_description (RFC 6750 section 3)."""

@final
class TokenRules:
    """What a token must say.

    `issuers`, `audiences`: one of them each, where there are any. `required`: claims that must be there and not null, in the form of `find`.
    `scopes`: all of them in `scope`, or in `scp` without it. `types`: one of them as `typ`, where there are any (RFC 8725 section 3.11).
    `leeway`: seconds by which clocks may differ. `max_bytes`: of a whole token. ValueError names the argument.
    """

    def __new__(
        cls,
        *,
        issuers: Iterable[str] = (),
        audiences: Iterable[str] = (),
        required: Iterable[str] = (),
        scopes: Iterable[str] = (),
        types: Iterable[str] = (),
        leeway: int = 0,
        require_exp: bool = True,
        max_bytes: int = 8192,
    ) -> Self: ...

def check(keys: KeySet, rules: dict[str, Any], token: bytes, wall_s: int) -> dict[str, Any] | str:
    """The claims of a good token, or a word of REASONS. `rules`: arguments of TokenRules; `wall_s`: Unix seconds."""

def verify(keys: KeySet, token: bytes) -> bytes | str:
    """The payload of a JWS with a good signature, whatever it is, or a word of REASONS."""

def find(payload: bytes, path: str) -> str | bytes | None:
    """A claim of a JSON object: a string as text, anything else as its JSON, None when it is not there.

    `path` is the name of a claim, or names joined by dots; a claim whose own name has dots in it wins over one inside another. ValueError: not strict JSON.
    """

def _repeat(keys: KeySet, rules: TokenRules, token: bytes, wall_s: int, times: int) -> int: ...
