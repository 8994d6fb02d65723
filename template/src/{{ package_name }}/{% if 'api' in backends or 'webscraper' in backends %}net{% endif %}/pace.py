# managed: part of the template; modelctx updates may rewrite it. Your code lives in custom/.
"""How often a server of somebody else's is asked: a rate for each, kept by all calls together."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import anyio

from ..errors import Refused

# Keys that are remembered. Those that are idle are forgotten; busy ones never are.
_MAX_KEYS = 4096


class Pace:
    """Lets requests of a key go one after another (GCRA, as in ITU-T I.371).

    Args:
        rate: requests a second, of each key.
        burst: requests that may go at once before the rate counts.
        clock: seconds that only grow.
    """

    def __init__(
        self, rate: float, burst: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._interval = 1 / rate
        self._burst = burst
        self._clock = clock
        self._next: dict[str, float] = {}  # when the next request would be on time
        self._held: dict[str, float] = {}  # before when there may be none

    async def wait(self, key: str, *, patience: float, interval: float = 0) -> None:
        """Wait for the key's turn.

        Args:
            patience: seconds that it may take.
            interval: seconds from one request to the next, where that is more than the rate asks
                for; then there is no burst either.

        Raises:
            Refused: ``busy``, at once, when it would take longer.
        """
        delay = self._reserve(key, patience, interval)
        if delay > 0:
            await anyio.sleep(delay)

    def _reserve(self, key: str, patience: float, interval: float) -> float:
        """Return in how many seconds the request may go; its place in the row is then taken."""
        now = self._clock()
        step = max(self._interval, interval)
        ahead = 0.0 if interval > self._interval else (self._burst - 1) * self._interval
        due = max(self._next.get(key, now), now)
        delay = max(due - ahead - now, self._held.get(key, now) - now, 0.0)
        if delay > patience:
            seconds = math.ceil(delay)
            raise Refused("busy", f"this server is asked slowly; try again in {seconds} s")
        self._make_room(now, key)
        # What was held back begins a new row when it may go.
        self._next[key] = max(due, now + delay if ahead == 0 else due) + step
        return delay

    def hold(self, key: str, seconds: float) -> None:
        """Let no request of a key go for some seconds: it has asked for that (Retry-After)."""
        now = self._clock()
        self._make_room(now, key)
        self._next.setdefault(key, now)
        self._held[key] = max(self._held.get(key, now), now + seconds)

    def _make_room(self, now: float, key: str) -> None:
        if len(self._next) < _MAX_KEYS or key in self._next:
            return
        for other, due in list(self._next.items()):
            if due <= now and self._held.get(other, now) <= now:
                del self._next[other]
                self._held.pop(other, None)
        if len(self._next) >= _MAX_KEYS:
            raise Refused("busy", "too many servers are asked at once; try again later")
