# Invariant: every text is refused with a ConfigError of one problem in one line, or is a compiled condition whose every answer is true, false or none;
# either within a second, in bounded memory, and without an end of the process.
"""`python tests/fuzz/fuzz_condition.py --seconds 60 [--seed N]`: mutates expressions. Prints the first text that breaks the invariant and exits 1.

The library is compiled code: a crash ends the fuzzer, and the text that did it stands in build/fuzz/condition.txt.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import sys
import time
from pathlib import Path
from types import SimpleNamespace

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from gw.errors import ConfigError  # noqa: E402  # the root must be on the path first
from gw.policy import Tools  # noqa: E402  # as above
from gw.policy.condition import Condition, Config, build, compiled  # noqa: E402  # as above

SEEDS = [
    "request.method == 'GET' && request.path.startsWith('/user')",
    "'admin' in groups || consumer == \"ann\"",
    "claims.level > 2 && has(claims.realm.roles) && claims['realm'].roles.exists(r, r == 'a')",
    "request.headers['x-a'] != '' ? scopes.all(s, s.size() < 9) : !('q' in request.query)",
    "now > timestamp('2024-01-01T00:00:00Z') && now - timestamp('2024-01-01T00:00:00Z') < duration('9000h')",
    "client.ip.matches('^10[.]') && [1, 2u, 3.5, b'x', null, true].size() == 6",
    "{'a': [1, 2, 3].map(x, x * x), 'b': dyn(claims)}['a'][2] % 2 == 1",
    "string(int('12') + 1) == '13' && bytes('\\u00e9') != b'\\xff' && r'\\d' == '\\\\d'",
    "type(claims.sub) == string && double(uint(7)) / 2.0 == 3.5 // done",
]
PIECES = [
    *(".", "(", ")", "[", "]", "{", "}", ",", ":", "?", "!", "-", "+", "*", "/", "%", "<", ">=", "==", "!=", "&&", "||", " in ", "'", '"', "'''", "r'", "b'"),
    *("\\", "\\x", "\\u", "\\U", "//", "\n", "\t", "0", "1", "9223372036854775808", "-1", "1e309", "0x", "7u", "null", "true", "this", "__proto__"),
    *("has(", ".all(x, ", ".map(x, ", ".exists(y, ", "size(", "type(", "dyn(", ".matches(", "timestamp(", "duration(", "claims", "groups", "request.headers", "now"),
    *("\u00e9", "\U0001d54f", "\0", "\ud800", "\x7f"),
]
ASKED = SimpleNamespace(
    method="GET",
    host="h.example",
    path="/user/7",
    query="q=1&r=%ff",
    headers={"X-A": "b"},
    client="10.0.0.1",
    consumer="ann",
    groups=["admin"],
    scopes=["read"],
    claims={"sub": "7", "level": 3, "realm": {"roles": ["a"]}, "none": None, "big": 2**64, "f": 1e308},
    now=1_750_000_000,
)
SECONDS_MAX = 1.0
MEMORY_MAX = 512 * 1024  # KiB that the whole run may add


def mutated(rng: random.Random) -> str:
    text = rng.choice(SEEDS)
    for _ in range(rng.randrange(6)):
        at = rng.randrange(len(text) + 1)
        match rng.randrange(6):
            case 0:
                text = text[:at] + rng.choice(PIECES) + text[at:]
            case 1:
                text = text[:at] + text[at + rng.randrange(1, 6) :]
            case 2:
                text = text[:at] + chr(rng.choice([rng.randrange(128), rng.randrange(0x110000)])) + text[at + 1 :]
            case 3:
                other = rng.choice(SEEDS)
                text = text[:at] + other[rng.randrange(len(other)) :]
            case 4:
                text = rng.choice(["(", "!", "[", "-", "{1:", "f("]) * rng.randrange(1, 80) + text
            case 5:
                text = rng.choice([" && ", " || ", " + ", " ? 1 : "]).join([text] * rng.randrange(2, 12))
    return text


def broken(text: str) -> str | None:
    """What is wrong with what became of the text, or None."""
    began = time.process_time()
    compiled.cache_clear()
    try:
        build(Config(allow=text), Tools("all", "$"))
        condition: Condition | None = compiled(text)
    except ConfigError as error:
        condition = None
        if len(error.problems) != 1 or "\n" in str(error.problems[0].message) or not error.problems[0].message:
            return f"refused with {error.problems}"
    answer = condition.holds(ASKED) if condition else None
    if answer not in (True, False, None) or not isinstance(answer, bool | None):
        return f"it answers {answer!r}"
    took = time.process_time() - began
    return f"it took {took:.1f} s" if took > SECONDS_MAX else None


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=time.time_ns())
    options = parser.parse_args()
    rng = random.Random(options.seed)
    last = ROOT / "build" / "fuzz" / "condition.txt"
    last.parent.mkdir(parents=True, exist_ok=True)
    end, count, good = time.monotonic() + options.seconds, 0, 0
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with last.open("w") as kept:
        while time.monotonic() < end:
            text = mutated(rng)
            kept.seek(0)
            kept.truncate()
            kept.write(json.dumps(text))
            kept.flush()
            flaw = broken(text)
            grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory
            if grown > MEMORY_MAX:
                flaw = f"memory has grown by {grown // 1024} MiB"
            if flaw:
                print(f"seed {options.seed}: {text!r}: {flaw}")
                return 1
            count += 1
            good += compiled.cache_info().currsize
    print(f"fuzz_condition: {count} texts, {good} of them conditions, seed {options.seed}, no finding")
    return 0


if __name__ == "__main__":
    sys.exit(main())
