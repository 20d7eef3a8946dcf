"""The lender under a clock that the test sets: what it asks for, what it writes, what it gives back, and what it does without a ledger."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Literal

import pytest

from gw._fast.lease import Leases
from gw._fast.shm import Segment
from gw.errors import GatewayError
from gw.server.channel import Asked
from gw.server.leases import FIRST, MOST_PART, QUOTA_LEASE, RETRY, Lender
from gw.store import Ask, Grant, MemoryLedger, Meter, Rest

DAY = Meter("q", 1000, calendar="day")
Away = Literal["local", "open", "closed"]


class Books(MemoryLedger):
    """A ledger that can be broken, and keeps a record."""

    def __init__(self, clock: Callable[[], float]) -> None:
        super().__init__(clock)
        self.broken = False
        self.asks: list[list[Ask]] = []
        self.rests: list[Rest] = []

    async def take(self, asks: list[Ask], lease: float) -> list[Grant]:
        if self.broken:
            raise GatewayError("no ledger")
        self.asks.append(asks)
        return await super().take(asks, lease)

    async def give_back(self, rests: list[Rest]) -> None:
        if self.broken:
            raise GatewayError("no ledger")
        self.rests += rests
        await super().give_back(rests)

    @property
    def asked(self) -> list[int]:
        """Units of every ask."""
        return [ask.units for asks in self.asks for ask in asks]


class Node:
    """A lender with its ledger, and what a worker would do. Work is run when `turn` is called; the minding of leases stands still meanwhile."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.segment = Segment(1, 1, 1, 1024)
        self.cells = Leases(self.segment)
        self.log: list[str] = []
        self.woken = 0
        self.work: list[Awaitable[Any]] = []
        self.books = Books(lambda: self.now)
        self.lender = Lender(self.segment, self._wake, self.work.append, lambda _level, event, **_fields: self.log.append(event), lambda: self.now, lambda: self.now)
        self.lender.use(self.books)

    def _wake(self) -> None:
        self.woken += 1

    def ask(self, key: str, want: int = 1, meter: Meter = DAY, away: Away = "local") -> None:
        self.lender.asked(Asked(meter, key, self.place(key), want, away))

    def place(self, key: str) -> bytes:
        return self.cells.key(key.encode())

    def take(self, key: str, cost: int = 1, meter: Meter = DAY, away: Away = "local") -> str:
        """As a worker: asks where it has to, and looks again once."""
        for _ in range(2):
            found = self.cells.take(self.place(key), cost, self.us)
            if found.asks:
                self.ask(key, cost, meter, away)
                self.turn()
            if found.verdict != "wait":
                break
        return found.verdict

    def turn(self) -> None:
        """Everything that was started but the minding, which a test does by hand."""
        for each in self.work:
            if "_work" in repr(each):
                asyncio.run(each)  # type: ignore[arg-type]
            else:
                each.close()  # type: ignore[attr-defined]
                self.lender._minding = False
        self.work.clear()

    def mind(self, seconds: float) -> None:
        """So much later, what has ended is closed."""
        self.now += seconds
        self.lender._due.sort()
        while self.lender._due and self.lender._due[0][0] <= self.now:
            until, place = self.lender._due.pop(0)
            if place in self.lender._leases and self.lender._leases[place].until == until:
                self.lender._close(place)
        asyncio.run(self.lender._return())

    @property
    def us(self) -> int:
        return int(self.now * 1_000_000)

    def counted(self, key: str) -> int:
        return sum(units for _, units in self.books._rows.read(DAY, key, 0))


@pytest.fixture
def node() -> Any:
    made = Node()
    yield made
    for each in made.work:
        each.close()  # type: ignore[attr-defined]


