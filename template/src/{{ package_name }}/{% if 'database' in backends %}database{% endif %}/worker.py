# managed: part of the template; modelctx updates may rewrite it. Your code lives in custom/.
"""A process that holds one connection to the database: ``python -m myserver.database.worker``.

A process, since only that can be killed and given a limit of memory, whatever a statement, a
driver or a hostile answer does. It reads a `Config` and then jobs from standard input and answers
each on standard output (see `job`). When its input ends, it stops what runs in the database and
exits, however busy it is: so it never outlives the server.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import sys
import threading
from typing import Any, Protocol

from ..errors import Refused
from .engine.readonly import Session
from .job import (
    HEADER_BYTES,
    TOO_MUCH_MEMORY,
    Config,
    Job,
    SessionLost,
    Statement,
    Unsuitable,
    pack,
    read_job,
)
from .rows import Rows

_ROLLBACK_SECONDS = 1.0
_STACK_BYTES = 512 * 1024  # of the thread that listens; the default is taken from max_memory


class Connection(Protocol):
    """What `engine.readonly.Session` has to be, whatever the engine.

    All but `cancel` are called by one thread.
    """

    def __init__(self, config: Config) -> None:
        """Open nothing yet."""

    def open(self) -> None:
        """Connect and switch on everything that protects the database.

        Raises:
            SessionLost: it cannot be reached now.
            Unsuitable: the setting is wrong.
        """

    def probe(self) -> str:
        """Look at the rights of the role, and say in a few words what is connected to.

        Raises:
            Unsuitable: the role may do more than reading, or the settings deny what it may read.
        """

    def renew(self) -> None:
        """Undo whatever a job may have left in the session. Called after each job.

        Raises:
            SessionLost: the connection is gone.
        """

    def run(self, job: Job) -> list[Rows]:
        """Run a job within its time and limits; nothing of it stays in the session or database.

        Raises:
            Refused: with the engine's own words where the caller's SQL is wrong.
            SessionLost: the connection is gone.
        """

    def cancel(self) -> None:
        """Stop in the database what `run` is waiting for, within a second. Another thread's."""

    def close(self) -> None:
        """Close the connection."""


def main() -> None:
    """Serve until standard input ends."""
    source, sink = os.dup(0), os.dup(1)
    # Whatever prints, prints elsewhere: the pipe holds messages alone.
    os.dup2(2, 1)
    config = Config(**_read(source))
    limit_memory(config.max_memory)
    try:
        session: Connection = Session(config)
        session.open()
        _write(sink, {"ready": session.probe(), "wrong": _try(session, config)})
    except Unsuitable as error:
        _write(sink, {"unsuitable": error.message, "setting": error.setting})
        return
    except SessionLost as error:
        _write(sink, {"lost": str(error)})
        return
    except MemoryError:
        setting = "DATABASE__MAX_MEMORY"
        _write(sink, {"unsuitable": "too little to open this database", "setting": setting})
        return
    except Exception as error:  # noqa: BLE001, a fault of ours: no text of it is fit to be sent
        _write(sink, {"lost": f"{type(error).__name__} in the worker"})
        return
    threading.stack_size(_STACK_BYTES)
    done = threading.Event()
    watched = (source, session, done if config.write else None)
    threading.Thread(target=_watch, args=watched, daemon=True).start()
    with contextlib.suppress(EOFError, SessionLost, Unsuitable):
        while True:
            job = read_job(_read(source))
            done.clear()
            _serve(session, job, sink)
            done.set()


def _try(session: Connection, config: Config) -> dict[str, str]:
    """Return what is wrong with statements of the operator's, by their names."""
    wrong = {}
    for name, (sql, params) in config.trials.items():
        plan = Statement(sql=sql, params=params, kind="plan")
        try:
            session.run(Job(statements=[plan], max_rows=1000, max_bytes=1024 * 1024))
        except Refused as refused:
            wrong[name] = refused.message
        session.renew()
    return wrong


def _serve(session: Connection, job: Job, sink: int) -> None:
    """Answer a job, then make the session as new: no lock is left while nothing is asked.

    Raises:
        SessionLost: the connection is gone, and so is what this process is for.
        Unsuitable: the database is another one by now.
    """
    answer = _answer(session, job)
    if "lost" in answer and all(each.kind != "write" for each in job.statements):
        # The database was restarted, or its file replaced. A read is as good a second time.
        with contextlib.suppress(SessionLost, Unsuitable):
            _open_again(session)
            answer = _answer(session, job)
    _write(sink, answer)
    if "lost" in answer:
        raise SessionLost
    try:
        session.renew()
    except SessionLost:
        _open_again(session)


def _open_again(session: Connection) -> None:
    with contextlib.suppress(Exception):
        session.close()
    session.open()


def _answer(session: Connection, job: Job) -> dict[str, Any]:
    try:
        return {"results": [rows.message() for rows in session.run(job)]}
    except Refused as refused:
        detail = str(refused.__cause__ or "")
        return {"refused": refused.code, "message": refused.message, "detail": detail}
    except MemoryError:
        return {"refused": "too_large", "message": TOO_MUCH_MEMORY, "detail": ""}
    except SessionLost as error:
        return {"lost": str(error)}
    except Exception as error:  # noqa: BLE001, a fault of ours: no text of it is fit to be sent
        return {"lost": f"{type(error).__name__} in the worker"}


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


def _watch(source: int, session: Connection, done: threading.Event | None) -> None:
    """Wait until the server is gone or wants no more of this process, then end all at once.

    Args:
        done: tells when a statement that writes has been rolled back, which is waited for.
    """
    hung_up = select.poll()
    hung_up.register(source, 0)  # tells of the other end alone, not of messages
    hung_up.poll()
    with contextlib.suppress(Exception):
        session.cancel()
    if done is not None:
        done.wait(_ROLLBACK_SECONDS)
    os._exit(0)


def _read(source: int) -> Any:
    size = int.from_bytes(_read_exactly(source, HEADER_BYTES), "big")
    return json.loads(_read_exactly(source, size))


def _read_exactly(source: int, size: int) -> bytes:
    parts = bytearray()
    while len(parts) < size:
        part = os.read(source, size - len(parts))
        if not part:
            raise EOFError
        parts += part
    return bytes(parts)


def _write(sink: int, message: dict[str, Any]) -> None:
    rest = memoryview(pack(message))
    while rest:
        rest = rest[os.write(sink, rest) :]


if __name__ == "__main__":
    main()
