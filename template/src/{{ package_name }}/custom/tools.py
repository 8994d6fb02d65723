# yours: written once; modelctx updates never touch this file.
"""Your own tools. They pass through the same guard as all others."""

from ..guard import GuardedServer
from ..settings import Settings


def register(server: GuardedServer, settings: Settings) -> None:
    """Add your tools to the server. Called once at the start, after the backends.

    A tool is a typed function; its docstring and types are what a model sees::

        from typing import Annotated

        from mcp.types import ToolAnnotations
        from pydantic import Field

        @server.tool(annotations=ToolAnnotations(read_only_hint=True, open_world_hint=False))
        async def count_words(text: Annotated[str, Field(max_length=100_000)]) -> int:
            "Count the words of a text."
            return len(text.split())

    - Without ``read_only_hint=True`` a tool counts as one that writes: while the server is
      read-only, which is the default, it is neither listed nor callable.
    - To refuse, ``raise Refused("denied", "what is wrong and what to do")`` (from ``..errors``).
      The text of any exception but that and the SDK's own (``ToolError``, ``ResourceError``,
      ``MCPError``) stays in the server's log.
    - Files elsewhere on the disk that a tool needs are named in the setting LANDLOCK_PATHS.
    """
