# managed: part of the template; modelctx updates may rewrite it. Your code lives in custom/.
"""The stdio transport: one client, one JSON-RPC message a line, on stdin and stdout.

It takes the place of the SDK's own, which has no limit on a line, gives no answer to a line that
it cannot read, cannot be stopped by a signal, and hands every message through three threads.

How messages flow: one thread waits for stdin, cuts what arrives into lines and hands them to the
event loop (a file, pipe, socket and terminal can all be read that way, on every system). Answers
are written by the event loop itself, only as far as the client has room for them.

How it stops:
- *End of input*: calls already received have GRACE_SECONDS to be answered.
- *SIGINT, SIGTERM, SIGHUP, or a client that no longer reads*: running calls are cancelled at once.
- Then the lifespan's clean-up runs, and the process ends with status 0. A second signal ends it
  immediately. STOP_SECONDS after the stop began, SIGALRM ends it with whatever is still running.
"""

import asyncio
import logging
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from types import FrameType, TracebackType
from typing import Any, Self

import anyio
from mcp.server import MCPServer
from mcp.shared.message import ServerMessageMetadata, SessionMessage
from mcp.types import (
    INTERNAL_ERROR,
    JSONRPCError,
    JSONRPCMessage,
    JSONRPCRequest,
    JSONRPCResponse,
    RequestId,
)

from .errors import ConfigError
from .wire import (
    EDGE,
    MessageError,
    cancel_all_but,
    decode,
    error_answer,
    leave_within,
    too_long,
)

GRACE_SECONDS = 5.0
CANCEL_SECONDS = 1.0
STOP_SECONDS = 3.0

CHUNK = 64 * 1024  # bytes asked of stdin at a time
MAX_BACKLOG = 1024 * 1024  # bytes of unread answers above which nothing more is read
MAX_CALLS = 256  # requests being worked on; the guard's own limit is lower
BUSY = -32005  # JSON-RPC leaves -32000 to -32099 to servers

log = logging.getLogger(__name__)


def run(server: MCPServer[Any], *, max_line_bytes: int) -> None:
    """Serve one client on stdin and stdout until it leaves or a signal arrives.

    To be called from the main thread, as the last thing the process does.

    Args:
        server: what to serve.
        max_line_bytes: longest message accepted, in bytes without the newline. A longer line is
            skipped without being kept, and answered with an error.

    Raises:
        ConfigError: stdin or stdout is closed.
    """
    with _standard_streams() as (stdin, stdout):
        asyncio.run(_serve(server, stdin, stdout, max_line_bytes))


async def _serve(server: MCPServer[Any], stdin: int, stdout: int, max_line_bytes: int) -> None:
    # There is no public way to run an MCPServer on streams of one's own: the SDK's own
    # run_stdio_async makes this same call.
    lowlevel = server._lowlevel_server
    outgoing = Outgoing(stdout)
    incoming = Incoming(outgoing, max_line_bytes)
    with _on_signals(incoming.stop):
        incoming.start(stdin)
        options = lowlevel.create_initialization_options()
        serving = asyncio.create_task(lowlevel.run(incoming, outgoing, options))
        serving.add_done_callback(lambda _: incoming.stop())
        await incoming.ended.wait()
        leave_within(STOP_SECONDS)
        await asyncio.wait({serving}, timeout=CANCEL_SECONDS)
        if not serving.done():
            cancel_all_but(serving, asyncio.current_task())
        await serving


Line = bytes | JSONRPCError  # a line, or the answer to one that was not kept


class Lines:
    """Cuts a stream of bytes into lines and never keeps more than ``limit`` bytes of one."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._line = bytearray()
        self._head: bytes | None = None  # of a line that is too long; `_line` is its end then

    def feed(self, chunk: bytes) -> list[Line]:
        """Return the lines that ``chunk`` completes, with the answer to one that was too long."""
        *ends, rest = chunk.split(b"\n")
        lines = [self._finish(end) for end in ends]
        self._keep(rest)
        return lines

    def last(self) -> list[Line]:
        """Return what came after the last newline, as a line."""
        return [self._finish(b"")]

    def _keep(self, part: bytes) -> None:
        self._line += part
        if self._head is None and len(self._line) > self._limit:
            self._head = bytes(self._line[:EDGE])
        if self._head is not None:
            self._line = self._line[-EDGE:]

    def _finish(self, end: bytes) -> Line:
        self._keep(end)
        line, head = bytes(self._line), self._head
        self._line, self._head = bytearray(), None
        return line if head is None else too_long(head, line, self._limit)


class _Stream:
    """What the SDK expects of either end besides messages. `run` owns what there is to close."""

    async def aclose(self) -> None:
        """Do nothing."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        await self.aclose()


