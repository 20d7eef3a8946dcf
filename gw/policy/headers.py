"""Set, add, rename or remove header fields on the way to the origin and on the way back."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Annotated

from msgspec import Meta, Struct, field

from gw._fast.step import HeaderStep, Step
from gw._fast.templates import KINDS, TemplateStep
from gw.config.convert import advise
from gw.config.node import join
from gw.config.syntax import is_field_value, is_latin, is_token
from gw.errors import ConfigError, Problem
from gw.policy.base import Kind, Tools

KIND: Kind = "shaping"
FRAMING = {"connection", "content-length", "host", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"}


Part = tuple[str, str | int]
_BRACES = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]|[^{}]+")


class Edits(Struct, forbid_unknown_fields=True, frozen=True):
    """Edits of one head, in this order. Names are equal in any case, and `_` is the same as `-`. Values may hold `{names}`."""

    remove: Annotated[list[str], Meta(description="Names of fields to take away, in every spelling.")] = field(default_factory=list)
    rename: Annotated[dict[str, str], Meta(description="Fields to send under another name, all their values in their order.")] = field(default_factory=dict)
    set: Annotated[dict[str, str], Meta(description="Fields to have exactly once, with this value.")] = field(default_factory=dict)
    add: Annotated[dict[str, str], Meta(description="Fields to add beside those that are there.")] = field(default_factory=dict)
    default: Annotated[dict[str, str], Meta(description="Fields to add when the message has none of the name.")] = field(default_factory=dict)


class Config(Struct, forbid_unknown_fields=True, frozen=True):
    """Edits of the request's head, towards the origin, and of the answer's head, towards the client (gw's own answers included)."""

    request: Annotated[Edits, Meta(description="Of what goes to the origin.")] = field(default_factory=Edits)
    response: Annotated[Edits, Meta(description="Of what goes to the client.")] = field(default_factory=Edits)


def build(config: Config, tools: Tools) -> Step:
    """A compiled step; raises ConfigError for names and values that cannot stand in a head, and for `{names}` that stand for nothing."""
    problems = [*_flaws(config.request, f"{tools.pointer}.request", FRAMING), *_flaws(config.response, f"{tools.pointer}.response", FRAMING | {"date"})]
    request, response = (_listed(edits, f"{tools.pointer}.{side}", tools.params, problems) for side, edits in (("request", config.request), ("response", config.response)))
    if problems:
        raise ConfigError(problems)
    if config.request.rename or config.response.rename or any(kind != "text" for _, _, parts in request + response for kind, _ in parts):
        return TemplateStep("headers", _renamed(config.request, request), _renamed(config.response, response))
    return HeaderStep("headers", *([(verb, name, "".join(str(text) for _, text in parts)) for verb, name, parts in edits] for edits in (request, response)))


def _listed(edits: Edits, pointer: str, params: Sequence[str], problems: list[Problem]) -> list[tuple[str, str, list[Part]]]:
    listed: list[tuple[str, str, list[Part]]] = [("remove", name, []) for name in edits.remove]
    for verb, fields in (("set", edits.set), ("add", edits.add), ("default", edits.default)):
        for name, value in fields.items():
            try:
                listed.append((verb, name, list(_parts(value, params))))
            except ValueError as error:
                message, hint = error.args
                problems.append(Problem(message=f"the value of '{name}': {message}", pointer=join(f"{pointer}.{verb}", name), hint=hint))
    return listed


def _renamed(edits: Edits, listed: list[tuple[str, str, list[Part]]]) -> list[tuple[str, str, str | list[Part]]]:
    """Renaming stands behind removing and before what is added, so that nothing added is renamed."""
    removed = len(edits.remove)
    return [*listed[:removed], *(("rename", old, new) for old, new in edits.rename.items()), *listed[removed:]]


def _parts(value: str, params: Sequence[str]) -> Iterator[Part]:
    """Raises ValueError(message, hint)."""
    for found in _BRACES.finditer(value):
        text = found[0]
        if text in ("{{", "}}"):
            yield "text", text[0]
        elif found[1] is not None:
            yield _value(found[1], params)
        elif text in ("{", "}"):
            raise ValueError(f"a single '{text}'", f"a brace that stands for itself is written twice: {text}{text}")
        else:
            yield "text", text


def _value(written: str, params: Sequence[str]) -> Part:
    kind, colon, name = written.partition(":")
    if kind == "param" and colon:
        if name not in params:
            raise ValueError(f"the route has no path parameter '{name}'", f"it has: {', '.join(params)}" if params else "a path such as /user/{id} makes one")
        return "param", params.index(name)
    if kind not in KINDS:
        raise ValueError(f"unknown name '{{{written}}}'", advise(kind, [*KINDS, "param"]))
    if KINDS[kind] != bool(name) or (kind == "header" and not is_token(name)):
        raise ValueError(f"'{{{written}}}' {'needs a name' if KINDS[kind] else 'takes no name'}", f"such as {{{kind}:x}}" if KINDS[kind] else f"write {{{kind}}}")
    return kind, name


def _flaws(edits: Edits, pointer: str, framing: set[str]) -> Iterator[Problem]:
    places = [(name, "", join(f"{pointer}.remove", index)) for index, name in enumerate(edits.remove)]
    for old, new in edits.rename.items():
        places += [(name, "", join(f"{pointer}.rename", old)) for name in (old, new)]
        if old.lower().replace("_", "-") == new.lower().replace("_", "-"):
            yield Problem(message=f"'{old}' and '{new}' are the same field", pointer=join(f"{pointer}.rename", old))
    for verb, fields in (("set", edits.set), ("add", edits.add), ("default", edits.default)):
        places += [(name, value, join(f"{pointer}.{verb}", name)) for name, value in fields.items()]
    for name, value, place in places:
        if not is_token(name):
            yield Problem(message=f"'{name}' is not a field name", pointer=place, hint="letters, digits and !#$%&'*+-.^_`|~ (RFC 9110 section 5.1)")
        elif name.lower().replace("_", "-") in framing:
            yield Problem(message=f"'{name}' frames or routes the message and cannot be edited", pointer=place, hint="the route's `host` sets Host; gw writes the others itself")
        elif not is_field_value(value):
            yield Problem(message=f"the value of '{name}' holds a control character", pointer=place)
        elif not is_latin(value):
            yield Problem(message=f"the value of '{name}' holds letters beyond ISO 8859-1", pointer=place, hint="fields carry no others; encode them as the reader expects")
