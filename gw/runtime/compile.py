"""Config -> Snapshot. Opens no sockets; reads certificates and the operator's own policy modules."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Any

from msgspec.structs import asdict, fields

from gw._fast.answer import load_reasons
from gw._fast.lease_step import LeaseStep
from gw._fast.path import ENCODED_SLASH_KEEP, MERGE_SLASHES, PARAMETERS_KEEP
from gw._fast.shm import Segment
from gw._fast.snapshot import Snapshot
from gw.config import Config, parse_bind, parse_endpoint
from gw.config.address import Address
from gw.config.model import Endpoint, Listener, OriginTls, Route, Service, Timeouts
from gw.errors import REASONS, ConfigError, Problem
from gw.router import RouteMatch, compile_routes, parse_template
from gw.runtime.steps import StepBuilder
from gw.tls import client_context, server_context

load_reasons(REASONS)

DEFAULT_TIMEOUTS: Timeouts = next(each for each in fields(Config) if each.name == "timeouts").default_factory()
BALANCE = {"round-robin": 0, "least-request": 1}
PROXY = {"off": 0, "v1": 1, "v2": 2}


def compile_snapshot(config: Config, revision: int, segment: Segment, base: Path, ticket_keys: list[bytes] | None = None) -> Snapshot:
    """Everything workers need to run this config. Raises ConfigError with all problems found, pointers unresolved.

    `ticket_keys` are shared by all workers so that any of them resumes the sessions of any other.
    """
    table = compile_routes(config.routes, config.path)
    steps = StepBuilder(config, base, segment)
    services = {name: index for index, name in enumerate(config.services)}
    plans = []
    problems: list[Problem] = []
    for index, route in enumerate(config.routes):
        try:
            plans.append(_plan(config, route, table.matches[index], services, index, segment, steps))
        except ConfigError as error:
            problems += error.problems
    compiled = _each(lambda item: _service(item[0], item[1], segment, base), list(config.services.items()), problems)
    listeners = _each(lambda item: _listener(item[1], item[0], base, ticket_keys), list(enumerate(config.listeners)), problems)
    consumers = _each(lambda name: _consumer(config, name, steps), list(config.consumers), problems)
    if problems:
        raise ConfigError(problems)
    leases = [step for each in (*plans, *consumers) for step in each["steps"] if isinstance(step, LeaseStep)]
    settings = _settings(config) | {"nowhere_slot": _slot(segment, route_key(""), "$.process.routes_max"), "files": steps.files, "sources": steps.sources}
    settings |= {"kinds": steps.kinds, "leases": leases}
    return Snapshot(revision, settings, table.router, compiled, plans, listeners, consumers)


def _each(make: Any, items: list[Any], problems: list[Problem]) -> list[Any]:
    """Every item made; the problems of those that cannot be are gathered, so that an operator sees them all."""
    made = []
    for item in items:
        try:
            made.append(make(item))
        except ConfigError as error:
            problems += error.problems
    return made


def _ms(seconds: float) -> int:
    return max(1, round(seconds * 1000))


def _slot(segment: Segment, key: bytes, pointer: str) -> int:
    try:
        return segment.route_slot(key)
    except OverflowError as error:
        raise ConfigError([Problem(message=str(error), pointer=pointer, hint="raise process.routes_max and restart")]) from None


def _settings(config: Config) -> dict[str, Any]:
    path = config.path
    flags = (
        (ENCODED_SLASH_KEEP if path.encoded_slash == "keep" else 0) | (PARAMETERS_KEEP if path.parameters == "keep" else 0) | (MERGE_SLASHES if path.merge_slashes else 0)
    )
    forwarding = config.forwarding
    log = config.access_log
    return {
        "max_head": int(config.limits.head),
        "max_line": int(config.limits.request_line),
        "max_fields": config.limits.fields,
        "max_requests": config.limits.keep_alive_requests,
        "head_ms": _ms(config.client_timeouts.head),
        "keep_alive_ms": _ms(config.client_timeouts.keep_alive),
        "linger_ms": _ms(config.client_timeouts.linger),
        "path_flags": flags,
        "x_forwarded": forwarding.x_forwarded,
        "forwarded": forwarding.forwarded,
        "via": forwarding.via,
        "request_id": forwarding.request_id or "",
        "log": log is not None,
        "log_buffer": int(log.buffer) if log else 0,
        "log_flush_ms": _ms(log.flush) if log else 0,
        "trusted": [_cidr(text) for text in config.trusted_proxies],
        "hook_ms": _ms(config.process.hook_timeout),
        "hook_warn_us": int(config.process.hook_warn * 1_000_000),
    }


def _cidr(text: str) -> tuple[bytes, int]:
    """Sixteen bytes and a prefix length; IPv4 is mapped into IPv6 (RFC 4291 section 2.5.5.2)."""
    network = ipaddress.ip_network(text, strict=False)
    if network.version == 6:
        return network.network_address.packed, network.prefixlen
    return b"\0" * 10 + b"\xff\xff" + network.network_address.packed, network.prefixlen + 96


def _listener(listener: Listener, index: int, base: Path, ticket_keys: list[bytes] | None) -> dict[str, Any]:
    return {
        "bind": listener.bind,
        "unix": parse_bind(listener.bind).kind == "unix",
        "tls": server_context(listener.tls, base, ticket_keys, f"$.listeners[{index}].tls") if listener.tls else None,
        "proxy_protocol": listener.proxy_protocol,
        "max_connections": listener.max_connections,
    }


def _host_sent(text: str) -> tuple[str, str]:
    return (text, "") if text in ("preserve", "endpoint") else ("literal", text)


def _service(name: str, service: Service, segment: Segment, base: Path) -> dict[str, Any]:
    pointer = f"$.services.{name}"
    endpoints = [each if isinstance(each, Endpoint) else Endpoint(each) for each in service.endpoints]
    addresses = [parse_endpoint(each.address) for each in endpoints]
    tls = service.tls or (OriginTls() if any(address.tls for address in addresses) else None)
    context = client_context(tls, base, f"{pointer}.tls") if tls else None
    mode, text = _host_sent(service.host)
    return {
        "name": name,
        "balance": BALANCE[service.balance],
        "retries": service.retries,
        "fails": service.passive.fails,
        "eject_ms": _ms(service.passive.eject),
        "host_mode": mode,
        "host_text": text,
        "keep_alive": 0 if service.proxy_protocol != "off" else service.keep_alive,
        "keep_alive_ms": _ms(service.keep_alive_timeout),
        "max_connections": service.max_connections,
        "endpoints": [
            _endpoint(name, each, address, tls if service.tls or address.tls else None, context, service, segment) for each, address in zip(endpoints, addresses, strict=True)
        ],
    }


def _endpoint(name: str, endpoint: Endpoint, address: Address, tls: OriginTls | None, context: Any, service: Service, segment: Segment) -> dict[str, Any]:
    try:
        slot = segment.endpoint_slot(endpoint_key(name, endpoint.address))
    except OverflowError as error:
        raise ConfigError([Problem(message=str(error), pointer="$.process.endpoints_max", hint="raise process.endpoints_max and restart")]) from None
    return {
        "key": endpoint.address,
        "log_key": endpoint.address.replace("\\", "").replace('"', "").encode(),
        "weight": endpoint.weight,
        "host": _authority(address, tls is not None),
        "addresses": _literal(address),
        "tls": context if tls else None,
        "tls_key": (tls.verify, tls.ca, tls.name, tls.certificate and (tls.certificate.cert, tls.certificate.key), id(context)) if tls else None,
        "tls_name": (tls.name or address.host).rstrip(".") if tls else "",  # the root's dot is no part of SNI or of certificates (RFC 6066 section 3)
        "proxy": PROXY[service.proxy_protocol],
        "slot": slot,
    }


def _authority(address: Address, secure: bool) -> str:
    """Host for an origin; the default port is left out (RFC 9110 section 7.2)."""
    if address.kind == "unix":
        return "localhost"
    host = f"[{address.host}]" if ":" in address.host else address.host
    return host if address.port == (443 if secure else 80) else f"{host}:{address.port}"


def _literal(address: Address) -> list[tuple[str, int]]:
    """Where to connect, when that needs no resolving; a Unix socket's port is -1."""
    if address.kind == "unix":
        return [(address.path, -1)]
    try:
        return [(str(ipaddress.ip_address(address.host)), address.port)]
    except ValueError:
        return []


