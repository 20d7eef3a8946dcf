"""The reference of the configuration, made from the model. `python -m gw.config.document > docs/config.md`"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import NoneType
from typing import Annotated, Any, Literal, NamedTuple, get_args, get_origin

import msgspec
from msgspec import NODEFAULT, Meta, Struct

from gw.config import model
from gw.config.convert import limits_of
from gw.config.model import Config, plain
from gw.config.units import Duration, Size


class Protection(NamedTuple):
    """A default that keeps one client, one origin or one slip from harming others, and why it is what it is."""

    key: str
    kind: type[Struct]
    reason: str


class Setting(NamedTuple):
    """One key of a policy's config, in words."""

    key: str
    type: str
    unit: str
    default: str
    description: str


PROTECTIONS = (
    Protection("limits.head", model.Limits, "A head is held in memory until it is whole. Room for large cookies and tokens: as much as nginx's four buffers of 8 KiB."),
    Protection("limits.request_line", model.Limits, "nginx's and Apache's limit; URLs beyond it break in other places first."),
    Protection("limits.fields", model.Limits, "Apache's limit. Bounds the work that one head can cause."),
    Protection("client_timeouts.head", model.ClientTimeouts, "A head that trickles in holds a connection; browsers send it in one packet."),
    Protection("client_timeouts.keep_alive", model.ClientTimeouts, "Idle connections cost a descriptor each; a minute spans the clicks of one visit."),
    Protection("client_timeouts.linger", model.ClientTimeouts, "After an early answer the client may still be sending; were it not read, a reset could destroy the answer."),
    Protection("timeouts.connect", model.Timeouts, "An endpoint that is up accepts within one lost packet or two (1 s and 3 s on Linux)."),
    Protection("timeouts.answer", model.Timeouts, "People leave sooner. A slow service sets its own value rather than holding connections of all."),
    Protection("timeouts.idle", model.Timeouts, "Bodies that stop moving, on either side, hold two connections and two buffers."),
    Protection("timeouts.tunnel", model.Timeouts, "WebSockets may be silent for long; those whose client is gone end some time."),
    Protection("routes[].max_body", model.Route, "nginx's limit. Large uploads are said aloud on the routes that take them."),
    Protection("routes[].upgrade", model.Route, "A tunnel passes by every later check, so only the protocol that people mean is let through."),
    Protection("path.encoded_slash", model.PathRules, "One server reads `%2F` as a separator and the next as a letter: what was authorised would not be what is served."),
    Protection("path.parameters", model.PathRules, "`/admin;x` is `/admin` to some servers and not to others."),
    Protection("path.merge_slashes", model.PathRules, "`//admin` is `/admin` to most servers."),
    Protection("trusted_proxies", Config, "Inbound `Forwarded`, `X-Forwarded-*` and `X-Real-IP` are removed, because any client can write them."),
    Protection("listeners[].tls.min_version", model.ListenerTls, "RFC 8996: TLS 1.0 and 1.1 are not to be used."),
    Protection("services.*.tls.verify", model.OriginTls, "TLS to whoever answers protects from nobody."),
    Protection("services.*.retries", model.Service, "Only for idempotent requests that got no byte of an answer; more would multiply the load on a service that struggles."),
    Protection("services.*.passive", model.Service, "A dead endpoint costs one request in two seconds, and one that is back is found as soon."),
    Protection("admin", Config, "The operator's address is on loopback: it answers anyone who can reach it."),
    Protection("process.drain", model.Process, "The grace period of Kubernetes; what is longer would be killed."),
    Protection("process.hook_timeout", model.Process, "A hook that never ends would hold its client's connection and buffers for as long as the client likes."),
)

_INTRODUCTION = """# Configuration

Made from `gw/config/model.py` by `python -m gw.config.reference`; a test keeps the two the same.

## Files

gw reads YAML, JSON or TOML, told apart by the suffix (`.yaml`, `.yml`, `.json`, `.toml`), from one file or from a folder. Of a folder the files
are read in the order of their names: mappings merge, lists append, and what two files both set, a service too, is an error that names both places.
Relative paths start from the folder of the configuration.

* **Text and numbers.** YAML is read by the core schema of YAML 1.2: `yes`, `on`, `010` and `1:30` are what they look like. Where text is expected, an
  unquoted value is the text as written: `min_version: 1.2` and `mode: 0660` need no quotes. Duplicate keys are errors. `<<: *anchor` merges.
* **Durations** are `250ms`, `5s`, `2m`, `1h`, `1d`, or a number of seconds. **Sizes** are `512`, `32KiB`, `1MiB`, `1GiB`; `KB`, `MB`, `GB` are decimal.
* **Variables.** `${NAME}` in any value is the environment variable, and an error if that is not set; `${NAME:-default}` has a default for unset or
  empty; `$${` is a literal `${`. A variable never adds structure, only text or, where one is expected, a number.
* **Secrets.** A value `file:path` is the content of that file, without its last line end.
* **Policies** are lists of `- name` or `- name: {settings}`. They run in the order they are read: those of the gateway, of the service, of the route.

Every error names file, line and column. `gw check` finds them all before anything changes.
"""


def reference() -> str:
    """The reference in Markdown: rules of the files, defaults that protect, every key."""
    sections = _sections(Config, "", {})
    anchors = {kind: _anchor(path) for path, kind in sections}
    tables = [_section(path, kind, anchors) for path, kind in sections]
    return "\n".join([_INTRODUCTION, _protections(), *tables])


def settings(kind: type[Struct]) -> str:
    """The settings of a policy in Markdown, for its page."""
    sections = _sections(kind, "", {})
    anchors = {found: _anchor(path) for path, found in sections}
    return "\n".join(_section(path, found, anchors, "Settings") for path, found in sections)


