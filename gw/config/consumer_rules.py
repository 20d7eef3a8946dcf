"""Rules on consumers, their credentials, and the fields that tell origins of them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from gw.config.convert import BROKEN, whole
from gw.config.model import Config, Consumer
from gw.config.node import join
from gw.config.route_rules import check_field_name
from gw.config.syntax import FRAMING_FIELDS
from gw.errors import Problem

NAME = re.compile(r"[A-Za-z0-9._@-]{1,128}")
CREDENTIALS = {"api_keys": "id", "passwords": "user", "secrets": "id"}  # list of a consumer -> what must be unique over all consumers
CERTIFICATE = re.compile(r"(CN=|DNS:|URI:|email:).+|sha256:[0-9a-f]{64}")


def check_consumers(config: Config) -> Iterator[Problem]:
    """Each consumer by itself, and what two of them may not share."""
    seen: dict[tuple[str, str], str] = {}
    for name, consumer in config.consumers.items():
        pointer = join("$.consumers", name)
        if not NAME.fullmatch(name):
            yield Problem(message=f"'{name}' cannot name a consumer", pointer=pointer, at_key=True, hint="letters, digits and . _ @ -, at most 128")
        if consumer is not BROKEN:
            yield from _groups(consumer, pointer)
            yield from _certificates(consumer, pointer)
            yield from _shared(consumer, pointer, seen)
    yield from _fields(config)


def _groups(consumer: Consumer, pointer: str) -> Iterator[Problem]:
    for index, group in whole(consumer.groups):
        if not NAME.fullmatch(group):
            yield Problem(message=f"'{group}' cannot name a group", pointer=f"{pointer}.groups[{index}]", hint="letters, digits and . _ @ -")


def _certificates(consumer: Consumer, pointer: str) -> Iterator[Problem]:
    for index, text in whole(consumer.certificates):
        if not CERTIFICATE.fullmatch(text):
            hint = "CN=client.example, DNS:client.example, URI:spiffe://..., email:..., or sha256: and 64 hex digits"
            yield Problem(message=f"'{text}' is not a name that a certificate can prove", pointer=f"{pointer}.certificates[{index}]", hint=hint)


def _shared(consumer: Consumer, pointer: str, seen: dict[tuple[str, str], str]) -> Iterator[Problem]:
    entries: list[tuple[str, str, Any]] = []
    for kind, key in CREDENTIALS.items():
        entries += [(kind, f"{pointer}.{kind}[{index}]", getattr(each, key)) for index, each in whole(getattr(consumer, kind))]
    entries += [("hashes", f"{pointer}.api_keys[{index}].hash", key.hash) for index, key in whole(consumer.api_keys)]
    entries += [(kind, f"{pointer}.{kind}[{index}]", text) for kind in ("subjects", "certificates") for index, text in whole(getattr(consumer, kind))]
    for kind, place, value in entries:
        if value is BROKEN:
            continue
        if (kind, value) in seen:
            what = "this key" if kind == "hashes" else f"'{value}'"
            yield Problem(message=f"{what} names two callers", pointer=place, first=seen[kind, value])
        seen.setdefault((kind, value), place)


def _fields(config: Config) -> Iterator[Problem]:
    if config.identity is BROKEN:
        return
    for name in ("consumer", "groups", "subject", "credential", "scopes", "method"):
        field = getattr(config.identity, name)
        if field is None or field is BROKEN:
            continue
        yield from check_field_name(field, f"$.identity.{name}", at_key=False)
        if field.lower() in FRAMING_FIELDS | {"host"}:
            yield Problem(message=f"field '{field}' cannot tell who calls", pointer=f"$.identity.{name}")