def _plan(config: Config, route: Route, match: RouteMatch, services: dict[str, int], index: int, segment: Segment, steps: StepBuilder) -> dict[str, Any]:
    name = route_name(route)
    service = config.services[route.service] if route.service else None
    mode, text = _host_sent(route.host or (service.host if service else "preserve"))
    respond, redirect = route.respond, route.redirect
    policies = steps.of(route, index, name, match.names)
    fields = "".join(f"{key}: {value}\r\n" for key, value in respond.headers.items()) if respond else ""
    if respond and respond.body and not any(key.lower() == "content-type" for key in respond.headers):
        fields += "Content-Type: text/plain; charset=utf-8\r\n"
    return {
        "name": name,
        "action": "forward" if route.service else "redirect" if redirect else "respond",
        "service": services[route.service] if route.service else -1,
        "host_mode": mode,
        "host_text": text,
        "strip_prefix": route.strip_prefix,
        "rewrite": _template(route.rewrite, match),
        "redirect": _template(redirect.to if redirect else None, match),
        "status": redirect.status if redirect else respond.status if respond else 0,
        "fields": fields.encode("latin-1"),
        "body": respond.body.encode() if respond else b"",
        "max_body": int(route.max_body),
        "upgrades": [protocol.lower() for protocol in route.upgrade],
        "steps": policies.steps,
        "jumps": policies.jumps,
        "slot": _slot(segment, route_key(name), f"$.routes[{index}]"),
        **_timeouts(config, service, route),
    }