def test_asks_of_one_turn_are_one_call_and_those_of_one_key_one_ask(node: Node) -> None:
    for key, want in (("a", 1), ("b", 2), ("a", 3), ("a", 1)):
        node.ask(key, want)
    node.turn()
    assert [[(ask.key, ask.units) for ask in asks] for asks in node.books.asks] == [[("a", FIRST), ("b", FIRST)]]
    assert node.woken == 1
    assert node.cells.read(node.place("a"), node.us) == (FIRST, DAY.units - FIRST)


def test_a_busy_key_gets_more_each_time_up_to_its_part_and_a_slow_one_little(node: Node) -> None:
    for _ in range(400):
        node.now += 0.001
        assert node.take("busy") == "pass"
    assert node.books.asked[:3] == [8, 32, DAY.units // MOST_PART]
    assert max(node.books.asked) == DAY.units // MOST_PART
    before = len(node.books.asked)
    for _ in range(5):
        node.mind(60.0)
        assert node.take("slow") == "pass"
    assert node.books.asked[before:] == [8] * 5


def test_what_nobody_spent_goes_back_at_the_end_of_the_lease(node: Node) -> None:
    assert node.take("a") == "pass"
    assert node.counted("a") == FIRST
    node.mind(QUOTA_LEASE - 0.1)
    assert node.counted("a") == FIRST
    node.mind(0.2)
    assert node.counted("a") == 1
    assert node.cells.read(node.place("a"), node.us) == (0, DAY.units - 1)


def test_every_unit_is_spent_once_or_given_back_once(node: Node) -> None:
    passed = 0
    for number in range(3000):
        node.now += 0.05
        passed += node.take("a") == "pass"
        if number % 400 == 0:
            node.mind(11.0)
    assert passed == DAY.units
    asyncio.run(node.lender.end())
    assert node.counted("a") == DAY.units


def test_at_the_end_everything_goes_back(node: Node) -> None:
    for key in "abc":
        assert node.take(key) == "pass"
    asyncio.run(node.lender.end())
    assert [node.counted(key) for key in "abc"] == [1, 1, 1]


def test_a_key_that_has_nothing_left_is_refused_without_asking_and_told_when(node: Node) -> None:
    small = Meter("small", 1, calendar="day")
    assert [node.take("a", meter=small) for _ in range(3)] == ["pass", "refuse", "refuse"]
    asks = len(node.books.asks)
    refused = node.cells.take(node.place("a"), 1, node.us)
    assert refused.verdict == "refuse"
    assert abs(refused.retry_us / 1e6 - (86_400 - 1000)) < 1.1
    assert len(node.books.asks) == asks
    node.now += 31
    assert node.take("a", meter=small) == "refuse"
    assert len(node.books.asks) == asks + 1


def test_units_too_few_for_a_request_stay_for_cheaper_ones(node: Node) -> None:
    small = Meter("small", 10, calendar="day")
    assert [node.take("a", 4, small) for _ in range(3)] == ["pass", "pass", "refuse"]
    node.now += 1.1
    assert [node.take("a", 1, small) for _ in range(3)] == ["pass", "pass", "refuse"]


@pytest.mark.parametrize(("away", "expected"), [("local", ["pass"] * 5 + ["refuse"]), ("open", ["pass"] * 6), ("closed", ["away"] * 6)])
def test_without_its_ledger_a_limit_goes_on_as_it_says(node: Node, away: Away, expected: list[str]) -> None:
    small = Meter("small", 5, calendar="day")
    node.books.broken = True
    assert [node.take("a", 1, small, away) for _ in range(6)] == expected
    assert node.log == ["ledger-away"]
    assert (node.lender.figures.away, node.lender.figures.failures) == (True, 1)


def test_a_ledger_that_comes_back_is_asked_again_and_gets_what_waited(node: Node) -> None:
    assert node.take("a") == "pass"
    node.books.broken = True
    node.mind(QUOTA_LEASE + 0.1)
    assert node.counted("a") == FIRST
    assert node.take("b", away="closed") == "away"
    node.books.broken = False
    node.now += RETRY + 0.1
    assert node.take("b", away="closed") == "pass"
    assert node.log == ["ledger-away", "ledger-back"]
    node.mind(0.0)
    assert node.counted("a") == 1


def test_no_cell_for_a_lease_gives_its_units_back() -> None:
    node = Node()
    for number in range(2000):
        node.ask(f"k{number}")
    node.turn()
    asyncio.run(node.lender._return())
    there = [f"k{number}" for number in range(2000) if node.cells.read(node.place(f"k{number}"), node.us)[0]]
    assert 0 < len(there) < 1024
    assert sum(node.counted(f"k{number}") for number in range(2000)) == FIRST * len(there)


def test_without_cells_nothing_is_asked() -> None:
    lender = Lender(Segment(1, 1, 1, 0), lambda: None, lambda _work: None, lambda _level, _event, **_fields: None)
    lender.asked(Asked(DAY, "a", b"k" * 16, 1, "local"))
    assert repr(lender) == "<Lender None 0 leases>"


class Slow(Books):
    """A ledger that answers when it may."""

    def __init__(self, clock: Callable[[], float]) -> None:
        super().__init__(clock)
        self.may = asyncio.Event()

    async def take(self, asks: list[Ask], lease: float) -> list[Grant]:
        grants = await super().take(asks, lease)
        await self.may.wait()
        return grants

    async def give_back(self, rests: list[Rest]) -> None:
        await self.may.wait()
        await super().give_back(rests)


def scene(play: Callable[[Node, Slow], Awaitable[None]]) -> None:
    """On a loop that runs, with a ledger that is slow."""

    async def main() -> None:
        node = Node()
        node.lender._start = lambda work: node.work.append(asyncio.ensure_future(work))
        books = node.books = Slow(lambda: node.now)
        node.lender.use(books)
        await play(node, books)
        for each in node.work:
            each.cancel()  # type: ignore[attr-defined]
        await asyncio.gather(*node.work, return_exceptions=True)

    asyncio.run(main())


def test_what_is_being_asked_for_at_the_end_goes_back_too() -> None:
    async def play(node: Node, books: Slow) -> None:
        node.ask("a")
        await asyncio.sleep(0.01)
        assert node.counted("a") == FIRST
        end = asyncio.ensure_future(node.lender.end())
        await asyncio.sleep(0.01)
        assert not end.done()
        books.may.set()
        await end
        assert node.counted("a") == 0

    scene(play)


def test_a_grant_goes_back_to_the_ledger_it_came_from_though_another_is_in_use_by_then() -> None:
    async def play(node: Node, books: Slow) -> None:
        node.ask("a")
        await asyncio.sleep(0.01)
        other = Books(lambda: node.now)
        node.lender.use(other)
        books.may.set()
        await node.lender.end()
        assert [(rest.key, rest.units) for rest in books.rests] == [("a", FIRST)]
        assert other.rests == []

    scene(play)


def test_leases_end_on_time_while_the_ledger_is_slow_to_take_what_is_left_of_others() -> None:
    async def play(node: Node, books: Slow) -> None:
        books.may.set()
        for key in "ab":
            node.ask(key)
            await asyncio.sleep(0.01)
            node.now += 5.0
        books.may.clear()
        node.now += 0.1
        await asyncio.sleep(0.25)  # a look for leases that have ended
        assert list(node.lender._leases) == [node.place("b")]
        node.now += 5.0
        await asyncio.sleep(0.25)
        assert not node.lender._leases
        assert (node.counted("a"), node.counted("b")) == (FIRST, FIRST)
        books.may.set()
        await asyncio.sleep(0.25)
        assert (node.counted("a"), node.counted("b")) == (0, 0)

    scene(play)


def test_a_ledger_that_does_not_open_does_not_hold_up_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gw.server.leases.OPENING", 0.05)

    async def play(node: Node, books: Slow) -> None:
        await asyncio.wait_for(node.lender.begin(), 5)
        assert books.asks == [[]]
        assert node.log == []

    scene(play)
