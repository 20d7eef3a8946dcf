import os
from collections.abc import Sequence
from typing import Final, Literal, Self, final

OK: Final[int]
WANT_READ: Final[int]
WANT_WRITE: Final[int]
EOF: Final[int]
ERROR: Final[int]
FAILURES: Final[dict[int, str]]
KEYS_MAX: Final[int]
KEY_SIZE: Final[int]

_Source = str | bytes | os.PathLike[str]

@final
class Tls:
    """What is known of a connection after its handshake. `subject` (RFC 2253) to `serial` are of the peer's certificate and empty unless `verified`.

    `name`: server name the client asked for, in lower case. `sans`: `DNS:...`, `IP:...`, `email:...`, `URI:...`. `fingerprint`: SHA-256 of the
    certificate in hex. `truncated`: the subject was too long and is empty, or some `sans` are left out.
    """

    def __init__(self, *args: object, **kwargs: object) -> None: ...
    protocol: str
    cipher: str
    alpn: str
    name: str
    resumed: bool
    verified: bool
    truncated: bool
    subject: str
    sans: list[str]
    fingerprint: str
    serial: str

@final
class ServerContext:
    """The TLS side of a listener. Certificate and key are paths, or PEM as bytes; the first pair also answers unknown names.

    `client_ca` asks clients for a certificate; `client_mode` says whether one is required. `ticket_keys` (each KEY_SIZE bytes, the first one
    encrypts) switches session tickets on; None: no resumption. Raises ValueError with one sentence that names the file.
    """

    names: list[str]

    def __new__(
        cls,
        certificates: Sequence[tuple[_Source, _Source]],
        *,
        min_version: str = "1.2",
        ciphers: str | None = None,
        client_ca: _Source | None = None,
        client_mode: str = "require",
        alpn: Sequence[str] = ("http/1.1",),
        ticket_keys: list[bytes] | None = None,
    ) -> Self: ...
    def set_ticket_keys(self, keys: list[bytes]) -> None:
        """Replace the ticket keys (1 to KEYS_MAX of KEY_SIZE bytes). On the thread that drives the connections."""

@final
class ClientContext:
    """The TLS side towards origins. `ca`: authorities as a path or PEM; None: the system's. `certificate`: shown to an origin that asks."""

    verify: bool

    def __new__(
        cls,
        *,
        verify: bool = True,
        ca: _Source | None = None,
        certificate: tuple[_Source, _Source] | None = None,
        alpn: Sequence[str] = ("http/1.1",),
        min_version: str = "1.2",
    ) -> Self: ...

@final
class TlsSocket:
    """A connection on a non-blocking descriptor, which stays the caller's. Server or client by the kind of context."""

    def __new__(cls, fd: int, context: ServerContext | ClientContext, name: str = "") -> Self: ...
    def handshake(self) -> int:
        """OK, WANT_READ, WANT_WRITE or ERROR."""
    def recv(self, n: int) -> bytes | int:
        """Bytes, or WANT_READ, WANT_WRITE, EOF (close_notify), ERROR."""
    def send(self, data: bytes) -> int:
        """Bytes taken, or WANT_READ, WANT_WRITE, ERROR. After a short count the next call starts with the first byte not taken."""
    def pending(self) -> bool:
        """More can be had from recv without waiting for the socket."""
    def shutdown(self) -> None:
        """Send close_notify; does not wait for the peer's."""
    def failure(self) -> Literal["none", "closed", "system", "alert", "certificate", "protocol", "http"]:
        """Kind of the failure behind ERROR."""
    def error(self) -> str:
        """Its reason as text."""
    def info(self) -> Tls: ...
