"""What would hang, exhaust or confuse a server, through a real client; and what survives it."""

import json
import os
import re
import resource
import socket
import stat
import subprocess
import sys
import textwrap
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import anyio
import pytest
from conftest import BUSY, UNPRIVILEGED, render, run, serving, text_of
from jsonschema import Draft202012Validator
from mcp import Client, MCPError

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(sys.platform != "linux", reason="made with Linux calls: use a container"),
]

DEADLINE = 4.0  # seconds that the server gives the work of one call here
PATIENCE = DEADLINE + 3  # until a call counts as hanging; this machine may be busy
MEMORY = 256 * 1024  # KiB of the server's process at its peak; it starts with about 75 MiB
TRIES = 3000

# All that a call may be refused with. "internal error" is not among them.
CODES = {
    "conflict", "denied", "invalid_arguments", "invalid_path", "is_directory", "not_a_directory",
    "not_found", "not_regular", "read_only", "timeout", "too_large", "type_not_allowed",
    "unavailable", "sql", "invalid_url", "upstream", "busy", "robots",
}  # fmt: skip


class Served:
    """A running server, its folder, and calls that must end in time."""

    def __init__(self, client: Client, root: Path, pid: int) -> None:
        self.client = client
        self.root = root
        self.pid = pid

    async def ask(self, tool: str, **arguments: Any) -> Any:
        """Call a tool: answered or refused in time, and so is the call after it."""
        about = f"{tool} {str(arguments)[:200]}"
        result = await self._in_time(tool, arguments)
        if result.is_error:
            assert text_of(result).partition(": ")[0] in CODES, f"{about}: {text_of(result)}"
        await self.lives()
        return result

    async def answered(self, tool: str, **arguments: Any) -> Any:
        result = await self.ask(tool, **arguments)
        assert not result.is_error, f"{tool} {arguments}: {text_of(result)}"
        return result

    async def refused(self, tool: str, **arguments: Any) -> str:
        result = await self.ask(tool, **arguments)
        assert result.is_error, f"{tool} {arguments}: {text_of(result)[:200]}"
        return text_of(result).partition(": ")[0]

    async def lives(self) -> None:
        """The server still answers, and its memory is bounded."""
        assert text_of(await self._in_time("read_text_file", {"path": "alive.txt"})) == "yes"
        status = Path(f"/proc/{self.pid}/status").read_text(encoding="utf-8")
        peak = int(next(line for line in status.splitlines() if "VmHWM" in line).split()[1])
        assert peak < MEMORY

    async def _in_time(self, tool: str, arguments: dict[str, Any]) -> Any:
        with anyio.move_on_after(PATIENCE):
            return await self.client.call_tool(tool, arguments)
        raise AssertionError(f"no answer within {PATIENCE} s: {tool} {str(arguments)[:200]}")


@asynccontextmanager
async def served_from(
    project: Path, home: Path, mode: str = "auto", **settings: str
) -> AsyncIterator[Served]:
    """Serve a folder that the tools may write into."""
    root = home / "files"
    root.mkdir()
    (root / "alive.txt").write_text("yes", encoding="utf-8")
    settings = {"READ_ONLY": "false", "FILESYSTEM__WALK_TIMEOUT": str(DEADLINE), **settings}
    before = children()
    async with serving(project, root, home=home, mode=mode, **settings) as client:  # type: ignore[arg-type]
        (pid,) = children() - before
        yield Served(client, root, pid)


@pytest.fixture
async def served(installed: Path, tmp_path: Path) -> AsyncIterator[Served]:
    """A server that may write into one folder."""
    async with served_from(installed, tmp_path) as server:
        yield server


@pytest.fixture(autouse=True)
def _no_litter(tmp_path: Path) -> Iterator[None]:
    """Remove what would fill the disk; Python's own way stops at trees that are too deep."""
    yield
    subprocess.run(["rm", "-rf", str(tmp_path)], check=False)


def children() -> set[int]:
    listed = Path(f"/proc/{os.getpid()}/task").glob("*/children")
    return {int(pid) for path in listed for pid in path.read_text(encoding="utf-8").split()}


# --- Files and folders.


