# managed: part of the template; modelctx updates may rewrite it. Your tests live in tests/custom/.
"""A small server for the tests of the transports: its tools are slow, loud, large and stuck.

Run as a script it serves; imported it starts itself as a process and talks to it by hand.
"""

import asyncio
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from mcp.server import MCPServer

ENVELOPE = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
}


# Lines, or bodies over HTTP, and what each has to be answered with.
PARSE_ERROR = -32700
INVALID_REQUEST = -32600

NOT_JSON = [
    b"canary",
    b"{",
    b'{"jsonrpc":"2.0","id":7,"method":"canary',
    b'{"jsonrpc":"2.0","id":7,"method":"tools/list"} canary',
    b'{"jsonrpc":"2.0","id":7,"method":"canary\xff"}',
    b'{"jsonrpc":"2.0","id":7,"method":"canary","params":{"x":NaN}}',
    b'{"jsonrpc":"2.0","id":7,"method":"canary","params":{"x":-Infinity}}',
    b'{"jsonrpc":"2.0","id":7,"method":"canary","params":{"x":' + b"9" * 5000 + b"}}",
    b'{"jsonrpc":"2.0","id":7,"method":"canary","params":' + b"[" * 10_000 + b"]" * 9_000 + b"}",
    b"\xef\xbb\xbf{}",
    b"\x00",
    "{}".encode("utf-16"),
]
NOT_JSONRPC = [
    b"null",
    b"7",
    b'"canary"',
    b"[]",
    b'[{"jsonrpc":"2.0","id":7,"method":"tools/list"}]',
    b"{}",
    b'{"jsonrpc":"1.0","method":"canary"}',
    b'{"jsonrpc":2.0,"method":"canary"}',
    b'{"method":"canary"}',
    b'{"jsonrpc":"2.0","id":null,"method":"canary"}',
    b'{"jsonrpc":"2.0","id":1.5,"method":"canary"}',
    b'{"jsonrpc":"2.0","id":true,"method":"canary"}',
    b'{"jsonrpc":"2.0","id":["canary"],"method":"canary"}',
    b'{"jsonrpc":"2.0","id":{"canary":1},"method":"canary"}',
    b'{"jsonrpc":"2.0","id":"' + b"canary" * 100 + b'","method":7}',
    b'{"jsonrpc":"2.0","id":' + b"9" * 1000 + b',"method":7}',
    b'{"jsonrpc":"2.0","id":7,"result":"canary"}',
    b'{"jsonrpc":"2.0","id":7,"error":"canary"}',
]
WITH_AN_ID = [
    (b'{"jsonrpc":"2.0","id":7,"method":"canary\\ud800"}', 7),
    (b'{"jsonrpc":"2.0","id":7,"method":7}', 7),
    (b'{"jsonrpc":"2.0","id":"seven","method":"canary","params":["canary"]}', "seven"),
    (b'{"jsonrpc":"1.0","id":-7,"method":"canary"}', -7),
]


def message(number: int, method: str, **params: Any) -> bytes:
    """Return one request of 2026-07-28 as a line."""
    params["_meta"] = ENVELOPE
    request = {"jsonrpc": "2.0", "id": number, "method": method, "params": params}
    return json.dumps(request).encode() + b"\n"


def call(number: int, tool: str, **arguments: Any) -> bytes:
    """Return one call of a tool as a line."""
    return message(number, "tools/call", name=tool, arguments=arguments)


