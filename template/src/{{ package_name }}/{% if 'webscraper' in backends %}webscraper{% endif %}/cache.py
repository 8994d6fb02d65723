# managed: part of the template; modelctx updates may rewrite it. Your code lives in custom/.
"""A cache that is bounded by bytes: what was not used for longest goes first."""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, TypeVar

_V = TypeVar("_V")
_MOST_ENTRIES = 2000


class Cache(Generic[_V]):
    """Keeps values by key.

    Args:
        max_bytes: of all values together; 0 keeps nothing.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._held: OrderedDict[str, tuple[_V, int]] = OrderedDict()
        self._bytes = 0

    def get(self, key: str) -> _V | None:
        """Return a value; None where there is none."""
        held = self._held.get(key)
        if held is None:
            return None
        self._held.move_to_end(key)
        return held[0]

    def put(self, key: str, value: _V, size: int) -> None:
        """Keep a value in the place of the one before.

        Args:
            size: bytes that it takes; one that is larger than the whole cache is not kept.
        """
        self.drop(key)
        if size > self._max_bytes:
            return
        self._held[key] = (value, size)
        self._bytes += size
        while self._bytes > self._max_bytes or len(self._held) > _MOST_ENTRIES:
            self.drop(next(iter(self._held)))

    def drop(self, key: str) -> None:
        """Forget a value, if there is one."""
        _, size = self._held.pop(key, (None, 0))
        self._bytes -= size
