# managed: part of the template; modelctx updates may rewrite it. Your tests live in tests/custom/.
"""The server with tools that misbehave on purpose: `python tests/probe.py`, as `python -m` else."""

import os
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import anyio
from mcp.types import ToolAnnotations

PACKAGE = next(Path(__file__).resolve().parents[1].glob("src/*/__main__.py")).parent.name
READING = ToolAnnotations(read_only_hint=True)
synced = 0


def register(server: Any, settings: Any) -> None:
    """Add the tools, in the place of those of custom/tools.py."""

    @server.tool(annotations=READING)
    async def echo(text: Any = "") -> str:
        return str(text)

    @server.tool()
    async def change() -> str:
        return "changed"

    @server.tool(annotations=READING)
    async def sleep(seconds: float) -> str:
        await anyio.sleep(seconds)
        return "slept"

    @server.tool(annotations=READING)
    async def read_host(path: str) -> str:
        return Path(path).read_text(encoding="utf-8")

    @server.tool(annotations=READING)
    async def write_host(path: str) -> str:
        Path(path).write_text("written", encoding="utf-8")
        return "written"

    @server.tool(annotations=READING)
    async def fsyncs() -> int:
        return synced

    @server.tool(annotations=READING)
    async def fill_the_disk() -> str:
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
        return "full"

    @server.resource("probe://fixed")
    async def fixed() -> str:
        return "fixed"

    @server.prompt()
    async def ask() -> str:
        return "asked"


def count_syncs(fd: int, fsync: Any = os.fsync) -> None:
    """Count what the server waits for the disk for."""
    global synced
    synced += 1
    fsync(fd)


if __name__ == "__main__":
    os.fsync = count_syncs
    import_module(f"{PACKAGE}.server").register_custom = register  # type: ignore[attr-defined]
    sys.exit(import_module(f"{PACKAGE}.__main__").main())
