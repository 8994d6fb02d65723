# managed: part of the template; modelctx updates may rewrite it. Your code lives in custom/.
"""SQLite, read-only. Runs in a worker process.

What keeps a statement from doing harm, the layer that holds alone first:

1. **The authorizer** (sqlite.org/c3ref/set_authorizer.html) is asked while a statement is
   compiled, before anything of it runs, about each table, column, function and action in it. It
   names what is allowed; everything else is refused, so ATTACH, VACUUM INTO and PRAGMA are too.
2. **mode=ro** opens the file for reading. Alone it would let ATTACH write another file.
3. **Limits** (sqlite.org/c3ref/limit.html) on lengths and depths, no attached databases.
4. **The worker**: one opcode, or the compiling itself, can run for minutes without asking the
   progress handler. The server kills the worker then. Its memory is limited (`worker`).
5. **Landlock** lets the worker read the file, and write only where writing queries are on.

A statement of the operator's own that writes is run with another authorizer, which adds INSERT,
UPDATE and DELETE. No structure, file or setting of the database can be changed by it either.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ...errors import Refused
from ..job import Config, Job, SessionLost, Statement, Unsuitable, late, one_line
from ..rows import Rows
from .address import file_of
from .denial import BY_NAME, Denial, folded, joins_by_name

_KIB = 1024
_LIMITS = {
    sqlite3.SQLITE_LIMIT_LENGTH: 16 * _KIB * _KIB,  # bytes of a value or row
    sqlite3.SQLITE_LIMIT_SQL_LENGTH: 256 * _KIB,
    sqlite3.SQLITE_LIMIT_ATTACHED: 0,
    sqlite3.SQLITE_LIMIT_COLUMN: 2000,
    sqlite3.SQLITE_LIMIT_EXPR_DEPTH: 500,
    sqlite3.SQLITE_LIMIT_COMPOUND_SELECT: 200,
    sqlite3.SQLITE_LIMIT_VDBE_OP: 250_000,
    sqlite3.SQLITE_LIMIT_LIKE_PATTERN_LENGTH: 1000,
    sqlite3.SQLITE_LIMIT_TRIGGER_DEPTH: 50,
    sqlite3.SQLITE_LIMIT_WORKER_THREADS: 0,
}
_OPCODES = 1000  # of the virtual machine, between two looks at the clock
_WAL_MODE = 2  # the file format's read version, sqlite.org/fileformat.html section 1.3

_READING = frozenset({sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_RECURSIVE})
_WRITING = _READING | {sqlite3.SQLITE_INSERT, sqlite3.SQLITE_UPDATE, sqlite3.SQLITE_DELETE}
_PRAGMAS = frozenset(
    {
        "table_info",
        "table_xinfo",
        "table_list",
        "index_list",
        "index_info",
        "index_xinfo",
        "foreign_key_list",
        "data_version",  # FTS5 asks it whether the file has changed
        "foreign_key_check",
        "compile_options",
        "function_list",
        "collation_list",
        "page_count",
        "page_size",
        "encoding",
    }
)
_COLUMNS_OF = frozenset({"table_info", "table_xinfo"})
# Refused for what they name, not for what they do.
_NAMING = frozenset({sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION})
# These tell when they are asked, and change something when they are given a value.
_TELLING = frozenset({"user_version", "application_id", "schema_version", "journal_mode"})
# They load code, reach files or hand out pointers, where SQLite was built with them.
_FUNCTIONS = frozenset({"load_extension", "readfile", "writefile", "edit", "fts3_tokenizer"})

ONLY_READS = (
    "only one statement that reads is run here, such as SELECT; `explain` shows its plan, "
    "`list_tables` and `describe_table` the catalogue"
)
NOT_SERVED = "a table, column or function that it speaks of is not served here"


class _Changed(Exception):
    """The tables are others by now, and virtual ones have to set themselves up again."""


class Session:
    """One connection to one file. See `worker.Connection` for what each method has to do.

    Args:
        config: as the server sends it.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._path = file_of(config.url)
        self._real = self._path  # what it leads to; SQLite names the log after that
        self._denial = Denial(config)
        self._connection: sqlite3.Connection | None = None
        self._allowed = _READING
        self._why = ONLY_READS  # the authorizer's last refusal
        self._opened_as: tuple[object, ...] = ()
        self._stale: tuple[object, ...] | None = None
        self._end = 0.0

    def open(self) -> None:
        """Open the file, which must exist and be a database.

        Raises:
            Unsuitable: there is no such file, or it is none of SQLite.
            SessionLost: it is locked, or cannot be read.
        """
        self._limit_files()
        try:
            self._connect()
        except sqlite3.DatabaseError as error:
            self.close()
            raise self._unopened(error) from error
        except OSError as error:
            raise SessionLost("this account may not read the file") from error

    def probe(self) -> str:
        """Say what is served, once it is sure that what is denied exists and stays out of reach."""
        connection = self._opened()
        connection.set_authorizer(None)
        try:
            self._denial.check(connection)
        finally:
            connection.set_authorizer(self._authorize)
        return f"SQLite {sqlite3.sqlite_version}, {self._path}"

    def renew(self) -> None:
        """Nothing: no statement that is allowed leaves anything in the session."""

    def run(self, job: Job) -> list[Rows]:
        """Run a job. See `worker.Connection`."""
        if self._connection is None or self._identity() != self._opened_as:
            raise SessionLost("the file was replaced")
        for _ in range(_TRIES):
            with contextlib.suppress(_Changed):
                results = self._attempt(job)
                if self._stale is None or self._state() == self._stale:
                    return results
            # Somebody began to write while the file was read without its log: read it again.
            self.close()
            self.open()
        raise Refused("unavailable", "the database changes too fast; try again")

    def cancel(self) -> None:
        """Interrupt a statement that writes, so that it is rolled back; others end with us."""
        if self._config.write and self._connection is not None:
            self._connection.interrupt()

    def close(self) -> None:
        """Close the file."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    # --- Opening -----------------------------------------------------------------------------

    def _limit_files(self) -> None:
        """Let a reading process write to no file at all, whatever SQLite would do."""
        if not self._config.write and os.name == "posix":
            import resource

            resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))

    def _connect(self) -> None:
        self._real = Path(os.path.realpath(self._path))
        if not self._real.is_file():
            raise Unsuitable("DATABASE__URL", f"{self._path}: no such file; none is made here")
        if not self._config.write and self._log_size() and not self._beside("-shm").exists():
            raise SessionLost(_LEFT_BEHIND)
        self._opened_as = self._identity()
        # In WAL mode a reader shares memory with writers through a file beside the database, which
        # somebody has to make. When there is no log nobody writes, and the file alone is all.
        self._stale = self._state() if not self._config.write and self._is_quiet() else None
        mode = "rw" if self._config.write else "ro"
        immutable = "&immutable=1" if self._stale is not None else ""
        connection = sqlite3.connect(
            f"file:{quote(str(self._real))}?mode={mode}{immutable}",
            uri=True,
            isolation_level=None,
            timeout=self._config.connect_timeout,
            cached_statements=0,
            check_same_thread=False,  # another thread interrupts it
        )
        self._connection = connection
        connection.text_factory = _text
        for limit, value in _LIMITS.items():
            connection.setlimit(limit, value)
        connection.execute("PRAGMA temp_store=MEMORY")  # no file beside the database's own
        connection.execute("PRAGMA cell_size_check=ON")
        connection.execute("PRAGMA foreign_keys=ON")
        self._introduce(connection)
        connection.execute(f"PRAGMA busy_timeout={round(self._config.statement_timeout * 500)}")
        self._denial.learn(connection)
        connection.set_progress_handler(self._is_late, _OPCODES)
        connection.set_authorizer(self._authorize)

    def _introduce(self, connection: sqlite3.Connection) -> None:
        """Let virtual tables set themselves up, which is more than a client may do.

        FTS5 prepares the statements that would change its tables. Later, the authorizer refuses
        that; see `_explained`.
        """
        names = connection.execute(_VIRTUAL).fetchall()
        for (name,) in names:
            quoted = '"' + name.replace('"', '""') + '"'
            with contextlib.suppress(sqlite3.OperationalError):  # its module is not there
                connection.execute(f"SELECT 1 FROM {quoted} LIMIT 0").fetchall()  # noqa: S608

    def _unopened(self, error: sqlite3.Error) -> Exception:
        if "not a database" in str(error) or "malformed" in str(error):
            return Unsuitable("DATABASE__URL", f"{self._path}: this is no database of SQLite")
        if "locked" in str(error):
            return SessionLost("the file is locked by another program")
        if "readonly" in str(error) or self._log_size():
            return SessionLost(_LEFT_BEHIND)
        return SessionLost(f"{error}; this account must be able to read the file and its folder")

    def _opened(self) -> sqlite3.Connection:
        if self._connection is None:
            raise SessionLost("the file is not open")
        return self._connection

    def _identity(self) -> tuple[object, ...]:
        """Tell the file from another one that has taken its place."""
        try:
            status = self._path.stat()
        except OSError as error:
            raise SessionLost("the file is gone, or may not be read") from error
        return status.st_dev, status.st_ino

    def _state(self) -> tuple[object, ...]:
        """Tell whether anybody has written, as far as a file that nobody has open can show it."""
        status = self._real.stat()
        return status.st_ino, status.st_size, status.st_mtime_ns, self._is_quiet()

    def _is_quiet(self) -> bool:
        """Say whether the database is in WAL mode and has no log: then nobody is writing."""
        with self._real.open("rb") as file:
            header = file.read(20)
        return header[19:20] == bytes([_WAL_MODE]) and not self._log_size()

    def _log_size(self) -> int:
        try:
            return self._beside("-wal").stat().st_size
        except OSError:
            return 0

    def _beside(self, suffix: str) -> Path:
        return Path(f"{self._real}{suffix}")

    # --- Running -----------------------------------------------------------------------------

    def _attempt(self, job: Job) -> list[Rows]:
        connection = self._opened()
        self._end = time.monotonic() + self._config.statement_timeout
        results = []
        one_state = self._config.write or len(job.statements) > 1
        around = self._transaction(connection) if one_state else contextlib.nullcontext()
        with self._explained(), around:
            for statement in job.statements:
                rows = Rows(job.max_rows, job.max_bytes)
                self._fill(connection, statement, rows)
                results.append(rows)
        return results

    @contextlib.contextmanager
    def _transaction(self, connection: sqlite3.Connection) -> Iterator[None]:
        """One state of the data for all statements. The authorizer is told who begins and ends."""
        self._ours(connection, "BEGIN IMMEDIATE" if self._config.write else "BEGIN")
        try:
            yield
            if self._config.write:
                self._ours(connection, "COMMIT")
        finally:
            if connection.in_transaction:
                self._ours(connection, "ROLLBACK")

    def _ours(self, connection: sqlite3.Connection, sql: str) -> None:
        connection.set_authorizer(None)
        try:
            connection.execute(sql)
        finally:
            connection.set_authorizer(self._authorize)

    def _fill(self, connection: sqlite3.Connection, statement: Statement, rows: Rows) -> None:
        self._allowed = _WRITING if statement.kind == "write" else _READING
        params = tuple(statement.params)
        if not self._denial.is_empty:
            self._look_twice(connection, statement.sql, params)
        sql = f"EXPLAIN QUERY PLAN {statement.sql}" if statement.kind == "plan" else statement.sql
        with contextlib.closing(connection.cursor()) as cursor:
            cursor.execute(sql, params)
            if cursor.description is None and statement.kind != "write":
                raise Refused("sql", "write one statement that returns rows, such as SELECT")
            columns = [{"name": str(column[0]), "type": ""} for column in cursor.description or ()]
            rows.columns = columns
            for row in cursor:
                if not rows.add(row):
                    break
                for column, value in zip(columns, row, strict=True):
                    _note_type(column, value)
            if statement.kind == "write":
                rows.changed = max(cursor.rowcount, 0)

    def _look_twice(
        self, connection: sqlite3.Connection, sql: str, params: tuple[object, ...]
    ) -> None:
        """Refuse what the authorizer is not told of; see `denial`."""
        if joins_by_name(sql):
            raise Refused("denied", BY_NAME)
        if self._denial.opens(connection.execute(f"EXPLAIN {sql}", params)):
            raise Refused("denied", NOT_SERVED)

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn what SQLite says into what a client may read. It never names the file."""
        try:
            yield
        except sqlite3.ProgrammingError as error:
            raise Refused("sql", one_line(error)) from None
        except sqlite3.Warning:
            raise Refused("sql", "write one statement, without others after it") from None
        except sqlite3.OperationalError as error:
            raise self._operational(error) from None
        except sqlite3.DataError as error:
            raise Refused("too_large", one_line(error)) from None
        except sqlite3.IntegrityError as error:
            raise Refused("sql", one_line(error)) from None
        except sqlite3.DatabaseError as error:
            if "vtable constructor" in str(error):
                raise _Changed from None
            if _code(error) == sqlite3.SQLITE_AUTH:
                raise Refused("denied", self._why) from None
            raise SessionLost("the file is damaged or no database any more") from error
        except (ValueError, TypeError, OverflowError, UnicodeError) as error:
            raise Refused("sql", one_line(error)) from None

    def _operational(self, error: sqlite3.OperationalError) -> Exception:
        code = _code(error)
        if code == sqlite3.SQLITE_INTERRUPT:
            return late(self._config.statement_timeout)
        if code == sqlite3.SQLITE_NOMEM:
            return MemoryError()
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            return Refused("busy", "another program is writing to the database; try again later")
        if code in (sqlite3.SQLITE_ERROR, sqlite3.SQLITE_TOOBIG):
            return Refused("sql", one_line(error))
        self.close()
        return SessionLost(f"SQLite says {getattr(error, 'sqlite_errorname', 'nothing')}")

    def _is_late(self) -> bool:
        return time.monotonic() > self._end > 0

    def _authorize(
        self, action: int, one: str | None, two: str | None, _schema: str | None, _by: str | None
    ) -> int:
        """Say whether a statement may do something; see sqlite.org/c3ref/c_alter_table.html."""
        if action == sqlite3.SQLITE_FUNCTION:
            allowed = folded(two) not in _FUNCTIONS
        elif action == sqlite3.SQLITE_PRAGMA:
            asked = folded(one) in _TELLING and two is None
            named = folded(one) in _COLUMNS_OF and self._denial.covers(two or "")
            allowed = (asked or folded(one) in _PRAGMAS) and not named
        elif action == sqlite3.SQLITE_UPDATE and one == "sqlite_master":
            # The first use of json_each, of FTS5 and the like declares its columns (sqlite.org/
            # c3ref/declare_vtab.html). SQLite itself refuses every statement that would write it.
            allowed = True
        else:
            allowed = action in self._allowed and not self._denial.covers(one or "", two or "")
        if not allowed:
            self._why = NOT_SERVED if action in _NAMING else ONLY_READS
        return sqlite3.SQLITE_OK if allowed else sqlite3.SQLITE_DENY


_TRIES = 3
_VIRTUAL = "SELECT name FROM sqlite_schema WHERE sql LIKE 'CREATE VIRTUAL TABLE%'"
_LEFT_BEHIND = (
    "its log or journal holds changes that a program left behind, and that only a program which "
    "may write can work in: open it once with such a one"
)


def _text(value: bytes) -> Any:
    """Return text; what is stored as text and is none in UTF-8 stays the bytes that it is."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value


_STORED: dict[type, str] = {int: "integer", float: "real", str: "text", bytes: "blob"}


def _note_type(column: dict[str, str], value: object) -> None:
    """Keep the storage class of a column's values; "any" where they have several."""
    if value is not None:
        stored = _STORED[type(value)]
        column["type"] = stored if column["type"] in ("", stored) else "any"


def _code(error: sqlite3.Error) -> int:
    """Return the primary code, sqlite.org/rescode.html."""
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF
