# managed: part of the template; modelctx updates may rewrite it. Your code lives in custom/.
"""What both transports share: reading one JSON-RPC message, and leaving in bounded time."""

import asyncio
import json
import os
import re
import signal
import sys
import threading
from typing import Any

from mcp.types import (
    INVALID_REQUEST,
    PARSE_ERROR,
    ErrorData,
    JSONRPCError,
    JSONRPCMessage,
    JSONRPCNotification,
    JSONRPCRequest,
    JSONRPCResponse,
    RequestId,
)
from pydantic import BaseModel, ValidationError
from pydantic_core import from_json

# The longest id that is repeated in the answer to a bad request, in characters or decimal digits.
MAX_ID_LENGTH = 128
# Bytes kept of either end of a message that is too long, for its id.
EDGE = 512

# A request as SDKs write it: its id at the very beginning (Python) or at the very end (TypeScript).
# Both forms are tied to an end of the line, so that no nested id is taken for the request's.
_ID = rb'"jsonrpc": ?"2\.0", ?"id": ?(-?[0-9]{1,18}|"[ !#-\[\]-~]{0,128}")'
_FIRST = re.compile(rb"\{" + _ID + rb', ?"method": ?"')
_LAST = re.compile(_ID + rb"\}\Z")


class MessageError(Exception):
    """Bytes that are not one JSON-RPC message; ``answer`` is the error owed to their sender.

    The answer says what is wrong and repeats nothing of the bytes but a valid id.
    """

    def __init__(self, code: int, message: str, request_id: RequestId | None = None) -> None:
        super().__init__(message)
        self.answer = error_answer(code, message, request_id)


def error_answer(code: int, message: str, request_id: RequestId | None = None) -> JSONRPCError:
    """Make an error answer; its id is null where the request's is not known (JSON-RPC 2.0, 5)."""
    return JSONRPCError(jsonrpc="2.0", id=request_id, error=ErrorData(code=code, message=message))


def decode(data: bytes) -> JSONRPCMessage:
    """Read one JSON-RPC message from UTF-8 JSON.

    Stricter than the SDK, which takes ``NaN`` for JSON and a request whose id is null, a fraction
    or a boolean for a notification, so that its sender waits for ever. A batch is refused: MCP has
    had none since 2025-06-18. Of two members with one name the last counts.

    Raises:
        MessageError: not JSON (-32700; also an integer of more than 4300 digits and nesting deeper
            than about 200), or JSON that is not one JSON-RPC message (-32600).
    """
    try:
        value = from_json(data, allow_inf_nan=False)
    except ValueError:
        if value := _with_surrogates(data):  # JavaScript writes them where it cuts a text
            problem = "Parse error: this holds half a character (a lone surrogate)"
            raise MessageError(PARSE_ERROR, problem, _id(value)) from None
        raise MessageError(PARSE_ERROR, "Parse error: this is not valid JSON") from None
    if not isinstance(value, dict):
        raise MessageError(INVALID_REQUEST, "Invalid request: send one JSON-RPC object at a time")
    try:
        return _kind(value).model_validate(value)  # type: ignore[return-value]
    except ValidationError:
        problem = "Invalid request: this is not a JSON-RPC 2.0 request, notification or response"
        raise MessageError(INVALID_REQUEST, problem, _id(value)) from None


def _with_surrogates(data: bytes) -> dict[str, Any] | None:
    """Read an object whose only mistake is a lone surrogate (RFC 8259, 8.2); None for others."""
    try:
        value = json.loads(data, parse_constant=int)  # NaN and its like are no number for int
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _kind(value: dict[str, Any]) -> type[BaseModel]:
    """Tell the kinds of message apart by the members they must have (JSON-RPC 2.0, 4 and 5)."""
    if "method" in value:
        return JSONRPCRequest if "id" in value else JSONRPCNotification
    return JSONRPCError if "error" in value else JSONRPCResponse


def _id(value: dict[str, Any]) -> RequestId | None:
    """Return the id to answer to, if this is a request and its id is valid and short."""
    found = value.get("id") if "method" in value else None
    if isinstance(found, bool) or not isinstance(found, int | str):
        return None
    return found if len(str(found)) <= MAX_ID_LENGTH else None


def too_long(head: bytes, tail: bytes, limit: int) -> JSONRPCError:
    """Make the answer to a message that was not kept, from its first and last EDGE bytes.

    The id is repeated where it can be told, so that the sender does not wait for an answer.
    """
    found = _FIRST.match(head)
    if not found and re.match(rb'\{"method": ?"', head):
        found = _LAST.search(tail.rstrip())
    request_id = from_json(found[1]) if found else None
    problem = f"Message too long: a line may have {limit} bytes"
    return error_answer(INVALID_REQUEST, problem, request_id)


def leave_within(seconds: float) -> None:
    """End the process after this time, whatever a tool, a thread or a clean-up is still doing.

    A thread cannot be stopped from outside, and Python waits for threads before it exits. So the
    kernel's alarm ends the process; it needs neither the event loop nor a Python thread. It is
    never switched off: whoever calls this is leaving. The exit status is that of SIGALRM. A later
    call replaces an earlier one.
    """
    if sys.platform == "win32":
        timer = threading.Timer(seconds, os._exit, args=(1,))
        timer.daemon = True
        timer.start()
    else:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGALRM, signal.SIG_DFL)  # a parent may have had it ignored
        signal.setitimer(signal.ITIMER_REAL, seconds)


def cancel_all_but(*kept: asyncio.Task[Any] | None) -> None:
    """Cancel every task of the running event loop except these.

    A tool that blocks its thread holds up the SDK's task groups, which wait for it through every
    cancellation of their own. This abandons the thread, so that the lifespan can clean up.
    """
    for task in asyncio.all_tasks().difference(kept):
        task.cancel()
