# managed: part of the template; modelctx updates may rewrite it. Your tests live in tests/custom/.
"""Every tool through a real client: what it does beyond the reference server, and each refusal."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from conftest import PACKAGE, ROOT, command, environment, module, serve, text_of, var
from mcp import Client, MCPError, StdioServerParameters
from mcp.client.stdio import stdio_client

pytestmark = pytest.mark.anyio

READING = {
    "read_text_file",
    "read_file",
    "read_media_file",
    "read_multiple_files",
    "list_directory",
    "list_directory_with_sizes",
    "directory_tree",
    "search_files",
    "search_content",
    "get_file_info",
    "list_allowed_directories",
}
WRITING = {
    "write_file",
    "edit_file",
    "create_directory",
    "move_file",
    "copy_file",
    "delete_file",
}

Ask = Callable[..., Awaitable[Any]]
Refuse = Callable[..., Awaitable[str]]


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """One event loop for the whole module, so that the tests share a server."""
    return "asyncio"


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A writable folder, a read-only one, and one that is not served."""
    base = tmp_path_factory.mktemp("tools")
    for name in ("served", "fixed", "outside"):
        (base / name).mkdir()
    (base / "fixed" / "file.txt").write_text("fixed", encoding="utf-8")
    (base / "outside" / "file.txt").write_text("secret", encoding="utf-8")
    return base


@pytest.fixture(scope="module")
async def client(base: Path) -> AsyncIterator[Client]:
    """A client of a server that may write."""
    env = {
        var("READ_ONLY"): "false",
        var("GUARD__BURST"): "10000",
        var("FILESYSTEM__ALLOWED_PATHS"): json.dumps([f"{base}/served", f"{base}/fixed:ro"]),
        var("FILESYSTEM__MAX_FILE_SIZE"): "100000",
        var("FILESYSTEM__BLOCKED_EXTENSIONS"): "exe",
    }
    async with serve(env=env, timeout=100) as connected:
        yield connected


@pytest.fixture
def root(base: Path, request: pytest.FixtureRequest) -> Path:
    """A folder of its own for each test."""
    root = base / "served" / request.node.name.replace("[", "-").replace("]", "")
    (root / "sub").mkdir(parents=True)
    (root / "a.txt").write_text("one\ntwo\nthree\n", encoding="utf-8")
    (root / "sub" / "b.py").write_text("import os\n", encoding="utf-8")
    return root


@pytest.fixture
def ask(client: Client) -> Ask:
    """Call a tool and return its structured answer."""

    async def call(tool: str, **arguments: Any) -> Any:
        result = await client.call_tool(tool, _plain(arguments))
        assert not result.is_error, text_of(result)
        return result.structured_content

    return call


@pytest.fixture
def refuse(client: Client, base: Path) -> Refuse:
    """Call a tool that must refuse with a code, and return the text."""

    async def call(code: str, tool: str, **arguments: Any) -> str:
        result = await client.call_tool(tool, _plain(arguments))
        text = text_of(result)
        assert result.is_error, text
        assert text.startswith(f"{code}: "), text
        assert "secret" not in text
        given = json.dumps(_plain(arguments))
        assert str(base) not in text or str(base) in given, "a path that the client did not write"
        return text

    return call


def _plain(arguments: dict[str, Any]) -> dict[str, Any]:
    return {name: str(each) if isinstance(each, Path) else each for name, each in arguments.items()}


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


# -- what is served -----------------------------------------------------------------------------


async def test_annotations(client: Client) -> None:
    """All tools are there, each with a title, four hints, and a schema for its answer."""
    tools = {tool.name: tool for tool in (await client.list_tools()).tools}
    tools = {name: tools[name] for name in READING | WRITING}  # and none of your own
    for name, tool in tools.items():
        hints = tool.annotations
        assert hints is not None
        assert tool.title
        assert tool.description
        assert hints.read_only_hint is (name in READING), name
        assert hints.open_world_hint is False, name
        destroys = name in WRITING - {"create_directory"}
        assert hints.destructive_hint is destroys, name
        repeatable = name not in {"write_file", "edit_file", "move_file"}
        assert hints.idempotent_hint is repeatable, name
        assert (tool.output_schema or {})["type"] == "object", name


async def works(client: Client, tool: str, arguments: dict[str, Any]) -> bool:
    """Say whether a call is answered; the tool or the protocol may refuse it."""
    try:
        return not (await client.call_tool(tool, arguments)).is_error
    except MCPError:
        return False


@pytest.mark.promise("FS-3")
@pytest.mark.parametrize(
    ("env", "mode"),
    [
        ({}, ""),
        ({"READ_ONLY": "false", "FILESYSTEM__READ_ONLY": "true"}, ""),
        ({"READ_ONLY": "false"}, ":ro"),
        ({"READ_ONLY": "true", "FILESYSTEM__READ_ONLY": "false"}, ":rw"),
    ],
)
async def test_read_only_has_no_tools_that_write(
    tmp_path: Path, env: dict[str, str], mode: str
) -> None:
    """By default, or by any setting that says so, what writes is neither listed nor callable."""
    served = tmp_path / "served"
    served.mkdir()
    settings = {var(name): value for name, value in env.items()}
    settings[var("FILESYSTEM__ALLOWED_PATHS")] = f"{served}{mode}"
    async with serve(env=settings) as client:
        served_tools = {tool.name for tool in (await client.list_tools()).tools}
        assert served_tools >= READING
        assert not WRITING & served_tools
        for name in sorted(WRITING):
            arguments = {"path": "x", "content": "", "source": "x", "destination": "y", "edits": []}
            assert not await works(client, name, arguments)
    assert list(served.iterdir()) == []


# -- refusals that all have ---------------------------------------------------------------------

ONE_PATH = sorted((READING | {"create_directory", "delete_file"}) - {"list_allowed_directories"})


