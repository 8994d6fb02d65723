# managed: part of the template; modelctx updates may rewrite it. Your code lives in custom/.
"""Limits on every call: size and nesting of what goes in and out, rate, calls in flight."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

R = TypeVar("R")

# Python refuses to turn an integer of more than 4,300 digits into text (CVE-2020-10735).
_MAX_INT_BITS = 14_000

# Callers times names. Beyond it the bucket unused for longest is forgotten.
_MAX_BUCKETS = 4096


def excess(value: object, max_bytes: int, max_depth: int) -> str | None:
    """Say what is wrong with the size or shape of a JSON value; None when nothing is.

    One walk, level by level, without recursion: nesting cannot exhaust the stack, and the walk
    stops at the first excess. Bytes are those of the UTF-8 text, without escapes and white space.
    A plain value is one level, an object of plain values two.

    A value that JSON cannot carry is reported too (RFC 8259, sections 6 and 8.1): a lone
    surrogate, NaN or infinity, an integer too long to print, a type of Python's own. Left alone,
    it would fail inside the transport, where it costs the connection and not only the call.
    """
    try:
        return _walk(value, max_bytes, max_depth)
    except UnicodeEncodeError:
        return "has text that is not valid Unicode"
    except TypeError:
        return "has a name that is not text"


def _walk(value: object, max_bytes: int, max_depth: int) -> str | None:
    size = 0
    level: list[Any] = [value]
    for _ in range(max_depth):
        below: list[Any] = []
        for item in level:
            kind: type[object] = type(item)
            if kind is str:
                size += len(item) if item.isascii() else len(item.encode())
            elif kind is dict:
                names = "".join(item)
                size += 4 * len(item) + (len(names) if names.isascii() else len(names.encode()))
                below += item.values()
            elif kind is list:
                size += len(item)
                below += item
            elif kind is int:
                if item.bit_length() > _MAX_INT_BITS:
                    return "has a number with more than 4,000 digits"
                size += 1 + item.bit_length() // 3
            elif kind is float:
                if not math.isfinite(item):
                    return "has a number that is not finite"
                size += 8
            elif item is not None and kind is not bool:
                return "has a value that JSON does not have"
            if size > max_bytes:
                return f"is larger than {max_bytes} bytes"
        if not below:
            return None
        level = below
    return f"is nested deeper than {max_depth} levels"


class Buckets:
    """One token bucket per key: ``burst`` calls at once, refilled at ``rate`` a second.

    At most 4,096 keys are remembered; a key forgotten starts again with a full bucket.
    """

    def __init__(
        self, rate: float, burst: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._rate = rate
        self._burst = burst
        self._clock = clock
        self._buckets: OrderedDict[Hashable, tuple[float, float]] = OrderedDict()

    def take(self, key: Hashable) -> float:
        """Take a token. Returns 0.0, or the seconds until there is one to take."""
        now = self._clock()
        tokens, filled = self._buckets.get(key, (float(self._burst), now))
        tokens = min(self._burst, tokens + (now - filled) * self._rate)
        taken = tokens >= 1
        self._buckets[key] = (tokens - 1 if taken else tokens, now)
        self._buckets.move_to_end(key)
        if len(self._buckets) > _MAX_BUCKETS:
            self._buckets.popitem(last=False)
        return 0.0 if taken else (1 - tokens) / self._rate


class InFlight:
    """Calls that run now, and threads that still work for a call.

    A thread cannot be stopped: after a timeout it goes on although its call has been answered.
    It counts until it ends, so that calls that hang cannot pile up threads.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._calls = 0
        self._threads: set[object] = set()

    def enter(self) -> bool:
        """Count a call in. False, and nothing counted, when the limit is reached."""
        if max(self._calls, len(self._threads)) >= self._limit:
            return False
        self._calls += 1
        return True

    def leave(self) -> None:
        """Count a call out."""
        self._calls -= 1

    def in_thread(self, work: Callable[[], R]) -> R:
        """Run ``work`` and count this thread while it does."""
        ticket = object()
        self._threads.add(ticket)
        try:
            return work()
        finally:
            self._threads.discard(ticket)
