"""Find out who calls by the certificate that a client proved in its TLS handshake."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Literal

from msgspec import Meta, Struct

from gw._fast.hooks import Refusal, Request
from gw._fast.tls import Tls
from gw.errors import ConfigError, Problem
from gw.policy.base import Challenge, Hooks, Kind, Tools

KIND: Kind = "authentication"
CHALLENGE: Challenge = {"WWW-Authenticate": "Certificate"}
ESCAPED = re.compile(r"\\([0-9A-Fa-f]{2}|.)")
PIECE = re.compile(r"(?:[^\\,+]|\\.)+")  # of a subject: one attribute; `\,` and `\+` are text (RFC 4514 section 2.4)


class Config(Struct, forbid_unknown_fields=True, frozen=True):
    """Callers are the `consumers` with `certificates`. Header fields that speak of certificates are not believed."""

    accept: Annotated[
        Literal["consumer", "verified"], Meta(description="`consumer`: only certificates that name a consumer; `verified`: any that the listener's `client_certificates` verify.")
    ] = "consumer"


def build(config: Config, tools: Tools) -> Hooks:
    """A hook; raises ConfigError when no consumer has a certificate and only they are accepted."""
    callers = {text: name for name, consumer in tools.consumers.items() for text in consumer.certificates}
    if config.accept == "consumer" and not callers:
        hint = "give one `certificates`, or set `accept: verified`"
        raise ConfigError([Problem(message="no consumer has a certificate, so every request would be refused", pointer=tools.pointer, at_key=True, hint=hint)])

    def check(request: Request) -> Refusal | None:
        tls = request.tls
        if tls is None or not tls.verified:
            return Refusal("no-credential", CHALLENGE)
        request.presents()
        consumer = next((callers[name] for name in names(tls) if name in callers), None)
        if consumer is None and config.accept == "consumer":
            return Refusal("invalid-credential", CHALLENGE)
        request.identify("mtls", consumer=consumer, subject=tls.subject or ",".join(tls.sans), credential=tls.fingerprint)
        return None

    return Hooks(request=check)


def challenge(_: Config) -> Challenge:
    """What a request without a credential is asked for."""
    return CHALLENGE


def names(tls: Tls) -> Iterator[str]:
    """What a certificate proves, as a consumer's `certificates` has it, the most exact first: fingerprint, URI, DNS, email, CN.

    A subject with several CN counts as having none: which of them an issuer has checked, nobody knows.
    """
    yield f"sha256:{tls.fingerprint}"
    for kind in ("URI:", "DNS:", "email:"):
        yield from (name for name in tls.sans if name.startswith(kind))
    common = [piece.removeprefix("CN=") for piece in PIECE.findall(tls.subject) if piece.startswith("CN=")]
    if len(common) == 1:
        yield f"CN={_unescaped(common[0])}"


def _unescaped(text: str) -> str:
    """RFC 4514 section 3: hex pairs are bytes of UTF-8."""
    raw = ESCAPED.sub(lambda found: chr(int(found[1], 16)) if len(found[1]) == 2 else found[1], text)
    return raw.encode("latin-1").decode("utf-8", "replace")
