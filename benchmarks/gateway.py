"""gw as a peer, at its defaults: routing, metrics, forwarding fields and time-outs are on in every workload."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from benchmarks import callers, tokens
from benchmarks.servers import METRICS, free_port
from benchmarks.workloads import ORIGIN, Setup, route_prefix

POLICIES = Path(__file__).parent / "policies"


def config(setup: Setup, folder: Path, port: int, origin: int) -> dict[str, Any]:
    """The configuration as data; `command` writes it as JSON, which gw reads as well as YAML."""
    listener: dict[str, Any] = {"bind": f"127.0.0.1:{port}"}
    if setup.tls:
        listener["tls"] = {"certificates": [{"cert": str(folder / "cert.pem"), "key": str(folder / "key.pem")}], "min_version": "1.3"}
    prefixes = [route_prefix(index) for index in range(setup.routes)] or ["/"]
    admin = free_port()
    (folder / METRICS).write_text(f"http://127.0.0.1:{admin}/metrics gw_requests_total")
    found: dict[str, Any] = {
        "listeners": [listener],
        "services": {"origin": {"endpoints": [f"127.0.0.1:{origin}"], "keep_alive": 512}},
        "routes": [{"path": prefix, "service": "origin"} for prefix in prefixes],
        "error_log": {"level": "warning"},
        "admin": {"bind": f"127.0.0.1:{admin}"},
        "process": {"workers": setup.workers, "pin": True, "watch": False},
    }
    if setup.log:
        found["access_log"] = {"file": str(folder / "access.log"), "buffer": "1MiB", "flush": "1s"}
    if setup.hook:
        found["modules"] = [str(POLICIES)]
    if setup.keys:
        found["store"] = {"file": str(folder / callers.STORE)}
        found["consumers"] = {name: {} for name in callers.CONSUMERS}
    if policies := _policies(setup, folder):
        found["policies"] = policies
    return found


def _policies(setup: Setup, folder: Path) -> list[dict[str, Any]]:
    """In the order of the other peers: a limit stands in front of what costs more."""
    made: list[dict[str, Any]] = []
    if setup.limit:
        made.append({"rate-limit": {"rate": f"{setup.limit}/s"}})
    if setup.jwt:
        key = tokens.issue(setup.jwt).write(folder)
        given = {"secret": key.read_text(), "alg": "HS256"} if setup.jwt == "HS256" else {"file": str(key), "alg": setup.jwt}
        cache = {} if setup.cache else {"cache": "off"}
        made.append({"jwt": {"keys": [given], "audience": tokens.AUDIENCE, "claims_to_headers": {"sub": tokens.SUBJECT}, **cache}})
    if setup.keys:
        made.append({"api-key": {}})
    if setup.blocks:
        (folder / "blocks.txt").write_text("".join(f"{block}\n" for block in callers.blocks(setup.blocks)))
        made.append({"ip": {"allow_files": ["blocks.txt"]}})
    if setup.cors:
        made.append({"cors": {"origins": ["https://*.example.com", ORIGIN]}})
    if setup.hook:
        made.append({"stamp": {"read": "X-Tenant", "write": "X-Stamp", "kind": setup.hook}})
    return made


def command(setup: Setup, folder: Path, port: int, origin: int, _cpus: set[int]) -> list[str]:
    """Write the configuration into `folder`; the command that serves it. gw pins its workers to the cores it was started on."""
    if setup.keys:
        callers.store(setup.keys, folder)
    path = folder / "gw.json"
    path.write_text(json.dumps(config(setup, folder, port, origin), indent=1))
    return [sys.executable, "-m", "gw", "run", str(path)]
