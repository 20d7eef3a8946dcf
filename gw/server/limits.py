"""What the machine allows this process group: descriptors, cores, memory (cgroup v1 and v2)."""

from __future__ import annotations

import math
import os
import resource
from pathlib import Path

from msgspec import Struct

DESCRIPTORS_MAX = 1_048_576  # more only makes the kernel's table larger
SHED_ABOVE = 0.92  # of the memory limit: start refusing new work
SHED_BELOW = 0.85  # of the memory limit: take it again
LOOK_CLOSELY = 0.5  # of the memory limit: look more often
LOOK, LOOK_AGAIN = 1.0, 0.1  # seconds between two looks, below and above that mark
UNLIMITED = 1 << 60  # cgroup v1 writes "no limit" as a number near 2**63

CGROUP = Path("/sys/fs/cgroup")
SELF = Path("/proc/self/cgroup")


def raise_descriptors() -> int:
    """Raise the soft limit of open files to the hard one; returns what holds now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = DESCRIPTORS_MAX if hard == resource.RLIM_INFINITY else min(hard, DESCRIPTORS_MAX)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        return wanted
    return soft


def cores() -> int:
    """Cores this process may use: its affinity, or a smaller CPU quota of its cgroup, rounded up."""
    allowed = len(os.sched_getaffinity(0))
    quota = cpu_quota()
    return allowed if quota is None else max(1, min(allowed, math.ceil(quota)))


def cpu_quota(root: Path = CGROUP, own: Path = SELF) -> float | None:
    """Cores' worth of CPU time the cgroup allows, None without a limit."""
    found = []
    for folder in _folders(root, own, "cpu"):
        quota, period = _read(folder / "cpu.max").partition(" ")[::2]
        if not quota:
            quota, period = _read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us")
        if quota.isdigit() and period.isdigit() and int(period):
            found.append(int(quota) / int(period))
    return min(found, default=None)


class Memory(Struct, frozen=True):
    """Bytes in use that the kernel cannot take back, and the limit it enforces."""

    used: int
    limit: int


def memory(root: Path = CGROUP, own: Path = SELF) -> Memory | None:
    """The tightest cgroup above us by share used, None when none has a limit."""
    found = [usage for folder in _folders(root, own, "memory") if (usage := _usage(folder))]
    return max(found, key=lambda usage: usage.used / usage.limit, default=None)


def _usage(folder: Path) -> Memory | None:
    for limit_name, used_name, cache_name in (
        ("memory.max", "memory.current", "inactive_file"),
        ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ):
        limit, used = _read(folder / limit_name), _read(folder / used_name)
        if limit.isdigit() and used.isdigit() and 0 < int(limit) < UNLIMITED:
            return Memory(max(0, int(used) - _stat(folder / "memory.stat", cache_name)), int(limit))
    return None


def _stat(path: Path, name: str) -> int:
    for line in _read(path).splitlines():
        key, _, value = line.partition(" ")
        if key == name:
            return int(value)
    return 0


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def _folders(root: Path, own: Path, controller: str) -> list[Path]:
    """Our cgroup and those above it. In a container's name space the path may not exist under the mount: then its root is ours."""
    found: list[Path] = []
    for line in _read(own).splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        top = root / controller if controllers else root
        parts = [part for part in path.split("/") if part and part != ".."]
        found += [top.joinpath(*parts[:depth]) for depth in range(len(parts), -1, -1)]
    return found


class Shedding:
    """Whether memory is so short that new work is refused; two marks, so that it does not flap."""

    def __init__(self) -> None:
        self.on = False
        self.interval = LOOK  # seconds until the next look

    def update(self, usage: Memory | None) -> bool:
        """Take a measurement; True when the answer has changed."""
        share = usage.used / usage.limit if usage else 0.0
        self.interval = LOOK_AGAIN if share > LOOK_CLOSELY else LOOK
        before = self.on
        self.on = share > (SHED_BELOW if before else SHED_ABOVE)
        return self.on != before
