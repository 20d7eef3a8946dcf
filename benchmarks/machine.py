"""What the numbers were made on."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from importlib.metadata import version
from pathlib import Path

from benchmarks import envoy, servers

ROOT = Path(__file__).parent.parent
FURTHER = ["haproxy", "envoy"]  # peers that need not be there


def facts() -> dict[str, str]:
    """Machine and versions, as shown above every table."""
    return {
        "cpu": _cpu(),
        "kernel": platform.release(),
        "system": _os_name(),
        "python": platform.python_version(),
        "compiler": _line(["cc", "--version"]),
        "uvloop": version("uvloop"),
        "httptools": version("httptools"),
        "cython": version("cython"),
        "nginx": _line(["nginx", "-v"]).removeprefix("nginx version: "),
        "haproxy": _line(["haproxy", "-v"]).partition(" - ")[0].partition(" 20")[0] if shutil.which("haproxy") else "",
        "envoy": _envoy(),
        "openssl": _line(["openssl", "version"]),
        "wrk": _line(["wrk", "-v"]).partition(" Copyright")[0],
        "h2load": _line(["h2load", "--version"]),
        "gw": commit(),
    }


def commit() -> str:
    """Short hash, with `+` when tracked files differ from it."""
    dirty = subprocess.run(["git", "-C", str(ROOT), "diff", "--quiet", "HEAD", "--", "gw", "setup.py"], check=False).returncode
    return _line(["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"]) + ("+" if dirty else "")


def cores() -> tuple[int, int]:
    """The core of the proxy and the core of origin and load: the first two this process may use."""
    usable = sorted(os.sched_getaffinity(0))
    if len(usable) < 2:
        raise SystemExit("the benchmark needs two cores: one for the proxy, one for origin and load")
    return usable[0], usable[1]


def _cpu() -> str:
    text = Path("/proc/cpuinfo").read_text()
    name = re.search(r"model name\s*: (.*)", text)
    return f"{name[1] if name else platform.machine()}, {os.cpu_count()} cores"


def _envoy() -> str:
    try:
        text = _line([str(envoy.binary()), "--version"])
    except servers.Absent:
        return ""
    return f"Envoy {text.split('/')[-4]}"  # .../envoy  version: COMMIT/1.40.0/Clean/RELEASE/BoringSSL


def _os_name() -> str:
    return platform.freedesktop_os_release()["PRETTY_NAME"]


def _line(argv: list[str]) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    return (done.stdout or done.stderr).strip().splitlines()[0].strip()
