# Invariant: from any Cookie field comes either no session, or byte for byte one that was sealed for this policy under one of its keys, and then the
# field held its cookies whole; an untouched field gives its session, in whatever order and company its cookies come; nothing raises.
"""`python tests/fuzz/fuzz_session.py --seconds 60 [--seed N]`: damages, mixes and reorders session cookies. Prints the first that breaks the invariant and exits 1."""

from __future__ import annotations

import argparse
import random
import re
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from gw.policy.cookies import pairs  # noqa: E402  # the root must be on the path first
from gw.policy.session import COOKIE_BYTES, COOKIES_MAX, Seal, chunk_name, joined, split  # noqa: E402  # as above

NAME = "gw_session"
OLD, NEW, OTHER = "o" * 32, "n" * 32, "x" * 32
SEAL = Seal([NEW, OLD], "session app")
FOREIGN = [Seal([OTHER], "session app"), Seal([NEW, OLD], "session other"), Seal([NEW, OLD], "login app")]
SIZES = [0, 1, 100, 2590, 2600, 5200, 10000]
PIECES = ["", "=", ";", "; ", ".", "-", "_", "1.", "2.", "5.", "0.", "01.", "+", "/", "==", "A", "\t", " ", '"', "\xff", "\x00", f"{NAME}=", f"{NAME}-1=", f"; {NAME}-1=; "]


def field(cookies: list[tuple[str, str]]) -> str:
    return "; ".join(f"{name}={value}" for name, value in cookies)


def sealed(rng: random.Random, known: dict[str, bytes]) -> list[tuple[str, str]]:
    """Cookies of a new session, ours or one that is not for us."""
    data = rng.randbytes(rng.choice(SIZES))
    if rng.random() < 0.3:
        return split(NAME, rng.choice(FOREIGN).seal(data))
    text = Seal([rng.choice([OLD, NEW])], "session app").seal(data)
    known[text] = data
    return split(NAME, text)


def mutated(rng: random.Random, text: str) -> str:
    for _ in range(rng.randrange(1, 4)):
        at = rng.randrange(len(text) + 1)
        match rng.randrange(4):
            case 0:
                text = text[:at] + rng.choice(PIECES) + text[at:]
            case 1:
                text = text[:at] + text[at + rng.randrange(1, 60) :]
            case 2:
                text = text[:at] + chr(rng.randrange(256)) + text[at + 1 :]
            case 3:
                start = rng.randrange(len(text) + 1)
                text = text[:at] + text[start : start + rng.randrange(1, 4000)] + text[at:]
    return text


def carried(text: str) -> str | None:
    """What the cookies of a field carry, the slow way: the first of a name counts, and its number says how many there must be."""
    found: dict[str, str] = {}
    for piece in text.split(";"):
        match = re.fullmatch(r"[ \t]*([^=]*?)[ \t]*=[ \t]*(.*?)[ \t]*", piece, re.DOTALL)
        if match:
            found.setdefault(match[1], match[2])
    count = re.match(rf"([1-{COOKIES_MAX}])\.", found.get(NAME, ""))
    if count is None:
        return None
    values = [found[NAME][2:], *(found.get(chunk_name(NAME, number), "") for number in range(1, int(count[1])))]
    return None if "" in values else "".join(values)


def broken(text: str, known: dict[str, bytes]) -> str | None:
    """What is wrong with the session that this field gives, or None."""
    held = joined(NAME, pairs(text))
    if held != carried(text):
        return f"it carries {held!r}, the oracle says {carried(text)!r}"
    opened = SEAL.open(held) if held is not None else None
    expected = known.get(held) if held is not None else None
    return None if opened == expected else f"it gives {opened!r}, expected {expected!r}"


def damaged(rng: random.Random, cookies: list[tuple[str, str]], others: list[tuple[str, str]]) -> str:
    """Two sessions mixed, or one whose field was changed."""
    if rng.random() < 0.3:
        return field(rng.sample([*cookies, *others], rng.randrange(len(cookies) + len(others) + 1)))
    return mutated(rng, field(cookies))


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=time.time_ns())
    options = parser.parse_args()
    rng = random.Random(options.seed)
    end = time.monotonic() + options.seconds
    assert max(SIZES) * 4 // 3 < COOKIE_BYTES * COOKIES_MAX
    count = good = 0
    while time.monotonic() < end:
        known: dict[str, bytes] = {}
        cookies, others = sealed(rng, known), sealed(rng, known)
        company = [*cookies, ("theme", "dark"), (f"{NAME}x", "1.a")]
        rng.shuffle(company)
        for text in (field(company), damaged(rng, cookies, others)):
            flaw = broken(text, known)
            if flaw:
                print(f"seed {options.seed}: {text!r}: {flaw}")
                return 1
            count += 1
            good += carried(text) in known
    print(f"fuzz_session: {count} fields, {good} of them with a session, seed {options.seed}, no finding")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
