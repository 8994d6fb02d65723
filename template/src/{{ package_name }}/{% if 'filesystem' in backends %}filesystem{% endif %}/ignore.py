# managed: part of the template; modelctx updates may rewrite it. Your code lives in custom/.
"""Understands ``.gitignore`` files, by gitignore(5), to leave names out of an answer.

Only the files of the folders that are walked count, from the top of the walk down; not those
above it, ``.git/info/exclude`` or the user's own. This hides clutter; it protects nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import Refused
from .limits import Deadline
from .match import Glob, compile_glob

FILE_NAME = ".gitignore"
MAX_FILE_BYTES = 64 * 1024
_MAX_RULES = 2000


@dataclass(frozen=True, slots=True)
class _Rule:
    base: str
    glob: Glob
    folders_only: bool
    keeps: bool


@dataclass(frozen=True, slots=True)
class Ignored:
    """The rules that hold in one folder, those of the folders above first.

    Looking at a path raises ``timeout`` when the deadline passes: the rules are whatever someone
    has put into the folder.
    """

    deadline: Deadline
    rules: tuple[_Rule, ...] = ()

    def within(self, folder: str, text: str) -> Ignored:
        """Return the rules of a folder below, which has a ``.gitignore`` with this text.

        Args:
            folder: path below the top of the walk, ending in a slash unless it is empty.
            text: the file's content.
        """
        found = [rule for line in text.split("\n") if (rule := _parse(folder, line))]
        return Ignored(self.deadline, (*self.rules, *found)[-_MAX_RULES:])

    def hides(self, path: str, folder: bool) -> bool:
        """Say whether a path below the top of the walk is ignored. The last rule to match wins."""
        if folder and (path == ".git" or path.endswith("/.git")):
            return True
        for rule in reversed(self.rules):
            self.deadline.check()
            if rule.folders_only and not folder:
                continue
            if rule.glob.matches(path[len(rule.base) :]):
                return not rule.keeps
        return False


def _parse(base: str, line: str) -> _Rule | None:
    line = _trimmed(line.removesuffix("\r"))
    if not line or line.startswith("#"):
        return None
    keeps = line.startswith("!")
    pattern = line[1:] if keeps else line
    folders_only = pattern.endswith("/")
    pattern = pattern.rstrip("/")
    if not pattern:
        return None
    anywhere = "/" not in pattern
    # Braces mean nothing to git, and an exclamation mark only at the very beginning.
    pattern = pattern.replace("{", "\\{").replace("\\\\{", "\\{")
    pattern = f"**/{pattern}" if anywhere else f"./{pattern}"
    try:
        return _Rule(base, compile_glob(pattern), folders_only, keeps)
    except Refused:
        return None


def _trimmed(line: str) -> str:
    """Drop spaces at the end, but not one that is quoted by a backslash."""
    stripped = line.rstrip(" ")
    return stripped + " " if stripped.endswith("\\") and stripped != line else stripped
