# managed: part of the template; modelctx updates may rewrite it. Your code lives in custom/.
"""The allowed folders: opened once, at the start, and held open.

When a root's folder is renamed the server goes on with it; when it is removed and made anew, the
server must be started again.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import ConfigError
from . import beneath
from .beneath import Identity, identity
from .settings import ALLOWED_PATHS

_NEVER_BELOW = ("/proc", "/sys", "/dev")


@dataclass(frozen=True, slots=True)
class RootSpec:
    """A folder as configured.

    Args:
        path: host path.
        writable: whether tools may change what is in it.
    """

    path: str
    writable: bool


@dataclass(frozen=True, slots=True)
class Root:
    """A folder that is served.

    Args:
        path: its real absolute path.
        spellings: absolute paths by which clients and links may name it, the real one included.
        writable: whether tools may change what is in it.
        fd: its handle, open until the sandbox is closed.
        identity: device and inode.
    """

    path: str
    spellings: tuple[str, ...]
    writable: bool
    fd: int
    identity: Identity


def open_roots(specs: Sequence[RootSpec]) -> tuple[Root, ...]:
    """Open the configured folders. One that is listed twice is one root.

    Raises:
        ConfigError: a folder cannot be served, or there is none.
    """
    if os.open not in os.supports_dir_fd:
        raise ConfigError(
            "The filesystem backend does not run on Windows, which has no directory handles for "
            "Python; run it in WSL or in a container"
        )
    if not specs:
        raise ConfigError(f'{ALLOWED_PATHS}: write the folders to serve, such as ["/srv/docs"]')
    roots: dict[Identity, Root] = {}
    try:
        for spec in specs:
            root = _open_root(spec)
            if root.identity in roots:
                root = _merged(roots[root.identity], root)
            roots[root.identity] = root
    except BaseException:
        close_roots(roots.values())
        raise
    return tuple(roots.values())


def close_roots(roots: Iterable[Root]) -> None:
    """Close the handles."""
    for root in roots:
        os.close(root.fd)


def _open_root(spec: RootSpec) -> Root:
    where = f"{ALLOWED_PATHS}: {spec.path}"
    try:
        fd = os.open(spec.path, beneath.DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise ConfigError(f"{where} does not exist; make it, or name another folder") from None
    except NotADirectoryError:
        raise ConfigError(f"{where} is not a folder; write the folder that it is in") from None
    except (OSError, ValueError):
        raise ConfigError(f"{where} cannot be opened by this account") from None
    with beneath.closed_on_error(fd):
        return _checked_root(spec, fd, where)


def _checked_root(spec: RootSpec, fd: int, where: str) -> Root:
    status = os.fstat(fd)
    real = os.path.realpath(spec.path)
    if real == "/" or any(beneath.strip_top(top, real) is not None for top in _NEVER_BELOW):
        raise ConfigError(f"{where} is never served; write a folder that holds only what may be")
    try:
        os.close(os.open(".", beneath.READABLE_DIRECTORY | os.O_CLOEXEC, dir_fd=fd))
    except OSError:
        raise ConfigError(f"{where} cannot be read by this account") from None
    # Python takes "x/.." out of a path as text, the system only after it has followed x.
    configured = os.path.normpath(Path(spec.path).absolute())
    spellings = [path for path in (configured, real) if _is(path, status)]
    if not spellings:
        raise ConfigError(f"{where} changes while it is opened")
    return Root(real, tuple(dict.fromkeys(spellings)), spec.writable, fd, identity(status))


def _merged(known: Root, again: Root) -> Root:
    os.close(again.fd)
    if known.writable != again.writable:
        raise ConfigError(f"{ALLOWED_PATHS}: {again.path} is there twice, read-only and writable")
    return replace(known, spellings=tuple(dict.fromkeys(known.spellings + again.spellings)))


def _is(path: str, status: os.stat_result) -> bool:
    try:
        return identity(Path(path).stat()) == identity(status)
    except OSError:
        return False