def settings_of(kind: type[Struct]) -> list[Setting]:
    """The settings of a policy one after the other; those of a mapping that stands in several places are told at the first."""
    sections = _sections(kind, "", {})
    paths = {found: path for path, found in sections}

    def named(at: str, inner: type[Struct]) -> str:
        return "mapping" if paths[inner] == at else f"mapping, as {paths[inner]}"

    found = []
    for path, struct in sections:
        for field in msgspec.structs.fields(struct):
            at = f"{path}.{field.encode_name}".lstrip(".")
            told = _type(field.type, partial(named, at + _struct_in(field.type)[1]))
            found.append(Setting(at, told.replace("`", ""), _unit(field.type), _default(field).replace("`", ""), _described(field.type)))
    return found


def _protections() -> str:
    rows = [f"| `{each.key}` | {_default(_field(each))} | {each.reason} |" for each in PROTECTIONS]
    return "\n".join(["## Defaults that protect", "", "| Key | Default | Reason |", "|---|---|---|", *rows, ""])


def _field(protection: Protection) -> msgspec.structs.FieldInfo:
    """The gateway's own time-outs are in the default of `timeouts`, not in the struct that routes share."""
    name = protection.key.rsplit(".", 1)[-1].removesuffix("[]")
    found = next(each for each in msgspec.structs.fields(protection.kind) if each.name == name)
    if protection.kind is model.Timeouts:
        whole = next(each for each in msgspec.structs.fields(Config) if each.name == "timeouts")
        return msgspec.structs.FieldInfo(name=name, encode_name=name, type=found.type, default=getattr(whole.default_factory(), name))
    return found


def _sections(kind: type[Struct], path: str, seen: dict[type, str]) -> list[tuple[str, type[Struct]]]:
    """Every struct, where it is met first, outer ones before inner ones."""
    seen[kind] = path
    found = [(path, kind)]
    for field in msgspec.structs.fields(kind):
        inner, suffix = _struct_in(field.type)
        if inner is not None and inner not in seen:
            found += _sections(inner, f"{path}.{field.encode_name}{suffix}".lstrip("."), seen)
    return found


def _struct_in(hint: Any) -> tuple[type[Struct] | None, str]:
    base = _base(hint)
    if isinstance(base, type) and issubclass(base, Struct):
        return base, ""
    suffix = {list: "[]", dict: ".*"}.get(get_origin(base), "")
    inner = next((found for found in map(_struct_in, get_args(base)) if found[0] is not None), None)
    return (inner[0], suffix + inner[1]) if inner else (None, "")


def _section(path: str, kind: type[Struct], anchors: dict[type, str], top: str = "Top level") -> str:
    rows = [_row(field, anchors) for field in msgspec.structs.fields(kind)]
    head = ["| Key | Type | Unit | Default | Description |", "|---|---|---|---|---|"]
    return "\n".join([f"## {f'`{path}`' if path else top}", "", (kind.__doc__ or "").strip(), "", *head, *rows, ""])


def _row(field: msgspec.structs.FieldInfo, anchors: dict[type, str]) -> str:
    cells = [f"`{field.encode_name}`", _type(field.type, lambda kind: f"[mapping](#{anchors[kind]})"), _unit(field.type), _default(field), _described(field.type)]
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _described(hint: Any) -> str:
    """What a field is for, and its bounds."""
    metas = [each for each in get_args(hint)[1:] if isinstance(each, Meta)] if get_origin(hint) is Annotated else []
    description = " ".join(each.description for each in metas if each.description)
    least, most = limits_of(hint)
    span = f" From {least} to {most}." if least is not None and most is not None else f" At least {least}." if least is not None else ""
    return f"{description}{span}"


def _base(hint: Any) -> Any:
    return get_args(hint)[0] if get_origin(hint) is Annotated else hint


_NAMES = {str: "text", int: "integer", float: "number", bool: "boolean", Any: "policy", Duration: "duration", Size: "size", NoneType: "null"}


def _type(hint: Any, named: Callable[[type[Struct]], str]) -> str:
    base = _base(hint)
    if base in _NAMES:
        return _NAMES[base]
    if get_origin(base) is Literal:
        return ", ".join(f"`{each}`" for each in get_args(base))
    if get_origin(base) is list:
        return f"list of {_type(get_args(base)[0], named)}"
    if get_origin(base) is dict:
        return f"name: {_type(get_args(base)[1], named)}"
    if get_args(base):
        return " or ".join(_type(each, named) for each in get_args(base))
    return named(base)


def _unit(hint: Any) -> str:
    kinds = (_base(hint), *get_args(_base(hint)))
    return "seconds" if Duration in kinds else "bytes" if Size in kinds else ""


def _default(field: msgspec.structs.FieldInfo) -> str:
    if field.default is not NODEFAULT:
        return _written(field.default)
    return _written(field.default_factory()) if field.default_factory is not NODEFAULT else "required"


def _written(value: Any) -> str:
    if value is None or value == "":
        return "unset" if value is None else "empty"
    if isinstance(value, Duration | Size):
        return f"`{value}`"
    if isinstance(value, Struct):
        settings = {name: setting for name in value.__struct_fields__ if (setting := getattr(value, name)) is not None}
        return ", ".join(f"{name} {_written(setting)}" for name, setting in settings.items()) if 0 < len(settings) <= 4 else "its own defaults"
    return f"`{msgspec.json.encode(value, enc_hook=plain).decode()}`" if not isinstance(value, str) else f"`{value}`"


def _anchor(path: str) -> str:
    """As GitHub makes it from a heading: letters, digits, - and _ stay."""
    return "".join(letter for letter in path.lower() if letter.isalnum() or letter in "-_") or "top-level"
