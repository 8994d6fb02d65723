# managed: part of the template; modelctx updates may rewrite it. Your code lives in custom/.
"""Keeps a call from running for ever, the server from waiting, and two calls from each other."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Hashable
from contextlib import ExitStack, contextmanager
from typing import TypeVar

import anyio.to_thread
from anyio import CapacityLimiter

from ..errors import Refused

# A thread that waits for a disk cannot be stopped, only be left behind. So walks, which may take
# long, have threads of their own, and there is an end to how many may be left behind.
_SHORT_THREADS = 8
_LONG_THREADS = 4
_ALL_THREADS = 64
_LOCKS = 64

_Result = TypeVar("_Result")


class Deadline:
    """The moment at which the work of one call stops.

    Python cannot stop a thread from outside. So whatever loops over files asks here at every
    step, and a call that was cancelled or timed out ends a moment later.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._cancelled = False
        self.restart()

    def restart(self) -> None:
        """Count from now on."""
        self._at = time.monotonic() + self._seconds

    def cancel(self) -> None:
        """Let the work stop at its next step: nobody waits for it any more."""
        self._cancelled = True

    def passed(self) -> bool:
        """Say whether it is time to stop."""
        return self._cancelled or time.monotonic() >= self._at

    def left(self) -> float:
        """Return the seconds that are left, never less than 0."""
        return 0.0 if self._cancelled else max(0.0, self._at - time.monotonic())

    def check(self) -> None:
        """Raise ``timeout`` when it is time to stop."""
        if self.passed():
            raise Refused("timeout", "this took too long and was stopped; ask for less at once")


class Workers:
    """Runs blocking work in threads, so that the server goes on answering.

    Args:
        seconds: what a piece of work has until its deadline, from when its thread begins.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._short = CapacityLimiter(_SHORT_THREADS)
        self._long = CapacityLimiter(_LONG_THREADS)
        self._running: set[Deadline] = set()
        self._lock = threading.Lock()

    async def run(self, work: Callable[[Deadline], _Result], *, long: bool = False) -> _Result:
        """Run one piece of work and return what it returns.

        Args:
            work: gets its deadline.
            long: whether it walks through folders.

        Raises:
            Refused: ``timeout`` when too many threads hang on a disk that does not answer.
        """
        deadline = Deadline(self._seconds)

        def begin() -> _Result:
            self._begin(deadline)
            try:
                return work(deadline)
            finally:
                self._end(deadline)

        try:
            return await anyio.to_thread.run_sync(
                begin, abandon_on_cancel=True, limiter=self._long if long else self._short
            )
        finally:
            deadline.cancel()

    def stop(self) -> bool:
        """Let everything stop soon, and say whether nothing is running any more."""
        with self._lock:
            for deadline in self._running:
                deadline.cancel()
            return not self._running

    def _begin(self, deadline: Deadline) -> None:
        with self._lock:
            if len(self._running) >= _ALL_THREADS:
                raise Refused("timeout", "the disk does not answer; try again later")
            self._running.add(deadline)
        deadline.restart()

    def _end(self, deadline: Deadline) -> None:
        with self._lock:
            self._running.discard(deadline)


class Locks:
    """One writer at a time for each file.

    A fixed number of locks is shared by all files, so nothing grows with the number of files.
    Two files that share a lock only wait for each other. Locks are always taken in the same
    order, so nobody waits in a circle.
    """

    def __init__(self) -> None:
        self._locks = [threading.Lock() for _ in range(_LOCKS)]

    @contextmanager
    def hold(self, deadline: Deadline, *keys: Hashable) -> Generator[None]:
        """Hold the locks of these files; raises ``timeout`` when that takes too long."""
        with self._hold(deadline, {hash(key) % _LOCKS for key in keys}):
            yield

    @contextmanager
    def hold_all(self, deadline: Deadline) -> Generator[None]:
        """Keep every writer out, as a change to a whole folder has to."""
        with self._hold(deadline, set(range(_LOCKS))):
            yield

    @contextmanager
    def _hold(self, deadline: Deadline, numbers: set[int]) -> Generator[None]:
        with ExitStack() as held:
            for number in sorted(numbers):
                if not self._locks[number].acquire(timeout=deadline.left()):
                    raise Refused("timeout", "another call is changing this file; try again")
                held.callback(self._locks[number].release)
            yield
