# managed: part of the template; modelctx updates may rewrite it. Your code lives in custom/.
"""The confinement: every path of a client becomes a descriptor here, or a refusal.

Nothing else in this backend opens a file by its path. Read it with the modules it is made of:

* `beneath`, with `kernel`: opens a path so that it cannot leave its root;
* `roots`: the allowed folders, opened once;
* `rules`: file types and denied names;
* `refusals`: what a client is told;
* `changes`: everything that alters a folder.

What holds for every path:

* A client's text is never trimmed, unquoted or expanded: what is checked is what is opened.
* Outside looks the same whether something is there or not: ``denied``, in the same words.
* The innermost root decides: through a writable root nothing is written into a read-only one
  that lies in it.

Windows is refused at the start. Python has no directory handles there, and to check a path
before it is used would only look safe. WSL and containers work.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal, Self

from ..errors import Refused
from . import beneath, kernel
from .beneath import Identity, Opened, Top, closed_on_error
from .refusals import check_regular, denied, outside, read_only, refusals, short, too_large
from .roots import Root, RootSpec, close_roots, open_roots
from .rules import NameRules

__all__ = [
    "TEMPORARY_PREFIX",
    "Entry",
    "Kind",
    "Location",
    "OpenDirectory",
    "OpenFile",
    "ParentHandle",
    "Root",
    "RootSpec",
    "Sandbox",
]

MAX_PATH_BYTES = 64 * 1024
# Names of the server's own unfinished files; no client reaches them.
TEMPORARY_PREFIX = ".modelctx-unfinished-"
_CHUNK = 1024 * 1024

Kind = Literal["file", "directory", "link", "other"]


@dataclass(frozen=True, slots=True)
class Location:
    """A client's path, sorted to a root by its text alone.

    Args:
        root: the root it names.
        relative: the rest, exactly as the client wrote it; "" is the root itself.
        shown: the whole path as the client wrote it, for messages.
    """

    root: Root
    relative: str
    shown: str


@dataclass(slots=True)
class Handle:
    """A descriptor that is closed at the end of the ``with`` block.

    Args:
        fd: the open descriptor.
        location: what the client asked for.
        beneath: where it really is, below the root and without links; "" is the root itself.
    """

    fd: int
    location: Location
    beneath: str

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the descriptor, once."""
        if self.fd >= 0:
            fd, self.fd = self.fd, -1
            os.close(fd)


@dataclass(slots=True)
class OpenFile(Handle):
    """A regular file, open for reading.

    Args:
        stat: what it was when it was opened.
        limit: bytes it may hold.
    """

    stat: os.stat_result
    limit: int

    def read(self) -> bytes:
        """Read the whole file from where the descriptor stands.

        Raises:
            Refused: ``too_large``, when it has grown over the limit since it was opened.
        """
        chunks: list[bytes] = []
        size = 0
        while chunk := os.read(self.fd, _CHUNK):
            size += len(chunk)
            if size > self.limit:
                raise too_large(self.location.shown, self.limit)
            chunks.append(chunk)
        return b"".join(chunks)


@dataclass(slots=True)
class OpenDirectory(Handle):
    """A folder whose entries can be read: ``os.scandir(directory.fd)``."""


@dataclass(slots=True)
class ParentHandle(Handle):
    """The folder in which an entry is to be made, replaced or removed, and the entry's name.

    ``beneath`` is that of the folder. The entry need not exist. See `changes` for what can be
    done with it.

    Args:
        name: one component.
        sandbox: where it comes from.
    """

    name: str
    sandbox: Sandbox

    @property
    def shown(self) -> str:
        """The path as the client wrote it, not longer than a message should be."""
        return short(self.location.shown)

    @property
    def names(self) -> tuple[str, ...]:
        """The entry's real way below the root."""
        return (*_split(self.beneath), self.name)


@dataclass(frozen=True, slots=True)
class Entry:
    """What may be told about an entry of a folder.

    Args:
        kind: ``link`` for a link that is not followed, of which nothing more is told; a link that
            is followed has the kind of its target.
        stat: of the file or folder; None for a link.
    """

    kind: Kind
    stat: os.stat_result | None


