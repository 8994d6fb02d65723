# managed: part of the template; modelctx updates may rewrite it. Your code lives in custom/.
"""The address of a database of MySQL or MariaDB, read strictly: only what is named here is taken.

No option file is read, so nothing beside the URL says where to connect or how.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

from ..job import Unsuitable
from . import URL_EXAMPLE

_SCHEMES = ("mysql", "mariadb")
_MODES = ("DISABLED", "REQUIRED", "VERIFY_CA", "VERIFY_IDENTITY")
_FILES = ("ssl_ca", "ssl_cert", "ssl_key")
_ALLOWED = ("ssl_mode", *_FILES, "unix_socket")
_SETTING = "DATABASE__URL"
_WRITE = f"write {URL_EXAMPLE}; special characters of the password as %XX"


@dataclass(frozen=True, kw_only=True, repr=False)
class Address:
    """Where to connect and how.

    Args:
        ssl_mode: as of the clients of MySQL; empty: TLS when the server has it, unverified.
        ssl_ca: file of certificates to trust; empty: those of the system.
        unix_socket: path of a socket; empty: by TCP.
    """

    user: str
    password: str
    host: str
    port: int
    database: str
    ssl_mode: str = ""
    ssl_ca: str = ""
    ssl_cert: str = ""
    ssl_key: str = ""
    unix_socket: str = ""

    @property
    def verifies(self) -> bool:
        """Whether the server has to prove who it is."""
        return self.ssl_mode.startswith("VERIFY")

    @property
    def is_local(self) -> bool:
        """Whether nothing leaves this machine on the way."""
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    def __str__(self) -> str:
        """Return where it is, without credentials."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.database} at {self.unix_socket or f'{host}:{self.port}'}"


def parse(url: str) -> Address:
    """Return what a URL says.

    Raises:
        Unsuitable: it is the URL of another database, is incomplete, or has a parameter that is
            not allowed. The message never holds a part of the URL but a parameter's name.
    """
    if not url.isprintable() or " " in url or re.search("%(?![0-9a-fA-F]{2})|%00|#", url):
        raise Unsuitable(_SETTING, _WRITE)
    try:
        parts = urlsplit(url)
        query = parse_qsl(
            parts.query, keep_blank_values=True, strict_parsing=True, errors="strict"
        ) if parts.query else []  # fmt: skip
        user, password, database = (
            unquote(each or "", errors="strict")
            for each in (parts.username, parts.password, parts.path[1:])
        )
        host, port = parts.hostname or "", parts.port or 3306
    except ValueError:
        raise Unsuitable(_SETTING, _WRITE) from None
    if parts.scheme not in _SCHEMES or "/" in parts.path[1:] or not (user and host and database):
        raise Unsuitable(_SETTING, _WRITE)
    given = _parameters(query)
    if given.get("unix_socket") and host != "localhost":
        raise Unsuitable(_SETTING, "unix_socket: the host of the URL must be localhost then")
    return Address(user=user, password=password, host=host, port=port, database=database, **given)


def _parameters(query: list[tuple[str, str]]) -> dict[str, str]:
    given: dict[str, str] = {}
    for name, value in query:
        if name not in _ALLOWED or name in given or not value:
            shown = name if re.fullmatch("[a-z_]{1,30}", name) else "a parameter"
            raise Unsuitable(
                _SETTING, f"{shown}: not allowed here, empty or given twice; take it out of the URL"
            )
        given[name] = value
    for name in (*_FILES, "unix_socket"):
        if not given.get(name, "/").startswith("/"):
            raise Unsuitable(_SETTING, f"{name}: write an absolute path")
    if "ssl_ca" in given:  # who names it wants it used
        given.setdefault("ssl_mode", "VERIFY_CA")
    mode = given.get("ssl_mode", "")
    if mode and mode not in _MODES:
        raise Unsuitable(_SETTING, f"ssl_mode: write one of {', '.join(_MODES)}")
    if "ssl_ca" in given and not mode.startswith("VERIFY"):
        raise Unsuitable(_SETTING, "ssl_ca: needs ssl_mode VERIFY_CA or VERIFY_IDENTITY")
    if ("ssl_cert" in given) != ("ssl_key" in given) or (
        "ssl_cert" in given and mode in ("", "DISABLED")
    ):
        raise Unsuitable(
            _SETTING, "ssl_cert: needs ssl_key too, and ssl_mode REQUIRED or one that verifies"
        )
    if "unix_socket" in given and len(given) > 1:
        raise Unsuitable(_SETTING, "unix_socket: there is no TLS on a socket of this machine")
    return given


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
    address = parse(url)
    return [Path(each) for each in (address.ssl_ca, address.ssl_cert, address.ssl_key) if each]