def with_path(tool: str, path: Path | str) -> dict[str, Any]:
    """Return arguments that would work, were it not for the path."""
    more: dict[str, Any] = {
        "read_multiple_files": {"paths": [str(path)]},
        "search_files": {"path": path, "pattern": "**"},
        "search_content": {"path": path, "pattern": "e"},
        "write_file": {"path": path, "content": "new"},
        "edit_file": {"path": path, "edits": [{"oldText": "a", "newText": "b"}]},
    }
    return dict(more.get(tool, {"path": path}))


async def refused_code(client: Client, tool: str, arguments: dict[str, Any]) -> str:
    """Return the code with which a tool refuses, or nothing when it does not."""
    result = await client.call_tool(tool, _plain(arguments))
    if tool == "read_multiple_files" and not result.is_error:
        (file,) = result.structured_content["files"]
        return str(file["error"]).split(":")[0] if not file["ok"] else ""
    return text_of(result).split(":")[0] if result.is_error else ""


@pytest.mark.promise("FS-1", "GEN-6")
@pytest.mark.parametrize("tool", [*ONE_PATH, "write_file", "edit_file"])
async def test_nothing_outside(client: Client, base: Path, root: Path, tool: str) -> None:
    """Outside is denied by whatever way, the same whether something is there or not."""
    (root / "out").symlink_to(base / "outside")
    (root / "out.txt").symlink_to(base / "outside" / "file.txt")
    ways = [
        base / "outside" / "file.txt",
        base / "outside" / "missing",
        f"{root}/../../../outside/file.txt",
        f"{root}/out/file.txt",
        f"{base}/served-not/file.txt",
        "/etc/passwd",
        "/proc/self/environ",
        "../outside/file.txt",
    ]
    for way in ways:
        code = await refused_code(client, tool, with_path(tool, way))
        assert code == "denied", (way, code)
    assert (base / "outside" / "file.txt").read_text(encoding="utf-8") == "secret"
    if tool not in ("delete_file", "create_directory"):
        assert await refused_code(client, tool, with_path(tool, root / "out.txt")) == "denied"


@pytest.mark.promise("FS-1")
@pytest.mark.parametrize("tool", [*ONE_PATH, "write_file", "edit_file"])
async def test_denied_names(client: Client, root: Path, tool: str) -> None:
    """Files that hold secrets or run as hooks are denied, there or not, in any spelling."""
    (root / ".env").write_text("e=secret", encoding="utf-8")
    (root / ".git" / "hooks").mkdir(parents=True)
    for name in (".env", ".ENV", ".env.local", "id_rsa", "x/key.pem", ".git/hooks/pre-commit"):
        assert await refused_code(client, tool, with_path(tool, root / name)) == "denied", name
    assert (root / ".env").read_text(encoding="utf-8") == "e=secret"


@pytest.mark.parametrize("tool", sorted(set(ONE_PATH) - {"create_directory"} | {"edit_file"}))
async def test_what_is_missing(client: Client, root: Path, tool: str) -> None:
    """A path of nothing is not found."""
    assert await refused_code(client, tool, with_path(tool, root / "missing")) == "not_found"


@pytest.mark.promise("GEN-1")
@pytest.mark.parametrize("tool", [*ONE_PATH, "write_file", "edit_file"])
async def test_what_cannot_be_a_path(client: Client, root: Path, tool: str) -> None:
    """Empty, too long, or with a NUL: refused as an argument or as a path."""
    for path in ("", "a" * 5000, f"{root}/a\0b"):
        code = await refused_code(client, tool, with_path(tool, path))
        assert code in ("invalid_arguments", "invalid_path"), code


@pytest.mark.promise("FS-3")
@pytest.mark.parametrize("tool", ["write_file", "edit_file", "create_directory", "delete_file"])
async def test_a_read_only_folder(client: Client, base: Path, tool: str) -> None:
    """In a folder that is served read-only nothing is changed, though another one is writable."""
    name = "file.txt" if tool != "create_directory" else "new"
    code = await refused_code(client, tool, with_path(tool, base / "fixed" / name))
    assert code == "read_only"
    assert [path.name for path in (base / "fixed").iterdir()] == ["file.txt"]


@pytest.mark.promise("FS-3")
async def test_moving_and_copying_with_a_read_only_folder(
    base: Path, root: Path, ask: Ask, refuse: Refuse
) -> None:
    """Out of a read-only folder one may copy, not move; into it neither."""
    fixed, here = base / "fixed" / "file.txt", root / "a.txt"
    await refuse("read_only", "move_file", source=fixed, destination=root / "x.txt")
    await refuse("read_only", "move_file", source=here, destination=base / "fixed" / "x.txt")
    await refuse("read_only", "copy_file", source=here, destination=base / "fixed" / "x.txt")
    await ask("copy_file", source=fixed, destination=root / "x.txt")
    assert (root / "x.txt").read_text(encoding="utf-8") == "fixed"


@pytest.mark.promise("FS-1")
async def test_moving_and_copying_outside(
    base: Path, root: Path, client: Client, refuse: Refuse
) -> None:
    """Neither source nor destination may lie outside, or be denied."""
    out, here = base / "outside" / "file.txt", root / "a.txt"
    for tool in ("move_file", "copy_file"):
        await refuse("denied", tool, source=out, destination=root / "x")
        await refuse("denied", tool, source=here, destination=base / "outside" / "x")
        await refuse("denied", tool, source=here, destination=root / ".env")
        await refuse("not_found", tool, source=root / "missing", destination=root / "x")
        await refuse("not_found", tool, source=here, destination=root / "missing" / "x")
    assert [path.name for path in (base / "outside").iterdir()] == ["file.txt"]


@pytest.mark.promise("FS-2")
@pytest.mark.parametrize(
    ("tool", "more"),
    [
        ("read_text_file", {}),
        ("read_media_file", {}),
        ("write_file", {"content": ""}),
        ("edit_file", {"edits": [{"oldText": "a", "newText": "b"}]}),
    ],
)
async def test_file_types(root: Path, refuse: Refuse, tool: str, more: dict[str, Any]) -> None:
    """A blocked type is refused for reading and writing, in any spelling of the name."""
    for name in ("x.exe", "x.EXE", "x.exe ", "x.exe."):
        (root / name).write_text("a", encoding="utf-8")
        await refuse("type_not_allowed", tool, path=root / name, **more)
        assert (root / name).read_text(encoding="utf-8") == "a"


