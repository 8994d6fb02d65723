# managed: part of the template; modelctx updates may rewrite it. Your code lives in custom/.
"""The server's own files, which no client may reach where they lie in a folder that is served."""

import os
import site
import sys
from collections.abc import Iterator
from pathlib import Path

from .settings import (
    SECRETS_DIR,
    Settings,
    audit_file,
    default_audit_log,
    env_file,
    project_folder,
)


def private_places(settings: Settings) -> list[tuple[Path, bool]]:
    """Return the server's own files and folders: no client may read or change them.

    Among them is whatever this Python may import: a module that a client writes would be run.

    Returns:
        Each place and each link on the way to it, by real paths, and whether all folders in it
        are the server's too.
    """
    whole = [Path(__file__).parent, Path(sys.executable), *map(Path, filter(None, sys.path))]
    if sys.prefix != sys.base_prefix:
        whole.append(Path(sys.prefix))
    if site.ENABLE_USER_SITE:  # need not exist yet
        whole.append(Path(site.getusersitepackages()))
    # Other folders in these may be served.
    parts = [Path(sys.base_prefix), default_audit_log().parent]
    if project := project_folder():
        parts.append(project)
    if file := audit_file(settings.audit):
        parts.append(file.parent)
    if file := env_file():
        parts.append(file)
    for _, section in settings:  # such as the file of a database that is served
        parts += getattr(section, "private_files", list)()
    if folder := os.environ.get(SECRETS_DIR):
        whole.append(Path(folder))
        parts += Path(folder).iterdir()
    found = [(each, True) for place in whole for each in _way_to(place)]
    found += [(each, False) for place in parts for each in _way_to(place)]
    return list(dict.fromkeys(found))


def _way_to(path: Path) -> Iterator[Path]:
    """Yield the real place of each link that is followed on the way, then that of the end.

    Whoever can replace one of the links leads the server elsewhere.
    """
    ahead = list(reversed(path.absolute().parts))
    real, links = Path(ahead.pop()), 0
    while ahead:
        part = ahead.pop()
        if part == "..":
            real = real.parent
            continue
        real /= part
        if real.is_symlink():
            yield real
            links += 1
            if links > 40:  # as many as Linux follows (path_resolution(7))
                return
            target = real.readlink()
            real = Path(target.anchor) if target.is_absolute() else real.parent
            ahead += [each for each in reversed(target.parts) if each != target.anchor]
    yield real
