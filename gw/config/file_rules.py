"""Rules about what a config names on disk: certificates, keys, folders. Reads files, opens no sockets."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path

from gw.config.convert import BROKEN, whole
from gw.config.expand import sought
from gw.config.model import Certificate, Config, ListenerTls, OriginTls, RedisTls
from gw.config.node import join
from gw.errors import Problem


def check_files(config: Config, base: Path) -> Iterator[Problem]:
    """Unreadable files, keys that do not match, folders that do not exist. Dates and names of certificates: gw.tls."""
    for index, listener in whole(config.listeners):
        if listener.tls is not None:
            yield from _listener_tls(listener.tls, base, f"$.listeners[{index}].tls")
    for name, service in config.services.items():
        if service is not BROKEN and service.tls is not None:
            yield from _towards(service.tls, base, f"{join('$.services', name)}.tls", "this service")
    if (tls := _redis_tls(config)) is not None:
        yield from _towards(tls, base, "$.store.redis.tls", "this Redis")
    for index, folder in whole(config.modules):
        if not _is_folder(base, folder):
            yield Problem(message=f"no such folder: {folder}", pointer=f"$.modules[{index}]", hint=sought(base, folder))
    yield from _written(config, base)


def tls_files(config: Config, base: Path) -> list[Path]:
    """Every certificate, key and list of authorities, once, in the order of the config."""
    names: list[str | None] = []
    for listener in config.listeners:
        if listener.tls is not None:
            names += [name for each in listener.tls.certificates for name in (each.cert, each.key)]
            names.append(listener.tls.client_certificates.ca if listener.tls.client_certificates else None)
    for tls in (*(service.tls for service in config.services.values()), _redis_tls(config)):
        if tls is not None:
            own = tls.certificate
            names += [tls.ca, *((own.cert, own.key) if own else ())]
    return [base / name for name in dict.fromkeys(names) if name is not None]


def _listener_tls(tls: ListenerTls, base: Path, pointer: str) -> Iterator[Problem]:
    for index, certificate in whole(tls.certificates):
        yield from _certificate(certificate, base, f"{pointer}.certificates[{index}]")
    if tls.client_certificates is not None:
        yield from _authorities(tls.client_certificates.ca, base, f"{pointer}.client_certificates.ca")
    if tls.ciphers is not None:
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).set_ciphers(tls.ciphers)
        except (ssl.SSLError, ValueError):
            hint = "see `openssl ciphers`; unset means Mozilla intermediate"
            yield Problem(message="no cipher of TLS 1.2 in this list is known to OpenSSL", pointer=f"{pointer}.ciphers", hint=hint)


def _redis_tls(config: Config) -> RedisTls | None:
    store = config.store
    return None if store in (None, BROKEN) or store.redis in (None, BROKEN) else store.redis.tls


def _towards(tls: OriginTls | RedisTls, base: Path, pointer: str, whom: str) -> Iterator[Problem]:
    if tls.ca is not None:
        yield from _authorities(tls.ca, base, f"{pointer}.ca")
    if tls.certificate is not None:
        yield from _certificate(tls.certificate, base, f"{pointer}.certificate")
    if not tls.verify:
        message = f"whoever can reach the connection can pretend to be {whom}, because its certificate is not verified"
        yield Problem(message=message, pointer=f"{pointer}.verify", at_key=True, severity="warning", hint="name its authority in `ca` instead")


def _unreadable(name: str, base: Path, pointer: str) -> Iterator[Problem]:
    try:
        (base / name).read_bytes()
    except OSError as error:
        yield Problem(message=f"cannot read '{name}': {error.strerror}", pointer=pointer, hint=sought(base, name))
    except ValueError:
        yield Problem(message="a file name cannot hold a NUL byte", pointer=pointer)


def _authorities(name: str, base: Path, pointer: str) -> Iterator[Problem]:
    if name is BROKEN:
        return
    unreadable = list(_unreadable(name, base, pointer))
    yield from unreadable
    if not unreadable:
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(base / name)
        except ssl.SSLError:
            yield Problem(message=f"'{name}' holds no certificate in PEM form", pointer=pointer)


def _certificate(certificate: Certificate, base: Path, pointer: str) -> Iterator[Problem]:
    if BROKEN in (certificate.cert, certificate.key):
        return
    unreadable = [*_unreadable(certificate.cert, base, f"{pointer}.cert"), *_unreadable(certificate.key, base, f"{pointer}.key")]
    yield from unreadable
    if unreadable:
        return
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        # A pass phrase would otherwise be asked for on the terminal.
        context.load_cert_chain(base / certificate.cert, base / certificate.key, password=lambda: "")
    except ssl.SSLError as error:
        yield _bad_pair(certificate, base, pointer, error)
        return


def _bad_pair(certificate: Certificate, base: Path, pointer: str, error: ssl.SSLError) -> Problem:
    # The last two: keys of different kinds, such as RSA and ECDSA.
    if error.reason in ("KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH", "NO_CERTIFICATE_ASSIGNED"):
        return Problem(message=f"the key '{certificate.key}' does not belong to the certificate '{certificate.cert}'", pointer=f"{pointer}.key")
    if error.reason in ("EE_KEY_TOO_SMALL", "CA_MD_TOO_WEAK", "CA_KEY_TOO_SMALL"):
        return Problem(message=f"'{certificate.cert}' is too weak for OpenSSL: {error.reason.lower().replace('_', ' ')}", pointer=f"{pointer}.cert")
    if b"ENCRYPTED" in (base / certificate.key).read_bytes():
        hint = "decrypt it with `openssl pkey`, and protect the file by its permissions"
        return Problem(message=f"the key '{certificate.key}' is protected by a pass phrase", pointer=f"{pointer}.key", hint=hint)
    if not _holds(base / certificate.cert, b"CERTIFICATE-----"):
        return Problem(message=f"'{certificate.cert}' holds no certificate in PEM form", pointer=f"{pointer}.cert")
    if not _holds(base / certificate.key, b"PRIVATE KEY-----"):
        return Problem(message=f"'{certificate.key}' holds no private key in PEM form", pointer=f"{pointer}.key")
    return Problem(message=f"'{certificate.cert}' and '{certificate.key}' cannot be used: {error.reason or error}", pointer=pointer)


def _holds(path: Path, marker: bytes) -> bool:
    return marker in path.read_bytes()


def _written(config: Config, base: Path) -> Iterator[Problem]:
    """Files that gw writes need a folder; their own existence does not matter."""
    log = config.access_log
    named = (
        ("$.access_log.file", log.file if log and log.file != "stdout" else None),
        ("$.error_log.file", config.error_log.file if config.error_log.file != "stderr" else None),
        ("$.process.pid_file", config.process.pid_file),
    )
    for pointer, name in named:
        if name is not None and not _is_folder(base, str(Path(name).parent)):
            yield Problem(message=f"no such folder: {Path(name).parent}", pointer=pointer, hint=sought(base, str(Path(name).parent)))


def _is_folder(base: Path, name: str) -> bool:
    try:
        return (base / name).is_dir()
    except (OSError, ValueError):
        return False
