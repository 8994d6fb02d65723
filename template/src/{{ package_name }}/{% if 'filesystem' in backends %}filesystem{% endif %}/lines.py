# managed: part of the template; modelctx updates may rewrite it. Your code lives in custom/.
"""Takes lines out of a text. A text is never split as a whole: it may consist of newlines."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass

from ..errors import Refused


@dataclass(frozen=True, slots=True)
class Excerpt:
    """Some lines of a text.

    Args:
        text: the lines.
        first: number of the first one, counted from 1.
        next_line: number of the line to go on with, or None at the end of the text.
        cut: whether lines that were asked for did not fit.
    """

    text: str
    first: int
    next_line: int | None
    cut: bool


def excerpt(
    text: str, *, head: int = 0, tail: int = 0, offset: int = 0, limit: int = 0, max_bytes: int
) -> Excerpt:
    """Return the lines that were asked for, as far as they fit.

    Args:
        text: the whole text.
        head: only so many lines from the beginning; 0 for all.
        tail: only so many lines from the end; 0 for all. A newline at the end counts as the
            beginning of one more line, and CRLF becomes a newline, as with the reference server.
        offset: begin with this line, counted from 1; 0 means 1.
        limit: only so many lines; 0 for all.
        max_bytes: size of the answer in UTF-8. A single longer line is cut inside.

    Raises:
        Refused: ``invalid_arguments`` when head, tail, and offset with limit are mixed.
    """
    if sum(map(bool, (head, tail, offset or limit))) > 1:
        raise Refused("invalid_arguments", "give one of head, tail, or offset with limit")
    if tail:
        text = text.replace("\r\n", "\n")
        first = max(1, text.count("\n") + 2 - tail)
        return _fitted(text, first, len(text), max_bytes)
    first = max(1, offset)
    count = head or limit
    end = line_start(text, first + count) if count else len(text)
    found = _fitted(text, first, end, max_bytes)
    if head and not found.cut:
        return Excerpt(found.text.removesuffix("\n"), 1, found.next_line, False)
    return found


def line_start(text: str, number: int) -> int:
    """Return the index at which a line begins, counted from 1; the end if there is none."""
    return bisect_left(range(len(text)), number - 1, key=lambda at: text.count("\n", 0, at))


def numbered(lines: Excerpt) -> str:
    """Return the lines with their numbers in front."""
    if not lines.text:
        return ""
    shown = lines.text.split("\n")
    last = shown.pop() if lines.text.endswith("\n") else None
    text = "\n".join(f"{number:>6}\t{line}" for number, line in enumerate(shown, lines.first))
    return text if last is None else text + "\n"


def fit(text: str, max_bytes: int) -> str:
    """Return the beginning of a text: as many whole lines as fit, or a part of the first one."""
    raw = text[: max_bytes + 1].encode(errors="replace")
    if len(raw) <= max_bytes:
        return text
    part = raw[:max_bytes].decode(errors="ignore")
    return part[: part.rfind("\n") + 1] or part


def _fitted(text: str, first: int, end: int, max_bytes: int) -> Excerpt:
    start = line_start(text, first)
    part = fit(text[start:end], max_bytes)
    stop = start + len(part)
    cut = stop < end
    if cut and not part.endswith("\n"):  # inside a line: go on with the one after it
        stop = text.find("\n", stop) + 1 or len(text)
    next_line = first + text.count("\n", start, stop) if stop < len(text) else None
    return Excerpt(part, first, next_line, cut)
