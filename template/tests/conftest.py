# managed: part of the template; modelctx updates may rewrite it. Your tests live in tests/custom/.
"""What all tests share: the package, whatever its name, and a real client for the server."""

import atexit
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager
from functools import cache
from importlib import import_module
from pathlib import Path
from tempfile import NamedTemporaryFile, TemporaryDirectory, TemporaryFile
from typing import Any, TextIO

import anyio
import pytest
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = next(ROOT.glob("src/*/__main__.py")).parent.name
# Read in the place of the project's own .env; gone with the process.
NO_SETTINGS = NamedTemporaryFile(prefix="no-settings-")  # noqa: SIM115


def module(name: str) -> Any:
    """Import a module of the package, such as ``module("guard.audit")``."""
    return import_module(f"{PACKAGE}.{name}")


def var(name: str) -> str:
    """Return the environment variable of a setting: ``var("GUARD__RATE")``."""
    return f"{PACKAGE.upper()}_{name}"


# For what reads settings in this process: a project that is in use has a .env of its own.
os.environ[var("ENV_FILE")] = NO_SETTINGS.name


def environment(home: str, env: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return an environment with nothing of the developer's own settings in it, nor of `.env`.

    It holds what the backends of this project cannot start without.
    """
    least = {"PATH": os.environ["PATH"], "HOME": home, "PYTHONWARNINGS": "error"}
    least[var("ENV_FILE")] = NO_SETTINGS.name
    if (ROOT / "src" / PACKAGE / "filesystem").is_dir():
        files = Path(home) / "files"
        files.mkdir(exist_ok=True)
        least[var("FILESYSTEM__ALLOWED_PATHS")] = str(files)
    if (ROOT / "src" / PACKAGE / "database").is_dir():
        least[var("DATABASE__URL")] = database_url()
    if (ROOT / "src" / PACKAGE / "api").is_dir():
        # Whatever was answered when the project was made.
        least[var("API__BASE_URL")] = "https://service.example"
        least[var("API__AUTH")] = "none"
    return {**least, **(env or {})}


@cache
def database_url() -> str:
    """Return the address of an empty database, which is there until the tests end.

    Without the engine's server the test is skipped, and says how to start it.
    """
    made = ExitStack()
    atexit.register(made.close)
    return str(made.enter_context(import_module("testbed").testbed()).url)


@pytest.fixture(scope="session")
def network() -> Iterator[Any]:
    """A network of the tests' own, for backends that reach one."""
    with ExitStack() as stack:
        try:
            made = stack.enter_context(import_module("world").network())
        except OSError as error:
            pytest.skip(f"no network of its own; {error}")
        yield made


def command(*args: str | Path, probe: bool = False) -> list[str]:
    """Return the command line that starts the server, or the one with the tools of probe.py."""
    start = [str(ROOT / "tests" / "probe.py")] if probe else ["-P", "-m", PACKAGE]
    return [sys.executable, *start, *map(str, args)]


def run(
    *args: str | Path, home: Path, env: dict[str, str] | None = None, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the command to its end, with nothing on stdin."""
    return subprocess.run(
        command(*args), env=environment(str(home), env), cwd=cwd, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip


@asynccontextmanager
async def serve(
    *args: str | Path,
    env: Mapping[str, str] | None = None,
    mode: str = "auto",
    timeout: float = 20,
    stderr: TextIO | None = None,
    probe: bool = False,
    within: Sequence[str] = (),
    elicitation_callback: Any = None,
) -> AsyncIterator[Client]:
    """Start the server as a client would and connect the SDK's own client to it.

    Args:
        args: the command's arguments.
        env: settings; HOME is a new empty folder unless given.
        mode: ``auto`` speaks 2026-07-28, ``legacy`` 2025-11-25.
        timeout: seconds until the whole block is given up.
        stderr: where the server's log goes; by default nowhere.
        probe: serve the tools of probe.py too.
        within: a command that runs the rest of its command line, such as ``Network.command()``.
        elicitation_callback: answers for the user; without it the client cannot ask.
    """
    with TemporaryDirectory() as home, TemporaryFile("w+") as log, anyio.fail_after(timeout):
        program, *rest = [*within, *command(*args, probe=probe)]
        started = StdioServerParameters(command=program, args=rest, env=environment(home, env))
        transport = stdio_client(started, errlog=stderr or log)
        async with Client(
            transport, mode=mode, elicitation_callback=elicitation_callback
        ) as client:
            yield client


def text_of(result: Any) -> str:
    """Return the text of a tool's answer."""
    return "\n".join(getattr(block, "text", "") for block in result.content)


@pytest.fixture
def anyio_backend() -> str:
    """Run the asynchronous tests on asyncio, as the server does."""
    return "asyncio"
