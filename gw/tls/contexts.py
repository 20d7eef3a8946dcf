"""Contexts of the lane from the configuration."""

from __future__ import annotations

from pathlib import Path

from gw._fast.tls import ClientContext, ServerContext
from gw.config.model import Certificate, ListenerTls, OriginTls
from gw.errors import ConfigError, Problem


def server_context(tls: ListenerTls, base: Path, ticket_keys: list[bytes] | None, pointer: str = "") -> ServerContext:
    """A listener's context. `ticket_keys` is used when the listener wants session tickets; None: no resumption.

    Raises ConfigError with one problem at `pointer`, the place of `tls` in the configuration.
    """
    clients = tls.client_certificates
    try:
        return ServerContext(
            [_pair(each, base) for each in tls.certificates],
            min_version=tls.min_version,
            ciphers=tls.ciphers,
            client_ca=base / clients.ca if clients else None,
            client_mode=clients.mode if clients else "require",
            alpn=tls.alpn,
            ticket_keys=ticket_keys if tls.session_tickets else None,
        )
    except ValueError as error:
        raise ConfigError([Problem(message=str(error), pointer=pointer)]) from None


def client_context(tls: OriginTls, base: Path, pointer: str = "") -> ClientContext:
    """A service's context towards its endpoints. Raises ConfigError as `server_context`."""
    try:
        return ClientContext(
            verify=tls.verify,
            ca=base / tls.ca if tls.ca else None,
            certificate=_pair(tls.certificate, base) if tls.certificate else None,
        )
    except ValueError as error:
        raise ConfigError([Problem(message=str(error), pointer=pointer)]) from None


def _pair(certificate: Certificate, base: Path) -> tuple[Path, Path]:
    return base / certificate.cert, base / certificate.key
