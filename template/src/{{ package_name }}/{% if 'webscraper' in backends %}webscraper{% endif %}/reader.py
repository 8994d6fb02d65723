# managed: part of the template; modelctx updates may rewrite it. Your code lives in custom/.
"""The server's side of the processes that convert pages: how many, how long, and what if one hangs.

A task has a worker for itself. One whose task took too long or was cancelled is killed, since a
parser cannot be interrupted, and replaced.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import secrets
import site
import socket
import subprocess
import sys
from dataclasses import dataclass
from typing import Any, Literal

import anyio

from ..errors import Refused
from ..prefix import PACKAGE
from .reader_worker import HEADER_BYTES, TOO_HEAVY, pack, pack_json

log = logging.getLogger(__name__)

_START = 10.0  # seconds for Python to start, on a busy machine
_AT_ONCE = 256 * 1024  # bytes; more is read as JSON in a thread
_MOST_ANSWER = 32 * 1024 * 1024  # bytes of an answer
_DYING = 2.0  # seconds that a killed process is waited for

_UNAVAILABLE = "pages cannot be converted now; try again later"


@dataclass(frozen=True)
class Task:
    """A page, and what is wanted of it.

    Args:
        body: as received, without compression.
        content_type: value of the header, may be empty.
        url: of the page, for its relative links.
        want: ``content`` as Markdown, ``raw`` text, ``links`` or ``info``.
        selector: CSS; only what matches, for ``content`` and ``links``.
    """

    body: bytes
    content_type: str
    url: str
    want: Literal["content", "raw", "links", "info"]
    selector: str = ""


class _Gone(Exception):
    """The worker has ended without an answer, or its answer is too long."""


class Reader:
    """Converts pages, each in a process that can be killed; for what it returns see `convert`.

    Args:
        size: processes at most. They are started when they are first needed, and kept.
        timeout: seconds for one page.
        max_memory: bytes that a process may allocate.
    """

    def __init__(
        self, *, size: int = 2, timeout: float = 10.0, max_memory: int = 512 * 1024 * 1024
    ) -> None:
        self._timeout = timeout
        self._setup = pack_json({"timeout": timeout, "max_memory": max_memory})
        self._slots = anyio.Semaphore(size, max_value=size)
        self._idle: list[_Worker] = []
        self._all: set[_Worker] = set()
        self._closed = False

    def start(self) -> None:
        """Start a process, so that the first page need not wait for it."""
        if not self._idle and not self._closed:
            self._idle.append(self._new())

    async def read(self, task: Task) -> dict[str, Any]:
        """Convert a page.

        Raises:
            Refused: ``too_large`` for what the parsers should not be given or cannot hold,
                ``timeout``, ``invalid_arguments`` for a selector, ``not_found`` when it matches
                nothing, ``busy``, ``unavailable``.
        """
        fields = {"content_type": task.content_type, "url": task.url, "want": task.want}
        message = pack_json({**fields, "selector": task.selector})
        try:
            with anyio.fail_after(self._timeout):
                await self._slots.acquire()
        except TimeoutError:
            raise Refused("busy", "other pages are being converted; try again later") from None
        try:
            return _checked(await self._ask([message, pack(task.body)]))
        finally:
            self._slots.release()

    async def _ask(self, messages: list[bytes]) -> dict[str, Any]:
        """Give the task to a worker; one that died while it was idle is replaced."""
        while True:
            used = bool(self._idle)
            worker = self._idle.pop() if used else self._new()
            if used and worker.has_ended():
                await self._stop(worker)
                continue
            try:
                await worker.greeting()
                answer = await worker.ask(messages, self._timeout)
            except BaseException as error:
                with anyio.CancelScope(shield=True):
                    await self._stop(worker)
                    self.start()
                if isinstance(error, TimeoutError):
                    why = f"the page could not be converted within {self._timeout:g} s"
                    raise Refused("timeout", why) from None
                if not isinstance(error, _Gone):
                    raise
                return worker.epitaph()
            self._idle.append(worker)
            return answer

    def _new(self) -> _Worker:
        if self._closed:
            raise Refused("unavailable", _UNAVAILABLE)
        worker = _Worker(self._setup)
        self._all.add(worker)
        return worker

    async def _stop(self, worker: _Worker) -> None:
        self._all.discard(worker)
        await worker.kill()

    def close(self) -> None:
        """End all processes. Safe to call twice."""
        self._closed = True
        self._idle.clear()
        while self._all:
            self._all.pop().end()


class _Worker:
    """One process and the socket that is its standard input and output."""

    def __init__(self, setup: bytes) -> None:
        self._socket, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603
                [sys.executable, "-P", "-m", f"{PACKAGE}.webscraper.reader_worker"],
                env=_environment(), stdin=theirs.fileno(), stdout=theirs.fileno(),
                stderr=subprocess.DEVNULL,
            )  # fmt: skip
        self._socket.setblocking(False)
        self._setup = setup
        self._greeted = False

    def has_ended(self) -> bool:
        """Return whether the process is gone."""
        return self._process.poll() is not None

    def epitaph(self) -> dict[str, str]:
        """Return the answer for a task at which the process has ended."""
        if self._greeted:
            return {"refused": "too_large", "message": TOO_HEAVY}
        return {"failed": f"the worker did not start, exit {self._process.returncode}"}

    async def greeting(self) -> None:
        """Wait until the process is ready; see `ask`."""
        if not self._greeted:
            try:
                await self.ask([self._setup], _START)
            except TimeoutError:
                raise _Gone from None
            self._greeted = True

    async def ask(self, messages: list[bytes], seconds: float) -> dict[str, Any]:
        """Send messages and return the answer.

        Raises:
            TimeoutError: there is none after ``seconds``.
            _Gone: the worker has ended, or its answer is too long.
        """
        loop = asyncio.get_running_loop()
        try:
            with anyio.fail_after(seconds):
                for each in messages:
                    await loop.sock_sendall(self._socket, each)
                header = await self._receive(HEADER_BYTES)
                answer = await self._receive(int.from_bytes(header, "big"))
                if len(answer) <= _AT_ONCE:
                    read = json.loads(answer)
                else:
                    read = await asyncio.to_thread(json.loads, answer)
        except OSError as error:
            if isinstance(error, TimeoutError):
                raise
            raise _Gone from error
        return dict(read)

    async def _receive(self, size: int) -> bytearray:
        if size > _MOST_ANSWER:
            raise _Gone
        received = bytearray()
        while len(received) < size:
            part = await asyncio.get_running_loop().sock_recv(
                self._socket, min(size - len(received), _AT_ONCE)
            )
            if not part:
                raise _Gone
            received += part
        return received

    async def kill(self) -> None:
        """Kill the process and see that it has ended."""
        self._process.kill()
        with contextlib.suppress(TimeoutError), anyio.fail_after(_DYING):
            while self._process.poll() is None:  # noqa: ASYNC110
                await anyio.sleep(0.005)
        self._socket.close()

    def end(self) -> None:
        """Kill the process and wait for it."""
        self._process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_DYING)
        self._socket.close()


def _checked(answer: dict[str, Any]) -> dict[str, Any]:
    """Return the result, or say what went wrong: the detail is for the log alone."""
    if "result" in answer:
        result: dict[str, Any] = answer["result"]
        return result
    if "refused" in answer:
        raise Refused(answer["refused"], answer["message"])
    reference = secrets.token_hex(4)
    log.error("page reader %s: %s", reference, answer["failed"])
    raise Refused("unavailable", f"the page could not be converted (reference {reference})")


def _environment() -> dict[str, str]:
    """Return the worker's environment: nothing but what Python starts with."""
    kept = {"HOME": "/nonexistent", "LC_ALL": "C.UTF-8"}
    if site.ENABLE_USER_SITE:
        kept["PYTHONUSERBASE"] = site.getuserbase()
    for name in ("SYSTEMROOT", "PYTHONDONTWRITEBYTECODE"):
        if name in os.environ:
            kept[name] = os.environ[name]
    return kept
