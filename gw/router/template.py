"""Templates of `rewrite` and `redirect`: text with `{name}` in it, as a flat list the data plane walks."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

from msgspec import Struct

from gw.router.match import encode_path

Kind = Literal["text", "param", "rest", "scheme", "host", "path", "query"]

BRACES = re.compile(r"\{([^{}]*)\}")
REQUEST_KINDS: dict[str, Kind] = {"rest": "rest", "scheme": "scheme", "host": "host", "path": "path", "query": "query"}


class Part(Struct, frozen=True):
    """One piece: literal `text`, parameter number `param` of the match, or a value of the request."""

    kind: Kind
    text: bytes = b""
    param: int = 0


def parse_template(template: str, names: Sequence[str]) -> list[Part]:
    """The parts of a template. A parameter of the route wins over a value of the request of the same name; ValueError for other names."""
    parts = []
    at = 0
    for braces in BRACES.finditer(template):
        parts += _text(template[at : braces.start()])
        parts.append(_value(braces[1], names))
        at = braces.end()
    return parts + _text(template[at:])


def _text(text: str) -> list[Part]:
    return [Part("text", encode_path(text).encode())] if text else []


def _value(name: str, names: Sequence[str]) -> Part:
    if name in names:
        return Part("param", param=names.index(name))
    if name not in REQUEST_KINDS:
        raise ValueError(f"unknown parameter '{{{name}}}'")
    return Part(REQUEST_KINDS[name])
