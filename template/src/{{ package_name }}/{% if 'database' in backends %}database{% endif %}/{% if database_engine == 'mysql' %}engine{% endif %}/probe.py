# managed: part of the template; modelctx updates may rewrite it. Your code lives in custom/.
"""What the role may do, looked at once before anything is served.

The rights of every role that is granted to it count, in force or not.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import pymysql

from ...errors import Refused
from ..job import Config, Unsuitable

_Select = Callable[..., list[list[Any]]]
_Ask = Callable[[str], Sequence[tuple[Any, ...]]]

SYSTEM = ("information_schema", "mysql", "performance_schema", "sys")
# On all tables. Whatever else is granted there administers the server, or writes its own tables.
_HARMLESS = frozenset(
    {"USAGE", "SELECT", "SHOW DATABASES", "SHOW VIEW", "EXECUTE", "LOCK TABLES"}
    | {"CREATE TEMPORARY TABLES", "REPLICATION CLIENT", "BINLOG MONITOR", "SLAVE MONITOR"}
    | {"REPLICA MONITOR", "REFERENCES", "SHOW_ROUTINE", "SHOW CREATE ROUTINE"}
)
_NAMED = "`(?:[^`]|``)*+`"
_GRANT = re.compile(
    rf"GRANT (?P<rights>(?:[^`]|{_NAMED})+?) ON (?:PROCEDURE |FUNCTION |PACKAGE |PACKAGE BODY )?"
    rf"(?P<on>(?:\*|{_NAMED})(?:\.(?:\*|{_NAMED}))?) TO (?P<options>.*)",
    re.DOTALL,
)
_NAME = re.compile(f"{_NAMED}(?:@{_NAMED})?")
_ROLE = re.compile(f"GRANT (?P<roles>{_NAME.pattern}(?:, ?{_NAME.pattern})*) TO ")
# Passwords of accounts and of other servers.
_HASHES = (
    ("mysql", "global_priv", "Priv"),
    ("mysql", "user", "authentication_string"),
    ("mysql", "user", "Password"),
    ("mysql", "servers", "Password"),
    ("mysql", "slave_master_info", "User_password"),
)
_TABLES = "SELECT table_schema, table_name FROM information_schema.tables"
_ALIKE = f"""{_TABLES} WHERE LOWER(table_name) = LOWER(?)
AND LOWER(table_schema) = LOWER(COALESCE(?, table_schema))"""
# What such a function does is not held back by anything here, nor stopped: while it runs the
# account may not KILL its own connection, which counts as the owner's then.
_OWNERS_RIGHTS = """
SELECT routine_schema, routine_name FROM information_schema.routines
WHERE routine_type = 'FUNCTION' AND security_type = 'DEFINER'
AND routine_schema NOT IN ('mysql', 'sys') ORDER BY 1, 2 LIMIT 1
"""
_SCHEMAS = "SELECT schema_name FROM information_schema.schemata"
_LESSER = (
    "use a lesser one (CREATE USER reader IDENTIFIED BY '…'; GRANT SELECT ON shop.* TO reader), "
    "or set DATABASE__ALLOW_PRIVILEGED"
)


def check(select: _Select, ask: _Ask, config: Config, database: str) -> list[str]:
    """Look at the rights of the role, and return what is to be said of them.

    Args:
        select: runs a statement with values through the read gate and returns the rows.
        ask: runs a statement of ours that the gate refuses, SHOW GRANTS; values are bytes.
        database: the one that a name without a schema is in.

    Raises:
        Unsuitable: it may do more than reading, or may read what the settings deny.
    """
    if not config.allow_privileged:
        _check_rights(select, _grants(ask))
    for name in config.deny_tables:
        _check_denied(select, "DATABASE__DENY_TABLES", name, database)
    for name in config.deny_columns:
        _check_denied(select, "DATABASE__DENY_COLUMNS", name, database, column=True)
    if config.schemas:
        _check_schemas(select, config.schemas)
    found = select(_OWNERS_RIGHTS)
    return [f"may call {found[0][0]}.{found[0][1]} with its owner's rights"] if found else []


def _check_rights(select: _Select, grants: Sequence[str]) -> None:
    for grant in grants:
        found = _GRANT.match(grant)
        if found is None:
            if "ADMIN OPTION" in re.sub(_NAMED, "", grant):
                raise _privileged("may give a role to others (ADMIN OPTION)")
            if grant.startswith("GRANT ") and not _ROLE.match(grant):
                raise _privileged(f"has a right that is not known here, {grant.split()[1]}")
            continue
        columns = re.sub(_NAMED, "", found["rights"])  # may have any sign in their names
        rights = {each.strip() for each in re.sub(r"\(.*?\)", "", columns).split(",")}
        on = found["on"]
        more = sorted(rights - _HARMLESS)
        if on == "*.*" and more:
            raise _privileged(f"has the right {more[0]} on all databases")
        if on.startswith("`mysql`.") and more:
            raise _privileged("may write the server's own tables")
        if "GRANT OPTION" in re.sub(_NAMED, "", found["options"]):
            raise _privileged("may give its rights to others (GRANT OPTION)")
    for schema, table, column in _HASHES:
        if _may_read(select, schema, table, column):
            raise _privileged(f"may read passwords or their hashes in {schema}.{table}")


def _grants(ask: _Ask) -> list[str]:
    """Return what SHOW GRANTS says of the account, of its roles and theirs, and of PUBLIC."""
    grants = _shown(ask, "SHOW GRANTS")
    own = [found["roles"] for found in map(_ROLE.match, grants) if found]
    for role in {name for roles in own for name in _NAME.findall(roles)}:
        # The server has quoted the name itself. What it answers holds the rights of that role's
        # roles too. A role of MySQL has a host in its name, and it wants another form.
        using = f"SHOW GRANTS FOR CURRENT_USER() USING {role}"
        # A role of a role is refused: MariaDB has told of it with the other.
        grants += _shown(ask, using if "@" in role else f"SHOW GRANTS FOR {role}", optional=True)
    # MariaDB before 10.11 and MySQL have no PUBLIC.
    return grants + _shown(ask, "SHOW GRANTS FOR PUBLIC", optional=True)


def _shown(ask: _Ask, sql: str, *, optional: bool = False) -> list[str]:
    try:
        return [str(row[0], "utf-8", "replace") for row in ask(sql)]
    except pymysql.err.DatabaseError:
        if optional:
            return []
        raise


def _privileged(what: str) -> Unsuitable:
    return Unsuitable("DATABASE__URL", f"the role {what}; {_LESSER}")


def _check_denied(
    select: _Select, setting: str, name: str, database: str, *, column: bool = False
) -> None:
    """Make sure that the server refuses to read a table, or a column of one.

    A table on which the role has no right at all cannot be told from one that does not exist:
    the server refuses both in the same words (error 1142), so that is taken for denied.
    """
    *parts, last = name.split(".")
    table, own = (".".join(parts[-1:]), last) if column else (last, "")
    before = parts[:-1] if column else parts
    if not table or (column and not own) or len(before) > 1:
        form = "table.column" if column else "table"
        raise Unsuitable(setting, f"{name}: write {form} or schema.{form}")
    found = select(_ALIKE, table, before[0] if before else None)
    answers = []
    for schema, real in [*found, (before[0] if before else database, table)]:
        answers.append(_may_read(select, schema, real, own))
        if answers[-1]:
            raise Unsuitable(setting, f"{name}: the role may read it; {_revoke(schema, real)}")
    if False not in answers:
        raise Unsuitable(setting, f"{name}: there is none of this name")


def _check_schemas(select: _Select, schemas: Sequence[str]) -> None:
    known = {str(name).lower() for (name,) in select(_SCHEMAS)}
    for name in schemas:
        if name.lower() not in known:
            raise Unsuitable("DATABASE__SCHEMAS", f"{name}: there is none of this name")
    allowed = {*SYSTEM, *(name.lower() for name in schemas)}
    for schema, table in select(_TABLES):
        if schema.lower() not in allowed and _may_read(select, schema, table):
            raise Unsuitable(
                "DATABASE__SCHEMAS",
                f"the role may read {schema}.{table} too; {_revoke(schema, table)}",
            )


def _may_read(select: _Select, schema: str, table: str, column: str = "") -> bool | None:
    """Say whether the server lets the role read; None: there is none of this name."""
    wanted = _quoted(column) if column else "1"
    try:
        select(f"SELECT {wanted} FROM {_quoted(schema)}.{_quoted(table)} LIMIT 0")  # noqa: S608
    except Refused as refused:
        if refused.code == "denied":
            return False
        if refused.code == "sql":
            return None
        raise
    return True


def _quoted(name: str) -> str:
    """Return a name as an identifier. It is the catalogue's, or the operator's own."""
    return f"`{name.replace('`', '``')}`"


def _revoke(schema: str, table: str) -> str:
    return f"REVOKE SELECT ON {schema}.* from it, and GRANT it without {table}"  # noqa: S608
