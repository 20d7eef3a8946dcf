"""Set, add or remove header fields on the way to the origin and on the way back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from msgspec import Meta, Struct, field

from gw._fast.step import HeaderStep
from gw.config.node import join
from gw.config.syntax import is_field_value, is_token
from gw.errors import ConfigError, Problem
from gw.policy.base import Kind, Tools

KIND: Kind = "shaping"
FRAMING = {"connection", "content-length", "host", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"}


class Edits(Struct, forbid_unknown_fields=True, frozen=True):
    """Edits of one head, in this order. Names are equal in any case, and `_` is the same as `-`."""

    remove: Annotated[list[str], Meta(description="Names of fields to take away, in every spelling.")] = field(default_factory=list)
    set: Annotated[dict[str, str], Meta(description="Fields to have exactly once, with this value.")] = field(default_factory=dict)
    add: Annotated[dict[str, str], Meta(description="Fields to add beside those that are there.")] = field(default_factory=dict)
    default: Annotated[dict[str, str], Meta(description="Fields to add when the message has none of the name.")] = field(default_factory=dict)


class Config(Struct, forbid_unknown_fields=True, frozen=True):
    """Edits of the request's head, towards the origin, and of the answer's head, towards the client (gw's own answers included)."""

    request: Annotated[Edits, Meta(description="Of what goes to the origin.")] = field(default_factory=Edits)
    response: Annotated[Edits, Meta(description="Of what goes to the client.")] = field(default_factory=Edits)


def build(config: Config, tools: Tools) -> HeaderStep:
    """A compiled step; raises ConfigError for names and values that cannot stand in a head."""
    problems = [*_flaws(config.request, f"{tools.pointer}.request", FRAMING), *_flaws(config.response, f"{tools.pointer}.response", FRAMING | {"date"})]
    if problems:
        raise ConfigError(problems)
    return HeaderStep("headers", _listed(config.request), _listed(config.response))


def _listed(edits: Edits) -> list[tuple[str, str, str]]:
    return [
        *(("remove", name, "") for name in edits.remove),
        *(("set", name, value) for name, value in edits.set.items()),
        *(("add", name, value) for name, value in edits.add.items()),
        *(("default", name, value) for name, value in edits.default.items()),
    ]


def _flaws(edits: Edits, pointer: str, framing: set[str]) -> Iterator[Problem]:
    places = [(name, "", join(f"{pointer}.remove", index)) for index, name in enumerate(edits.remove)]
    for verb, fields in (("set", edits.set), ("add", edits.add), ("default", edits.default)):
        places += [(name, value, join(f"{pointer}.{verb}", name)) for name, value in fields.items()]
    for name, value, place in places:
        if not is_token(name):
            yield Problem(message=f"'{name}' is not a field name", pointer=place, hint="letters, digits and !#$%&'*+-.^_`|~ (RFC 9110 section 5.1)")
        elif name.lower().replace("_", "-") in framing:
            yield Problem(message=f"'{name}' frames or routes the message and cannot be edited", pointer=place, hint="the route's `host` sets Host; gw writes the others itself")
        elif not is_field_value(value):
            yield Problem(message=f"the value of '{name}' holds a control character", pointer=place)
