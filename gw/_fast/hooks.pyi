"""What hooks see of an exchange, and what they may answer."""

from collections.abc import Iterable, Mapping
from typing import Any, final

from typing_extensions import disjoint_base

from gw._fast.tls import Tls

def check_fields(fields: Mapping[str, str | Iterable[str]]) -> None:
    """ValueError for fields that cannot stand in an answer, or are not a policy's to set."""

@final
class Refusal:
    """A request hook refuses: a problem document with a reason from the closed list (gw.errors.REASONS), and further fields such as WWW-Authenticate.

    ValueError for another reason.
    """

    def __init__(self, reason: str, headers: Mapping[str, str | Iterable[str]] | None = None) -> None: ...
    @property
    def reason(self) -> str: ...
    @property
    def headers(self) -> dict[str, str | Iterable[str]]: ...

@disjoint_base
class Response:
    """What a request hook answers by itself. Text is sent as UTF-8; a list of values is one field each.

    ValueError for a status outside 200..599. Length, Date and Connection are gw's to write.
    """

    status: int
    headers: Mapping[str, str | Iterable[str]]
    body: bytes | str
    def __init__(self, status: int, body: bytes | str = b"", headers: Mapping[str, str | Iterable[str]] | None = None) -> None: ...

@final
class Headers:
    """Fields of a head, names in any case, `_` the same as `-`. Reading sees them as they would be sent now; writing edits what is sent on.

    What an origin will not see of a client's claims is not there: forwarding fields of one that is not a trusted proxy, its request id, known names
    spelled with `_`, fields that `Connection` names. A write raises ValueError for what cannot stand in a head, and for
    fields that frame or route the message. Everything raises RuntimeError once the exchange has ended.
    """

    def get(self, name: str, default: str | None = None) -> str | None:
        """The first value."""

    def get_all(self, name: str) -> list[str]: ...
    def __getitem__(self, name: str, /) -> str:
        """The first value; KeyError when there is none."""

    def __contains__(self, name: str, /) -> bool: ...
    def __setitem__(self, name: str, value: str, /) -> None:
        """Have the field exactly once, with this value."""

    def add(self, name: str, value: str) -> None:
        """Add a field beside those that are there."""

    def __delitem__(self, name: str, /) -> None:
        """Take the field away, in every spelling; nothing happens when it is not there."""

    def items(self) -> list[tuple[str, str]]:
        """(name, value) of every field."""

@final
class Request:
    """An exchange as hooks see it, read when asked. Every use raises RuntimeError once the exchange has ended: keep values, not this object."""

    @property
    def id(self) -> str:
        """The request id, as in the access log and towards the origin."""

    @property
    def tls(self) -> Tls | None:
        """What is known of the client's TLS connection, its verified certificate included; None on a plain connection."""

    @property
    def method(self) -> str:
        """As sent, case-sensitive."""

    @property
    def path(self) -> str:
        """Normalised, still percent-encoded: the path that was routed and that is forwarded."""

    @property
    def query(self) -> str:
        """Without `?`; percent-encoded as sent."""

    @property
    def host(self) -> str:
        """Lower case, without port."""

    @property
    def scheme(self) -> str:
        """`http` or `https`, as the client sees it: a trusted proxy in front of gw says so in X-Forwarded-Proto."""

    @property
    def client(self) -> str:
        """Address of the first peer, seen from here, that is not a trusted proxy."""

    @property
    def now(self) -> int:
        """Seconds since 1970 by the lane's clock, which `gw explain` and `gw test` can set."""

    @property
    def route(self) -> str:
        """Name of the route."""

    @property
    def endpoint(self) -> str:
        """Address of the endpoint that was chosen last, as configured; empty before one is."""

    @property
    def params(self) -> list[str]:
        """Values of the route's path parameters in the order it names them; percent-encoded as sent."""

    @property
    def headers(self) -> Headers:
        """Of the request; edits go to the origin."""

    @property
    def response_headers(self) -> Headers:
        """Of the origin's answer, empty when gw answers by itself; edits go to the client."""

    @property
    def status(self) -> int:
        """Of the answer; 0 before there is one."""

    @property
    def by(self) -> str:
        """Who made the answer: `origin`, `gateway`, `client` (it went away), or "" when nobody has yet."""

    @property
    def reason(self) -> str:
        """Why gw ended the exchange, from the closed list; "" when it did not."""

    def identify(
        self,
        method: str,
        *,
        consumer: str | None = None,
        subject: str = "",
        credential: str = "",
        groups: Iterable[str] = (),
        scopes: str = "",
        claims: bytes | None = None,
    ) -> None:
        """An authentication policy has found out who calls.

        ValueError when `claims` are not a JSON object as bytes, and for a group with a comma; KeyError when there is no such consumer.
        """

    def presents(self) -> None:
        """The request carries a credential, good or bad: it is not anonymous."""

    @property
    def known(self) -> bool:
        """Whether the caller has proved who it is, or is taken for a consumer without."""

    @property
    def auth(self) -> str:
        """Policy that found out who calls; empty when none did."""

    @property
    def consumer(self) -> str | None:
        """Name of the consumer that calls."""

    @property
    def subject(self) -> str:
        """What the credential names."""

    @property
    def credential(self) -> str:
        """Id of the credential."""

    @property
    def groups(self) -> list[str]:
        """Of the credential, and of the consumer."""

    @property
    def monotonic(self) -> float:
        """Seconds of the lane's monotonic clock, to count limits by; `gw test` sets it."""

    @property
    def scopes(self) -> list[str]: ...
    @property
    def claims(self) -> dict[str, Any] | None:
        """Of the token, parsed at every use; None when there is no token."""

    @property
    def state(self) -> dict[Any, Any]:
        """For hooks to leave things to each other; lives as long as the exchange."""
