# managed: part of the template; modelctx updates may rewrite it. Your code lives in custom/.
"""Shell patterns for paths, matched in time proportional to pattern times path.

The matchers in common use backtrack: a few dozen characters keep them busy for minutes
(CWE-1333). This one never takes a decision back. Between two wildcards stands a run of fixed
length, and the leftmost place where a run fits is always as good as any later one.

The meaning is that of minimatch with ``dot: true``, which clients of the reference server use:

* ``*`` any characters but ``/``, ``?`` one of them, ``[a-z]`` and ``[!a-z]`` one of a set;
* ``**`` as a whole part: any number of parts, and at the end at least one;
* ``{a,b}`` either, at most 64 combinations; ``!`` in front turns the answer round;
* a backslash takes the next character literally.

Extended globs, POSIX classes and number ranges are ordinary characters here, empty parts and
``.`` in a pattern are ignored, and case counts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence, Sized
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import pairwise
from operator import methodcaller
from typing import Protocol, TypeVar

from ..errors import Refused

MAX_PATTERN_CHARS = 1024
MAX_COMBINATIONS = 64
MAX_EXPANDED_CHARS = 4096

NameTest = Callable[[str], bool]


@lru_cache(maxsize=512)
def compile_glob(pattern: str) -> Glob:
    """Parse a pattern, once.

    Raises:
        Refused: ``invalid_arguments``, when the pattern is over one of the limits of this module.
    """
    if len(pattern) > MAX_PATTERN_CHARS:
        raise Refused("invalid_arguments", f"a pattern has at most {MAX_PATTERN_CHARS} characters")
    body = pattern.lstrip("!")
    negated = (len(pattern) - len(body)) % 2 == 1
    return Glob(negated, tuple(_parse_path(each) for each in expand_braces(body)))


@dataclass(frozen=True, slots=True)
class Glob:
    """A parsed pattern: the alternatives that its braces stood for."""

    negated: bool
    alternatives: tuple[_PathPattern, ...]

    @property
    def name_test(self) -> NameTest | None:
        """The test for the last part of a path, where nothing else counts, as in ``**/*.py``."""
        tests = [each.name_only.test for each in self.alternatives if each.name_only is not None]
        if self.negated or len(tests) < len(self.alternatives):
            return None
        return tests[0] if len(tests) == 1 else lambda name: any(test(name) for test in tests)

    def matches(self, path: str) -> bool:
        """Say whether a relative path matches."""
        for alternative in self.alternatives:
            if alternative.matches(path):
                return not self.negated
        return self.negated


_Items_contra = TypeVar("_Items_contra", bound=Sized, contravariant=True)


class _Run(Protocol[_Items_contra]):
    """What stands between two wildcards: it covers a fixed number of items."""

    @property
    def length(self) -> int: ...

    def fits(self, items: _Items_contra, index: int) -> bool: ...

    def find(self, items: _Items_contra, start: int, end: int) -> int: ...


def _fit(runs: Sequence[_Run[_Items_contra]], items: _Items_contra) -> bool:
    """Place the first run at the start, the last at the end, the others leftmost in between."""
    first, last = runs[0], runs[-1]
    if len(runs) == 1:
        return first.length == len(items) and first.fits(items, 0)
    start, end = first.length, len(items) - last.length
    if end < start or not first.fits(items, 0) or not last.fits(items, end):
        return False
    for run in runs[1:-1]:
        found = run.find(items, start, end)
        if found < 0:
            return False
        start = found + run.length
    return True


@dataclass(frozen=True, slots=True)
class _Set:
    """``[...]``: one character of some ranges, or none of them."""

    negated: bool
    ranges: tuple[tuple[str, str], ...]

    def matches(self, char: str) -> bool:
        return any(low <= char <= high for low, high in self.ranges) is not self.negated


_ANY = _Set(negated=True, ranges=())
_Atom = str | _Set


@dataclass(frozen=True, slots=True)
class _Literal:
    """Characters that stand for themselves."""

    text: str

    @property
    def length(self) -> int:
        return len(self.text)

    def fits(self, items: str, index: int) -> bool:
        return items.startswith(self.text, index)

    def find(self, items: str, start: int, end: int) -> int:
        return items.find(self.text, start, end)


@dataclass(frozen=True, slots=True)
class _Characters:
    """Characters of which some may vary, such as ``a?[0-9]``."""

    atoms: tuple[_Atom, ...]

    @property
    def length(self) -> int:
        return len(self.atoms)

    def fits(self, items: str, index: int) -> bool:
        for offset, atom in enumerate(self.atoms, index):
            char = items[offset]
            if atom != char if isinstance(atom, str) else not atom.matches(char):
                return False
        return True

    def find(self, items: str, start: int, end: int) -> int:
        last = end - len(self.atoms)
        return next((at for at in range(start, last + 1) if self.fits(items, at)), -1)


@dataclass(frozen=True, slots=True)
class _Part:
    """The pattern of one part of a path."""

    test: NameTest


@dataclass(frozen=True, slots=True)
class _Parts:
    """Patterns of successive parts of a path."""

    parts: tuple[_Part, ...]

    @property
    def length(self) -> int:
        return len(self.parts)

    def fits(self, items: list[str], index: int) -> bool:
        return all(part.test(items[at]) for at, part in enumerate(self.parts, index))

    def find(self, items: list[str], start: int, end: int) -> int:
        last = end - len(self.parts)
        return next((at for at in range(start, last + 1) if self.fits(items, at)), -1)


@dataclass(frozen=True, slots=True)
class _PathPattern:
    """The pattern of a path: runs of parts, with ``**`` between them."""

    runs: tuple[_Parts, ...]
    # `**/name`, the usual search, need not look at the folders.
    name_only: _Part | None

    def matches(self, path: str) -> bool:
        if self.name_only is not None:
            return self.name_only.test(path[path.rfind("/") + 1 :])
        return _fit(self.runs, path.split("/"))


def _parse_path(pattern: str) -> _PathPattern:
    parts = [part for part in pattern.split("/") if part not in ("", ".")]
    if parts and parts[-1] == "**":
        parts.append("*")  # a pattern that ends in `**` needs something to stand there
    runs: list[list[_Part]] = [[]]
    for part in parts:
        if part == "**":
            runs.append([])
        else:
            runs[-1].append(_parse_part(part))
    anywhere = len(runs) > 1 and not any(runs[:-1]) and len(runs[-1]) == 1
    name_only = runs[-1][0] if anywhere else None
    return _PathPattern(tuple(_Parts(tuple(run)) for run in runs), name_only)


def _parse_part(pattern: str) -> _Part:
    runs: list[list[_Atom]] = [[]]
    index = 0
    while index < len(pattern):
        char = pattern[index]
        index += 1
        if char == "*":
            runs.append([])
        elif char == "?":
            runs[-1].append(_ANY)
        elif char == "[":
            atom, index = _parse_set(pattern, index)
            runs[-1].append(atom)
        else:
            char, index = _unescape(pattern, index - 1)
            runs[-1].append(char)
    return _Part(_test_of([_run_of(atoms) for atoms in runs]))


def _test_of(runs: list[_Run[str]]) -> NameTest:
    """Return the test for runs of characters with ``*`` between them, the usual ones in C."""
    first, last = runs[0], runs[-1]
    if len(runs) <= 2 and isinstance(first, _Literal) and isinstance(last, _Literal):
        if len(runs) == 1:
            return first.text.__eq__
        if not first.text:
            return methodcaller("endswith", last.text)
        if not last.text:
            return methodcaller("startswith", first.text)
    return partial(_fit, runs)


def _run_of(atoms: list[_Atom]) -> _Run[str]:
    text = "".join(atom for atom in atoms if isinstance(atom, str))
    return _Literal(text) if len(text) == len(atoms) else _Characters(tuple(atoms))


def _unescape(pattern: str, index: int) -> tuple[str, int]:
    """Return the character at an index, and the index after it. A last backslash is literal."""
    if pattern[index] == "\\" and index + 1 < len(pattern):
        return pattern[index + 1], index + 2
    return pattern[index], index + 1


def _parse_set(pattern: str, index: int) -> tuple[_Atom, int]:
    """Parse what follows ``[``. A bracket that is never closed is an ordinary character."""
    opened = index
    negated = pattern.startswith(("!", "^"), index)
    index += negated
    first, ranges = index, list[tuple[str, str]]()
    while index < len(pattern):
        if pattern[index] == "]" and index > first:
            return _Set(negated, tuple(ranges)), index + 1
        low, index = _unescape(pattern, index)
        high = low
        if pattern.startswith("-", index) and not pattern.startswith("-]", index):
            if index + 1 == len(pattern):
                break
            high, index = _unescape(pattern, index + 1)
        ranges.append((low, high))
    return "[", opened


def expand_braces(pattern: str) -> list[str]:
    """Write ``{a,b}`` out as all the patterns that it stands for.

    Raises:
        Refused: ``invalid_arguments``, when there are too many.
    """
    expanded = [pattern]
    while any(_find_braces(each) for each in expanded):
        # A dictionary, so that `{a,a}{a,a}{a,a}…` cannot double anything.
        expanded = list(dict.fromkeys(one for each in expanded for one in _expand_once(each)))
        if len(expanded) > MAX_COMBINATIONS or sum(map(len, expanded)) > MAX_EXPANDED_CHARS:
            raise Refused(
                "invalid_arguments", "the braces of a pattern stand for too much; use fewer"
            )
    return expanded


def _expand_once(pattern: str) -> list[str]:
    group = _find_braces(pattern)
    if group is None:
        return [pattern]
    head, tail = pattern[: group[0]], pattern[group[-1] + 1 :]
    return [head + pattern[left + 1 : right] + tail for left, right in pairwise(group)]


def _find_braces(pattern: str) -> list[int] | None:
    """Return where an innermost ``{a,b}`` has its brace, commas and brace."""
    open_groups: list[list[int]] = []
    index = 0
    while index < len(pattern):
        char = pattern[index]
        if char == "\\":
            index += 1
        elif char == "{":
            open_groups.append([index])
        elif char == "," and open_groups:
            open_groups[-1].append(index)
        elif char == "}" and open_groups:
            group = open_groups.pop()
            if len(group) > 1:
                return [*group, index]
        index += 1
    return None