def until(condition: Callable[[], object], seconds: float = 10) -> bool:
    """Wait until a condition holds, and say whether it did."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


class Probe:
    """The server as a process, and what its lifespan left behind."""

    def __init__(self, process: subprocess.Popen[bytes], folder: Path) -> None:
        self.process = process
        self._folder = folder

    def send(self, *lines: bytes) -> None:
        """Write lines to its stdin."""
        assert self.process.stdin
        self.process.stdin.write(b"".join(lines))
        self.process.stdin.flush()

    def close(self) -> None:
        """End its input."""
        assert self.process.stdin
        self.process.stdin.close()

    def answer(self) -> Any:
        """Wait for the next line of its stdout, which must be JSON."""
        assert self.process.stdout
        return json.loads(self.process.stdout.readline())

    def ask(self, *lines: bytes) -> Any:
        """Write lines and return the next answer."""
        self.send(*lines)
        return self.answer()

    def works(self) -> bool:
        """Say whether it still serves."""
        answer = self.ask(call(4711, "echo", text="still here"))
        return answer["id"] == 4711 and "still here" in json.dumps(answer.get("result"))

    def wait(self) -> int:
        """Wait for its end and return its exit code."""
        return self.process.wait(20)

    def begun(self) -> bool:
        """Wait until a slow tool has begun."""
        return until((self._folder / "begun").exists)

    @property
    def cleaned_up(self) -> bool:
        """Say whether the lifespan's clean-up ran to its end."""
        mark = self._folder / "lifespan"
        return mark.exists() and mark.read_text() == "closed"

    @property
    def log(self) -> str:
        """What it wrote to stderr."""
        return (self._folder / "stderr").read_text()

    def port(self) -> int:
        """Wait until it listens, and return the port that it says it listens on."""
        assert until(lambda: "/mcp\n" in self.log)
        return int(self.log.split("listening on ")[1].split("/mcp")[0].rpartition(":")[2])

    def peak_memory(self) -> int:
        """Return the most memory that it ever had, in bytes (Linux)."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) * 1024


def script(package: str, transport: str, folder: Path, **options: Any) -> list[str]:
    """Return the command line of the server.

    Args:
        package: the package whose transport is tested.
        transport: ``stdio`` or ``http``.
        folder: an empty folder for its log and its marks.
        options: ``run`` (arguments), ``constants`` (of the module), ``clean_up_seconds``.
    """
    given = {"run": {}, "constants": {}, "clean_up_seconds": 0, **options}
    given |= {"package": package, "transport": transport, "folder": str(folder)}
    return [sys.executable, __file__, json.dumps(given)]


@contextmanager
def probe(command: list[str], folder: Path, stdin: Any = -1, stdout: Any = -1) -> Iterator[Probe]:
    """Start the server, with pipes unless told otherwise, and end it with the block."""
    with (folder / "stderr").open("wb") as log:
        process = subprocess.Popen(command, stdin=stdin, stdout=stdout, stderr=log)
    # A test that waits for an answer which never comes must end too.
    limit = threading.Timer(30, process.kill)
    limit.start()
    try:
        yield Probe(process, folder)
    finally:
        limit.cancel()
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe and not pipe.closed:
                pipe.close()


def _server(folder: Path, clean_up_seconds: float) -> MCPServer[None]:
    @asynccontextmanager
    async def lifespan(_: MCPServer[None]) -> AsyncIterator[None]:
        (folder / "lifespan").write_text("open")
        yield
        await asyncio.sleep(clean_up_seconds)
        (folder / "lifespan").write_text("closed")

    server = MCPServer("probe", lifespan=lifespan, subscriptions=False, log_level="WARNING")

    @server.tool()
    async def echo(text: str) -> str:
        return text

    @server.tool()
    async def slow(seconds: float) -> str:
        (folder / "begun").touch()
        await asyncio.sleep(seconds)
        return "done"

    @server.tool()
    def stuck(seconds: float) -> str:
        (folder / "begun").touch()
        time.sleep(seconds)
        return "done"

    @server.tool()
    async def large(size: int) -> str:
        return "x" * size

    @server.tool()
    async def half_a_pair() -> str:
        return "\udcff"

    @server.tool()
    def loud() -> str:
        print("printed by a tool", flush=True)
        os.write(1, b"written by a tool\n")
        child = [sys.executable, "-c", "import os; print('child', sorted(os.listdir('/dev/fd')))"]
        subprocess.run(child, check=True, close_fds=False)
        reader = [sys.executable, "-c", "import sys; print(repr(sys.stdin.read()))"]
        return subprocess.run(reader, check=True, stdout=subprocess.PIPE, text=True).stdout

    return server


def _main() -> None:
    options = json.loads(sys.argv[1])
    module = import_module(f"{options['package']}.{options['transport']}")
    errors = import_module(f"{options['package']}.errors")
    for name, value in options["constants"].items():
        assert hasattr(module, name)
        setattr(module, name, value)
    try:
        given = options["run"]
        if options["transport"] == "http":
            given["listener"] = module.listen(given.pop("host"), given.pop("port"))
        module.run(_server(Path(options["folder"]), options["clean_up_seconds"]), **given)
    except errors.ConfigError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    _main()
