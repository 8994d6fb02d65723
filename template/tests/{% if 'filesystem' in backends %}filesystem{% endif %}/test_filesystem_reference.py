# managed: part of the template; modelctx updates may rewrite it. Your tests live in tests/custom/.
"""Clients of the reference server (@modelcontextprotocol/server-filesystem) work unchanged.

The texts below are what that server answers, version 2026.8.31, for the same folder and the same
arguments. The first block of an answer and ``content`` of the structured answer are that text.
"""

import base64
import os
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from conftest import serve, var
from mcp import Client

pytestmark = pytest.mark.anyio

PNG = b"\x89PNG\r\n\x1a\n"
ZIP = b"PK\x03\x04"
RULE = "=" * 67

Ask = Callable[..., Coroutine[Any, Any, str]]


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """One event loop for the whole module, so that the tests share a server."""
    return "asyncio"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that is served."""
    return tmp_path_factory.mktemp("reference")


@pytest.fixture(scope="module")
async def client(shared: Path) -> AsyncIterator[Client]:
    """A client of the older protocol, as the reference server's are."""
    env = {var("READ_ONLY"): "false", var("GUARD__BURST"): "1000"}
    async with serve(shared, env=env, mode="legacy", timeout=60) as connected:
        yield connected


@pytest.fixture
def root(shared: Path, request: pytest.FixtureRequest) -> Path:
    """A folder like that which the texts were taken from."""
    root = shared / request.node.name.replace("[", "-").replace("]", "")
    (root / "sub" / "deep").mkdir(parents=True)
    for name, data in {
        "a.txt": b"one\ntwo\nthree\nfour\n",
        "big.bin": bytes(1536),
        "crlf.txt": b"one\r\ntwo\r\nthree\r\n",
        "empty": b"",
        "none.txt": b"x\ny",
        "p.png": PNG,
        "sub/b.py": b"def f():\n    return 1\n\ndef g():\n    return 2\n",
        "sub/deep/c.md": b"```x\n",
    }.items():
        (root / name).write_bytes(data)
    (root / "a.txt").chmod(0o640)
    os.utime(root / "a.txt", (1_700_000_000, 1_700_000_001))
    return root


@pytest.fixture
def ask(client: Client) -> Ask:
    """Call a tool and return its text, having compared it with the structured answer."""

    async def call(tool: str, **arguments: Any) -> str:
        result = await client.call_tool(tool, arguments)
        assert not result.is_error, result.content
        text = result.content[0].text  # type: ignore[union-attr]
        assert result.structured_content["content"] == text
        return text

    return call


@pytest.mark.parametrize(
    ("name", "arguments", "text"),
    [
        ("a.txt", {}, "one\ntwo\nthree\nfour\n"),
        ("a.txt", {"head": 0}, "one\ntwo\nthree\nfour\n"),
        ("a.txt", {"head": 1}, "one"),
        ("a.txt", {"head": 2}, "one\ntwo"),
        ("a.txt", {"head": 4}, "one\ntwo\nthree\nfour"),
        ("a.txt", {"head": 9}, "one\ntwo\nthree\nfour"),
        ("a.txt", {"tail": 0}, "one\ntwo\nthree\nfour\n"),
        ("a.txt", {"tail": 1}, ""),
        ("a.txt", {"tail": 2}, "four\n"),
        ("a.txt", {"tail": 9}, "one\ntwo\nthree\nfour\n"),
        ("none.txt", {"head": 2}, "x\ny"),
        ("none.txt", {"tail": 1}, "y"),
        ("crlf.txt", {}, "one\r\ntwo\r\nthree\r\n"),
        ("crlf.txt", {"head": 2}, "one\r\ntwo\r"),
        ("crlf.txt", {"tail": 2}, "three\n"),
        ("empty", {"tail": 2}, ""),
    ],
)
async def test_reading(
    root: Path, ask: Ask, name: str, arguments: dict[str, Any], text: str
) -> None:
    """Whole files, first and last lines."""
    for tool in ("read_text_file", "read_file"):
        assert await ask(tool, path=str(root / name), **arguments) == text


async def test_relative_paths(root: Path, shared: Path, ask: Ask) -> None:
    """A relative path starts from the first allowed folder."""
    assert await ask("read_file", path=f"{root.relative_to(shared)}/none.txt") == "x\ny"


