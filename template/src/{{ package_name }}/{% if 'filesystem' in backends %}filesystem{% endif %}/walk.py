# managed: part of the template; modelctx updates may rewrite it. Your code lives in custom/.
"""Reads folders, and all that is below them, through handles and within limits.

The order is always that of the sorted names, a folder before what is in it. So the server need
not remember how far it came: the path of the last entry says it, see `cursor`.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Self

from ..errors import Refused
from .ignore import FILE_NAME, MAX_FILE_BYTES, Ignored
from .limits import Deadline
from .match import NameTest, compile_glob
from .refusals import refusals
from .sandbox import Kind, OpenDirectory, Sandbox
from .settings import FilesystemSettings

# What would forge lines of a listing, and what JSON cannot hold: bytes that are not UTF-8.
_UNREADABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_NOT_UTF8 = re.compile("[\ud800-\udfff]")

_ENTRIES_BETWEEN_LOOKS = 16  # at the clock; the slowest pattern takes a tenth of a second
_quoted = json.JSONEncoder(ensure_ascii=False).encode

Exclusion = Callable[[str], bool]


# Not frozen, as `Found`: that would double what a search costs.
@dataclass(slots=True)
class Listed:
    """An entry of a folder; ``size`` is 0 unless sizes were asked for."""

    name: str
    kind: Kind
    size: int


class Reader:
    """Reads folders for one call.

    Args:
        sandbox: opens them.
        settings: the limits.
        deadline: when to stop.
    """

    def __init__(self, sandbox: Sandbox, settings: FilesystemSettings, deadline: Deadline) -> None:
        self.sandbox = sandbox
        self.settings = settings
        self.deadline = deadline

    def entries(
        self, folder: OpenDirectory, keep: NameTest | None = None
    ) -> tuple[list[os.DirEntry[str]], int]:
        """Return the entries of a folder that may be shown, sorted by name.

        Args:
            folder: open for reading.
            keep: says which names are wanted, or None for all; folders always are.

        Returns:
            The entries, and how many there are in the folder.

        Raises:
            Refused: ``too_large`` for more entries than one call may look at, ``timeout``.
        """
        limit, count, found = self.settings.max_entries, 0, list[os.DirEntry[str]]()
        with refusals(folder.location.shown), os.scandir(folder.fd) as scanned:
            for count, entry in enumerate(scanned, 1):
                if keep is None or keep(entry.name) or entry.is_dir(follow_symlinks=False):
                    found.append(entry)
                if count > limit:
                    raise Refused("too_large", f"the folder has more than {limit} entries")
                if not count % _ENTRIES_BETWEEN_LOOKS:
                    self.deadline.check()
        trash = "" if folder.beneath else self.settings.trash
        visible, beneath = self.sandbox.visible, folder.beneath
        found = [entry for entry in found if entry.name != trash and visible(beneath, entry.name)]
        found.sort(key=attrgetter("name"))
        return found, count

    def listing(
        self, folder: OpenDirectory, hide: Exclusion | None, *, sizes: bool
    ) -> list[Listed]:
        """Return what may be told about the entries of a folder, sorted by name.

        Args:
            folder: open for reading.
            hide: says which names to leave out, or None.
            sizes: whether to look at each file for its size.

        Raises:
            Refused: as `entries`.
        """
        listed: list[Listed] = []
        for entry in self.entries(folder)[0]:
            if sizes:
                self.deadline.check()
            if hide is not None and hide(entry.name):
                continue
            if told := self._listed(folder, entry, sizes):
                listed.append(told)
        return listed

    def _listed(self, folder: OpenDirectory, entry: os.DirEntry[str], sizes: bool) -> Listed | None:
        if entry.is_dir(follow_symlinks=False):
            return Listed(entry.name, "directory", 0)
        if not sizes and entry.is_file(follow_symlinks=False):
            return Listed(entry.name, "file", 0)
        told = self.sandbox.describe(folder, entry.name)
        if told is None:
            return None
        size = told.stat.st_size if told.stat and told.kind == "file" else 0
        return Listed(entry.name, told.kind, size)


@dataclass(slots=True)
class Found:
    """An entry that a walk has come to.

    Args:
        path: below the top of the walk.
        depth: the number of its parts.
        folder: the folder that it is in; open until the walk goes on.
        is_folder: whether it is a folder; a link never is.
        entry: what the system says of it, while the folder is open.
    """

    path: str
    depth: int
    folder: OpenDirectory
    is_folder: bool
    entry: os.DirEntry[str]

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.entry.name

    @property
    def is_file(self) -> bool:
        """Whether it is a regular file; a link never is."""
        return self.entry.is_file(follow_symlinks=False)


@dataclass(slots=True)
class _Level:
    """A folder that a walk stands in.

    ``start`` is the part of the walk's start that lies in it, as names; empty for all of it.
    """

    folder: OpenDirectory
    prefix: str
    start: list[str]
    ignored: Ignored
    entries: Iterator[os.DirEntry[str]]


class Walk:
    """A walk through all that is below an open folder. Links are not followed.

    Use it as ``with Walk(…) as walk: for found in walk: …``.

    Args:
        reader: reads the folders, within its limits.
        top: where to begin; stays open.
        start: the path of the entry to begin with; empty for the first.
        keep: says which names of files are wanted, or None for all. Folders always are.
        exclude: says which paths to leave out, with all that is below them.
        max_depth: levels to go down; 0, or more than the setting, means the setting.
        gitignore: leave out what ``.gitignore`` files name.

    Attributes:
        place: path of the last entry that has been dealt with, for the ``start`` of another walk,
            which then begins with that entry once more.
        stopped: whether a limit has ended the walk, so that another one can go on from ``place``.
        complete: whether a walk that was not stopped has seen everything; False where folders lie
            too deep or hold too much.
    """

    def __init__(
        self,
        reader: Reader,
        top: OpenDirectory,
        *,
        start: str = "",
        keep: NameTest | None = None,
        exclude: Exclusion | None = None,
        max_depth: int = 0,
        gitignore: bool = False,
    ) -> None:
        self._reader = reader
        self._top = top
        self._start = start
        self._keep = keep
        self._exclude = exclude
        deepest = reader.settings.max_depth
        self._max_depth = min(max_depth, deepest) if max_depth else deepest
        self._gitignore = gitignore
        self._levels: list[_Level] = []
        self._seen = 0
        self.place = start
        self.stopped = False
        self.complete = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        while self._levels:
            self._leave()

    def __iter__(self) -> Iterator[Found]:
        deadline = self._reader.deadline
        self._enter(self._top, "", self._start.split("/") if self._start else [], Ignored(deadline))
        while self._levels and not self.stopped:
            level = self._levels[-1]
            entry = next(level.entries, None)
            if entry is None:
                self._leave()
                continue
            try:
                deadline.check()
                found = self._found(level, entry)
            except Refused:  # timeout
                self.stopped = True
                return
            # On the way to the start, folders are only passed through.
            if len(level.start) <= 1 or entry.name != level.start[0]:
                if found is not None:
                    yield found
                self.place = level.prefix + entry.name
            if found is not None and found.is_folder:
                self._go_into(level, found)

    def stuck(self) -> bool:
        """Say whether the walk was stopped before it came anywhere, so that going on is vain."""
        return self.stopped and self.place == self._start

    def _found(self, level: _Level, entry: os.DirEntry[str]) -> Found | None:
        path = level.prefix + entry.name
        is_folder = entry.is_dir(follow_symlinks=False)
        if self._exclude is not None and self._exclude(path):
            return None
        if self._gitignore and level.ignored.hides(path, is_folder):
            return None
        return Found(path, len(self._levels), level.folder, is_folder, entry)

    def _go_into(self, level: _Level, found: Found) -> None:
        if found.depth >= self._max_depth:
            self.complete = False
            return
        if self._seen >= self._reader.settings.max_entries:
            self.stopped = True
            return
        try:
            folder = self._reader.sandbox.child_directory(level.folder, found.name)
        except Refused as refused:
            # Gone, replaced by a link or not for this account; anything else is missing here.
            if refused.code not in ("not_found", "not_a_directory", "denied"):
                self.complete = False
            return
        start = level.start[1:] if level.start[:1] == [found.name] else []
        self._enter(folder, f"{found.path}/", start, level.ignored)

    def _enter(
        self, folder: OpenDirectory, prefix: str, start: list[str], ignored: Ignored
    ) -> None:
        level = _Level(folder, prefix, start, ignored, iter(()))
        self._levels.append(level)  # before anything else, so that it will be closed
        try:
            entries, count = self._reader.entries(folder, self._keep)
        except Refused as refused:
            if not prefix:
                raise
            if refused.code == "timeout":
                self.stopped = True
            else:
                self.complete = False
            return
        if start:
            entries = [entry for entry in entries if entry.name >= start[0]]
        else:
            self._seen += count  # the folders on the way to the start were counted before
        if self._gitignore and any(entry.name == FILE_NAME for entry in entries):
            level.ignored = ignored.within(prefix, self._read_gitignore(folder))
        level.entries = iter(entries)

    def _read_gitignore(self, folder: OpenDirectory) -> str:
        try:
            with self._reader.sandbox.child_file(folder, FILE_NAME) as file:
                return os.read(file.fd, MAX_FILE_BYTES).decode(errors="replace")
        except Refused:
            return ""

    def _leave(self) -> None:
        folder = self._levels.pop().folder
        if folder is not self._top:
            folder.close()


class _TreeText:
    """Nested JSON in the layout of the reference server, written as the walk goes."""

    def __init__(self) -> None:
        self._parts = ["["]
        self._counts = [0]  # of the entries in each list that is open
        self.size = 1

    def add(self, found: Found) -> None:
        """Write an entry, which comes after the folder that it is in."""
        self._close(found.depth)
        pad = " " * (4 * found.depth - 2)
        comma = "," if self._counts[-1] else ""
        self._counts[-1] += 1
        head = f'{comma}\n{pad}{{\n{pad}  "name": {_quoted(utf8(found.name))},\n{pad}  "type": '
        if found.is_folder:
            self._write(f'{head}"directory",\n{pad}  "children": [')
            self._counts.append(0)
        else:
            self._write(f'{head}"file"\n{pad}}}')

    def text(self) -> str:
        """Close everything and return the whole."""
        self._close(1)
        self._write("\n]" if self._counts[0] else "]")
        return "".join(self._parts)

    def _close(self, depth: int) -> None:
        while len(self._counts) > depth:
            pad = " " * (4 * len(self._counts) - 4)
            if self._counts.pop():
                self._write(f"\n{pad}]")
            else:
                self._write("]")
            self._write(f"\n{pad[2:]}}}")

    def _write(self, text: str) -> None:
        self._parts.append(text)
        self.size += len(text) if text.isascii() else len(text.encode())


def tree(walk: Walk, max_entries: int, max_bytes: int) -> tuple[str, bool]:
    """Return all that a walk finds as nested JSON, in the layout of the reference server.

    Args:
        walk: from the beginning.
        max_entries: how many entries to show; 0 for all.
        max_bytes: about how long the text may get.

    Returns:
        The text, and whether something was left out.
    """
    written = _TreeText()
    for number, found in enumerate(walk):
        if number == (max_entries or -1) or written.size >= max_bytes:
            return written.text(), True
        written.add(found)
    return written.text(), walk.stopped or not walk.complete


def any_of(patterns: Sequence[str], deadline: Deadline) -> Exclusion | None:
    """Return a function that says whether a path matches any of some patterns.

    It raises ``timeout`` when the deadline passes.

    Raises:
        Refused: ``invalid_arguments`` for a pattern that is over a limit.
    """
    globs = [compile_glob(pattern) for pattern in patterns]

    def excluded(path: str) -> bool:
        for glob in globs:
            deadline.check()
            if glob.matches(path):
                return True
        return False

    return excluded if globs else None


def tree_exclusion(patterns: Sequence[str], deadline: Deadline) -> Exclusion | None:
    """Return the exclusion that directory_tree has: a pattern without ``*`` counts anywhere."""
    spread = [f"**/{pattern}" for pattern in patterns if "*" not in pattern]
    return any_of([*patterns, *spread], deadline)


def printable(name: str) -> str:
    """Return a name as a line of text may show it."""
    return name if name.isprintable() else _UNREADABLE.sub("\ufffd", name)


def utf8(name: str) -> str:
    """Return a name as JSON can hold it."""
    return name if name.isascii() else _NOT_UTF8.sub("\ufffd", name)
