# managed: part of the template; modelctx updates may rewrite it. Your code lives in custom/.
"""PostgreSQL, read-only. Runs in a worker process.

What keeps a statement from doing harm, the layer that holds most first:

1. **A cursor.** Every statement is sent as ``DECLARE … CURSOR FOR <statement>``, whose grammar
   (documentation, DECLARE) admits SELECT, VALUES, TABLE and WITH alone, and no WITH that changes
   data. So there is no DDL, COPY, DO, CALL, SET or COMMIT. It alone does not stop functions.
2. **The extended protocol** (documentation, section 55.2.3) takes one statement a message:
   ``SELECT 1; DROP TABLE t`` is refused. psycopg sends the simple protocol, which takes many, when
   there are no parameters; a server-side cursor never, and neither does a pipeline.
3. **A read-only transaction**, which nothing can turn once it has begun to read. It stops what
   functions write to tables and sequences. It alone does not stop EXPLAIN ANALYZE CREATE TABLE
   AS, nor large objects before PostgreSQL 16.
4. **ROLLBACK**, always, so that what 3 lets through leaves nothing.
5. **The role.** `probe` refuses one that reaches files, programs or sessions of others, and makes
   sure that PostgreSQL itself keeps from it what the settings deny.
6. **DISCARD ALL** before each job, and the locks are given back after it.
7. **Time.** The server's own limit is set anew before each FETCH, to what is left by our clock.
   The server kills this process when no answer comes at all.
8. **Names of functions** whose effects outlive all this: a second opinion, see `functions`.

A statement of the operator's own that writes is behind 2 and 7 alone, and the rights of its role.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

import psycopg
from psycopg import RawCursor, RawServerCursor
from psycopg.adapt import Dumper, Loader
from psycopg.conninfo import make_conninfo
from psycopg.pq import ConnStatus, TransactionStatus
from psycopg.rows import TupleRow
from psycopg.types import TypeInfo
from psycopg.types.array import register_array

from ...errors import Refused
from ...prefix import COMMAND
from ..job import TOO_MUCH_MEMORY, Config, Job, SessionLost, Statement, Unsuitable, late, one_line
from ..rows import Rows, exact_json
from .address import is_local, parse
from .functions import TooDeep, begins_as_command, refused

_OLDEST = 13  # major version; below it a limit of time holds for less than is said above
_FIRST_ROWS = 8  # few, so that the first row is there before the last is read
_MOST_ROWS = 2000  # of one FETCH
_FETCH_BYTES = 1024 * 1024  # of one FETCH, about, judged by the rows before
_CANCEL_SECONDS = 2.0
_PATIENCE_MS = 5000  # that a transaction of ours may idle, besides the statement's time

_DENIED = (
    "only one statement that reads is run here: SELECT, WITH, VALUES or TABLE; `explain` shows its "
    "plan, `list_tables` and `describe_table` the catalogue"
)
_NO_RIGHT = "the database's role does not have the right to do that"
_FAILED = "the database failed to run the statement"
# Nothing is taken from a file in a home, nor is a ticket of Kerberos's asked for.
_ADDRESS = {"application_name": COMMAND, "passfile": "/dev/null", "gssencmode": "disable"}
_CURSOR = "reader"
_PLAN = f"EXPLAIN (FORMAT JSON) DECLARE {_CURSOR} CURSOR FOR "
# Locks of the session's own outlive a transaction; ended in the same message as that.
_END = "ROLLBACK; SELECT pg_catalog.pg_advisory_unlock_all()"


class Session:
    """One connection to one database. See `worker.Connection` for what each method has to do.

    Args:
        config: as the server sends it.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._address: dict[str, str] = {}
        self._connection: psycopg.Connection[TupleRow] | None = None
        self._types: dict[tuple[int, int], str] = {}
        self._arrays: set[int] = set()  # those that psycopg does not know by itself
        self._end = 0.0

    def open(self) -> None:
        """Connect, then switch on what protects the database."""
        address = parse(self._config.url)
        self._address = address
        try:
            connection = psycopg.connect(
                make_conninfo(**{**_ADDRESS, **_authentication(address), **address}),
                client_encoding="UTF8",
                connect_timeout=max(2, round(self._config.connect_timeout)),  # libpq's least
                autocommit=True,  # transactions are begun and ended in words, below
                prepare_threshold=None,
            )
        except psycopg.Error as error:
            raise SessionLost(self._without_password(error)) from None
        self._connection = connection
        self._types.clear()
        self._arrays.clear()
        if connection.info.server_version < _OLDEST * 10_000:
            raise Unsuitable("DATABASE__URL", f"the server is older than PostgreSQL {_OLDEST}")
        _register_loaders(connection)
        self.renew()

    def probe(self) -> str:
        """Look at the rights of the role; see `probe`."""
        from .probe import check

        connection = self._opened()
        try:
            with self._transaction("READ ONLY"):
                noted = check(connection, self._config)
        except psycopg.Error as error:
            raise SessionLost(self._without_password(error)) from None
        at = self._address
        host, port = at["host"], at["port"]
        version = (connection.info.parameter_status("server_version") or "").split(" ")[0]
        parts = [f"PostgreSQL {version}", f"role {at['user']}"]
        parts.append(f"database {at['dbname']} at {host if host[0] == '/' else f'{host}:{port}'}")
        if connection.pgconn.ssl_in_use:
            parts.append("TLS")
        elif not is_local(host):
            parts.append("not encrypted")
        return ", ".join([*parts, *noted])

    def renew(self) -> None:
        """Make the session as new: locks, variables, prepared statements, limits."""
        connection = self._opened()
        try:
            connection.execute("DISCARD ALL")
            connection.execute(self._settings(connection))
        except psycopg.Error as error:
            raise self._lost(error) from None

    def run(self, job: Job) -> list[Rows]:
        """Run a job. See `worker.Connection`."""
        self._end = time.monotonic() + self._config.statement_timeout
        with self._explained():
            if any(statement.kind == "write" for statement in job.statements):
                return self._write(job)
            several = len(job.statements) > 1
            mode = "ISOLATION LEVEL REPEATABLE READ READ ONLY" if several else "READ ONLY"
            # Explained inside too: what libpq says of a failure is gone with the connection.
            with self._transaction(mode), self._explained():
                return [self._answer(statement, job) for statement in job.statements]

    def cancel(self) -> None:
        """Ask the server, by a connection of its own, to stop the statement."""
        connection = self._connection
        if connection is not None and not connection.closed:
            connection.cancel_safe(timeout=_CANCEL_SECONDS)

    def close(self) -> None:
        """Close the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    # --- The session -------------------------------------------------------------------------

    def _opened(self) -> psycopg.Connection[TupleRow]:
        if self._connection is None or self._connection.closed:
            raise SessionLost("the connection is closed")
        return self._connection

    def _settings(self, connection: psycopg.Connection[TupleRow]) -> str:
        """Return the session's settings as SQL, made of numbers and words of ours alone."""
        limit = _milliseconds(self._config.statement_timeout)
        settings = {
            "default_transaction_read_only": "off" if self._config.write else "on",
            "statement_timeout": limit,
            "lock_timeout": max(1, limit // 2),  # then it says that it waited for a lock
            "idle_in_transaction_session_timeout": limit + _PATIENCE_MS,
            # How `functions` reads strings, and the loaders values.
            "standard_conforming_strings": "on",
            "datestyle": "ISO",
            "extra_float_digits": 3,  # documentation, section 8.1.3: floats come back exactly
        }
        if connection.info.parameter_status("server_encoding") == "SQL_ASCII":
            # It does not know how its text is encoded, and refuses to send as UTF-8 what is none.
            # Bytes pass as LATIN1 unchanged; what is sent and read here is UTF-8 nevertheless.
            settings["client_encoding"] = "LATIN1"
        if connection.info.server_version >= 140_000:
            # A statement of a process that was killed ends, though nobody cancels it.
            settings["client_connection_check_interval"] = 1000
        return "; ".join(f"SET {name} = {value}" for name, value in settings.items())

    @contextlib.contextmanager
    def _transaction(self, mode: str, end: str = _END) -> Iterator[None]:
        """Begin a transaction, and roll it back however it ends.

        Args:
            end: what ends one that went well.
        """
        connection = self._opened()
        connection.execute(f"BEGIN {mode}".encode())
        good = False
        try:
            yield
            good = True
        finally:
            if connection.info.transaction_status == TransactionStatus.ACTIVE:
                connection.close()  # an answer is under way that nobody reads
            if not connection.closed:
                # A ROLLBACK that fails has an error of its own to tell only when all went well.
                with contextlib.nullcontext() if good else contextlib.suppress(psycopg.Error):
                    connection.execute((end if good else _END).encode())

    # --- Statements --------------------------------------------------------------------------

    def _answer(self, statement: Statement, job: Job) -> Rows:
        rows = Rows(job.max_rows, job.max_bytes)
        self._judge(statement.sql)
        try:
            self._run(statement, rows)
        except psycopg.errors.SyntaxError:
            # The grammar of DECLARE speaks of a syntax error where a statement is no read.
            if begins_as_command(statement.sql):
                raise Refused("denied", _DENIED) from None
            raise
        return rows

    def _run(self, statement: Statement, rows: Rows) -> None:
        if statement.kind == "plan":
            self._alone(f"{_PLAN}{statement.sql}", statement, rows)
        else:
            self._read(statement, rows)

    def _judge(self, sql: str) -> None:
        """Refuse what the layers below cannot: see `functions`."""
        if "\0" in sql:  # libpq would take what stands before it for all
            raise Refused("sql", "the statement holds a NUL character")
        try:
            name = refused(sql)
        except TooDeep:
            raise Refused("sql", "comments are nested too deeply") from None
        if name is not None:
            raise Refused("denied", f"{name[:100]} is not called here: its effect outlives a read")

    def _read(self, statement: Statement, rows: Rows) -> None:
        """The gate: declare a cursor, and fetch as much as is wanted."""
        connection = self._opened()
        again = True
        while again:
            with RawServerCursor(connection, _CURSOR) as cursor:
                cursor.execute(statement.sql.encode(), statement.params or None)
                known = len(self._arrays)
                rows.columns = self._columns(cursor)
                # How to read an array of the database's own type is learnt when one first comes,
                # and a cursor knows what was known before it. Nothing has been run by now.
                again = len(self._arrays) > known
                if not again:
                    self._fetch(cursor, rows)

    def _fetch(self, cursor: RawServerCursor[TupleRow], rows: Rows) -> None:
        wanted = _FIRST_ROWS
        while True:
            # The server measures each FETCH by itself, and a function may have lifted that.
            self._limit_time()
            part = cursor.fetchmany(wanted)
            if not all(rows.add(row) for row in part) or len(part) < wanted:
                return
            average = (rows.max_bytes - rows.bytes_left) // len(rows.rows) + 1
            left = rows.max_rows - len(rows.rows) + 1
            wanted = max(1, min(_MOST_ROWS, left, _FETCH_BYTES // average))

    def _alone(self, sql: str, statement: Statement, rows: Rows) -> RawCursor[TupleRow]:
        """Run one statement by the extended protocol, which a pipeline always speaks."""
        connection = self._opened()
        cursor = RawCursor(connection)
        self._limit_time()
        with connection.pipeline():
            cursor.execute(sql.encode(), statement.params or None)
        if cursor.description is not None:
            rows.columns = self._columns(cursor)
            all(rows.add(row) for row in cursor)
        return cursor

    def _write(self, job: Job) -> list[Rows]:
        """Run one statement of the operator's own, and keep what it has done."""
        if not self._config.write or len(job.statements) != 1:
            raise Refused("denied", _DENIED)
        (statement,) = job.statements
        rows = Rows(job.max_rows, job.max_bytes)
        with self._transaction("READ WRITE", end="COMMIT"), self._explained():
            cursor = self._alone(statement.sql, statement, rows)
            rows.changed = max(cursor.rowcount, 0)
        return [rows]

    def _limit_time(self) -> None:
        left = self._end - time.monotonic()
        if left <= 0:
            raise late(self._config.statement_timeout)
        self._opened().execute(f"SET LOCAL statement_timeout = {_milliseconds(left)}".encode())

    def _columns(self, cursor: psycopg.Cursor[TupleRow]) -> list[dict[str, str]]:
        """Return the names and types of a result, the types in the database's own words."""
        result = cursor.pgresult
        if result is None:
            return []
        found = [(result.ftype(i), result.fmod(i)) for i in range(result.nfields)]
        unknown = list({each for each in found if each not in self._types})
        if unknown:
            self._look_up(unknown)
        names = [(result.fname(i) or b"").decode(errors="replace") for i in range(result.nfields)]
        return [
            {"name": name, "type": self._types[each]}
            for name, each in zip(names, found, strict=True)
        ]

    def _look_up(self, types: Sequence[tuple[int, int]]) -> None:
        """Ask for the names of types; arrays of a database's own types are read as arrays too."""
        connection = self._opened()
        for oid, modifier in types:
            row = connection.execute(_TYPE, (modifier, oid)).fetchone()
            name, element, delimiter = row if row is not None else ("", 0, ",")
            self._types[oid, modifier] = str(name)
            if element and oid not in self._arrays and connection.adapters.types.get(oid) is None:
                self._arrays.add(oid)
                info = TypeInfo(f"e{element}", element, oid, delimiter=delimiter)
                register_array(info, connection)

    # --- Errors ------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn what goes wrong into what a client may read."""
        try:
            yield
        except psycopg.Error as error:
            self._explain(error)
        except RecursionError:
            raise Refused("too_large", "a value is nested too deeply; cast it to text") from None
        except UnicodeError:
            raise Refused("sql", "the statement or a value is not valid Unicode") from None

    def _explain(self, error: psycopg.Error) -> NoReturn:
        code = error.sqlstate or ""
        said = one_line(error.diag.message_primary or "")
        if not code and self._is_out_of_memory(error):
            self.close()  # the next job connects anew
            raise Refused("too_large", TOO_MUCH_MEMORY) from None
        if self._is_broken() or code[:3] == "57P":
            raise self._lost(error) from None
        if code == "57014":
            raise late(self._config.statement_timeout) from None
        if code == "55P03":
            raise Refused("busy", "what is asked for is locked by somebody else; try later")
        if code == "42501":
            raise Refused("denied", _NO_RIGHT) from error
        if code[:2] == "53" or code == "54000":
            raise Refused("too_large", TOO_MUCH_MEMORY) from error
        if code in _NO_READ:
            raise Refused("denied", said) from None
        if code[:2] in _CALLERS or code == "08P01":  # too few or too many values
            hint = error.diag.message_hint
            raise Refused("sql", one_line(f"{said} ({hint})" if hint else said)) from None
        if not code:  # psycopg's own: a value that cannot be bound
            raise Refused("sql", one_line(str(error))) from None
        raise Refused("unavailable", _FAILED) from error  # it may name a path or another host

    def _is_out_of_memory(self, error: psycopg.Error) -> bool:
        """Say whether libpq found no room for an answer (RLIMIT_DATA); it has no code for that."""
        said = self._connection.pgconn.error_message if self._connection is not None else b""
        return "memory" in str(error) or b"memory" in said

    def _is_broken(self) -> bool:
        connection = self._connection
        return connection is None or connection.pgconn.status != ConnStatus.OK

    def _lost(self, error: psycopg.Error) -> SessionLost:
        detail = self._without_password(error)
        with contextlib.suppress(psycopg.Error):
            self.close()
        return SessionLost(detail)

    def _without_password(self, error: psycopg.Error) -> str:
        """Return what libpq says. It names no password; should it, that is taken out."""
        text = one_line(str(error))
        password = self._address.get("password")
        return text.replace(password, "…") if password else text


_TYPE = """
SELECT pg_catalog.format_type(oid, %s), CASE WHEN typcategory = 'A' THEN typelem::int8 ELSE 0 END,
typdelim::text FROM pg_catalog.pg_type WHERE oid = %s
"""
# The statement is no read, by PostgreSQL's own judgement.
_NO_READ = frozenset({"25006", "25001"})
# Classes of errors that are about the caller's SQL or data (documentation, appendix A).
_CALLERS = frozenset(
    {"0A", "20", "21", "22", "23", "24", "25", "26", "2B", "2D", "2F", "34", "3F", "40", "42", "44"}
    | {"54", "55", "P0"}
)


def _authentication(address: dict[str, str]) -> dict[str, str]:
    """Return how the role may be asked to prove itself.

    A server that nobody has verified gets no password, nor a hash of one that can be guessed at:
    SCRAM alone (RFC 5802) gives nothing away.
    """
    verified = address.get("sslmode", "").startswith("verify-")
    if verified or is_local(address["host"]):
        return {}
    return {"require_auth": "scram-sha-256,none"}


def _milliseconds(seconds: float) -> int:
    return max(1, round(seconds * 1000))


# --- Values ----------------------------------------------------------------------------------


class _Text(Loader):
    """Text as the database writes it. Of one that does not know its encoding: bytes, if need be."""

    def load(self, data: Any) -> Any:
        value = bytes(data)
        try:
            return value.decode()
        except UnicodeDecodeError:
            return value


class _Time(_Text):
    """A time in ISO 8601: only the space is another one. BC, infinity and zone stay as they are."""

    def load(self, data: Any) -> Any:
        value = super().load(data)
        return value.replace(" ", "T", 1) if isinstance(value, str) else value


class _Json(_Text):
    """JSON as a value; as text where Python or JSON cannot hold it as one."""

    def load(self, data: Any) -> Any:
        value = super().load(data)
        try:
            parsed = exact_json(value)
        except (ValueError, RecursionError):
            return value
        # An escaped half of a surrogate pair, which type json allows, is no text.
        return value if "\\ud" in str(value).lower() and not _is_text(parsed) else parsed


def _is_text(value: Any) -> bool:
    try:
        str(value).encode()
    except UnicodeEncodeError:
        return False
    return True


class _Parameter(Dumper):
    """Text of a parameter, of the type that its place asks for, as UTF-8 on any connection."""

    def dump(self, obj: Any) -> bytes:
        if "\0" in obj:
            raise psycopg.DataError("a text of PostgreSQL cannot hold a NUL character")
        return str(obj).encode()


_KEPT = ("bool", "int2", "int4", "int8", "oid", "float4", "float8", "bytea")
_LOADERS: dict[str, type[Loader]] = {
    "timestamp": _Time, "timestamptz": _Time, "json": _Json, "jsonb": _Json
}  # fmt: skip


def _register_loaders(connection: psycopg.Connection[TupleRow]) -> None:
    """Take values as text, but for those that Python holds exactly; psycopg would shift times."""
    adapters = connection.adapters
    for known in adapters.types:
        if known.name not in _KEPT:
            adapters.register_loader(known.oid, _LOADERS.get(known.name, _Text))
    adapters.register_loader(0, _Text)  # types that psycopg does not know
    adapters.register_dumper(str, _Parameter)
