# managed: part of the template; modelctx updates may rewrite it. Your code lives in custom/.
"""What a client is told: a small vocabulary, and its own path back, never one of the host.

The codes: ``invalid_path``, ``not_found``, ``denied``, ``is_directory``, ``not_a_directory``,
``not_regular``, ``too_large``, ``type_not_allowed``, ``conflict``, ``read_only``, ``timeout``.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import Refused

_MAX_SHOWN = 200  # characters of a path that a message repeats
_OUTSIDE = ("denied", "is outside the allowed folders")
_NO_SPACE = ("too_large", "there is no space left for it")
_BUSY = ("conflict", "is in use or changes too fast; try again")
_TOO_MANY = ("conflict", "cannot be opened now: too many files are open; try again")
_REFUSALS: dict[int | None, tuple[str, str]] = {
    errno.ENOENT: ("not_found", "no such file or folder"),
    errno.ENOTDIR: ("not_a_directory", "is not a folder, or a part of it is not"),
    errno.EISDIR: ("is_directory", "is a folder"),
    errno.EXDEV: _OUTSIDE,
    errno.ELOOP: ("denied", "leads through a link that is not followed"),
    errno.EACCES: ("denied", "the server's account may not do this"),
    errno.EPERM: ("denied", "the server's account may not do this"),
    errno.ENAMETOOLONG: ("invalid_path", "is too long, or a name in it is"),
    errno.EINVAL: ("invalid_path", "is not possible here"),
    errno.EILSEQ: ("invalid_path", "has characters that the file system does not take"),
    errno.EEXIST: ("conflict", "exists already"),
    errno.ENOTEMPTY: ("conflict", "the folder is not empty"),
    errno.EROFS: ("read_only", "is on a file system that cannot be written to"),
    errno.ENOSPC: _NO_SPACE,
    errno.EDQUOT: _NO_SPACE,
    errno.EFBIG: _NO_SPACE,
    errno.ENXIO: ("not_regular", "is not a regular file"),
    errno.ENODEV: ("not_regular", "is not a regular file"),
    errno.EMFILE: _TOO_MANY,
    errno.ENFILE: _TOO_MANY,
    errno.EAGAIN: _BUSY,
    errno.EBUSY: _BUSY,
    errno.ETXTBSY: _BUSY,
    errno.ESTALE: _BUSY,
}


@contextmanager
def refusals(shown: str) -> Iterator[None]:
    """Turn what the operating system says about a client's path into a refusal."""
    try:
        yield
    except OSError as error:
        if error.errno not in _REFUSALS:
            raise
        code, text = _REFUSALS[error.errno]
        raise Refused(code, f"{short(shown)}: {text}") from error


def check_regular(status: os.stat_result, shown: str) -> None:
    """Refuse anything but a regular file: its content may never end, or reading it may act.

    Raises:
        Refused: ``is_directory`` or ``not_regular``.
    """
    if stat.S_ISDIR(status.st_mode):
        raise Refused("is_directory", f"{short(shown)}: is a folder")
    if stat.S_ISLNK(status.st_mode):
        raise Refused("not_regular", f"{short(shown)}: is a link, which is not followed")
    if not stat.S_ISREG(status.st_mode):
        raise Refused("not_regular", f"{short(shown)}: is not a regular file")


def short(shown: str) -> str:
    """Return a path as a message repeats it: bounded, and without what JSON cannot hold."""
    text = shown.encode(errors="replace").decode()
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}…"


def outside(shown: str) -> Refused:
    """Refuse what is not below a root, whether it exists or not."""
    code, text = _OUTSIDE
    return Refused(code, f"{short(shown)}: {text}")


def denied(shown: str) -> Refused:
    """Refuse what the setting ``deny`` names, whether it exists or not."""
    return Refused("denied", f"{short(shown)}: paths of this name are not served")


def read_only(shown: str) -> Refused:
    """Refuse to change what lies in a root that is served read-only."""
    return Refused("read_only", f"{short(shown)}: this folder is served read-only")


def too_large(shown: str, limit: int) -> Refused:
    """Refuse a file of more than ``limit`` bytes."""
    return Refused("too_large", f"{short(shown)}: is larger than {limit} bytes")
