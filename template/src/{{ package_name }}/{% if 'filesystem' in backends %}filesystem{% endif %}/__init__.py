# managed: part of the template; modelctx updates may rewrite it. Your code lives in custom/.
"""The filesystem backend: folders on disk, for models. Exports `register` and nothing else."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ConfigError
from ..prefix import PREFIX
from .match import MAX_PATTERN_CHARS
from .settings import ALLOWED_PATHS

if TYPE_CHECKING:
    from ..backend import Registered
    from ..guard import GuardedServer
    from ..settings import Settings

__all__ = ["register"]


def register(server: GuardedServer, settings: Settings) -> Registered:
    """Open the allowed folders and add the tools. Called once, at the start.

    Raises:
        ConfigError: a folder cannot be served, or there is none.
    """
    # Only now: the settings, which import this package, are read before a server is built.
    from ..backend import Registered
    from ..private import private_places
    from .sandbox import RootSpec, Sandbox
    from .tools import Tools, add_to

    own = settings.filesystem
    read_only = settings.read_only or bool(own.read_only)
    folders = own.folders()
    check_deny(own.deny, [path for path, _ in folders])
    sandbox = Sandbox(
        [RootSpec(path, writable and not read_only) for path, writable in folders],
        follow_links=own.follow_links == "inside",
        deny=[*own.deny, *hidden([path for path, _ in folders], private_places(settings))],
        allowed_extensions=own.allowed_extensions,
        blocked_extensions=own.blocked_extensions,
        deny_hardlinks=own.deny_hardlinks,
        max_file_size=own.max_file_size,
        reserved=own.trash,
    )
    tools = Tools(sandbox, own)
    writable = any(root.writable for root in sandbox.roots)
    # While the whole server is read-only, the guard hides what writes and says why.
    add_to(server, tools, writing=writable or settings.read_only)
    return Registered(
        name="filesystem",
        summary=tools.summary(),
        read=tuple(root.path for root in sandbox.roots if not root.writable),
        write=tuple(root.path for root in sandbox.roots if root.writable),
        close=tools.close,
    )


def check_deny(deny: Iterable[str], folders: Iterable[str]) -> None:
    """Refuse a pattern that is written as a path of this machine, and so would match nothing.

    Raises:
        ConfigError: a pattern begins with an allowed folder.
    """
    for folder in folders:
        for root in {str(Path(folder).absolute()), os.path.realpath(folder)}:
            for pattern in deny:
                if pattern == root or pattern.startswith(f"{root}/"):
                    raise ConfigError(
                        f"{PREFIX}FILESYSTEM__DENY: write {pattern} as it is from the allowed "
                        f"folder on: {pattern.removeprefix(root) or '**'}"
                    )


def hidden(folders: Sequence[str], private: Iterable[tuple[Path, bool]]) -> list[str]:
    """Return patterns that keep the server's own files from clients where a folder holds them.

    Raises:
        ConfigError: a folder is one of those places, or lies in one that is all the server's.
    """
    roots = [(folder, Path(os.path.realpath(folder))) for folder in folders]
    hide: set[Path] = set()
    for place, whole in private:
        for folder, root in roots:
            below = _below(root, place)
            if below == Path() or (whole and _below(place, root) is not None):
                raise ConfigError(
                    f"{ALLOWED_PATHS}: {folder} holds files of the server itself (its audit log, "
                    "secrets, settings or code; with python -m all of where it was started); name "
                    "another folder, or move them"
                )
            if below is not None:
                hide.add(below)
    outer = sorted(each for each in hide if hide.isdisjoint(each.parents))
    return [_pattern(each) for each in outer]


def _below(folder: Path, place: Path) -> Path | None:
    """Return the path from a folder to a place in it, both real; None when it is not in it.

    Folders are compared as the system knows them: a bind mount is the folder under another name.
    """
    for parent in (place, *place.parents):
        if parent == folder or _same(parent, folder):
            return place.relative_to(parent)
    return None


def _same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return False


def _pattern(below: Path) -> str:
    pattern = "/" + re.sub(r"([*?\[\]{}\\])", r"\\\1", below.as_posix())
    if len(pattern) > MAX_PATTERN_CHARS:
        raise ConfigError(f"{ALLOWED_PATHS}: files of the server lie too deep in one; move them")
    return pattern
