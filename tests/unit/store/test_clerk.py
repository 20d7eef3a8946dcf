"""A thread for slow work: its order, its failures, and what it leaves to a child of the process."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from pathlib import Path

import pytest

import gw.store.clerk
from gw.errors import GatewayError
from gw.store import Ask, Meter, UsageLedger
from gw.store.clerk import FORK_WAIT, Clerk

DAY = Meter("q", 1000, calendar="day")


class Slow:
    """Work that stands still until it may go on."""

    def __init__(self) -> None:
        self.begun, self.may_go_on = threading.Event(), threading.Event()

    def __call__(self) -> str:
        self.begun.set()
        assert self.may_go_on.wait(10)
        return "done"


def test_the_loop_goes_on_and_works_are_done_in_order_by_one_thread() -> None:
    async def main() -> None:
        clerk, slow, done = Clerk("c"), Slow(), []
        first = asyncio.ensure_future(clerk.do(slow))
        others = [asyncio.ensure_future(clerk.do(lambda number=number: done.append((number, threading.get_ident())))) for number in range(50)]
        for _ in range(20):
            await asyncio.sleep(0.001)
        assert slow.begun.is_set() and not first.done() and done == []
        slow.may_go_on.set()
        assert await first == "done"
        await asyncio.gather(*others)
        assert [number for number, _ in done] == list(range(50))
        assert len({thread for _, thread in done}) == 1 and done[0][1] != threading.get_ident()
        clerk.dismiss()

    asyncio.run(main())


def test_what_work_raises_is_raised_where_it_is_waited_for_and_the_next_is_done() -> None:
    def fails() -> None:
        raise GatewayError("no disk")

    async def main() -> None:
        clerk = Clerk("c")
        with pytest.raises(GatewayError, match="no disk"):
            await clerk.do(fails)
        assert await clerk.do(lambda: 7) == 7
        clerk.dismiss()
        assert await clerk.do(lambda: 8) == 8, "another thread begins"
        clerk.dismiss()

    asyncio.run(main())


def test_work_is_done_though_nobody_waits_for_it_and_though_the_loop_is_closed() -> None:
    clerk, slow, done = Clerk("c"), Slow(), threading.Event()

    async def main() -> None:
        waits = [asyncio.ensure_future(clerk.do(work)) for work in (slow, done.set)]
        await asyncio.sleep(0.01)
        for each in waits:
            each.cancel()

    asyncio.run(main())
    assert not done.is_set()
    slow.may_go_on.set()
    assert done.wait(10)
    clerk.dismiss()


def forked() -> tuple[int, float]:
    """What a child says of the clerks it has, and the seconds that the fork took."""
    began = time.monotonic()
    pid = os.fork()
    if pid == 0:
        gw.store.clerk.FORK_WAIT = 10.0  # so that it is seen whether a fork of the child waits for anybody
        began = time.monotonic()
        grandchild = os.fork()
        if grandchild == 0:
            os._exit(0)
        os.waitpid(grandchild, 0)
        os._exit(time.monotonic() - began > 5)
    took = time.monotonic() - began
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), took


def test_a_fork_waits_for_work_that_ends_and_not_for_work_that_stands_still() -> None:
    async def main() -> None:
        clerk, slow = Clerk("c"), Slow()
        waits = asyncio.ensure_future(clerk.do(slow))
        while not slow.begun.is_set():
            await asyncio.sleep(0.001)
        code, took = forked()
        assert code == 0, "the child has no clerks to wait for"
        assert FORK_WAIT <= took < FORK_WAIT + 1 and not waits.done()
        threading.Timer(FORK_WAIT / 5, slow.may_go_on.set).start()
        began = time.monotonic()
        code, _ = forked()
        assert code == 0 and time.monotonic() - began < 1 and slow.may_go_on.is_set()
        assert await waits == "done"
        assert await clerk.do(lambda: 7) == 7, "what the fork held is free again"
        clerk.dismiss()

    asyncio.run(main())


def test_while_the_file_stands_still_the_loop_goes_on_and_grants_keep_their_order(tmp_path: Path) -> None:
    async def main() -> None:
        ledger, slow = UsageLedger(tmp_path / "gw.db"), Slow()
        held = asyncio.ensure_future(ledger._clerk.do(slow))
        takes = [asyncio.ensure_future(ledger.take([Ask(DAY, "a", units)], 1.0)) for units in (1, 2, 3)]
        await asyncio.sleep(0.01)
        assert not any(take.done() for take in takes)
        slow.may_go_on.set()
        await held
        assert [(grant.units, grant.left) for take in takes for grant in await take] == [(1, 999), (2, 997), (3, 994)]
        await ledger.close()

    asyncio.run(main())
