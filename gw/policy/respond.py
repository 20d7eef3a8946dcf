"""Answer with a fixed text: a mock, or a page for the time of maintenance."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from msgspec import Meta, Struct, field

from gw._fast.respond import RespondStep
from gw.config.node import join
from gw.config.syntax import FRAMING_FIELDS, is_field_value, is_latin, is_token
from gw.errors import ConfigError, Problem
from gw.policy.base import Kind, Tools

KIND: Kind = "shaping"
ENDS = True
ANSWER_MAX = 192 * 1024  # bytes of fields and body: an answer of gw's own leaves in one piece
PLAIN = "text/plain; charset=utf-8"


class Config(Struct, forbid_unknown_fields=True, frozen=True):
    """The answer. Of several bodies a client gets the one whose type it likes best, or the first if it accepts none of them."""

    status: Annotated[int, Meta(ge=200, le=599, description="Status of the answer.")] = 200
    headers: Annotated[dict[str, str], Meta(description="Fields of the answer.")] = field(default_factory=dict)
    body: Annotated[str | None, Meta(description="Text, sent as `text/plain; charset=utf-8`.")] = None
    bodies: Annotated[dict[str, str], Meta(description="Media type -> text of that type.")] = field(default_factory=dict)
    files: Annotated[dict[str, str], Meta(description="Media type -> file with the text, relative to the configuration; read when that is loaded.")] = field(default_factory=dict)


def build(config: Config, tools: Tools) -> RespondStep:
    """A compiled step; raises ConfigError for fields that cannot stand in a head, files that cannot be read, and answers that are too large."""
    if problems := list(_flaws(config, tools.pointer)):
        raise ConfigError(problems)
    given = ({PLAIN: config.body} if config.body is not None else {}) | config.bodies
    bodies = {kind: text.encode() for kind, text in given.items()}
    bodies |= {kind: _content(tools.base / name, join(f"{tools.pointer}.files", kind)) for kind, name in config.files.items()}
    _check_size(bodies, tools.pointer)
    shared = {**config.headers, **({"Vary": "Accept"} if len(bodies) > 1 else {})}
    choices = [(kind.partition(";")[0].strip().lower(), _lines({**shared, "Content-Type": kind}), body) for kind, body in bodies.items()]
    return RespondStep(config.status, choices or [("", _lines(shared), b"")])


def _flaws(config: Config, pointer: str) -> Iterator[Problem]:
    for name, value in config.headers.items():
        place = join(f"{pointer}.headers", name)
        if not is_token(name) or not is_field_value(value) or not is_latin(value):
            yield Problem(message=f"'{name}: {value}' is not a header field", pointer=place)
        elif name.lower() in FRAMING_FIELDS | {"date", "content-type"}:
            hint = "the type of a body is its key in `bodies` or `files`" if name.lower() == "content-type" else None
            yield Problem(message=f"gw writes '{name}' itself", pointer=place, hint=hint)
    for key, kinds in (("bodies", config.bodies), ("files", config.files)):
        for kind in kinds:
            main, slash, sub = kind.partition(";")[0].strip().partition("/")
            if not (slash and is_token(main) and is_token(sub) and is_field_value(kind) and is_latin(kind) and "*" not in main + sub):
                hint = "such as text/html or application/json; charset=utf-8"
                yield Problem(message=f"'{kind}' is not a media type", pointer=join(f"{pointer}.{key}", kind), hint=hint, at_key=True)
            if key == "files" and kind in config.bodies:
                yield Problem(message=f"'{kind}' stands in bodies as well", pointer=join(f"{pointer}.files", kind), at_key=True)
    if config.status in (204, 304) and (config.body or config.bodies or config.files):
        yield Problem(message=f"an answer with status {config.status} has no body", pointer=f"{pointer}.status")


def _content(file: Path, pointer: str) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise ConfigError([Problem(message=f"cannot read {file}: {error.strerror}", pointer=pointer)]) from error


def _check_size(bodies: dict[str, bytes], pointer: str) -> None:
    for kind, body in bodies.items():
        if len(body) > ANSWER_MAX:
            message = f"the body of type '{kind}' has {len(body)} bytes, at most {ANSWER_MAX} can be answered"
            raise ConfigError([Problem(message=message, pointer=pointer, hint="serve it from an origin")])


def _lines(fields: dict[str, str]) -> bytes:
    return "".join(f"{name}: {value}\r\n" for name, value in fields.items()).encode("latin-1")
