# managed: part of the template; modelctx updates may rewrite it. Your tests live in tests/custom/.
"""What the backend does with text alone: lines, edits, differences, searches, ignore files."""

import random
import re
import sys
import time
from typing import Any

import pytest
from conftest import module

cursor = module("cursor")
edits = module("filesystem.edits")
ignore = module("filesystem.ignore")
limits = module("filesystem.limits")
lines = module("filesystem.lines")
media = module("filesystem.media")
pages = module("filesystem.pages")
search = module("filesystem.search")
walk = module("filesystem.walk")
Refused = module("errors").Refused

LIMIT = 1_000_000


def edited(text: str, *replacements: tuple[Any, ...]) -> str:
    return str(edits.apply(text, [edits.Replacement(*each) for each in replacements], LIMIT))


# -- edits --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "old", "new", "wanted"),
    [
        ("one\ntwo\n", "two", "2", "one\n2\n"),
        ("one\ntwo\n", "one\ntwo", "both", "both\n"),
        ("a.b", ".", r"\1$&", r"a\1$&b"),
        ("one\r\ntwo\r\n", "one\ntwo", "1\n2", "1\r\n2\r\n"),
        ("one\ntwo\n", "one\r\ntwo", "1\r\n2", "1\n2\n"),
        ("one\r\ntwo\nsix\n", "two", "2", "one\r\n2\nsix\n"),
        ("def f():\n    return 1\n", "def f():\nreturn 1", "def f():\n    return 2", None),
        ("  if x:\n      y()\n", "if x:\n    y()", "if x:\n    z()", "  if x:\n      z()\n"),
    ],
)
def test_edit(text: str, old: str, new: str, wanted: str | None) -> None:
    """A passage is replaced, line ends stay as they are, indentation is that of the file."""
    assert edited(text, (old, new)) == (wanted or text.replace("1", "2"))


def test_edits_build_on_each_other() -> None:
    """Each edit is applied to what the one before has left."""
    assert edited("a", ("a", "b"), ("b", "c")) == "c"


@pytest.mark.parametrize("old", ["x", "a\n\n", "  x  \n"])
def test_a_missing_passage_is_refused(old: str) -> None:
    """What is not in the text is refused."""
    with pytest.raises(Refused, match=r"^conflict: edit 1: .*not in the file"):
        edited("a\nb\n", (old, "y"))


@pytest.mark.parametrize("text", ["a a", "aaa", "  a\n a"])
def test_an_ambiguous_passage_is_refused(text: str) -> None:
    """What is there more than once is refused, unless it is to be replaced everywhere."""
    with pytest.raises(Refused, match=r"^conflict: edit 1: .*more than once"):
        edited(text, ("a", "b"))
    assert edited(text, ("a", "b", True)) == text.replace("a", "b")


def test_lines_that_differ_in_white_space_must_be_unique_too() -> None:
    """A passage that is found only loosely is refused when it is found twice."""
    with pytest.raises(Refused, match="more than once"):
        edited(" a\nb\n  a\nb\n", ("a\n b", "c"))


@pytest.mark.promise("FS-4")
def test_an_edit_cannot_blow_up_a_text() -> None:
    """A replacement that would be too large is refused before it is made."""
    with pytest.raises(Refused, match=r"^too_large: "):
        edited("a" * 100_000, ("a", "b" * 100_000, True))


@pytest.mark.promise("FS-4")
@pytest.mark.parametrize(
    ("text", "old"),
    [("a\n" * 500_000, " a\n" * 200_000 + "b"), ("a \n" * 90_000 + "b", " a\n" * 80_000 + "c")],
)
def test_looking_loosely_takes_linear_time(text: str, old: str) -> None:
    """Long repetitive passages are refused in a moment."""
    started = time.monotonic()
    with pytest.raises(Refused):
        edited(text, (old, "x"))
    assert time.monotonic() - started < 2


# -- differences --------------------------------------------------------------------------------


def patched(text: str, diff: str) -> str:
    """Apply a unified diff, as `patch` would."""
    source = re.findall(r"[^\n]*\n|[^\n]+", text)
    done, position = [], 0
    body = diff.replace("\n\\ No newline at end of file\n", "\0")
    for line in re.findall(r"[^\n\0]*[\n\0]", body)[4:]:
        mark, rest = line[0], line[1:].replace("\0", "")
        if match := re.match(r"@@ -(\d+),(\d+) \+", line):
            start = int(match[1]) - (match[2] != "0")
            done += source[position:start]
            position = start
            continue
        if mark != "+":
            assert source[position] == rest
            position += 1
        if mark != "-":
            done.append(rest)
    return "".join(done + source[position:])


