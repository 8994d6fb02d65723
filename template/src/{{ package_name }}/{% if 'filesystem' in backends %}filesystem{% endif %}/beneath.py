# managed: part of the template; modelctx updates may rewrite it. Your code lives in custom/.
"""Opens paths beneath a directory handle, whatever happens to the folders meanwhile.

A path is never checked and then opened: between the two, anyone who may write to the folder can
swap a component for a link (CWE-367). Here the opening itself cannot leave:

* `openat2` with RESOLVE_BENEATH, where the kernel has it (Linux 5.6): the kernel refuses "..",
  links and mount tricks that lead out, at the moment it follows them;
* `walk` elsewhere, and for what openat2 cannot say, such as an absolute link that points inside:
  one component at a time, each opened without following links from the handle of the one before.

Mount points below a root are part of it.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from . import kernel

# Flags that one of the systems lacks count as nothing there.
_PATH: int = getattr(os, "O_PATH", 0)
_NOFOLLOW: int = getattr(os, "O_NOFOLLOW", 0)
_DIRECTORY: int = getattr(os, "O_DIRECTORY", 0)
# To read a file. Opening must not wait for the other end of a FIFO, nor make a terminal ours.
CONTENT = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)
READABLE_DIRECTORY = os.O_RDONLY | _DIRECTORY
# To ask what something is, and to go on from a directory. Without O_PATH this reads as well.
HANDLE = _PATH or CONTENT
DIRECTORY = _PATH | _DIRECTORY

MAX_LINKS = 40  # as in the kernel, path_resolution(7)
MAX_STEPS = 20_000  # components opened for one path, those of the links on the way included
_DELETED = " (deleted)"  # what /proc appends to the name of an entry that is gone

Identity = tuple[int, int]
# Called with a directory and the real names of a folder that is missing in it.
Make = Callable[[int, Sequence[str]], None]


@dataclass(frozen=True, slots=True)
class Opened:
    """A descriptor, which belongs to whoever asked for it, and the real way to it.

    Args:
        fd: the open descriptor.
        names: components below the root, without links; empty for the root itself.
    """

    fd: int
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Top:
    """A folder that must not be left.

    Args:
        fd: its handle.
        spellings: its absolute paths, so that absolute links into it can be followed.
        follow: follow links that stay beneath; otherwise every link is an error.
        kernel_way: openat2 works here.
    """

    fd: int
    spellings: tuple[str, ...]
    follow: bool
    kernel_way: bool

    def open(self, path: str, flags: int) -> Opened:
        """Open a path.

        Args:
            path: relative to the folder; "" is the folder itself.
            flags: as for `os.open`.

        Raises:
            OSError: EXDEV when the path leads out, ELOOP for a link that is not followed.
        """
        if not self.kernel_way:
            return self.walk(path, flags)
        resolve = kernel.RESOLVE_BENEATH | kernel.RESOLVE_NO_MAGICLINKS
        if not self.follow:
            resolve |= kernel.RESOLVE_NO_SYMLINKS
        try:
            fd = kernel.openat2(self.fd, path or ".", flags, resolve)
        except OSError as error:
            # EXDEV: perhaps an absolute link that points inside. ENAMETOOLONG: beyond PATH_MAX.
            if error.errno in (errno.EXDEV, errno.ENAMETOOLONG):
                return self.walk(path, flags)
            raise
        names = _names_of(fd, self.fd)
        if names is None:
            os.close(fd)
            return self.walk(path, flags)
        return Opened(fd, names)

    def walk(self, path: str, flags: int, make: Make | None = None) -> Opened:
        """Open a path component by component.

        Args:
            path: as for `open`.
            flags: as for `open`.
            make: makes a folder that is missing on the way, or refuses.

        Raises:
            OSError: as `open`.
        """
        at = _Position(self.fd)
        try:
            return self._walk(at, path, flags, make)
        finally:
            at.close()

    def _walk(self, at: _Position, path: str, flags: int, make: Make | None) -> Opened:
        todo, ends_in_folder, links = _components(path), _names_folder(path), 0
        while todo:
            name = todo.pop()
            if name == "..":
                at.up()
                continue
            last = not todo and not ends_in_folder
            found = _step(at, name, flags if last else DIRECTORY, make)
            if isinstance(found, int):
                if last:
                    return Opened(found, (*at.names, name))
                at.down(found, name)
                continue
            links += 1
            if links > MAX_LINKS or not self.follow:
                raise _error(errno.ELOOP)
            if found.startswith("/"):
                found = self._inside(found)
                at.restart()
            ends_in_folder = ends_in_folder or (not todo and _names_folder(found))
            todo.extend(_components(found))
        return Opened(os.open(".", flags | os.O_CLOEXEC, dir_fd=at.fd), tuple(at.names))

    def _inside(self, target: str) -> str:
        """Return the part of a link's absolute target that is below this folder."""
        for spelling in self.spellings:
            rest = strip_top(spelling, target)
            if rest is not None:
                return rest
        raise _error(errno.EXDEV)


