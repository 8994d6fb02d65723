# managed: part of the template; modelctx updates may rewrite it. Your code lives in custom/.
"""MySQL and MariaDB, read-only. Runs in a worker process.

What keeps a statement from doing harm, the layer that holds most first:

1. **A read-only session**, ``SET SESSION TRANSACTION READ ONLY`` (manual, SET TRANSACTION): the
   server refuses each write to a table or sequence, and DDL, which a read-only transaction alone
   does not: DDL ends it. It alone falls to a stored function, or a SET STATEMENT, that switches it
   off. Set anew before each job.
2. **A read-only transaction** around each job, ``START TRANSACTION READ ONLY``: what switches 1 off
   comes too late for it. It alone does not stop DDL.
3. **PREPARE**, which takes one statement (manual, PREPARE): ``SELECT 1; DROP TABLE t`` is a syntax
   error. MULTI_STATEMENTS is not announced to the server besides. The text of the statement and
   its values are sent as hexadecimal literals, thus cannot end anything.
4. **The reset** of the session before and after each job (COM_RESET_CONNECTION): it ends the
   transaction, gives back locks, forgets variables.
5. **The role.** `probe` refuses one that administers the server, reaches files or reads password
   hashes, and makes sure that the server itself keeps from it what the settings deny.
6. **The first word**, and what READ ONLY does not hold: see `lexer`. This keeps out ANALYZE, SET,
   SET STATEMENT, CALL, DO, HANDLER, KILL, LOCK TABLES. It alone would be a parser's word only.
7. **Time.** The server's own limit, which a function or a hint can lift, then our own clock and
   KILL by another connection.
8. **Memory.** An answer that is larger than it may be is not read: see `driver`. MariaDB bounds
   its own too (max_session_mem_used).

A statement of the operator's own that writes is behind 3, 4, 7 and 8, and the rights of its role.
DDL in it cannot be undone: MySQL and MariaDB commit it by themselves.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from typing import NoReturn

import pymysql

from ...errors import Refused
from ..job import (
    TOO_MUCH_MEMORY,
    Config,
    Job,
    SessionLost,
    Statement,
    Unsuitable,
    Value,
    late,
    one_line,
)
from ..rows import Rows
from .address import Address, parse
from .driver import ANSWER_BYTES, INTERRUPTED, NONSENSE, Late, Link, TooLarge, kill
from .lexer import ONLY_READS, first_word, refused
from .values import literal, readers, type_name

_OLDEST = {"MariaDB": (10, 5), "MySQL": (8, 0)}  # of others nothing is known to hold
# Modes that do not change how SQL is read into words; of these the server's own are kept.
_MODES = frozenset(
    {"ERROR_FOR_DIVISION_BY_ZERO", "HIGH_NOT_PRECEDENCE", "NO_AUTO_CREATE_USER", "NO_ZERO_DATE"}
    | {"NO_ENGINE_SUBSTITUTION", "NO_UNSIGNED_SUBTRACTION", "NO_ZERO_IN_DATE", "PIPES_AS_CONCAT"}
    | {"ONLY_FULL_GROUP_BY", "STRICT_ALL_TABLES", "STRICT_TRANS_TABLES"}
    | {"TIME_TRUNCATE_FRACTIONAL", "PAD_CHAR_TO_FULL_LENGTH", "TIME_ROUND_FRACTIONAL"}
)
_GRACE = 0.2  # seconds that the server's own clock is given before ours ends the connection
# Of max_memory, what the server's side of a session may take. With more, a nest of WITH that
# doubles at each level keeps the server planning for longer than KILL can tell it to stop.
_SERVERS_SHARE = 4
_ROW_BYTES = 64 * 1024  # that a row may have besides twice what its JSON may

# The level in which all statements of a transaction see the state that the first one has seen.
_READ_ONLY = "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"

_NO_RIGHT = "the database's role does not have the right to do that"
_FAILED = "the database failed to run the statement"
_LOCKED = "what is asked for is locked by somebody else; try later"


class Session:
    """One connection to one database. See `worker.Connection` for what each method has to do.

    Args:
        config: as the server sends it.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._address: Address | None = None
        self._link: Link | None = None
        self._settings = ""
        self._server = ""
        self._end = 0.0
        self._cancelled = False

    def open(self) -> None:
        """Connect, then switch on what protects the database."""
        if self._cancelled:  # or a job would begin anew on a connection that nobody ends
            raise SessionLost("the session is cancelled")
        self._address = parse(self._config.url)
        try:
            self._link = Link(self._address, self._config.connect_timeout)
            self._server = self._checked_server()
            self._settings = self._settings_for(self._server)
        except (pymysql.err.Error, Late, TooLarge, OSError) as error:
            raise self._lost(error) from None
        except RuntimeError as error:  # a package is missing that the account's password needs
            raise Unsuitable("DATABASE__URL", one_line(str(error))) from None
        except NONSENSE as error:
            raise self._lost(error) from None
        self.renew()

    def probe(self) -> str:
        """Look at the rights of the role; see `probe`."""
        from .probe import check

        link, address = self._opened(), self._at()
        try:
            noted = check(self.select, link.ask, self._config, address.database)
        except Refused as error:
            raise SessionLost(f"the rights of the role cannot be read: {error.message}") from None
        except pymysql.err.Error as error:
            raise self._lost(error) from None
        parts = [self._server, f"role {address.user}", f"database {address}"]
        if link.is_encrypted:
            parts.append("TLS")
        elif not (address.is_local or address.unix_socket):
            parts.append("not encrypted")
        return ", ".join([*parts, *noted])

    def renew(self) -> None:
        """Make the session as new: transaction, locks, variables, limits."""
        link = self._opened()
        try:
            link.expect(self._config.connect_timeout)
            link.reset()
            link.command(self._settings)
            link.command(_READ_ONLY)
        except (pymysql.err.Error, Late, TooLarge, *NONSENSE) as error:
            raise self._lost(error) from None

    def run(self, job: Job) -> list[Rows]:
        """Run a job. See `worker.Connection`."""
        self._end = time.monotonic() + self._config.statement_timeout
        with self._explained():
            if any(statement.kind == "write" for statement in job.statements):
                return self._write(job)
            for statement in job.statements:
                _judge(statement.sql)
            with self._transaction("READ ONLY"):
                return [self._read(statement, job) for statement in job.statements]

    def select(self, sql: str, *params: Value) -> list[list[object]]:
        """Run a statement of ours through the same gate, and return its rows."""
        job = Job(statements=[Statement(sql=sql, params=params)], max_rows=100_000,
                  max_bytes=16 * 1024 * 1024)  # fmt: skip
        self.renew()
        (rows,) = self.run(job)
        return rows.rows

    def cancel(self) -> None:
        """End the connection in the database, by another one; failing that, close the socket.

        The session cannot be opened again.
        """
        self._cancelled = True
        link = self._link
        if link is not None:
            try:
                kill(self._at(), link.number)
            finally:
                link.hang_up()

    def close(self) -> None:
        """Close the connection."""
        link, self._link = self._link, None
        if link is not None:
            link.drop()

    # --- The session -------------------------------------------------------------------------

    def _opened(self) -> Link:
        if self._link is None or not self._link.open:
            raise SessionLost("the connection is closed")
        return self._link

    def _at(self) -> Address:
        if self._address is None:
            raise SessionLost("there is no connection yet")
        return self._address

    def _checked_server(self) -> str:
        """Return the server's name and version.

        Raises:
            Unsuitable: it is older than what this is written for.
        """
        ((raw,),) = self._opened().ask("SELECT VERSION()")
        version = raw.decode(errors="replace")
        name = "MariaDB" if "mariadb" in version.lower() else "MySQL"
        number = version.split("-")[0]
        if tuple(int(each) for each in number.split(".")[:2]) < _OLDEST[name]:
            oldest = ".".join(map(str, _OLDEST[name]))
            raise Unsuitable("DATABASE__URL", f"the server is older than {name} {oldest}")
        return f"{name} {number}"

    def _settings_for(self, server: str) -> str:
        """Return the session's settings as SQL, made of numbers and words of ours alone."""
        ((raw,),) = self._opened().ask("SELECT @@SESSION.sql_mode")
        modes = ",".join(sorted(_MODES & set(raw.decode(errors="replace").split(","))))
        seconds = self._config.statement_timeout
        waits = max(1, round(seconds))
        settings = [
            "autocommit = 1", f"sql_mode = '{modes}'", f"lock_wait_timeout = {waits}",
            f"innodb_lock_wait_timeout = {waits}",
        ]  # fmt: skip
        if server.startswith("MariaDB"):
            memory = self._config.max_memory // _SERVERS_SHARE
            settings.append(f"max_statement_time = {max(seconds, 0.001):.3f}")
            settings.append(f"max_session_mem_used = {memory}")
        else:
            settings.append(f"max_execution_time = {max(1, round(seconds * 1000))}")
        return "SET NAMES utf8mb4, " + ", ".join(f"SESSION {each}" for each in settings)

    @contextlib.contextmanager
    def _transaction(self, mode: str, end: str = "") -> Iterator[None]:
        """Begin a transaction, and undo it with all that the session holds, however it ends.

        Args:
            end: what ends one that went well; without it, the reset alone does.
        """
        link = self._opened()
        self._wait()
        link.command(f"START TRANSACTION {mode}")
        try:
            yield
            if end:
                self._wait()
                link.command(end)
        finally:
            if link.is_busy:  # an answer is under way that nobody reads
                self._end_connection()
            elif link.open:
                try:
                    link.expect(self._config.connect_timeout)
                    link.reset()
                except (pymysql.err.Error, Late, TooLarge, *NONSENSE):
                    link.drop()

    def _wait(self, size: int = ANSWER_BYTES) -> None:
        """Give the next answer the time that is left, and the server's own clock a little more."""
        self._opened().expect(self._end - time.monotonic() + _GRACE, size)

    # --- Statements --------------------------------------------------------------------------

    def _read(self, statement: Statement, job: Job) -> Rows:
        rows = Rows(job.max_rows, job.max_bytes)
        prefix = "EXPLAIN FORMAT=JSON " if statement.kind == "plan" else ""
        fields = self._execute(prefix + statement.sql, statement.params)
        self._keep(fields, rows)
        if time.monotonic() > self._end:  # a function that the server stopped may say nothing
            raise late(self._config.statement_timeout)
        return rows

    def _execute(self, sql: str, params: Sequence[Value]) -> Sequence[object]:
        """The gate: prepare one statement, bind its values, run it. Returns the columns."""
        link = self._opened()
        names = [f"@p{number}" for number in range(len(params))]
        values = [f"{name} = {literal(value)}" for name, value in zip(names, params, strict=True)]
        text = literal(sql)
        self._wait()
        link.command(f"SET {', '.join([f'@q = {text}', *values])}")
        self._wait()
        link.command("PREPARE q FROM @q")
        self._wait()
        return link.stream(f"EXECUTE q USING {', '.join(names)}" if names else "EXECUTE q")

    def _keep(self, fields: Sequence[object], rows: Rows) -> None:
        """Keep as many rows as are wanted, as they come, and stop the statement then."""
        link = self._opened()
        rows.columns = _columns(fields)
        convert = readers(fields)
        coming = link.rows()
        try:
            while True:
                self._wait(2 * rows.bytes_left + _ROW_BYTES)
                row = next(coming, None)
                if row is None:
                    return
                if not rows.add(_values(row, convert)):
                    break
        except TooLarge:
            rows.truncated_by = "bytes"
            self._end_connection()
        else:
            link.stop(self._at())

    def _write(self, job: Job) -> list[Rows]:
        """Run one statement of the operator's own, and keep what it has done."""
        if not self._config.write or len(job.statements) != 1:
            raise Refused("denied", ONLY_READS)
        (statement,) = job.statements
        link = self._opened()
        self._wait()
        link.command("SET SESSION TRANSACTION READ WRITE")
        rows = Rows(job.max_rows, job.max_bytes)
        with self._transaction("READ WRITE", end="COMMIT"):
            fields = self._execute(statement.sql, statement.params)
            rows.columns = _columns(fields)
            convert = readers(fields)
            wanted, returned = True, 0
            for row in link.rows():  # all of them: it would be rolled back otherwise
                self._wait(_WRITTEN_BYTES)
                wanted = wanted and rows.add(_values(row, convert))
                returned += 1
            changed = link.finish(self._end + _GRACE)
            if fields:  # then the server does not count: RETURNING gives a row for each
                changed = returned if first_word(statement.sql) in _RETURNING else 0
            rows.changed = changed
        return [rows]

    # --- Errors ------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn what goes wrong into what a client may read."""
        try:
            yield
        except pymysql.err.Error as error:
            self._explain(error)
        except Late:
            self._end_connection()
            raise late(self._config.statement_timeout) from None
        except TooLarge:
            self._end_connection()
            raise Refused("too_large", TOO_MUCH_MEMORY) from None
        except MemoryError:
            self._end_connection()
            raise
        except RecursionError:
            raise Refused("too_large", "a value is nested too deeply; cast it to text") from None
        except NONSENSE as error:
            raise self._lost(error) from None

    def _explain(self, error: pymysql.err.Error) -> NoReturn:
        code = error.args[0] if error.args and isinstance(error.args[0], int) else 0
        said = one_line(str(error.args[1]) if len(error.args) > 1 else "")
        if self._link is None or not self._link.open or code in _LOST or 2000 <= code < 3000:
            raise self._lost(error) from None
        if code in INTERRUPTED:
            raise late(self._config.statement_timeout) from None
        if code in _BUSY:
            raise Refused("busy", _LOCKED) from None
        if code in _DENIED:
            raise Refused("denied", _NO_RIGHT) from error
        if code in _MEMORY or (code == _PREVENTED and "mem-used" in said):
            raise Refused("too_large", TOO_MUCH_MEMORY) from error
        if code in _NO_READ:
            raise Refused("denied", said) from None
        if code == _WRONG_ARGUMENTS and "EXECUTE" in said:
            raise Refused("sql", "there are not as many values as placeholders (?)") from None
        if code in _SERVERS_FAULT or not 1000 <= code < 5000:
            raise Refused("unavailable", _FAILED) from error  # it may name a path or another host
        raise Refused("sql", said) from None

    def _end_connection(self) -> None:
        """End what runs in the database when its answer is not to be read: drop the connection."""
        link = self._link
        if link is not None:
            with contextlib.suppress(pymysql.err.Error, Late, TooLarge, OSError, *NONSENSE):
                kill(self._at(), link.number)
            link.drop()

    def _lost(self, error: BaseException) -> SessionLost:
        named = "no answer in time" if isinstance(error, Late) else type(error).__name__
        detail = one_line(str(error.args[-1]) if error.args else named)
        self.close()
        password = self._address.password if self._address is not None else ""
        return SessionLost(detail.replace(password, "…") if password else detail)