def test_a_difference_is_one() -> None:
    """Applied to the old text, the difference of thousands of small texts gives the new one."""
    rng = random.Random(3)
    for _ in range(3000):
        old = "".join(rng.choices("ab\n\n", k=rng.randrange(40)))
        new = list(old)
        for _ in range(rng.randrange(4)):
            at = rng.randrange(len(new) + 1)
            new[at : at + rng.randrange(3)] = rng.choices("ab\n", k=rng.randrange(3))
        diff, cut = edits.difference("f", old, "".join(new), LIMIT)
        assert not cut
        assert patched(old, diff) == "".join(new), (old, new, diff)


@pytest.mark.promise("FS-4")
@pytest.mark.parametrize("size", [900, 100_000])
def test_a_difference_takes_a_moment(size: int) -> None:
    """Texts that are all changes, of few different lines, are compared or shown whole."""
    rng = random.Random(5)
    old, new = ("".join(f"{rng.randrange(90)}\n" for _ in range(size)) for _ in range(2))
    started = time.monotonic()
    diff, cut = edits.difference("f", old, new, 10 * LIMIT)
    assert time.monotonic() - started < 3
    assert not cut
    assert patched(old, diff) == new


def test_a_difference_that_is_too_large_is_left_out() -> None:
    """Beyond the limit only the head of the difference is left, and it says so."""
    diff, cut = edits.difference("f", "a\n" * 1000, "b\n" * 1000, 100)
    assert cut
    assert len(diff) < 200


@pytest.mark.promise("FS-4")
def test_a_fence_is_longer_than_what_is_in_it() -> None:
    """A text of backticks cannot end the block, and many of them take no time."""
    started = time.monotonic()
    fenced = edits.fenced("`" * 200_000 + "\n")
    assert fenced.startswith("`" * 200_001 + "diff\n")
    assert time.monotonic() - started < 1


# -- lines --------------------------------------------------------------------------------------


def test_lines_are_those_asked_for() -> None:
    """Offset and limit pick the same lines as splitting the text does."""
    text = "one\ntwo\n\nfour\nfive"
    split = text.splitlines(keepends=True)
    for offset in range(1, 8):
        for limit in range(1, 8):
            found = lines.excerpt(text, offset=offset, limit=limit, max_bytes=LIMIT)
            end = offset - 1 + limit
            assert found.text == "".join(split[offset - 1 : end])
            assert found.next_line == (end + 1 if end < len(split) else None)
            assert not found.cut


def test_pages_of_lines_add_up() -> None:
    """Going on at the next line again and again gives the whole text, whatever fits at once."""
    text = "".join(f"line {number}: {'é' * (number % 7)}\n" for number in range(60))
    for size in (30, 33, 100, 5000):
        parts, offset = [], 1
        while offset:
            found = lines.excerpt(text, offset=offset, max_bytes=size)
            assert len(found.text.encode()) <= size
            parts.append(found.text)
            offset = found.next_line or 0
        assert "".join(parts) == text


def test_a_line_that_does_not_fit_is_cut() -> None:
    """One long line gives its beginning and the number of the next line."""
    found = lines.excerpt("é" * 100 + "\nnext\n", max_bytes=51)
    assert (found.text, found.next_line, found.cut) == ("é" * 25, 2, True)


def test_numbers_before_lines() -> None:
    """Numbers are those of the file, and newlines stay."""
    found = lines.excerpt("a\nb\nc\n", offset=2, max_bytes=LIMIT)
    assert lines.numbered(found) == "     2\tb\n     3\tc\n"
    assert lines.numbered(lines.excerpt("a\n", offset=9, max_bytes=LIMIT)) == ""


@pytest.mark.parametrize(
    "arguments", [{"head": 1, "tail": 1}, {"head": 1, "offset": 1}, {"tail": 1, "limit": 1}]
)
def test_only_one_choice_of_lines(arguments: dict[str, int]) -> None:
    """Asking for lines in two ways at once is refused."""
    with pytest.raises(Refused, match=r"^invalid_arguments: "):
        lines.excerpt("a", max_bytes=LIMIT, **arguments)


# -- cursors ------------------------------------------------------------------------------------


def test_a_cursor_comes_back() -> None:
    """A cursor gives its place back for the same question, names that are not UTF-8 included."""
    place = ["folder/\udcff.txt", 7]
    assert cursor.decode(["q"], cursor.encode(["q"], place), (str, int)) == place
    assert cursor.decode(["q"], "", (str, int)) == []


@pytest.mark.promise("GEN-1")
def test_a_cursor_that_was_changed_is_refused() -> None:
    """Any other character, any other question or shape, and rubbish is refused."""
    good = cursor.encode(["q"], ["a", 1])
    wrong = [
        good[:at] + ("A" if good[at] != "A" else "B") + good[at + 1 :] for at in range(len(good))
    ]
    for each in [*wrong, good[:-1], good + "A", "x", "é", "=", "[]", "\ud800"]:
        with pytest.raises(Refused, match=r"^invalid_arguments: "):
            cursor.decode(["q"], each, (str, int))
    with pytest.raises(Refused):
        cursor.decode(["other"], good, (str, int))
    with pytest.raises(Refused):
        cursor.decode(["q"], good, (int, str))


