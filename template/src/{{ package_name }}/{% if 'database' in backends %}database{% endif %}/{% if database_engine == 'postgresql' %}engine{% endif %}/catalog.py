# managed: part of the template; modelctx updates may rewrite it. Your code lives in custom/.
"""What PostgreSQL says about its tables. Runs in the server; every statement passes the read gate.

Names are always bound as values, or are those that the catalogue has. What the role may not read
is not shown.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Any

from .. import results
from ..job import Statement, Value
from ..pool import Answer

_Run = Callable[[Sequence[Statement]], Awaitable[list[Answer]]]
_NAMES = 1000

# $1: the schema, or NULL for all but those of the system. $2, $3: lists as JSON, of schemas (NULL:
# all) and of tables that are not shown. How names are compared: as `Session.probe` does.
_SHOWN = """
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')
AND CASE WHEN $1::text IS NULL
    THEN n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' ELSE n.nspname = $1::text END
AND ($2::text IS NULL OR n.nspname IN (SELECT jsonb_array_elements_text($2::jsonb)))
AND c.relname NOT IN (SELECT jsonb_array_elements_text($3::jsonb))
AND n.nspname || '.' || c.relname NOT IN (SELECT jsonb_array_elements_text($3::jsonb))
AND has_schema_privilege(n.oid, 'USAGE') AND has_any_column_privilege(c.oid, 'SELECT')
"""
_FIELDS = """
SELECT n.nspname::text, c.relname::text,
CASE c.relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'view' WHEN 'f' THEN 'virtual' ELSE 'table' END,
obj_description(c.oid, 'pg_class'),
CASE WHEN c.relkind <> 'v' AND c.reltuples >= 0 THEN c.reltuples::int8 END, c.oid::int8
"""
# A pattern, or NULL; the schema and name after which to begin, or NULL; how many.
_PAGE = f"""{_FIELDS} {_SHOWN}
AND ($4::text IS NULL OR c.relname LIKE $4::text)
AND ($5::text IS NULL OR (n.nspname, c.relname) > ($5::text::name, $6::text::name))
ORDER BY n.nspname, c.relname LIMIT $7::int8
"""
# The one that a name without a schema means comes first.
_FIND = f"""{_FIELDS} {_SHOWN} AND c.relname = $4::text
ORDER BY pg_table_is_visible(c.oid) DESC, n.nspname LIMIT 1
"""
_COLUMNS = """
SELECT a.attname::text, format_type(a.atttypid, a.atttypmod), NOT a.attnotnull,
pg_get_expr(d.adbin, d.adrelid), col_description(a.attrelid, a.attnum)
FROM pg_catalog.pg_attribute a
LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE a.attrelid = $1::oid AND a.attnum > 0 AND NOT a.attisdropped
AND has_column_privilege(a.attrelid, a.attnum, 'SELECT')
ORDER BY a.attnum
"""
_COLUMN_LIST = """ARRAY(SELECT a.attname::text FROM unnest({keys}) WITH ORDINALITY k (number, place)
JOIN pg_catalog.pg_attribute a ON a.attrelid = {table} AND a.attnum = k.number ORDER BY k.place)"""
_PRIMARY = f"""
SELECT {_COLUMN_LIST.format(keys="i.indkey::int2[]", table="i.indrelid")}
FROM pg_catalog.pg_index i WHERE i.indrelid = $1::oid AND i.indisprimary
"""  # noqa: S608
_KEYS = """
SELECT n.nspname::text, t.relname::text, {mine}, {other}
FROM pg_catalog.pg_constraint f
JOIN pg_catalog.pg_class t ON t.oid = f.{to}
JOIN pg_catalog.pg_namespace n ON n.oid = t.relnamespace
WHERE f.contype = 'f' AND f.conparentid = 0 AND f.{by} = $1::oid
AND has_any_column_privilege(t.oid, 'SELECT') ORDER BY f.conname, f.oid
"""
_SOURCE = _COLUMN_LIST.format(keys="f.conkey", table="f.conrelid")
_TARGET = _COLUMN_LIST.format(keys="f.confkey", table="f.confrelid")
_OUTWARD = _KEYS.format(mine=_SOURCE, other=_TARGET, to="confrelid", by="conrelid")
_INWARD = _KEYS.format(mine=_TARGET, other=_SOURCE, to="conrelid", by="confrelid")
_INDEXES = """
SELECT c.relname::text, i.indisunique,
ARRAY(SELECT pg_get_indexdef(i.indexrelid, k, true) FROM generate_series(1, i.indnkeyatts) k)
FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
WHERE i.indrelid = $1::oid ORDER BY c.relname
"""
# A partitioned table is the sum of its leaves.
_STATS = """
SELECT CASE WHEN bool_and(c.reltuples >= 0) THEN sum(c.reltuples)::int8 END,
sum(pg_total_relation_size(c.oid))::int8
FROM pg_catalog.pg_class c WHERE c.relkind IN ('r', 'm') AND c.oid IN (
SELECT $1::oid UNION SELECT relid::oid FROM pg_partition_tree($1::oid::regclass) WHERE isleaf)
"""


class Catalog:
    """The tables, views and foreign tables that the role may read.

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
        self._schemas = json.dumps(list(schemas)) if schemas else None
        self._deny_tables = frozenset(deny_tables)
        self._denied = json.dumps(list(deny_tables))
        self._deny_columns = frozenset(deny_columns)

    async def tables(
        self, schema: str | None, pattern: str | None, limit: int, after: tuple[str, str] | None
    ) -> list[results.Table]:
        """Return tables and views by schema and name, from the one after ``after`` on.

        Args:
            pattern: as in LIKE.
        """
        begin = after or (None, None)
        if _holds_nul(schema, pattern, *begin):
            return []
        found = await self._rows(_PAGE, *self._which(schema), pattern, *begin, limit)
        return [
            results.Table(schema=at, name=name, kind=kind, comment=comment, approx_rows=rows)
            for at, name, kind, comment, rows, _ in found
        ]

    async def describe(self, schema: str | None, table: str) -> results.TableDescription | None:
        """Return what a table consists of; None when there is none of this name."""
        found = await self._find(schema, table)
        if found is None:
            return None
        at, name, kind, comment, _, oid = found
        statements = [Statement(sql=sql, params=[oid]) for sql in _PARTS]
        columns, primary, outward, inward, indexes = [
            answer.rows for answer in await self._run(statements)
        ]
        return {
            "schema": at,
            "name": name,
            "kind": kind,
            "comment": comment,
            "columns": [
                {
                    "name": column,
                    "type": declared,
                    "nullable": nullable,
                    "default": default,
                    "comment": said,
                }
                for column, declared, nullable, default, said in columns
                if not self._is_denied(at, name, column)
            ],
            "primary_key": [
                column
                for (names,) in primary
                for column in names
                if not self._is_denied(at, name, column)
            ],
            "foreign_keys": self._foreign_keys(at, name, outward),
            "referenced_by": self._foreign_keys(at, name, inward),
            "indexes": [
                {"name": index, "unique": unique, "columns": parts}
                for index, unique, parts in indexes
                if not self._mentions_denied(at, name, parts)
            ],
        }

    async def stats(self, schema: str | None, table: str) -> results.TableStats | None:
        """Return how large a table is; None when there is none of this name."""
        found = await self._find(schema, table)
        if found is None:
            return None
        at, name, _, _, _, oid = found
        ((count, size),) = await self._rows(_STATS, oid)
        return {
            "schema": at,
            "name": name,
            "approx_rows": count,
            "exact": False,
            "size_bytes": size,
        }

    async def explain(self, sql: str, params: Sequence[Value]) -> Any:
        """Return the plan of a statement, which is not run."""
        (answer,) = await self._run([Statement(sql=sql, params=params, kind="plan")])
        return answer.rows[0][0] if answer.rows else None

    async def names(self) -> list[str]:
        """Return names of tables and views, for a suggestion."""
        return [each["name"] for each in await self.tables(None, None, _NAMES, None)]

    async def _rows(self, sql: str, *params: Value) -> list[list[Any]]:
        (answer,) = await self._run([Statement(sql=sql, params=params)])
        return answer.rows

    def _which(self, schema: str | None) -> tuple[Value, Value, Value]:
        return schema, self._schemas, self._denied

    async def _find(self, schema: str | None, table: str) -> list[Any] | None:
        if _holds_nul(schema, table):
            return None
        found = await self._rows(_FIND, *self._which(schema), table)
        return found[0] if found else None

    def _is_denied(self, schema: str, table: str, column: str) -> bool:
        short = f"{table}.{column}"
        return short in self._deny_columns or f"{schema}.{short}" in self._deny_columns

    def _mentions_denied(self, schema: str, table: str, parts: Sequence[str]) -> bool:
        """Say whether an index may be over a denied column: its name stands in it somewhere."""
        names = [
            name.rpartition(".")[2]
            for name in self._deny_columns
            if self._is_denied(schema, table, name.rpartition(".")[2])
        ]
        return any(name in part for name in names for part in parts)

    def _foreign_keys(
        self, schema: str, table: str, rows: Sequence[Sequence[Any]]
    ) -> list[results.ForeignKey]:
        return [
            {"schema": at, "table": name, "columns": mine, "other_columns": theirs}
            for at, name, mine, theirs in rows
            if not self._deny_tables & {name, f"{at}.{name}"}
            and not any(self._is_denied(schema, table, column) for column in mine)
            and not any(self._is_denied(at, name, column) for column in theirs)
        ]


_PARTS = (_COLUMNS, _PRIMARY, _OUTWARD, _INWARD, _INDEXES)


def _holds_nul(*texts: str | None) -> bool:
    """Say whether a text has a character that no name of PostgreSQL's can have."""
    return any("\0" in text for text in texts if text)
