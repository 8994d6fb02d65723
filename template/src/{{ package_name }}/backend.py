# managed: part of the template; modelctx updates may rewrite it. Your code lives in custom/.
"""What a backend tells the server about itself after it has registered its tools."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Registered:
    """One backend, opened and ready.

    Args:
        name: the backend's name, as in the answers of the template.
        summary: one line for ``--check``: what would be served.
        read: host paths the backend must be able to read while the server runs.
        write: host paths it must be able to read and change.
        warnings: what the operator will want to know, a line each.
        close: releases what the backend has opened; called once when the server stops.
        aclose: the same for what can only be closed while the event loop runs; called before.
    """

    name: str
    summary: str
    read: tuple[str, ...] = ()
    write: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    close: Callable[[], None] = lambda: None
    aclose: Callable[[], Awaitable[None]] | None = None
