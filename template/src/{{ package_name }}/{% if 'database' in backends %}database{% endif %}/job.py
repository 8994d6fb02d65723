# managed: part of the template; modelctx updates may rewrite it. Your code lives in custom/.
"""What the server and its worker processes say to each other.

The server sends a `Config` first, then one `Job` after the other. Each message, either way, is
its length as 4 bytes (big-endian), then JSON. Nothing heavy is imported here: a worker starts
quickly.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from ..errors import Refused

HEADER_BYTES = 4
# What any column takes, in any database: 64 bits with and without a sign, and a double.
INTEGERS = (-(2**63), 2**64 - 1)
NUMBERS = (-sys.float_info.max, sys.float_info.max)
TOO_MUCH_MEMORY = (
    "the statement needs more memory than it may have; select fewer or shorter columns, or sort "
    "and group fewer rows"
)
_MESSAGE_CHARS = 500
_encode = json.JSONEncoder(separators=(",", ":")).encode

# "read" runs behind the engine's read-only gate, "plan" asks for a plan and runs nothing,
# "write" is a statement that the operator has written.
Kind = Literal["read", "plan", "write"]
Value = str | int | float | bool | None


@dataclass(frozen=True, kw_only=True)
class Config:
    """What a worker needs to know. Sent through a pipe: arguments and variables can be seen.

    Args:
        url: address of the database, with its credentials.
        write: the session may change data.
        connect_timeout: seconds to connect.
        statement_timeout: seconds that a job may take; the server of the database gets it too.
        max_memory: bytes that the worker may allocate.
        deny_tables: names of tables that may not be read, with or without a schema.
        deny_columns: names of columns that may not be read, as ``table.column``.
        schemas: the schemas that may be read; empty for all.
        allow_privileged: serve with a role that may do more than it needs.
        trials: statements by name, to be planned once and not run, to see whether they are right.
    """

    url: str
    write: bool = False
    connect_timeout: float = 5.0
    statement_timeout: float = 10.0
    max_memory: int = 256 * 1024 * 1024
    deny_tables: Sequence[str] = ()
    deny_columns: Sequence[str] = ()
    schemas: Sequence[str] = ()
    allow_privileged: bool = False
    trials: Mapping[str, tuple[str, Sequence[Value]]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Statement:
    """One statement and the values of its placeholders.

    Args:
        sql: in the engine's own words, placeholders included.
        params: bound by the engine, never put into the text.
        kind: how it is run.
    """

    sql: str
    params: Sequence[Value] = ()
    kind: Kind = "read"


@dataclass(frozen=True, kw_only=True)
class Job:
    """Statements that see one state of the data, and the limits of each one's result.

    Args:
        statements: run one after the other.
        max_rows: rows of one result.
        max_bytes: bytes of one result, as JSON.
    """

    statements: Sequence[Statement]
    max_rows: int
    max_bytes: int


def pack(message: object) -> bytes:
    """Return a message as it is sent."""
    body = _encode(message).encode()
    return len(body).to_bytes(HEADER_BYTES, "big") + body


def job_message(job: Job) -> bytes:
    """Return a job as it is sent."""
    # Not by asdict, which copies each value: it took longer than the database.
    return pack({**vars(job), "statements": [vars(each) for each in job.statements]})


def read_job(message: Any) -> Job:
    """Return the job that a message holds."""
    statements = [Statement(**each) for each in message.pop("statements")]
    return Job(statements=statements, **message)


def late(seconds: float) -> Refused:
    """Return the refusal of a statement that took longer than it may."""
    return Refused("timeout", f"stopped after {seconds:g} s; ask for less")


def one_line(said: object) -> str:
    """Return what a database or driver says as a message repeats it: bounded, nothing invisible."""
    visible = "".join(each if each.isprintable() else " " for each in str(said))
    return " ".join(visible.split())[:_MESSAGE_CHARS]


class SessionLost(Exception):
    """The connection to the database is gone, or has never come about.

    Args:
        detail: for the server's own log, without credentials.
    """


class Unsuitable(Exception):
    """The database, or the role that is used, is not what the settings say.

    Args:
        setting: the variable that is to change, without its prefix: ``DATABASE__URL``.
        message: one line for the operator, without credentials.
    """

    def __init__(self, setting: str, message: str) -> None:
        super().__init__(message)
        self.setting = setting
        self.message = message