class _Position:
    """Where a walk stands: one open directory and its real names below the top.

    Only this one directory is open. ".." starts again from the top along the names, so a deep
    path cannot use up the descriptors of the process.
    """

    def __init__(self, top: int) -> None:
        self._top = top
        self._steps = 0
        self.names: list[str] = []
        self.fd = os.open(".", DIRECTORY | os.O_CLOEXEC, dir_fd=top)

    def down(self, fd: int, name: str) -> None:
        """Stand in the directory ``fd``, just opened as ``name``; takes the descriptor over."""
        self._stand_in(fd)
        self.names.append(name)

    def up(self) -> None:
        """Go to the parent, as far as the top."""
        if not self.names:
            raise _error(errno.EXDEV)
        names = self.names[:-1]
        self.restart()
        for name in names:
            self.down(open_child(self.fd, name, DIRECTORY), name)

    def restart(self) -> None:
        """Go back to the top."""
        self._stand_in(os.open(".", DIRECTORY | os.O_CLOEXEC, dir_fd=self._top))
        self.names.clear()

    def close(self) -> None:
        """Close the directory it stands in."""
        os.close(self.fd)

    def _stand_in(self, fd: int) -> None:
        os.close(self.fd)
        self.fd = fd
        self._steps += 1
        if self._steps > MAX_STEPS:
            raise _error(errno.ENAMETOOLONG)


def _step(at: _Position, name: str, flags: int, make: Make | None) -> int | str:
    """Open the next component, which may have to be made first: as `_open_or_read`."""
    try:
        return _open_or_read(at.fd, name, flags)
    except FileNotFoundError:
        if make is None:
            raise
    make(at.fd, (*at.names, name))
    return _open_or_read(at.fd, name, flags)


def _open_or_read(directory: int, name: str, flags: int) -> int | str:
    """Open one component without following it: a descriptor, or the target when it is a link."""
    try:
        fd = open_child(directory, name, flags)
    except OSError as error:
        # A link is ELOOP for most flags and ENOTDIR with O_DIRECTORY.
        if error.errno not in (errno.ELOOP, errno.ENOTDIR):
            raise
        try:
            return os.readlink(name, dir_fd=directory)
        except OSError:
            raise error from None
    if flags & _PATH and stat.S_ISLNK(os.fstat(fd).st_mode):  # O_PATH opens the link itself
        try:
            return os.readlink("", dir_fd=fd)
        finally:
            os.close(fd)
    return fd


@contextmanager
def closed_on_error(fd: int) -> Iterator[None]:
    """Close a descriptor when the block does not get to its end."""
    try:
        yield
    except BaseException:
        os.close(fd)
        raise


def open_child(directory: int, name: str, flags: int) -> int:
    """Open an entry of a directory. ``name`` is one component, and a link is an error."""
    return os.open(name, flags | _NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)


def strip_top(top: str, path: str) -> str | None:
    """Return what follows the folder ``top`` in an absolute path, or None when it is not below.

    Component by component, so ``/srv/docs2`` is not below ``/srv/docs``. Empty components and
    "." count as nothing; ".." counts as a name, which no folder has.
    """
    parts = path.split("/")
    at = 0
    for wanted in filter(None, top.split("/")):
        while at < len(parts) and parts[at] in ("", "."):
            at += 1
        if at == len(parts) or parts[at] != wanted:
            return None
        at += 1
    return "/".join(parts[at:]).lstrip("/")


def ancestors(directory: int) -> list[Identity]:
    """Return the identity of a directory, of its parent, and so on as far as can be seen."""
    found: list[Identity] = []
    fd = os.open(".", DIRECTORY | os.O_CLOEXEC, dir_fd=directory)
    try:
        while (here := identity(os.fstat(fd))) not in found[-1:]:
            found.append(here)
            parent = os.open("..", DIRECTORY | os.O_CLOEXEC, dir_fd=fd)
            os.close(fd)
            fd = parent
    except PermissionError:  # a folder above that this account may not search
        pass
    finally:
        os.close(fd)
    return found


def identity(status: os.stat_result) -> Identity:
    """Return what tells one file or folder of this machine from all others."""
    return status.st_dev, status.st_ino


def _names_of(fd: int, top: int) -> tuple[str, ...] | None:
    """Return the real way from ``top`` to ``fd`` now, or None when the kernel cannot tell."""
    path, start = _path_of(fd), _path_of(top)
    if path is None or start is None:
        return None
    if path == start:
        return ()
    return tuple(path[len(start) + 1 :].split("/")) if path.startswith(start + "/") else None


def _path_of(fd: int) -> str | None:
    try:
        path = os.readlink(f"/proc/self/fd/{fd}")  # noqa: PTH115 - in every call, and cheaper
    except OSError:
        return None
    return None if path.endswith(_DELETED) else path


def _components(path: str) -> list[str]:
    """Return the components of a path, the first one last."""
    return [part for part in reversed(path.split("/")) if part not in ("", ".")]


def _names_folder(path: str) -> bool:
    return path.endswith(("/", "/."))


def _error(number: int) -> OSError:
    return OSError(number, os.strerror(number))
