# Invariant: whatever bytes a configuration file holds, within 2 s loading returns a Config that survives encode and decode,
# or raises ConfigError with a position for every problem.
"""`python -m tests.fuzz.fuzz_config --seconds 60 [--seed N]`: mutates the golden cases of tests/golden/config. What breaks the invariant is kept in --keep."""

from __future__ import annotations

import argparse
import random
import re
import sys
import tempfile
import time
import traceback
from pathlib import Path

from gw.config import check, decode, encode, loads
from gw.config.loading import decode_text
from gw.errors import ConfigError

ROOT = Path(__file__).parents[2]
NAMES = ("a.yaml", "a.json", "a.toml")
# Longest time for one input; the largest has some 10 KB.
SLOW = 2.0
PIECES = [
    b"${A}",
    b"${A:-x}",
    b"$${",
    b"${",
    b"file:a",
    b"<<: *a",
    b"&a ",
    b"*a",
    b"!!str ",
    b"? ",
    b"- ",
    b": ",
    b"{",
    b"}",
    b"[",
    b"]",
    b"|",
    b">",
    b"---\n",
    b"...\n",
    b"%YAML 1.2\n",
    b"\t",
    b"\r",
    b"\x00",
    b"'",
    b'"',
    b"#",
    b"~",
    b"null",
    b"true",
    b"0x1f",
    b"1e999",
    b".nan",
    b"-0",
    b"18446744073709551616",
    b"99999999999999999999999",
    b'"\\ud800"',
    b'"\\u0000"',
    b"\xef\xbb\xbf",
    b"[[routes]]\n",
    b"[a.b]\n",
    b"a = 1\n",
    b'"""',
    b"1979-05-27T07:32:00Z",
    b"listeners:",
    b"routes:",
    b"services:",
    b"policies:",
    b"path: /{a}/{b}",
    b"rewrite: /{rest}",
    b"redirect: {to: /}",
    b"respond: {}",
    b"max_body: 1MiB",
    b"5s",
    b"http://a",
    b"unix:/a",
    b"*.a.b",
    b"10.0.0.0/8",
]


def seeds() -> list[bytes]:
    """The inputs of the golden cases, file by file."""
    texts = [path.read_text().partition("----------\n")[0] for path in sorted((ROOT / "tests/golden/config").glob("*.case"))]
    return [part.encode() for text in texts for part in re.split(r"^==> .+ <==\n", text, flags=re.MULTILINE) if part]


def mutate(data: bytes, corpus: list[bytes], chance: random.Random) -> bytes:
    for _ in range(chance.choice((1, 1, 2, 4, 8))):
        at, end = sorted(chance.randrange(len(data) + 1) for _ in range(2))
        match chance.randrange(7):
            case 0:
                data = data[:at] + bytes([chance.randrange(256)]) + data[at + 1 :]
            case 1:
                data = data[:at] + chance.choice(PIECES) + data[at:]
            case 2:
                data = data[:at] + data[end:]
            case 3:
                data = data[:end] + data[at:end] * chance.choice((1, 2, 30)) + data[end:]
            case 4:
                other = chance.choice(corpus)
                data = data[:at] + other[chance.randrange(len(other)) :]
            case 5:
                data = data[:at] + chance.choice(PIECES) + data[end:]
            case 6:
                data = data[:at] + b" " * chance.randrange(5) + data[at:]
    return data[:20_000]


def break_of(data: bytes, name: str) -> str | None:
    """What in this input breaks the invariant, or None."""
    started = time.monotonic()
    try:
        flaw = outcome(data, name)
    except Exception:  # noqa: BLE001  # any other exception is what this looks for; it is kept with its traceback
        flaw = traceback.format_exc()
    took = time.monotonic() - started
    return flaw or (f"took {took:.1f} s" if took > SLOW else None)


def outcome(data: bytes, name: str) -> str | None:
    try:
        loaded = loads(decode_text(data, name), name, base=Path("/nonexistent"), environ={"A": "x"})
        check(loaded)
        return None if decode(encode(loaded.config)) == loaded.config else "encode and decode give another config"
    except ConfigError as error:
        return (
            None
            if error.problems and all(each.line > 0 and each.column > 0 for each in error.problems)
            else f"a problem without position: {error.problems}"
        )


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seconds", type=float, default=10)
    options.add_argument("--seed", type=int, default=None, help="the same seed makes the same inputs")
    options.add_argument("--keep", type=Path, default=Path(tempfile.gettempdir()), help="folder for inputs that break the invariant")
    chosen = options.parse_args()
    seed = chosen.seed if chosen.seed is not None else random.SystemRandom().randrange(2**32)
    chance, corpus = random.Random(seed), seeds()
    until, count = time.monotonic() + chosen.seconds, 0
    while time.monotonic() < until:
        data, name = mutate(chance.choice(corpus), corpus, chance), chance.choice(NAMES)
        flaw = break_of(data, name)
        count += 1
        if flaw:
            kept = chosen.keep / f"fuzz-config-{seed}-{count}-{name}"
            kept.write_bytes(data)
            print(f"{flaw}\nseed {seed}, input {count}: {kept}")
            return 1
    print(f"{count} inputs, seed {seed}: the invariant holds")
    return 0


if __name__ == "__main__":
    sys.exit(main())
