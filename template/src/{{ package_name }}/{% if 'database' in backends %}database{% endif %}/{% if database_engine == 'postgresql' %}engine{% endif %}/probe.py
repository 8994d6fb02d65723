# managed: part of the template; modelctx updates may rewrite it. Your code lives in custom/.
"""What the role may do, looked at once before anything is served.

The rights of every role that it may become by SET ROLE count as its own.
"""

from __future__ import annotations

from typing import Any

import psycopg

from ..job import Config, Unsuitable

# Rights with an effect outside of a transaction, or on the database's host. A member of a role
# may become it, inherited or not. BYPASSRLS is about reading, so it is said and not refused.
_RIGHTS = """
SELECT 'is a superuser', 'ALTER ROLE … NOSUPERUSER' FROM pg_roles r
    WHERE r.rolsuper AND pg_has_role(r.oid, 'MEMBER')
UNION ALL SELECT 'may replicate, and so keep the server from removing its log',
    'ALTER ROLE … NOREPLICATION' FROM pg_roles r
    WHERE r.rolreplication AND pg_has_role(r.oid, 'MEMBER')
UNION ALL SELECT 'may make roles', 'ALTER ROLE … NOCREATEROLE' FROM pg_roles r
    WHERE r.rolcreaterole AND pg_has_role(r.oid, 'MEMBER')
UNION ALL SELECT 'is a member of ' || r.rolname, 'REVOKE ' || r.rolname || ' FROM …' FROM pg_roles r
    WHERE r.rolname IN ('pg_read_server_files', 'pg_write_server_files',
    'pg_execute_server_program', 'pg_signal_backend', 'pg_checkpoint', 'pg_maintain', 'pg_monitor',
    'pg_create_subscription', 'pg_read_all_data', 'pg_read_all_settings', 'pg_read_all_stats',
    'pg_write_all_data') AND pg_has_role(r.oid, 'MEMBER')
UNION ALL SELECT 'may read the passwords in ' || t.name, 'REVOKE SELECT ON ' || t.name || ' FROM …'
    FROM (VALUES ('pg_authid'), ('pg_shadow'), ('pg_user_mapping')) t (name), pg_roles r
    WHERE pg_has_role(r.oid, 'MEMBER') AND has_any_column_privilege(r.oid, t.name, 'SELECT')
UNION ALL SELECT 'may call ' || p.proname, 'REVOKE EXECUTE ON FUNCTION ' || p.proname || ' FROM …'
    FROM pg_proc p WHERE p.pronamespace = 'pg_catalog'::regnamespace
    AND p.proname IN ('pg_read_file', 'pg_read_binary_file', 'pg_ls_dir', 'lo_import', 'lo_export',
    'pg_switch_wal', 'pg_reload_conf', 'pg_rotate_logfile', 'pg_create_restore_point',
    'pg_stat_reset')
    AND EXISTS (SELECT FROM pg_roles r WHERE pg_has_role(r.oid, 'MEMBER')
    AND has_function_privilege(r.oid, p.oid, 'EXECUTE'))
"""
# What such a function does is not held back by anything here, should it reach out of the database.
_OWNERS_RIGHTS = """
SELECT p.oid::regprocedure::text FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE p.prosecdef AND n.nspname NOT IN ('pg_catalog', 'information_schema')
AND has_schema_privilege(n.oid, 'USAGE') AND has_function_privilege(p.oid, 'EXECUTE')
ORDER BY 1 LIMIT 1
"""
_BYPASS = "SELECT rolbypassrls FROM pg_roles WHERE rolname = current_user"