@pytest.mark.promise("FS-4")
async def test_special_files_are_refused_and_block_nothing(served: Served) -> None:
    """FIFO, socket, devices and links to devices: refused at once, by every tool."""
    root = served.root
    os.mkfifo(root / "fifo")
    (root / "device").symlink_to("/dev/zero")
    kinds = {"fifo": "not_regular", "socket": "not_regular", "device": "denied"}
    with socket.socket(socket.AF_UNIX) as unix:
        unix.bind(str(root / "socket"))
    with suppress(PermissionError):  # only root may make a device, and not in every container
        os.mknod(root / "zero", stat.S_IFCHR | 0o666, os.makedev(1, 5))
        kinds["zero"] = "not_regular"
    edits = [{"oldText": "a", "newText": "b"}]
    for name, code in kinds.items():
        assert await served.refused("read_text_file", path=name) == code
        assert await served.refused("read_media_file", path=name) == code
        assert await served.refused("write_file", path=name, content="x") == code
        assert await served.refused("write_file", path=name, content="x", append=True) == code
        assert await served.refused("edit_file", path=name, edits=edits) == code
        assert await served.refused("copy_file", source=name, destination="copy") == code
        assert await served.refused("search_content", path=name, pattern="x") == code
        assert await served.refused("move_file", source=name, destination="m") == "not_regular"
        several = await served.answered("read_multiple_files", paths=[name, "alive.txt"])
        assert code in text_of(several)
        assert "yes" in text_of(several)
    for tool in ("list_directory", "list_directory_with_sizes", "directory_tree"):
        await served.answered(tool, path=".")
    await served.answered("search_files", path=".", pattern="**")
    await served.answered("search_content", path=".", pattern="x")
    assert {path.name for path in root.iterdir()} == {*kinds, "alive.txt"}


@pytest.mark.promise("FS-2", "FS-4")
async def test_a_sparse_file_of_two_gigabytes_is_refused_by_its_size(served: Served) -> None:
    """It is refused before a byte of it is read."""
    with (served.root / "sparse").open("wb") as file:
        file.truncate(2 * 1024**3)
    edits = [{"oldText": "a", "newText": "b"}]
    for arguments in ({}, {"head": 1}, {"tail": 1}, {"offset": 5, "limit": 1}):
        assert await served.refused("read_text_file", path="sparse", **arguments) == "too_large"
    assert await served.refused("read_media_file", path="sparse") == "too_large"
    assert await served.refused("get_file_info", path="sparse", checksum=True) == "too_large"
    assert await served.refused("edit_file", path="sparse", edits=edits) == "too_large"
    assert await served.refused("copy_file", source="sparse", destination="c") == "too_large"
    assert await served.refused("write_file", path="sparse", content="x", append=True) == (
        "too_large"
    )
    await served.answered("search_content", path=".", pattern="x")
    await served.answered("list_directory_with_sizes", path=".")


@pytest.mark.slow
@pytest.mark.promise("FS-4")
async def test_a_folder_of_a_hundred_thousand_files(served: Served) -> None:
    """List, tree and search answer in time and in pages; a copy ends with the deadline."""
    many = served.root / "many"
    many.mkdir()
    names = [f"{number:06}.txt" for number in range(100_000)]
    for name in names:
        os.close(os.open(many / name, os.O_CREAT | os.O_WRONLY))
    listed: list[str] = []
    cursor = ""
    while cursor is not None:
        page = await served.answered("list_directory", path="many", limit=10_000, cursor=cursor)
        listed += page.structured_content["content"].split("\n")
        cursor = page.structured_content["next_cursor"]
    assert listed == [f"[FILE] {name}" for name in names]
    await served.answered("list_directory_with_sizes", path="many", sortBy="size")
    tree = await served.answered("directory_tree", path="many")
    assert tree.structured_content["truncated"]
    assert json.loads(tree.structured_content["content"])[0]["name"] == names[0]
    found = await served.answered("search_files", path=".", pattern="**/099999.txt")
    assert text_of(found) == f"{many}/099999.txt"
    await served.answered("search_content", path="many", pattern="x")
    await served.ask("copy_file", source="many", destination="copy", recursive=True)
    await served.answered("delete_file", path="many", recursive=True)


@pytest.mark.slow
@pytest.mark.promise("FS-4")
async def test_a_tree_of_five_thousand_levels(installed: Path, tmp_path: Path) -> None:
    """Also where the limits are as high as they go, walks end at their depth or deadline."""
    settings = {"FILESYSTEM__MAX_DEPTH": "512", "FILESYSTEM__MAX_ENTRIES": "10000000"}
    async with served_from(installed, tmp_path, **settings) as served:
        # As few as macOS gives: a walk that kept every level open would end here.
        resource.prlimit(served.pid, resource.RLIMIT_NOFILE, (256, 256))
        folder = os.open(served.root, os.O_RDONLY)
        for _ in range(5000):  # no path is long enough for it, so each is made from the one above
            os.mkdir("d", dir_fd=folder)
            below = os.open("d", os.O_RDONLY, dir_fd=folder)
            os.close(folder)
            folder = below
        os.close(folder)
        await served.answered("directory_tree", path=".", max_depth=512)
        await served.answered("search_files", path=".", pattern="**/*.txt")
        await served.answered("search_content", path=".", pattern="yes")
        await served.answered("list_directory", path="/".join(["d"] * 2000))
        assert await served.refused("list_directory", path="/".join(["d"] * 2100)) == (
            "invalid_arguments"
        )
        await served.ask("copy_file", source="d", destination="copy", recursive=True)
        await served.answered("move_file", source="d", destination="e")
        await served.answered("write_file", path="e/" + "d/" * 2000 + "x.txt", content="x")
        await served.answered("create_directory", path="/".join(["n"] * 2000))
        await served.answered("delete_file", path="e", recursive=True)