# -- searches -----------------------------------------------------------------------------------


def found(data: bytes, pattern: str, context: int = 0, **options: bool) -> list[Any]:
    given = {"regex": False, "ignore_case": False, **options}
    what = search.wanted(pattern, limits.Deadline(60), **given)
    return list(search.find_lines(data, "f", what, context))


def places(data: bytes, pattern: str, **options: bool) -> list[tuple[int, int]]:
    return [(each["line"], each["column"]) for each in found(data, pattern, **options)]


def test_lines_are_found() -> None:
    """Line and column are counted from 1, in characters, and a line is found once."""
    data = "müßig x\nno\r\nxx\n x".encode()
    assert places(data, "x") == [(1, 7), (3, 1), (4, 2)]
    assert places(b"", "x") == []
    assert [each["text"] for each in found(data, "no")] == ["no"]


def test_case_is_ignored_in_every_script() -> None:
    """Columns stay right, also behind the one letter that becomes longer in lower case."""
    assert places("İİ ПРИВЕТ\n".encode(), "привет", ignore_case=True) == [(1, 4)]
    assert places(b"HeLLo", "hEllO", ignore_case=True) == [(1, 1)]
    longer = [char for char in map(chr, range(sys.maxunicode + 1)) if len(char.lower()) != 1]
    assert longer == ["İ"]


def test_context_is_shown() -> None:
    """Lines before and after are those around, as far as there are any."""
    (match,) = found(b"1\n2\nx\n4\n5\n", "x", 2)
    assert (match["before"], match["after"]) == (["1", "2"], ["4", "5"])
    (match,) = found(b"x\n", "x", 2)
    assert (match["before"], match["after"]) == ([], [])


def test_a_long_line_is_cut_around_the_match() -> None:
    """Of a long line, only the part with the match is shown."""
    (match,) = found(b"a" * 10_000 + b"needle" + b"b" * 10_000, "needle")
    assert match["column"] == 10_001
    assert len(match["text"]) <= search.MAX_SHOWN_CHARS + 2
    assert "needle" in match["text"]


def test_a_pattern_is_for_one_line() -> None:
    """A newline in a pattern is refused."""
    with pytest.raises(Refused, match=r"^invalid_arguments: "):
        found(b"a", "a\nb")


def test_regular_expressions() -> None:
    """With RE2 they work and hostile ones are fast; without it they are refused, saying why."""
    try:
        import re2  # noqa: F401
    except ImportError:
        with pytest.raises(Refused, match=r"^unavailable: .*google-re2"):
            found(b"a", "a", regex=True)
        return
    assert places(b"ab\nAB\n", "^a.$", regex=True) == [(1, 1)]
    assert places(b"ab\nAB\n", "^a.$", regex=True, ignore_case=True) == [(1, 1), (2, 1)]
    with pytest.raises(Refused, match=r"^invalid_arguments: "):
        found(b"a", "(a", regex=True)
    started = time.monotonic()
    assert places(b"a" * 100_000, "(a+)+b", regex=True) == []
    assert time.monotonic() - started < 2
    # A match is in one line, wherever the blocks end in which a file is searched.
    assert places(b"a\nb\n", r"a\s*b|a[^x]b", regex=True) == []
    assert places(b"a\n", "^$", regex=True) == places(b"a", "^$", regex=True) == []
    assert places(b"a\n\n", "^$", regex=True) == [(2, 1)]
    assert places(b"a", "$", regex=True) == [(1, 2)]
    block = b"y" * 100 + b"\n"
    data = block * 10_000 + b"ab\n" + block * 3_000 + b"xab"
    assert places(data, "^ab$|xab$", regex=True) == [(10_001, 1), (13_002, 1)]
    assert places(data, "^y{99}$|^z", regex=True) == []
    # This line lies across the place where the first block would end.
    across = block * 2_595 + b"y" * 99 + b"q\n" + block * 10
    assert places(across, "q$", regex=True) == [(2_596, 100)]
    assert places(b"z" * 1024 * 1024 + b"needle", "needle", regex=True) == [(1, 1024 * 1024 + 1)]
    long = b"y" * 3_000_000 + b"\nab"
    assert places(long, "^ab$", regex=True) == [(2, 1)]
    with pytest.raises(Refused, match="too large"):
        found(b"a", "(?:.*a.{900})x", regex=True)
    with pytest.raises(Refused, match=r"^timeout: "):
        search.find_lines(
            b"a", "f", search.wanted("a", limits.Deadline(0), regex=True, ignore_case=False), 0
        ).__next__()


