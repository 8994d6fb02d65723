# managed: part of the template; modelctx updates may rewrite it. Your code lives in custom/.
"""A process that converts pages: ``python -m myserver.webscraper.reader_worker``.

A process, since only that can be killed and given a limit of memory, whatever a page does to the
parsers. It knows no secret and opens nothing. It reads its limits, then tasks from standard
input, and answers each on standard output; when its input ends, it exits. Each message, either
way, is its length as 4 bytes (big-endian), then JSON; a page follows its task as it is.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import signal
import sys
from typing import Any

from ..errors import Refused

HEADER_BYTES = 4
TOO_HEAVY = "the page needs more memory than its conversion may have"
_encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode


def pack(body: bytes) -> bytes:
    """Return a message as it is sent."""
    return len(body).to_bytes(HEADER_BYTES, "big") + body


def pack_json(message: object) -> bytes:
    """Return a message as it is sent. It holds no halves of surrogate pairs."""
    return pack(_encode(message).encode())


def main() -> None:
    """Serve until standard input ends."""
    source, sink = os.dup(0), os.dup(1)
    # Whatever prints, prints elsewhere: the pipe holds messages alone.
    os.dup2(2, 1)
    with contextlib.suppress(EOFError, OSError):
        setup = json.loads(_read(source))
        limit_memory(setup["max_memory"])
        seconds = math.ceil(setup["timeout"]) + 1
        # Only now: the server imports this module too, and needs none of that.
        from .convert import convert

        _write(sink, pack_json({"ready": True}))
        while True:
            task = json.loads(_read(source))
            body = _read(source)
            _alarm(seconds)
            _write(sink, pack_json(_answer(convert, body, task)))
            _alarm(0)


def _answer(convert: Any, body: bytes, task: dict[str, str]) -> dict[str, Any]:
    try:
        return {"result": convert(body, **task)}
    except Refused as refused:
        return {"refused": refused.code, "message": refused.message}
    except (MemoryError, RecursionError):
        return {"refused": "too_large", "message": TOO_HEAVY}
    except Exception as error:  # noqa: BLE001, a fault of ours: no text of it is fit to be sent
        return {"failed": type(error).__name__}


def _alarm(seconds: int) -> None:
    """Let the system end this process after so long: also when the server is gone.

    A parser cannot be interrupted, so nothing of this process is asked.
    """
    if sys.platform != "win32":
        signal.alarm(seconds)


def limit_memory(limit: int) -> None:
    """Let this process allocate no more than ``limit`` bytes, and leave no image of itself behind.

    Linux counts every private writable page in RLIMIT_DATA, setrlimit(2). Other systems do not
    hold it.
    """
    if sys.platform == "win32":
        return
    import resource

    for kind, most in ((resource.RLIMIT_DATA, limit), (resource.RLIMIT_CORE, 0)):
        _, hard = resource.getrlimit(kind)
        lower = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (lower, lower))


def _read(source: int) -> bytes:
    return _read_exactly(source, int.from_bytes(_read_exactly(source, HEADER_BYTES), "big"))


def _read_exactly(source: int, size: int) -> bytes:
    parts = bytearray()
    while len(parts) < size:
        part = os.read(source, min(size - len(parts), 1024 * 1024))
        if not part:
            raise EOFError
        parts += part
    return bytes(parts)


def _write(sink: int, message: bytes) -> None:
    rest = memoryview(message)
    while rest:
        rest = rest[os.write(sink, rest) :]


if __name__ == "__main__":
    main()