@pytest.mark.promise("FS-2")
async def test_file_types_of_moved_and_copied_names(root: Path, refuse: Refuse) -> None:
    """A file cannot get a blocked type by moving or copying, nor lose it."""
    (root / "x.exe").write_text("a", encoding="utf-8")
    for tool in ("move_file", "copy_file"):
        await refuse("type_not_allowed", tool, source=root / "a.txt", destination=root / "y.exe")
        await refuse("type_not_allowed", tool, source=root / "x.exe", destination=root / "y.txt")
    await refuse("type_not_allowed", "delete_file", path=root / "x.exe")


@pytest.mark.promise("FS-2", "FS-4")
@pytest.mark.parametrize("tool", ["read_text_file", "read_media_file", "edit_file", "write_file"])
async def test_only_regular_files(root: Path, client: Client, tool: str) -> None:
    """A folder, a FIFO or a device link is refused at once; the next call works."""
    os.mkfifo(root / "fifo")
    with anyio.fail_after(5):
        assert await refused_code(client, tool, with_path(tool, root / "fifo")) == "not_regular"
        assert await refused_code(client, tool, with_path(tool, root / "sub")) == "is_directory"
        assert await refused_code(client, "read_text_file", {"path": root / "a.txt"}) == ""


@pytest.mark.promise("FS-2", "FS-4")
@pytest.mark.parametrize("tool", ["read_text_file", "read_media_file", "edit_file", "copy_file"])
async def test_files_that_are_too_large(root: Path, refuse: Refuse, tool: str) -> None:
    """A file over the limit is refused before it is read, however it is asked for."""
    with (root / "sparse").open("wb") as file:
        file.truncate(2 * 1024**3)
    more: dict[str, dict[str, Any]] = {
        "read_text_file": {"head": 1},
        "edit_file": {"edits": [{"oldText": "a", "newText": "b"}]},
    }
    paths = {"path": root / "sparse"}
    if tool == "copy_file":
        paths = {"source": root / "sparse", "destination": root / "copy"}
    with anyio.fail_after(5):
        await refuse("too_large", tool, **paths, **more.get(tool, {}))


# -- reading ------------------------------------------------------------------------------------


async def test_reading_lines(root: Path, ask: Ask) -> None:
    """Offset and limit give some lines, where to go on, and what is known of the whole file."""
    data = (root / "a.txt").read_bytes()
    answer = await ask("read_text_file", path=root / "a.txt", offset=2, limit=1, line_numbers=True)
    assert answer["content"] == "     2\ttwo\n"
    assert answer["next_offset"] == 3
    assert (answer["size"], answer["sha256"]) == (len(data), sha256(data))
    assert answer["mtime"].endswith("Z")
    assert not answer["truncated"]


async def test_reading_encodings(root: Path, ask: Ask, refuse: Refuse) -> None:
    """A file is decoded as asked for; what is no text does not stop the answer."""
    (root / "latin").write_bytes("grün".encode("latin-1"))
    assert (await ask("read_text_file", path=root / "latin"))["content"] == "gr\ufffdn"
    answer = await ask("read_text_file", path=root / "latin", encoding="latin-1")
    assert answer["content"] == "grün"
    await refuse("invalid_arguments", "read_text_file", path=root / "latin", encoding="rot13")


async def test_reading_refuses_two_choices(root: Path, refuse: Refuse) -> None:
    """Head and tail together are refused."""
    await refuse("invalid_arguments", "read_text_file", path=root / "a.txt", head=1, tail=1)


@pytest.mark.promise("GEN-1")
async def test_unknown_arguments_are_refused(root: Path, refuse: Refuse) -> None:
    """A misspelt or invented argument is refused, also inside an edit."""
    await refuse("invalid_arguments", "read_text_file", path=root / "a.txt", max_size=10**9)
    edit = {"oldText": "one", "newText": "1", "confirm": True}
    await refuse("invalid_arguments", "edit_file", path=root / "a.txt", edits=[edit])


async def test_reading_several(root: Path, ask: Ask) -> None:
    """Each file has its own outcome; what does not fit into all together is left out."""
    paths = [str(root / name) for name in ("a.txt", "missing", "sub/b.py")]
    answer = await ask("read_multiple_files", paths=paths, max_bytes=20)
    first, second, third = answer["files"]
    assert (first["ok"], first["content"]) == (True, "one\ntwo\nthree\n")
    assert second["error"].startswith("not_found: ")
    assert third["error"].startswith("too_large: ")
    assert third["content"] is None


async def test_information(root: Path, ask: Ask, refuse: Refuse) -> None:
    """A checksum comes on request, for a file."""
    answer = await ask("get_file_info", path=root / "a.txt", checksum=True)
    assert answer["sha256"] == sha256((root / "a.txt").read_bytes())
    assert answer["type"] == "file"
    answer = await ask("get_file_info", path=root / "sub")
    assert (answer["type"], answer["sha256"]) == ("directory", None)
    await refuse("is_directory", "get_file_info", path=root / "sub", checksum=True)


async def test_allowed_folders(base: Path, ask: Ask) -> None:
    """Folders come with their mode, and with the limits in force."""
    answer = await ask("list_allowed_directories")
    assert answer["roots"] == [
        {"path": f"{base}/served", "mode": "rw"},
        {"path": f"{base}/fixed", "mode": "ro"},
    ]
    assert answer["limits"]["max_file_size"] == 100_000


# -- lists and searches -------------------------------------------------------------------------


def shown(answer: Any) -> list[str]:
    """Return what an answer lists, without the totals at its end."""
    text = answer["content"].split("\n\n")[0]
    return [] if text in ("", "No matches found") else text.split("\n")


