"""A lease as plain numbers: what is answered to each take, and where every unit granted is."""

from __future__ import annotations

GRAIN = 4096  # us: times are rounded to it, those of refusals up and those of grants down
ZERO = 1_000_000  # us before the clock's zero, where the grains of cells begin
ASK = 250_000  # us that an answer to an ask is waited for


def down(us: int) -> int:
    return (us + ZERO) // GRAIN * GRAIN - ZERO


def up(us: int) -> int:
    return -(-(us + ZERO) // GRAIN) * GRAIN - ZERO


class Lease:
    """Of one key."""

    def __init__(self) -> None:
        self.until = 0
        self.units = 0  # that may be spent until then
        self.ended = 0  # that only the supervisor may take
        self.over = False  # there is no lease: one was asked for when the last had ended
        self.low = 0  # ask when fewer are left
        self.asked = False
        self.final = ""
        self.later = 0  # us from `until` to when there is something to be had

    def take(self, cost: int, now: int) -> tuple[str, bool, int, int]:
        """Verdict, whether to ask, units left, time to wait."""
        good = now < self.until
        if good and not self.final and self.units >= cost:
            self.units -= cost
            asks = self.units < self.low and not self.asked
            self.asked |= asks
            return "pass", asks, self.units, 0
        left = self.units if good else 0
        if good and self.final:
            return self.final, False, 0, self.until - now + self.later
        if good and self.asked:
            return "wait", False, left, 0
        if not good:
            self.until, self.ended, self.units, self.low, self.final, self.over = up(now + ASK), self.ended + self.units, 0, 0, "", True
        self.asked = True
        return "wait", True, left, 0

    def grant(self, units: int, low: int, until: int) -> int:
        """Units that were not spent before."""
        rest = self.close()
        self.until, self.units, self.low, self.asked, self.final, self.over = down(until), units, low, False, "", False
        return rest

    def refuse(self, want: int, final: str, until: int, retry: int, now: int) -> int:
        """As grant; with `want` units left nothing is refused yet."""
        if now < self.until and self.units >= want:
            self.asked, self.low = False, 0
            return 0
        rest = self.close()
        self.until, self.final, self.over = up(until), final, False
        self.later = max(0, retry - (self.until - now)) // 1_000_000 * 1_000_000
        return rest

    def give_back(self, cost: int, now: int) -> bool:
        """Whether they are there again."""
        if now >= self.until or self.final or self.over:
            return False
        self.units += cost
        return True

    def close(self) -> int:
        """Units that were not spent."""
        rest, self.units, self.ended = self.units + self.ended, 0, 0
        return rest
