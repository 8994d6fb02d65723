# managed: part of the template; modelctx updates may rewrite it. Your code lives in custom/.
"""Reads, writes, copies, moves and deletes. All work is blocking and belongs in a thread."""

from __future__ import annotations

import hashlib
import os
import secrets
import stat
import time
import unicodedata
from collections.abc import Hashable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from ..errors import Refused
from . import changes, edits
from .beneath import ancestors, identity
from .limits import Deadline, Locks
from .refusals import refusals, short, too_large
from .sandbox import ParentHandle, Sandbox
from .settings import FilesystemSettings
from .walk import Reader, Walk


@dataclass(frozen=True, slots=True)
class Content:
    """What a file holds.

    Args:
        data: the bytes.
        status: what the system says about it.
        path: where it is, without links.
    """

    data: bytes
    status: os.stat_result
    path: str

    @property
    def sha256(self) -> str:
        """Digest of the content, see `sha256`."""
        return sha256(self.data)


@dataclass(frozen=True, slots=True)
class Edited:
    """What edits have made of a file, or would make."""

    diff: str
    diff_cut: bool
    data: bytes


class Files:
    """All that can be done with single files and folders.

    Args:
        sandbox: opens and checks.
        settings: the limits.
    """

    def __init__(self, sandbox: Sandbox, settings: FilesystemSettings) -> None:
        self._sandbox = sandbox
        self._settings = settings
        self._locks = Locks()

    def read(self, path: str, max_bytes: int | None = None) -> Content:
        """Read a whole file.

        Args:
            path: the client's path.
            max_bytes: less than the setting for all files, or None.

        Raises:
            Refused: as `Sandbox.open_file`.
        """
        with self._sandbox.open_file(path) as file:
            if max_bytes is not None and file.stat.st_size > max_bytes:
                raise too_large(path, max_bytes)
            real = "/".join([file.location.root.spellings[0], file.beneath])
            return Content(file.read(), file.stat, real)

    def write(
        self,
        deadline: Deadline,
        path: str,
        content: str,
        *,
        if_match: str = "",
        create_only: bool = False,
        append: bool = False,
        make_parents: bool = False,
    ) -> bytes:
        """Write a text as UTF-8 and return what the file holds then.

        Args:
            deadline: until when to wait for another writer.
            path: the client's path.
            content: the text.
            if_match: SHA-256 of what the file must hold now; empty for anything.
            create_only: refuse when the file exists.
            append: put the text behind what is there.
            make_parents: make the folders that are missing.

        Raises:
            Refused: ``conflict`` when a condition does not hold; also as `Sandbox.parent` and
                `changes.publish`.
        """
        if create_only and (append or if_match):
            raise Refused(
                "invalid_arguments", "create_only is for new files, append and if_match are not"
            )
        data = _encode(content)
        with (
            self._sandbox.parent(path, make=make_parents, follow=True) as parent,
            self._locks.hold(deadline, _key(parent)),
        ):
            if append or if_match:
                old = self._current(parent, path)
                _check_match(path, old, if_match)
                data = (old or b"") + data if append else data
            changes.publish(parent, data, replace=not create_only)
        return data

    def edit(
        self,
        deadline: Deadline,
        path: str,
        replacements: Sequence[edits.Replacement],
        *,
        dry_run: bool = False,
        if_match: str = "",
    ) -> Edited:
        """Replace passages of a file.

        Args:
            deadline: until when to wait for another writer.
            path: the client's path.
            replacements: see `edits.apply`.
            dry_run: change nothing.
            if_match: SHA-256 of what the file must hold now; empty for anything.

        Raises:
            Refused: as `edits.apply` and `write`; ``type_not_allowed`` when it is not UTF-8.
        """
        with (
            self._sandbox.parent(path, follow=True) as parent,
            self._locks.hold(deadline, _key(parent)),
        ):
            old = self._current(parent, path)
            if old is None:
                raise Refused("not_found", f"{short(path)}: no such file or folder")
            _check_match(path, old, if_match)
            before = _decode(path, old)
            after = edits.apply(before, replacements, self._settings.max_file_size)
            deadline.check()
            data = _encode(after)
            if not dry_run and data != old:
                changes.publish(parent, data, replace=True)
        diff, cut = edits.difference(path, before, after, self._settings.max_response_bytes)
        return Edited(diff, cut, data)

    def make_directory(self, path: str) -> None:
        """Make a folder and those that are missing above it. It may exist already.

        Raises:
            Refused: ``conflict`` when the name belongs to something else.
        """
        if self._is_folder(path):
            return
        with self._sandbox.parent(path, make=True) as parent:
            try:
                changes.make_directory(parent)
            except Refused as refused:
                # Perhaps another call has just made it.
                if refused.code != "conflict" or not self._is_folder(path):
                    raise

    def move(self, deadline: Deadline, source: str, target: str, *, overwrite: bool) -> None:
        """Move a file or a folder. A folder never takes the place of anything.

        Raises:
            Refused: as `changes.rename`.
        """
        with self._sandbox.parent(source) as old, self._sandbox.parent(target) as new:
            if stat.S_ISDIR(_mode(old)):
                with self._locks.hold_all(deadline):
                    changes.rename(old, new)
            else:
                with self._locks.hold(deadline, _key(old), _key(new)):
                    changes.rename(old, new, replace=overwrite)

    def delete(self, deadline: Deadline, path: str, *, recursive: bool) -> str:
        """Move a file or a folder to the trash of its allowed folder; a link is just removed.

        Args:
            deadline: until when to wait for other writers.
            path: the client's path.
            recursive: permit that for a folder.

        Returns:
            Where it is now, or an empty string.

        Raises:
            Refused: ``is_directory`` without ``recursive``, ``denied`` in the trash itself;
                also as `changes.rename`.
        """
        with self._sandbox.parent(path) as parent, self._locks.hold_all(deadline):
            if parent.names[0] == self._settings.trash:
                raise Refused("denied", f"{short(path)}: is the trash, or already in it")
            mode = _mode(parent)
            if stat.S_ISLNK(mode):
                changes.remove_file(parent)
                return ""
            if stat.S_ISDIR(mode) and not recursive:
                raise Refused(
                    "is_directory", f"{short(path)}: is a folder; set recursive to delete it"
                )
            root = parent.location.root.spellings[0]
            stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
            folder = f"{root}/{self._settings.trash}/{stamp}-{secrets.token_hex(4)}"
            trash = f"{folder}/{parent.name}"
            try:
                with self._sandbox.parent(trash, make=True) as new:
                    changes.rename(parent, new)
            except Refused:
                self._remove_empty(folder)
                raise
            return trash

    def copy(
        self, deadline: Deadline, source: str, target: str, *, overwrite: bool, recursive: bool
    ) -> tuple[int, int]:
        """Copy a file, or a folder with all that may be served in it.

        Args:
            deadline: when to stop.
            source: the client's path.
            target: where to; a folder must not exist yet.
            overwrite: let a file take the place of another file.
            recursive: permit to copy a folder.

        Returns:
            How many files were copied, and how many entries were left out.

        Raises:
            Refused: ``is_directory`` without ``recursive``; ``timeout`` or ``too_large`` when
                there is too much, with what was copied until then left in place.
        """
        _, status = self._sandbox.stat(source)
        if not stat.S_ISDIR(status.st_mode):
            self._copy_file(deadline, source, target, overwrite)
            return 1, 0
        if not recursive:
            raise Refused("is_directory", f"{short(source)}: is a folder; set recursive to copy it")
        return self._copy_folder(deadline, source, target)

    def _copy_file(self, deadline: Deadline, source: str, target: str, overwrite: bool) -> None:
        self._put(deadline, self.read(source), target, overwrite)

    def _put(self, deadline: Deadline, content: Content, target: str, overwrite: bool) -> None:
        with (
            self._sandbox.parent(target, follow=overwrite) as parent,
            self._locks.hold(deadline, _key(parent)),
        ):
            mode = stat.S_IMODE(content.status.st_mode) & 0o777
            changes.publish(parent, content.data, replace=overwrite, mode=mode)

    def _copy_folder(self, deadline: Deadline, source: str, target: str) -> tuple[int, int]:
        reader = Reader(self._sandbox, self._settings, deadline)
        copied = skipped = 0
        with self._sandbox.open_directory(source) as top, Walk(reader, top) as walk:
            with self._sandbox.parent(target) as parent:
                if identity(os.fstat(top.fd)) in ancestors(parent.fd):
                    raise Refused(
                        "conflict", f"{short(target)}: a folder cannot be copied into itself"
                    )
                changes.make_directory(parent)
            for found in walk:
                inside = f"{target}/{found.path}"
                if found.is_folder:
                    with self._sandbox.parent(inside) as parent:
                        changes.make_directory(parent)
                elif content := self._served(f"{source}/{found.path}", found.is_file):
                    self._put(deadline, content, inside, False)
                    copied += 1
                else:
                    skipped += 1
        if walk.stopped or not walk.complete:
            raise Refused(
                "too_large",
                f"{short(source)}: holds too much; {copied} files were copied, then it ended",
            )
        return copied, skipped

    def _served(self, path: str, is_file: bool) -> Content | None:
        """Read a file of a folder that is copied, or say that it is left out."""
        try:
            return self.read(path) if is_file else None
        except Refused:
            return None

    def _current(self, parent: ParentHandle, path: str) -> bytes | None:
        """Read what an entry holds that is going to be replaced; None when there is nothing."""
        try:
            with self._sandbox.open_file(path) as file:
                there = os.stat(parent.name, dir_fd=parent.fd, follow_symlinks=False)
                if identity(there) != identity(file.stat):
                    raise Refused("conflict", f"{short(path)}: is being replaced; try again")
                return file.read()
        except Refused as refused:
            if refused.code != "not_found":
                raise
            return None
        except FileNotFoundError:
            raise Refused("conflict", f"{short(path)}: is being replaced; try again") from None

    def _is_folder(self, path: str) -> bool:
        try:
            _, status = self._sandbox.stat(path)
        except Refused as refused:
            if refused.code != "not_found":
                raise
            return False
        return stat.S_ISDIR(status.st_mode)

    def _remove_empty(self, path: str) -> None:
        with suppress(Refused), self._sandbox.parent(path) as parent:
            changes.remove_directory(parent)


def sha256(data: bytes) -> str:
    """Return a digest in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def _key(parent: ParentHandle) -> Hashable:
    """Return what identifies an entry, by whatever path it was reached.

    The name is taken as a file system would that ignores case and composition: two names that
    share a lock only wait for each other, two locks for one file would lose a change.
    """
    name = unicodedata.normalize("NFC", parent.name).casefold()
    return (*identity(os.fstat(parent.fd)), name)


def _mode(parent: ParentHandle) -> int:
    with refusals(parent.shown):
        return os.stat(parent.name, dir_fd=parent.fd, follow_symlinks=False).st_mode


def _check_match(path: str, content: bytes | None, wanted: str) -> None:
    if not wanted:
        return
    if content is None or sha256(content) != wanted.lower():
        raise Refused(
            "conflict", f"{short(path)}: is not what if_match names any more; read it again first"
        )


def _encode(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise Refused(
            "invalid_arguments", "the text has half a surrogate pair, which no file can hold"
        ) from None


def _decode(path: str, data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise Refused(
            "type_not_allowed", f"{short(path)}: is not UTF-8 text, so it is not edited"
        ) from None
