"""A lane at work for the tests of the data plane."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.unit.fast.rig import Origin, Rig


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