class Outgoing(_Stream):
    """The SDK's write stream: one message a line, without ever blocking the event loop.

    A blocking write to a client that does not read would stop the signals and the clean-up too.
    Making stdout non-blocking would change it for every process that shares it, a terminal's
    shell among them. So at most PIPE_BUF bytes are written at a time, and only when the system
    says that there is room, which POSIX promises not to block; the event loop waits for the rest.
    """

    def __init__(self, fd: int) -> None:
        self.owed: set[RequestId] = set()  # requests handed to the server and not yet answered
        self.changed = asyncio.Event()  # wakes the reading side
        self.broken = False
        self._fd = fd
        self._has_room = _probe(fd)
        self._backlog = bytearray()
        self._waiting = False
        self._read_again = asyncio.Event()

    @property
    def congested(self) -> bool:
        """The client has to read before more is asked of it or done for it."""
        return len(self._backlog) > MAX_BACKLOG

    @property
    def settled(self) -> bool:
        """Every request is answered, and every answer is with the client."""
        return not self.owed and not self._backlog

    async def send(self, item: SessionMessage) -> None:
        """Write a message, and hold its sender while the client does not read.

        The message is on its way before the wait: a sender cancelled meanwhile loses nothing.

        Raises:
            anyio.BrokenResourceError: the client has gone.
        """
        self.write(item.message)
        while self.congested:
            self._read_again.clear()
            await self._read_again.wait()
        if self.broken:
            raise anyio.BrokenResourceError

    def write(self, message: JSONRPCMessage) -> None:
        """Write as much as there is room for, and keep the rest."""
        if isinstance(message, JSONRPCResponse | JSONRPCError) and message.id is not None:
            self.owed.discard(message.id)
        if not self.broken:
            self._backlog += _encode(message)
        self._flush()

    async def settle(self, request_id: RequestId) -> None:
        """Take note that a request will not be answered, since the client has cancelled it."""
        self.owed.discard(request_id)
        self.changed.set()

    def _flush(self) -> None:
        try:
            while self._backlog and self._has_room():
                del self._backlog[: os.write(self._fd, self._backlog[:PIPE_BUF])]
        except OSError:
            self.broken = True
            self._backlog.clear()
        self._wait_for_room(bool(self._backlog))
        if not self.congested:
            self._read_again.set()
        self.changed.set()

    def _wait_for_room(self, wanted: bool) -> None:
        if wanted != self._waiting:
            loop = asyncio.get_running_loop()
            if wanted:
                loop.add_writer(self._fd, self._flush)
            else:
                loop.remove_writer(self._fd)
            self._waiting = wanted


class Incoming(_Stream):
    """The SDK's read stream: the client's messages, one at a time.

    Memory is bounded: the thread holds one chunk or line, another waits for the event loop, and
    nothing more is read until that one is used up. It is not used up while the client leaves too
    many answers unread, so a client that only sends is stopped by its own full pipe.
    """

    def __init__(self, outgoing: Outgoing, max_line_bytes: int) -> None:
        self.ended = asyncio.Event()
        self._outgoing = outgoing
        self._max_line_bytes = max_line_bytes
        self._loop = asyncio.get_running_loop()
        self._lines: deque[Line] = deque()
        self._used_up = threading.Semaphore()
        self._end_of_input = False
        self._stopped = False

    def start(self, fd: int) -> None:
        """Begin to read. The thread is a daemon, since nothing can wake it from its read."""
        threading.Thread(target=self._read, args=(fd,), daemon=True, name="stdin").start()

    def stop(self) -> None:
        """Hand over no further message, which makes the SDK cancel what runs and unwind."""
        self._stopped = True
        self._outgoing.changed.set()
        self.ended.set()

    async def receive(self) -> SessionMessage:
        """Wait for the next message, answering those that cannot be read.

        Raises:
            anyio.EndOfStream: the client has gone or the server is to stop.
        """
        while not self._over():
            if not self._lines or self._outgoing.congested:
                self._outgoing.changed.clear()
                await self._outgoing.changed.wait()
            elif message := self._accept(self._next()):
                return message
            else:
                await asyncio.sleep(0)  # a burst of bad lines must leave others their turn
        self.ended.set()
        raise anyio.EndOfStream

    def _over(self) -> bool:
        done = self._end_of_input and not self._lines and self._outgoing.settled
        return self._stopped or self._outgoing.broken or done

    def _next(self) -> Line:
        line = self._lines.popleft()
        if not self._lines:
            self._used_up.release()
        return line

    def _accept(self, line: Line) -> SessionMessage | None:
        if isinstance(line, JSONRPCError):
            self._outgoing.write(line)
            return None
        if not line.strip():
            return None
        try:
            message = decode(line)
        except MessageError as error:
            self._outgoing.write(error.answer)
            return None
        if isinstance(message, JSONRPCRequest):
            return self._request(message)
        return SessionMessage(message)

    def _request(self, request: JSONRPCRequest) -> SessionMessage | None:
        owed = self._outgoing.owed
        if len(owed) >= MAX_CALLS:
            problem = f"Server busy: {MAX_CALLS} requests are unanswered; wait for some of them"
            self._outgoing.write(error_answer(BUSY, problem, request.id))
            return None
        owed.add(request.id)
        settle = partial(self._outgoing.settle, request.id)
        return SessionMessage(request, ServerMessageMetadata(on_request_unanswered=settle))

    def _read(self, fd: int) -> None:
        """Read until the end of input: the body of the reading thread."""
        lines = Lines(self._max_line_bytes)
        with suppress(OSError):  # a terminal that hung up, a socket that was reset: the end too
            while chunk := os.read(fd, CHUNK):
                if complete := lines.feed(chunk):
                    self._hand_over(complete)
        if not self._stopped:
            leave_within(GRACE_SECONDS + STOP_SECONDS)  # from here, lest a tool blocks the loop
        self._hand_over(lines.last(), end_of_input=True)

    def _hand_over(self, lines: list[Line], end_of_input: bool = False) -> None:
        self._used_up.acquire()
        with suppress(RuntimeError):  # the event loop is closed: nobody is there to take them
            self._loop.call_soon_threadsafe(self._take, lines, end_of_input)

    def _take(self, lines: list[Line], end_of_input: bool) -> None:
        self._lines.extend(lines)
        self._outgoing.changed.set()
        if end_of_input:
            self._end_of_input = True
            self._loop.call_later(GRACE_SECONDS, self.stop)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> SessionMessage:
        try:
            return await self.receive()
        except anyio.EndOfStream:
            raise StopAsyncIteration from None