def _consumer(config: Config, name: str, steps: StepBuilder) -> dict[str, Any]:
    policies = steps.of_consumer(name)
    return {"name": name, "groups": config.consumers[name].groups, "steps": policies.steps, "jumps": policies.jumps}


def route_key(name: str) -> bytes:
    """Under which the segment counts a route; the empty name is for requests that no route took."""
    return f"route:{name}".encode()


def endpoint_key(service: str, address: str) -> bytes:
    """Under which the segment keeps an endpoint's state: the same address in two services is two endpoints."""
    return f"{service} {address}".encode()


def route_name(route: Route) -> str:
    """What logs and metrics call a route: its name, or its match."""
    if route.name:
        return route.name
    host = f"{','.join(route.hosts)} " if route.hosts else ""
    methods = f"{','.join(route.methods)} " if route.methods else ""
    return f"{methods}{host}{route.exact or route.regex or route.path or '/'}"


def _template(template: str | None, match: RouteMatch) -> list[tuple[str, Any]]:
    if template is None:
        return []
    return [(part.kind, part.text.decode() if part.kind == "text" else part.param) for part in parse_template(template, match.names)]


def _timeouts(config: Config, service: Service | None, route: Route) -> dict[str, int]:
    """The route's value wins over its service's, that over the gateway's, that over the default."""
    layers = [route.timeouts, *([service.timeouts] if service else []), config.timeouts, DEFAULT_TIMEOUTS]
    chosen: dict[str, float] = {}
    for layer in layers:
        for name, value in asdict(layer).items():
            if value is not None:
                chosen.setdefault(name, value)
    return {f"{name}_ms": _ms(value) for name, value in chosen.items()}