# Runs beside a test until its input ends: a process of its own, so that it is never in step.
WORK = """
import ctypes, os, select, sys
os.chdir(sys.argv[1])
exchange = lambda one, other: ctypes.CDLL(None).renameat2(-100, one, -100, other, 2)
print("ready", flush=True)
while not select.select([sys.stdin], [], [], 0)[0]:
"""


@contextmanager
def meanwhile(step: str, root: Path, *arguments: str | Path) -> Iterator[None]:
    """Do a step in a folder over and over."""
    command = [sys.executable, "-c", WORK + textwrap.indent(step, "    "), root, *arguments]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as worker:
        assert worker.stdin
        assert worker.stdout
        worker.stdout.readline()
        try:
            yield
            assert worker.poll() is None, "it has ended too early"
        finally:
            worker.stdin.close()


CHANGE = """
for number in map(str, range(50)):
    os.mkdir(number)
    os.close(os.open(f"{number}/x", os.O_CREAT | os.O_WRONLY))
for number in map(str, range(50)):
    os.rename(f"{number}/x", "x")
    os.rmdir(number)
"""


@pytest.mark.slow
@pytest.mark.promise("FS-1", "FS-4")
async def test_a_folder_that_changes_while_it_is_searched(served: Served) -> None:
    """Entries that vanish and appear are no error."""
    with meanwhile(CHANGE, served.root):
        for _ in range(150):
            for tool in ("list_directory", "list_directory_with_sizes", "directory_tree"):
                await served.answered(tool, path=".")
            await served.answered("search_files", path=".", pattern="**/1*")
            await served.answered("search_content", path=".", pattern="x")
            await served.ask("list_directory", path="49")
            await served.ask("read_text_file", path="25/x")
            await served.ask("copy_file", source="25/x", destination="copy", overwrite=True)


# --- Patterns.

GLOBS = [
    "*a" * 60, "a*" * 500, "**/" * 80 + "x", "**/*a" * 60, "?" * 500, "*" * 1000, "*?" * 300,
    "{a,b}" * 12, "{a,b}{a,b}" * 100, "{a,a}" * 200, "{" * 300, "{a," * 100 + "}" * 100, "{a,b",
    "[" * 200, "[!-", "[a-", "[" + "a-z" * 300 + "]", "[]]", "\\", "!" * 99, "/", "//", "..",
    "a" * 10_000, "\0", "\n",
]  # fmt: skip


@pytest.mark.promise("FS-4")
async def test_hostile_globs_end_in_time(served: Served) -> None:
    """A glob that makes other matchers run for ever is answered or refused."""
    (served.root / ("a" * 250)).write_text("x", encoding="utf-8")
    (served.root / "deep" / ("a/" * 20)).mkdir(parents=True)
    for glob in GLOBS:
        await served.ask("search_files", path=".", pattern=glob)
        await served.ask("search_files", path=".", pattern="**", excludePatterns=[glob] * 100)
        await served.ask("directory_tree", path=".", excludePatterns=[glob] * 100)
        await served.ask("list_directory", path=".", ignore=[glob] * 100)
        await served.ask("search_content", path=".", pattern="x", glob=glob)


