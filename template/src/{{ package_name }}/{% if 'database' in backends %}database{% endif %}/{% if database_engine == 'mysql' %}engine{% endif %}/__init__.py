# managed: part of the template; modelctx updates may rewrite it. Your code lives in custom/.
"""MySQL and MariaDB: a server, read through prepared statements in a session that is read-only."""

NAME = "MySQL or MariaDB"
PLACEHOLDERS = "Placeholders are ?, in the order of the values; a quoted ? is none."
URL_EXAMPLE = "mysql://user:password@host:3306/database"
