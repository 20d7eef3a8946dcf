"""nginx as a peer, configured as one who wants it fast would: keep-alive to the origin, reuse-port, no log where none is asked for.

It forwards `Host` and adds nothing else, while gw writes all its forwarding fields and counts metrics: the comparison leans towards nginx.
"""

from __future__ import annotations

from pathlib import Path

from benchmarks import tokens
from benchmarks.servers import METRICS, Unable, free_port
from benchmarks.workloads import Setup, route_prefix

MODULES = "load_module /usr/lib/nginx/modules/ndk_http_module.so;\nload_module /usr/lib/nginx/modules/ngx_http_lua_module.so;\n"
PREAMBLE = """user root;
daemon off;
pid {folder}/nginx.pid;
error_log stderr warn;
worker_rlimit_nofile 20000;
events {{ worker_connections 16384; }}"""
HTTP = """
worker_processes {workers};
worker_cpu_affinity {affinity};
http {{
    {log}
    {limit}
    {scripts}
    keepalive_requests 1000000000;
    keepalive_timeout 60s;
    client_header_timeout 10s;
    client_body_timeout 30s;
    send_timeout 30s;
    client_max_body_size 1m;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    proxy_connect_timeout 5s;
    proxy_read_timeout 15s;
    proxy_send_timeout 30s;
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    proxy_set_header Host $http_host;
    proxy_request_buffering off;
    client_body_buffer_size 128k;
    upstream origin {{
        server 127.0.0.1:{origin};
        keepalive 512;
        keepalive_requests 1000000000;
        keepalive_timeout 55s;
    }}
    server {{
        listen 127.0.0.1:{port} {tls} backlog=4096 reuseport;
        {certificate}
        {hook}
{locations}
    }}
    {metrics}
}}
"""
LOG = """log_format json escape=json '{{"time":"$time_iso8601","id":"$request_id","client":"$remote_addr","method":"$request_method","host":"$host",'
        '"path":"$uri","status":$status,"bytes_in":$request_length,"bytes_out":$bytes_sent,"seconds":$request_time,"origin":"$upstream_addr",'
        '"origin_seconds":"$upstream_response_time","agent":"$http_user_agent"}}';
    access_log {path} json buffer=1m flush=1s;"""
CERTIFICATE = """ssl_certificate {folder}/cert.pem;
        ssl_certificate_key {folder}/key.pem;
        ssl_protocols TLSv1.3;
        ssl_session_timeout 1h;"""
LIMIT = "limit_req_zone $binary_remote_addr zone=clients:1m rate={rate}r/s;\n    limit_req zone=clients burst={rate} nodelay;\n    limit_req_status 429;"
HOOK = """access_by_lua_block {
            local tenant = ngx.var.http_x_tenant
            if tenant then ngx.req.set_header("X-Stamp", tenant) end
        }"""
JWT = "access_by_lua_block { check_token() }"
JWT_INIT = 'check_token = dofile("{lua}/jwt_nginx.lua")("{alg}", "{key}", "{audience}")'
METRICS_INIT = 'metrics = dofile("{lua}/metrics_nginx.lua")'
METRICS_PHASES = """lua_shared_dict metrics 10m;
    init_worker_by_lua_block { metrics.start() }
    log_by_lua_block { metrics.log() }"""
METRICS_SERVER = """server {{
        listen 127.0.0.1:{port};
        access_log off;
        location = /metrics {{
            log_by_lua_block {{ return }}
            content_by_lua_block {{ metrics.show() }}
        }}
    }}"""
LUA = Path(__file__).parent / "lua"


def affinity(cpus: set[int]) -> str:
    """nginx's masks, one per worker: `01 10`."""
    return " ".join(f"{1 << cpu:0{max(cpus) + 1}b}" for cpu in sorted(cpus))


def config(setup: Setup, folder: Path, port: int, origin: int, cpus: set[int]) -> str:
    """The text of nginx.conf."""
    if setup.keys or setup.blocks or setup.cors:
        raise Unable("nginx: no API keys, address lists or CORS here")
    prefixes = [route_prefix(index) + "/" for index in range(setup.routes)] or ["/"]
    route = "set $route {};" if setup.metrics else ""
    return (MODULES if setup.hook or setup.jwt or setup.metrics else "") + (PREAMBLE + HTTP).format(
        folder=folder,
        workers=setup.workers,
        affinity=affinity(cpus),
        log=LOG.format(path=folder / "access.log") if setup.log else "access_log off;",
        origin=origin,
        port=port,
        tls="ssl" if setup.tls else "",
        certificate=CERTIFICATE.format(folder=folder) if setup.tls else "",
        scripts=_scripts(setup, folder),
        limit=LIMIT.format(rate=setup.limit) if setup.limit else "",
        metrics=_metrics_server(folder) if setup.metrics else "",
        hook=HOOK if setup.hook else JWT if setup.jwt else "",
        locations="\n".join(f"        location {prefix} {{ {route.format(index)} proxy_pass http://origin; }}" for index, prefix in enumerate(prefixes)),
    )


def _scripts(setup: Setup, folder: Path) -> str:
    """What Lua does once, and in the phases that are not a location's."""
    made = []
    if setup.jwt:
        made.append(JWT_INIT.format(lua=LUA, alg=setup.jwt, key=tokens.issue(setup.jwt).write(folder), audience=tokens.AUDIENCE))
    if setup.metrics:
        made.append(METRICS_INIT.format(lua=LUA))
    return (f"init_by_lua_block {{ {' '.join(made)} }}\n    " if made else "") + (METRICS_PHASES if setup.metrics else "")


def _metrics_server(folder: Path) -> str:
    port = free_port()
    (folder / METRICS).write_text(f"http://127.0.0.1:{port}/metrics gateway_requests_total")
    return METRICS_SERVER.format(port=port)


def command(setup: Setup, folder: Path, port: int, origin: int, cpus: set[int]) -> list[str]:
    """Write the configuration into `folder`; the command that serves it."""
    path = folder / "nginx.conf"
    path.write_text(config(setup, folder, port, origin, cpus))
    return ["nginx", "-p", str(folder), "-e", "stderr", "-c", str(path)]
