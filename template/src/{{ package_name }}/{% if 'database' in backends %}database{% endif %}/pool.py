# managed: part of the template; modelctx updates may rewrite it. Your code lives in custom/.
"""The server's side of the worker processes: how many, how long, and what happens when one hangs.

Each worker holds one connection. A job has one for itself; when there is none it waits, up to a
limit. A worker whose job was cancelled or took too long is told to stop the statement in the
database, then killed if it must be, and never used again.
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
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import anyio

from ..errors import ConfigError, Refused
from ..prefix import PACKAGE, PREFIX
from .job import HEADER_BYTES, Config, Job, Statement, Value, job_message, late, pack

log = logging.getLogger(__name__)

# A worker ends a job by itself when its time is over; after so many seconds more it is made to.
_GRACE = 0.5
# Seconds that a worker has to stop a statement in the database before it is killed.
_PATIENCE = 3.0
_START = 10.0  # seconds for Python to start, on a busy machine, besides the connecting
_AT_ONCE = 256 * 1024  # bytes
_OVERHEAD = 1024 * 1024  # bytes of an answer besides its rows

UNAVAILABLE = "the database cannot be reached now; try again later"
_UNSURE = "the statement ended early; look whether it has taken effect before you repeat it"
_ENDED = "the statement could not be finished; it may need more memory than it may have"


@dataclass(frozen=True)
class Answer:
    """The result of one statement; see `rows.Rows` for the attributes."""

    columns: list[dict[str, str]]
    rows: list[list[Any]]
    truncated_by: str | None
    changed: int | None


class _Gone(Exception):
    """The worker has ended without an answer."""


class Pool:
    """Runs jobs, each in a worker of its own.

    Args:
        config: for every worker.
        size: workers, thus connections to the database, at most.
        wait: seconds that a job waits for one.
    """

    def __init__(self, config: Config, *, size: int, wait: float) -> None:
        self._config = config
        self._wait = wait
        self._slots = anyio.Semaphore(size, max_value=size)
        self._idle: list[_Worker] = []
        self._all: set[_Worker] = set()
        self._closed = False

    def probe(
        self, trials: Mapping[str, tuple[str, Sequence[Value]]]
    ) -> tuple[str, Mapping[str, str]]:
        """Connect once, before anything is served.

        Args:
            trials: statements by name, to be planned and not run.

        Returns:
            In a few words, what it is connected to; and what is wrong with which of the trials.

        Raises:
            ConfigError: the database cannot be reached or is not what the settings say. In one
                line, without credentials.
        """
        tried = replace(self._config, trials=trials)
        seconds = self._config.connect_timeout + _START
        if trials:
            seconds += self._config.statement_timeout
        try:
            # Its input ends at once, so it greets and exits. Those that serve are started later,
            # when Landlock confines the server.
            done = subprocess.run(  # noqa: S603
                _command(), env=_environment(), input=pack(asdict(tried)), timeout=seconds,
                stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False,
            )  # fmt: skip
            greeting = json.loads(done.stdout[HEADER_BYTES:])
        except subprocess.TimeoutExpired:
            greeting = {"lost": f"no answer within {self._config.connect_timeout:g} s"}
        except ValueError:
            raise ConfigError(
                f"{PREFIX}DATABASE__MAX_MEMORY: the worker process ended without a word; it may be "
                f"too little, or see what `{' '.join(_command())} </dev/null` says"
            ) from None
        if "unsuitable" in greeting:
            raise ConfigError(f"{PREFIX}{greeting['setting']}: {greeting['unsuitable']}")
        if "lost" in greeting:
            raise ConfigError(f"{PREFIX}DATABASE__URL: cannot be reached: {greeting['lost']}")
        return str(greeting["ready"]), greeting["wrong"]

    async def run(self, statements: Sequence[Statement], *, rows: int, size: int) -> list[Answer]:
        """Run statements that see one state of the data.

        Args:
            rows: rows of each result, at most.
            size: bytes of each result, at most.

        Raises:
            Refused: ``sql`` with the engine's own words, ``denied``, ``timeout``, ``too_large``,
                ``busy`` when no connection became free, ``unavailable``.
        """
        job = Job(statements=statements, max_rows=rows, max_bytes=size)
        message = job_message(job)
        try:
            self._slots.acquire_nowait()
        except anyio.WouldBlock:
            await self._wait_for_slot()
        try:
            answer = await self._ask(message, len(statements) * size)
        finally:
            self._slots.release()
        return [Answer(**each) for each in _checked(answer)]

    async def _wait_for_slot(self) -> None:
        try:
            with anyio.fail_after(self._wait):
                await self._slots.acquire()
        except TimeoutError:
            raise Refused(
                "busy", f"all connections are in use, for {self._wait:g} s by now; try again later"
            ) from None

    async def _ask(self, message: bytes, size: int) -> Mapping[str, Any]:
        """Give the job to a worker; one that died while it was idle is replaced once."""
        while True:
            used = bool(self._idle)
            worker = self._idle.pop() if used else self._start()
            try:
                if not used:
                    greeting = await self._greeting(worker)
                    if greeting is not None:
                        return greeting
                answer: Mapping[str, Any] = await worker.ask(
                    message, self._seconds(), size + _OVERHEAD
                )
            except BaseException as error:
                with anyio.CancelScope(shield=True):
                    await self._stop(worker)
                    await self._recover()
                if isinstance(error, TimeoutError):
                    raise late(self._config.statement_timeout) from None
                if not isinstance(error, _Gone):
                    raise
                if used and not self._config.write and not worker.asked_for_long:
                    continue
                code, why = ("error", _UNSURE) if self._config.write else ("too_large", _ENDED)
                return {"refused": code, "message": why, "detail": "the worker ended"}
            if "lost" in answer:
                await self._stop(worker)
            else:
                self._idle.append(worker)
            return answer

    async def _greeting(self, worker: _Worker) -> Mapping[str, Any] | None:
        """Wait for a new worker to connect. What it says instead of that is the answer."""
        try:
            greeting = await worker.read(self._config.connect_timeout + _START, _OVERHEAD)
        except (TimeoutError, _Gone):  # neither may take the place of what `_recover` comes after
            greeting = {"lost": "no answer"}
        if "ready" in greeting:
            return None
        await self._stop(worker)
        return {"lost": greeting.get("lost") or greeting.get("unsuitable", "")}

    async def _recover(self) -> None:
        """Open the database for writing again, where a writer was stopped.

        SQLite takes back what a killed writer left half done when somebody who may write opens
        the file; until then nobody could read it.
        """
        if self._config.write and not self._closed:
            worker = self._start()
            if await self._greeting(worker) is None:
                self._idle.append(worker)

    def _seconds(self) -> float:
        # A database that was restarted is connected to anew in the job's time.
        return max(self._config.statement_timeout, self._config.connect_timeout) + _GRACE

    def _start(self) -> _Worker:
        if self._closed:
            raise Refused("unavailable", UNAVAILABLE)
        worker = _Worker(self._config)
        self._all.add(worker)
        return worker

    async def _stop(self, worker: _Worker) -> None:
        self._all.discard(worker)
        await worker.stop()

    def close(self) -> None:
        """End all workers, and what they run in the database. Safe to call twice."""
        self._closed = True
        self._idle.clear()
        for worker in self._all:
            worker.hang_up()
        end = time.monotonic() + _GRACE
        while self._all:
            self._all.pop().end(end)


class _Worker:
    """One process and the socket that is its standard input and output."""

    def __init__(self, config: Config) -> None:
        self._socket, theirs = socket.socketpair()
        with theirs:
            # Its standard error is nobody's: a driver's words about a connection may hold secrets.
            self._process = subprocess.Popen(  # noqa: S603
                _command(), env=_environment(), stdin=theirs.fileno(), stdout=theirs.fileno(),
                stderr=subprocess.DEVNULL,
            )  # fmt: skip
        self._socket.setblocking(False)
        self._to_send = pack(asdict(config))
        self._since = time.monotonic()

    @property
    def asked_for_long(self) -> bool:
        """Whether the last job ran for a while: then the job itself has ended the worker."""
        return time.monotonic() - self._since > _GRACE

    async def ask(self, message: bytes, seconds: float, size: int) -> Any:
        """Send a job and return the answer.

        Raises:
            TimeoutError: there is none after ``seconds``.
            _Gone: the worker has ended, or answers more than ``size`` bytes.
        """
        self._to_send += message
        self._since = time.monotonic()
        return await self.read(seconds, size)

    async def read(self, seconds: float, size: int) -> Any:
        """Return the next message; see `ask`."""
        loop = asyncio.get_running_loop()
        try:
            with anyio.fail_after(seconds):
                sent, self._to_send = self._to_send, b""
                if sent:
                    await loop.sock_sendall(self._socket, sent)
                message = bytearray()
                length = HEADER_BYTES
                while len(message) < length:
                    part = await loop.sock_recv(self._socket, _AT_ONCE)
                    if not part:
                        raise _Gone
                    message += part
                    length = HEADER_BYTES + int.from_bytes(message[:HEADER_BYTES], "big")
                    if length > size:
                        raise _Gone
                return json.loads(message[HEADER_BYTES:])
        except OSError as error:
            if isinstance(error, TimeoutError):
                raise
            raise _Gone from error

    async def stop(self) -> None:
        """Let the worker stop its statement in the database, then see that it has ended."""
        self.hang_up()
        end = time.monotonic() + _PATIENCE
        while self._process.poll() is None and time.monotonic() < end:  # noqa: ASYNC110
            await anyio.sleep(0.01)
        self.end(0)

    def hang_up(self) -> None:
        """Tell the worker to stop what it does in the database, and to exit."""
        with contextlib.suppress(OSError):  # it has ended already
            self._socket.shutdown(socket.SHUT_RDWR)

    def end(self, by: float) -> None:
        """Wait for the worker's exit until a time of the monotonic clock, then kill it."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(max(0, by - time.monotonic()))
        self._process.kill()
        self._process.wait()
        self._socket.close()


def _checked(answer: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the results, or say what went wrong: the detail is for the log alone."""
    if "results" in answer:
        results: list[dict[str, Any]] = answer["results"]
        return results
    detail = answer.get("lost") or answer.get("detail")
    code, message = answer.get("refused", "unavailable"), answer.get("message", UNAVAILABLE)
    if detail:
        reference = secrets.token_hex(4)
        log.error("database %s: %s: %s", reference, code, detail)
        message = f"{message} (reference {reference})"
    raise Refused(code, message)


def _command() -> list[str]:
    return [sys.executable, "-P", "-m", f"{PACKAGE}.database.worker"]


def _environment() -> dict[str, str]:
    """Return the worker's environment: nothing that a driver would take for a setting.

    A driver looks for passwords and certificates in the home, unasked.
    """
    kept = {"HOME": "/nonexistent", "LC_ALL": "C.UTF-8"}
    if site.ENABLE_USER_SITE:
        kept["PYTHONUSERBASE"] = site.getuserbase()
    for name in ("SYSTEMROOT", "PYTHONDONTWRITEBYTECODE"):
        if name in os.environ:
            kept[name] = os.environ[name]
    return kept
