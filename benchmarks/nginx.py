"""nginx as a peer, configured as one who wants it fast would: keep-alive to the origin, reuse-port, no log where none is asked for.

It forwards `Host` and adds nothing else, while gw writes all its forwarding fields and counts metrics: the comparison leans towards nginx.
"""

from __future__ import annotations

from pathlib import Path

from benchmarks.workloads import LIMIT_RATE, Setup, route_prefix

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
LIMIT = f"limit_req_zone $binary_remote_addr zone=clients:1m rate={LIMIT_RATE}r/s;\n    limit_req zone=clients burst={LIMIT_RATE} nodelay;"
HOOK = """access_by_lua_block {
            local tenant = ngx.var.http_x_tenant
            if tenant then ngx.req.set_header("X-Stamp", tenant) end
        }"""


def affinity(cpus: set[int]) -> str:
    """nginx's masks, one per worker: `01 10`."""
    return " ".join(f"{1 << cpu:0{max(cpus) + 1}b}" for cpu in sorted(cpus))


def config(setup: Setup, folder: Path, port: int, origin: int, cpus: set[int]) -> str:
    """The text of nginx.conf."""
    prefixes = [route_prefix(index) + "/" for index in range(setup.routes)] or ["/"]
    return (MODULES if setup.hook else "") + (PREAMBLE + HTTP).format(
        folder=folder,
        workers=setup.workers,
        affinity=affinity(cpus),
        log=LOG.format(path=folder / "access.log") if setup.log else "access_log off;",
        origin=origin,
        port=port,
        tls="ssl" if setup.tls else "",
        certificate=CERTIFICATE.format(folder=folder) if setup.tls else "",
        limit=LIMIT if setup.limit else "",
        hook=HOOK if setup.hook else "",
        locations="\n".join(f"        location {prefix} {{ proxy_pass http://origin; }}" for prefix in prefixes),
    )


def command(setup: Setup, folder: Path, port: int, origin: int, cpus: set[int]) -> list[str]:
    """Write the configuration into `folder`; the command that serves it."""
    path = folder / "nginx.conf"
    path.write_text(config(setup, folder, port, origin, cpus))
    return ["nginx", "-p", str(folder), "-e", "stderr", "-c", str(path)]
