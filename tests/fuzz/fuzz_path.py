# Invariant: every path is refused with a known code or has a normal form that is its own normal form, no longer than the path, begins with '/',
# holds no dot segment, no control byte and nothing that the rules refuse, and is what the slow oracle says.
"""`python tests/fuzz/fuzz_path.py --seconds 60 [--seed N]`: mutates spellings of a few paths. Prints the first input that breaks the invariant and exits 1."""

from __future__ import annotations

import argparse
import random
import re
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from gw._fast.path import ENCODED_SLASH_KEEP, MERGE_SLASHES, PARAMETERS_KEEP, REASONS, normalise  # noqa: E402  # the root must be on the path first
from tests.reference import path as reference  # noqa: E402  # as above

SEEDS = [
    b"/",
    b"/user/7",
    b"/api/../admin",
    b"/api/%2e%2e/admin",
    b"/api/..;/admin",
    b"/a//b///c/",
    b"/a%2fb%5Cc",
    b"/%252e%252e/x",
    b"/caf%c3%a9/%E2%82%ac",
    b"/a;v=1/b%3Bw",
    b"/%c0%ae/%e0%80%ae/%f0%80%80%af",
    b"/api/v1/users/1234567/orders/98765/items-and-more-than-a-vector-holds",
]
PIECES = [
    *rb"/ // . .. /./ /../ %2e %2E %2f %2F %5c %5C %3b ; %25 % %00 %0a %7f %61 %41 %c0%ae %C1 %e0%80 %F0%8f %20 \ # ? ~ @ | a Z 0 e f".split(),
    b"\x00",
    b"\x7f",
    b"\x80",
    b"\xff",
    b" ",
]
FORBIDDEN = re.compile(rb"[\x00-\x20\x7f-\xff#?\\]|%(?![0-9A-F]{2})|%[01][0-9A-F]|%7F")


def mutated(rng: random.Random) -> bytes:
    data = bytearray(rng.choice(SEEDS))
    for _ in range(rng.randrange(8)):
        at = rng.randrange(len(data) + 1)
        match rng.randrange(4):
            case 0:
                data[at:at] = rng.choice(PIECES)
            case 1:
                del data[at : at + rng.randrange(1, 5)]
            case 2:
                data[at : at + 1] = bytes([rng.randrange(256)])
            case 3:
                start = rng.randrange(len(data) + 1)
                data[at:at] = data[start : start + rng.randrange(1, 9)]
    return bytes(data)


def broken(raw: bytes, flags: int) -> str | None:
    """What is wrong with the answer for this path, or None."""
    normal = normalise(raw, flags)
    keep_slash, keep_parameters, merge = bool(flags & ENCODED_SLASH_KEEP), bool(flags & PARAMETERS_KEEP), bool(flags & MERGE_SLASHES)
    expected = reference.normalise(raw, keep_slash=keep_slash, keep_parameters=keep_parameters, merge=merge)
    if isinstance(normal, int):
        return None if normal in REASONS and isinstance(expected, set) and reference.CODES[normal] in expected else f"refused with {normal}, the oracle says {expected!r}"
    checks = {
        f"the oracle says {expected!r}": normal == expected,
        "longer than the path": len(normal) <= len(raw),
        "does not begin with '/'": normal.startswith(b"/"),
        "holds a dot segment": not {b".", b".."} & set(normal.split(b"/")),
        "holds a forbidden octet": not FORBIDDEN.search(normal),
        "holds an encoded slash": keep_slash or not re.search(rb"%2F|%5C", normal),
        "holds a parameter": keep_parameters or not re.search(rb";|%3B", normal),
        "holds an empty segment": not merge or b"//" not in normal,
        "is not its own normal form": normalise(normal, flags) == normal,
    }
    return next((words for words, holds in checks.items() if not holds), None)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=time.time_ns())
    options = parser.parse_args()
    rng = random.Random(options.seed)
    end = time.monotonic() + options.seconds
    count = 0
    while time.monotonic() < end:
        for _ in range(1000):
            raw, flags = mutated(rng), rng.randrange(8)
            flaw = broken(raw, flags)
            if flaw:
                print(f"seed {options.seed}: {raw!r} with flags {flags}: {flaw}")
                return 1
        count += 1000
    print(f"fuzz_path: {count} paths, seed {options.seed}, no finding")
    return 0


if __name__ == "__main__":
    sys.exit(main())
