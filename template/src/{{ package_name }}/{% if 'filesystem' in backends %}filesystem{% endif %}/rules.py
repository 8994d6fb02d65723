# managed: part of the template; modelctx updates may rewrite it. Your code lives in custom/.
"""Which names may be served: file types, and the paths that are denied.

Names are compared in a form that forgets what some file system forgets too: case, Unicode
composition, invisible characters, and dots and spaces at the end. So ``KEY.PEM``, ``key.pem.``
and ``x.exe `` are what they look like. The names that are opened are never changed.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence

from ..errors import Refused
from .match import Glob, compile_glob, expand_braces


class NameRules:
    """The configured rules about names. Does not touch the file system.

    Args:
        deny: patterns of paths below a root that are neither served nor listed, with everything
            below them. A pattern matches at any depth, ``.env`` says the same as ``**/.env``,
            unless it begins with a slash: ``/notes`` is only the one in a root itself.
        allowed_extensions: such as ``.md``; files of other types are refused; empty for all.
        blocked_extensions: files of these types are refused.
    """

    def __init__(
        self,
        *,
        deny: Sequence[str],
        allowed_extensions: Sequence[str],
        blocked_extensions: Sequence[str],
    ) -> None:
        folded = ["/".join(map(_fold, pattern.split("/"))) for pattern in deny]
        patterns = [each for pattern in folded for each in expand_braces(pattern)]
        placed = [_placed(pattern) for pattern in patterns]
        self._deny = [compile_glob(pattern) for pattern in placed]
        self._below = [compile_glob(f"{pattern}/**") for pattern in placed]
        self._steps = [_steps(pattern) for pattern in patterns]
        # Most names are told apart by how they begin and end: one look instead of many.
        edges = [_edges(pattern) for pattern in patterns]
        self._starts = tuple(start for start, _ in edges if start)
        self._ends = tuple(end for start, end in edges if end and not start)
        self._any_name = any(not start and not end for start, end in edges)
        self._allowed = frozenset(_fold(extension) for extension in allowed_extensions)
        self._blocked = frozenset(_fold(extension) for extension in blocked_extensions)

    def check_type(self, name: str, shown: str) -> None:
        """Refuse a file whose type is not allowed, or blocked.

        The type is every ending that begins with a dot: ``a.tar.gz`` is ``.tar.gz`` and ``.gz``,
        ``.env.local`` is ``.env.local`` and ``.local``, and ``Makefile`` has none.

        Raises:
            Refused: ``type_not_allowed``.
        """
        if not self._allowed and not self._blocked:
            return
        types = set(_endings(_strip(_fold(name))))
        if types & self._blocked or (self._allowed and not types & self._allowed):
            raise Refused("type_not_allowed", f"{shown}: files of this type are not served")

    def denied(self, names: Sequence[str]) -> bool:
        """Say whether a path, given as its components below the root, or a folder above it is."""
        folded = [_fold(name) for name in names]
        if not any(self._suspicious(name) for name in folded):
            return False
        paths = {"/".join(folded), "/".join(map(_strip, folded))}
        return any(glob.matches(path) for glob in (*self._deny, *self._below) for path in paths)

    def entry_denied(self, beneath: str, name: str) -> bool:
        """Say whether an entry of a folder that is itself served is denied.

        Args:
            beneath: the folder's real path below the root, "" for the root.
            name: the entry's name.
        """
        folded = _fold(name)
        if not self._suspicious(folded):
            return False
        parent = [_fold(part) for part in beneath.split("/") if part]
        paths = {"/".join([*parent, folded]), "/".join(map(_strip, [*parent, folded]))}
        return any(glob.matches(path) for glob in self._deny for path in paths)

    def pins(self, names: Sequence[str]) -> bool:
        """Say whether a folder must stay where it is, because a pattern names what is below it.

        With ``.git/hooks`` denied, a folder of hooks must not become ``.git/hooks`` by renaming
        its parent to ``.git``, nor stop being it.
        """
        folded = [_fold(name) for name in names]
        spellings = (folded, [_strip(name) for name in folded])
        return any(_partly_matches(steps, each) for steps in self._steps for each in spellings)

    def _suspicious(self, folded: str) -> bool:
        return (
            self._any_name
            or folded.startswith(self._starts)
            or folded.endswith(self._ends)
            or _strip(folded).endswith(self._ends)
        )


def _fold(text: str) -> str:
    """Return the form in which names are compared (Unicode Standard, D145, less what is unseen)."""
    if text.isascii():
        return text.lower()
    seen = "".join(char for char in text if unicodedata.category(char) != "Cf") or text
    return unicodedata.normalize("NFD", unicodedata.normalize("NFD", seen).casefold())


def _placed(pattern: str) -> str:
    """Return a pattern for paths from a root on; a ``!`` in front of it stays a character."""
    return f".{pattern}" if pattern.startswith("/") else f"**/{pattern}"


def _strip(folded: str) -> str:
    """Drop dots and spaces at the end, which Windows and its file systems ignore."""
    stripped = folded
    while stripped and (stripped[-1] == "." or stripped[-1].isspace()):
        stripped = stripped[:-1]
    return stripped or folded


def _endings(name: str) -> Iterator[str]:
    for index, char in enumerate(name):
        if char == ".":
            yield name[index:]


def _edges(pattern: str) -> tuple[str, str]:
    """Return how the last name of a path must begin and end, as far as is certain, to match."""
    last = _parts(pattern)[-1:]
    name = last[0] if last else "**"
    special = [index for index, char in enumerate(name) if char in "*?[]\\"]
    if not special:
        return name, name
    return name[: special[0]], name[special[-1] + 1 :]


def _parts(pattern: str) -> list[str]:
    """Return a pattern's components; empty ones and "." mean nothing, as in `match`."""
    return [part for part in pattern.split("/") if part not in ("", ".")]


def _steps(pattern: str) -> list[Glob | None]:
    """Return a pattern's components after any ``**/`` in front; None stands for ``**``."""
    steps: list[Glob | None] = []
    for part in _parts(pattern):
        if part == "**":
            if steps and steps[-1] is not None:
                steps.append(None)
        else:
            steps.append(compile_glob(f"**/{part}"))
    return steps


def _partly_matches(steps: Sequence[Glob | None], names: Sequence[str]) -> bool:
    """Say whether the last of the names is taken by a step, and further steps remain.

    All ways to match are followed at once, as the set of steps that may come next.
    """
    ahead: set[int] = set()
    for name in names:
        now = {0} | ahead | {step + 1 for step in ahead if steps[step] is None}
        ahead = set()
        for step in now & set(range(len(steps))):
            glob = steps[step]
            if glob is None:
                ahead.add(step)
            elif glob.matches(name):
                ahead.add(step + 1)
        ahead.discard(len(steps))
    return bool(ahead)
