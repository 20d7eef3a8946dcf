"""How gw speaks to a Redis: its connections, the names of what it keeps there, and what went wrong in words."""

from __future__ import annotations

import hashlib
import os
import ssl
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import asdict
from redis.asyncio import SSLConnection
from redis.asyncio.connection import Connection, ConnectionPool, UnixDomainSocketConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError
from redis.exceptions import TimeoutError as RedisTimeoutError

from gw.config.model import Redis
from gw.config.redis_address import RedisAddress
from gw.store.ledger import Meter

WORDS_MAX = 200  # characters of what a Redis says


def hash_of(meter: Meter, key: str) -> str:
    """What is counted by may be long, or secret. The limit of a quota is no part of it: when it changes, what was used stays used."""
    fields = asdict(meter)
    del fields["hidden"]  # says how it is shown, not what is counted
    if not meter.burst:
        fields["units"] = 0
    return hashlib.sha256(msgspec.msgpack.encode((fields, key))).hexdigest()[:32]


def pool(settings: Redis, address: RedisAddress, base: Path) -> ConnectionPool:
    """Connections that are tried once, and no longer than the time-out: who waits for units has no time for more."""
    options: dict[str, Any] = {
        "username": address.user or None,
        "password": settings.password or address.password or None,
        "db": settings.database or address.database or 0,
        "protocol": 2,
        "retry": Retry(NoBackoff(), 0),
        "socket_timeout": float(settings.timeout),
        "socket_connect_timeout": float(settings.timeout),
    }
    if address.at.kind == "unix":
        return ConnectionPool(UnixDomainSocketConnection, path=address.at.path, **options)
    options |= {"host": address.at.host, "port": address.at.port}
    return ConnectionPool(SSLConnection, **options, **_tls(settings, base)) if address.at.tls else ConnectionPool(Connection, **options)


def _tls(settings: Redis, base: Path) -> dict[str, Any]:
    tls = settings.tls
    own = tls.certificate if tls else None
    return {
        "ssl_cert_reqs": "none" if tls and not tls.verify else "required",
        "ssl_check_hostname": not tls or tls.verify,
        "ssl_ca_certs": str(base / tls.ca) if tls and tls.ca else None,
        "ssl_certfile": str(base / own.cert) if own else None,
        "ssl_keyfile": str(base / own.key) if own else None,
        "ssl_min_version": ssl.TLSVersion.TLSv1_2,
    }


def words(error: BaseException, timeout: float) -> str:
    """Why it failed, in a few words; the cause that the system names, where there is one."""
    if isinstance(error, TimeoutError | RedisTimeoutError):
        return f"no answer within {timeout:g} s"
    if isinstance(error, AuthenticationError):
        return "user and password are not accepted"
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"its certificate is not valid: {cause.verify_message}"
        if isinstance(cause, OSError) and cause.errno and not isinstance(cause, ssl.SSLError):
            # asyncio puts the address into strerror; getaddrinfo has numbers of its own, below zero
            return (os.strerror(cause.errno) if cause.errno > 0 else cause.strerror or "").lower()
        cause = cause.__cause__ or cause.__context__
    return " ".join(str(error).split())[:WORDS_MAX] or type(error).__name__
