"""Send the header fields that make browsers careful, and none that tell what software answers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from msgspec import Meta, Struct, field

from gw._fast.secure_headers import SecureHeaderStep
from gw.config.node import join
from gw.config.syntax import FRAMING_FIELDS, is_field_value, is_token
from gw.errors import ConfigError, Problem
from gw.policy.base import Kind, Tools

KIND: Kind = "protection"
ALWAYS = {
    "content_type_options": "X-Content-Type-Options",
    "frame_options": "X-Frame-Options",
    "content_security_policy": "Content-Security-Policy",
    "referrer_policy": "Referrer-Policy",
    "permissions_policy": "Permissions-Policy",
}


class Config(Struct, forbid_unknown_fields=True, frozen=True):
    """Values of the fields. null = that one is not sent."""

    strict_transport_security: Annotated[str | None, Meta(description="Sent over HTTPS only; elsewhere browsers must ignore it (RFC 6797 section 8.1).")] = "max-age=31536000"
    content_type_options: Annotated[str | None, Meta(description="Bodies are what Content-Type says.")] = "nosniff"
    frame_options: Annotated[str | None, Meta(description="For browsers that do not know frame-ancestors.")] = "DENY"
    content_security_policy: Annotated[str | None, Meta(description="No other page may frame this one.")] = "frame-ancestors 'none'"
    referrer_policy: Annotated[str | None, Meta(description="What other sites learn of where a visitor comes from.")] = "strict-origin-when-cross-origin"
    permissions_policy: Annotated[str | None, Meta(description="Devices that pages may not ask for.")] = "camera=(), geolocation=(), microphone=()"
    replace: Annotated[bool, Meta(description="Take the place of what the origin says of these; otherwise the origin knows better.")] = False
    remove: Annotated[list[str], Meta(description="Fields of the origin that clients need not see.")] = field(default_factory=lambda: ["Server", "X-Powered-By"])


def build(config: Config, tools: Tools) -> SecureHeaderStep:
    """A compiled step; raises ConfigError for names and values that cannot stand in a head."""
    if problems := list(_flaws(config, tools.pointer)):
        raise ConfigError(problems)
    verb = "set" if config.replace else "default"
    removed = [("remove", name, "") for name in config.remove]
    always = [(verb, name, value) for key, name in ALWAYS.items() if (value := getattr(config, key)) is not None]
    secure = [(verb, "Strict-Transport-Security", value)] if (value := config.strict_transport_security) is not None else []
    return SecureHeaderStep("security-headers", removed + always, secure)


def _flaws(config: Config, pointer: str) -> Iterator[Problem]:
    for key in ("strict_transport_security", *ALWAYS):
        value = getattr(config, key)
        if value is not None and not (value and value.isascii() and is_field_value(value)):
            yield Problem(message=f"'{value}' cannot be sent", pointer=f"{pointer}.{key}", hint="null leaves the field out")
    for index, name in enumerate(config.remove):
        if not is_token(name) or name.lower().replace("_", "-") in FRAMING_FIELDS | {"date"}:
            yield Problem(message=f"'{name}' cannot be taken away", pointer=join(f"{pointer}.remove", index))