async def test_media(root: Path, client: Client) -> None:
    """An image is an image block, other content a resource block, also in the structure."""
    result = await client.call_tool("read_media_file", {"path": str(root / "p.png")})
    data = base64.b64encode(PNG).decode()
    assert result.structured_content == {
        "content": [{"type": "image", "data": data, "mimeType": "image/png"}]
    }
    assert result.content[0].data == data  # type: ignore[union-attr]
    (root / "z z.zip").write_bytes(ZIP)
    result = await client.call_tool("read_media_file", {"path": str(root / "z z.zip")})
    (block,) = result.structured_content["content"]
    assert block["type"] == "resource"
    assert block["resource"]["uri"] == (root / "z z.zip").as_uri()
    assert base64.b64decode(block["resource"]["blob"]) == ZIP


async def test_several_files(root: Path, ask: Ask) -> None:
    """One text with a part for each file, in order; one that fails does not stop the others."""
    text = await ask(
        "read_multiple_files", paths=[str(root / name) for name in ("a.txt", "nope", "none.txt")]
    )
    first, second, third = text.split("\n---\n")
    assert first == f"{root}/a.txt:\none\ntwo\nthree\nfour\n\n"
    assert second.startswith(f"{root}/nope: Error - ")
    assert third == f"{root}/none.txt:\nx\ny\n"


async def test_listing(root: Path, ask: Ask) -> None:
    """Entries with their kind in front."""
    assert await ask("list_directory", path=str(root)) == (
        "[FILE] a.txt\n[FILE] big.bin\n[FILE] crlf.txt\n[FILE] empty\n[FILE] none.txt\n"
        "[FILE] p.png\n[DIR] sub"
    )
    assert await ask("list_directory", path=str(root / "sub" / "deep")) == "[FILE] c.md"


async def test_listing_with_sizes(root: Path, ask: Ask) -> None:
    """Columns, and the totals at the end; by name or the largest first."""
    files = {
        "a.txt": "[FILE] a.txt                                19 B",
        "big.bin": "[FILE] big.bin                           1.50 KB",
        "crlf.txt": "[FILE] crlf.txt                             17 B",
        "empty": "[FILE] empty                                 0 B",
        "none.txt": "[FILE] none.txt                              3 B",
        "p.png": "[FILE] p.png                                 8 B",
    }
    folder = "[DIR] sub                            "
    totals = "\n\nTotal: 6 files, 1 directories\nCombined size: 1.55 KB"
    by_name = await ask("list_directory_with_sizes", path=str(root))
    assert by_name == "\n".join([*files.values(), folder]) + totals
    by_size = await ask("list_directory_with_sizes", path=str(root), sortBy="size")
    order = ("big.bin", "a.txt", "crlf.txt", "p.png", "none.txt", "empty")
    assert by_size == "\n".join([*(files[name] for name in order), folder]) + totals


async def test_tree(root: Path, ask: Ask) -> None:
    """Nested JSON, indented by two; a pattern without a star excludes at any depth."""
    text = await ask(
        "directory_tree",
        path=str(root),
        excludePatterns=["deep", "*.txt", "*.bin", "empty", "p.png"],
    )
    assert text == (
        '[\n  {\n    "name": "sub",\n    "type": "directory",\n    "children": [\n      {\n'
        '        "name": "b.py",\n        "type": "file"\n      }\n    ]\n  }\n]'
    )
    (root / "none").mkdir()
    assert '"name": "none",\n    "type": "directory",\n    "children": []' in await ask(
        "directory_tree", path=str(root)
    )


@pytest.mark.parametrize(
    ("pattern", "exclude", "found"),
    [
        ("**/*.py", [], ["sub/b.py"]),
        ("*.py", [], []),
        ("*", ["sub"], ["a.txt", "big.bin", "crlf.txt", "empty", "none.txt", "p.png"]),
        ("**/*", ["**/*.txt", "sub/**"], ["big.bin", "empty", "p.png", "sub"]),
    ],
)
async def test_search(
    root: Path, ask: Ask, pattern: str, exclude: list[str], found: list[str]
) -> None:
    """Full paths, one in a line, of what matches below the folder."""
    text = await ask("search_files", path=str(root), pattern=pattern, excludePatterns=exclude)
    assert text == ("\n".join(f"{root}/{name}" for name in found) or "No matches found")


async def test_info(root: Path, ask: Ask) -> None:
    """Seven lines, times as JavaScript prints them."""
    lines = (await ask("get_file_info", path=str(root / "a.txt"))).split("\n")
    assert lines[0] == "size: 19"
    assert lines[1].startswith("created: ")
    assert lines[2] == "modified: Tue Nov 14 2023 22:13:21 GMT+0000 (Coordinated Universal Time)"
    assert lines[3].startswith("accessed: ")
    assert lines[4:] == ["isDirectory: false", "isFile: true", "permissions: 640"]
    lines = (await ask("get_file_info", path=str(root / "sub"))).split("\n")
    assert lines[4:6] == ["isDirectory: true", "isFile: false"]


