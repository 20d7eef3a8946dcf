"""A lane at work: for the tests of the data plane, of policies, and of what puts them together."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.unit.fast.rig import Client, Origin, Rig, behind


@pytest.fixture
def origin() -> Iterator[Origin]:
    made = Origin()
    yield made
    made.close()


@pytest.fixture
def rig(tmp_path: Path, origin: Origin) -> Iterator[Callable[..., Rig]]:
    """Call it with the YAML of services and routes, and modules of policies; closing looks that nothing is left, before the origin goes."""
    made: list[Rig] = []

    def make(config: str, **policies: str) -> Rig:
        made.append(Rig(tmp_path, config, **policies))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def client(rig: Callable[..., Rig], origin: Origin) -> Iterator[Callable[..., Client]]:
    """A client of a gateway whose only route has these policies; more sections, and modules of policies."""
    made: list[Client] = []

    def make(*policies: str, more: str = "", **modules: str) -> Client:
        made.append(Client(rig(behind(origin, *policies, more=more), **modules).port))
        return made[-1]

    yield make
    for each in made:
        each.close()
