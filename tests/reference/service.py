"""A service that does `servers` requests at once and queues the rest, in simulated time, and callers that come whether it can or not."""

from __future__ import annotations

import heapq
import random
from collections import Counter
from collections.abc import Iterator

from gw._fast.shed import Shedder


class Simulation:
    """`offered` maps a priority to its requests a second. What is measured since the last `reset` stands in `came`, `shed` and `waits`."""

    def __init__(self, shedder: Shedder, servers: int, service_us: int, offered: dict[str, float], seed: int) -> None:
        self.shedder = shedder
        self.service_us = service_us
        self.free = [0] * servers
        self.random = random.Random(seed)
        self.now = 1_000_000
        self.offered = offered
        self.open: list[tuple[int, int]] = []  # when it will be answered, when it came
        self.reset()

    def reset(self) -> None:
        self.came: Counter[str] = Counter()
        self.shed: Counter[str] = Counter()
        self.waits: list[int] = []
        self.highest = 0.0

    def run(self, seconds: float) -> None:
        end = self.now + round(seconds * 1_000_000)
        for at, priority in self._arrivals(end):
            self._answer(at)
            self.now = at
            self.came[priority] += 1
            if self.shedder.enter(priority, at):
                self._serve(at)
            else:
                self.shed[priority] += 1
            self.highest = max(self.highest, self.shedder.limit)

    def _arrivals(self, end: int) -> Iterator[tuple[int, str]]:
        at, total = self.now, sum(self.offered.values())
        while (at := at + 1 + round(self.random.expovariate(total) * 1_000_000)) < end:
            yield at, self.random.choices(list(self.offered), list(self.offered.values()))[0]

    def _serve(self, at: int) -> None:
        start = max(at, heapq.heappop(self.free))
        done = start + round(self.service_us * self.random.uniform(0.8, 1.2))
        heapq.heappush(self.free, done)
        heapq.heappush(self.open, (done, at))

    def _answer(self, now: int) -> None:
        while self.open and self.open[0][0] <= now:
            done, came = heapq.heappop(self.open)
            self.waits.append(done - came)
            self.shedder.leave(came, done - came, done)

    @property
    def latency(self) -> float:
        """Mean, in us."""
        return sum(self.waits) / len(self.waits)

    def share_shed(self, priority: str) -> float:
        return self.shed[priority] / self.came[priority]
