"""What cgroups of both versions allow, and when memory counts as short."""

from __future__ import annotations

import os
import resource
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gw.server.limits import FULL, NO_MARK, SHED_ABOVE, STEP, WORKING, Marks, Memory, Shedding, anonymous, cpu_quota, marks, memory, raise_descriptors

GIB = 1 << 30


def tree(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    return root


def own(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "self"
    path.write_text(text)
    return path


def test_version_two(tmp_path: Path) -> None:
    root = tree(tmp_path / "cg", {"a/b/memory.max": "1000", "a/b/memory.current": "900", "a/b/memory.stat": "anon 5\ninactive_file 300", "a/b/cpu.max": "150000 100000"})
    file = own(tmp_path, "0::/a/b\n")
    assert memory(root, file) == Memory(600, 1000)
    assert cpu_quota(root, file) == 1.5


def test_version_one(tmp_path: Path) -> None:
    root = tree(
        tmp_path / "cg",
        {
            "memory/x/memory.limit_in_bytes": "4096",
            "memory/x/memory.usage_in_bytes": "1024",
            "memory/x/memory.stat": "total_inactive_file 24",
            "cpu/x/cpu.cfs_quota_us": "-1",
            "cpu/x/cpu.cfs_period_us": "100000",
        },
    )
    file = own(tmp_path, "4:memory:/x\n3:cpu:/x\n1:name=systemd:/x\n")
    assert memory(root, file) == Memory(1000, 4096)
    assert cpu_quota(root, file) is None


def test_the_tightest_of_those_above_counts(tmp_path: Path) -> None:
    limits = {"memory.max": "max", "a/memory.max": "1000", "a/b/memory.max": "9000", "a/cpu.max": "50000 100000", "a/b/cpu.max": "max 100000"}
    file = own(tmp_path, "0::/a/b\n")
    root = tree(tmp_path / "cg", {**limits, "a/memory.current": "950", "a/b/memory.current": "900"})
    assert memory(root, file) == Memory(950, 1000)
    assert cpu_quota(root, file) == 0.5


def test_inside_a_container_the_root_is_ours(tmp_path: Path) -> None:
    root = tree(tmp_path / "cg", {"memory.max": "1000", "memory.current": "10"})
    assert memory(root, own(tmp_path, "0::/../outside\n")) == Memory(10, 1000)


@pytest.mark.parametrize("limit", ["max", "9223372036854771712", "0"])
def test_no_limit(tmp_path: Path, limit: str) -> None:
    name = "memory.max" if limit == "max" else "memory.limit_in_bytes"
    root = tree(tmp_path / "cg", {name: limit, "memory.current": "5", "memory.usage_in_bytes": "5"})
    assert memory(root, own(tmp_path, "0::/\n")) is None
    assert memory(tmp_path / "none", tmp_path / "missing") is None


def test_shedding_has_two_marks() -> None:
    shedding = Shedding()
    changes = [(shedding.update(Memory(used, 100)), shedding.on) for used in (50, 91, 93, 90, 86, 84, 91)]
    assert changes == [(False, False), (False, False), (True, True), (False, True), (False, True), (True, False), (False, False)]
    shedding.update(Memory(99, 100))
    assert shedding.update(None)


def test_a_lane_at_its_bound_is_told_whether_memory_is_short() -> None:
    shedding = Shedding()
    assert (shedding.update(Memory(80, 100), lanes=True), shedding.on, shedding.interval) == (True, False, 0.1)
    assert (shedding.update(Memory(88, 100), lanes=True), shedding.on) == (True, True)
    assert (shedding.update(Memory(88, 100), lanes=True), shedding.on) == (False, True)
    assert (shedding.update(Memory(80, 100), lanes=True), shedding.on) == (True, False)
    assert (shedding.update(Memory(88, 100)), shedding.on) == (False, False)


@given(st.lists(st.integers(0, 1 << 40), min_size=1, max_size=64), st.integers(0, 1 << 42), st.integers(1, 1 << 42))
def test_lanes_that_grow_to_their_bounds_leave_the_rest_of_the_limit_alone(held: list[int], used: int, limit: int) -> None:
    found = marks(held, Memory(used, limit))
    growth = sum(max(0, each.most - mine) for each, mine in zip(found, held, strict=True))
    assert used + growth <= max(used, FULL * limit) + WORKING * len(held)
    assert all(each.ask <= each.most >= WORKING for each in found)


def test_a_lane_asks_before_the_room_is_half_gone_but_not_for_every_buffer() -> None:
    wide, narrow = marks([0, 5 * GIB], Memory(0, 10 * GIB)), marks([0], Memory(95, 100))
    assert [each.ask for each in wide] == [int(10 * GIB * SHED_ABOVE) // 4, 5 * GIB + int(10 * GIB * SHED_ABOVE) // 4]
    assert narrow == [Marks(STEP, WORKING)]


def test_without_a_limit_there_are_no_marks() -> None:
    assert marks([1, 2], None) == [Marks(NO_MARK, NO_MARK)] * 2


def test_the_nearer_the_limit_the_more_often_it_looks() -> None:
    shedding = Shedding()
    assert [(shedding.update(Memory(used, 100)), shedding.interval)[1] for used in (10, 60, 95, 40)] == [1.0, 0.1, 0.1, 1.0]


def test_memory_of_a_process_without_its_files() -> None:
    before = anonymous(os.getpid())
    block = bytearray(b"x" * (32 << 20))
    assert 30 << 20 < anonymous(os.getpid()) - before < 40 << 20
    assert len(block) == 32 << 20
    assert anonymous(1 << 30) == 0


def test_descriptors_are_raised_to_the_hard_limit() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (before[1] // 2, before[1]))
        assert raise_descriptors() == min(before[1], 1_048_576)
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == min(before[1], 1_048_576)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
