"""A lane at work for the tests of policies, and a service that they ask."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

import pytest

from tests.unit.fast.rig import Rig, until
from tests.unit.policy.asking import Service


@pytest.fixture
def service() -> Iterator[Service]:
    made = Service()
    yield made
    made.close()


@pytest.fixture
def rig(rig: Callable[..., Rig], service: Service) -> Iterator[Callable[..., Rig]]:
    """Call it with the YAML of services and routes. Policies go with their revision, and close their connections then."""
    made: list[Rig] = []

    def make(config: str, **policies: str) -> Rig:
        made.append(rig(config, **policies))
        return made[-1]

    yield make
    for each in made:
        service.go_on.set()
        until(lambda at=each: at.stats()["exchanges"] == 0, "every exchange has ended")
        each.reload("routes: [{path: /, respond: {body: new}}]")
        until(lambda at=each: at.call(lambda: len(asyncio.all_tasks(at.loop))) == 1, "nothing is asked any more")