@pytest.mark.promise("FS-4")
def test_without_re2_an_expression_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """An expression never reaches Python's own matcher."""
    monkeypatch.setitem(sys.modules, "re2", None)
    with pytest.raises(Refused, match=r"^unavailable: .*google-re2"):
        search.wanted("a+", limits.Deadline(60), regex=True, ignore_case=False)


# -- ignore files, types and sizes --------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "hidden", "kept"),
    [
        ("*.log", ["a.log", "x/a.log"], ["a.txt"]),
        ("/build", ["build"], ["x/build"]),
        ("a/b", ["a/b"], ["x/a/b"]),
        ("*.log\n!keep.log", ["a.log"], ["keep.log"]),
        ("# *.txt\n\n  \n", [], ["a.txt", "# *.txt"]),
        ("\\#a\n\\!b", ["#a", "!b"], ["a", "b"]),
        ("{a,b}", ["{a,b}"], ["a", "b"]),
        ("a  \nb\\ ", ["a", "b "], ["b"]),
        ("docs/**", ["docs/a", "docs/a/b"], ["docs"]),
        ("x\r\n", ["x"], ["y"]),
    ],
)
def test_ignore_files(text: str, hidden: list[str], kept: list[str]) -> None:
    """Lines of a .gitignore mean what gitignore(5) says."""
    ignored = ignore.Ignored(limits.Deadline(60)).within("", text)
    assert [path for path in [*hidden, *kept] if ignored.hides(path, False)] == hidden


def test_ignore_files_for_folders_and_below() -> None:
    """A slash at the end means folders; a file in a folder counts for what is below it."""
    ignored = ignore.Ignored(limits.Deadline(60)).within("", "out/").within("sub/", "/a\n!/out/")
    assert ignored.hides("out", True)
    assert not ignored.hides("out", False)
    assert ignored.hides("sub/a", False)
    assert not ignored.hides("a", False)
    assert not ignored.hides("sub/out", True)
    assert ignored.hides(".git", True)


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"\x89PNG\r\n\x1a\n....", "image/png"),
        (b"\xff\xd8\xff\xe0", "image/jpeg"),
        (b"GIF89a", "image/gif"),
        (b"RIFF\0\0\0\0WEBPVP8 ", "image/webp"),
        (b"RIFF\0\0\0\0WAVEfmt ", "audio/wav"),
        (b"ID3\4", "audio/mpeg"),
        (b"OggS\0", "audio/ogg"),
        (b"fLaC", "audio/flac"),
        (b"\0\0\0\x20ftypM4A ", "audio/mp4"),
        (b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>', "image/svg+xml"),
        (b"BM\x9a\0\0\0\0\0\0\0", "image/bmp"),
        (b"%PDF-1.7", "application/pdf"),
        (b"BMW and others", media.UNKNOWN),
        (b"text", media.UNKNOWN),
        (b"", media.UNKNOWN),
    ],
)
def test_types_are_told_from_content(data: bytes, kind: str) -> None:
    """The first bytes decide, not the name."""
    assert media.sniff(data) == kind


@pytest.mark.parametrize(
    ("size", "shown"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.00 KB"),
        (1152, "1.13 KB"),
        (1536, "1.50 KB"),
        (1024**2, "1.00 MB"),
        (5 * 1024**5, "5120.00 TB"),
    ],
)
def test_sizes_are_shown(size: int, shown: str) -> None:
    """A size reads as in the reference server."""
    assert pages.format_size(size) == shown


def test_names_cannot_forge_lines() -> None:
    """A newline, an escape or a half character in a name does not reach the text."""
    assert walk.printable("a\n[DIR] b\x1b[2J\u2028\udcff") == "a\ufffd[DIR] b\ufffd[2J\ufffd\ufffd"
    assert walk.utf8("é\udcff") == "é\ufffd"


@pytest.mark.promise("FS-4")
def test_a_search_goes_on_after_any_line_without_delay() -> None:
    """What lies before the line is not searched again: a caller may name any line."""
    search = module("filesystem.search")
    what = search.wanted("a", limits.Deadline(60), regex=False, ignore_case=False)
    text = b"a\n\nb\na a\nb\na"
    every = list(search.find_lines(text, "f", what, 1))
    for after in range(9):
        assert list(search.find_lines(text, "f", what, 1, after)) == [
            match for match in every if match["line"] > after
        ]
    started = time.perf_counter()
    first = next(search.find_lines(b"a\n" * 5_000_000, "f", what, 20, 4_999_000))
    assert first["line"] == 4_999_001
    assert not list(search.find_lines(b"a\n" * 5_000_000, "f", what, 20, 10**9))
    assert time.perf_counter() - started < 2
