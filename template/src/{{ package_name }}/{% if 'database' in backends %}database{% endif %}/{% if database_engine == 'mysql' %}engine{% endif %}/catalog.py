# managed: part of the template; modelctx updates may rewrite it. Your code lives in custom/.
"""What the database says about its tables. Runs in the server; each statement passes the read gate.

Names are always bound as values. What the role has no right on is not in information_schema.
Names of tables and columns that are not shown are compared without regard to case, whatever the
server's lower_case_table_names: so none is shown by another spelling.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Any

from .. import results
from ..job import Statement, Value
from ..pool import Answer
from ..rows import exact_json

_Run = Callable[[Sequence[Statement]], Awaitable[list[Answer]]]
_NAMES = 1000

# The schema, twice, or NULL for all but those of the system; lists as JSON in small letters, of
# schemas (NULL: all) and of tables that are not shown, twice.
_SHOWN = """
FROM information_schema.tables t
WHERE IF(? IS NULL,
    t.table_schema NOT IN ('information_schema', 'mysql', 'performance_schema', 'sys'),
    t.table_schema = ?)
AND t.table_type IN ('BASE TABLE', 'SYSTEM VERSIONED', 'VIEW', 'SYSTEM VIEW')
AND COALESCE(JSON_CONTAINS(?, JSON_QUOTE(LOWER(t.table_schema))), 1)
AND NOT JSON_CONTAINS(?, JSON_QUOTE(LOWER(t.table_name)))
AND NOT JSON_CONTAINS(?, JSON_QUOTE(LOWER(CONCAT(t.table_schema, '.', t.table_name))))
"""
_FIELDS = """
SELECT t.table_schema, t.table_name, t.table_type, t.table_comment, t.table_rows,
t.data_length + t.index_length
"""
_BINARY = "CAST(CONVERT({} USING utf8mb4) AS BINARY)"
_SCHEMA, _TABLE = _BINARY.format("t.table_schema"), _BINARY.format("t.table_name")
# Besides: the pattern twice; the schema and name after which to begin; how many.
_PAGE = f"""{_FIELDS} {_SHOWN}
AND (? IS NULL OR t.table_name LIKE ?)
AND (? IS NULL OR ({_SCHEMA}, {_TABLE}) > (CAST(? AS BINARY), CAST(? AS BINARY)))
ORDER BY {_SCHEMA}, {_TABLE} LIMIT ?
"""
# The one that is spelled so, and that a name without a schema means, comes first.
_FIND = f"""{_FIELDS} {_SHOWN} AND t.table_name = ?
ORDER BY {_TABLE} = CAST(? AS BINARY) DESC, t.table_schema = DATABASE() DESC, {_SCHEMA} LIMIT 1
"""
_COLUMNS = """
SELECT column_name, column_type, is_nullable = 'YES', column_default, column_comment
FROM information_schema.columns WHERE table_schema = ? AND table_name = ?
AND privileges LIKE '%select%' ORDER BY ordinal_position
"""
_INDEXES = """
SELECT index_name, non_unique = 0, column_name
FROM information_schema.statistics WHERE table_schema = ? AND table_name = ?
ORDER BY index_name, seq_in_index
"""
_KEYS = """
SELECT constraint_schema, table_schema, table_name, constraint_name, {other}, column_name,
referenced_column_name FROM information_schema.key_column_usage
WHERE {side}table_schema = ? AND {side}table_name = ? AND referenced_table_name IS NOT NULL
ORDER BY table_schema, table_name, constraint_name, ordinal_position
"""
_OUTWARD = _KEYS.format(other="referenced_table_schema, referenced_table_name", side="")
_INWARD = _KEYS.format(other="table_schema, table_name", side="referenced_")
_PARTS = (_COLUMNS, _INDEXES, _OUTWARD, _INWARD)


class Catalog:
    """The tables and views that the role may read.

    Args:
        run: runs statements through the read gate.
        schemas: those that are shown; empty for all.
        deny_tables: names that are not shown, with or without a schema.
        deny_columns: ``table.column`` or ``schema.table.column`` that are not shown.
    """

    def __init__(
        self,
        run: _Run,
        schemas: Sequence[str],
        deny_tables: Collection[str],
        deny_columns: Collection[str],
    ) -> None:
        self._run = run
        self._schemas = json.dumps([name.lower() for name in schemas]) if schemas else None
        self._deny_tables = frozenset(name.lower() for name in deny_tables)
        self._denied = json.dumps(sorted(self._deny_tables))
        self._deny_columns = frozenset(name.lower() for name in deny_columns)

    async def tables(
        self, schema: str | None, pattern: str | None, limit: int, after: tuple[str, str] | None
    ) -> list[results.Table]:
        """Return tables and views by schema and name, from the one after ``after`` on.

        Args:
            pattern: as in LIKE.
        """
        at, name = after or (None, None)
        which = self._which(schema)
        found = await self._rows(_PAGE, *which, pattern, pattern, at, at, name, limit)
        return [
            {
                "schema": row[0],
                "name": row[1],
                "kind": _kind(row),
                "comment": _comment(row),
                "approx_rows": row[4],
            }
            for row in found
        ]

    async def describe(self, schema: str | None, table: str) -> results.TableDescription | None:
        """Return what a table consists of; None when there is none of this name."""
        found = await self._find(schema, table)
        if found is None:
            return None
        at, name = found[0], found[1]
        statements = [Statement(sql=sql, params=[at, name]) for sql in _PARTS]
        columns, indexes, outward, inward = [each.rows for each in await self._run(statements)]
        by_name = _indexes(indexes)
        return {
            "schema": at,
            "name": name,
            "kind": _kind(found),
            "comment": _comment(found),
            "columns": [
                {
                    "name": column,
                    "type": declared,
                    "nullable": bool(nullable),
                    "default": None if default == "NULL" else default,  # as MariaDB writes none
                    "comment": said or None,
                }
                for column, declared, nullable, default, said in columns
                if not self._is_denied(at, name, column)
            ],
            "primary_key": [
                column
                for column in by_name.get("PRIMARY", (True, []))[1]
                if not self._is_denied(at, name, column)
            ],
            "foreign_keys": self._foreign_keys(at, name, outward, own=6),
            "referenced_by": self._foreign_keys(at, name, inward, own=7),
            "indexes": [
                {"name": index, "unique": unique, "columns": parts}
                for index, (unique, parts) in by_name.items()
                if not any(self._is_denied(at, name, column) for column in parts)
            ],
        }

    async def stats(self, schema: str | None, table: str) -> results.TableStats | None:
        """Return how large a table is; None when there is none of this name."""
        found = await self._find(schema, table)
        if found is None:
            return None
        return {
            "schema": found[0],
            "name": found[1],
            "approx_rows": found[4],
            "exact": False,
            "size_bytes": found[5],
        }

    async def explain(self, sql: str, params: Sequence[Value]) -> Any:
        """Return the plan of a statement, which is not run."""
        (answer,) = await self._run([Statement(sql=sql, params=params, kind="plan")])
        return exact_json(answer.rows[0][0]) if answer.rows else None

    async def names(self) -> list[str]:
        """Return names of tables and views, for a suggestion."""
        return [each["name"] for each in await self.tables(None, None, _NAMES, None)]

    async def _rows(self, sql: str, *params: Value) -> list[list[Any]]:
        (answer,) = await self._run([Statement(sql=sql, params=params)])
        return answer.rows

    def _which(self, schema: str | None) -> tuple[Value, ...]:
        return schema, schema, self._schemas, self._denied, self._denied

    async def _find(self, schema: str | None, table: str) -> list[Any] | None:
        found = await self._rows(_FIND, *self._which(schema), table, table)
        return found[0] if found else None

    def _is_denied(self, schema: str, table: str, column: str) -> bool:
        short = f"{table}.{column}".lower()
        return short in self._deny_columns or f"{schema.lower()}.{short}" in self._deny_columns

    def _foreign_keys(
        self, schema: str, table: str, rows: Sequence[Sequence[Any]], own: int
    ) -> list[results.ForeignKey]:
        """Gather the columns of each key. ``own`` is the place of those of the described table."""
        keys: dict[tuple[str, ...], results.ForeignKey] = {}
        for row in rows:
            at, name = row[4], row[5]
            key = keys.setdefault(
                tuple(row[:4]), {"schema": at, "table": name, "columns": [], "other_columns": []}
            )
            key["columns"].append(row[own])
            key["other_columns"].append(row[13 - own])
        return [
            key
            for key in keys.values()
            if not self._deny_tables & _names(key["schema"], key["table"])
            and not any(self._is_denied(schema, table, each) for each in key["columns"])
            and not any(
                self._is_denied(key["schema"], key["table"], each) for each in key["other_columns"]
            )
        ]


def _names(schema: str, table: str) -> set[str]:
    return {table.lower(), f"{schema}.{table}".lower()}


def _kind(row: Sequence[Any]) -> Any:
    return "view" if "VIEW" in row[2] else "table"


def _comment(row: Sequence[Any]) -> str | None:
    # MySQL and MariaDB write VIEW in the place of a view's comment.
    return row[3] if row[3] and row[3] != "VIEW" else None


def _indexes(rows: Sequence[Sequence[Any]]) -> dict[str, tuple[bool, list[str]]]:
    found: dict[str, tuple[bool, list[str]]] = {}
    for name, unique, column in rows:
        found.setdefault(name, (bool(unique), []))[1].append(column or "(expression)")
    return found
