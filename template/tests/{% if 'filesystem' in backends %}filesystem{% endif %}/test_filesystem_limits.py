# managed: part of the template; modelctx updates may rewrite it. Your tests live in tests/custom/.
"""Every limit and every other setting of the backend does what it says, through a real client."""

import json
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from conftest import module, serve, text_of, var
from mcp import Client
from pydantic import ValidationError

pytestmark = pytest.mark.anyio
setting = pytest.mark.setting

SETTINGS = {
    "READ_ONLY": "false",
    "GUARD__BURST": "10000",
    "FILESYSTEM__MAX_FILE_SIZE": "5000",
    "FILESYSTEM__MAX_MEDIA_BYTES": "100",
    "FILESYSTEM__MAX_RESPONSE_BYTES": "2048",
    "FILESYSTEM__MAX_ENTRIES": "50",
    "FILESYSTEM__MAX_DEPTH": "3",
    "FILESYSTEM__ALLOWED_EXTENSIONS": '[".txt", "md"]',
    "FILESYSTEM__FOLLOW_LINKS": "never",
    "FILESYSTEM__DENY_HARDLINKS": "true",
    "FILESYSTEM__DENY": "hidden*",
    "FILESYSTEM__TRASH": ".bin",
}

Ask = Callable[..., Awaitable[Any]]


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """One event loop for the whole module, so that the tests share a server."""
    return "asyncio"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that is served."""
    return tmp_path_factory.mktemp("limits")


@pytest.fixture(scope="module")
async def client(served: Path) -> AsyncIterator[Client]:
    """A client of a server with small limits."""
    env = {var(name): value for name, value in SETTINGS.items()}
    async with serve(served, env=env, timeout=60) as connected:
        yield connected


@pytest.fixture
def root(served: Path, request: pytest.FixtureRequest) -> Path:
    """A folder of its own for each test."""
    root = served / request.node.name.replace("[", "-").replace("]", "")
    root.mkdir()
    return root


@pytest.fixture
def ask(client: Client) -> Ask:
    """Call a tool; return its structured answer, or the text of its refusal."""

    async def call(tool: str, **arguments: Any) -> Any:
        plain = {name: str(a) if isinstance(a, Path) else a for name, a in arguments.items()}
        result = await client.call_tool(tool, plain)
        return text_of(result) if result.is_error else result.structured_content

    return call


def shown(answer: Any) -> list[str]:
    """Return what an answer lists, without the totals at its end."""
    text = answer["content"].split("\n\n")[0]
    return [] if text in ("", "No matches found") else text.split("\n")


async def pages(ask: Ask, tool: str, **arguments: Any) -> tuple[list[str], int]:
    """Return what all pages list together, and how many pages there were."""
    found: list[str] = []
    cursor = ""
    for number in range(1, 100):
        answer = await ask(tool, **arguments, cursor=cursor)
        found += shown(answer)
        cursor = answer["next_cursor"] or ""
        if not cursor:
            return found, number
    raise AssertionError("the pages have no end")


# -- sizes --------------------------------------------------------------------------------------


@setting("FILESYSTEM__MAX_FILE_SIZE")
@pytest.mark.promise("FS-2", "GEN-7")
async def test_max_file_size(root: Path, ask: Ask) -> None:
    """One byte more than allowed is neither read nor written."""
    for size, refused in ((5000, False), (5001, True)):
        (root / "a.txt").write_bytes(b"x" * size)
        for answer in (
            await ask("read_text_file", path=root / "a.txt", tail=1),
            await ask("write_file", path=root / "b.txt", content="x" * size),
        ):
            assert (isinstance(answer, str) and answer.startswith("too_large: ")) is refused


@setting("FILESYSTEM__MAX_MEDIA_BYTES")
@pytest.mark.promise("FS-2", "GEN-7")
async def test_max_media_bytes(root: Path, ask: Ask) -> None:
    """One byte more than allowed is not returned as media."""
    for size, refused in ((100, False), (101, True)):
        (root / "a.txt").write_bytes(b"x" * size)
        answer = await ask("read_media_file", path=root / "a.txt")
        assert (isinstance(answer, str) and answer.startswith("too_large: ")) is refused


@setting("FILESYSTEM__MAX_RESPONSE_BYTES")
@pytest.mark.promise("FS-4", "GEN-7")
async def test_max_response_bytes(root: Path, client: Client, ask: Ask) -> None:
    """A text comes in pages that fit, the first says so, and nothing is missing at the end."""
    text = "".join(f"line {number} é\n" for number in range(300))
    (root / "a.txt").write_text(text, encoding="utf-8")
    result = await client.call_tool("read_text_file", {"path": str(root / "a.txt")})
    first = result.structured_content
    assert first["truncated"]
    assert len(result.content) == 2
    assert f"offset={first['next_offset']}" in text_of(result)
    whole, offset = "", 1
    while offset:
        page = await ask("read_text_file", path=root / "a.txt", offset=offset)
        assert len(page["content"].encode()) <= 2048
        whole, offset = whole + page["content"], page["next_offset"] or 0
    assert whole == text


@pytest.mark.promise("FS-4")
async def test_max_response_bytes_of_other_tools(root: Path, ask: Ask) -> None:
    """Lists, searches and several files at once have the same limit."""
    for number in range(40):
        (root / f"{number:02}{'n' * 100}.txt").write_text("needle " + "x" * 200, encoding="utf-8")
    listed, count = await pages(ask, "list_directory", path=root)
    assert len(listed) == 40
    assert count > 1
    found, count = await pages(ask, "search_files", path=root, pattern="*.txt")
    assert len(set(found)) == 40
    assert count > 1
    matches, count = await pages(ask, "search_content", path=root, pattern="needle")
    assert len(matches) == 40
    assert count > 1
    assert (await ask("directory_tree", path=root))["truncated"]
    answer = await ask("read_multiple_files", paths=found)
    assert 0 < sum(each["ok"] for each in answer["files"]) < 40


# -- how much is looked at ----------------------------------------------------------------------


@setting("FILESYSTEM__MAX_ENTRIES")
@pytest.mark.promise("FS-4", "GEN-7")
async def test_max_entries(root: Path, ask: Ask) -> None:
    """A folder with more is not listed; a search goes on where it stopped, and misses nothing."""
    for folder in range(5):
        (root / f"{folder}").mkdir()
        for number in range(30):
            (root / f"{folder}" / f"{number}.txt").write_text("needle\n", encoding="utf-8")
    numbers = sorted(str(number) for number in range(30))
    every = [f"{root}/{folder}/{number}.txt" for folder in range(5) for number in numbers]
    every.sort(key=lambda path: path.split("/"))
    found, count = await pages(ask, "search_files", path=root, pattern="**/*.txt")
    assert found == every
    assert count > 1
    matches, _ = await pages(ask, "search_content", path=root, pattern="needle")
    assert [match.split(":")[0] for match in matches] == every
    nothing, count = await pages(ask, "search_content", path=root, pattern="other")
    assert nothing == []
    assert count > 1
    for number in range(51):
        (root / "0" / f"more{number}.txt").touch()
    for tool in ("list_directory", "list_directory_with_sizes", "directory_tree"):
        assert (await ask(tool, path=root / "0")).startswith("too_large: ")


@setting("FILESYSTEM__MAX_DEPTH")
@pytest.mark.promise("FS-4", "GEN-7")
async def test_max_depth(root: Path, ask: Ask) -> None:
    """What lies deeper is not shown, and a caller cannot ask for more."""
    (root / "1" / "2" / "3" / "4").mkdir(parents=True)
    answer = await ask("directory_tree", path=root, max_depth=100)
    assert answer["truncated"]
    assert '"3"' in answer["content"]
    assert '"4"' not in answer["content"]
    assert not (await ask("directory_tree", path=root / "1" / "2"))["truncated"]
    found = await ask("search_files", path=root, pattern="**")
    assert (len(shown(found)), found["truncated"]) == (3, True)


@pytest.mark.promise("FS-4")
async def test_a_very_deep_folder(root: Path, ask: Ask) -> None:
    """Hundreds of levels, deeper than any path, are answered at once."""
    at = os.open(root, os.O_RDONLY)
    for _ in range(500):
        os.mkdir("d" * 50, dir_fd=at)
        below = os.open("d" * 50, os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = below
    os.close(at)
    started = time.monotonic()
    assert len(shown(await ask("search_files", path=root, pattern="**"))) == 3
    assert (await ask("directory_tree", path=root))["truncated"]
    assert time.monotonic() - started < 5


@pytest.mark.promise("FS-4")
async def test_searching_does_not_wait(root: Path, ask: Ask) -> None:
    """A FIFO among the files is skipped, and patterns that hang others take no time."""
    os.mkfifo(root / "fifo.txt")
    (root / f"{'a' * 200}.txt").write_text("needle", encoding="utf-8")
    with anyio.fail_after(10):
        answer = await ask("search_content", path=root, pattern="needle")
        assert len(answer["matches"]) == 1
        hard = "*a" * 60 + "b"
        exclude = [f"**/{hard}{number}" for number in range(100)]
        answer = await ask("search_files", path=root, pattern=hard, excludePatterns=exclude)
        assert shown(answer) == []
        assert await ask("list_directory", path=root)


@pytest.mark.promise("FS-4")
def test_hostile_patterns_end_at_the_deadline(tmp_path: Path) -> None:
    """However many slow patterns a call or a .gitignore file has, they stop in time."""
    limits, walk = module("filesystem.limits"), module("filesystem.walk")
    slow = ["*" + "[a-z]?" * 80 + f"b*{number}" for number in range(400)]
    deadline = limits.Deadline(0.2)
    ignored = module("filesystem.ignore").Ignored(deadline).within("", "\n".join(slow))
    looks = (walk.any_of(slow, deadline), lambda name: ignored.hides(name, False))
    started = time.monotonic()
    for look in looks:
        with pytest.raises(module("errors").Refused, match=r"^timeout: "):
            any(look("a" * 255) for _ in range(1000))
    assert time.monotonic() - started < 2


@setting("FILESYSTEM__WALK_TIMEOUT")
@pytest.mark.promise("FS-4", "GEN-7")
async def test_walk_timeout(tmp_path: Path) -> None:
    """Work that takes longer than allowed ends, saying so, and the next call works."""
    for number in range(50):
        (tmp_path / f"{number}.txt").touch()
    env = {var("FILESYSTEM__WALK_TIMEOUT"): "0.000001"}
    async with serve(tmp_path, env=env) as client:
        for tool, more in (
            ("list_directory", {}),
            ("directory_tree", {}),
            ("search_files", {"pattern": "**"}),
            ("search_content", {"pattern": "x"}),
        ):
            result = await client.call_tool(tool, {"path": str(tmp_path), **more})
            assert result.is_error
            assert text_of(result).startswith("timeout: ")
        result = await client.call_tool("read_text_file", {"path": str(tmp_path / "1.txt")})
        assert not result.is_error


# -- what is served -----------------------------------------------------------------------------


@setting("FILESYSTEM__ALLOWED_PATHS")
@pytest.mark.promise("GEN-7")
async def test_allowed_paths(tmp_path: Path) -> None:
    """One folder as plain text or many as a list, each with its mode, and nothing else."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    many = json.dumps([f"{tmp_path}/a", f"{tmp_path}/b:ro"])
    for value, modes in ((f"{tmp_path}/a:rw", ["rw"]), (many, ["rw", "ro"])):
        env = {var("FILESYSTEM__ALLOWED_PATHS"): value, var("READ_ONLY"): "false"}
        async with serve(env=env) as client:
            answer = (await client.call_tool("list_allowed_directories", {})).structured_content
            assert [root["mode"] for root in answer["roots"]] == modes
            assert answer["roots"][0]["path"] == str(tmp_path / "a")