class Sandbox:
    """The allowed folders, and the only way to anything in them.

    Safe for use by several threads. The handles it returns belong to the caller, who closes them
    by ``with``. All methods raise `Refused` with a client's text, and nothing but `Refused` for
    anything that a client can cause.

    Args:
        roots: the folders; the first is the one that relative paths start from.
        follow_links: follow links that stay inside their root; otherwise refuse every link.
        deny: see `NameRules`.
        allowed_extensions: see `NameRules`.
        blocked_extensions: see `NameRules`.
        deny_hardlinks: refuse to read files with more than one name.
        max_file_size: bytes of the largest file that is read or written.
        reserved: name of an entry of each root that no client makes, moves or removes.

    Raises:
        ConfigError: a root cannot be served.
    """

    def __init__(
        self,
        roots: Sequence[RootSpec],
        *,
        follow_links: bool,
        deny: Sequence[str],
        allowed_extensions: Sequence[str],
        blocked_extensions: Sequence[str],
        deny_hardlinks: bool,
        max_file_size: int,
        reserved: str = "",
    ) -> None:
        self.rules = NameRules(
            deny=[*deny, f"{TEMPORARY_PREFIX}*"],
            allowed_extensions=allowed_extensions,
            blocked_extensions=blocked_extensions,
        )
        self.max_file_size = max_file_size
        self._reserved = reserved.casefold()
        self._follow = follow_links
        self._deny_hardlinks = deny_hardlinks
        self.roots: tuple[Root, ...] = open_roots(roots)
        self._kernel_way = kernel.has_openat2(self.roots[0].fd)

    def close(self) -> None:
        """Close the roots. Only when no call is running any more: descriptors are used again."""
        close_roots(self.roots)
        self.roots = ()

    def locate(self, path: str) -> Location:
        """Sort a client's path to a root, by its text alone.

        Where roots lie in each other, the innermost one counts.

        Raises:
            Refused: ``invalid_path`` for what cannot be a path, ``denied`` outside.
        """
        _check_text(path)
        if not path.startswith("/"):
            return Location(self.roots[0], path, path)
        matches = [
            (len(spelling), root, rest)
            for root in self.roots
            for spelling in root.spellings
            if (rest := beneath.strip_top(spelling, path)) is not None
        ]
        if not matches:
            raise outside(path)
        _, root, rest = max(matches, key=lambda match: match[0])
        return Location(root, rest, path)

    def open_file(self, path: str) -> OpenFile:
        """Open a regular file for reading.

        Raises:
            Refused: any of the codes but ``read_only`` and ``conflict``.
        """
        location = self.locate(path)
        self._check_requested(location, is_file=True)
        opened = self._open(location, beneath.CONTENT)
        return self._checked_file(opened, location)

    def open_directory(self, path: str) -> OpenDirectory:
        """Open a folder, so that its entries can be read.

        Raises:
            Refused: ``not_a_directory`` for anything else; also ``not_found``, ``denied``.
        """
        location = self.locate(path)
        self._check_requested(location)
        opened = self._open(location, beneath.READABLE_DIRECTORY)
        with closed_on_error(opened.fd):
            self._check_real(opened.names, location.shown)
        return OpenDirectory(opened.fd, location, "/".join(opened.names))

    def stat(self, path: str) -> tuple[Location, os.stat_result]:
        """Return what is known about a file or folder, without opening its content.

        Raises:
            Refused: ``not_found``, ``denied``.
        """
        location = self.locate(path)
        self._check_requested(location)
        opened = self._open(location, beneath.HANDLE)
        try:
            self._check_real(opened.names, location.shown)
            return location, os.fstat(opened.fd)
        finally:
            os.close(opened.fd)

    def parent(self, path: str, *, make: bool = False, follow: bool = False) -> ParentHandle:
        """Open the folder that a path's last component is to be changed in.

        Args:
            path: the client's path; its last component need not exist.
            make: make the folders that are missing on the way.
            follow: when the last component is a link that may be followed, go to its target;
                otherwise the link itself is meant.

        Raises:
            Refused: ``read_only``; ``denied`` for a root itself; also ``not_found`` and
                ``not_a_directory``.
        """
        location = self.locate(path)
        self._check_requested(location)
        names = [part for part in location.relative.split("/") if part not in ("", ".")]
        if not names:
            raise Refused("denied", f"{short(path)}: is an allowed folder itself")
        if names[-1] == "..":
            raise Refused("invalid_path", f"{short(path)}: end the path with a name")
        if not location.root.writable:
            raise read_only(path)
        top, name = "/".join(names[:-1]), names[-1]
        parent = self._parent(location, top, name, make)
        if follow and self._follow and _is_link(parent.fd, name):
            with parent:
                return self._target(parent)
        return parent

    def visible(self, folder: str, name: str) -> bool:
        """Say whether an entry may be listed, found or walked into.

        Args:
            folder: ``beneath`` of the open folder that it is in.
            name: the entry's name.
        """
        return not self.rules.entry_denied(folder, name)

    def describe(self, directory: OpenDirectory, name: str) -> Entry | None:
        """Return what may be told about an entry, or None when it is gone or not visible.

        A link that leads outside, to nothing, or to something denied is only a link.
        """
        _check_component(name)
        if not self.visible(directory.beneath, name):
            return None
        try:
            status = os.stat(name, dir_fd=directory.fd, follow_symlinks=False)
        except OSError:
            return None
        if not stat.S_ISLNK(status.st_mode):
            return Entry(_kind_of(status), status)
        target = self._link_target(directory, name)
        return Entry("link", None) if target is None else Entry(_kind_of(target), target)

    def child_directory(self, directory: OpenDirectory, name: str) -> OpenDirectory:
        """Open a folder of a folder. A link is never followed.

        Raises:
            Refused: as `open_directory`.
        """
        _check_component(name)
        location = directory.location
        if not self.visible(directory.beneath, name):
            raise denied(name)
        with refusals(name):
            fd = beneath.open_child(directory.fd, name, beneath.READABLE_DIRECTORY)
        return OpenDirectory(fd, location, _join(directory.beneath, name))

    def child_file(self, directory: OpenDirectory, name: str) -> OpenFile:
        """Open a file of a folder for reading. A link is never followed.

        Raises:
            Refused: as `open_file`.
        """
        _check_component(name)
        location = Location(directory.location.root, _join(directory.beneath, name), name)
        with refusals(name):
            fd = beneath.open_child(directory.fd, name, beneath.CONTENT)
        return self._checked_file(Opened(fd, (*_split(directory.beneath), name)), location)

    def holds_root(self, folder: Identity) -> bool:
        """Say whether a folder is a root or lies above one, so that it must stay."""
        return any(folder in beneath.ancestors(root.fd) for root in self.roots)

    # -- opening ------------------------------------------------------------------------------

    def _open(self, location: Location, flags: int) -> Opened:
        with refusals(location.shown):
            return self._top(location.root).open(location.relative, flags)

    def _top(self, root: Root) -> Top:
        if os.fstat(root.fd).st_nlink == 0:
            raise Refused("not_found", "the allowed folder is gone; the server must be restarted")
        return Top(root.fd, root.spellings, self._follow, self._kernel_way)

    def _parent(self, location: Location, top: str, name: str, make: bool) -> ParentHandle:
        at = Location(location.root, top, location.shown)
        try:
            opened = self._open(at, beneath.READABLE_DIRECTORY)
        except Refused as refused:
            if not make or refused.code != "not_found":
                raise
            opened = self._make_folders(at)
        with closed_on_error(opened.fd):
            self._check_writable(opened.fd, location)
            self._check_real((*opened.names, name), location.shown)
            if not opened.names and name.casefold() == self._reserved:
                raise Refused("denied", f"{short(location.shown)}: is kept for deleted files")
        return ParentHandle(opened.fd, location, "/".join(opened.names), name, self)

    def _make_folders(self, location: Location) -> Opened:
        def make(directory: int, names: Sequence[str]) -> None:
            self._check_writable(directory, location)
            self._check_real(names, location.shown)
            with suppress(FileExistsError):  # somebody else has just made it
                os.mkdir(names[-1], dir_fd=directory)

        with refusals(location.shown):
            top, flags = self._top(location.root), beneath.READABLE_DIRECTORY
            return top.walk(location.relative, flags, make)

    def _target(self, link: ParentHandle) -> ParentHandle:
        """Go from a link to the entry that it leads to, wherever that is beneath the root."""
        self.rules.check_type(link.name, link.shown)
        at = Location(link.location.root, _join(link.beneath, link.name), link.location.shown)
        opened = self._open(at, beneath.HANDLE)
        os.close(opened.fd)
        if not opened.names:
            raise Refused("denied", f"{link.shown}: leads to an allowed folder itself")
        return self._parent(link.location, "/".join(opened.names[:-1]), opened.names[-1], False)

    def _link_target(self, directory: OpenDirectory, name: str) -> os.stat_result | None:
        if not self._follow:
            return None
        at = Location(directory.location.root, _join(directory.beneath, name), name)
        try:
            opened = self._open(at, beneath.HANDLE)
        except Refused:
            return None
        try:
            return None if self.rules.denied(opened.names) else os.fstat(opened.fd)
        finally:
            os.close(opened.fd)

    # -- checks -------------------------------------------------------------------------------

    def _check_requested(self, location: Location, *, is_file: bool = False) -> None:
        """Apply the rules to what the client wrote, before anything is looked at."""
        names = _split(os.path.normpath(location.relative))
        if self.rules.denied(names):
            raise denied(location.shown)
        if is_file and names:
            self.rules.check_type(names[-1], short(location.shown))

    def _check_real(self, names: Sequence[str], shown: str) -> None:
        """Apply the rules to where it really is."""
        if self.rules.denied(names):
            raise denied(shown)

    def _checked_file(self, opened: Opened, location: Location) -> OpenFile:
        """Make sure that what was opened is a file that may be read; closes it otherwise."""
        with closed_on_error(opened.fd):
            status, shown = os.fstat(opened.fd), location.shown
            self._check_real(opened.names, shown)
            check_regular(status, shown)
            self.rules.check_type(opened.names[-1], short(shown))
            if self._deny_hardlinks and status.st_nlink > 1:
                raise Refused("denied", f"{short(shown)}: the file has more than one name")
            if status.st_size > self.max_file_size:
                raise too_large(shown, self.max_file_size)
        names, limit = "/".join(opened.names), self.max_file_size
        return OpenFile(opened.fd, location, names, status, limit)

    def _check_writable(self, directory: int, location: Location) -> None:
        """Make sure that the innermost root around an open folder is writable."""
        if all(root.writable for root in self.roots):
            return
        roots = {root.identity: root for root in self.roots}
        with refusals(location.shown):
            around = [roots[each] for each in beneath.ancestors(directory) if each in roots]
        if not around:
            raise outside(location.shown)
        if not around[0].writable:
            raise read_only(location.shown)


def _kind_of(status: os.stat_result) -> Kind:
    """Return what an entry is that is not a link."""
    if stat.S_ISDIR(status.st_mode):
        return "directory"
    return "file" if stat.S_ISREG(status.st_mode) else "other"


def _check_text(path: str) -> None:
    try:
        raw = path.encode()
        os.fsencode(path)
    except UnicodeEncodeError:
        raise Refused("invalid_path", "a path is text that can be written as UTF-8") from None
    if path == "~" or path.startswith("~/"):
        raise Refused("invalid_path", '"~" stands for nothing here; write the whole path')
    if not raw or b"\0" in raw or len(raw) > MAX_PATH_BYTES:
        limit = f"at most {MAX_PATH_BYTES} bytes"
        raise Refused("invalid_path", f"a path is not empty, has {limit} and no NUL")


def _check_component(name: str) -> None:
    if name in ("", ".", "..") or "/" in name or "\0" in name:
        raise Refused("invalid_path", "a name is one component of a path")


def _is_link(directory: int, name: str) -> bool:
    try:
        return stat.S_ISLNK(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode)
    except OSError:
        return False


def _split(path: str) -> list[str]:
    return [part for part in path.split("/") if part not in ("", ".")]


def _join(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name
