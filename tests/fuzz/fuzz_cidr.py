# Invariant: a list of networks either becomes a set, and then every entry is a network by the module `ipaddress`, or is refused with one problem for each entry
# that is none; any bytes are in the set if and only if they are the text of an address that lies in one of the networks; nothing else is raised.
"""`python tests/fuzz/fuzz_cidr.py --seconds 60 [--seed N]`: spellings of networks and addresses. Prints the first that breaks the invariant and exits 1."""

from __future__ import annotations

import argparse
import ipaddress
import random
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from gw._fast.cidr import AddressSet  # noqa: E402  # the root must be on the path first
from gw.errors import ConfigError  # noqa: E402  # as above
from gw.policy.base import Tools  # noqa: E402  # as above
from gw.policy.ip import Config, build, merged  # noqa: E402  # as above

PIECES = ["0", "00", "01", "1", "9", "255", "256", "ffff", "FFFF", "f", "g", ".", "..", ":", "::", ":::", "/", "//", "/0", "/8", "/33", "/128"]
PIECES += ["/129", "/-1", "/+8", "/ 8", "%", "%eth0", " "]
PIECES += ["\t", "\n", "\x00", "\x7f", "\xb2", "٣", "::ffff:", "::ffff:0:0/96", "::10.0.0.1", "0x0a", "10.0.0.0/255.0.0.0", "[::1]", "-", "+", "_"]
BITS4, BITS6 = (0, 1, 7, 8, 16, 24, 30, 31, 32), (0, 1, 15, 32, 64, 95, 96, 97, 120, 127, 128)


def address(rng: random.Random) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """Few bits vary, so that networks touch, overlap and hold the addresses asked for."""
    match rng.randrange(4):
        case 0:
            return ipaddress.IPv6Address(rng.choice((0, 0x2001, 0xFE80)) << 112 | rng.getrandbits(5))
        case 1:
            return ipaddress.IPv6Address(0xFFFF << 32 | 10 << 24 | rng.getrandbits(5))
        case 2:
            return ipaddress.IPv6Address(rng.getrandbits(128))
    return ipaddress.IPv4Address(rng.choice((10, 11, 255)) << 24 | rng.getrandbits(5))


def network(rng: random.Random) -> str:
    found = address(rng)
    if rng.random() < 0.2:
        return str(found)
    bits = rng.choice(BITS4 if found.version == 4 else BITS6)
    return str(ipaddress.ip_network((found, bits), strict=rng.random() < 0.01 and bits == found.max_prefixlen))


def mutated(rng: random.Random, text: str) -> str:
    for _ in range(rng.choice((1, 1, 2, 3))):
        at = rng.randrange(len(text) + 1)
        match rng.randrange(4):
            case 0:
                text = text[:at] + rng.choice(PIECES) + text[at:]
            case 1:
                text = text[:at] + text[at + rng.randrange(1, 5) :]
            case 2:
                text = text[:at] + chr(rng.randrange(1, 256)) + text[at + 1 :]
            case 3:
                text = text[:at].upper() + text[at:]
    return text


def means(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    """The slow reading: what is mapped is IPv4; there are no zones."""
    try:
        found = ipaddress.ip_network(text)
    except ValueError:
        return None
    if "%" in text:
        return None
    mapped = isinstance(found, ipaddress.IPv6Network) and found.subnet_of(ipaddress.IPv6Network("::ffff:0:0/96"))
    return ipaddress.IPv4Network((int(found.network_address) & 0xFFFFFFFF, found.prefixlen - 96)) if mapped else found


def holds(networks: list[ipaddress.IPv4Network | ipaddress.IPv6Network], text: str) -> bool:
    found = None if "/" in text else means(text)
    return found is not None and any(found.version == each.version and found.network_address in each for each in networks)


def play(rng: random.Random) -> str | None:
    """What breaks the invariant, None when nothing does."""
    texts = [mutated(rng, network(rng)) if rng.random() < 0.15 else network(rng) for _ in range(rng.choice((1, 2, 3, 8, 30)))]
    read = [means(text) for text in texts]
    bad = sum(each is None for each in read)
    try:
        build(Config(allow=texts), Tools("r", "$"))
    except ConfigError as error:
        return None if len(error.problems) == bad else f"{len(error.problems)} problems for {bad} entries that are none: {texts}"
    if bad:
        return f"taken though an entry is no network: {texts}"
    found, networks = AddressSet(merged(texts)), [each for each in read if each]
    for _ in range(8):
        text = str(address(rng))
        text = mutated(rng, text) if rng.random() < 0.5 else text
        if (text.encode("utf-8") in found) != holds(networks, text):
            return f"{text!r} in {texts}: {not holds(networks, text)}"
    return None


def main() -> int:
    parser = argparse.ArgumentParser(prog="fuzz_cidr")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 30))
    options = parser.parse_args()
    rng, end, count = random.Random(options.seed), time.monotonic() + options.seconds, 0
    while time.monotonic() < end:
        count += 1
        if problem := play(rng):
            print(f"FINDING {count}, seed {options.seed}: {problem}")
            return 1
    print(f"{count} inputs, 0 findings, seed {options.seed}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