@setting("FILESYSTEM__READ_ONLY")
@pytest.mark.promise("FS-3", "GEN-7")
async def test_read_only(tmp_path: Path) -> None:
    """True hides what writes although the server may write."""
    env = {var("READ_ONLY"): "false", var("FILESYSTEM__READ_ONLY"): "true"}
    async with serve(tmp_path, env=env) as client:
        assert "write_file" not in {tool.name for tool in (await client.list_tools()).tools}


@setting("FILESYSTEM__ALLOWED_EXTENSIONS")
@pytest.mark.promise("FS-2", "GEN-7")
async def test_allowed_extensions(root: Path, ask: Ask) -> None:
    """Other types are refused, also files without one."""
    for name, refused in (("a.txt", False), ("a.MD", False), ("a.py", True), ("Makefile", True)):
        (root / name).write_text("x", encoding="utf-8")
        answer = await ask("read_text_file", path=root / name)
        assert (isinstance(answer, str) and answer.startswith("type_not_allowed: ")) is refused
        answer = await ask("write_file", path=root / name, content="y")
        assert (isinstance(answer, str) and answer.startswith("type_not_allowed: ")) is refused


@setting("FILESYSTEM__BLOCKED_EXTENSIONS")
@pytest.mark.promise("FS-2", "GEN-7")
async def test_blocked_extensions(tmp_path: Path) -> None:
    """These types are refused, others are not."""
    for name in ("a.exe", "a.txt"):
        (tmp_path / name).write_text("x", encoding="utf-8")
    env = {var("FILESYSTEM__BLOCKED_EXTENSIONS"): ".exe"}
    async with serve(tmp_path, env=env) as client:
        for name in ("a.exe", "a.txt"):
            result = await client.call_tool("read_text_file", {"path": str(tmp_path / name)})
            assert result.is_error is (name == "a.exe")


