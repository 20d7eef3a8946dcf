"""gw as a peer, at its defaults: routing, metrics, forwarding fields and time-outs are on in every workload."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from benchmarks.servers import free_port
from benchmarks.workloads import LIMIT_RATE, Setup, route_prefix

POLICIES = Path(__file__).parent / "policies"


def config(setup: Setup, folder: Path, port: int, origin: int) -> dict[str, Any]:
    """The configuration as data; `command` writes it as JSON, which gw reads as well as YAML."""
    listener: dict[str, Any] = {"bind": f"127.0.0.1:{port}"}
    if setup.tls:
        listener["tls"] = {"certificates": [{"cert": str(folder / "cert.pem"), "key": str(folder / "key.pem")}], "min_version": "1.3"}
    prefixes = [route_prefix(index) for index in range(setup.routes)] or ["/"]
    found: dict[str, Any] = {
        "listeners": [listener],
        "services": {"origin": {"endpoints": [f"127.0.0.1:{origin}"], "keep_alive": 512}},
        "routes": [{"path": prefix, "service": "origin"} for prefix in prefixes],
        "error_log": {"level": "warning"},
        "admin": {"bind": f"127.0.0.1:{free_port()}"},
        "process": {"workers": setup.workers, "pin": True, "watch": False},
    }
    if setup.log:
        found["access_log"] = {"file": str(folder / "access.log"), "buffer": "1MiB", "flush": "1s"}
    if setup.limit:
        found["policies"] = [{"rate-limit": {"rate": f"{LIMIT_RATE}/s"}}]
    if setup.hook:
        found["modules"] = [str(POLICIES)]
        found["policies"] = [{"stamp": {"read": "X-Tenant", "write": "X-Stamp", "kind": setup.hook}}]
    return found


def command(setup: Setup, folder: Path, port: int, origin: int, _cpus: set[int]) -> list[str]:
    """Write the configuration into `folder`; the command that serves it. gw pins its workers to the cores it was started on."""
    path = folder / "gw.json"
    path.write_text(json.dumps(config(setup, folder, port, origin), indent=1))
    return [sys.executable, "-m", "gw", "run", str(path)]
