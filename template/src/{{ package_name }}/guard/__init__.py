# managed: part of the template; modelctx updates may rewrite it. Your code lives in custom/.
"""The security core: limits, policy, rate, audit, timeout and error hygiene around every call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .pipeline import GuardedServer

__all__ = ["GuardedServer"]


def __getattr__(name: str) -> Any:
    # Imported when it is asked for: `audit verify` needs this package but not the SDK, which
    # takes half a second to load.
    if name == "GuardedServer":
        from .pipeline import GuardedServer

        return GuardedServer
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
