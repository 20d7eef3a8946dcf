"""haproxy as a peer: one thread per worker, connections to the origin kept and shared, a line of the log written to the file as it comes: it has no buffer for that."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path

from benchmarks import tokens
from benchmarks.servers import METRICS, Absent, Unable, free_port
from benchmarks.workloads import Setup, route_prefix

CONFIG = """global
    nbthread {workers}
    cpu-map auto:1/1-{workers} {cpus}
    maxconn 9000
    tune.ssl.default-dh-param 2048
    {log}
defaults
    mode http
    timeout client 60s
    timeout server 15s
    timeout connect 5s
    timeout http-request 10s
    timeout http-keep-alive 60s
    option http-keep-alive
    option http-ignore-probes
    http-reuse always
{metrics}
frontend in
    bind 127.0.0.1:{port} backlog 4096 {tls}
{rules}
backend origin
    server one 127.0.0.1:{origin} pool-max-conn 512
backend nowhere
    http-request return status 404
"""
METRICS_FRONTEND = """frontend metrics
    bind 127.0.0.1:{port}
    http-request use-service prometheus-exporter if {{ path /metrics }}"""
LIMIT = [
    "stick-table type ip size 100k expire 10s store http_req_rate(1s)",
    "http-request track-sc0 src",
    "http-request deny deny_status 429 if {{ sc_http_req_rate(0) gt {rate} }}",
]
JWT = [
    "http-request set-var(txn.token) http_auth_bearer",
    'http-request deny deny_status 401 unless {{ var(txn.token),jwt_verify("{alg}","{key}") 1 }}',
    "http-request set-var(txn.now) date()",
    "http-request set-var(txn.left) var(txn.token),jwt_payload_query('$.exp','int'),sub(txn.now)",
    "http-request deny deny_status 401 unless {{ var(txn.left) -m int gt 0 }}",
    "http-request deny deny_status 401 unless {{ var(txn.token),jwt_payload_query('$.aud') -m str {audience} }}",
    "http-request set-header {subject} %[var(txn.token),jwt_payload_query('$.sub')]",
]
LOG = [
    "log global",
    "unique-id-format %[uuid()]",
    "capture request header Host len 64",
    "capture request header User-Agent len 128",
    'log-format \'{{"time":"%[date,utime(%Y-%m-%dT%H:%M:%SZ)]","id":"%ID","client":"%ci","method":"%HM","host":"%[capture.req.hdr(0),json(utf8s)]",'
    '"path":"%[capture.req.uri,json(utf8s)]","status":%ST,"bytes_in":%U,"bytes_out":%B,"ms":%Tt,"origin":"%si:%sp","origin_ms":%Tr,"agent":"%[capture.req.hdr(1),json(utf8s)]"}}\'',
]


def config(setup: Setup, folder: Path, port: int, origin: int, cpus: set[int]) -> str:
    """The text of haproxy.cfg; the files it names are written into `folder`. Raises Unable for what needs scripts."""
    if setup.hook or setup.keys or setup.blocks or setup.cors:
        raise Unable("haproxy: no hooks, API keys, address lists or CORS here")
    if setup.tls:
        (folder / "both.pem").write_text((folder / "cert.pem").read_text() + (folder / "key.pem").read_text())
    (folder / "routes.map").write_text("".join(f"{route_prefix(index)}/ origin\n" for index in range(setup.routes)))
    return CONFIG.format(
        workers=setup.workers,
        cpus=" ".join(map(str, sorted(cpus))),
        port=port,
        origin=origin,
        tls=f"ssl crt {folder}/both.pem ssl-min-ver TLSv1.3" if setup.tls else "",
        log="log stdout format raw local0" if setup.log else "",
        metrics=_metrics(folder) if setup.metrics else "",
        rules="\n".join(f"    {rule}" for rule in _rules(setup, folder)),
    )


def command(setup: Setup, folder: Path, port: int, origin: int, cpus: set[int]) -> list[str]:
    """Write the configuration into `folder`; the command that serves it. Raises Absent, and Unable as `config` does."""
    if shutil.which("haproxy") is None:
        raise Absent("haproxy is not installed (Debian: apt-get install haproxy)")
    path = folder / "haproxy.cfg"
    path.write_text(config(setup, folder, port, origin, cpus))
    argv = ["haproxy", "-db", "-f", str(path)]
    return ["sh", "-c", f"exec {shlex.join(argv)} >{shlex.quote(str(folder / 'access.log'))}"] if setup.log else argv


def _rules(setup: Setup, folder: Path) -> list[str]:
    rules = [*LOG] if setup.log else []
    rules += LIMIT if setup.limit else []
    rules += JWT if setup.jwt else []
    rules.append(f"use_backend %[path,map_beg({folder}/routes.map,nowhere)]" if setup.routes else "default_backend origin")
    issued = tokens.issue(setup.jwt) if setup.jwt else None
    key = issued.write(folder) if issued else ""
    given = issued.key if issued and setup.jwt == "HS256" else key  # a secret stands in the text, a public key in a file
    return [rule.format(rate=setup.limit, alg=setup.jwt, key=given, audience=tokens.AUDIENCE, subject=tokens.SUBJECT) for rule in rules]


def _metrics(folder: Path) -> str:
    port = free_port()
    (folder / METRICS).write_text(f"http://127.0.0.1:{port}/metrics haproxy_backend_http_requests_total")
    return METRICS_FRONTEND.format(port=port)
