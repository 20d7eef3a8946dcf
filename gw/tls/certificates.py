"""What certificates say: names and expiry, for `gw check` and metrics."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct, convert

from gw._fast.x509 import read_certificates
from gw.config.model import Config, OriginTls
from gw.errors import ConfigError, Problem

DAY = 24 * 60 * 60
WARN_BEFORE = 14 * DAY  # seconds; ACME clients renew 30 days before the end, so by then something is stuck


class CertificateInfo(Struct, frozen=True):
    """One certificate. `names`: DNS names it serves, in lower case; `not_before` and `not_after` in Unix seconds."""

    subject: str
    issuer: str
    names: list[str]
    sans: list[str]
    serial: str
    fingerprint: str
    not_before: int
    not_after: int
    key: str


def inspect(path: Path) -> list[CertificateInfo]:
    """Every certificate of a PEM file, leaf first. Raises ConfigError when the file cannot be read or holds none."""
    try:
        return convert(read_certificates(path), list[CertificateInfo])
    except ValueError as error:
        raise ConfigError([Problem(message=str(error), file=str(path))]) from None


def certificate_warnings(config: Config, base: Path, now: float) -> list[Problem]:
    """Certificates outside their time or close to its end at Unix time `now`, names served twice, certificates without a name.

    Files that cannot be read are left to the contexts, for which they are errors.
    """
    found: list[Problem] = []
    for number, listener in enumerate(config.listeners):
        if listener.tls is None:
            continue
        taken: dict[tuple[str, str], str] = {}
        for index, each in enumerate(listener.tls.certificates):
            pointer = f"$.listeners[{number}].tls.certificates[{index}].cert"
            for leaf in _leaf(base / each.cert):
                found += _dates(leaf, each.cert, pointer, now)
                found += _names(leaf, each.cert, pointer, taken)
    for name, service in config.services.items():
        if service.tls is not None:
            found += _origin(service.tls, base, f"$.services.{name}.tls", now)
    return found


def _origin(tls: OriginTls, base: Path, pointer: str, now: float) -> Iterator[Problem]:
    if tls.certificate is not None:
        for leaf in _leaf(base / tls.certificate.cert):
            yield from _dates(leaf, tls.certificate.cert, f"{pointer}.certificate.cert", now)


def _leaf(path: Path) -> list[CertificateInfo]:
    try:
        return inspect(path)[:1]
    except ConfigError:
        return []


def _dates(leaf: CertificateInfo, file: str, pointer: str, now: float) -> Iterator[Problem]:
    left = leaf.not_after - now
    if left <= 0:
        yield _warning(f"{file}: the certificate expired {_days(-left)} ago", pointer)
    elif left < WARN_BEFORE:
        yield _warning(f"{file}: the certificate expires in {_days(left)}", pointer)
    if leaf.not_before > now:
        yield _warning(f"{file}: the certificate is not valid before {_days(leaf.not_before - now)} from now", pointer)


def _names(leaf: CertificateInfo, file: str, pointer: str, taken: dict[tuple[str, str], str]) -> Iterator[Problem]:
    if not leaf.names:
        yield _warning(f"{file}: the certificate names no host, so clients will refuse it", pointer)
    kind = leaf.key.split()[0]
    for name in leaf.names:
        first = taken.setdefault((name, kind), file)
        if first != file:
            yield _warning(f"{file}: {name} is already served by {first}, which wins", pointer)


def _days(seconds: float) -> str:
    return f"{int(seconds // DAY)} days" if seconds >= 2 * DAY else f"{int(seconds // 3600)} hours"


def _warning(message: str, pointer: str) -> Problem:
    return Problem(message=message, pointer=pointer, severity="warning")
