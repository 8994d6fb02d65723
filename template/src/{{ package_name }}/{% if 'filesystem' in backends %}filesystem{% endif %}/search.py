# managed: part of the template; modelctx updates may rewrite it. Your code lives in custom/.
"""Finds text in files, in time proportional to their size, whatever is looked for.

A regular expression of a caller never reaches Python's `re`, which backtracks (CWE-1333). It is
for RE2, which does not; where the extra with RE2 is not installed, it is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import AnyStr, Generic

from ..errors import Refused
from .limits import Deadline
from .results import Match

MAX_SHOWN_CHARS = 500
_BINARY_SEARCHED_BYTES = 8192
# What RE2 may use for one expression; it refuses those that need more.
_RE2_MEMORY_BYTES = 8 * 1024 * 1024
# Steps of a compiled expression. RE2 may take time proportional to steps times bytes.
_MAX_STEPS = 4000
# The clock is looked at after every so many bytes: whole lines, but a part of one that is longer.
_BLOCK = 256 * 1024
_LONGEST_LINE = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Haystack(Generic[AnyStr]):
    """A text and the way to find something in it.

    Args:
        text: the text, as characters or as bytes.
        newline: the newline of the same kind.
        find: returns where the next match begins, at or after an index, or -1.
    """

    text: AnyStr
    newline: AnyStr
    find: Callable[[int], int]

    def matches(self, path: str, context: int, after: int) -> Iterator[Match]:
        """Yield each line with a match once; see `find_lines`."""
        index = counted = self._end_of_line(after)
        number = after + 1
        while index < len(self.text) and (at := self.find(index)) >= 0:
            start, end = self._line_around(at)
            number += self.text.count(self.newline, counted, start)
            counted = start
            yield {
                "path": path,
                "line": number,
                "column": len(_text(self.text[start:at])) + 1,
                "text": self._shown(start, end, at),
                "before": self._before(start, context),
                "after": self._after(end, context),
            }
            index = end + 1

    def _end_of_line(self, number: int) -> int:
        """Return where the line after this one begins, or the text's end; 0 is before the first."""
        index, block = 0, 64 * 1024
        # Whole blocks are counted in one step: a caller may name any line.
        while index < len(self.text):
            held = self.text.count(self.newline, index, index + block)
            if held >= number:
                break
            number, index = number - held, index + block
        for _ in range(number if index < len(self.text) else 0):
            index = self.text.find(self.newline, index) + 1
        return min(index, len(self.text))

    def _before(self, start: int, context: int) -> list[str]:
        lines: list[str] = []
        while start > 0 and len(lines) < context:
            start, end = self._line_around(start - 1)
            lines.append(self._shown(start, end, start))
        return lines[::-1]

    def _after(self, end: int, context: int) -> list[str]:
        lines: list[str] = []
        while end + 1 < len(self.text) and len(lines) < context:
            start, end = self._line_around(end + 1)
            lines.append(self._shown(start, end, start))
        return lines

    def _line_around(self, index: int) -> tuple[int, int]:
        """Return start and end of a line, without its newline."""
        end = self.text.find(self.newline, index)
        start = self.text.rfind(self.newline, 0, index) + 1
        return start, len(self.text) if end < 0 else end

    def _shown(self, start: int, end: int, at: int) -> str:
        """Return a line, or the part of a long one around an index."""
        first = max(start, min(at - MAX_SHOWN_CHARS // 4, end - MAX_SHOWN_CHARS))
        last = min(end, first + MAX_SHOWN_CHARS)
        cut = _text(self.text[first:last])
        return f"{'…' if first > start else ''}{cut}{'…' if last < end else ''}"


Wanted = Callable[[bytes], "Haystack[str] | Haystack[bytes]"]


def wanted(pattern: str, deadline: Deadline, *, regex: bool, ignore_case: bool) -> Wanted:
    """Prepare a pattern; what is returned takes the content of a file.

    A regular expression is not found across the boundary of a MiB in a line of over 1 MiB.

    Raises:
        Refused: ``invalid_arguments`` for a pattern over several lines, or one that RE2 does not
            accept; ``unavailable`` when RE2 is not installed.
    """
    if "\n" in pattern:
        raise Refused("invalid_arguments", "the pattern is for one line; it cannot hold a newline")
    if regex:
        return _regular(pattern, deadline, ignore_case)
    return _caseless(pattern) if ignore_case else _plain(pattern)


def find_lines(
    data: bytes, path: str, what: Wanted, context: int, after: int = 0
) -> Iterator[Match]:
    """Yield the lines of a file that hold what is wanted.

    Args:
        data: the file's content.
        path: what to name it.
        what: see `wanted`.
        context: lines to show before and after each.
        after: number of the line to begin after.
    """
    return what(data.replace(b"\r\n", b"\n")).matches(path, context, after)


def is_binary(data: bytes) -> bool:
    """Say whether a file is not text, as grep does: by a NUL near its beginning."""
    return b"\0" in data[:_BINARY_SEARCHED_BYTES]


def _text(piece: str | bytes) -> str:
    return piece if isinstance(piece, str) else piece.decode(errors="replace")


def _plain(pattern: str) -> Wanted:
    needle = pattern.encode(errors="replace")
    return lambda data: Haystack(data, b"\n", lambda start: data.find(needle, start))


def _caseless(pattern: str) -> Wanted:
    needle = _fold(pattern)

    def over(data: bytes) -> Haystack[str]:
        text = data.decode(errors="replace")
        folded = _fold(text)
        return Haystack(text, "\n", lambda start: folded.find(needle, start))

    return over


def _fold(text: str) -> str:
    """Forget case, character by character, so that places stay the same.

    Of all characters only U+0130 (capital I with dot) becomes longer in lower case.
    """
    return text.replace("\u0130", "i").lower()


def _regular(pattern: str, deadline: Deadline, ignore_case: bool) -> Wanted:
    try:
        re2 = import_module("re2")
    except ImportError:
        raise Refused(
            "unavailable",
            "regular expressions need the package google-re2, which the operator installs as the "
            'extra "regex" of this server; set regex to false for plain text',
        ) from None
    options = re2.Options()
    options.case_sensitive = not ignore_case
    options.max_mem = _RE2_MEMORY_BYTES
    options.never_nl = True  # as the pattern is for one line, so is a match
    options.log_errors = False
    try:
        compiled = re2.compile(b"(?m)" + pattern.encode(errors="replace"), options)
    except re2.error:
        raise Refused(
            "invalid_arguments", "the pattern is not a regular expression of RE2"
        ) from None
    finally:
        re2.purge()  # it would keep 128 of them, with all their memory
    if compiled.programsize > _MAX_STEPS:
        raise Refused("invalid_arguments", "the pattern is too large; repeat fewer things in it")

    def over(data: bytes) -> Haystack[bytes]:
        def find(start: int) -> int:
            for begin, end in _blocks(data, start):
                deadline.check()
                if match := compiled.search(data, begin, end):
                    at = int(match.start())
                    # After the newline at its end a file has no line more.
                    return -1 if at == len(data) and data.endswith(b"\n") else at
            return -1

        return Haystack(data, b"\n", find)

    return over


def _blocks(data: bytes, start: int) -> Iterator[tuple[int, int]]:
    """Yield begin and end of blocks from an index on: whole lines, but 1 MiB of a longer one."""
    while start < len(data):
        limit = min(start + _LONGEST_LINE, len(data))
        newline = data.find(b"\n", start + _BLOCK, limit)
        end = limit if newline < 0 else newline
        yield start, end
        start = end + data.startswith(b"\n", end)
