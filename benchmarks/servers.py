"""The servers that are measured, most with the same echo tool: `python servers.py KIND [FLAG …]`.

- `bare`: the SDK as its documentation shows it.
- `unguarded`: the SDK's server on the transport of the generated project.
- `guarded`: the generated project, the tool in the place of custom/tools.py.
- `driver FILE`: the SDK as its documentation shows it, with a tool that runs SQL in SQLite.
"""

import sys
from typing import Any


def bare() -> None:
    """Start what somebody writes who reads the first page of the SDK's documentation."""
    from mcp.server import MCPServer

    server = MCPServer("bare")

    @server.tool()
    async def echo(text: str) -> str:
        return text

    server.run()


def unguarded() -> None:
    """Start the same server on the project's transport: what is left out is the guard."""
    from bench_server import stdio  # type: ignore[import-not-found]
    from mcp.server import MCPServer

    server = MCPServer("unguarded")

    @server.tool()
    async def echo(text: str) -> str:
        return text

    stdio.run(server, max_line_bytes=4 * 1024 * 1024)


def guarded() -> None:
    """Start the project with everything that it does for a tool of its owner."""
    from bench_server import __main__, server
    from mcp.types import ToolAnnotations

    def register(to: Any, _: Any) -> None:
        @to.tool(annotations=ToolAnnotations(read_only_hint=True))  # type: ignore[untyped-decorator]
        async def echo(text: str) -> str:
            return text

    # What follows are the flags of the project's own command.
    server.register_custom = register
    sys.exit(__main__.main(sys.argv[2:]))


def driver() -> None:
    """Start what somebody writes who wants SQL answered and nothing else."""
    import sqlite3

    from mcp.server import MCPServer

    server = MCPServer("driver")
    connection = sqlite3.connect(f"file:{sys.argv[2]}?mode=ro", uri=True)

    @server.tool()
    async def query(sql: str) -> dict[str, Any]:
        found = connection.execute(sql)
        return {"columns": [each[0] for each in found.description], "rows": found.fetchall()}

    server.run()


if __name__ == "__main__":
    kinds = {"bare": bare, "unguarded": unguarded, "guarded": guarded, "driver": driver}
    kinds[sys.argv[1]]()