@pytest.fixture(scope="module")
def with_regex(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project with its extra for regular expressions."""
    project = render(template, tmp_path_factory.mktemp("regex") / "p", backends=["filesystem"])
    run("uv", "sync", "--quiet", "--no-dev", "--extra", "regex", "--compile-bytecode", cwd=project)
    return project


# Each keeps a matcher that backtracks busy for longer than anybody waits, or is over RE2's limits.
HOSTILE = {
    "(a+)+$": True, "(a|aa)+b": True, "(.*)*x": True, "^(([a-z])+.)+[A-Z]([a-z])+$": True,
    "(a?){50}a{50}": True, "(.*a){20}b": True, "(?i)(a|A|aa)*!": True, "": False, "(": False,
    "((a{1,100}){1,100}){1,100}": False, "a{1001}": False, r"(a)\1": False, "(?=a)": False,
    "(" * 500 + ")" * 500: None, "(?:" * 200 + "a" + ")*" * 200: None, "[" * 1000: False,
}  # fmt: skip


@pytest.mark.promise("FS-4")
async def test_hostile_expressions_end_in_time(with_regex: Path, tmp_path: Path) -> None:
    """With RE2 an expression is answered in linear time, or refused since RE2 has it not."""
    async with served_from(with_regex, tmp_path) as served:
        (served.root / "text.txt").write_text("a" * 100_000 + "\n", encoding="utf-8")
        for expression, valid in HOSTILE.items():
            for ignore_case in (False, True):
                result = await served.ask(
                    "search_content", path=".", pattern=expression, regex=True,
                    ignore_case=ignore_case,
                )  # fmt: skip
                assert valid is None or result.is_error is not valid, expression
        found = await served.answered("search_content", path=".", pattern="^a+$", regex=True)
        assert len(found.structured_content["matches"]) == 1


@pytest.mark.promise("FS-4")
async def test_without_re2_no_expression_reaches_a_matcher(served: Served) -> None:
    """Without the extra every expression is refused, and plain text is found in linear time."""
    (served.root / "text.txt").write_text("a" * 9_000_000, encoding="utf-8")
    for expression in HOSTILE:
        code = await served.refused("search_content", path=".", pattern=expression, regex=True)
        assert code == ("unavailable" if expression else "invalid_arguments")
    for text in ("a" * 1000 + "b", "b" + "a" * 1000, "ab" * 500, "(a+)+$"):
        for ignore_case in (False, True):
            found = await served.answered(
                "search_content", path="text.txt", pattern=text, ignore_case=ignore_case
            )
            assert found.structured_content["matches"] == []


# --- Races and crashes.

# Exchanges the folder "now" with a link that leads outside, and puts such a link and a file in
# turn at "f". Both are always there.
SWAP = """
exchange(b"now", b"now.link")
os.symlink(sys.argv[2] + "/file.txt", b"f.link")
os.rename(b"f.link", b"f")
exchange(b"now", b"now.link")
with open(b"f.plain", "w") as plain:
    plain.write("inside")
os.rename(b"f.plain", b"f")
"""

Attempt = Callable[[int], tuple[str, dict[str, Any]]]


# Round in a circle, into the folder that is swapped and out of it.
WAYS = [("f", "moved"), ("now/file.txt", "now/moved"), ("moved", "now/file.txt"),
        ("now/moved", "moved")]  # fmt: skip


def either(number: int) -> str:
    """Return the path of which the folder is swapped, or the one that is swapped itself."""
    return ("now/file.txt", "f")[number % 2]


ATTEMPTS: dict[str, Attempt] = {
    "read": lambda n: ("read_text_file", {"path": either(n)}),
    "list": lambda n: ("list_directory", {"path": "now"}),
    "search": lambda n: ("search_content", {"path": ".", "pattern": "SECRET"}),
    "write": lambda n: ("write_file", {"path": either(n), "content": "inside"}),
    "edit": lambda n: (
        "edit_file",
        {"path": either(n), "edits": [{"oldText": "inside", "newText": "inside."}]},
    ),
    "move": lambda n: (
        "move_file",
        {"source": WAYS[n % 4][0], "destination": WAYS[n % 4][1], "overwrite": True},
    ),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.promise("FS-1")
@pytest.mark.parametrize("what", ATTEMPTS)
async def test_a_race_of_links_leads_nowhere(installed: Path, tmp_path: Path, what: str) -> None:
    """While a file and a folder are swapped with links to outside, no call reaches outside."""
    # Without the second layer, which would hide what the first one lets through.
    async with served_from(installed, tmp_path, LANDLOCK="off") as served:
        await race(served, tmp_path / "outside", what)


async def race(served: Served, outside: Path, what: str) -> None:
    root = served.root
    for folder, text in ((outside, "SECRET"), (root / "now", "inside")):
        folder.mkdir()
        (folder / "file.txt").write_text(text, encoding="utf-8")
    (outside / "only_outside").write_text("SECRET", encoding="utf-8")
    (root / "f").write_text("inside", encoding="utf-8")
    (root / "now.link").symlink_to(outside)
    ends: Counter[bool] = Counter()
    with meanwhile(SWAP, root, outside):
        for number in range(TRIES):
            if (root / "moved").is_symlink():  # caught while it was one: nothing can be moved there
                (root / "moved").unlink()
            tool, arguments = ATTEMPTS[what](number)
            result = await served.client.call_tool(tool, arguments)
            said = text_of(result)
            assert "SECRET" not in said
            assert "only_outside" not in said
            ends[result.is_error] += 1
    left = {path.name: path.read_text(encoding="utf-8") for path in outside.iterdir()}
    assert left == {"file.txt": "SECRET", "only_outside": "SECRET"}
    # What was moved has stayed inside; a link may have been, and still leads nowhere.
    for name in ("moved", "now/moved", "now/file.txt", "now.link/file.txt", "f"):
        held = await served.client.call_tool("read_text_file", {"path": name})
        assert "SECRET" not in text_of(held)
    assert ends[False] > TRIES / 100, "nearly everything was refused: that was no race"
    assert what == "search" or ends[True] > TRIES / 100, "nothing was refused: that was no race"
    await served.lives()


@pytest.mark.promise("FS-4")
async def test_of_sixty_four_concurrent_edits_none_is_lost(served: Served) -> None:
    """All edits of one file, sent at once and under two names, are in it."""
    file = served.root / "list.txt"
    file.write_text("".join(f"<{number}>\n" for number in range(64)), encoding="utf-8")
    (served.root / "link.txt").symlink_to("list.txt")
    results = []

    async def edit(number: int) -> None:
        edits = [{"oldText": f"<{number}>", "newText": f"done {number}."}]
        path = ("list.txt", "link.txt")[number % 2]
        results.append(await served.client.call_tool("edit_file", {"path": path, "edits": edits}))

    with anyio.fail_after(60):
        async with anyio.create_task_group() as calls:
            for number in range(64):
                calls.start_soon(edit, number)
    assert [text_of(result) for result in results if result.is_error] == []
    assert file.read_text(encoding="utf-8") == "".join(f"done {n}.\n" for n in range(64))


# Kills a process when the files have changed so many times and, after a pause, begin to change
# again; or some milliseconds later. Whoever writes into a file in place is then in the middle.
KILL = """
import os, signal, sys, time
signal.alarm(20)
pid, changes, delay, *names = sys.argv[1:]
look = lambda: [(s.st_ino, s.st_size, s.st_mtime_ns) for s in map(os.stat, names)]
for _ in range(int(changes)):
    before = look()
    while look() == before:
        pass
before, now = None, look()
while before != now:
    time.sleep(0.001)
    before, now = now, look()
while look() == now:
    pass
if float(delay):
    time.sleep(float(delay))
os.kill(int(pid), signal.SIGKILL)
"""


@contextmanager
def killing(pid: int, changes: int, delay: float, *paths: Path) -> Iterator[None]:
    command = [sys.executable, "-c", KILL, str(pid), str(changes), str(delay), *map(str, paths)]
    with subprocess.Popen(command):
        yield


@pytest.mark.slow
@pytest.mark.promise("FS-4")
async def test_a_server_killed_while_writing_leaves_the_old_or_the_new(
    installed: Path, tmp_path: Path
) -> None:
    """kill -9 during 1,000 writes: each file is whole, and no litter is served."""
    root = tmp_path / "files"
    root.mkdir()
    paths = [root / f"{number}.txt" for number in range(4)]
    contents = {letter * 1_000_000 for letter in "abc"}
    for path in paths:
        path.write_text("a" * 1_000_000, encoding="utf-8")
    for attempt in range(10):
        before = children()
        with suppress(BaseExceptionGroup, MCPError), anyio.fail_after(20):
            async with serving(installed, root, home=tmp_path, READ_ONLY="false") as client:
                (pid,) = children() - before
                with killing(pid, 1 + 22 * attempt, attempt % 2 * attempt / 1000, *paths):
                    for number in range(1000):
                        content = "abc"[number % 3] * 1_000_000
                        arguments = {"path": paths[number % 4].name, "content": content}
                        await client.call_tool("write_file", arguments)
        assert pid not in children(), "it was not killed while it was writing"
        assert all(path.read_text(encoding="utf-8") in contents for path in paths)
    async with serving(installed, root, home=tmp_path) as client:
        listed = await client.call_tool("list_directory", {"path": "."})
        assert text_of(listed).splitlines() == [f"[FILE] {path.name}" for path in paths]
        found = await client.call_tool("search_files", {"path": ".", "pattern": "**"})
        assert text_of(found).splitlines() == [str(path) for path in paths]


# --- A full disk.


async def no_room_and_room_again(
    installed: Path, tmp_path: Path, log: Path, fill: Callable[[int], object],
    clear: Callable[[int], object],
) -> None:  # fmt: skip
    """With no room for the audit log nothing runs; with room again, calls run, and it verifies."""
    async with served_from(installed, tmp_path, AUDIT__PATH=str(log)) as served:
        await served.lives()
        fill(served.pid)
        new = served.root / "new.txt"
        for _ in range(400):
            new.unlink(missing_ok=True)
            result = await served.client.call_tool("write_file", {"path": "new.txt", "content": ""})
            if result.is_error and not new.exists():
                break
        for _ in range(3):
            result = await served.client.call_tool("write_file", {"path": "new.txt", "content": ""})
            assert text_of(result).startswith("audit: the call was not run")
        assert not new.exists()
        clear(served.pid)
        await served.lives()
        await served.answered("write_file", path="new.txt", content="")
    command = [str(installed / ".venv/bin/demo-server"), "audit", "verify", str(log)]
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    verified = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    # The gap is part of the chain, so the log is whole, and it says what it lacks.
    assert verified.returncode == 0, verified.stdout + verified.stderr
    assert '"log.gap"' in log.read_text(encoding="utf-8")


@pytest.mark.promise("GEN-3")
async def test_a_log_that_may_not_grow_refuses_calls_and_goes_on(
    installed: Path, tmp_path: Path
) -> None:
    """The process reaches the largest file that it may write (RLIMIT_FSIZE); then it may again."""

    def limit(pid: int, size: int) -> None:
        hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)[1]
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, hard))

    log = tmp_path / "log" / "audit.jsonl"
    log.parent.mkdir(mode=0o700)
    await no_room_and_room_again(
        installed, tmp_path, log,
        fill=lambda pid: limit(pid, log.stat().st_size + 5000),
        clear=lambda pid: limit(pid, resource.RLIM_INFINITY),
    )  # fmt: skip


@pytest.mark.promise("GEN-3")
async def test_a_full_disk_refuses_calls_and_goes_on(installed: Path, tmp_path: Path) -> None:
    """The log's file system is full; then it is no longer."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k,mode=700", "tmpfs", str(disk)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False).returncode:
        pytest.skip("needs root and mount: sudo -E ./dev test tests/test_endurance.py")
    try:
        await no_room_and_room_again(
            installed, tmp_path, disk / "audit.jsonl",
            fill=lambda _: (disk / "ballast").write_bytes(bytes(200 * 1024)),
            clear=lambda _: (disk / "ballast").unlink(),
        )  # fmt: skip
    finally:
        subprocess.run(["umount", disk], check=True)


@pytest.mark.promise("FS-4")
async def test_a_file_that_does_not_fit_leaves_the_old_one(served: Served) -> None:
    """A write that the system ends in its middle changes nothing and leaves no litter."""
    (served.root / "a.txt").write_text("old", encoding="utf-8")
    hard = resource.prlimit(served.pid, resource.RLIMIT_FSIZE)[1]
    resource.prlimit(served.pid, resource.RLIMIT_FSIZE, (500_000, hard))
    for name in ("a.txt", "new.txt"):
        refused = await served.refused("write_file", path=name, content="x" * 1_000_000)
        assert refused == "too_large"
    assert (served.root / "a.txt").read_text(encoding="utf-8") == "old"
    assert {path.name for path in served.root.iterdir()} == {"a.txt", "alive.txt"}


# --- A start that fails.


@pytest.mark.parametrize(
    ("arguments", "settings"),
    [
        (["missing"], {}),
        (["file.txt"], {}),
        (["/"], {}),
        (["/proc"], {}),
        ([], {}),
        (["."], {"AUDIT__PATH": "audit.jsonl"}),
        (["."], {"AUDIT__PATH": "/proc/audit.jsonl"}),
        (["."], {"GUARD__RATE": "0"}),
        (["."], {"GUARD__ALLOW": "["}),
        (["."], {"FILESYSTEM__MAX_FILE_SIZE": "huge"}),
        (["."], {"FILESYSTEM__ALLOWED_EXTENSIONS": '["/"]'}),
        (["."], {"TRANSPORT": "http", "HOST": "0.0.0.0"}),
        (["."], {"TRANSPORT": "pigeon"}),
        (["."], {"NO_SUCH_SETTING": "1"}),
    ],
)
@pytest.mark.promise("GEN-7")
def test_a_start_that_fails_says_so_in_one_line(
    installed: Path, tmp_path: Path, arguments: list[str], settings: dict[str, str]
) -> None:
    """A missing root, a wrong setting, two that contradict: exit 1, one line, nothing on stdout."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "file.txt").write_text("x", encoding="utf-8")
    fails_to_start(installed, tmp_path, tmp_path / "folder", arguments, settings)


@pytest.mark.promise("GEN-7")
def test_an_unreadable_root_says_so_in_one_line(installed: Path, tmp_path: Path) -> None:
    """The start needs to read the folder, and says which setting names it."""
    if os.geteuid() == 0 and not UNPRIVILEGED:
        pytest.skip("root can read everything: apt-get install util-linux, for setpriv")
    (tmp_path / "closed").mkdir(mode=0)
    fails_to_start(installed, tmp_path, tmp_path, ["closed"], {})


def fails_to_start(
    project: Path, home: Path, cwd: Path, arguments: list[str], settings: dict[str, str]
) -> None:
    env = {"PATH": os.environ["PATH"], "HOME": str(home)}
    env |= {f"DEMO_SERVER_{name}": value for name, value in settings.items()}
    command = [*UNPRIVILEGED, project / ".venv/bin/demo-server", *arguments]
    done = subprocess.run(
        command, cwd=cwd, env=env, capture_output=True, text=True, stdin=subprocess.DEVNULL,
        timeout=30, check=False,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert done.stdout == ""
    (line,) = done.stderr.strip().splitlines()
    assert "DEMO_SERVER_" in line
    assert "Traceback" not in line


# --- Wrong input.

# What a schema refuses must be refused; what only looks like another type may be taken for it.
WRONG: list[Any] = [None, -1, 10**30, 1.5, "", "x" * 5000, "\0", [], {}, [[]], [None], [1], [{}],
                    {"a": 1}, [{"oldText": 1, "newText": []}], "/etc/passwd",
                    "../../etc"]  # fmt: skip
ODD: list[Any] = [0, True, 1.0, "1", "true", "yes"]
VALID: dict[str, Any] = {
    "path": "alive.txt", "paths": ["alive.txt"], "source": "alive.txt", "destination": "new.txt",
    "pattern": "x", "content": "x", "edits": [{"oldText": "y", "newText": "z"}],
    "sql": "SELECT 1", "table": "items", "method": "GET",
}  # fmt: skip
PATHS = {
    "list_directory": ".", "list_directory_with_sizes": ".", "directory_tree": ".",
    "search_files": ".", "create_directory": "made", "api_request": "/",
}  # fmt: skip
# An absolute path of two components or more.
HOST_PATH = re.compile(r"(?<![\w.~-])/[\w.-]+/[\w./-]+")


class Origin(BaseHTTPRequestHandler):
    """A web server with a page, the list of its pages, and no robots.txt."""

    def do_GET(self) -> None:
        kinds = {"/": ("text/html", "<p>page</p>"), "/sitemap.xml": ("text/xml", SITEMAP)}
        kind, text = kinds.get(self.path, ("text/plain", ""))
        self.send_response(200 if text else 404)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def do_HEAD(self) -> None:
        self.do_GET()

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


SITEMAP = (
    '<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">'
    "<url><loc>http://127.0.0.1/</loc></url></urlset>"
)


@pytest.fixture
def origin() -> Iterator[str]:
    """Where such a server is, on this machine."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Origin) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.promise("GEN-1", "GEN-6")
@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_wrong_arguments_of_every_tool_are_refused_without_leaks(
    installed: Path, tmp_path: Path, mode: str, origin: str
) -> None:
    """Each argument of each tool, as its own schema has it: an error about it and no more."""
    web = {"ALLOWED_ORIGINS": origin, "RATE": "1000", "BURST": "1000"}
    settings = {f"WEBSCRAPER__{name}": value for name, value in web.items()}
    settings |= {"API__BASE_URL": origin, "API__RATE": "1000", "API__BURST": "1000"}
    async with served_from(installed, tmp_path, mode, **settings) as served:
        tools = (await served.client.list_tools()).tools
        assert len(tools) == 17 + 5 + 4 + 6
        for tool in tools:
            schema = Draft202012Validator(tool.input_schema)
            known = VALID | {"url": origin, "cursor": "of no answer"}
            valid = {name: known[name] for name in tool.input_schema.get("required", ())}
            valid |= {"path": PATHS[tool.name]} if tool.name in PATHS else {}
            assert schema.is_valid(valid)
            assert bool(await refusal(served, tool.name, valid)) == (tool.name == "read_answer")
            for name in tool.input_schema["properties"]:
                for value in WRONG:
                    arguments = {**valid, name: value}
                    said = await refusal(served, tool.name, arguments)
                    assert said or schema.is_valid(arguments), f"{tool.name} {name}={value!r}"
                for value in ODD:
                    await refusal(served, tool.name, {**valid, name: value})
            for name in valid:
                assert await refusal(
                    served, tool.name, {n: v for n, v in valid.items() if n != name}
                )
            for name in ("no_such_argument", "Path", "confirm", "max_size", "\u202e", "a" * 5000):
                assert await refusal(served, tool.name, {**valid, name: 1})


@pytest.mark.promise("GEN-1", "GEN-6")
@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_unknown_tools_and_huge_and_deep_arguments(
    installed: Path, tmp_path: Path, mode: str
) -> None:
    """Errors without leaks, and the next call works."""
    deep: Any = "x"
    for _ in range(80):
        deep = {"a": [deep]}
    async with served_from(installed, tmp_path, mode) as served:
        for tool in ("no_such_tool", "", "read_text_file ", "__class__", "a" * 5000, "\0", "../x"):
            assert await refusal(served, tool, {"path": "alive.txt"})
        said = await refusal(served, "read_text_file", {"path": deep})
        assert "nested deeper" in said
        for huge in (
            {"path": "x" * 5_000_000}, {"path": ["x"] * 500_000},
            {f"a{number}": 1 for number in range(50_000)}, {"x" * 1_000_000: 1},
        ):  # fmt: skip
            assert await refusal(served, "read_text_file", huge)
            await served.lives()


async def refusal(served: Served, tool: str, arguments: dict[str, Any]) -> str:
    """Return what a call was refused with, or nothing; an error has only what the client sent."""
    (served.root / "alive.txt").write_text("yes", encoding="utf-8")  # it may have been moved
    (served.root / "new.txt").unlink(missing_ok=True)
    try:
        with anyio.fail_after(PATIENCE):
            result = await served.client.call_tool(tool, arguments)
    except MCPError as error:
        said = f"{error} {json.dumps(error.error.data)}"
    else:
        if not result.is_error:
            return ""
        said = text_of(result)
        assert said.partition(": ")[0] in CODES, f"{tool} {str(arguments)[:200]}: {said}"
    sent = json.dumps([tool, arguments])
    assert len(said) < 2000, f"{tool} {str(arguments)[:200]}: {said[:500]}"
    leaks = [path for path in HOST_PATH.findall(said) if path not in sent]
    leaks += [word for word in ("Traceback", "pydantic", "site-packages", ".py") if word in said]
    assert not leaks, f"{tool} {str(arguments)[:200]}: {said[:500]}"
    return said


META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
}
PARSE, INVALID, PARAMS = -32700, -32600, -32602