_RETURNING = frozenset({"INSERT", "REPLACE", "DELETE", "UPDATE"})
_WRITTEN_BYTES = 64 * 1024 * 1024  # of one row that a writing statement returns
_WRONG_ARGUMENTS = 1210
_PREVENTED = 1290  # by an option of the server
_LOST = frozenset({0, 1040, 1043, 1053, 1077, 1079, 1080, 1152, 1153, 1158, 1159, 1160, 1161,
                   1184, 1203, 1226, 1927, 4031})  # fmt: skip
_BUSY = frozenset({1205, 1213, 3058, 3572})
# A right is missing. The server's words name the account and its host.
_DENIED = frozenset({1044, 1045, 1142, 1143, 1211, 1227, 1345, 1356, 1370, 1403, 1410, 1419, 1449,
                     1698, 3530, 3879})  # fmt: skip
# The statement is no read, by the server's own judgement, or none that can be prepared.
_NO_READ = frozenset({_PREVENTED, 1295, 1792, 1836, 3989})
_MEMORY = frozenset({5, 1037, 1038, 1041, 1114, 1135, 1436, 4020})
# Files, storage engines and other hosts.
_SERVERS_FAULT = frozenset(
    {*range(1001, 1008), *range(1009, 1020), 1021, 1023, 1024, 1026, 1030, 1033, 1034, 1035, 1194}
    | {1195, 1296, 1297, *range(1429, 1434), 1429, 1877, 1878}
)


def _judge(sql: str) -> None:
    """Refuse what the layers below do not hold."""
    if "\0" in sql:  # the server would take what stands before it for all
        raise Refused("sql", "the statement holds a NUL character")
    sentence = refused(sql)
    if sentence is not None:
        raise Refused("denied", sentence)


def _columns(fields: Sequence[object]) -> list[dict[str, str]]:
    return [{"name": str(getattr(each, "name", "")), "type": type_name(each)} for each in fields]


def _values(
    row: Sequence[bytes | None], convert: Sequence[Callable[[bytes], object]]
) -> list[object]:
    return [
        None if value is None else each(value) for value, each in zip(row, convert, strict=True)
    ]
