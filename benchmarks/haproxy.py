"""haproxy as a further peer (`--peers nginx,haproxy,gw`), for the workloads it can do without scripts."""

from __future__ import annotations

from pathlib import Path

from benchmarks.workloads import Setup, route_prefix

CONFIG = """global
    nbthread {workers}
    cpu-map auto:1/1-{workers} {cpus}
    maxconn 9000
    tune.ssl.default-dh-param 2048
defaults
    mode http
    timeout client 60s
    timeout server 15s
    timeout connect 5s
    timeout http-request 10s
    timeout http-keep-alive 60s
    option http-keep-alive
    http-reuse always
frontend in
    bind 127.0.0.1:{port} backlog 4096 {tls}
{rules}
    default_backend origin
backend origin
    server one 127.0.0.1:{origin} pool-max-conn 512
"""


def command(setup: Setup, folder: Path, port: int, origin: int, cpus: set[int]) -> list[str]:
    """Write the configuration into `folder`; the command that serves it. Raises SystemExit for what haproxy has no plain configuration for."""
    if setup.hook or setup.log or setup.limit:
        raise SystemExit("haproxy: no hooks, no limits and no log to a file here; choose other --workloads")
    if setup.tls:
        (folder / "both.pem").write_text((folder / "cert.pem").read_text() + (folder / "key.pem").read_text())
    (folder / "routes.map").write_text("".join(f"{route_prefix(index)}/ origin\n" for index in range(setup.routes)))
    text = CONFIG.format(
        workers=setup.workers,
        cpus=" ".join(map(str, sorted(cpus))),
        port=port,
        origin=origin,
        tls=f"ssl crt {folder}/both.pem ssl-min-ver TLSv1.3" if setup.tls else "",
        rules=f"    use_backend %[path,map_beg({folder}/routes.map)]" if setup.routes else "",
    )
    path = folder / "haproxy.cfg"
    path.write_text(text)
    return ["haproxy", "-db", "-f", str(path)]