async def pages(ask: Ask, tool: str, **arguments: Any) -> list[str]:
    """Return what all pages of an answer list together."""
    found: list[str] = []
    cursor = ""
    for _ in range(100):
        answer = await ask(tool, **arguments, cursor=cursor)
        found += shown(answer)
        cursor = answer["next_cursor"] or ""
        if not cursor:
            return found
    raise AssertionError("the pages have no end")


async def test_pages_of_lists(root: Path, ask: Ask, refuse: Refuse) -> None:
    """Pages together are the whole list, in order; what is to be ignored is not there."""
    for number in range(25):
        (root / "sub" / f"{number:02}.log").write_bytes(b"x" * (number % 5))
    names = sorted(path.name for path in (root / "sub").iterdir())
    arguments = {"path": root / "sub", "limit": 4}
    lines = await pages(ask, "list_directory", **arguments)
    assert lines == [f"[FILE] {name}" for name in names]
    lines = await pages(ask, "list_directory_with_sizes", **arguments)
    assert [line.split()[1] for line in lines] == names
    for tool in ("list_directory", "list_directory_with_sizes"):
        (line,) = shown(await ask(tool, path=root / "sub", ignore=["*.log"]))
        assert line.split()[:2] == ["[FILE]", "b.py"]
    lines = await pages(ask, "list_directory_with_sizes", sortBy="size", **arguments)
    sizes = [(-int(line.split()[2]), line.split()[1]) for line in lines]
    assert sizes == sorted(sizes)
    assert len(sizes) == len(names)
    cursor = (await ask("list_directory", **arguments))["next_cursor"]
    await refuse("invalid_arguments", "list_directory", path=root, limit=4, cursor=cursor)
    await refuse("invalid_arguments", "list_directory", **arguments, cursor=cursor[:-2] + "AA")


async def test_lists_need_a_folder(root: Path, refuse: Refuse) -> None:
    """A file is not listed."""
    for tool in ("list_directory", "list_directory_with_sizes", "directory_tree"):
        await refuse("not_a_directory", tool, path=root / "a.txt")
    await refuse("not_a_directory", "search_files", path=root / "a.txt", pattern="*")


@pytest.mark.promise("FS-1")
async def test_entries_are_checked_too(base: Path, root: Path, ask: Ask) -> None:
    """Lists, trees and searches neither show what is denied nor follow a link outside."""
    for name in (".env", "server.key", "id_rsa"):
        (root / name).write_text("secret", encoding="utf-8")
    (root / ".git" / "hooks").mkdir(parents=True)
    (root / ".git" / "hooks" / "pre-commit").write_text("secret", encoding="utf-8")
    (root / "out").symlink_to(base / "outside")
    (root / "out.txt").symlink_to(base / "outside" / "file.txt")
    assert shown(await ask("list_directory", path=root)) == [
        "[FILE] a.txt",
        "[FILE] out",
        "[FILE] out.txt",
        "[DIR] sub",
    ]
    sized = await ask("list_directory_with_sizes", path=root)
    assert [line.split()[1:] for line in shown(sized) if "out" in line] == [
        ["out", "0", "B"],
        ["out.txt", "0", "B"],
    ]
    tree = (await ask("directory_tree", path=root))["content"]
    found = (await ask("search_files", path=root, pattern="**"))["content"]
    for text in (tree, found):
        for name in (".env", "server.key", "id_rsa", "hooks", "file.txt"):
            assert name not in text.replace("out.txt", "")
    assert (await ask("search_content", path=root, pattern="secret"))["matches"] == []


async def test_links_inside(root: Path, ask: Ask) -> None:
    """A link that stays inside is what it leads to; a walk does not follow it."""
    (root / "loop").symlink_to(".")
    (root / "to").symlink_to("a.txt")
    lines = [line.split() for line in shown(await ask("list_directory_with_sizes", path=root))]
    assert ["[DIR]", "loop"] in lines
    assert ["[FILE]", "to", "14", "B"] in lines
    assert (await ask("read_text_file", path=root / "loop" / "to"))["content"].startswith("one")
    found = await ask("search_files", path=root, pattern="**/*.py")
    assert shown(found) == [str(root / "sub" / "b.py")]
    assert len((await ask("search_content", path=root, pattern="two"))["matches"]) == 1


async def test_trees_have_limits(root: Path, ask: Ask) -> None:
    """Depth and entries can be limited, and the answer says that something is missing."""
    full = await ask("directory_tree", path=root)
    assert not full["truncated"]
    flat = await ask("directory_tree", path=root, max_depth=1)
    assert json.loads(flat["content"])[1] == {"name": "sub", "type": "directory", "children": []}
    assert flat["truncated"]
    short = await ask("directory_tree", path=root, max_entries=1)
    assert [each["name"] for each in json.loads(short["content"])] == ["a.txt"]
    assert short["truncated"]


async def test_trees_respect_ignore_files(root: Path, ask: Ask) -> None:
    """On request, what .gitignore files name is left out, at every level."""
    (root / ".gitignore").write_text("*.txt\n!keep.txt\n", encoding="utf-8")
    (root / "sub" / ".gitignore").write_text("b.py\n", encoding="utf-8")
    (root / "sub" / "keep.txt").touch()
    (root / ".git").mkdir()
    tree = await ask("directory_tree", path=root, respect_gitignore=True)
    assert json.loads(tree["content"]) == [
        {"name": ".gitignore", "type": "file"},
        {
            "name": "sub",
            "type": "directory",
            "children": [
                {"name": ".gitignore", "type": "file"},
                {"name": "keep.txt", "type": "file"},
            ],
        },
    ]


