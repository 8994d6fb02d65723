"""Generate a server for a folder, then use it as any MCP client would: `./dev demo [FOLDER]`."""

import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import anyio
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client

HERE = Path(__file__).resolve().parent
PROJECT = Path("demo-server")


def main() -> None:
    """Show the commands that a user types, then a client's conversation with the result."""
    if len(sys.argv) > 2 or sys.argv[1:2] in (["-h"], ["--help"]):
        sys.exit("./dev demo [FOLDER]: one folder to serve, or none for a sample")
    folder = Path(sys.argv[1]).expanduser().resolve() if sys.argv[1:] else sample()
    if not folder.is_dir():
        sys.exit(f"{folder} is no folder; write ./dev demo FOLDER")
    if PROJECT.exists():
        shutil.rmtree(PROJECT)
    run("copier", "copy", "--trust", "--defaults", "--quiet", "--vcs-ref=HEAD",
        "-d", "project_name=demo server", str(HERE), str(PROJECT))  # fmt: skip
    run("uv", "sync", "--quiet", "--directory", str(PROJECT))
    server = PROJECT.resolve() / ".venv" / "bin" / "demo-server"
    run(str(server), "--check", str(folder))
    anyio.run(converse, str(server), folder)
    print(f"\nThe project is in {PROJECT}/, until the next demo. A client's configuration for it:")
    run(str(server), "--print-config", "claude-desktop", str(folder))


async def converse(server: str, folder: Path) -> None:
    """List the tools, read a file, and try to leave the folder."""
    print("\nA client connects:")
    started = StdioServerParameters(command=server, args=["--log-level", "WARNING", str(folder)])
    async with Client(stdio_client(started)) as client:
        tools = (await client.list_tools()).tools
        print(f"  tools: {', '.join(tool.name for tool in tools)}")
        file = next((path for path in sorted(folder.iterdir()) if path.is_file()), None)
        if file:
            await call(client, "read_text_file", path=str(file))
        await call(client, "read_text_file", path="/etc/passwd")
        await call(client, "read_text_file", path=f"{folder}/../outside.txt")


async def call(client: Client, tool: str, **arguments: str) -> None:
    """Call a tool and print the first line of its answer."""
    result = await client.call_tool(tool, arguments)
    text = getattr(result.content[0], "text", "")
    outcome = "refused" if result.is_error else "answer"
    print(
        f"  {tool} {arguments['path']}\n    {outcome}: {text.splitlines()[0] if text else text!r}"
    )


def sample() -> Path:
    """Make a folder to serve where the user has named none."""
    folder = Path("demo-files")
    folder.mkdir(exist_ok=True)
    (folder / "hello.txt").write_text("Hello from a file.\n", encoding="utf-8")
    return folder.resolve()


def run(*command: str) -> None:
    """Print a command, then run it."""
    print(f"$ {shlex.join(command)}", flush=True)
    subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
