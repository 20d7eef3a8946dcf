"""Allow or deny clients by address."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, NamedTuple

from msgspec import Meta, Struct, field

from gw._fast.cidr import AddressSet
from gw._fast.permit import AddressStep
from gw.config.syntax import network_flaw
from gw.errors import ConfigError, Problem
from gw.policy.base import Kind, Tools

KIND: Kind = "authorisation"
MAPPED = 0xFFFF << 32  # ::ffff:0:0/96, where IPv4 lies
MAPPED_LAST = MAPPED | 0xFFFFFFFF


class Config(Struct, forbid_unknown_fields=True, frozen=True):
    """Addresses a client may come from. Denying wins over allowing. The client is the first peer that is not one of `trusted_proxies`."""

    allow: Annotated[list[str], Meta(description="Addresses and CIDR blocks; nothing here and in `allow_files` means every address that is not denied.")] = field(
        default_factory=list
    )
    deny: Annotated[list[str], Meta(description="Addresses and CIDR blocks.")] = field(default_factory=list)
    allow_files: Annotated[list[str], Meta(description="Files with one address or block a line; what follows `#` or `;` is a comment. Read at every reload.")] = field(
        default_factory=list
    )
    deny_files: Annotated[list[str], Meta(description="As `allow_files`.")] = field(default_factory=list)


class Entry(NamedTuple):
    """One address or block as written."""

    text: str
    pointer: str
    place: str = ""  # file and line, when it does not stand in the config


def build(config: Config, tools: Tools) -> AddressStep:
    """A compiled step; raises ConfigError for what is no address, for files that cannot be read, and when nothing is listed."""
    problems: list[Problem] = []
    if config == Config():
        problems.append(Problem(message="no address is allowed or denied", pointer=tools.pointer, hint="`ip: {allow: [10.0.0.0/8]}`"))
    allow = _set(config.allow, config.allow_files, f"{tools.pointer}.allow", tools.base, problems)
    deny = _set(config.deny, config.deny_files, f"{tools.pointer}.deny", tools.base, problems)
    if problems:
        raise ConfigError(problems)
    only = bool(config.allow or config.allow_files)  # a file without addresses allows nobody, not everybody
    return AddressStep("ip", allow if only else None, deny)


def _set(texts: list[str], files: list[str], pointer: str, base: Path, problems: list[Problem]) -> AddressSet:
    entries = [Entry(text, f"{pointer}[{index}]") for index, text in enumerate(texts)]
    for index, name in enumerate(files):
        entries += _read(base / name, f"{pointer}_files[{index}]", problems)
    found, flaws = _networks(tuple(entry.text for entry in entries))
    for index, (message, hint) in flaws:
        problems.append(Problem(message=f"{entries[index].place}{message}", hint=hint, pointer=entries[index].pointer))
    return found


def _read(file: Path, pointer: str, problems: list[Problem]) -> Iterator[Entry]:
    try:
        lines = file.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not text in UTF-8"
        problems.append(Problem(message=f"cannot read {file}: {why}", pointer=pointer))
        return
    for number, line in enumerate(lines, 1):
        text = line.partition("#")[0].partition(";")[0].strip()
        if text:
            yield Entry(text, pointer, f"{file}:{number}: ")


@lru_cache(maxsize=64)
def _networks(texts: tuple[str, ...]) -> tuple[AddressSet, tuple[tuple[int, tuple[str, str]], ...]]:
    """The set of them, and what is wrong with those that are none. A list ahead of many routes is made once."""
    flaws = [(index, flaw) for index, text in enumerate(texts) if (flaw := network_flaw(text))]
    return AddressSet([] if flaws else merged(texts)), tuple(flaws)


def merged(texts: Iterable[str]) -> list[tuple[int, int]]:
    """The addresses of networks as ranges, (first, last) of 128 bits, sorted, without overlap; IPv4 lies at ::ffff:0:0/96.

    A block of IPv6 that only spans that place, such as `::/0`, speaks of IPv6: no IPv4 client is in it.
    """
    made: list[tuple[int, int]] = []
    for first, last in sorted(piece for text in texts for piece in _pieces(ip_network(text))):
        if made and first <= made[-1][1] + 1:
            made[-1] = (made[-1][0], max(last, made[-1][1]))
        else:
            made.append((first, last))
    return made


def _pieces(network: IPv4Network | IPv6Network) -> Iterator[tuple[int, int]]:
    first, last = int(network.network_address), int(network.broadcast_address)
    if network.version == 4:
        yield MAPPED + first, MAPPED + last
    elif first < MAPPED <= last:
        yield first, MAPPED - 1
        if last > MAPPED_LAST:
            yield MAPPED_LAST + 1, last
    else:
        yield first, last
