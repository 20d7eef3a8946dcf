# Invariant: every octet string is refused with a word of REASONS that the slow oracle gives too, or the oracle knows no reason to refuse it; it is
# accepted only if the signature and all claims hold; a cache in front of the check changes no verdict; nothing raises.
"""`python tests/fuzz/fuzz_token.py --seconds 60 [--seed N]`: damages tokens, and signs damaged ones. Prints the first that breaks the invariant and exits 1."""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from gw._fast.jwt import REASONS, TokenRules, check  # noqa: E402  # the root must be on the path first
from gw._fast.token_cache import Cache, Entry  # noqa: E402  # as above
from tests.reference import token as reference  # noqa: E402  # as above
from tests.tokens import CLAIMS, NOW, key_set, private_key, sign, token  # noqa: E402  # as above

# the slow ones (ES384, ES512) differ from these only in numbers
ALGORITHMS = ["HS256", "HS512", "RS256", "PS256", "ES256", "Ed25519"]
NAMED: list[tuple[str, str | None]] = [(alg, alg if number % 2 else None) for number, alg in enumerate(ALGORITHMS)]
KEYS = key_set(*NAMED)
ORACLE_KEYS = [(alg, kid, private_key(alg) if alg.startswith("HS") else private_key(alg).public_key()) for alg, kid in NAMED]
RULES: list[dict[str, Any]] = [
    {},
    {"require_exp": False, "leeway": 60},
    {"issuers": [CLAIMS["iss"]], "audiences": ["api"], "scopes": ["read"], "required": ["sub", "a.b"]},
    {"types": ["at+jwt"], "max_bytes": 300},
]
TEXTS = [json.dumps({**CLAIMS, "nbf": NOW}), json.dumps({"exp": NOW + 1.5, "a": {"b": ["\u00e9", None]}}), r'{"\u0065xp":18e8,"aud":["a\"pi","api"],"sub":"\ud83d\ude00"}', "{}"]
PIECES = rb'{ } [ ] : , " \ \" \u0061 \ud800 \u0000 - . e E+ 0 1 9 1e400 true null NaN alg kid crit b64 zip exp nbf aud none HS256 . = + / _ A %'.split()
PIECES += [b"\x00", b"\n", b" ", b"\x80", b"\xc3\xa9", b"\xed\xa0\x80", b"\xff", b"[" * 20, b"=="]


def mutated(rng: random.Random, data: bytes, most: int) -> bytes:
    octets = bytearray(data)
    for _ in range(rng.randrange(most)):
        at = rng.randrange(len(octets) + 1)
        match rng.randrange(4):
            case 0:
                octets[at:at] = rng.choice(PIECES)
            case 1:
                del octets[at : at + rng.randrange(1, 5)]
            case 2:
                octets[at : at + 1] = bytes([rng.randrange(256)])
            case 3:
                start = rng.randrange(len(octets) + 1)
                octets[at:at] = octets[start : start + rng.randrange(1, 20)]
    return bytes(octets)


def signed(rng: random.Random) -> bytes:
    """Damaged inside, with a good signature."""
    alg = rng.choice(ALGORITHMS[:2]) if rng.random() < 0.9 else rng.choice(ALGORITHMS)
    stated = alg if rng.random() < 0.95 else rng.choice([*ALGORITHMS, "EdDSA", "none"])
    header = json.dumps({"alg": stated, **({"kid": alg} if rng.random() < 0.7 else {}), **({"typ": "AT+JWT"} if rng.random() < 0.5 else {})})
    return sign(mutated(rng, header.encode(), 3), mutated(rng, rng.choice(TEXTS).encode(), 6), alg)


def damaged(rng: random.Random, good: list[bytes]) -> bytes:
    """Damaged outside, or put together from two."""
    one, other = rng.choice(good), rng.choice(good)
    if rng.random() < 0.3:
        return b".".join(rng.choice(pair) for pair in zip(one.split(b"."), other.split(b"."), strict=True))
    return mutated(rng, one, 4)


def broken(text: bytes, number: int, cache: Cache) -> str | None:
    """What is wrong with the verdict about this token, or None."""
    rules = RULES[number]
    verdict = check(KEYS, rules, text, NOW)
    expected = reference.reasons(ORACLE_KEYS, rules, text, NOW)
    found = cache.check(KEYS, COMPILED[number], text, NOW)
    if (found.claims if isinstance(found, Entry) else found) != verdict:
        return f"{verdict}, and {found} with a cache"
    if isinstance(verdict, dict):
        return f"accepted, the oracle says {sorted(expected)}" if expected else None
    return None if verdict in REASONS and verdict in expected else f"refused with {verdict}, the oracle says {sorted(expected)}"


COMPILED = [TokenRules(**rules) for rules in RULES]


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=time.time_ns())
    options = parser.parse_args()
    rng = random.Random(options.seed)
    end = time.monotonic() + options.seconds
    good = [token(alg, {"kid": alg}) for alg in ALGORITHMS for _ in range(2)]
    caches = [Cache(50, 1 << 16) for _ in RULES]
    count = accepted = 0
    while time.monotonic() < end:
        text, number = damaged(rng, good) if rng.random() < 0.4 else signed(rng), rng.randrange(len(RULES))
        flaw = broken(text, number, caches[number])
        if flaw:
            print(f"seed {options.seed}: {text!r} with rules {RULES[number]}: {flaw}")
            return 1
        count += 1
        accepted += not isinstance(check(KEYS, RULES[number], text, NOW), str)
    print(f"fuzz_token: {count} tokens, {accepted} of them good, seed {options.seed}, no finding")
    return 0


if __name__ == "__main__":
    sys.exit(main())
