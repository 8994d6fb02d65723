# managed: part of the template; modelctx updates may rewrite it. Your tests live in tests/custom/.
"""Patterns mean what clients of the reference server expect, and none of them takes long."""

import random
import re
import time
from collections.abc import Iterator

import pytest
from conftest import module

match = module("filesystem.match")
Refused = module("errors").Refused

# What minimatch answers with `dot: true`: pattern, paths that match, paths that do not.
MEANINGS = [
    ("*", ["a", ".a", "a.b"], ["a/b", "a/.b"]),
    ("**", ["a", "a/b", ".a/.b"], []),
    ("**/*", ["a", "a/b/c"], []),
    ("*.py", ["x.py", ".py"], ["a/x.py", "x.pyc"]),
    ("**/*.py", ["x.py", "a/x.py", "a/b/.py"], ["a/x.pyc"]),
    ("a/**", ["a/b", "a/b/c", "a/.b"], ["a", "b/a", "ab/c"]),
    ("a/**/b", ["a/b", "a/x/b", "a/x/y/b"], ["a/bc", "a/b/c", "xa/b"]),
    ("a/**/**/b", ["a/b", "a/x/y/z/b"], ["a"]),
    ("**/a", ["a", "b/a", "b/c/a"], ["ba", "b/ca"]),
    ("**/a/**", ["a/b", "x/a/b"], ["a", "x/a"]),
    ("a**b", ["ab", "axb", "axxb"], ["a/b"]),
    ("?", ["a", "é", "."], ["", "ab", "/"]),
    ("a?c", ["abc"], ["ac", "a/c", "abbc"]),
    ("[abc]", ["a", "c"], ["d", "ab"]),
    ("[a-c]x", ["ax", "cx"], ["dx"]),
    ("[!a]b", ["xb"], ["ab", "b"]),
    ("[^a]b", ["xb"], ["ab"]),
    ("[]]", ["]"], ["["]),
    ("[]a]", ["]", "a"], ["b"]),
    ("[!]]", ["x"], ["]"]),
    ("[a-]", ["a", "-"], ["b"]),
    ("[z-a]", [], ["b", "z"]),
    ("[\\]]", ["]"], ["\\"]),
    ("[a", ["[a"], ["a"]),
    ("[]", ["[]"], ["[", "]"]),
    ("a[/]b", [], ["a/b"]),
    ("{a,b}", ["a", "b"], ["{a,b}", "c"]),
    ("{a}", ["{a}"], ["a"]),
    ("{a,b", ["{a,b"], ["a"]),
    ("{,a}x", ["x", "ax"], ["bx"]),
    ("x{a,{b,c}}", ["xa", "xb", "xc"], ["x", "xbc"]),
    ("{a,b}/{c,d}", ["a/c", "b/d"], ["a/b"]),
    ("*.{js,ts}", ["x.js", "x.ts"], ["x.jsx"]),
    ("{a\\,b,c}", ["a,b", "c"], ["a"]),
    ("a,b", ["a,b"], ["a"]),
    ("\\*", ["*"], ["a"]),
    ("a\\", ["a\\"], ["a"]),
    ("!a", ["b", "a/b"], ["a"]),
    ("!!a", ["a"], ["b"]),
    ("A", ["A"], ["a"]),
    ("a//b", ["a/b"], ["a"]),
]

# Each keeps a matcher that backtracks, or one that writes out all braces, busy for very long.
HOSTILE = [
    ("*a" * 12 + "b", "a" * 255),
    ("*?a" * 340 + "b", "a" * 255),
    ("**/a/" * 200 + "b", "a/" * 2000 + "a"),
    ("*" + "?" * 100 + "b*", "a" * 255),
    ("{a,a}" * 200, "a" * 200),
    ("[" * 1000, "a"),
    ("[\\]" * 340, "a"),
    ("{" * 1000, "a"),
]


def meanings() -> Iterator[tuple[str, str, bool]]:
    for pattern, matching, others in MEANINGS:
        yield from ((pattern, path, True) for path in matching)
        yield from ((pattern, path, False) for path in others)


@pytest.mark.parametrize(("pattern", "path", "matches"), list(meanings()))
def test_meaning(pattern: str, path: str, matches: bool) -> None:
    """A pattern matches what minimatch says it does."""
    assert match.compile_glob(pattern).matches(path) is matches


def matches_slowly(pattern: str, text: str) -> bool:
    """The definition of `*`, `?` and `**` itself, tried in every way."""
    if not pattern:
        return not text
    if pattern.startswith("**/"):
        rests = [text, *(text[i + 1 :] for i, char in enumerate(text) if char == "/")]
        return any(matches_slowly(pattern[3:], rest) for rest in rests)
    if pattern[0] == "*":
        ends = range(len(text.split("/")[0]) + 1)
        return any(matches_slowly(pattern[1:], text[end:]) for end in ends)
    same = bool(text) and (pattern[0] == text[0] or (pattern[0] == "?" and text[0] != "/"))
    return same and matches_slowly(pattern[1:], text[1:])


def word(rng: random.Random, letters: str) -> str:
    return re.sub(r"\*+", "*", "".join(rng.choices(letters, k=rng.randint(1, 3))))


def test_agrees_with_trying_everything() -> None:
    """On thousands of small patterns and paths, it answers as the definition does."""
    rng = random.Random(7)
    for _ in range(5000):
        folders = [
            "**" if rng.random() < 0.3 else word(rng, "ab?*") for _ in range(rng.randrange(4))
        ]
        pattern = "/".join([*folders, word(rng, "ab?*")])
        path = "/".join(word(rng, "ab") for _ in range(rng.randint(1, 4)))
        assert match.compile_glob(pattern).matches(path) is matches_slowly(pattern, path), (
            pattern,
            path,
        )


@pytest.mark.promise("FS-4")
@pytest.mark.parametrize(("pattern", "path"), HOSTILE)
def test_hostile_patterns_are_fast(pattern: str, path: str) -> None:
    """A pattern made to hang a matcher is answered or refused at once."""
    started = time.monotonic()
    match.compile_glob(pattern).matches(path)
    assert time.monotonic() - started < 2


@pytest.mark.promise("FS-4")
@pytest.mark.parametrize(
    "pattern",
    ["a" * (match.MAX_PATTERN_CHARS + 1), "{a,b}" * 7, "{" + "a" * 500 + ",b}" + "{a,b}" * 4],
)
def test_patterns_over_a_limit_are_refused(pattern: str) -> None:
    """A pattern that is too long, or stands for too many, is refused."""
    with pytest.raises(Refused, match=r"^invalid_arguments: "):
        match.compile_glob(pattern)
