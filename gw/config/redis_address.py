"""The address of a Redis as an operator writes it. It may hold a password: no text made here repeats one."""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import unquote

from gw.config.address import Address, parse_endpoint

PORT = 6379
DATABASES = 16384  # more than anybody has configured
FORMS = "redis://host:6379, rediss://user:${PASSWORD}@host (TLS), or unix:///run/redis.sock"


class RedisAddress(NamedTuple):
    """Where a Redis is, and what the URL says of how to log in."""

    at: Address
    user: str = ""
    password: str = ""
    database: int | None = None

    def __repr__(self) -> str:
        return f"<RedisAddress {self}>"

    def __str__(self) -> str:
        """Without user, password and database, for messages."""
        host = f"[{self.at.host}]" if ":" in self.at.host else self.at.host
        return f"unix://{self.at.path}" if self.at.kind == "unix" else f"{'rediss' if self.at.tls else 'redis'}://{host}:{self.at.port}"


def parse_redis(text: str) -> RedisAddress:
    """`redis://`, `rediss://` or `unix://`; a port that is missing is 6379. User and password may be percent-encoded. Raises ValueError with the reason."""
    scheme, separator, rest = text.partition("://")
    if not separator or "@" in scheme:
        raise ValueError("this is no URL of a Redis")
    if scheme not in ("redis", "rediss", "unix"):
        raise ValueError(f"scheme '{scheme}' is not redis, rediss or unix" if re.fullmatch(r"[a-z+]{1,12}", scheme) else "the scheme of this URL is not redis, rediss or unix")
    if scheme == "unix" and rest.startswith("/"):
        login, place = "", rest
    else:
        login, _, place = rest.rpartition("@")
    user, _, password = login.partition(":")
    known = (unquote(user), unquote(password))
    return _socket(place, *known) if scheme == "unix" else _host(place, scheme == "rediss", *known)


def _socket(place: str, user: str, password: str) -> RedisAddress:
    if "?" in place:
        raise ValueError("a query does not belong in this URL; use `database`")
    return RedisAddress(_endpoint(f"unix:{place}"), user, password)


def _host(place: str, tls: bool, user: str, password: str) -> RedisAddress:
    if re.search(r"[?#]", place):
        raise ValueError("a query does not belong in this URL; what can be set has a field of its own")
    authority, _, database = place.partition("/")
    if not authority:
        raise ValueError("no host")
    written = authority if re.search(r":[^\]]*$", authority) else f"{authority}:{PORT}"
    return RedisAddress(_endpoint(written)._replace(tls=tls), user, password, _database(database))


def _endpoint(text: str) -> Address:
    """Its reasons repeat what was written, which is a password where an `@` was forgotten."""
    try:
        return parse_endpoint(text)
    except ValueError:
        raise ValueError("host and port, or path, of this URL cannot be read") from None


def _database(text: str) -> int | None:
    if text and not (re.fullmatch(r"[0-9]{1,5}", text, re.ASCII) and int(text) < DATABASES):
        raise ValueError(f"the path of this URL is the number of a database, from 0 to {DATABASES - 1}")
    return int(text) if text else None