async def test_pages_of_searches(root: Path, ask: Ask, refuse: Refuse) -> None:
    """Pages together are all that there is, each path once, in the order of the names."""
    for name in ("a/b/c", "a/b.x", "a-b", "a/b/d/e", "b"):
        (root / "t" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "t" / name).write_text("x", encoding="utf-8")
    every = sorted((root / "t").rglob("*"), key=lambda path: path.relative_to(root / "t").parts)
    arguments = {"path": root / "t", "pattern": "**"}
    for size in (1, 2, 3, 100):
        found = await pages(ask, "search_files", **arguments, max_results=size)
        assert found == [str(path) for path in every]
    for kind, wanted in (("file", Path.is_file), ("directory", Path.is_dir)):
        found = shown(await ask("search_files", **arguments, type=kind))
        assert found == [str(path) for path in every if wanted(path)]
    cursor = (await ask("search_files", **arguments, max_results=1))["next_cursor"]
    await refuse("invalid_arguments", "search_files", path=root / "t", pattern="*", cursor=cursor)


async def test_search_in_files(root: Path, ask: Ask) -> None:
    """Lines come with path, line and column, page by page, from one file or many."""
    (root / "c.py").write_text("x = 1\n" + "import os\n" * 5 + "IMPORT OS\n", encoding="utf-8")
    (root / "binary").write_bytes(b"import\0")
    arguments = {"path": root, "pattern": "import"}
    first = await ask("search_content", **arguments)
    assert [(Path(each["path"]).name, each["line"]) for each in first["matches"]] == [
        *(("c.py", line) for line in range(2, 7)),
        ("b.py", 1),
    ]
    for size in (1, 2, 5):
        found = await pages(ask, "search_content", **arguments, max_results=size)
        assert found == first["content"].split("\n")
    answer = await ask("search_content", **arguments, glob="*.py", max_results=6)
    assert answer["skipped"] == 0
    assert len((await ask("search_content", **arguments, ignore_case=True))["matches"]) == 7
    one = await ask("search_content", path=root / "c.py", pattern="os", max_results=5, context=1)
    assert one["matches"][0]["before"] == ["x = 1"]
    assert one["content"].startswith(f"{root}/c.py-1- x = 1\n{root}/c.py:2:8: import os\n")
    rest = await ask(
        "search_content",
        path=root / "c.py",
        pattern="os",
        max_results=5,
        context=1,
        cursor=one["next_cursor"] or "",
    )
    assert rest["next_cursor"] is None


async def test_searches_refuse_bad_patterns(root: Path, refuse: Refuse) -> None:
    """A pattern over a limit, or for several lines, is refused."""
    hard = "{a,b}" * 20
    await refuse("invalid_arguments", "search_files", path=root, pattern=hard)
    await refuse(
        "invalid_arguments", "search_files", path=root, pattern="*", excludePatterns=[hard]
    )
    await refuse("invalid_arguments", "directory_tree", path=root, excludePatterns=[hard])
    await refuse("invalid_arguments", "list_directory", path=root, ignore=[hard])
    await refuse("invalid_arguments", "search_content", path=root, pattern="a", glob=hard)
    await refuse("invalid_arguments", "search_content", path=root, pattern="a\nb")


# -- writing ------------------------------------------------------------------------------------


async def test_writing_with_conditions(root: Path, ask: Ask, refuse: Refuse) -> None:
    """Only if it is new, only if it has not changed, at the end, with the folders it needs."""
    path = root / "new" / "deep" / "file.txt"
    await refuse("not_found", "write_file", path=path, content="1")
    first = await ask("write_file", path=path, content="1", make_parents=True, create_only=True)
    assert first["sha256"] == sha256(b"1")
    await refuse("conflict", "write_file", path=path, content="2", create_only=True)
    second = await ask("write_file", path=path, content="2", if_match=first["sha256"], append=True)
    assert (path.read_bytes(), second["size"]) == (b"12", 2)
    await refuse("conflict", "write_file", path=path, content="3", if_match=first["sha256"])
    await refuse("conflict", "write_file", path=root / "x", content="", if_match=sha256(b""))
    await refuse("invalid_arguments", "write_file", path=path, content="", if_match="abc")
    both = {"create_only": True, "append": True}
    await refuse("invalid_arguments", "write_file", path=path, content="", **both)
    assert path.read_bytes() == b"12"


@pytest.mark.promise("FS-2")
async def test_writing_has_a_limit(root: Path, ask: Ask, refuse: Refuse) -> None:
    """No way of writing makes a file larger than the limit."""
    path, half = root / "large", "x" * 60_000
    await refuse("too_large", "write_file", path=path, content=half * 2)
    await ask("write_file", path=path, content=half)
    await refuse("too_large", "write_file", path=path, content=half, append=True)
    grow = {"oldText": "x" * 60_000, "newText": half * 2}
    await refuse("too_large", "edit_file", path=path, edits=[grow])
    assert path.stat().st_size == 60_000


async def test_writing_keeps_what_belongs_to_the_file(root: Path, ask: Ask) -> None:
    """Permissions stay, and a link stays a link to the file that is written."""
    (root / "a.txt").chmod(0o640)
    (root / "to").symlink_to("a.txt")
    await ask("write_file", path=root / "to", content="new")
    assert (root / "to").is_symlink()
    assert (root / "a.txt").read_text(encoding="utf-8") == "new"
    assert (root / "a.txt").stat().st_mode & 0o777 == 0o640


async def test_editing_refusals(root: Path, ask: Ask, refuse: Refuse) -> None:
    """What is missing, ambiguous, changed meanwhile or not text is refused, and nothing changes."""
    path, data = root / "a.txt", (root / "a.txt").read_bytes()
    one = [{"oldText": "one", "newText": "1"}]
    await refuse("conflict", "edit_file", path=path, edits=[*one, {"oldText": "x", "newText": ""}])
    await refuse("conflict", "edit_file", path=path, edits=[{"oldText": "e", "newText": "E"}])
    await refuse("conflict", "edit_file", path=path, edits=one, if_match=sha256(b"other"))
    await refuse(
        "invalid_arguments", "edit_file", path=path, edits=[{"oldText": "", "newText": ""}]
    )
    (root / "binary").write_bytes(b"one \xff\xfe")
    await refuse("type_not_allowed", "edit_file", path=root / "binary", edits=one)
    assert path.read_bytes() == data
    everywhere = [{"oldText": "e", "newText": "E", "replaceAll": True}]
    answer = await ask("edit_file", path=path, edits=everywhere, if_match=sha256(data))
    assert path.read_bytes() == data.replace(b"e", b"E")
    assert answer["sha256"] == sha256(path.read_bytes())


