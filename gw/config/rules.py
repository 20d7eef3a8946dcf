"""Rules that span several objects of a config. Every function yields problems with pointers; nothing here stops at the first.

A config that could not be read whole holds BROKEN in the place of what is missing; such parts are passed over.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from gw.config.address import Address, Bind, parse_bind, parse_endpoint
from gw.config.consumer_rules import check_consumers
from gw.config.convert import BROKEN, advise, whole
from gw.config.model import Config, Endpoint, Listener, Route, Service
from gw.config.node import join
from gw.config.policies import leaves, read_policies
from gw.config.route_rules import check_field_name, check_host_sent, check_route
from gw.config.store_rules import check_store
from gw.config.syntax import FRAMING_FIELDS, network_flaw
from gw.errors import Problem


def check_config(config: Config) -> Iterator[Problem]:
    """Everything that the text of the config alone can tell."""
    yield from check_objects(config)
    yield from check_references(config)


def check_objects(config: Config) -> Iterator[Problem]:
    """Each listener, service, route by itself."""
    for index, listener in whole(config.listeners):
        yield from _listener(listener, f"$.listeners[{index}]")
    for name, service in config.services.items():
        if service is not BROKEN:
            yield from _service(service, join("$.services", name))
    for index, route in whole(config.routes):
        yield from check_route(route, f"$.routes[{index}]")
    for pointer, raw in _policy_lists(config):
        yield from read_policies(raw, pointer)[1]
    yield from check_consumers(config)
    yield from check_store(config)
    yield from _trusted_proxies(config)
    yield from _limits(config)


def check_references(config: Config) -> Iterator[Problem]:
    """What one object says of another; means little while a whole section is missing or misspelt."""
    yield from _binds(config)
    yield from _untrusting_listeners(config)
    yield from _unknown_services(config)
    yield from _route_names(config)
    yield from _same_match(config)
    yield from _unused_services(config)
    yield from _unused_budgets(config)


def _parsed(parse: Callable[[str], Any], text: str, pointer: str, problems: list[Problem]) -> Any:
    try:
        return parse(text)
    except ValueError as error:
        problems.append(Problem(message=str(error), pointer=pointer))
        return None


def _binds(config: Config) -> Iterator[Problem]:
    problems: list[Problem] = []
    seen: dict[Bind, str] = {}
    binds = [(f"$.listeners[{index}].bind", listener.bind) for index, listener in whole(config.listeners) if listener.bind is not BROKEN]
    admin = _parsed(parse_bind, config.admin.bind, "$.admin.bind", problems) if config.admin is not None else None
    for pointer, text in binds:
        bind = _parsed(parse_bind, text, pointer, problems)
        if bind is None or (bind.kind == "tcp" and bind.port == 0):
            continue
        if bind == admin:
            hint = "move it with `admin: {bind: ...}`, or switch it off with `admin: null`"
            problems.append(Problem(message=f"'{text}' is the admin address", pointer=pointer, hint=hint))
        elif bind in seen:
            problems.append(Problem(message=f"'{text}' is already bound", pointer=pointer, first=seen[bind]))
        seen.setdefault(bind, pointer)
    yield from problems


def _listener(listener: Listener, pointer: str) -> Iterator[Problem]:
    if listener.mode is not None and not re.fullmatch(r"0?o?[0-7]{3}", listener.mode, re.ASCII):
        yield Problem(message=f"'{listener.mode}' is not an octal file mode", pointer=f"{pointer}.mode", hint="such as 0660")
    elif listener.mode is not None and not _is_unix(listener):
        yield Problem(message="mode is for Unix sockets", pointer=f"{pointer}.mode", at_key=True)


def _is_unix(listener: Listener) -> bool:
    return listener.bind is BROKEN or listener.bind.startswith("unix:")


def _untrusting_listeners(config: Config) -> Iterator[Problem]:
    for index, listener in whole(config.listeners):
        if listener.proxy_protocol and not config.trusted_proxies and not _is_unix(listener):
            pointer, hint = f"$.listeners[{index}].proxy_protocol", "name the load balancers in trusted_proxies"
            yield Problem(message="proxy_protocol closes every connection, because no peer is trusted", pointer=pointer, at_key=True, hint=hint)


def _unknown_services(config: Config) -> Iterator[Problem]:
    for index, route in whole(config.routes):
        if route.service is not None and route.service not in config.services:
            hint = advise(route.service, config.services, "there are no services")
            yield Problem(message=f"unknown service '{route.service}'", pointer=f"$.routes[{index}].service", hint=hint)


def _service(service: Service, pointer: str) -> Iterator[Problem]:
    yield from check_host_sent(service.host, f"{pointer}.host")
    yield from _endpoints(service, pointer)


def _endpoints(service: Service, pointer: str) -> Iterator[Problem]:
    problems: list[Problem] = []
    weights: list[int] = []
    seen: dict[Address, str] = {}
    for index, item in whole(service.endpoints):
        written = item if isinstance(item, Endpoint) else Endpoint(item)
        weights.append(written.weight)
        place = f"{pointer}.endpoints[{index}]" + (".address" if isinstance(item, Endpoint) else "")
        if written.address is BROKEN:
            continue
        address = _parsed(parse_endpoint, written.address, place, problems)
        if address in seen:
            problems.append(Problem(message=f"endpoint '{written.address}' occurs twice", pointer=place, first=seen[address]))
        if address is not None:
            seen.setdefault(address, place)
            problems += _endpoint_tls(service, written.address, address, place)
    yield from problems
    if weights and not any(weights):
        yield Problem(message="every endpoint has weight 0, so none takes a request", pointer=f"{pointer}.endpoints", at_key=True)
    if service.tls is None and len({address.tls for address in seen}) > 1:
        yield Problem(message="endpoints of one service are either all https:// or none", pointer=f"{pointer}.endpoints", at_key=True, hint="set `tls` on the service instead")


def _endpoint_tls(service: Service, written: str, address: Address, pointer: str) -> Iterator[Problem]:
    if service.tls is None:
        return
    if written.startswith("http://"):
        yield Problem(message="this endpoint is http://, but its service has `tls`", pointer=pointer, hint="write https://, or leave the scheme out")
    if address.kind == "unix" and service.tls.verify and service.tls.name is None:
        yield Problem(message="TLS over a Unix socket has no name to verify", pointer=pointer, hint="set tls.name")


def _route_names(config: Config) -> Iterator[Problem]:
    seen: dict[str, str] = {}
    for index, route in whole(config.routes):
        pointer = f"$.routes[{index}].name"
        if route.name in seen:
            yield Problem(message=f"another route is named '{route.name}'", pointer=pointer, first=seen[route.name])
        elif route.name is not None:
            seen[route.name] = pointer


def _same_match(config: Config) -> Iterator[Problem]:
    """Routes that repeat an earlier match word for word; what else can never win, the compiled router knows."""
    seen: dict[Any, str] = {}
    for index, route in whole(config.routes):
        key = _match_key(route)
        pointer = f"$.routes[{index}]"
        if key in seen:
            yield Problem(message="this route can never win: an earlier one has the same match", pointer=pointer, first=seen[key], severity="warning")
        seen.setdefault(key, pointer)


def _match_key(route: Route) -> tuple[object, ...]:
    path = ("exact", route.exact) if route.exact is not None else ("regex", route.regex) if route.regex is not None else ("path", route.path or "/")
    hosts = frozenset(host.lower() for host in _texts(route.hosts))
    headers = frozenset((name.lower(), value) for name, value in route.headers.items())
    return *path, hosts, frozenset(_texts(route.methods)), headers, frozenset(route.query.items())


def _texts(items: list[str]) -> Iterator[str]:
    return (item for _, item in whole(items))


def _unused_services(config: Config) -> Iterator[Problem]:
    used = {route.service for _, route in whole(config.routes)}
    for _, raw in _policy_lists(config):
        used.update(_strings(raw))
    for name in config.services:
        if name not in used:
            yield Problem(message=f"service '{name}' is never used", pointer=join("$.services", name), at_key=True, severity="warning")


def _strings(raw: Any) -> Iterator[str]:
    """Every text in the configs of policies: some name services."""
    if isinstance(raw, str):
        yield raw
    elif isinstance(raw, dict | list):
        for child in raw.values() if isinstance(raw, dict) else raw:
            yield from _strings(child)


def _policy_lists(config: Config) -> Iterator[tuple[str, list[Any]]]:
    yield "$.policies", config.policies
    for name, service in config.services.items():
        if service is not BROKEN:
            yield f"{join('$.services', name)}.policies", service.policies
    for index, route in whole(config.routes):
        yield f"$.routes[{index}].policies", route.policies
    for name, consumer in config.consumers.items():
        if consumer is not BROKEN:
            yield f"{join('$.consumers', name)}.policies", consumer.policies


def _unused_budgets(config: Config) -> Iterator[Problem]:
    used = {each.name for pointer, raw in _policy_lists(config) for each in leaves(read_policies(raw, pointer)[0])}
    for name in config.budgets:
        if name not in used:
            yield Problem(message=f"no policy '{name}' is used", pointer=join("$.budgets", name), at_key=True, hint=advise(name, used), severity="warning")


def _trusted_proxies(config: Config) -> Iterator[Problem]:
    for index, text in whole(config.trusted_proxies):
        flaw = network_flaw(text)
        if flaw:
            yield Problem(message=flaw[0], hint=flaw[1], pointer=f"$.trusted_proxies[{index}]")


def _limits(config: Config) -> Iterator[Problem]:
    if config.limits.request_line > config.limits.head:
        yield Problem(message="limits.request_line is larger than limits.head, of which it is a part", pointer="$.limits.request_line")
    name = config.forwarding.request_id
    if name is not None:
        yield from check_field_name(name, "$.forwarding.request_id", at_key=False)
        if name.lower() in FRAMING_FIELDS | {"host"}:
            yield Problem(message=f"field '{name}' cannot carry the request id", pointer="$.forwarding.request_id", hint="such as X-Request-Id")
