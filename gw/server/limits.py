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
FULL = 0.96  # of the memory limit: what lanes may fill it to between two looks; the rest is for what nobody counts
WORKING = 1 << 20  # bytes a lane may hold whatever the limit: what it needs to refuse with an answer
STEP = 1 << 20  # bytes a lane grows at least before it asks for a look
NO_MARK = (1 << 64) - 1
LOOK_CLOSELY = 0.5  # of the memory limit: look more often
LOOK, LOOK_AGAIN = 1.0, 0.1  # seconds between two looks, below and above that mark; lanes that grow ask for more of them
PAGE = os.sysconf("SC_PAGESIZE")
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

    def update(self, usage: Memory | None, lanes: bool = False) -> bool:
        """Take a measurement; True when workers must hear the answer. `lanes`: one of them refuses work by itself, having met its mark."""
        share = usage.used / usage.limit if usage else 0.0
        before = self.on
        self.on = share > (SHED_BELOW if before or lanes else SHED_ABOVE)
        self.interval = LOOK_AGAIN if share > LOOK_CLOSELY or lanes else LOOK
        return self.on != before or (lanes and not self.on)


def anonymous(pid: int) -> int:
    """Bytes of a process's memory that belong to no file, 0 when it has ended."""
    resident, shared = map(int, (_read(Path(f"/proc/{pid}/statm")) or "0 0 0").split()[1:3])
    return (resident - shared) * PAGE


class Marks(Struct, frozen=True):
    """How far a lane may grow until the next look, as bytes held: beyond `ask` it asks for one, beyond `most` it gets nothing."""

    ask: int
    most: int


def marks(held: list[int], usage: Memory | None) -> list[Marks]:
    """Share out the room there is among lanes that hold so many bytes. However fast they grow, together they do not pass it.

    `usage` is taken as if every buffer they hold were full: a page is in use from the first write to it, of which nobody hears.
    """
    if usage is None:
        return [Marks(NO_MARK, NO_MARK)] * len(held)
    room, soft = (max(0, int(usage.limit * share) - usage.used) // len(held) for share in (FULL, SHED_ABOVE))
    return [Marks(min(most, mine + max(STEP, soft // 2)), most) for mine in held for most in [max(WORKING, mine + room)]]