async def test_no_edit_is_lost(root: Path, ask: Ask) -> None:
    """64 clients edit one file at the same time, by different paths, and each finds its place."""
    path = root / "shared.txt"
    path.write_text("".join(f"<{number}>\n" for number in range(64)), encoding="utf-8")
    (root / "other").symlink_to(".")

    async def edit(number: int) -> None:
        where = (path, root / "other" / "shared.txt", f"{root}/./shared.txt")[number % 3]
        change = {"oldText": f"<{number}>", "newText": f"done {number}"}
        await ask("edit_file", path=where, edits=[change])

    async with anyio.create_task_group() as tasks:
        for number in range(64):
            tasks.start_soon(edit, number)
    assert path.read_text(encoding="utf-8") == "".join(f"done {each}\n" for each in range(64))


async def test_folders(root: Path, ask: Ask, refuse: Refuse) -> None:
    """A folder is made with those above it; a file in its place is a conflict."""
    await ask("create_directory", path=root / "x" / "y" / "z")
    assert (root / "x" / "y" / "z").is_dir()
    await refuse("conflict", "create_directory", path=root / "a.txt")
    await refuse("not_a_directory", "create_directory", path=root / "a.txt" / "x")


async def test_moving(root: Path, ask: Ask, refuse: Refuse) -> None:
    """Nothing is replaced unless asked for, and a folder never is."""
    (root / "b.txt").write_text("b", encoding="utf-8")
    both = {"source": root / "b.txt", "destination": root / "a.txt"}
    await refuse("conflict", "move_file", **both)
    await ask("move_file", **both, overwrite=True)
    assert (root / "a.txt").read_text(encoding="utf-8") == "b"
    for source in ("a.txt", "sub"):
        (root / "empty").mkdir(exist_ok=True)
        result = {"source": root / source, "destination": root / "empty", "overwrite": True}
        code = "is_directory" if source == "a.txt" else "conflict"
        await refuse(code, "move_file", **result)
    await refuse("conflict", "move_file", source=root / "sub", destination=root / "sub" / "in")
    await ask("move_file", source=root / "sub", destination=root / "moved")
    assert (root / "moved" / "b.py").is_file()


@pytest.mark.promise("FS-1")
async def test_a_denied_path_cannot_be_made_by_moving_a_folder(root: Path, refuse: Refuse) -> None:
    """A folder of hooks does not become `.git/hooks` by moving the one above it."""
    (root / "fake" / "hooks").mkdir(parents=True)
    await refuse("denied", "move_file", source=root / "fake", destination=root / ".git")
    (root / ".git" / "hooks").mkdir(parents=True)
    await refuse("denied", "move_file", source=root / ".git", destination=root / "got")
    await refuse("denied", "delete_file", path=root / ".git", recursive=True)


async def test_copying(root: Path, ask: Ask, refuse: Refuse) -> None:
    """A file with its permissions; a folder only on request, without what is not served."""
    (root / "a.txt").chmod(0o600)
    both = {"source": root / "a.txt", "destination": root / "b.txt"}
    assert (await ask("copy_file", **both))["files"] == 1
    assert (root / "b.txt").stat().st_mode & 0o777 == 0o600
    await refuse("conflict", "copy_file", **both)
    (root / "a.txt").write_text("new", encoding="utf-8")
    await ask("copy_file", **both, overwrite=True)
    assert (root / "b.txt").read_text(encoding="utf-8") == "new"
    for name in (".env", "x.exe"):
        (root / "sub" / name).touch()
    (root / "sub" / "link").symlink_to("b.py")
    both = {"source": root / "sub", "destination": root / "copy"}
    await refuse("is_directory", "copy_file", **both)
    answer = await ask("copy_file", **both, recursive=True)
    assert (answer["files"], answer["skipped"]) == (1, 2)
    assert [path.name for path in (root / "copy").iterdir()] == ["b.py"]
    await refuse("conflict", "copy_file", **both, recursive=True, overwrite=True)
    inside = root / "sub" / "in"
    await refuse("conflict", "copy_file", source=root / "sub", destination=inside, recursive=True)
    assert not inside.exists()


async def test_deleting(base: Path, root: Path, ask: Ask, refuse: Refuse) -> None:
    """What is deleted is in the trash, out of sight, and can be moved back."""
    await refuse("is_directory", "delete_file", path=root / "sub")
    answer = await ask("delete_file", path=root / "sub", recursive=True)
    assert not (root / "sub").exists()
    assert (Path(answer["trash"]) / "b.py").is_file()
    assert Path(answer["trash"]).is_relative_to(base / "served" / ".trash")
    served = {"path": base / "served"}
    assert "[DIR] .trash" not in shown(await ask("list_directory", **served))
    found = await ask("search_files", **served, pattern="**/b.py", max_results=1000)
    assert ".trash" not in found["content"]
    await refuse("denied", "delete_file", path=answer["trash"], recursive=True)
    await refuse("denied", "delete_file", path=base / "served" / ".trash", recursive=True)
    await refuse("denied", "delete_file", path=base / "served", recursive=True)
    await ask("move_file", source=answer["trash"], destination=root / "sub")
    assert (root / "sub" / "b.py").is_file()
    (root / "to").symlink_to("a.txt")
    assert (await ask("delete_file", path=root / "to"))["trash"] == ""
    assert (root / "a.txt").exists()
    assert not (root / "to").is_symlink()


