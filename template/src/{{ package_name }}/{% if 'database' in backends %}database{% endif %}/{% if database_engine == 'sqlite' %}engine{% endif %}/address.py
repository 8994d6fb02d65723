# managed: part of the template; modelctx updates may rewrite it. Your code lives in custom/.
"""The address of a database of SQLite."""

import os
from pathlib import Path

from ..job import Unsuitable
from . import URL_EXAMPLE

_SCHEME = "sqlite:///"
_LONGEST, _LONGEST_NAME = 4096, 200  # bytes, so that there is room for -journal
_WRITE = f"write {URL_EXAMPLE}, with the whole path of the file after sqlite:///"


def file_of(url: str) -> Path:
    """Return the file that a URL names. ``%`` and ``?`` are characters of the name.

    Raises:
        Unsuitable: it is the URL of another database, has no absolute path, or names memory.
    """
    path = Path(url.removeprefix(_SCHEME))
    # A client starts the server anywhere, so a relative path would be another file each time.
    if not (url.startswith(_SCHEME) and path.is_absolute() and url.isprintable()):
        raise Unsuitable("DATABASE__URL", _WRITE)
    if len(url.encode(errors="replace")) > _LONGEST or any(
        len(part.encode(errors="replace")) > _LONGEST_NAME for part in path.parts
    ):
        raise Unsuitable("DATABASE__URL", "the path is too long")
    return path


def files(url: str, *, write: bool) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the host paths that a worker must be able to read, and to change.

    The whole folder: beside the database lie its journal and its log, which come and go.
    """
    folder = str(file_of(url).resolve().parent)
    return ((), (folder,)) if write else ((folder,), ())


def own_files(url: str) -> list[Path]:
    """Return the files that are the database: nobody but SQLite may touch them."""
    try:
        path = file_of(url)
    except Unsuitable:  # said where the database is opened
        return []
    # SQLite names them after the file that a link leads to.
    places = dict.fromkeys([path, Path(os.path.realpath(path))])
    return [Path(f"{place}{end}") for place in places for end in ("", "-wal", "-shm", "-journal")]
