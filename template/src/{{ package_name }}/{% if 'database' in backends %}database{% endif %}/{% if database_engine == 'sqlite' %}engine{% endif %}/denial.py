# managed: part of the template; modelctx updates may rewrite it. Your code lives in custom/.
"""What the settings deny of a file of SQLite, and the ways around the authorizer, which are shut.

The authorizer (`readonly`) is told of each column that a statement reads, but of none that

- USING and NATURAL compare: a client may not write them where anything is denied;
- a generated column is computed from, or a virtual table keeps elsewhere (FTS5's shadow tables,
  its vocabulary, external content): the server does not start while such a one is not denied too.

So that a table does not depend on that alone, what a statement opens is looked at once more, in
its compiled form (sqlite.org/opcode.html).
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable, Iterator

from ..job import Config, Unsuitable

_TABLES = "DATABASE__DENY_TABLES"
_COLUMNS = "DATABASE__DENY_COLUMNS"
# Tables that are the file itself, or show values of others: its pages, and samples of an index.
_RAW = frozenset({"sqlite_dbpage", "sqlite_dbdata", "sqlite_dbptr"})
_SAMPLES = frozenset({"sqlite_stat3", "sqlite_stat4"})
_OPENING = frozenset({"OpenRead", "ReopenIdx", "OpenWrite"})
_GENERATED = (2, 3)  # pragma_table_xinfo.hidden

# Text, names in quotes and comments (sqlite.org/lang_expr.html, lang_comment.html), then words.
_TOKEN = re.compile(
    r"""'(?:[^']|'')*(?:'|\Z) | "(?:[^"]|"")*(?:"|\Z) | `(?:[^`]|``)*(?:`|\Z) | \[[^\]]*(?:\]|\Z)
    | --[^\n]* | /\*.*?(?:\*/|\Z) | (?P<word> [\w$]+ )""",
    re.VERBOSE | re.DOTALL,
)

BY_NAME = "write ON a.x = b.x: USING and NATURAL are not taken where tables or columns are denied"


class Denial:
    """The names that are denied, and what belongs to them.

    Args:
        config: names them; without a schema, in any case of ASCII letters.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._tables = {folded(name) for name in config.deny_tables}
        self._columns = {folded(name) for name in config.deny_columns}
        self._roots: set[int] = set()

    @property
    def is_empty(self) -> bool:
        """Whether nothing is denied."""
        return not (self._tables or self._columns)

    def covers(self, table: str, column: str = "") -> bool:
        """Say whether a column of a table, or without one the table itself, may not be read.

        Args:
            table: as SQLite spells it, as well as ``column``.
        """
        table, column = folded(table), folded(column)
        if table in _RAW or table in self._tables:
            return True
        if self.is_empty:
            return False
        definition = (table, column) == ("sqlite_master", "sql")  # shows what is denied
        return table in _SAMPLES or definition or f"{table}.{column}" in self._columns

    def learn(self, connection: sqlite3.Connection) -> None:
        """Find what belongs to the denied tables. Called after opening, without an authorizer."""
        listed = connection.execute("SELECT name, type FROM pragma_table_list").fetchall()
        denied = tuple(f"{name}_" for name in self._tables)
        shadows = {folded(name) for name, kind in listed if kind == "shadow"}
        self._tables |= {name for name in shadows if name.startswith(denied)}
        roots = connection.execute("SELECT tbl_name, rootpage FROM sqlite_schema").fetchall()
        self._roots = {root for name, root in roots if root and folded(name) in self._tables}

    def opens(self, program: Iterable[tuple[object, ...]]) -> bool:
        """Say whether a compiled statement opens a denied table.

        Args:
            program: the rows of EXPLAIN: address, opcode, P1, P2 (the root page), …
        """
        return any(row[1] in _OPENING and row[3] in self._roots for row in program)

    def check(self, connection: sqlite3.Connection) -> None:
        """Look whether the denied names exist, and whether others show the same data.

        Raises:
            Unsuitable: one does not, since a slip opens a door; or one does.
        """
        for name in self._config.deny_tables:
            if not _find(connection, folded(name)):
                raise Unsuitable(_TABLES, f"{name}: there is none of this name")
        for name in self._config.deny_columns:
            self._check_column(connection, name)
        if not self.is_empty:
            self._check_others(connection)

    def _check_column(self, connection: sqlite3.Connection, name: str) -> None:
        table, _, column = folded(name).rpartition(".")
        found = _find(connection, table)
        columns = dict(connection.execute(_XINFO, (table,)).fetchall()) if found else {}
        if column not in {folded(each) for each in columns}:
            raise Unsuitable(_COLUMNS, f"{name}: there is none of this name")
        if table in self._tables:
            return
        if found == "virtual":
            raise Unsuitable(_COLUMNS, f"{name}: of a virtual table, deny all: {_TABLES}")
        for other, hidden in columns.items():
            if hidden in _GENERATED and f"{table}.{folded(other)}" not in self._columns:
                raise Unsuitable(
                    _COLUMNS, f"{name}: {table}.{other} is computed from others; deny it too"
                )

    def _check_others(self, connection: sqlite3.Connection) -> None:
        hidden = self._tables | {name.rpartition(".")[0] for name in self._columns}
        for name, sql in connection.execute(_DEFINITIONS).fetchall():
            if folded(name) in self._tables:
                continue
            is_view = str(sql)[:11].upper().endswith("VIEW")
            if is_view and joins_by_name(sql):
                raise Unsuitable(
                    _TABLES,
                    f"the view {name} joins by USING or NATURAL; write ON in it, or deny it",
                )
            if not is_view and any(_speaks_of(each, folded(sql)) for each in hidden):
                raise Unsuitable(
                    _TABLES, f"the virtual table {name} speaks of what is denied; deny it too"
                )


_XINFO = "SELECT name, hidden FROM pragma_table_xinfo(?)"
_DEFINITIONS = (
    "SELECT name, sql FROM sqlite_schema WHERE type = 'view' OR sql LIKE 'CREATE VIRTUAL TABLE%'"
)


def joins_by_name(sql: str) -> bool:
    """Say whether USING or NATURAL stands in a statement, as a word of its own."""
    return any(word in ("using", "natural") for word in _words(sql))


def _words(sql: str) -> Iterator[str]:
    return (found["word"].lower() for found in _TOKEN.finditer(sql) if found["word"])


def _speaks_of(name: str, sql: str) -> bool:
    return re.search(rf"(?<![\w$]){re.escape(name)}(?![\w$])", sql) is not None


def _find(connection: sqlite3.Connection, table: str) -> str | None:
    """Return the kind of a table or view; None when there is none of this name."""
    found = connection.execute(
        "SELECT type FROM pragma_table_list WHERE schema = 'main' AND name = ? COLLATE NOCASE",
        (table,),
    ).fetchone()
    return str(found[0]) if found else None


def folded(name: object) -> str:
    """Return a name as SQLite compares it: without the case of ASCII letters."""
    text = name.decode(errors="replace") if isinstance(name, bytes) else str(name or "")
    return "".join(char.lower() if char.isascii() else char for char in text)
