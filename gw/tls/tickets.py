"""Keys of session tickets: one set for all workers, rotated."""

from __future__ import annotations

import os
from collections.abc import Callable

from gw._fast.tls import KEY_SIZE

PERIOD = 60 * 60.0  # seconds one key encrypts; a stolen key opens no more than this much TLS 1.2 traffic
PREVIOUS = 2  # keys kept to decrypt: OpenSSL's tickets live two hours


class TicketKeys:
    """The key set, owned by the supervisor. The next key is handed out one period ahead, so that no worker meets a ticket whose key it has not got.

    `clock` gives monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float], period: float = PERIOD) -> None:
        self._clock = clock
        self._period = period
        self._since = clock()
        self._next = os.urandom(KEY_SIZE)
        self._keys = [os.urandom(KEY_SIZE)]

    def __repr__(self) -> str:
        return f"<TicketKeys {len(self._keys)} used, next in {self.due_in():.0f} s>"

    def all(self) -> list[bytes]:
        """For ServerContext: the current one first, then the next, then the previous ones."""
        return [self._keys[0], self._next, *self._keys[1:]]

    def due_in(self) -> float:
        """Seconds until `rotate` has something to do; 0 when it is late."""
        return max(0.0, self._since + self._period - self._clock())

    def rotate(self) -> bool:
        """Move on when the period is over; True when `all` changed and workers must be told. After a long sleep nothing old stays."""
        turns = int((self._clock() - self._since) // self._period)
        for _ in range(min(turns, PREVIOUS + 2)):
            self._keys = [self._next, *self._keys][: PREVIOUS + 1]
            self._next = os.urandom(KEY_SIZE)
        self._since += turns * self._period
        return turns > 0
