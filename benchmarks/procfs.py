"""CPU time and memory of a process tree, from /proc."""

from __future__ import annotations

import os
from pathlib import Path

TICK_NS = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
PROC = Path("/proc")


def descendants(root: int) -> list[int]:
    """`root` and every live process below it, parents first."""
    children: dict[int, list[int]] = {}
    for entry in PROC.iterdir():
        if entry.name.isdigit() and (fields := _stat(int(entry.name))):
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    found = [root]
    for pid in found:  # grows while it is walked
        found.extend(sorted(children.get(pid, [])))
    return found


def on_cpu_ns(pids: list[int]) -> int:
    """Nanoseconds on a CPU, user and kernel together, of all live threads (schedstat: exact, unlike the 10 ms ticks of stat)."""
    total = 0
    for pid in pids:
        for task in (PROC / str(pid) / "task").iterdir():
            total += int((task / "schedstat").read_text().split()[0])
    return total


def ticks_ns(pids: list[int]) -> tuple[int, int]:
    """(user, kernel) nanoseconds by stat, in ticks of 10 ms: covers threads that ended, cross-checks `on_cpu_ns`, and gives the split."""
    stats = [fields for fields in map(_stat, pids) if fields]
    return sum(int(fields[11]) for fields in stats) * TICK_NS, sum(int(fields[12]) for fields in stats) * TICK_NS


def memory(pids: list[int]) -> dict[str, int]:
    """Bytes over all processes: `pss` shares common pages among those who map them, `rss` counts them in each."""
    total = {"pss": 0, "rss": 0}
    for pid in pids:
        for line in (PROC / str(pid) / "smaps_rollup").read_text().splitlines():
            name, _, value = line.partition(":")
            if name.lower() in total:
                total[name.lower()] += int(value.split()[0]) * 1024
    return total


def busy_ns(cores: set[int]) -> int:
    """Nanoseconds these cores were not idle since boot, steal included (/proc/stat, in ticks)."""
    total = 0
    for line in (PROC / "stat").read_text().splitlines():
        name, *fields = line.split()
        if name.startswith("cpu") and name[3:].isdigit() and int(name[3:]) in cores:
            user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, fields[:8])
            total += (user + nice + system + irq + softirq + steal) * TICK_NS
    return total


def _stat(pid: int) -> list[str]:
    """Fields of /proc/PID/stat after the name: [0] state, [1] parent, [11] utime, [12] stime. Empty when the process is gone."""
    try:
        text = (PROC / str(pid) / "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return []
    return text.rpartition(")")[2].split()