@pytest.mark.anyio
@pytest.mark.promise("GEN-3", "FS-1")
async def test_the_audit_log_inside_an_allowed_folder_is_out_of_reach(tmp_path: Path) -> None:
    """Who serves a whole home serves neither the audit log nor its folder."""
    home = tmp_path / "my [home]"
    home.mkdir()
    (home / "notes.txt").write_text("mine", encoding="utf-8")
    env = {"HOME": str(home), var("READ_ONLY"): "false"}
    async with serve(home, env=env) as client:
        log = next(home.rglob("audit.jsonl"))
        for tool, arguments in (
            ("read_text_file", {"path": str(log)}),
            ("write_file", {"path": str(log), "content": ""}),
            ("delete_file", {"path": str(log.parent), "recursive": True}),
            ("move_file", {"source": str(log), "destination": str(home / "gone")}),
        ):
            assert (await client.call_tool(tool, arguments)).is_error, tool
        found = await client.call_tool("search_files", {"path": str(home), "pattern": "**/*.jsonl"})
        assert "audit" not in text_of(found)
        assert not (await client.call_tool("read_text_file", {"path": "notes.txt"})).is_error
    assert log.is_file()


async def test_the_audit_log_is_not_written_into_an_allowed_folder(tmp_path: Path) -> None:
    """Hiding it would hide the folder: the server does not start, and says what to change."""
    env = environment(str(tmp_path), {var("AUDIT__PATH"): str(tmp_path / "audit.jsonl")})
    done = await anyio.run_process(command("--check", tmp_path), env=env, check=False)
    lines = done.stderr.decode().splitlines()
    assert done.returncode == 1
    assert len(lines) == 1
    assert var("FILESYSTEM__ALLOWED_PATHS") in lines[0]


@pytest.mark.promise("GEN-4", "FS-1")
async def test_the_servers_own_files_inside_an_allowed_folder_are_out_of_reach(
    tmp_path: Path,
) -> None:
    """Neither secrets nor settings are read or changed, and folders of the same name are served."""
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / var("AUDIT__KEY")).write_text("a key of this test", encoding="utf-8")
    (tmp_path / "server.conf").write_text(f"{var('LOG_LEVEL')}=ERROR\n", encoding="utf-8")
    (tmp_path / "sub" / "keys").mkdir(parents=True)
    (tmp_path / "sub" / "keys" / "song.txt").write_text("c major", encoding="utf-8")
    env = {
        var("READ_ONLY"): "false",
        var("SECRETS_DIR"): str(tmp_path / "keys"),
        var("ENV_FILE"): str(tmp_path / "server.conf"),
    }
    async with serve(tmp_path, env=env) as client:
        for path in ("keys/" + var("AUDIT__KEY"), "server.conf"):
            assert not await works(client, "read_text_file", {"path": path})
            assert not await works(client, "write_file", {"path": path, "content": "x"})
        assert not await works(client, "list_directory", {"path": "keys"})
        assert await works(client, "read_text_file", {"path": "sub/keys/song.txt"})


@pytest.mark.promise("FS-1")
async def test_the_code_of_the_server_is_not_served(tmp_path: Path) -> None:
    """A client cannot write what runs at the next start: its folder is hidden, or refused."""
    env = environment(str(tmp_path))
    inside = ROOT / "src" / PACKAGE / "custom"
    done = await anyio.run_process(command("--check", inside), env=env, check=False)
    assert done.returncode == 1
    for folder in (ROOT, ROOT / "src"):
        done = await anyio.run_process(command("--check", folder), env=env, check=False)
        assert done.returncode == 1


@pytest.mark.promise("FS-1")
def test_what_python_may_import_is_out_of_reach(tmp_path: Path) -> None:
    """The project with its settings, the interpreter, and every folder that modules come from."""
    private = module("private").private_places(module("settings").Settings())
    hidden = module("filesystem").hidden
    for place in (ROOT, Path(sys.base_prefix), Path(sys.executable), Path(json.__file__).parent):
        real = place.resolve()
        outside = str(real.parents[-2])
        patterns = [f"{outside}{pattern}" for pattern in hidden([outside], private)]
        assert any(real.is_relative_to(pattern) for pattern in patterns), place


@pytest.mark.promise("FS-1")
async def test_nothing_is_imported_from_where_the_server_is_started(tmp_path: Path) -> None:
    """`python -m` searches the current folder first: then that is not served, with `-P` it is."""
    (tmp_path / "re2.py").write_text("raise SystemExit('imported')", encoding="utf-8")
    (tmp_path / "a.txt").write_text("a", encoding="utf-8")
    env = environment(str(tmp_path))
    started = {"command": sys.executable, "env": env, "cwd": tmp_path}
    plain = [sys.executable, "-m", PACKAGE, "--check", str(tmp_path)]
    done = await anyio.run_process(plain, env=env, cwd=tmp_path, check=False)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    safe = StdioServerParameters(**started, args=["-P", "-m", PACKAGE, str(tmp_path)])
    with anyio.fail_after(20):
        async with Client(stdio_client(safe)) as client:
            arguments = {"path": ".", "pattern": "a", "regex": True, "glob": "*.txt"}
            answer = await client.call_tool("search_content", arguments)
    assert text_of(answer) == f"{tmp_path}/a.txt:1:1: a" or "google-re2" in text_of(answer)


@pytest.mark.promise("GEN-4", "FS-1")
@pytest.mark.parametrize("name", ["Acme Inc.", "a ", "!!c", "\u200b", "*", "{a,b}", "A\u0308"])
async def test_files_of_the_server_are_out_of_reach_whatever_their_folder_is_called(
    tmp_path: Path, name: str
) -> None:
    """Neither they nor the folders above them are read, moved or deleted."""
    served = tmp_path / "served"
    (served / name / "conf").mkdir(parents=True)
    (served / name / "conf" / "env").write_text(f"{var('LOG_LEVEL')}=ERROR\n", encoding="utf-8")
    env = {var("READ_ONLY"): "false", var("ENV_FILE"): str(served / name / "conf" / "env")}
    async with serve(served, env=env) as client:
        for path in (f"{name}/conf/env", f"{name}/conf", name):
            moved = {"source": path, "destination": "moved"}
            assert not await works(client, "move_file", moved)
            assert not await works(client, "delete_file", {"path": path, "recursive": True})
        assert not await works(client, "read_text_file", {"path": f"{name}/conf/env"})
        assert await works(client, "write_file", {"path": f"{name}/b.txt", "content": "x"})
    assert (served / name / "conf" / "env").read_text(encoding="utf-8")


