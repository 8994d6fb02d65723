# managed: part of the template; modelctx updates may rewrite it. Your code lives in custom/.
"""Who may use what: names allowed and denied, read-only, and the scopes of a caller's token."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Collection, Iterable, Mapping


def _any_of(globs: Iterable[str]) -> re.Pattern[str]:
    """One pattern that matches a whole name when any of the globs does. None matches nothing."""
    return re.compile("|".join(fnmatch.translate(glob) for glob in globs) or r"(?!)")


class Policy:
    """The configured rules.

    Args:
        allow: globs (``*``, ``?``, ``[abc]``, case matters); a name must match one of them.
        deny: globs; a name that matches one is refused even when it is allowed.
        scopes: glob to the scope that a caller's token needs for names that match.
        read_only: refuse whatever is not declared to change nothing.

    A name is always the registered one: of a tool, of a prompt, the URI or URI template of a
    resource. What a caller writes is resolved to it first, so no spelling slips past a glob.
    """

    def __init__(
        self,
        *,
        allow: Collection[str],
        deny: Collection[str],
        scopes: Mapping[str, str],
        read_only: bool,
    ) -> None:
        self._globs = [*allow, *deny, *scopes]
        self._allowed = _any_of(allow)
        self._denied = _any_of(deny)
        self._scopes = [(_any_of([glob]), scope) for glob, scope in scopes.items()]
        self._read_only = read_only

    def idle(self, names: Collection[str]) -> list[str]:
        """Return the globs that match none of these names, and so do nothing. ``*`` may."""
        globs = [glob for glob in dict.fromkeys(self._globs) if glob != "*"]
        return [glob for glob in globs if not any(map(_any_of([glob]).match, names))]

    def refusal(
        self, name: str, *, changes: bool, scopes: Collection[str] | None, alias_of: str
    ) -> str | None:
        """Why this name may not be used, or None when it may.

        Args:
            name: the registered name.
            changes: whether it may change anything.
            scopes: those of the caller's token; None where callers have none (stdio).
            alias_of: the name that this is another one of, or the same; its denials and scopes
                count as well.
        """
        if self._allowed.match(name) is None:
            return "it is not among the names that the setting guard.allow permits"
        if self._denied.match(name) is not None or self._denied.match(alias_of) is not None:
            return "the setting guard.deny excludes it"
        if self._read_only and changes:
            return "this server is read-only"
        if scopes is None:
            return None
        for names, scope in self._scopes:
            if scope not in scopes and (names.match(name) or names.match(alias_of)):
                return f"it needs a token with the scope {scope!r}"
        return None