def _encode(message: JSONRPCMessage) -> bytes:
    """Write a message as one line; JSON escapes every newline inside of it."""
    try:
        return message.model_dump_json(by_alias=True, exclude_unset=True).encode() + b"\n"
    except ValueError:  # such as half a surrogate pair from a file name that is not UTF-8
        log.exception("a message cannot be written as JSON")
    if not isinstance(message, JSONRPCResponse):
        return b""
    problem = "Internal error: the result cannot be written as JSON"
    return _encode(error_answer(INTERNAL_ERROR, problem, message.id))


if sys.platform == "win32":
    PIPE_BUF = 4096

    def _probe(fd: int) -> Callable[[], bool]:
        # Windows cannot tell whether a pipe has room: there a write may wait for the client.
        return lambda: True

    def _duplicate(fd: int) -> int:
        return os.dup(fd)

else:
    import fcntl
    from select import PIPE_BUF, POLLOUT, poll

    def _probe(fd: int) -> Callable[[], bool]:
        """Return a function that says whether PIPE_BUF bytes can be written without waiting."""
        polled = poll()
        polled.register(fd, POLLOUT)
        return lambda: bool(polled.poll(0))

    def _duplicate(fd: int) -> int:
        # Above 2, so that it is not taken for a standard stream; not inherited by children.
        return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3)


@contextmanager
def _standard_streams() -> Iterator[tuple[int, int]]:
    """Keep the client's pipes to this transport: nobody else finds them at 0 and 1.

    A tool or child process that reads stdin finds it empty, and what it prints goes to stderr,
    the log, instead of into the middle of a message.

    Raises:
        ConfigError: stdin or stdout is closed.
    """
    try:
        stdin, stdout = _duplicate(0), _duplicate(1)
    except OSError:
        raise ConfigError("stdin or stdout is closed; it is where the client is expected") from None
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, 0)
    try:
        os.dup2(2, 1)
    except OSError:  # stderr is closed
        os.dup2(nowhere, 1)
    os.close(nowhere)
    try:
        yield stdin, stdout
    finally:
        with suppress(OSError, ValueError):
            sys.stdout.flush()
        os.dup2(stdin, 0)
        os.dup2(stdout, 1)


@contextmanager
def _on_signals(stop: Callable[[], None]) -> Iterator[None]:
    """Call ``stop`` on the first signal; the second has its default effect, an immediate end.

    A signal that was ignored from the start stays so, as nohup and background jobs expect.
    """
    loop = asyncio.get_running_loop()
    names = ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")  # the last on Windows only
    numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]

    def first(_number: int, _frame: FrameType | None) -> None:
        leave_within(STOP_SECONDS)
        for number in heeded:
            signal.signal(number, signal.SIG_DFL)
        loop.call_soon_threadsafe(stop)

    heeded = [number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, first) for number in heeded}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