@pytest.mark.promise("FS-1")
def test_a_folder_is_known_by_more_than_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bind mount, and a file system that ignores case, show a folder under another name."""
    filesystem = module("filesystem")
    (tmp_path / "a" / "conf").mkdir(parents=True)
    (tmp_path / "b").mkdir()
    same = {tmp_path / "a", tmp_path / "b"}
    monkeypatch.setattr(filesystem, "_same", lambda one, other: {one, other} == same)
    place = [(tmp_path / "a" / "conf", False)]
    assert filesystem.hidden([str(tmp_path / "b")], place) == ["/conf"]
    monkeypatch.undo()
    assert filesystem.hidden([str(tmp_path / "b")], place) == []
    assert filesystem._same(tmp_path / "a", tmp_path / "b" / ".." / "a")


def test_a_place_that_cannot_be_served_is_told_in_one_line(tmp_path: Path) -> None:
    """A link in a circle, and files of the server too deep below a folder."""
    (tmp_path / "loop").symlink_to("loop")
    deep = tmp_path.joinpath(*["d" * 200] * 6)
    deep.mkdir(parents=True)
    for arguments, env in (
        ([tmp_path / "loop"], {}),
        ([tmp_path], {var("AUDIT__PATH"): str(deep / "audit.jsonl")}),
    ):
        done = subprocess.run(
            command("--check", *arguments), env=environment(str(tmp_path), env), text=True,
            capture_output=True, check=False, timeout=20,
        )  # fmt: skip
        assert done.returncode == 1
        assert len(done.stderr.splitlines()) == 1


@pytest.mark.promise("GEN-4", "FS-1")
async def test_links_to_the_servers_own_files_are_out_of_reach(tmp_path: Path) -> None:
    """Neither the links on the way are replaced, nor what secrets are links to is read."""
    served, elsewhere = tmp_path / "served", tmp_path / "elsewhere"
    for folder in (served / "conf", served / "store", elsewhere / "keys"):
        folder.mkdir(parents=True)
    (elsewhere / "app.conf").write_text(f"{var('LOG_LEVEL')}=ERROR\n", encoding="utf-8")
    (served / "conf" / "app.conf").symlink_to(elsewhere / "app.conf")
    (served / "conf" / "keys").symlink_to(elsewhere / "keys")
    (served / "store" / "key").write_text("a key of this test", encoding="utf-8")
    (elsewhere / "keys" / var("AUDIT__KEY")).symlink_to(served / "store" / "key")
    (served / "logs").symlink_to(elsewhere)
    env = {
        var("READ_ONLY"): "false",
        var("ENV_FILE"): str(served / "conf" / "app.conf"),
        var("SECRETS_DIR"): str(served / "conf" / "keys"),
        var("AUDIT__PATH"): str(served / "logs" / "audit.jsonl"),
    }
    async with serve(served, env=env) as client:
        assert not await works(client, "read_text_file", {"path": "store/key"})
        for path in ("conf/app.conf", "conf/keys", "logs", "store/key"):
            assert not await works(client, "delete_file", {"path": path})
            moved = {"source": path, "destination": "moved"}
            assert not await works(client, "move_file", moved)
            assert not await works(client, "write_file", {"path": path, "content": "x"})
        for path in ("conf", "store"):
            moved = {"source": path, "destination": "moved"}
            assert not await works(client, "move_file", moved)
            assert not await works(client, "delete_file", {"path": path, "recursive": True})
        assert await works(client, "write_file", {"path": "conf/b.txt", "content": "x"})


async def test_the_trash_is_nothing_to_make_or_move(tmp_path: Path) -> None:
    """A file in its place would keep everything else from being deleted."""
    (tmp_path / "x.txt").write_text("x", encoding="utf-8")
    async with serve(tmp_path, env={var("READ_ONLY"): "false"}) as client:
        for tool, arguments in (
            ("write_file", {"path": ".trash", "content": "x"}),
            ("create_directory", {"path": ".Trash"}),
            ("move_file", {"source": "x.txt", "destination": ".trash"}),
            ("copy_file", {"source": "x.txt", "destination": ".trash"}),
        ):
            assert not await works(client, tool, arguments)
        assert await works(client, "delete_file", {"path": "x.txt"})
        assert not await works(client, "move_file", {"source": ".trash", "destination": "y"})
        assert await works(client, "create_directory", {"path": "sub/.trash"})


async def test_a_tilde_is_not_a_name(client: Client) -> None:
    """It would make a folder of that name where somebody means their home."""
    for path in ("~", "~/x"):
        assert not await works(client, "create_directory", {"path": path})
    assert await works(client, "write_file", {"path": "~lock", "content": "x"})


async def test_a_root_that_was_removed_is_told(tmp_path: Path) -> None:
    """It is not an empty folder."""
    (tmp_path / "gone").mkdir()
    async with serve(tmp_path / "gone") as client:
        assert await works(client, "list_directory", {"path": "."})
        (tmp_path / "gone").rmdir()
        answer = await client.call_tool("list_directory", {"path": "."})
        assert answer.is_error
        assert "restarted" in text_of(answer)


@pytest.mark.promise("FS-1")
async def test_git_cannot_be_made_to_run_a_program(client: Client, root: Path) -> None:
    """Neither a repository's own configuration nor a pointer to another one can be written."""
    for path in (".git/commondir", ".git/worktrees/w/config.worktree", ".git"):
        arguments = {"path": str(root / path), "content": "gitdir: evil", "make_parents": True}
        assert not await works(client, "write_file", arguments)
    assert not (root / ".git").exists()
