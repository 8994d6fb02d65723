# managed: part of the template; modelctx updates may rewrite it. Your code lives in custom/.
"""PostgreSQL: a server, read through a cursor in a transaction that is read-only."""

NAME = "PostgreSQL"
PLACEHOLDERS = "Placeholders are $1, $2, …; a cast says which type is meant, such as $1::date."
URL_EXAMPLE = "postgresql://user:password@host:5432/database"
