"""A keyed hash of 128 bits, SipHash-1-3: whoever does not know the seed cannot make two keys meet."""

def digest(key: bytes, seed: bytes) -> bytes:
    """The 16 bytes of the hash. ValueError when the seed has not 16 bytes."""

def _repeat(key: bytes, times: int) -> int: ...