async def test_allowed_directories(shared: Path, ask: Ask) -> None:
    """A heading, and one folder in a line."""
    assert await ask("list_allowed_directories") == f"Allowed directories:\n{shared}"


@pytest.mark.parametrize(
    ("name", "old", "new", "hunk"),
    [
        ("a.txt", "two", "2", "@@ -1,4 +1,4 @@\n one\n-two\n+2\n three\n four\n"),
        (
            "none.txt",
            "y",
            "z",
            "@@ -1,2 +1,2 @@\n x\n-y\n\\ No newline at end of file\n+z\n"
            "\\ No newline at end of file\n",
        ),
        ("none.txt", "y", "w\n", "@@ -1,2 +1,2 @@\n x\n-y\n\\ No newline at end of file\n+w\n"),
        (
            "sub/b.py",
            "def g():\nreturn 2",
            "def g():\n    return 3\n    # more",
            "@@ -1,5 +1,6 @@\n def f():\n     return 1\n \n def g():\n-    return 2\n"
            "+    return 3\n+    # more\n",
        ),
        ("a.txt", "two", "two", ""),
    ],
)
async def test_editing(root: Path, ask: Ask, name: str, old: str, new: str, hunk: str) -> None:
    """A diff between backticks; a dry run shows the same and changes nothing."""
    path = root / name
    before = path.read_bytes()
    wanted = (
        f"```diff\nIndex: {path}\n{RULE}\n--- {path}\toriginal\n+++ {path}\tmodified\n{hunk}```\n\n"
    )
    edits = [{"oldText": old, "newText": new}]
    assert await ask("edit_file", path=str(path), edits=edits, dryRun=True) == wanted
    assert path.read_bytes() == before
    assert await ask("edit_file", path=str(path), edits=edits) == wanted
    assert (path.read_bytes() == before) is (hunk == "")


async def test_a_diff_of_backticks(root: Path, ask: Ask) -> None:
    """The fence is longer than any in the file."""
    text = await ask(
        "edit_file",
        path=str(root / "sub" / "deep" / "c.md"),
        edits=[{"oldText": "x", "newText": "y"}],
    )
    assert text.startswith("````diff\n")
    assert text.endswith("@@ -1,1 +1,1 @@\n-```x\n+```y\n````\n\n")


async def test_changes(root: Path, ask: Ask) -> None:
    """Writing, making folders and moving say so with the paths as they were given."""
    file, folder = str(root / "w.txt"), str(root / "n" / "m")
    assert await ask("write_file", path=file, content="hé") == f"Successfully wrote to {file}"
    assert (root / "w.txt").read_text(encoding="utf-8") == "hé"
    made = f"Successfully created directory {folder}"
    assert await ask("create_directory", path=folder) == made
    assert await ask("create_directory", path=folder) == made
    target = f"{folder}/w.txt"
    moved = f"Successfully moved {file} to {target}"
    assert await ask("move_file", source=file, destination=target) == moved
    assert [path.name for path in root.glob("**/w.txt")] == ["w.txt"]
    assert (root / "n" / "m" / "w.txt").is_file()


async def test_tools_and_parameters(client: Client) -> None:
    """All 14 tools are there, with all their parameters and no other that must be given."""
    reference = {
        "create_directory": ({"path"}, {"path"}),
        "directory_tree": ({"path", "excludePatterns"}, {"path"}),
        "edit_file": ({"path", "edits", "dryRun"}, {"path", "edits"}),
        "get_file_info": ({"path"}, {"path"}),
        "list_allowed_directories": (set(), set()),
        "list_directory": ({"path"}, {"path"}),
        "list_directory_with_sizes": ({"path", "sortBy"}, {"path"}),
        "move_file": ({"source", "destination"}, {"source", "destination"}),
        "read_file": ({"path", "tail", "head"}, {"path"}),
        "read_media_file": ({"path"}, {"path"}),
        "read_multiple_files": ({"paths"}, {"paths"}),
        "read_text_file": ({"path", "tail", "head"}, {"path"}),
        "search_files": ({"path", "pattern", "excludePatterns"}, {"path", "pattern"}),
        "write_file": ({"path", "content"}, {"path", "content"}),
    }
    tools = {tool.name: tool for tool in (await client.list_tools()).tools}
    for name, (parameters, required) in reference.items():
        schema = tools[name].input_schema
        assert parameters <= set(schema["properties"]), name
        assert set(schema.get("required", [])) == required, name
        assert "content" in (tools[name].output_schema or {})["properties"], name
