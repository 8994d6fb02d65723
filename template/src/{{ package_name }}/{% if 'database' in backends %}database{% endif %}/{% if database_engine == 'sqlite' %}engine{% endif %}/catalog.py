# managed: part of the template; modelctx updates may rewrite it. Your code lives in custom/.
"""What SQLite says about its tables. Runs in the server; every statement passes the read gate.

Names are values here, bound to the table-valued forms of PRAGMA (sqlite.org/pragma.html#pragfunc);
the one place where a name stands in a statement quotes it as the catalogue has it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Any

from ...errors import Refused
from .. import results
from ..job import Statement, Value
from ..pool import Answer

_Run = Callable[[Sequence[Statement]], Awaitable[list[Answer]]]
_SCHEMA = "main"
_COUNTED = 1_000_000  # rows that are counted exactly; what is above is estimated
_NAMES = 1000

_TABLES = """
SELECT name, type FROM pragma_table_list
WHERE schema = 'main' AND type IN ('table', 'view', 'virtual')
AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'
"""
_ROWS = "SELECT tbl, max(CAST(stat AS INTEGER)) FROM sqlite_stat1 GROUP BY tbl"
_COLUMNS = (
    'SELECT name, type, "notnull", dflt_value, pk FROM pragma_table_xinfo(?) WHERE hidden <> 1'
)
_KEYS = 'SELECT "table", id, seq, "from", "to" FROM pragma_foreign_key_list(?) ORDER BY id, seq'
_REFERENCES = """
SELECT m.name, k.id, k.seq, k."from", k."to"
FROM sqlite_schema m, pragma_foreign_key_list(m.name) k
WHERE m.type = 'table' AND k."table" = ? COLLATE NOCASE ORDER BY m.name, k.id, k.seq
"""
_INDEXES = """
SELECT l.name, l."unique", i.name
FROM pragma_index_list(?) l, pragma_index_info(l.name) i ORDER BY l.seq, i.seqno
"""

_SIZE = """
SELECT sum(pgsize) FROM dbstat
WHERE aggregate = TRUE AND name IN (SELECT name FROM sqlite_schema WHERE tbl_name = ?)
"""


class Catalog:
    """The tables, views and virtual tables of a file.

    Args:
        run: runs statements through the read gate.
        schemas: not used; SQLite has one.
        deny_tables: names that are not shown.
        deny_columns: ``table.column`` that are not shown.
    """

    def __init__(
        self,
        run: _Run,
        schemas: Collection[str],
        deny_tables: Collection[str],
        deny_columns: Collection[str],
    ) -> None:
        self._run = run
        self._deny_tables = {name.lower() for name in deny_tables}
        self._deny_columns = {name.lower() for name in deny_columns}

    async def tables(
        self, schema: str | None, pattern: str | None, limit: int, after: tuple[str, str] | None
    ) -> list[results.Table]:
        """Return tables and views by name, from the one after ``after`` on.

        Args:
            pattern: as in LIKE.
        """
        if schema not in (None, _SCHEMA):
            return []
        sql, params = _TABLES, list[Value]()
        if pattern is not None:
            sql, params = f"{sql} AND name LIKE ?", [*params, pattern]
        if after is not None:
            sql, params = f"{sql} AND name > ?", [*params, after[1]]
        sql = f"{sql} ORDER BY name LIMIT ?"
        # Those that are not shown are left out below.
        found = await self._rows(sql, *params, limit + len(self._deny_tables))
        counts = await self._counts()
        # A name that is no text in UTF-8 cannot be asked for either.
        named = [each for each in found if isinstance(each[0], str)]
        shown = [each for each in named if each[0].lower() not in self._deny_tables][:limit]
        return [
            results.Table(
                schema=_SCHEMA, name=name, kind=kind, comment=None, approx_rows=counts.get(name)
            )
            for name, kind in shown
        ]

    async def describe(self, schema: str | None, table: str) -> results.TableDescription | None:
        """Return what a table consists of; None when there is none of this name."""
        found = await self._find(schema, table)
        if found is None:
            return None
        name, kind = found
        statements = [Statement(sql=sql, params=[name]) for sql in _PARTS]
        columns, keys, references, indexes = [answer.rows for answer in await self._run(statements)]
        shown = [row for row in columns if not self._is_denied(name, row[0])]
        primary = sorted((row[4], row[0]) for row in shown if row[4])
        return {
            "schema": _SCHEMA,
            "name": name,
            "kind": kind,
            "comment": None,
            "columns": [
                {
                    "name": column,
                    "type": declared,
                    # An INTEGER PRIMARY KEY is the row's number (sqlite.org/lang_createtable.html).
                    "nullable": not required and (declared.upper(), key) != ("INTEGER", 1),
                    "default": default,
                    "comment": None,
                }
                for column, declared, required, default, key in shown
            ],
            "primary_key": [column for _, column in primary],
            "foreign_keys": self._foreign_keys(name, keys),
            "referenced_by": self._foreign_keys(name, references, outward=False),
            "indexes": self._indexes(name, indexes),
        }

    async def stats(self, schema: str | None, table: str) -> results.TableStats | None:
        """Return how large a table is; None when there is none of this name."""
        found = await self._find(schema, table)
        if found is None:
            return None
        name, kind = found
        quoted = '"' + name.replace('"', '""') + '"'
        # A count reads the whole table, so it stops somewhere.
        counted = f"SELECT count(*) FROM (SELECT 1 FROM {quoted} LIMIT {_COUNTED})"  # noqa: S608
        ((count,),) = await self._rows(counted)
        exact = count < _COUNTED
        if not exact:
            count = (await self._counts()).get(name)
        return {
            "schema": _SCHEMA,
            "name": name,
            "approx_rows": count,
            "exact": exact,
            "size_bytes": await self._size(name) if kind == "table" else None,
        }

    async def explain(self, sql: str, params: Sequence[Value]) -> Any:
        """Return the steps of the plan of a statement, which is not run."""
        (answer,) = await self._run([Statement(sql=sql, params=params, kind="plan")])
        return [{"id": row[0], "parent": row[1], "step": row[3]} for row in answer.rows]

    async def names(self) -> list[str]:
        """Return names of tables and views, for a suggestion."""
        return [each["name"] for each in await self.tables(None, None, _NAMES, None)]

    async def _rows(self, sql: str, *params: Value) -> list[list[Any]]:
        (answer,) = await self._run([Statement(sql=sql, params=params)])
        return answer.rows

    async def _find(self, schema: str | None, table: str) -> tuple[str, Any] | None:
        """Return a table's name as it is written in the catalogue, and its kind."""
        if schema not in (None, _SCHEMA) or table.lower() in self._deny_tables:
            return None
        found = await self._rows(f"{_TABLES} AND name = ? COLLATE NOCASE", table)
        return (found[0][0], found[0][1]) if found else None

    async def _counts(self) -> dict[str, int]:
        """Return the rows of each table as ANALYZE has counted them, if anybody ever ran it."""
        there = "SELECT 1 FROM sqlite_schema WHERE name = 'sqlite_stat1'"
        if not await self._rows(there):
            return {}
        return {name: count for name, count in await self._rows(_ROWS) if isinstance(name, str)}

    async def _size(self, name: str) -> int | None:
        """Return the bytes of a table and its indexes, where SQLite was built to tell."""
        try:
            ((size,),) = await self._rows(_SIZE, name)
        except Refused:
            return None
        return int(size) if size is not None else None

    def _foreign_keys(
        self, name: str, rows: Sequence[Sequence[Any]], *, outward: bool = True
    ) -> list[results.ForeignKey]:
        """Join the columns of each key; one with a column that is not shown is not shown either.

        Args:
            rows: other table, id, seq, the referencing column, the referenced one.
        """
        joined: dict[tuple[str, int], results.ForeignKey] = {}
        hidden = set()
        for other, number, _, source, target in rows:
            mine, theirs = (source, target) if outward else (target, source)
            if self._is_denied(other, theirs) or self._is_denied(name, mine):
                hidden.add((other, number))
            key = joined.setdefault(
                (other, number),
                {"schema": _SCHEMA, "table": other, "columns": [], "other_columns": []},
            )
            if mine is not None:
                key["columns"].append(mine)
            if theirs is not None:  # not named where it is the primary key
                key["other_columns"].append(theirs)
        return [key for place, key in joined.items() if place not in hidden]

    def _indexes(self, name: str, rows: Sequence[Sequence[Any]]) -> list[results.Index]:
        """Join the columns of each index; an expression has no name."""
        joined: dict[str, results.Index] = {}
        hidden = set()
        for index, unique, column in rows:
            if self._is_denied(name, column):
                hidden.add(index)
            each = joined.setdefault(index, {"name": index, "columns": [], "unique": bool(unique)})
            each["columns"].append(column if column is not None else "(expression)")
        return [index for place, index in joined.items() if place not in hidden]

    def _is_denied(self, table: str, column: str | None) -> bool:
        return (
            table.lower() in self._deny_tables or f"{table}.{column}".lower() in self._deny_columns
        )


_PARTS = (_COLUMNS, _KEYS, _REFERENCES, _INDEXES)
