"""Rules for one route."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator

from gw.config.convert import BROKEN, advise, whole
from gw.config.model import Redirect, Respond, Route
from gw.config.node import join
from gw.config.syntax import (
    FRAMING_FIELDS,
    METHODS,
    host_flaw,
    host_pattern_flaw,
    is_field_value,
    is_token,
    path_flaw,
    path_parameters,
    regex_parameters,
    template_names,
)
from gw.errors import Problem

REQUEST_NAMES = ("scheme", "host", "path", "query")
# What a route may say only about requests that go to a service.
_FORWARDING = ("strip_prefix", "rewrite", "host", "timeouts", "upgrade")
_DEFAULT = Route()


def check_route(route: Route, pointer: str) -> Iterator[Problem]:
    """Everything that the route says about itself alone."""
    yield from _exactly_one(route, pointer)
    yield from _match(route, pointer)
    yield from _templates(route, pointer)
    if route.respond is not None:
        yield from _respond(route.respond, f"{pointer}.respond")
    if route.host is not None:
        yield from check_host_sent(route.host, f"{pointer}.host")
    for index, protocol in whole(route.upgrade):
        yield from _upgrade(protocol, f"{pointer}.upgrade[{index}]")


def check_host_sent(host: str, pointer: str) -> Iterator[Problem]:
    """`host` of a service or route: a word or a literal Host."""
    name, colon, port = host.rpartition(":") if re.search(r":[0-9]{1,5}$", host) else (host, "", "")
    flaw = host_flaw(name)
    if flaw or (colon and not 0 < int(port) < 65536):
        yield Problem(message=flaw or f"port '{port}' is not a number from 1 to 65535", pointer=pointer, hint="expected preserve, endpoint, or a literal host")


def check_field_name(name: str, pointer: str, at_key: bool = True) -> Iterator[Problem]:
    """A field name (RFC 9110 section 5.1)."""
    if not is_token(name):
        yield Problem(message=f"'{name}' is not a field name", pointer=pointer, at_key=at_key, hint="letters, digits and !#$%&'*+.^_`|~- only (RFC 9110)")


def check_name_twice(names: Iterable[str], pointer: str) -> Iterator[Problem]:
    """Field names that differ in case only."""
    seen: dict[str, str] = {}
    for name in names:
        if name.lower() in seen:
            yield Problem(message=f"field '{name}' occurs twice", pointer=join(pointer, name), at_key=True, hint="field names do not distinguish case")
        seen[name.lower()] = name


def _exactly_one(route: Route, pointer: str) -> Iterator[Problem]:
    actions = [name for name in ("service", "redirect", "respond") if getattr(route, name) is not None]
    if not actions:
        yield Problem(message="a route needs one of service, redirect, respond", pointer=pointer)
    elif len(actions) > 1:
        yield Problem(message=f"a route has one of service, redirect, respond; this one has {' and '.join(actions)}", pointer=f"{pointer}.{actions[1]}", at_key=True)
    kinds = [name for name in ("path", "exact", "regex") if getattr(route, name) is not None]
    if len(kinds) > 1:
        yield Problem(message=f"a route has one of path, exact, regex; this one has {' and '.join(kinds)}", pointer=f"{pointer}.{kinds[1]}", at_key=True)
    if route.strip_prefix and route.rewrite is not None:
        yield Problem(message="a route has one of strip_prefix, rewrite", pointer=f"{pointer}.rewrite", at_key=True, hint="rewrite: /new/{rest} does both")
    elif route.strip_prefix and (route.exact is not None or route.regex is not None):
        yield Problem(message="strip_prefix needs a prefix: a route by `path`", pointer=f"{pointer}.strip_prefix", at_key=True)
    if actions and route.service is None:
        for name in _FORWARDING:
            if getattr(route, name) != getattr(_DEFAULT, name):
                yield Problem(message=f"{name} has no effect on a route without a service", pointer=f"{pointer}.{name}", at_key=True, severity="warning")


def _match(route: Route, pointer: str) -> Iterator[Problem]:
    for index, pattern in whole(route.hosts):
        flaw = host_pattern_flaw(pattern)
        if flaw:
            yield Problem(message=flaw[0], hint=flaw[1], pointer=f"{pointer}.hosts[{index}]")
    for index, method in whole(route.methods):
        yield from _method(method, f"{pointer}.methods[{index}]")
    for name, value in route.headers.items():
        place = join(f"{pointer}.headers", name)
        yield from check_field_name(name, place)
        if isinstance(value, str) and not is_field_value(value):
            yield Problem(message=f"no field has this value: {_FIELD_VALUE_RULE}", pointer=place)
    yield from check_name_twice(route.headers, f"{pointer}.headers")
    for kind in ("path", "exact"):
        yield from _path(getattr(route, kind), f"{pointer}.{kind}")
    if route.regex is not None:
        _, message = regex_parameters(route.regex)
        if message:
            yield Problem(message=message, pointer=f"{pointer}.regex")


_FIELD_VALUE_RULE = "control characters (CR, LF, NUL) and white space at the ends are not allowed"


def _path(path: str | None, pointer: str) -> Iterator[Problem]:
    if path is None:
        return
    flaw = path_flaw(path)
    if flaw:
        yield Problem(message=flaw[0], hint=flaw[1], pointer=pointer)
        return
    _, message = path_parameters(path)
    if message:
        yield Problem(message=message, pointer=pointer)


def _method(method: str, pointer: str) -> Iterator[Problem]:
    if not is_token(method):
        yield Problem(message=f"'{method}' is not a method", pointer=pointer, hint=f"such as {', '.join(METHODS[:6])}")
    elif method not in METHODS and method.upper() in METHODS:
        yield Problem(message=f"'{method}' is not a method: methods distinguish case", pointer=pointer, hint=f"did you mean '{method.upper()}'?")


def _upgrade(protocol: str, pointer: str) -> Iterator[Problem]:
    if not is_token(protocol.replace("/", "", 1)):
        yield Problem(message=f"'{protocol}' is not a protocol name", pointer=pointer, hint="such as websocket")
    elif protocol.lower() == "h2c":
        yield Problem(message="an upgrade to h2c would carry requests past every route and policy", pointer=pointer)


def _templates(route: Route, pointer: str) -> Iterator[Problem]:
    names = _parameters(route)
    if route.rewrite is not None:
        yield from _template(route.rewrite, names, f"{pointer}.rewrite", _rewrite_flaw)
    if route.redirect is not None and route.redirect.to is not BROKEN:
        yield from _redirect(route.redirect, names, f"{pointer}.redirect.to")


def _parameters(route: Route) -> list[str]:
    """Names that a template may use; `rest` is what follows a prefix, so only routes by prefix have it."""
    if route.regex is not None:
        return regex_parameters(route.regex)[0]
    names, _ = path_parameters(route.exact or route.path or "/")
    return names if route.exact is not None else [*names, "rest"]


def _redirect(redirect: Redirect, names: list[str], pointer: str) -> Iterator[Problem]:
    yield from _template(redirect.to, [*names, *REQUEST_NAMES], pointer, _redirect_flaw)


def _template(template: str, names: list[str], pointer: str, flaw_of: Callable[[str], str | None]) -> Iterator[Problem]:
    used, has_stray_braces = template_names(template)
    flaw = "braces must hold a name, such as {rest}" if has_stray_braces else flaw_of(template)
    if flaw:
        yield Problem(message=flaw, pointer=pointer)
    for name in used:
        if name not in names:
            yield Problem(message=f"unknown parameter '{{{name}}}'", pointer=pointer, hint=advise(name, names, "this route has no parameters"))


def _rewrite_flaw(template: str) -> str | None:
    if not template.startswith(("/", "{rest}")):
        return "a rewrite begins with /"
    if re.search(r"[?#]", template):
        return "a rewrite is a path; the query is kept as it came"
    return _spacing_flaw(template)


def _redirect_flaw(template: str) -> str | None:
    if not re.match(r"/|https?://|\{(?:scheme|path|rest)\}", template):
        return "a redirect goes to a path that begins with /, or to an http:// or https:// URL"
    return _spacing_flaw(template)


def _spacing_flaw(template: str) -> str | None:
    return "white space and control characters are not allowed" if re.search(r"[\x00-\x20\x7f]", template) else None


def _respond(respond: Respond, pointer: str) -> Iterator[Problem]:
    if respond.body and respond.status in (204, 205, 304):
        yield Problem(message=f"an answer with status {respond.status} has no body", pointer=f"{pointer}.body")
    for name, value in respond.headers.items():
        yield from check_answer_field(name, value, join(f"{pointer}.headers", name))
    yield from check_name_twice(respond.headers, f"{pointer}.headers")


def check_answer_field(name: str, value: str, pointer: str) -> Iterator[Problem]:
    """A field that gw is told to send."""
    yield from check_field_name(name, pointer)
    if name.lower() in FRAMING_FIELDS:
        yield Problem(message=f"field '{name}' is written by gw itself", pointer=pointer, at_key=True)
    if value is not BROKEN and not is_field_value(value):
        yield Problem(message=f"this cannot be the value of a field: {_FIELD_VALUE_RULE}", pointer=pointer)
