"""The servers that are measured, most with the same echo tool: `python servers.py KIND [FLAG …]`.

- `bare`: the SDK as its documentation shows it.
- `unguarded`: the SDK's server on the transport of the generated project.
- `guarded`: the generated project, the tool in the place of custom/tools.py.
- `driver FILE`: the SDK as its documentation shows it, with a tool that runs SQL in SQLite.
- `fetcher`: the SDK as its documentation shows it, with a tool that gets a page and converts it,
  and one that gets JSON; no check of anything.
- `origin`: no MCP server, but a web server with pages of a size, as `/page/10240`, and `/json`.
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


def fetcher() -> None:
    """Start what somebody writes who wants pages as Markdown and nothing else."""
    import httpx2
    from html_to_markdown import convert  # type: ignore[import-not-found]
    from mcp.server import MCPServer

    server = MCPServer("fetcher")
    client = httpx2.AsyncClient()

    @server.tool()
    async def fetch(url: str, max_length: int) -> str:
        answer = await client.get(url)
        converted = convert(answer.text)
        return str(getattr(converted, "content", converted))[:max_length]

    @server.tool()
    async def api_request(method: str, path: str) -> Any:
        answer = await client.request(method, path)
        return answer.json()

    server.run()


def origin() -> None:
    """Serve pages on a free port of loopback, and write it on stdout."""
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
    from itertools import count

    def page(size: int) -> bytes:
        parts = [
            "<html><head><title>Page</title></head><body><nav><a href='/'>Home</a></nav><main>"
        ]
        length = 0
        for number in count():
            part = (
                f"<h2 id='s{number}'>Section {number}</h2><p>Some text with a "
                f"<a href='/page/{number}'>link</a>, <code>code</code> and <b>more</b> of it. "
                f"{'All of it is read by somebody. ' * 8}</p><pre><code>x = {number}\n</code></pre>"
                "<table><tr><th>a</th><th>b</th></tr><tr><td>1</td><td>2</td></tr></table>"
            )
            length += len(part)
            if length > size:
                return "".join([*parts, "</main></body></html>"]).encode()
            parts.append(part)
        raise AssertionError

    class Origin(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True
        wbufsize = -1  # headers and body in one piece

        def do_GET(self) -> None:
            kind, _, size = self.path.strip("/").partition("/")
            body = {"page": lambda: pages.setdefault(size, page(int(size))), "json": lambda: data}
            found = body.get(kind, bytes)()
            self.send_response(200 if found else 404)
            self.send_header("Content-Type", "application/json" if kind == "json" else "text/html")
            self.send_header("Content-Length", str(len(found)))
            self.end_headers()
            self.wfile.write(found)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    pages: dict[str, bytes] = {}
    data = b'{"items": [' + b",".join(b'{"id": %d, "name": "n"}' % n for n in range(100)) + b"]}"
    with ThreadingHTTPServer(("127.0.0.1", 0), Origin) as server:
        print(server.server_port, flush=True)
        server.serve_forever()


if __name__ == "__main__":
    kinds = (bare, unguarded, guarded, driver, fetcher, origin)
    {kind.__name__: kind for kind in kinds}[sys.argv[1]]()
