# managed: part of the template; modelctx updates may rewrite it. Your code lives in custom/.
"""The address of a database of PostgreSQL, read strictly: libpq takes much more in a URL.

Only what is named here is passed on. ``options``, ``service``, ``passfile`` and the like could
switch a protection off or name another server.
"""

from __future__ import annotations

import re
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

from ..job import Unsuitable
from . import URL_EXAMPLE

_SCHEMES = ("postgresql", "postgres")
_FILES = ("sslrootcert", "sslcert", "sslkey")
_ALLOWED = frozenset(
    {"sslmode", *_FILES, "channel_binding", "application_name", "host", "target_session_attrs"}
)
_WRITE = f"write {URL_EXAMPLE}; special characters of the password as %XX"


def parse(url: str) -> dict[str, str]:
    """Return the parameters of a connection, as libpq names them.

    Raises:
        Unsuitable: it is the URL of another database, is incomplete, or has a parameter that is
            not allowed. The message never holds a part of the URL but a parameter's name.
    """
    if not url.isprintable() or " " in url or re.search("%(?![0-9a-fA-F]{2})|%00|#", url):
        raise _wrong()
    try:
        parts = urlsplit(url)
        query = parse_qsl(
            parts.query, keep_blank_values=True, strict_parsing=True, errors="strict"
        ) if parts.query else []  # fmt: skip
        found = {
            "user": unquote(parts.username or "", errors="strict"),
            "password": unquote(parts.password or "", errors="strict"),
            "host": parts.hostname or "",
            "port": str(parts.port or 5432),
            "dbname": unquote(parts.path[1:], errors="strict"),
        }
    except ValueError:
        raise _wrong() from None
    if parts.scheme not in _SCHEMES or "/" in parts.path[1:]:
        raise _wrong()
    for name, value in query:
        if name not in _ALLOWED or (name in found and (name != "host" or found["host"])):
            shown = name if re.fullmatch("[a-z_]{1,30}", name) else "a parameter"
            raise Unsuitable(
                "DATABASE__URL",
                f"{shown}: not allowed here, or given twice; take it out of the URL",
            )
        if name == "host" and not value.startswith("/"):
            raise Unsuitable(
                "DATABASE__URL", "host: only the folder of a socket, as /run/postgresql"
            )
        found[name] = value
    # Without these libpq would take the account's name, another database, or the local socket.
    if not (found["user"] and found["dbname"] and found["host"]) or "," in found["host"]:
        raise _wrong()
    return {name: value for name, value in found.items() if value}


def _wrong() -> Unsuitable:
    return Unsuitable("DATABASE__URL", _WRITE)


def is_local(host: str) -> bool:
    """Say whether nothing leaves this machine on the way to a host."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.startswith("/") or host == "localhost"


def files(url: str, *, write: bool) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the host paths that a worker must be able to read, and to change."""
    del write  # the data lie on the server
    return tuple(str(path) for path in _named(url) if path.exists()), ()


def own_files(url: str) -> list[Path]:
    """Return the files through which another backend would reach the same data: the TLS key."""
    try:
        return _named(url)
    except Unsuitable:  # said where the database is opened
        return []


def _named(url: str) -> list[Path]:
    given = parse(url)
    return [Path(given[name]) for name in _FILES if given.get(name, "system") != "system"]