def request(params: Any) -> bytes:
    return json.dumps(
        {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
    ).encode()


@pytest.mark.promise("GEN-1", "GEN-6")
def test_malformed_lines_are_answered_and_the_server_lives(installed: Path, tmp_path: Path) -> None:
    """Each line that is no message, or no call, gets an error; the next message is answered."""
    read = {"name": "read_text_file", "arguments": {"path": "a.txt"}, "_meta": META}
    changes: list[dict[str, Any]] = [
        {"name": None}, {"name": 1}, {"name": ["read_text_file"]}, {"name": {}},
        {"arguments": "x"}, {"arguments": ["a.txt"]}, {"arguments": 1}, {"_meta": 1},
        {"_meta": {**META, "io.modelcontextprotocol/clientCapabilities": 1}},
    ]  # fmt: skip
    wrong: list[tuple[bytes, set[int]]] = [
        *((line, {PARSE}) for line in (
            b"{", b"nonsense", b"\xff\xfe", b'"\\ud800"', b"[" * 200_000, b"1" * 10_000, b"NaN",
            b'{"jsonrpc":"2.0","id":1,"method":"x","params":' + b"9" * 5_000 + b"}",
            b'{"jsonrpc":"2.0","id":1,"method":"x","params":' + b'{"a":' * 10_000 + b"}" * 10_000,
            request({**read, "arguments": {"path": "\ud800"}}),
        )),
        *((line, {INVALID}) for line in (
            b"[]", b"1", b"null", b'{"jsonrpc":"2.0","id":1,"method":1}', b"x" * 6_000_000,
            b'{"jsonrpc":"1.0","id":1,"method":"ping"}',
            b'{"jsonrpc":"2.0","id":null,"method":"x"}', request("x"), request([]),
        )),
        *((request({**read, **change}), {PARAMS, INVALID}) for change in changes),
        (request({"arguments": {}, "_meta": META}), {PARAMS}),
    ]  # fmt: skip
    (tmp_path / "a.txt").write_text("yes", encoding="utf-8")
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), **BUSY}
    with (
        (tmp_path / "log").open("wb") as log,
        subprocess.Popen(
            [installed / ".venv/bin/demo-server", "."], cwd=tmp_path, env=env,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log,
        ) as server,
    ):  # fmt: skip
        watchdog = threading.Timer(60, server.kill)  # a line without an answer ends the test
        watchdog.start()
        to, out = server.stdin, server.stdout
        assert to
        assert out

        def ask(line: bytes) -> dict[str, Any]:
            to.write(line + b"\n")
            to.flush()
            return dict(json.loads(out.readline()))

        for line, codes in wrong:
            answer = ask(line)
            assert answer.get("error", {}).get("code") in codes, f"{line[:100]!r}: {answer}"
            assert not HOST_PATH.search(answer["error"]["message"]), answer
            assert "yes" in json.dumps(ask(request(read))["result"])
        to.close()
        assert server.wait(20) == 0
        watchdog.cancel()
    assert b"Traceback" not in (tmp_path / "log").read_bytes()
