# managed: part of the template; modelctx updates may rewrite it. Your code lives in custom/.
"""SQLite: a file of this machine, opened for reading in a process that can be killed."""

NAME = "SQLite"
PLACEHOLDERS = "Placeholders are ?, in the order of params."
URL_EXAMPLE = "sqlite:////srv/shop.db"
