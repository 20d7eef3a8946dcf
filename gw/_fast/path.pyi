"""Percent and dot-segment normalisation of request paths (RFC 3986 section 6.2.2)."""

ENCODED_SLASH_KEEP: int
PARAMETERS_KEEP: int
MERGE_SLASHES: int
REASONS: dict[int, str]

def normalise(raw: bytes, flags: int = ...) -> bytes | int:
    """The normal form of a raw path without its query, or the negative code of the refusal, a key of REASONS."""

def _repeat(raw: bytes, flags: int, times: int) -> int: ...
