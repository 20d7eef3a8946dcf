"""What every test gets: the command `gw` of this checkout, and the proof that nothing is left open."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.redis_server import BINARIES, RedisServer

ROOT = Path(__file__).parent.parent
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))  # child processes run this checkout too


TIMED = ("tests/faults", "tests/abuse", "tests/wire", "tests/integration", "tests/unit/server", "tests/unit/cli")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests with real processes and clocks meet whatever else the machine does: they may try three times. What they assert stays as it is."""
    for item in items:
        if item.path.relative_to(ROOT).as_posix().startswith(TIMED):
            item.add_marker(pytest.mark.flaky(reruns=2))


@pytest.fixture(scope="session")
def gw_command() -> list[str]:
    """How to start `gw` of this checkout, from any working directory."""
    return [sys.executable, "-m", "gw"]


def open_sockets() -> set[str]:
    """Names of this process's sockets, such as `socket:[4711]`."""
    found = set()
    for descriptor in os.listdir("/proc/self/fd"):
        with suppress(OSError):
            found.add(os.readlink(f"/proc/self/fd/{descriptor}"))
    return {name for name in found if name.startswith("socket:")}


def children() -> set[str]:
    """Process ids of our children, dead ones that nobody waited for included."""
    return set(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    """After a test there are no more sockets and no more child processes than before it."""
    sockets, processes = open_sockets(), children()
    yield
    if open_sockets() - sockets:
        gc.collect()  # what only waits for the collector is no leak
    assert not open_sockets() - sockets, "the test left sockets open"
    assert not children() - processes, "the test left child processes"


@pytest.fixture(params=BINARIES)
def redis_binary(request: pytest.FixtureRequest) -> str:
    """What tests of shared limits run with: with each of them."""
    binary: str = request.param
    return binary


@pytest.fixture
def redis_server(tmp_path: Path, redis_binary: str) -> Iterator[RedisServer]:
    """A Redis, or a Valkey, that runs and ends with the test."""
    folder = tmp_path / "redis"
    folder.mkdir()
    server = RedisServer(redis_binary, folder)
    server.start()
    yield server
    server.kill()
