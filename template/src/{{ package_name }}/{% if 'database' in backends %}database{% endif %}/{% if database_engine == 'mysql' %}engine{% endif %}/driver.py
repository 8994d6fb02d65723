# managed: part of the template; modelctx updates may rewrite it. Your code lives in custom/.
"""PyMySQL, held on a short leash: how many bytes it reads, how long, and what it answers.

PyMySQL reads a row as a whole, however large, and reads the rest of a result that nobody wants.
Here both have a limit, and values come as bytes: see `values`. Some of what is used is not public
in PyMySQL, which is why its version has an upper bound.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import time
from collections.abc import Iterator, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, NoReturn

import pymysql
from pymysql.connections import Connection

from ..job import Unsuitable
from .address import Address

if TYPE_CHECKING:
    _Connection = Connection[Any]
else:  # it is generic in its stubs alone
    _Connection = Connection

# What PyMySQL raises when an answer is no sense, besides its own errors.
NONSENSE = (RuntimeError, AssertionError, IndexError, TypeError, ValueError, struct.error)

_RESET = 0x1F  # COM_RESET_CONNECTION, which PyMySQL has no name for
ANSWER_BYTES = 4 * 1024 * 1024  # of an answer besides its rows
_STOP_SECONDS = 2.0
_REST_BYTES = 256 * 1024  # of a stopped result are read, which is cheaper than to connect anew
_REST_SECONDS = 0.2


_CLEAR_TEXT = ("mysql_clear_password", "dialog", "mysql_old_password")


# Instead of one that the server sends: whoever sends a key of its own could read the password.
_NO_KEY = b"the password is encrypted for no key that is not verified; use ssl_mode VERIFY_CA"


class TooLarge(Exception):
    """A message of the server's is larger than it may be. It has not been read."""


class Late(Exception):
    """There was no answer in time."""


class _NoClearText:
    """Stands for what would give a server the password, or nearly, because it asks for it."""

    def __init__(self, connection: object) -> None:
        del connection

    def authenticate(self, packet: object) -> NoReturn:
        del packet
        raise pymysql.err.OperationalError(
            2059, "the server wants the password as plain text; that needs ssl_mode VERIFY_CA"
        )