# All tables that are not the system's, with those that belong to one: partitions and heirs, which
# show the same rows.
_TABLES = """
WITH RECURSIVE own AS (
    SELECT c.oid, n.oid AS at, n.nspname::text AS schema, c.relname::text AS name
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')
    AND n.nspname !~ '^pg_(toast|temp_|catalog$)' AND n.nspname <> 'information_schema'
), family AS (
    SELECT oid AS top, oid FROM own
    UNION SELECT f.top, i.inhrelid FROM family f JOIN pg_inherits i ON i.inhparent = f.oid
)
"""
_MAY_ENTER = """EXISTS (SELECT FROM pg_roles r WHERE pg_has_role(r.oid, 'MEMBER')
AND has_schema_privilege(r.oid, o.at, 'USAGE') AND {right})"""
_DENIED_TABLES = f"""{_TABLES}
SELECT o.schema || '.' || o.name, bool_or({
    _MAY_ENTER.format(right="has_any_column_privilege(r.oid, o.oid, 'SELECT')")
}) FROM family f JOIN own t ON t.oid = f.top JOIN own o ON o.oid = f.oid
WHERE %s IN (t.name, t.schema || '.' || t.name) GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 1
"""  # noqa: S608
_DENIED_COLUMNS = f"""{_TABLES}
SELECT o.schema || '.' || o.name, bool_or({
    _MAY_ENTER.format(right="has_column_privilege(r.oid, o.oid, b.attnum, 'SELECT')")
}) FROM family f JOIN own t ON t.oid = f.top JOIN own o ON o.oid = f.oid
JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum > 0 AND NOT a.attisdropped
JOIN pg_attribute b ON b.attrelid = o.oid AND b.attname = a.attname
WHERE %s IN (t.name || '.' || a.attname, t.schema || '.' || t.name || '.' || a.attname)
GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 1
"""  # noqa: S608
_OUTSIDE = f"""{_TABLES}
SELECT o.schema, o.schema || '.' || o.name FROM own o WHERE NOT (o.schema = ANY (%s)) AND {
    _MAY_ENTER.format(right="has_any_column_privilege(r.oid, o.oid, 'SELECT')")
} ORDER BY 2 LIMIT 1
"""  # noqa: S608
_NO_SCHEMA = """SELECT name FROM unnest(%s::text[]) name
WHERE NOT EXISTS (SELECT FROM pg_namespace WHERE nspname = name) LIMIT 1"""


def check(connection: psycopg.Connection[Any], config: Config) -> list[str]:
    """Return what is to be said of the role.

    Raises:
        Unsuitable: it may do more than reading, or may read what the settings deny.
    """
    _check_rights(connection, config)
    for setting, names, sql in (
        ("DATABASE__DENY_TABLES", config.deny_tables, _DENIED_TABLES),
        ("DATABASE__DENY_COLUMNS", config.deny_columns, _DENIED_COLUMNS),
    ):
        for name in names:
            row = connection.execute(sql, (name,)).fetchone()
            if row is None:
                raise Unsuitable(setting, f"{name}: there is none of this name")
            if row[1]:
                raise Unsuitable(setting, f"{name}: the role may read it; {_revoke(row[0])}")
    _check_schemas(connection, list(config.schemas))
    row = connection.execute(_BYPASS).fetchone()
    noted = ["row-level security bypassed"] if row and row[0] else []
    row = connection.execute(_OWNERS_RIGHTS).fetchone()
    return [*noted, f"may call {row[0]} with its owner's rights"] if row else noted


def _check_rights(connection: psycopg.Connection[Any], config: Config) -> None:
    row = None if config.allow_privileged else connection.execute(_RIGHTS).fetchone()
    if row is not None:
        raise Unsuitable(
            "DATABASE__URL",
            f"the role {row[0]}; use a lesser one (CREATE ROLE reader LOGIN PASSWORD '…'; GRANT "
            f"SELECT ON ALL TABLES IN SCHEMA public TO reader), or {row[1]}, or set "
            "DATABASE__ALLOW_PRIVILEGED",
        )


def _check_schemas(connection: psycopg.Connection[Any], schemas: list[str]) -> None:
    if not schemas:
        return
    row = connection.execute(_NO_SCHEMA, (schemas,)).fetchone()
    if row is not None:
        raise Unsuitable("DATABASE__SCHEMAS", f"{row[0]}: there is none of this name")
    row = connection.execute(_OUTSIDE, (schemas,)).fetchone()
    if row is not None:
        raise Unsuitable("DATABASE__SCHEMAS", f"the role may read {row[1]} too; {_revoke(row[1])}")


def _revoke(table: str) -> str:
    return f"REVOKE SELECT ON {table} from it, PUBLIC and the roles that it is in"  # noqa: S608
