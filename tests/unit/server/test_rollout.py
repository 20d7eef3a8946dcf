"""A revision goes into every worker or into none, whoever dies on the way."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from gw.config.model import Config, Listener, Process
from gw.server.reload import Rollout, needs_restart


def settle(rollout: Rollout, timeout: float = 5.0) -> str | None:
    return asyncio.run(rollout.settled(timeout))


def test_all_prepared() -> None:
    rollout = Rollout(2, [0, 1])
    rollout.ready(0, 2)
    assert rollout.waiting == {1}
    rollout.ready(1, 2)
    assert settle(rollout) is None


def test_one_failure_is_enough() -> None:
    rollout = Rollout(2, [0, 1, 2])
    rollout.ready(0, 2)
    rollout.failed(1, 2, "cannot read /etc/key.pem")
    assert settle(rollout) == "worker 1: cannot read /etc/key.pem"


def test_words_about_another_revision_do_not_count() -> None:
    rollout = Rollout(3, [0])
    rollout.ready(0, 2)
    rollout.failed(0, 2, "late")
    assert rollout.waiting == {0}
    assert rollout.failure is None


def test_a_worker_that_dies_is_not_waited_for_but_its_successor_is() -> None:
    rollout = Rollout(2, [0, 1])
    rollout.ready(0, 2)
    rollout.gone(1)
    rollout.joined(1)
    assert rollout.waiting == {1}
    rollout.ready(1, 2)
    assert settle(rollout) is None


def test_a_worker_that_prepared_and_died_prepares_again_in_its_successor() -> None:
    rollout = Rollout(2, [0, 1])
    rollout.ready(0, 2)
    rollout.gone(0)
    rollout.joined(0)
    rollout.ready(1, 2)
    assert rollout.waiting == {0}


def test_silence_is_a_failure_that_names_the_silent() -> None:
    rollout = Rollout(2, [0, 1, 2])
    rollout.ready(1, 2)
    assert settle(rollout, 0.01) == "worker 0, 2 did not prepare within 0.01 s"


def test_a_worker_that_joins_before_the_reloader_has_its_turn_is_waited_for() -> None:
    async def main() -> str | None:
        rollout = Rollout(2, [0])
        waiting = asyncio.ensure_future(rollout.settled(0.05))
        await asyncio.sleep(0)
        rollout.gone(0)
        rollout.joined(0)
        return await waiting

    assert "worker 0 did not prepare" in str(asyncio.run(main()))


def test_nobody_to_ask() -> None:
    assert settle(Rollout(2, [])) is None


@given(st.lists(st.tuples(st.sampled_from(["ready", "gone", "joined"]), st.integers(0, 3)), max_size=60))
def test_it_settles_exactly_when_every_living_worker_has_prepared(events: list[tuple[str, int]]) -> None:
    """Oracle: a worker is unprepared from its start until it says ready."""
    rollout = Rollout(9, range(4))
    living = dict.fromkeys(range(4), False)
    for event, slot in events:
        if event == "ready" and slot in living:
            rollout.ready(slot, 9)
            living[slot] = True
        elif event == "gone" and slot in living:
            rollout.gone(slot)
            del living[slot]
        elif event == "joined" and slot not in living:
            rollout.joined(slot)
            living[slot] = False
        assert rollout.waiting == {slot for slot, prepared in living.items() if not prepared}
        assert rollout.prepared == {slot for slot, prepared in living.items() if prepared}
    if all(living.values()):
        assert settle(rollout, 0.01) is None
    else:
        assert "did not prepare" in (settle(rollout, 0.001) or "")


def test_sizes_of_shared_memory_wait_for_a_restart() -> None:
    before, after = (
        Config([Listener("127.0.0.1:0")], process=Process(routes_max=size, endpoints_max=size, limit_cells=size, drain=drain)) for size, drain in ((1, 1), (2, 2))
    )
    assert needs_restart(before, after) == ["process.routes_max", "process.endpoints_max", "process.limit_cells"]
    assert needs_restart(before, before) == []
