"""Addresses of a name: /etc/hosts first, then the name servers of /etc/resolv.conf with their TTL."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Iterable
from pathlib import Path

import dns.asyncresolver
import dns.exception
import dns.rdatatype
import dns.resolver
from msgspec import Struct

HOSTS_TTL = 5.0  # seconds; /etc/hosts has none of its own
LIFETIME = 5.0  # seconds for one question, over all name servers and repeats
ANY_PORT = 9  # discard; nothing is ever sent to it

Stamp = tuple[int, int] | None


class Answer(Struct, frozen=True):
    """What a lookup gave: IPv4 and IPv6 addresses and for how long (seconds).

    A family is None where it could not be asked, so that what was known of it stays true; `failure` says why nothing is known at all.
    """

    v4: tuple[str, ...] | None = None
    v6: tuple[str, ...] | None = None
    ttl: float = 0.0
    failure: str | None = None


class SystemResolver:
    """Asks what the machine is configured to ask. Reads /etc/hosts and /etc/resolv.conf again when they change."""

    def __init__(self, hosts: Path = Path("/etc/hosts"), resolv_conf: Path = Path("/etc/resolv.conf")) -> None:
        self._hosts_path = hosts
        self._hosts_stamp: Stamp = None
        self._hosts: dict[str, list[str]] = {}
        self._conf_path = resolv_conf
        self._conf_stamp: Stamp = None
        self._dns: dns.asyncresolver.Resolver | None = None

    async def __call__(self, host: str) -> Answer:
        """Look the name up; failures are values, not exceptions."""
        name = host.lower().rstrip(".")
        fixed = self._from_hosts(name) or _loopback(name)
        if fixed:
            return Answer(*split(fixed), ttl=HOSTS_TTL)
        servers = self._servers()
        if servers is None:
            return Answer(failure="no-name-servers")
        v4, v6 = await asyncio.gather(_ask(servers, host, "A"), _ask(servers, host, "AAAA"))
        return merge(v4, v6)

    def _from_hosts(self, name: str) -> list[str]:
        stamp = _stamp(self._hosts_path)
        if stamp != self._hosts_stamp:
            self._hosts_stamp = stamp
            self._hosts = parse_hosts(_text(self._hosts_path))
        return self._hosts.get(name, [])

    def _servers(self) -> dns.asyncresolver.Resolver | None:
        stamp = _stamp(self._conf_path)
        if self._dns is None or stamp != self._conf_stamp:
            self._conf_stamp = stamp
            try:
                self._dns = dns.asyncresolver.Resolver(str(self._conf_path))
            except dns.resolver.NoResolverConfiguration:
                self._dns = None
            else:
                self._dns.use_search_by_default = True  # short names of a Kubernetes cluster
                self._dns.lifetime = LIFETIME
        return self._dns


class Records(Struct, frozen=True):
    """The records of one family, or why there are none to be had."""

    addresses: tuple[str, ...]
    ttl: float
    failure: str | None = None


async def _ask(servers: dns.asyncresolver.Resolver, host: str, kind: str) -> Records:
    try:
        answer = await servers.resolve(host, kind, raise_on_no_answer=False)
    except dns.resolver.NXDOMAIN:
        return Records((), 0.0, "nxdomain")
    except dns.exception.Timeout:
        return Records((), 0.0, "timeout")
    except (dns.exception.DNSException, OSError):
        return Records((), 0.0, "servfail")
    ttl = float(answer.chaining_result.minimum_ttl)
    return Records(tuple(record.to_text() for record in answer if record.rdtype in (dns.rdatatype.A, dns.rdatatype.AAAA)), ttl)


def merge(v4: Records, v6: Records) -> Answer:
    """Two questions, one answer. A family that failed is unknown; both unknown or both empty is a failure."""
    if v4.failure and v6.failure:
        return Answer(failure=v4.failure)
    if not v4.addresses and not v6.addresses:
        return Answer(failure=v4.failure or v6.failure or "no-addresses")
    usable = reachable(v6.addresses)
    return Answer(
        None if v4.failure else v4.addresses,
        None if v6.failure else usable if usable or v4.addresses else v6.addresses,
        ttl=min(records.ttl for records in (v4, v6) if records.addresses),
    )


def reachable(addresses: Iterable[str]) -> tuple[str, ...]:
    """Those this machine has a route to: without IPv6 connectivity every AAAA record would cost a failed connect. Sends nothing."""
    return tuple(address for address in addresses if _has_route(address))


def _has_route(address: str) -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
            return sock.connect_ex((address, ANY_PORT)) not in (errno.ENETUNREACH, errno.EADDRNOTAVAIL, errno.EHOSTUNREACH)
    except OSError:
        return False


def split(addresses: Iterable[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """By family, each without repeats and in the order given."""
    unique = list(dict.fromkeys(addresses))
    return tuple(a for a in unique if ":" not in a), tuple(a for a in unique if ":" in a)


def parse_hosts(text: str) -> dict[str, list[str]]:
    """hosts(5): address, then names, `#` begins a comment. Lines that are not so are passed over."""
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        address, *names = line.partition("#")[0].split() or [""]
        if names and _is_address(address):
            for name in names:
                found.setdefault(name.lower().rstrip("."), []).append(address)
    return found


def _is_address(text: str) -> bool:
    family = socket.AF_INET6 if ":" in text else socket.AF_INET
    try:
        socket.inet_pton(family, text)
    except (OSError, ValueError):  # ValueError: a NUL inside
        return False
    return True


def _loopback(name: str) -> list[str]:
    """RFC 6761 section 6.3: `localhost` and names under it are never asked for."""
    return ["127.0.0.1", "::1"] if name == "localhost" or name.endswith(".localhost") else []


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def _stamp(path: Path) -> Stamp:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino
