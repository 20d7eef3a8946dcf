# Invariant: whatever bytes a configuration file holds, within 2 s of CPU and 2 GiB loading returns a Config that survives encode and decode,
# or raises ConfigError with a position for every problem.
"""`python -m tests.fuzz.fuzz_config --seconds 60 [--seed N]`: mutates the golden cases of tests/golden/config. What breaks the invariant is kept in --keep."""

from __future__ import annotations

import argparse
import random
import re
import resource
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path

import orjson
import yaml

from gw.config import check, decode, encode, loads
from gw.config.loading import decode_text
from gw.errors import ConfigError

ROOT = Path(__file__).parents[2]
NAMES = ("a.yaml", "a.json", "a.toml")
# Longest CPU time for one input, so that a busy machine is no finding; the largest has some 10 KB.
SLOW = 2.0
# Address space of this process: an input that fills the memory shows as MemoryError here, and harms nobody else.
MEMORY = 2 * 1024**3
# Mutations that keep the syntax; the others mostly break it.
WORDS_SHARE = 0.6
_WORD = re.compile(rb'"[^"\n]*"|[^\s"{}\[\],:=]+')
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


def seeds() -> dict[str, list[bytes]]:
    """The files of the golden cases by suffix, and all that is YAML in JSON too."""
    found: dict[str, list[bytes]] = {name: [] for name in NAMES}
    for path in sorted((ROOT / "tests/golden/config").glob("*.case")):
        parts = re.split(r"^==> .+(\.\w+) <==\n", path.read_text().partition("----------\n")[0], flags=re.MULTILINE)
        for suffix, text in zip(parts[1::2], parts[2::2], strict=True) if len(parts) > 1 else [(".yaml", parts[0])]:
            found.get(f"a{suffix}", []).append(text.encode() or b"\n")
    found["a.json"] += [json for text in found["a.yaml"] if (json := as_json(text))]
    return found


def as_json(text: bytes) -> bytes | None:
    """None for what is not YAML, and for aliases: written out they may fill the memory."""
    if b"*" in text:
        return None
    try:
        return orjson.dumps(yaml.safe_load(text), option=orjson.OPT_INDENT_2)
    except (yaml.YAMLError, TypeError, ValueError):
        return None


def mutate(data: bytes, corpus: list[bytes], chance: random.Random) -> bytes:
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        if chance.random() < WORDS_SHARE:
            data = swap_word(data, chance.choice(corpus), chance)
            continue
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


def swap_word(data: bytes, other: bytes, chance: random.Random) -> bytes:
    """One word for another: most often still well formed, with a value or key in the wrong place."""
    places, words = list(_WORD.finditer(data)), _WORD.findall(other)
    if not places or not words:
        return data
    place = chance.choice(places)
    return data[: place.start()] + chance.choice(words) + data[place.end() :]


def break_of(data: bytes, name: str, reached: Counter[str]) -> str | None:
    """What in this input breaks the invariant, or None."""
    started = time.process_time()
    try:
        flaw = outcome(data, name, reached)
    except Exception:  # noqa: BLE001  # any other exception is what this looks for; it is kept with its traceback
        flaw = traceback.format_exc()
    took = time.process_time() - started
    return flaw or (f"took {took:.1f} s" if took > SLOW else None)


def outcome(data: bytes, name: str, reached: Counter[str]) -> str | None:
    """Counts how far the input came, so that a fuzzer that only breaks the syntax is seen to do so."""
    try:
        loaded = loads(decode_text(data, name), name, base=Path("/nonexistent"), environ={"A": "x"})
        check(loaded)
        reached["loaded"] += 1
        return None if decode(encode(loaded.config)) == loaded.config else "encode and decode give another config"
    except ConfigError as error:
        reached["not parsed" if any("this is not" in each.message for each in error.problems) else "refused"] += 1
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
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    seed = chosen.seed if chosen.seed is not None else random.SystemRandom().randrange(2**32)
    chance, corpus = random.Random(seed), seeds()
    until, count, reached = time.monotonic() + chosen.seconds, 0, Counter[str]()
    while time.monotonic() < until:
        name = chance.choice(NAMES)
        data = mutate(chance.choice(corpus[name]), corpus[name], chance)
        flaw = break_of(data, name, reached)
        count += 1
        if flaw:
            kept = chosen.keep / f"fuzz-config-{seed}-{count}-{name}"
            kept.write_bytes(data)
            print(f"{flaw}\nseed {seed}, input {count}: {kept}")
            return 1
    print(f"{count} inputs, seed {seed}: the invariant holds ({', '.join(f'{number} {stage}' for stage, number in reached.items())})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