@setting("FILESYSTEM__FOLLOW_LINKS")
@pytest.mark.promise("FS-1", "GEN-7")
async def test_follow_links(root: Path, ask: Ask) -> None:
    """With "never", a link that stays inside is refused too."""
    (root / "a.txt").write_text("x", encoding="utf-8")
    (root / "to.txt").symlink_to("a.txt")
    assert (await ask("read_text_file", path=root / "to.txt")).startswith("denied: ")
    (root / "folder").symlink_to(".")
    assert "[FILE] folder" in shown(await ask("list_directory", path=root))


@setting("FILESYSTEM__DENY_HARDLINKS")
@pytest.mark.promise("FS-1", "GEN-7")
async def test_deny_hardlinks(root: Path, ask: Ask) -> None:
    """A file with a second name is refused."""
    (root / "a.txt").write_text("x", encoding="utf-8")
    assert (await ask("read_text_file", path=root / "a.txt"))["content"] == "x"
    (root / "b.txt").hardlink_to(root / "a.txt")
    assert (await ask("read_text_file", path=root / "a.txt")).startswith("denied: ")


@setting("FILESYSTEM__DENY")
@pytest.mark.promise("FS-1", "GEN-7")
async def test_deny(root: Path, ask: Ask) -> None:
    """What the patterns name is neither served nor listed; they replace the default ones."""
    (root / "hidden").mkdir()
    for name in ("hidden/a.txt", "hidden.txt", "id_rsa.txt"):
        (root / name).write_text("x", encoding="utf-8")
    assert (await ask("read_text_file", path=root / "hidden" / "a.txt")).startswith("denied: ")
    assert (await ask("read_text_file", path=root / "hidden.txt")).startswith("denied: ")
    assert (await ask("read_text_file", path=root / "id_rsa.txt"))["content"] == "x"
    assert shown(await ask("list_directory", path=root)) == ["[FILE] id_rsa.txt"]


