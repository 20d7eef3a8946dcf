"""Smooth weighted round robin and the rule of last resort, as slow and plain as they come."""

from __future__ import annotations

from collections.abc import Collection, Sequence


class RoundRobin:
    def __init__(self, weights: Sequence[int]) -> None:
        self.weights = list(weights)
        self.credit = [0] * len(weights)

    def pick(self, down_until: Sequence[int], now: int, tried: Collection[int]) -> int:
        untried = [i for i, weight in enumerate(self.weights) if weight and i not in tried]
        up = [i for i in untried if down_until[i] <= now]
        if not up:
            return min(untried, key=lambda i: down_until[i], default=-1)
        if len(self.weights) == 1:
            return 0
        for i in up:
            self.credit[i] += self.weights[i]
        best = max(up, key=lambda i: self.credit[i])
        self.credit[best] -= sum(self.weights[i] for i in up)
        return best
