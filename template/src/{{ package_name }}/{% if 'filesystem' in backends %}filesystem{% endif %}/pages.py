# managed: part of the template; modelctx updates may rewrite it. Your code lives in custom/.
"""Answers that may be too long for one answer: listings and searches, page by page."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Decimal
from typing import Literal

from ..cursor import decode, encode
from ..errors import Refused
from .limits import Deadline
from .match import Glob, compile_glob
from .refusals import short
from .results import FoundLines, FoundPaths, Listing, Match
from .sandbox import OpenDirectory, OpenFile, Sandbox
from .search import Wanted, find_lines, is_binary, wanted
from .settings import FilesystemSettings
from .walk import Found, Listed, Reader, Walk, any_of, printable, utf8

SortBy = Literal["name", "size"]
EntryType = Literal["any", "file", "directory"]

_UNITS = ("B", "KB", "MB", "GB", "TB")
_WHOLE_FILE = -1  # in a cursor, instead of a line: go on behind the file


class Pages:
    """Makes the pages of one call.

    Args:
        sandbox: opens the folders.
        settings: the limits.
        deadline: when to stop.
    """

    def __init__(self, sandbox: Sandbox, settings: FilesystemSettings, deadline: Deadline) -> None:
        self._sandbox = sandbox
        self._settings = settings
        self._deadline = deadline
        self._reader = Reader(sandbox, settings, deadline)

    def listing(self, path: str, ignore: Sequence[str], limit: int, cursor: str) -> Listing:
        """Return a page of a folder, by name."""
        listed = self._listed(path, ignore, sizes=False)
        question = ["list", path, list(ignore)]
        lines, following = self._page(listed, _by_name, _line, limit, cursor, question)
        return {"content": "\n".join(lines), "next_cursor": following}

    def sized_listing(
        self, path: str, sort_by: SortBy, ignore: Sequence[str], limit: int, cursor: str
    ) -> Listing:
        """Return a page of a folder with sizes, by name or the largest first."""
        listed = self._listed(path, ignore, sizes=True)
        order = _by_size if sort_by == "size" else _by_name
        question = ["sizes", path, sort_by, list(ignore)]
        lines, following = self._page(
            sorted(listed, key=order), order, _sized_line, limit, cursor, question
        )
        return {"content": "\n".join([*lines, *_totals(listed)]), "next_cursor": following}

    def names(
        self,
        path: str,
        pattern: str,
        exclude: Sequence[str],
        kind: EntryType,
        max_results: int,
        cursor: str,
    ) -> FoundPaths:
        """Return a page of the paths below a folder that match a pattern."""
        question = ["names", path, pattern, list(exclude), kind]
        start = decode(question, cursor, (str,))
        glob = compile_glob(pattern)
        found: list[str] = []
        size = 0
        with (
            self._sandbox.open_directory(path) as top,
            Walk(
                self._reader,
                top,
                start=str(start[0]) if start else "",
                keep=glob.name_test,
                exclude=any_of(exclude, self._deadline),
            ) as walk,
        ):
            prefix = _full_path(top)
            for each in walk:
                if len(found) >= max_results or size >= self._settings.max_response_bytes:
                    walk.stopped = True
                    break
                if glob.matches(each.path) and [each.path] != start and _is_kind(each, kind):
                    found.append(printable(prefix + each.path))
                    size += len(found[-1].encode()) + 1
        if walk.stuck():
            raise _too_slow(path)
        return {
            "content": "\n".join(found) or "No matches found",
            "truncated": not walk.complete,
            "next_cursor": encode(question, [walk.place]) if walk.stopped else None,
        }

    def lines(
        self,
        path: str,
        pattern: str,
        *,
        regex: bool,
        ignore_case: bool,
        glob: str,
        context: int,
        max_results: int,
        cursor: str,
    ) -> FoundLines:
        """Return a page of the lines in a file, or in the files below a folder, that match."""
        question = ["lines", path, pattern, regex, ignore_case, glob, context]
        search = LineSearch(
            self._sandbox,
            self._deadline,
            wanted(pattern, self._deadline, regex=regex, ignore_case=ignore_case),
            context,
            max_results,
            self._settings.max_response_bytes,
            decode(question, cursor, (str, int)),
        )
        self._search(search, path, compile_glob(_anywhere(glob)) if glob else None)
        if search.place is not None and search.place == search.start:
            raise _too_slow(path)
        return {
            "content": "\n".join(search.lines) or "No matches found",
            "matches": search.matches,
            "skipped": search.skipped,
            "truncated": search.truncated,
            "next_cursor": encode(question, search.place) if search.place else None,
        }

    def _search(self, search: LineSearch, path: str, glob: Glob | None) -> None:
        try:
            top = self._sandbox.open_directory(path)
        except Refused as refused:
            if refused.code != "not_a_directory":
                raise
            with self._sandbox.open_file(path) as file:
                search.search_file(file, "", path)
            return
        start = str(search.start[0]) if search.start else ""
        with top, Walk(self._reader, top, start=start) as walk:
            search.search(walk, _full_path(top), glob)
            if walk.stuck():
                raise _too_slow(path)

    def _listed(self, path: str, ignore: Sequence[str], *, sizes: bool) -> list[Listed]:
        hide = any_of(ignore, self._deadline)
        with self._sandbox.open_directory(path) as folder:
            return self._reader.listing(folder, hide, sizes=sizes)

    def _page(
        self,
        listed: list[Listed],
        order: Callable[[Listed], tuple[int, str]],
        line: Callable[[Listed], str],
        limit: int,
        cursor: str,
        question: object,
    ) -> tuple[list[str], str | None]:
        """Return the lines of a page, and the cursor of the next one."""
        place = decode(question, cursor, (int, str))
        first = bisect_right(listed, tuple(place), key=order) if place else 0
        lines: list[str] = []
        size = 0
        for each in listed[first : first + limit]:
            text = line(each)
            size += len(text.encode()) + 1
            if lines and size > self._settings.max_response_bytes:
                break
            lines.append(text)
        end = first + len(lines)
        following = encode(question, order(listed[end - 1])) if end < len(listed) else None
        return lines, following


@dataclass(slots=True)
class LineSearch:
    """A page of the lines that hold what is wanted.

    Args:
        sandbox: opens the files.
        deadline: when to stop.
        what: see `search.wanted`.
        context: lines to show before and after each.
        max_results: lines with matches, at most.
        max_bytes: size of the answer, at most by one line more.
        start: where to begin, as path and line; empty for the beginning.
    """

    sandbox: Sandbox
    deadline: Deadline
    what: Wanted
    context: int
    max_results: int
    max_bytes: int
    start: list[str | int]
    matches: list[Match] = field(default_factory=list[Match])
    lines: list[str] = field(default_factory=list[str])
    size: int = 0
    skipped: int = 0
    truncated: bool = False
    place: list[str | int] | None = None

    def search(self, walk: Walk, prefix: str, glob: Glob | None) -> None:
        """Search the files that a walk finds."""
        for found in walk:
            if not found.is_file or (glob is not None and not glob.matches(found.path)):
                continue
            try:
                with self.sandbox.child_file(found.folder, found.name) as file:
                    going_on = self.search_file(file, found.path, prefix + found.path)
            except Refused:
                self.skipped += 1
                continue
            if not going_on:
                break
        self.truncated = not walk.complete
        if walk.stopped:
            self.place = [walk.place, _WHOLE_FILE]

    def search_file(self, file: OpenFile, path: str, shown: str) -> bool:
        """Search one file, and say whether there is room for more.

        Args:
            file: open for reading.
            path: what to call it in a cursor.
            shown: what to call it in the answer.
        """
        last = self._last_line_of(path)
        if last == _WHOLE_FILE:
            return True
        data = file.read()
        if is_binary(data):
            self.skipped += 1
            return True
        try:
            for match in find_lines(data, utf8(shown), self.what, self.context, after=last):
                if self._is_full():
                    break
                self._add(match)
                last = match["line"]
            else:
                return True
        except Refused:  # timeout, in the midst of the file
            pass
        self.place = [path, last]
        return False

    def _last_line_of(self, path: str) -> int:
        return int(self.start[1]) if self.start and self.start[0] == path else 0

    def _is_full(self) -> bool:
        full = len(self.matches) >= self.max_results or self.size >= self.max_bytes
        return full or self.deadline.passed()

    def _add(self, match: Match) -> None:
        self.matches.append(match)
        lines = _match_lines(match)
        self.lines.extend(lines)
        self.size += sum(len(line.encode()) + 1 for line in lines)


def format_size(size: int) -> str:
    """Return a size as the reference server shows it, such as ``1.50 KB``."""
    unit = 0
    while unit + 1 < len(_UNITS) and size >= 1024 ** (unit + 1):
        unit += 1
    if unit == 0:
        return f"{size} B"
    return f"{(Decimal(size) / 1024**unit).quantize(Decimal('0.01'), ROUND_HALF_UP)} {_UNITS[unit]}"


def _too_slow(path: str) -> Refused:
    return Refused("timeout", f"{short(path)}: too slow to search; name what is below it")


def _by_name(listed: Listed) -> tuple[int, str]:
    return 0, listed.name


def _by_size(listed: Listed) -> tuple[int, str]:
    return -listed.size, listed.name


def _line(listed: Listed) -> str:
    return f"{'[DIR]' if listed.kind == 'directory' else '[FILE]'} {printable(listed.name)}"


def _sized_line(listed: Listed) -> str:
    name = printable(listed.name)
    if listed.kind == "directory":
        return f"[DIR] {name:<30} "
    return f"[FILE] {name:<30} {format_size(listed.size):>10}"


def _totals(listed: Sequence[Listed]) -> list[str]:
    folders = sum(each.kind == "directory" for each in listed)
    size = format_size(sum(each.size for each in listed))
    return [
        "",
        f"Total: {len(listed) - folders} files, {folders} directories",
        f"Combined size: {size}",
    ]


def _full_path(folder: OpenDirectory) -> str:
    """Return the absolute path of a folder, with a slash at the end."""
    root = folder.location.root.spellings[0]
    return f"{root}/{folder.beneath}/" if folder.beneath else f"{root}/"


def _is_kind(found: Found, kind: EntryType) -> bool:
    if kind == "any":
        return True
    return found.is_folder if kind == "directory" else not found.is_folder


def _anywhere(glob: str) -> str:
    """Let a pattern without a slash match at any depth, as in grep and ripgrep."""
    return glob if "/" in glob else f"**/{glob}"


def _match_lines(match: Match) -> list[str]:
    path, number = printable(match["path"]), match["line"]
    before = [
        f"{path}-{number - distance}- {text}"
        for distance, text in zip(range(len(match["before"]), 0, -1), match["before"], strict=True)
    ]
    after = [f"{path}-{number + at}- {text}" for at, text in enumerate(match["after"], 1)]
    found = f"{path}:{number}:{match['column']}: {match['text']}"
    return [*before, found, *after, "--"] if before or after else [found]