class Link(_Connection):
    """A connection whose answers are bounded.

    It never offers two statements in a message nor a file of this host: PyMySQL announces
    MULTI_STATEMENTS and LOCAL_FILES to the server only when it is told to.

    Args:
        address: where to.
        seconds: to connect, and for each answer until `expect` says otherwise.
    """

    # What is not public in PyMySQL, thus not in its types.
    _sock: Any
    _rfile: Any
    _result: Any
    _force_close: Any
    _execute_command: Any
    _read_ok_packet: Any
    ctx: Any

    def __init__(self, address: Address, seconds: float) -> None:
        self._budget = ANSWER_BYTES
        plain: dict[str, Any] = {} if address.verifies else dict.fromkeys(_CLEAR_TEXT, _NoClearText)
        password: Any = address.password.encode()  # as text, it would be sent as Latin-1
        super().__init__(
            user=address.user,
            password=password,
            host=address.host,
            port=address.port,
            database=address.database,
            unix_socket=address.unix_socket or None,
            charset="utf8mb4",
            use_unicode=False,
            conv={},
            autocommit=True,
            local_infile=False,
            connect_timeout=max(1, seconds),
            read_timeout=seconds,
            write_timeout=seconds,
            auth_plugin_map=plain,
            server_public_key=None if address.verifies or address.is_local else _NO_KEY,
            ssl_disabled=True,
            defer_connect=True,
        )
        # Not by PyMySQL's arguments: it would read all certificates of the system each time.
        self.ctx = _context(address)
        self.ssl = self.ctx is not None
        self._ssl_required = bool(address.ssl_mode)
        self.connect()
        # The handshake has only 32 bits of it.
        self._number = int(self.ask("SELECT CONNECTION_ID()")[0][0])

    @property
    def number(self) -> int:
        """What KILL calls this connection."""
        return self._number

    @property
    def is_encrypted(self) -> bool:
        """Whether TLS is used."""
        return isinstance(self._sock, ssl.SSLSocket)

    @property
    def is_busy(self) -> bool:
        """Whether there is an answer under way that nobody has read to its end."""
        return self._result is not None and bool(self._result.unbuffered_active)

    def expect(self, seconds: float, size: int = ANSWER_BYTES) -> None:
        """Bound the next answers: seconds for each, bytes for all until this is called again."""
        if seconds <= 0:
            raise Late
        self._read_timeout = seconds
        self._budget = size

    def _read_bytes(self, num_bytes: int) -> bytes:
        if num_bytes > self._budget:
            self.drop()
            raise TooLarge
        self._budget -= num_bytes
        try:
            data: bytes = self._rfile.read(num_bytes)
        except TimeoutError:
            self.drop()
            raise Late from None
        except OSError as error:
            self.drop()
            raise pymysql.err.OperationalError(2013, f"the connection broke: {error}") from None
        except MemoryError:
            self.drop()
            raise
        if len(data) < num_bytes:
            self.drop()
            raise pymysql.err.OperationalError(2013, "the server has closed the connection")
        return data

    # --- Asking -------------------------------------------------------------------------------

    def command(self, sql: str) -> None:
        """Run a statement of ours that has no rows."""
        self.query(sql)

    def ask(self, sql: str) -> Sequence[tuple[Any, ...]]:
        """Run a statement of ours that has a few rows; values are bytes."""
        self.query(sql)
        return self._result.rows or ()

    def stream(self, sql: str) -> Sequence[Any]:
        """Run a statement and return its columns, none when it has no rows. See `rows`."""
        self.query(sql, unbuffered=True)
        return self._result.fields if self._result.unbuffered_active else ()

    def rows(self) -> Iterator[tuple[bytes | None, ...]]:
        """Give the rows of what `stream` has run, as they come."""
        result = self._result
        while result.unbuffered_active:
            row = result._read_rowdata_packet_unbuffered()
            if row is not None:
                yield row

    def finish(self, end: float) -> int:
        """Read what is left of all results; return how many rows the last one has changed."""
        while True:
            for _ in self.rows():
                self.expect(end - time.monotonic())
            if not self._result.has_next:
                return int(self._result.affected_rows or 0)
            self.next_result(unbuffered=True)

    def reset(self) -> None:
        """Make the session as new: transaction, locks, variables, prepared statements."""
        self._execute_command(_RESET, b"")
        self._read_ok_packet()

    # --- Ending -------------------------------------------------------------------------------

    def stop(self, address: Address) -> None:
        """End the statement whose rows are no longer wanted; keep the connection if it may be.

        Of the rest of the result no more is read than is quickly done.
        """
        try:
            kill(address, self.number, "QUERY")
            end = time.monotonic() + _REST_SECONDS
            self.expect(_REST_SECONDS, _REST_BYTES)
            for _ in self.rows():
                if time.monotonic() > end:
                    self.drop()
        except pymysql.err.OperationalError as error:
            if error.args[0] not in INTERRUPTED:
                self.drop()
        except (pymysql.err.Error, Late, TooLarge, OSError, *NONSENSE):
            self.drop()

    def hang_up(self) -> None:
        """Let a thread that waits for an answer find the connection closed."""
        if self._sock is not None:
            with contextlib.suppress(OSError):
                self._sock.shutdown(socket.SHUT_RDWR)

    def drop(self) -> None:
        """Close the socket at once; PyMySQL would read the rest of a result first."""
        if self._result is not None:
            self._result.unbuffered_active = False
            self._result.has_next = False
        self._force_close()


INTERRUPTED = (1317, 1969, 3024)  # by KILL QUERY; by the server's clock, MariaDB's and MySQL's


def kill(address: Address, number: int, what: str = "CONNECTION") -> None:
    """End a statement or connection of ours, by another connection.

    Raises:
        pymysql.err.Error: it could not be done: too many connections, or it is gone already.
        Late: there was no answer within two seconds.
    """
    other = Link(address, _STOP_SECONDS)
    try:
        other.command(f"KILL {what} {number:d}")
    finally:
        other.drop()


@cache
def _context(address: Address) -> ssl.SSLContext | None:
    """Return how to speak TLS; None: not at all."""
    if address.ssl_mode == "DISABLED" or address.unix_socket:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = address.ssl_mode == "VERIFY_IDENTITY"
    context.verify_mode = ssl.CERT_REQUIRED if address.verifies else ssl.CERT_NONE
    try:
        if address.ssl_ca:
            context.load_verify_locations(address.ssl_ca)
        elif address.verifies:
            context.load_default_certs()
        if address.ssl_cert:
            context.load_cert_chain(address.ssl_cert, address.ssl_key)
    except OSError:
        names = "ssl_cert and ssl_key" if address.ssl_cert else "ssl_ca"
        raise Unsuitable("DATABASE__URL", f"{names}: no such file, or none in PEM") from None
    return context
