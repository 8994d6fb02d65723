# managed: part of the template; modelctx updates may rewrite it. Your code lives in custom/.
"""Everything that alters a folder: always one entry of an open folder, never by a path.

A file is published whole. Its content is written where nobody sees it, flushed to the disk, and
given its name in one step, so that a crash at any moment leaves the old content or the new.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self

from ..errors import Refused
from . import kernel
from .beneath import identity
from .refusals import check_regular, refusals, too_large
from .sandbox import TEMPORARY_PREFIX, ParentHandle

_EXCLUSIVE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)
_PROBE = (
    os.O_WRONLY
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_NOCTTY", 0)
)
_TMPFILE: int = getattr(os, "O_TMPFILE", 0)
# What systems answer that cannot rename without replacing: none of it, or not on this disk.
_NO_RENAMEAT2 = (errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP)


def publish(parent: ParentHandle, data: bytes, *, replace: bool, mode: int = 0o666) -> None:
    """Write a file so that it appears, or changes, at once.

    A file that is replaced hands on its mode and, where this account may, its owner. Access lists
    and extended attributes are not kept, and other names of it (hard links) keep the old content.

    Args:
        parent: from `Sandbox.parent`.
        data: the whole content.
        replace: take the place of a regular file of that name; otherwise the name must be free.
        mode: permissions of a new file, less the umask.

    Raises:
        Refused: ``conflict`` when the name is taken, ``not_regular`` or ``is_directory`` when it
            is taken by something that is never replaced, ``type_not_allowed``, ``too_large``,
            ``denied`` when this account may not write to the old file.
    """
    parent.sandbox.rules.check_type(parent.name, parent.shown)
    if len(data) > parent.sandbox.max_file_size:
        raise too_large(parent.shown, parent.sandbox.max_file_size)
    with refusals(parent.shown):
        old = _replaceable(parent) if replace else None
        with _Unfinished(parent.fd, mode) as new:
            new.write(data)
            if old is not None:
                new.inherit(old)
            os.fsync(new.fd)
            if old is None:
                new.take_free_name(parent.name)
            else:
                new.take_name(parent.name)
    _flush(parent)


def rename(source: ParentHandle, target: ParentHandle, *, replace: bool = False) -> None:
    """Move a file or a folder with all that is in it.

    Args:
        source: from `Sandbox.parent`; may be in another root than the target.
        target: its new place.
        replace: a file may take the place of a regular file; a folder never replaces anything.

    Raises:
        Refused: ``conflict`` when the name is taken or lies on another file system,
            ``not_regular`` for links and devices, ``denied`` for a folder that must stay because
            of a root or a denied path below it, ``type_not_allowed`` for either name.
    """
    with refusals(source.shown):
        status = os.stat(source.name, dir_fd=source.fd, follow_symlinks=False)
        is_folder = stat.S_ISDIR(status.st_mode)
        if is_folder:
            _check_may_go(source, status)
    rules = source.sandbox.rules
    if not is_folder:
        check_regular(status, source.shown)
        rules.check_type(source.name, source.shown)
        rules.check_type(target.name, target.shown)
    # Whatever it is now: between this and the renaming a folder may take the place of a file.
    if rules.pins(source.names) or rules.pins(target.names):
        raise Refused(
            "denied", f"{source.shown}: something below it must keep its path, or must not get it"
        )
    with _moving(target):
        if replace and not is_folder and _replaceable(target) is not None:
            os.rename(source.name, target.name, src_dir_fd=source.fd, dst_dir_fd=target.fd)
        else:
            _rename_exclusive(source.fd, source.name, target.fd, target.name, is_folder)
    _flush(source)
    _flush(target)


def make_directory(parent: ParentHandle) -> None:
    """Make a folder.

    Raises:
        Refused: ``conflict`` when the name is taken, by a folder as well.
    """
    with refusals(parent.shown):
        os.mkdir(parent.name, dir_fd=parent.fd)
    _flush(parent)


def remove_file(parent: ParentHandle) -> None:
    """Remove a regular file, or a link but not its target.

    Raises:
        Refused: ``is_directory``, ``not_regular``, ``not_found``, ``type_not_allowed``.
    """
    with refusals(parent.shown):
        status = os.stat(parent.name, dir_fd=parent.fd, follow_symlinks=False)
        if not stat.S_ISLNK(status.st_mode):
            check_regular(status, parent.shown)
            parent.sandbox.rules.check_type(parent.name, parent.shown)
        os.unlink(parent.name, dir_fd=parent.fd)
    _flush(parent)


def remove_directory(parent: ParentHandle) -> None:
    """Remove an empty folder.

    Raises:
        Refused: ``conflict`` when it is not empty, ``not_a_directory``, ``denied`` for a root.
    """
    with refusals(parent.shown):
        status = os.stat(parent.name, dir_fd=parent.fd, follow_symlinks=False)
        _check_may_go(parent, status)
        os.rmdir(parent.name, dir_fd=parent.fd)
    _flush(parent)


class _Unfinished:
    """A new file that is being written: without a name, or with one that nobody can guess.

    Where the system has no files without a name (O_TMPFILE), a crash leaves the temporary one
    behind. The sandbox shows it to no client.
    """

    def __init__(self, directory: int, mode: int) -> None:
        self._directory = directory
        self._name: str | None = None
        flags = _TMPFILE | os.O_WRONLY | os.O_CLOEXEC
        if _TMPFILE and Path("/proc/self/fd").is_dir():
            with suppress(OSError):  # not on every file system; then it has a name
                self.fd = os.open(".", flags, mode, dir_fd=directory)
                return
        name = _temporary_name()
        self.fd = os.open(name, _EXCLUSIVE | os.O_CLOEXEC, mode, dir_fd=directory)
        self._name = name

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.fd)
        if self._name is not None:
            with suppress(OSError):
                os.unlink(self._name, dir_fd=self._directory)

    def write(self, data: bytes) -> None:
        """Write all of the content; one system call may write less."""
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(self.fd, rest) :]

    def inherit(self, old: os.stat_result) -> None:
        """Take over the old file's owner, where this account may, and its permissions.

        The setuid and setgid bits are not for new content. What the old group could do, a group
        that could not be kept cannot.
        """
        permissions = stat.S_IMODE(old.st_mode) & 0o777
        new = os.fstat(self.fd)
        if (new.st_uid, new.st_gid) != (old.st_uid, old.st_gid):
            with suppress(OSError):
                os.fchown(self.fd, -1, old.st_gid)
            with suppress(OSError):
                os.fchown(self.fd, old.st_uid, -1)
        if os.fstat(self.fd).st_gid != old.st_gid:
            permissions = (permissions & 0o707) | (permissions & 0o007) << 3
        if stat.S_IMODE(new.st_mode) != permissions:  # file systems without permissions refuse
            os.fchmod(self.fd, permissions)

    def take_free_name(self, name: str) -> None:
        """Appear under a name that nothing has."""
        if self._name is None:
            self._link(name)
        else:
            _rename_exclusive(self._directory, self._name, self._directory, name, False)
            self._name = None

    def take_name(self, name: str) -> None:
        """Take a name from whatever has it. A link is replaced, never followed."""
        if self._name is None:
            temporary = _temporary_name()
            self._link(temporary)
            self._name = temporary
        os.rename(self._name, name, src_dir_fd=self._directory, dst_dir_fd=self._directory)
        self._name = None

    def _link(self, name: str) -> None:
        path = f"/proc/self/fd/{self.fd}"
        os.link(path, name, dst_dir_fd=self._directory, follow_symlinks=True)


def _temporary_name() -> str:
    return TEMPORARY_PREFIX + secrets.token_hex(16)


def _replaceable(parent: ParentHandle) -> os.stat_result | None:
    """Return what the file is that would be replaced, or None when there is nothing.

    Replacing needs no right on the old file itself, only on its folder. A file that this account
    may not write to is left alone nevertheless: opening it asks the system.
    """
    try:
        status = os.stat(parent.name, dir_fd=parent.fd, follow_symlinks=False)
    except FileNotFoundError:
        return None
    check_regular(status, parent.shown)
    fd = os.open(parent.name, _PROBE | os.O_CLOEXEC, dir_fd=parent.fd)
    try:
        status = os.fstat(fd)
    finally:
        os.close(fd)
    check_regular(status, parent.shown)
    return status


def _check_may_go(parent: ParentHandle, status: os.stat_result) -> None:
    if parent.sandbox.holds_root(identity(status)):
        raise Refused("denied", f"{parent.shown}: is or holds an allowed folder")


def _rename_exclusive(
    source_dir: int, source: str, target_dir: int, target: str, is_folder: bool
) -> None:
    """Rename without replacing anything, on every system in steps that cannot destroy."""
    try:
        kernel.rename_exclusive(source_dir, source, target_dir, target)
    except OSError as error:
        if error.errno not in _NO_RENAMEAT2:
            raise
    else:
        return
    if is_folder:
        # A new folder takes the name, and an empty folder may be renamed over.
        os.mkdir(target, dir_fd=target_dir)
        try:
            os.rename(source, target, src_dir_fd=source_dir, dst_dir_fd=target_dir)
        except OSError:
            os.rmdir(target, dir_fd=target_dir)
            raise
    else:
        os.link(source, target, src_dir_fd=source_dir, dst_dir_fd=target_dir, follow_symlinks=False)
        try:
            os.unlink(source, dir_fd=source_dir)
        except OSError:
            os.unlink(target, dir_fd=target_dir)
            raise


@contextmanager
def _moving(target: ParentHandle) -> Iterator[None]:
    """Turn what the system says about a renaming into a refusal."""
    try:
        with refusals(target.shown):
            yield
    except Refused as refused:
        number = getattr(refused.__cause__, "errno", None)
        if number == errno.EXDEV:
            text = "is on another file system: copy it, then delete the source"
            raise Refused("conflict", f"{target.shown}: {text}") from None
        if number == errno.EINVAL:
            text = "a folder cannot be moved into itself"
            raise Refused("conflict", f"{target.shown}: {text}") from None
        raise


def _flush(parent: ParentHandle) -> None:
    """Wait until the folder's new entry is on the disk. Not every file system can say so."""
    with suppress(OSError):
        os.fsync(parent.fd)
