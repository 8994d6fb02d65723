# managed: part of the template; modelctx updates may rewrite it. Your code lives in custom/.
"""Replaces passages of a text and shows the difference. Knows nothing of files."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

from ..errors import Refused

_CONTEXT_LINES = 4
# difflib needs up to cubic time. Longer changes are shown as all lines out, all lines in.
_MAX_COMPARED_LINES = 1000
# Splitting a text into lines takes many times its memory. Longer ones are only matched exactly.
_MAX_LOOSE_LINES = 100_000

_Change = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Replacement:
    """One edit: what stands there now, what is to stand there, and whether everywhere."""

    old: str
    new: str
    everywhere: bool = False


def apply(text: str, edits: Sequence[Replacement], max_chars: int) -> str:
    """Return the text after all edits, each applied to what the one before has left.

    A text whose lines all end in CRLF keeps them, and an edit may write plain newlines. Where no
    passage is equal to ``old``, lines are taken that differ only in white space at their ends.

    Raises:
        Refused: ``conflict`` when a passage is missing, or is there more than once although the
            edit is not for everywhere; ``too_large`` when the text would exceed ``max_chars``.
    """
    crlf = text.count("\r\n")
    mixed = 0 < crlf < text.count("\n")
    if crlf and not mixed:
        text = text.replace("\r\n", "\n")
    for number, edit in enumerate(edits, 1):
        old, new = (edit.old, edit.new) if mixed else (_plain(edit.old), _plain(edit.new))
        text = _apply_one(text, Replacement(old, new, edit.everywhere), number, max_chars)
    return text.replace("\n", "\r\n") if crlf and not mixed else text


def difference(shown: str, before: str, after: str, max_chars: int) -> tuple[str, bool]:
    """Compare two texts.

    Args:
        shown: what to name the file.
        before: the old text.
        after: the new one.
        max_chars: most characters, old and new, from the first change to the last one.

    Returns:
        A unified diff in the reference server's layout, and whether it is without the changes
        because they are too large.
    """
    before, after = _plain(before), _plain(after)
    head = f"Index: {shown}\n{'=' * 67}\n--- {shown}\toriginal\n+++ {shown}\tmodified\n"
    if before == after:
        return head, False
    start, old_end, new_end = _window(before, after)
    if old_end + new_end - 2 * start > max_chars:
        return head, True
    old, new = _lines(before[start:old_end]), _lines(after[start:new_end])
    first_line = before.count("\n", 0, start)
    hunks = _hunks(_changes(old, new))
    return head + "".join(_show_hunk(hunk, old, new, first_line) for hunk in hunks), False


def fenced(diff: str) -> str:
    """Put a diff between backticks, more of them than it holds in a row."""
    longest = max(map(len, re.findall("`+", diff)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}diff\n{diff}{fence}\n\n"


def _plain(text: str) -> str:
    return text.replace("\r\n", "\n")


def _apply_one(text: str, edit: Replacement, number: int, max_chars: int) -> str:
    start = text.find(edit.old)
    if start < 0:
        return _apply_loosely(text, edit, number)
    count = text.count(edit.old) if edit.everywhere else 1
    # Before it is built: a short passage that is everywhere can become a text of any size.
    if len(text) + count * (len(edit.new) - len(edit.old)) > max_chars:
        raise Refused("too_large", f"after edit {number} the file would be too large")
    if edit.everywhere:
        return text.replace(edit.old, edit.new)
    if text.find(edit.old, start + 1) >= 0:
        raise _ambiguous(number)
    return text[:start] + edit.new + text[start + len(edit.old) :]


def _apply_loosely(text: str, edit: Replacement, number: int) -> str:
    """Find the lines of the edit without regard to white space at their ends, in linear time."""
    if text.count("\n") > _MAX_LOOSE_LINES:
        raise _missing(number)
    lines, wanted = text.split("\n"), edit.old.split("\n")
    needle = "\n".join(["", *(line.strip() for line in wanted), ""])
    haystack = "\n".join(["", *(line.strip() for line in lines), ""])
    found = haystack.find(needle) if needle.strip() else -1
    if found < 0:
        raise _missing(number)
    if haystack.find(needle, found + 1) >= 0:
        raise _ambiguous(number)
    first = haystack.count("\n", 0, found)
    lines[first : first + len(wanted)] = _indented_like(lines[first], edit.new.split("\n"))
    return "\n".join(lines)


def _indented_like(model: str, lines: list[str]) -> list[str]:
    """Move a block of lines so that its first line is indented like the model."""
    wanted, given = _indent(model), _indent(lines[0])
    return [wanted + line[len(given) :] if line.startswith(given) else line for line in lines]


def _indent(line: str) -> str:
    return line[: len(line) - len(line.lstrip())]


def _missing(number: int) -> Refused:
    return Refused(
        "conflict", f"edit {number}: oldText is not in the file; read it again and copy it"
    )


def _ambiguous(number: int) -> Refused:
    return Refused(
        "conflict",
        f"edit {number}: oldText is in the file more than once; add lines around it that make it "
        "unique, or set replaceAll",
    )


def _lines(text: str) -> list[str]:
    """Split at newlines only, and keep them."""
    *whole, last = text.split("\n")
    return [line + "\n" for line in whole] + ([last] if last else [])


def _window(before: str, after: str) -> tuple[int, int, int]:
    """Return where whole lines with all changes, and some around them, begin and end.

    Equal beginnings and ends are passed over by comparing slices, without splitting the texts.
    """
    shorter = min(len(before), len(after))
    same = bisect_left(range(1, shorter + 1), True, key=lambda size: before[:size] != after[:size])
    start = before.rfind("\n", 0, same) + 1
    rest = shorter - start
    tail = bisect_left(range(1, rest + 1), True, key=lambda size: before[-size:] != after[-size:])
    end = before.find("\n", len(before) - tail) + 1 or len(before)
    for _ in range(_CONTEXT_LINES):
        start = before.rfind("\n", 0, max(0, start - 1)) + 1
        end = before.find("\n", end) + 1 or len(before)
    return start, end, end + len(after) - len(before)


def _changes(old: list[str], new: list[str]) -> list[_Change]:
    """Return what changed as (start, end) in the old lines and (start, end) in the new ones."""
    shorter = min(len(old), len(new))
    head = next((at for at in range(shorter) if old[at] != new[at]), shorter)
    tail = next(
        (at for at in range(shorter - head) if old[-1 - at] != new[-1 - at]), shorter - head
    )
    before, after = old[head : len(old) - tail], new[head : len(new) - tail]
    if not before and not after:
        return []
    if max(len(before), len(after)) > _MAX_COMPARED_LINES:
        return [(head, head + len(before), head, head + len(after))]
    compared = SequenceMatcher(None, before, after).get_opcodes()
    return [
        (head + a, head + b, head + c, head + d) for kind, a, b, c, d in compared if kind != "equal"
    ]


def _hunks(changes: list[_Change]) -> Iterator[list[_Change]]:
    """Gather changes that are so close that their context touches."""
    hunk: list[_Change] = []
    for change in changes:
        if hunk and change[0] - hunk[-1][1] > 2 * _CONTEXT_LINES:
            yield hunk
            hunk = []
        hunk.append(change)
    if hunk:
        yield hunk


def _show_hunk(hunk: list[_Change], old: list[str], new: list[str], first_line: int) -> str:
    before = min(_CONTEXT_LINES, hunk[0][0])
    after = min(_CONTEXT_LINES, len(old) - hunk[-1][1])
    old_range = _range(first_line, hunk[0][0] - before, hunk[-1][1] + after)
    new_range = _range(first_line, hunk[0][2] - before, hunk[-1][3] + after)
    parts = [f"@@ -{old_range} +{new_range} @@\n"]
    at = hunk[0][0] - before
    for start, end, new_start, new_end in hunk:
        parts.extend(_marked(" ", old[at:start]))
        parts.extend(_marked("-", old[start:end]))
        parts.extend(_marked("+", new[new_start:new_end]))
        at = end
    parts.extend(_marked(" ", old[at : at + after]))
    return "".join(parts)


def _range(first_line: int, start: int, end: int) -> str:
    return f"{first_line + start + (end > start)},{end - start}"


def _marked(mark: str, lines: list[str]) -> Iterator[str]:
    for line in lines:
        yield mark + line
        if not line.endswith("\n"):
            yield "\n\\ No newline at end of file\n"