@setting("FILESYSTEM__TRASH")
@pytest.mark.promise("GEN-7")
async def test_trash(served: Path, root: Path, ask: Ask) -> None:
    """Deleted files go to the folder of this name, which is not listed."""
    (root / "a.txt").write_text("x", encoding="utf-8")
    answer = await ask("delete_file", path=root / "a.txt")
    assert Path(answer["trash"]).is_relative_to(served / ".bin")
    assert "[DIR] .bin" not in shown(await ask("list_directory", path=served))


@pytest.mark.promise("FS-1")
@pytest.mark.parametrize(
    "name",
    [".env", "x/.env.local", ".env.production", "x/id_ed25519", "a.pem", ".git/hooks/x", "x/.git"],
)
def test_default_deny(name: str) -> None:
    """Unless configured otherwise, files that hold secrets or run as hooks are denied."""
    settings = module("filesystem.settings").FilesystemSettings()
    rules = module("filesystem.rules").NameRules(
        deny=settings.deny, allowed_extensions=[], blocked_extensions=[]
    )
    assert rules.denied(name.split("/"))
    for harmless in (".env.example", ".env.sample", "env", ".gitignore", ".github/x", "pem"):
        assert not rules.denied(harmless.split("/")), harmless


@pytest.mark.promise("GEN-7")
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("allowed_paths", '["a"'),
        ("allowed_paths", [""]),
        ("allowed_paths", ":ro"),
        ("allowed_paths", "a\0b"),
        ("max_file_size", 0),
        ("max_response_bytes", 10),
        ("walk_timeout", 0),
        ("walk_timeout", "inf"),
        ("follow_links", "always"),
        ("deny", ["!*.md"]),
        ("deny", ["{a,b}" * 20]),
        ("deny", [""]),
        ("allowed_extensions", ["."]),
        ("allowed_extensions", ["a/b"]),
        ("trash", ".."),
        ("trash", "a/b"),
        ("max_size", 1),
    ],
)
def test_wrong_settings(name: str, value: Any) -> None:
    """A setting that is unknown, out of bounds or makes no sense is refused, by name."""
    with pytest.raises(ValidationError) as caught:
        module("filesystem.settings").FilesystemSettings(**{name: value})
    assert caught.value.errors()[0]["loc"][0] == name
